//! The canonical workloads that every measurement uses, so that figures can be compared.

use std::ops::Range;

use crate::batch::Batch;
use crate::clock::Clock;
use crate::game::{Event, Game, GameOptions};
use crate::script::Moment;

/// What a body of the workload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// One MONEY_CHANGED of about 190 bytes.
    Small,
    /// One GAME_STATE of about 9.6 KB from the middle of a run; the deck hardly ever changes.
    GameState,
    /// A batch of 45 small events and 5 states, about 57 KB.
    Batch50,
    /// The batches of one scored hand with 60 triggers: small events only, in full batches.
    Cascade,
    /// Batches as a game in play sends them, of 1 to 50 events.
    Mixed,
}

impl Workload {
    /// All of them, by the names that command lines use.
    pub const ALL: [(&'static str, Workload); 5] = [
        ("small", Workload::Small),
        ("state", Workload::GameState),
        ("batch", Workload::Batch50),
        ("cascade", Workload::Cascade),
        ("mixed", Workload::Mixed),
    ];
}

/// One body of a workload.
#[derive(Clone, Debug)]
pub struct Body {
    /// A single event's JSON, or a batch.
    pub bytes: Vec<u8>,
    /// Where each event's 36-byte `event_id` stands in `bytes`, so that a load generator can
    /// give every sending ids of its own without building the text again.
    pub ids: Vec<Range<usize>>,
    /// Whether the body is a batch (for `/api/v1/events/batch`) or one event.
    pub batch: bool,
}

impl Body {
    /// How many events the body holds.
    pub fn events(&self) -> usize {
        self.ids.len()
    }

    fn one(event: Event) -> Body {
        let ids = vec![id_range(&event.json, &event, 0)];
        Body { bytes: event.json, ids, batch: false }
    }

    fn packed(events: &[Event], batch_id: &str, clock: Clock) -> Body {
        let bytes = Batch::pack(events, batch_id, clock).body;
        let mut from = 0;
        let ids = events
            .iter()
            .map(|event| {
                let range = id_range(&bytes, event, from);
                from = range.end;
                range
            })
            .collect();
        Body { bytes, ids, batch: true }
    }
}

fn id_range(bytes: &[u8], event: &Event, from: usize) -> Range<usize> {
    let id = event.id.as_ref().expect("workload events have ids").as_bytes();
    let at = bytes[from..].windows(id.len()).position(|window| window == id);
    let start = from + at.expect("the id stands in the text");
    start..start + id.len()
}

/// An endless stream of bodies of one workload.
pub struct Stream {
    workload: Workload,
    game: Game,
    clock: Clock,
    batches: u64,
    pending: Vec<Event>,
    money: i64,
}

/// Jokers owned in the canonical state.
const STATE_JOKERS: usize = 5;
/// Cards bought in addition to the standard deck; chosen for a state of 9.6 KB.
const STATE_EXTRA_CARDS: usize = 10;
/// Triggers of the canonical cascade: past the 50 at which the mod's queue overflows.
const CASCADE_TRIGGERS: u32 = 60;
/// One state in this many has a changed card in its deck (5 %).
const DECK_CHANGES_EVERY: u64 = 20;

impl Stream {
    /// The stream of one game; the same seed gives the same bodies.
    pub fn new(workload: Workload, seed: u64, start: Clock) -> Stream {
        let triggers = match workload {
            Workload::Cascade => (CASCADE_TRIGGERS, CASCADE_TRIGGERS),
            _ => GameOptions::default().triggers,
        };
        let mut game = Game::new(&GameOptions { seed, triggers, ..GameOptions::default() });
        game.skip_to_play(STATE_JOKERS);
        game.world.card_text_ids = true;
        game.world.add_cards(STATE_EXTRA_CARDS);
        Stream { workload, game, clock: start, batches: 0, pending: Vec::new(), money: 0 }
    }

    /// The next body.
    pub fn next_body(&mut self) -> Body {
        self.batches += 1;
        match self.workload {
            Workload::Small => Body::one(self.small()),
            Workload::GameState => Body::one(self.state()),
            Workload::Batch50 => {
                let events: Vec<Event> = (0..50)
                    .map(|at| if at % 10 == 9 { self.state() } else { self.small() })
                    .collect();
                self.pack(&events)
            }
            Workload::Cascade => {
                while self.pending.len() < 50 {
                    self.cascade();
                }
                let events: Vec<Event> = self.pending.drain(..50).collect();
                self.pack(&events)
            }
            Workload::Mixed => {
                let count = 1 + (self.batches as usize * 7) % 50;
                let events: Vec<Event> = (0..count).map(|_| self.story()).collect();
                self.pack(&events)
            }
        }
    }

    fn pack(&mut self, events: &[Event]) -> Body {
        Body::packed(events, &format!("batch-{}", self.batches), self.clock)
    }

    fn say(&mut self, moment: &Moment) -> Event {
        self.clock = self.clock.later(1.0);
        self.game.say(moment, self.clock).expect("the mod has words for it")
    }

    fn small(&mut self) -> Event {
        let old = self.money;
        self.money = (self.money + 7) % 100;
        self.say(&Moment::Money { old, new: self.money })
    }

    fn state(&mut self) -> Event {
        if self.batches.is_multiple_of(DECK_CHANGES_EVERY) {
            self.game.world.enhance_card();
        }
        self.game.world.chips = (self.game.world.chips + 1_217.0) % 1e9;
        self.say(&Moment::State { initial: false })
    }

    fn cascade(&mut self) {
        self.game.world.start_round();
        self.game.score_hand();
        while self.game.has_queued() {
            let event = self.story();
            // The state that follows a cascade belongs to the other workloads.
            if event.type_name != "GAME_STATE" {
                self.pending.push(event);
            }
        }
    }

    fn story(&mut self) -> Event {
        loop {
            self.clock = self.clock.later(self.game.pause_ms());
            let event = self.game.next_event(self.clock);
            if event.id.is_some() {
                return event;
            }
        }
    }
}
