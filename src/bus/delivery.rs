//! What a durable subscription has delivered and what of it is not acknowledged: a machine without clock or I/O.
//!
//! Events are delivered first in the order of their positions (`fresh`), and each one that is not acknowledged in time, or
//! refused, again on its own (`again`) until it is acknowledged or has been tried often enough.

use std::collections::{BTreeMap, VecDeque};

use super::store::Cursor;

/// Bounds of a durable subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Events delivered and not acknowledged, at most.
    pub max_unacked: usize,
    /// Time for an acknowledgement, in nanoseconds.
    pub ack_wait_ns: u64,
    /// Times that an event is delivered before it is given up; `None` for ever.
    pub max_deliveries: Option<u32>,
}

/// Events delivered together for the first time.
#[derive(Debug)]
struct Chunk {
    positions: Vec<u64>,
    acked: Vec<bool>,
    left: usize,
    deadline_ns: u64,
}

impl Chunk {
    fn ack(&mut self, position: u64) -> bool {
        let Ok(at) = self.positions.binary_search(&position) else { return false };
        let new = !std::mem::replace(&mut self.acked[at], true);
        self.left -= usize::from(new);
        new
    }

    fn unacked(&self) -> impl Iterator<Item = u64> + '_ {
        let pairs = self.positions.iter().zip(&self.acked);
        pairs.filter(|(_, acked)| !**acked).map(|(position, _)| *position)
    }
}

#[derive(Clone, Copy, Debug)]
struct Again {
    deliveries: u32,
    /// When it is delivered, or when its acknowledgement is missed.
    at_ns: u64,
    waiting: bool,
}

/// An event to be delivered again, or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its position.
    pub position: u64,
    /// Times it was delivered.
    pub deliveries: u32,
    /// It has been tried often enough.
    pub give_up: bool,
}

/// State of a durable subscription.
#[derive(Debug)]
pub struct Deliveries {
    terms: Terms,
    next: u64,
    fresh: VecDeque<Chunk>,
    again: BTreeMap<u64, Again>,
    unacked: usize,
    changed: bool,
}

impl Deliveries {
    /// Goes on where `cursor` stands. What was delivered and not acknowledged comes first.
    pub fn new(terms: Terms, cursor: &Cursor) -> Deliveries {
        let again: BTreeMap<u64, Again> = cursor
            .unacked
            .iter()
            .map(|&(position, deliveries)| {
                (position, Again { deliveries, at_ns: 0, waiting: true })
            })
            .collect();
        let unacked = again.len();
        let fresh = VecDeque::new();
        Deliveries { terms, next: cursor.next, fresh, again, unacked, changed: true }
    }

    /// Position of the first event that was never delivered.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Events that may be delivered for the first time.
    pub fn room(&self) -> usize {
        self.terms.max_unacked.saturating_sub(self.unacked)
    }

    /// Events delivered and not acknowledged.
    pub fn unacked(&self) -> usize {
        self.unacked
    }

    /// Everything before `next` was delivered, is not wanted or is lost.
    pub fn pass(&mut self, next: u64) {
        debug_assert!(next >= self.next);
        self.changed |= next != self.next;
        self.next = next;
    }

    /// Events were delivered for the first time. Their positions grow.
    pub fn delivered(&mut self, positions: Vec<u64>, now_ns: u64) {
        if positions.is_empty() {
            return;
        }
        debug_assert!(positions.is_sorted());
        self.unacked += positions.len();
        self.changed = true;
        self.fresh.push_back(Chunk {
            acked: vec![false; positions.len()],
            left: positions.len(),
            positions,
            deadline_ns: now_ns.saturating_add(self.terms.ack_wait_ns),
        });
    }

    /// Events were delivered again.
    pub fn delivered_again(&mut self, positions: &[u64], now_ns: u64) {
        for position in positions {
            if let Some(again) = self.again.get_mut(position) {
                again.deliveries = again.deliveries.saturating_add(1);
                again.at_ns = now_ns.saturating_add(self.terms.ack_wait_ns);
                again.waiting = false;
                self.changed = true;
            }
        }
    }

    /// The subscriber is done with all events up to `position`.
    pub fn ack_up_to(&mut self, position: u64) {
        let before = self.unacked;
        for chunk in &mut self.fresh {
            if chunk.positions[0] > position {
                break;
            }
            if *chunk.positions.last().expect("chunks are not empty") <= position {
                self.unacked -= chunk.left;
                chunk.left = 0;
                continue;
            }
            let up_to = chunk.positions.partition_point(|held| *held <= position);
            for at in 0..up_to {
                if !std::mem::replace(&mut chunk.acked[at], true) {
                    chunk.left -= 1;
                    self.unacked -= 1;
                }
            }
        }
        self.fresh.retain(|chunk| chunk.left > 0);
        let rest = self.again.split_off(&position.saturating_add(1));
        self.unacked -= std::mem::replace(&mut self.again, rest).len();
        self.changed |= before != self.unacked;
    }

    /// The subscriber is done with an event, or it is lost or given up.
    pub fn ack(&mut self, position: u64) {
        if self.take(position).is_some() {
            self.unacked -= 1;
            self.changed = true;
        }
    }

    /// The subscriber could not deal with an event: deliver it again at `at_ns`.
    pub fn nack(&mut self, position: u64, at_ns: u64) {
        if let Some(deliveries) = self.take(position) {
            self.again.insert(position, Again { deliveries, at_ns, waiting: true });
            self.changed = true;
        }
    }

    /// Takes an event out of what is not acknowledged; how often it was delivered.
    fn take(&mut self, position: u64) -> Option<u32> {
        if let Some(again) = self.again.remove(&position) {
            return Some(again.deliveries);
        }
        let at = self.fresh.partition_point(|chunk| {
            *chunk.positions.last().expect("chunks are not empty") < position
        });
        let chunk = self.fresh.get_mut(at)?;
        let found = chunk.ack(position);
        if chunk.left == 0 {
            self.fresh.remove(at);
        }
        found.then_some(1)
    }

    /// Events to be delivered again now, `max` at most, all delivered equally often.
    pub fn due(&mut self, now_ns: u64, max: usize) -> Vec<Due> {
        while self.fresh.front().is_some_and(|chunk| chunk.deadline_ns <= now_ns) {
            let chunk = self.fresh.pop_front().expect("there is one");
            for position in chunk.unacked() {
                let again = Again { deliveries: 1, at_ns: now_ns, waiting: true };
                self.again.insert(position, again);
            }
        }
        let mut due: Vec<Due> = Vec::new();
        for (&position, again) in &mut self.again {
            if again.at_ns > now_ns {
                continue;
            }
            again.waiting = true;
            let give_up = self.terms.max_deliveries.is_some_and(|max| again.deliveries >= max);
            if due.first().is_none_or(|first| first.deliveries == again.deliveries) {
                due.push(Due { position, deliveries: again.deliveries, give_up });
            }
            if due.len() == max {
                break;
            }
        }
        due
    }

    /// When [`due`](Deliveries::due) has to be asked next.
    pub fn deadline(&self) -> Option<u64> {
        let fresh = self.fresh.front().map(|chunk| chunk.deadline_ns);
        let again = self.again.values().map(|again| again.at_ns).min();
        fresh.into_iter().chain(again).min()
    }

    /// Where the subscription stands, when that has changed since it was last asked.
    pub fn take_cursor(&mut self) -> Option<Cursor> {
        std::mem::take(&mut self.changed).then(|| self.cursor())
    }

    /// The cursor that was taken could not be kept.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// Where the subscription stands.
    pub fn cursor(&self) -> Cursor {
        let fresh = self.fresh.iter().flat_map(Chunk::unacked).map(|position| (position, 1));
        let again = self.again.iter().map(|(&position, again)| (position, again.deliveries));
        let mut unacked: Vec<(u64, u32)> = fresh.chain(again).collect();
        unacked.sort_unstable();
        Cursor { next: self.next, unacked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const TERMS: Terms = Terms { max_unacked: 10, ack_wait_ns: 100, max_deliveries: Some(3) };

    fn new() -> Deliveries {
        Deliveries::new(TERMS, &Cursor { next: 1, unacked: vec![] })
    }

    #[test]
    fn what_is_not_acknowledged_in_time_comes_again_and_is_given_up_in_the_end() {
        let mut state = new();
        state.delivered(vec![1, 2, 3], 0);
        state.pass(4);
        state.ack(2);
        assert_eq!((state.room(), state.deadline()), (8, Some(100)));
        assert_eq!(state.due(99, 8), []);
        let due = |position, deliveries, give_up| Due { position, deliveries, give_up };
        assert_eq!(state.due(100, 8), [due(1, 1, false), due(3, 1, false)]);
        state.delivered_again(&[1, 3], 100);
        state.ack(3);
        assert_eq!(state.due(200, 8), [due(1, 2, false)]);
        state.delivered_again(&[1], 200);
        assert_eq!(state.due(300, 8), [due(1, 3, true)]);
        state.ack(1);
        assert_eq!((state.unacked(), state.deadline(), state.cursor().next), (0, None, 4));
    }

    #[test]
    fn a_refused_event_comes_again_when_asked_for() {
        let mut state = new();
        state.delivered(vec![5, 6], 0);
        state.nack(6, 40);
        state.nack(7, 40);
        assert_eq!(state.deadline(), Some(40));
        assert_eq!(state.due(40, 8).iter().map(|due| due.position).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn a_cursor_brings_back_what_was_not_acknowledged() {
        let mut state = new();
        state.delivered(vec![1, 2, 3, 4], 0);
        state.pass(5);
        state.ack(1);
        state.nack(3, 0);
        let cursor = state.take_cursor().unwrap();
        assert_eq!(cursor, Cursor { next: 5, unacked: vec![(2, 1), (3, 1), (4, 1)] });
        assert_eq!(state.take_cursor(), None);
        let mut again = Deliveries::new(TERMS, &cursor);
        assert_eq!(again.due(0, 8).len(), 3);
        assert_eq!(again.room(), 7);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(steps in proptest::collection::vec((0u8..6, 1u64..60), 0..120)) {
            let mut state = new();
            let mut open = BTreeSet::new();
            let mut next = 1;
            let mut now = 0;
            for (step, value) in steps {
                now += 7;
                match step {
                    0 | 1 => {
                        let count = (value % 5).min(state.room() as u64);
                        state.delivered((next..next + count).collect(), now);
                        open.extend(next..next + count);
                        next += count;
                        state.pass(next);
                    }
                    2 => { state.ack(value); open.remove(&value); }
                    3 => { state.ack_up_to(value); open.retain(|p| *p > value); }
                    4 => state.nack(value, now + value),
                    _ => {
                        let due: Vec<u64> = state.due(now, 4).iter().map(|due| due.position).collect();
                        prop_assert!(due.iter().all(|p| open.contains(p)));
                        state.delivered_again(&due, now);
                    }
                }
                prop_assert_eq!(state.unacked(), open.len());
                let kept: Vec<u64> = state.cursor().unacked.iter().map(|event| event.0).collect();
                prop_assert_eq!(kept, open.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(state.deadline().is_some(), !open.is_empty());
            }
        }
    }
}
