//! One game process: a story, told in one dialect, event by event.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::clock::Clock;
use crate::dialect::{Dialect, Draft, client_words, mod_words};
use crate::encode::{Encoder, KeyOrder, Style};
use crate::quirks::{Oddity, Quirks};
use crate::script::{Moment, Stage};
use crate::value::{Value, table};
use crate::world::{Cascades, World};

/// What kind of game to make up.
#[derive(Clone, Debug)]
pub struct GameOptions {
    /// The same seed gives the same game; games that run side by side need different ones.
    pub seed: u64,
    /// The words it speaks.
    pub dialect: Dialect,
    /// The order of keys in its objects.
    pub key_order: KeyOrder,
    /// Fewest and most joker triggers of a scored hand; from about 50 the mod's queue overflows.
    pub triggers: (u32, u32),
    /// How often its events are odd, and in which ways.
    pub quirks: Quirks,
    /// Event ids start over at each game start, as the mod's unseeded generator makes them do.
    /// Off, every seed has ids of its own.
    pub recurring_ids: bool,
}

impl Default for GameOptions {
    fn default() -> GameOptions {
        GameOptions {
            seed: 1,
            dialect: Dialect::Mod,
            key_order: KeyOrder::Constant(1),
            triggers: (1, 24),
            quirks: Quirks::none(),
            recurring_ids: false,
        }
    }
}

/// One event as a game sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its JSON text: one object, without a line end. Odd events may not be valid JSON.
    pub json: Vec<u8>,
    /// Its `event_id`, where the dialect has one.
    pub id: Option<String>,
    /// Its type as sent.
    pub type_name: &'static str,
    /// The mod sends it on the single-event path (the connection test).
    pub alone: bool,
    /// It has priority `high`.
    pub urgent: bool,
    /// What is odd about it.
    pub oddity: Option<Oddity>,
}

/// One run after another of one game process.
pub struct Game {
    pub(crate) world: World,
    pub(crate) stage: Stage,
    pub(crate) cascades: Cascades,
    /// Milliseconds of the game's own time that the story has reached.
    pub(crate) told_ms: f64,
    pub(crate) heartbeat_told_ms: f64,
    dialect: Dialect,
    quirks: Quirks,
    encoder: Encoder,
    ids: Rng,
    chance: Rng,
    queue: VecDeque<(f64, Draft)>,
    /// Time since the last moment of the story that the dialect has words for.
    silence_ms: f64,
}

impl Game {
    /// A game that has just been started.
    pub fn new(options: &GameOptions) -> Game {
        let mut seeds = Rng::with_seed(options.seed);
        let style = if options.dialect == Dialect::Mod { Style::Lua } else { Style::Python };
        let world_seed = seeds.u64(..);
        let encoder = Encoder::new(style, options.key_order, seeds.u64(..));
        let own_ids = seeds.u64(..);
        Game {
            world: World::new(world_seed),
            stage: Stage::Launch,
            cascades: Cascades { triggers: options.triggers },
            told_ms: 0.0,
            heartbeat_told_ms: 0.0,
            dialect: options.dialect,
            quirks: options.quirks.clone(),
            encoder,
            ids: Rng::with_seed(if options.recurring_ids { 0 } else { own_ids }),
            chance: Rng::with_seed(seeds.u64(..)),
            queue: VecDeque::new(),
            silence_ms: 0.0,
        }
    }

    /// How long the game itself would wait before its next event, in milliseconds.
    pub fn pause_ms(&mut self) -> f64 {
        self.fill_queue();
        self.queue[0].0
    }

    /// The next event, sent at `clock`.
    pub fn next_event(&mut self, clock: Clock) -> Event {
        self.fill_queue();
        let (_, draft) = self.queue.pop_front().expect("the queue was just filled");
        self.finish(draft, clock)
    }

    /// The seed of the run in progress, as its events name it; `unknown` before the first.
    pub fn game_id(&self) -> &str {
        &self.world.game_id
    }

    /// Whether the story has told something that nobody has taken yet.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    fn fill_queue(&mut self) {
        while self.queue.is_empty() {
            self.advance();
        }
    }

    /// Puts a moment of the story into words, and keeps its distance in time.
    pub(crate) fn tell(&mut self, pause_ms: f64, moment: Moment) {
        self.told_ms += pause_ms;
        self.silence_ms += pause_ms;
        let words = match self.dialect {
            Dialect::Mod => mod_words(&moment, &mut self.world),
            Dialect::WebSocket | Dialect::Script => client_words(&moment, &mut self.world),
        };
        if let Some(draft) = words {
            self.queue.push_back((std::mem::take(&mut self.silence_ms), draft));
        }
    }

    /// Words for one moment at once, past the queue: for samples and workloads.
    pub(crate) fn say(&mut self, moment: &Moment, clock: Clock) -> Option<Event> {
        let draft = match self.dialect {
            Dialect::Mod => mod_words(moment, &mut self.world),
            Dialect::WebSocket | Dialect::Script => client_words(moment, &mut self.world),
        }?;
        Some(self.finish(draft, clock))
    }

    fn finish(&mut self, draft: Draft, clock: Clock) -> Event {
        let type_name = draft.type_name;
        let alone = draft.data.is_some();
        let urgent = draft.priority == Some("high");
        let (mut envelope, mut id) = match self.dialect {
            Dialect::Mod => self.mod_envelope(draft, clock),
            Dialect::WebSocket => self.client_envelope(draft, clock),
            Dialect::Script => self.script_envelope(draft, clock),
        };
        let oddity = if alone { None } else { self.quirks.draw(&mut self.chance) };
        if let Some(oddity) = oddity {
            oddity.bend(&mut envelope, &mut self.chance);
            id = id.filter(|_| envelope.entries().iter().any(|(key, _)| key == "event_id"));
        }
        let mut json = Vec::with_capacity(512);
        self.encoder.write(&mut json, &envelope, clock);
        if let Some(oddity) = oddity {
            oddity.spoil(&mut json, &mut self.chance);
        }
        Event { json, id, type_name, alone, urgent, oddity }
    }

    fn mod_envelope(&mut self, draft: Draft, clock: Clock) -> (Value, Option<String>) {
        if let Some(data) = draft.data {
            let envelope = table! {
                "type" => draft.type_name,
                "timestamp" => whole_seconds_ms(clock),
                "source" => "BalatroMCP",
                "data" => data,
            };
            return (envelope, None);
        }
        let id = self.uuid();
        let mut envelope = table! {
            "type" => draft.type_name,
            "source" => "BalatroMCP",
            "timestamp" => Value::MonotonicMs,
            "event_id" => id.clone(),
            "version" => 1.0,
        };
        if let Some(subtype) = draft.subtype {
            envelope.set("subtype", subtype);
        }
        if let Some(priority) = draft.priority {
            envelope.set("priority", priority);
        }
        if draft.initial {
            envelope.set("initial", true);
        }
        envelope.set("payload", draft.payload.unwrap_or_else(|| table! {}));
        (envelope, Some(id))
    }

    fn client_envelope(&mut self, draft: Draft, clock: Clock) -> (Value, Option<String>) {
        let mut envelope = table! {
            "type" => draft.type_name,
            "timestamp" => clock.unix_ms / 1000.0,
            "game_id" => self.world.game_id.clone(),
            "data" => draft.payload.unwrap_or_else(|| table! {}),
        };
        if self.chance.u8(..8) == 0 {
            envelope.set("trace_id", format!("{:032x}", self.ids.u128(..)));
            envelope.set("span_id", format!("{:016x}", self.ids.u64(..)));
        }
        (envelope, None)
    }

    fn script_envelope(&mut self, draft: Draft, clock: Clock) -> (Value, Option<String>) {
        let id = self.uuid();
        let envelope = table! {
            "event_id" => id.clone(),
            "event_type" => draft.type_name,
            "timestamp" => iso_time(clock.unix_ms),
            "source" => "training-script",
            "game_state" => draft.payload.unwrap_or_else(|| table! {}),
        };
        (envelope, Some(id))
    }

    /// An id that looks like a version 4 UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let bits = self.ids.u128(..);
        let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

/// The wall clock as the mod has it for batches and tests: milliseconds, whole seconds.
pub(crate) fn whole_seconds_ms(clock: Clock) -> f64 {
    (clock.unix_ms / 1000.0).floor() * 1000.0
}

/// `2026-02-25T06:13:20.250000+00:00`, from milliseconds since the epoch.
fn iso_time(unix_ms: f64) -> String {
    let total_us = (unix_ms * 1000.0).round() as i64;
    let (days, in_day) = (total_us.div_euclid(86_400_000_000), total_us.rem_euclid(86_400_000_000));
    // Days to civil date over 400-year eras that begin on 1 March (Howard Hinnant's algorithm).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, us) = (in_day / 1_000_000, in_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_times_are_dates_of_the_calendar() {
        assert_eq!(iso_time(0.0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(iso_time(951_782_400_500.0), "2000-02-29T00:00:00.500000+00:00");
        assert_eq!(iso_time(1_772_000_000_250.0), "2026-02-25T06:13:20.250000+00:00");
    }

    #[test]
    fn ids_look_like_uuids() {
        let mut game = Game::new(&GameOptions::default());
        let id = game.uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]));
    }
}
