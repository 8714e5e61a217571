//! The timer wheel beside the two usual ways to keep timers, with 1, 1,000 and 1,000,000 that wait.
//!
//! `cargo bench -p jimbot-core --bench wheel`: what a connection does all the time, setting its timer anew, and time that
//! passes in steps of a millisecond with what it lets fire.

mod pairs;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hint::black_box;

use jimbot_core::wheel::{TimerKey, Wheel};
use pairs::{is_quick, pair};

const OPERATIONS: usize = 64;
const TICK_NS: u64 = 1_000_000;

/// Deadlines as connections have them: from a few milliseconds to two minutes ahead.
struct Distances(u64);

impl Distances {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        TICK_NS + (self.0 >> 33) % (120_000 * TICK_NS)
    }
}

struct OnWheel {
    wheel: Wheel<u32>,
    keys: Vec<TimerKey>,
    now: u64,
    distances: Distances,
    next: usize,
}

impl OnWheel {
    fn new(waiting: usize) -> OnWheel {
        let mut distances = Distances(1);
        let mut wheel = Wheel::new(0, TICK_NS);
        let keys = (0..waiting).map(|n| wheel.insert(distances.next(), n as u32)).collect();
        OnWheel { wheel, keys, now: 0, distances, next: 0 }
    }

    fn set_anew(&mut self) -> usize {
        for _ in 0..OPERATIONS {
            self.next = (self.next + 7919) % self.keys.len();
            self.wheel.cancel(self.keys[self.next]);
            let at = self.now + self.distances.next();
            self.keys[self.next] = self.wheel.insert(at, self.next as u32);
        }
        self.wheel.len()
    }

    fn pass(&mut self) -> usize {
        let mut fired = 0;
        for _ in 0..OPERATIONS {
            self.now += TICK_NS;
            while let Some(name) = self.wheel.poll(self.now) {
                fired += 1;
                self.keys[name as usize] =
                    self.wheel.insert(self.now + self.distances.next(), name);
            }
        }
        fired
    }
}

struct OnMap {
    map: BTreeMap<(u64, u32), ()>,
    at: Vec<u64>,
    now: u64,
    distances: Distances,
    next: usize,
}

impl OnMap {
    fn new(waiting: usize) -> OnMap {
        let mut distances = Distances(1);
        let at: Vec<u64> = (0..waiting).map(|_| distances.next()).collect();
        let map = at.iter().enumerate().map(|(n, &at)| ((at, n as u32), ())).collect();
        OnMap { map, at, now: 0, distances, next: 0 }
    }

    fn set_anew(&mut self) -> usize {
        for _ in 0..OPERATIONS {
            self.next = (self.next + 7919) % self.at.len();
            self.map.remove(&(self.at[self.next], self.next as u32));
            self.at[self.next] = self.now + self.distances.next();
            self.map.insert((self.at[self.next], self.next as u32), ());
        }
        self.map.len()
    }

    fn pass(&mut self) -> usize {
        let mut fired = 0;
        for _ in 0..OPERATIONS {
            self.now += TICK_NS;
            while let Some((&(at, name), ())) = self.map.first_key_value()
                && at <= self.now
            {
                self.map.pop_first();
                fired += 1;
                self.at[name as usize] = self.now + self.distances.next();
                self.map.insert((self.at[name as usize], name), ());
            }
        }
        fired
    }
}

/// A heap cannot cancel: it keeps what was set anew until its old time comes, and passes over it then.
struct OnHeap {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    at: Vec<u64>,
    now: u64,
    distances: Distances,
    next: usize,
}

impl OnHeap {
    fn new(waiting: usize) -> OnHeap {
        let mut distances = Distances(1);
        let at: Vec<u64> = (0..waiting).map(|_| distances.next()).collect();
        let heap = at.iter().enumerate().map(|(n, &at)| Reverse((at, n as u32))).collect();
        OnHeap { heap, at, now: 0, distances, next: 0 }
    }

    fn set_anew(&mut self) -> usize {
        for _ in 0..OPERATIONS {
            self.next = (self.next + 7919) % self.at.len();
            self.at[self.next] = self.now + self.distances.next();
            self.heap.push(Reverse((self.at[self.next], self.next as u32)));
        }
        if self.heap.len() > 2 * self.at.len() + OPERATIONS {
            let at = &self.at;
            self.heap.retain(|Reverse((time, name))| at[*name as usize] == *time);
        }
        self.at.len()
    }

    fn pass(&mut self) -> usize {
        let mut fired = 0;
        for _ in 0..OPERATIONS {
            self.now += TICK_NS;
            while let Some(&Reverse((at, name))) = self.heap.peek()
                && at <= self.now
            {
                self.heap.pop();
                if self.at[name as usize] == at {
                    fired += 1;
                    self.at[name as usize] = self.now + self.distances.next();
                    self.heap.push(Reverse((self.at[name as usize], name)));
                }
            }
        }
        fired
    }
}

fn main() {
    let quick = is_quick();
    for waiting in [1, 1_000, if quick { 2_000 } else { 1_000_000 }] {
        let (mut wheel, mut map, mut heap) =
            (OnWheel::new(waiting), OnMap::new(waiting), OnHeap::new(waiting));
        println!("{waiting} timers; floor: BTreeMap, then BinaryHeap");
        let mut set = || black_box(&mut wheel).set_anew();
        pair("  set anew", quick, OPERATIONS, &mut set, &mut || black_box(&mut map).set_anew());
        pair("  set anew", quick, OPERATIONS, &mut set, &mut || black_box(&mut heap).set_anew());
        let mut pass = || black_box(&mut wheel).pass();
        pair("  1 ms", quick, OPERATIONS, &mut pass, &mut || black_box(&mut map).pass());
        pair("  1 ms", quick, OPERATIONS, &mut pass, &mut || black_box(&mut heap).pass());
    }
}
