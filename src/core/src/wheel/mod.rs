//! A hierarchical timer wheel: everything in the service that waits, waits here.
//!
//! Six levels of 64 slots; a slot of level *k* is 64^k ticks wide. A timer goes into the level of the highest bits in
//! which its tick differs from the wheel's, so inserting and cancelling cost the same with one timer as with a million.
//! When the wheel reaches a slot of a higher level, the whole slot is taken and its timers move down. Timers live in a
//! slab and are linked by index, so cancelling unlinks in place; a key carries a generation, so that a key kept too
//! long is recognised.
//!
//! A timer never fires before its time and fires at the first [`Wheel::poll`] at or after its tick. Time in the wheel
//! never goes back: an earlier `now` is taken for the newest one seen.

mod level;

use level::{LEVELS, Level, SLOTS};

/// Names one timer until it has fired or is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

const NIL: u32 = u32::MAX;
/// Ticks that the levels span together; later timers wait in the last slot and are sorted in anew from there.
const SPAN: u64 = 1 << (6 * LEVELS as u64);
/// Number of the list of timers that are due and wait to be polled.
const DUE: u16 = (LEVELS * SLOTS) as u16;
const FREE: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
struct Node<T> {
    tick: u64,
    previous: u32,
    next: u32,
    generation: u32,
    list: u16,
    value: T,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// The wheel. `T` names what a timer is for.
#[derive(Debug)]
pub struct Wheel<T> {
    tick_ns: u64,
    elapsed: u64,
    levels: [Level; LEVELS],
    lists: Box<[List; LEVELS * SLOTS + 1]>,
    nodes: Vec<Node<T>>,
    free: u32,
    len: usize,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel that stands at `now_ns` and counts in ticks of `tick_ns`.
    #[must_use]
    pub fn new(now_ns: u64, tick_ns: u64) -> Wheel<T> {
        assert!(tick_ns > 0);
        Wheel {
            tick_ns,
            elapsed: now_ns / tick_ns,
            levels: std::array::from_fn(Level::new),
            lists: Box::new([List { head: NIL, tail: NIL }; LEVELS * SLOTS + 1]),
            nodes: Vec::new(),
            free: NIL,
            len: 0,
        }
    }

    /// Timers that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a timer that fires at `at_ns` or up to a tick later; a time that has passed fires at the next poll.
    pub fn insert(&mut self, at_ns: u64, value: T) -> TimerKey {
        let tick = at_ns.div_ceil(self.tick_ns);
        let index = if self.free == NIL {
            let index = u32::try_from(self.nodes.len()).expect("fewer than 2^32 timers");
            self.nodes.push(Node {
                tick,
                previous: NIL,
                next: NIL,
                generation: 0,
                list: FREE,
                value,
            });
            index
        } else {
            let index = self.free;
            let node = &mut self.nodes[index as usize];
            debug_assert_eq!(node.list, FREE);
            self.free = node.next;
            node.tick = tick;
            node.value = value;
            index
        };
        self.len += 1;
        self.place(index);
        TimerKey { index, generation: self.nodes[index as usize].generation }
    }

    /// Takes a timer out; `None` when it has fired or was cancelled before.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let node = self.nodes.get(key.index as usize)?;
        if node.generation != key.generation || node.list == FREE {
            return None;
        }
        self.unlink(key.index);
        Some(self.release(key.index))
    }

    /// Time at which [`Wheel::poll`] is next worth calling: never after the earliest timer's tick, and earlier only
    /// when a slot of a higher level has to be sorted first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        if self.lists[DUE as usize].head != NIL {
            return Some(self.elapsed.saturating_mul(self.tick_ns));
        }
        self.next_slot().map(|(_, _, tick)| tick.saturating_mul(self.tick_ns))
    }

    /// The next timer that is due at `now_ns`, in the order of ticks. Call until `None`.
    pub fn poll(&mut self, now_ns: u64) -> Option<T> {
        let now = now_ns / self.tick_ns;
        loop {
            let due = self.lists[DUE as usize].head;
            if due != NIL {
                self.unlink(due);
                return Some(self.release(due));
            }
            match self.next_slot() {
                Some((level, slot, tick)) if tick <= now => {
                    self.elapsed = self.elapsed.max(tick);
                    self.take_slot(level, slot);
                }
                _ => {
                    self.elapsed = self.elapsed.max(now);
                    return None;
                }
            }
        }
    }

    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        // Slots of a lower level all lie before the next slot of a higher one, so the first occupied level decides.
        self.levels.iter().enumerate().find_map(|(number, level)| {
            level.next(self.elapsed).map(|(slot, tick)| (number, slot, tick))
        })
    }

    /// Empties a slot before its timers are sorted in anew, so that none can come back into the list being walked.
    fn take_slot(&mut self, level: usize, slot: usize) {
        let list =
            std::mem::replace(&mut self.lists[level * SLOTS + slot], List { head: NIL, tail: NIL });
        self.levels[level].clear(slot);
        let mut index = list.head;
        while index != NIL {
            let next = self.nodes[index as usize].next;
            self.place(index);
            index = next;
        }
    }

    /// Links a node into the list where its tick belongs.
    fn place(&mut self, index: u32) {
        let tick = self.nodes[index as usize].tick;
        let list = if tick <= self.elapsed {
            DUE
        } else {
            let (level, slot) = level::position(self.elapsed, tick.min(self.elapsed + SPAN - 1));
            self.levels[level].set(slot);
            (level * SLOTS + slot) as u16
        };
        let tail = std::mem::replace(&mut self.lists[list as usize].tail, index);
        let node = &mut self.nodes[index as usize];
        node.list = list;
        node.previous = tail;
        node.next = NIL;
        match tail {
            NIL => self.lists[list as usize].head = index,
            tail => self.nodes[tail as usize].next = index,
        }
    }

    fn unlink(&mut self, index: u32) {
        let Node { previous, next, list, .. } = self.nodes[index as usize];
        match previous {
            NIL => self.lists[list as usize].head = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NIL => self.lists[list as usize].tail = previous,
            next => self.nodes[next as usize].previous = previous,
        }
        if list != DUE && self.lists[list as usize].head == NIL {
            self.levels[list as usize / SLOTS].clear(list as usize % SLOTS);
        }
    }

    fn release(&mut self, index: u32) -> T {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.list = FREE;
        node.next = self.free;
        self.free = index;
        self.len -= 1;
        node.value
    }

    /// Every timer is in exactly the list that its place says, and the bitmaps agree with the lists.
    #[cfg(test)]
    fn check_invariants(&self) {
        let mut linked = 0;
        for (number, list) in self.lists.iter().enumerate() {
            let (mut index, mut previous) = (list.head, NIL);
            while index != NIL {
                let node = &self.nodes[index as usize];
                assert_eq!((node.list as usize, node.previous), (number, previous));
                assert!(number == DUE as usize || node.tick > self.elapsed, "left behind");
                linked += 1;
                (previous, index) = (index, node.next);
            }
            assert_eq!(list.tail, previous);
            if number != DUE as usize {
                assert_eq!(self.levels[number / SLOTS].is_set(number % SLOTS), list.head != NIL);
            }
        }
        assert_eq!(linked, self.len);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Insert(u64),
        Cancel(usize),
        Advance(u64),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        // Distances of every magnitude: the same tick, within each level, past the whole span.
        let distance = (0_u32..46).prop_flat_map(|bits| 0..=(1_u64 << bits));
        let step = (0_u32..34).prop_flat_map(|bits| 0..=(1_u64 << bits));
        prop_oneof![
            4 => distance.prop_map(Operation::Insert),
            2 => any::<usize>().prop_map(Operation::Cancel),
            3 => step.prop_map(Operation::Advance),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(
            start in 0_u64..1 << 40,
            tick_ns in prop_oneof![Just(1_u64), Just(1000), Just(1_000_000)],
            operations in prop::collection::vec(operation(), 1..200),
        ) {
            let mut wheel = Wheel::new(start, tick_ns);
            let mut model: BTreeMap<(u64, u32), TimerKey> = BTreeMap::new();
            let mut now = start;
            let mut names = 0..;
            let mut gone = Vec::new();
            for operation in operations {
                match operation {
                    Operation::Insert(distance) => {
                        let name = names.next().unwrap();
                        let at = (now.saturating_sub(1000)).saturating_add(distance.saturating_mul(tick_ns.min(1000)));
                        let key = wheel.insert(at, name);
                        model.insert((at.div_ceil(tick_ns), name), key);
                    }
                    Operation::Cancel(pick) => {
                        if !model.is_empty() {
                            let (&entry, &key) = model.iter().nth(pick % model.len()).unwrap();
                            model.remove(&entry);
                            prop_assert_eq!(wheel.cancel(key), Some(entry.1));
                            gone.push(key);
                        }
                    }
                    Operation::Advance(step) => {
                        now = now.saturating_add(step.saturating_mul(tick_ns.min(1000)));
                        if let Some((&(tick, _), _)) = model.first_key_value() {
                            let at = wheel.next_deadline().expect("a timer waits");
                            prop_assert!(at <= (tick.max(wheel.elapsed)).saturating_mul(tick_ns));
                        }
                        // What is overdue at its insertion counts as due then.
                        let before = wheel.elapsed;
                        let mut last = 0;
                        while let Some(name) = wheel.poll(now) {
                            let entry = *model.keys().find(|entry| entry.1 == name).expect("fired once");
                            prop_assert!(entry.0 <= now / tick_ns, "too early");
                            let due = entry.0.max(before);
                            prop_assert!(due >= last, "out of order");
                            last = due;
                            gone.push(model.remove(&entry).unwrap());
                        }
                        prop_assert!(model.keys().all(|&(tick, _)| tick > now / tick_ns), "too late");
                    }
                }
                wheel.check_invariants();
                prop_assert_eq!(wheel.len(), model.len());
                if let Some(&key) = gone.last() {
                    prop_assert_eq!(wheel.cancel(key), None, "a key is good once");
                }
            }
        }
    }

    #[test]
    fn a_million_timers_fire_in_order() {
        let mut wheel = Wheel::new(0, 1);
        let mut state = 1_u64;
        for _ in 0..1_000_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = state >> 40;
            wheel.insert(at, at);
        }
        let (mut fired, mut last) = (0, 0);
        while let Some(at) = wheel.poll(1 << 24) {
            assert!(at >= last);
            last = at;
            fired += 1;
        }
        assert_eq!(fired, 1_000_000);
        assert!(wheel.is_empty() && wheel.next_deadline().is_none());
    }

    #[test]
    fn time_does_not_go_back() {
        let mut wheel = Wheel::new(1000, 1);
        assert_eq!(wheel.poll(2000), None);
        wheel.insert(1500, 'a');
        assert_eq!(wheel.next_deadline(), Some(2000), "what is overdue is due now");
        assert_eq!(wheel.poll(1200), Some('a'));
    }
}
