//! What an event costs in the tables that grow: who speaks and which game that is, and what was stored before.
//!
//! `cargo bench -p jimbot-core --bench tables`: each beside the standard library's map with the same keys, which does the
//! lookup and nothing else.

mod pairs;

use std::collections::{HashMap, HashSet};
use std::hint::black_box;

use jimbot_core::repeats::{Identity, Repeats};
use jimbot_core::session::{Clock, Facts, SessionRef, Sessions, Speaker};
use jimbot_core::time::{Now, SECOND};
use pairs::{is_quick, pair};

const START: Now = Now { mono_ns: 1_000 * SECOND, unix_ns: 1_780_000_000 * SECOND };
const OPERATIONS: usize = 64;
/// Bytes of an event's id.
const ID: usize = 36;
/// Steps from one to the next so that a table is reached at random, as many games at once reach it.
const STRIDE: usize = 7_919;

fn speaker(sessions: &Sessions, number: usize) -> Speaker {
    Speaker {
        connection: number as u64 + 1,
        is_websocket: false,
        address: sessions.hash(&[&number.to_le_bytes()]),
        agent: sessions.hash(&[b"agent"]),
        requests_before: 1,
    }
}

/// Sessions, each of a connection of its own that has said which game it is.
struct Games {
    sessions: Sessions,
    /// Who is connected, and the session of each.
    known: Vec<(Speaker, SessionRef)>,
    names: Vec<String>,
    next: usize,
    clock: f64,
}

impl Games {
    fn new(count: usize) -> Games {
        let mut sessions = Sessions::new([1; 16], 1, count);
        let known = (0..count)
            .map(|at| {
                let speaker = speaker(&sessions, at);
                (speaker, sessions.of_speaker(&speaker, None, START).0)
            })
            .collect();
        let names = (0..count).map(|at| format!("{at:08X}")).collect();
        Games { sessions, known, names, next: 0, clock: 0.0 }
    }

    /// An event of each of some connections, which is in the same game as before.
    fn events(&mut self) -> usize {
        let mut passed = 0;
        for _ in 0..OPERATIONS {
            self.next = (self.next + STRIDE) % self.known.len();
            self.clock += 1.0;
            let (speaker, bound) = self.known[self.next];
            let (session, _) = self.sessions.of_speaker(&speaker, Some(bound), START);
            let facts = Facts {
                clock: Some(Clock::Monotonic(self.clock)),
                game_id: Some(self.names[self.next].as_bytes()),
            };
            passed += self.sessions.place(session, &facts, START).game_key as usize & 1;
        }
        passed
    }
}

/// The least that such a table does: the game's name looked up, and its clock kept.
struct Map {
    map: HashMap<String, f64>,
    names: Vec<String>,
    next: usize,
}

impl Map {
    fn new(count: usize) -> Map {
        let names: Vec<String> = (0..count).map(|at| format!("{at:08X}")).collect();
        Map { map: names.iter().map(|name| (name.clone(), 0.0)).collect(), names, next: 0 }
    }

    fn events(&mut self) -> usize {
        let mut passed = 0.0;
        for _ in 0..OPERATIONS {
            self.next = (self.next + STRIDE) % self.names.len();
            let clock = self.map.get_mut(&self.names[self.next]).expect("the game is known");
            *clock += 1.0;
            passed += *clock;
        }
        passed as usize
    }
}

/// The next id, as the digits of a number.
fn renumber(id: &mut [u8; ID], count: &mut u64) {
    *count += 1;
    let mut rest = *count;
    for digit in id[ID - 12..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

fn main() {
    let quick = is_quick();
    for count in [1, 1_000, if quick { 2_000 } else { 32 * 1024 }] {
        println!("{count} games; floor: HashMap of names");
        let (mut games, mut map) = (Games::new(count), Map::new(count));
        pair("  session", quick, OPERATIONS, &mut || games.events(), &mut || map.events());
    }

    let events = if quick { 1 << 10 } else { 1 << 20 };
    println!("{events} events remembered; floor: HashSet of ids");
    let mut repeats = Repeats::new([1; 16], events);
    let (mut id, mut count) = ([b'0'; ID], 0);
    let mut ours = || {
        for _ in 0..OPERATIONS {
            renumber(&mut id, &mut count);
            let identity =
                Identity { event_id: &id, producer_time: 1.5, event_type: 4, type_name: &[] };
            let hash = repeats.hash(black_box(&identity));
            assert!(!repeats.is_repeat(hash, 1.5, 4, None, START), "an id that is new");
            repeats.remember(hash, 1.5, 4, None, START.unix_ns);
        }
        OPERATIONS
    };
    let mut set: HashSet<[u8; ID]> = HashSet::with_capacity(2 * events);
    let (mut name, mut number) = ([b'0'; ID], 0);
    let mut floor = || {
        for _ in 0..OPERATIONS {
            renumber(&mut name, &mut number);
            // It forgets all at once, where the service forgets the oldest.
            if set.len() == events {
                set.clear();
            }
            assert!(set.insert(black_box(name)), "an id that is new");
        }
        OPERATIONS
    };
    pair("  repeat", quick, OPERATIONS, &mut ours, &mut floor);
}
