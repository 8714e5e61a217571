//! What is remembered of one session.

use crate::limits;
use crate::time::Now;

/// The clock that an event's time counts on, as far as order within a session goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clock {
    /// Milliseconds of the game's monotonic clock.
    Monotonic(f64),
    /// Milliseconds since 1970.
    Unix(f64),
}

/// How the sender of a session's events is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By the id its events carry.
    Producer,
    /// By its WebSocket.
    WebSocket,
    /// By its connection, peer address and User-Agent.
    Http,
}

/// What showed that a session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody spoke who was not known.
    FirstEvent = 0,
    /// The game said so at its start.
    ConnectionTest = 1,
    /// The game's clock began anew.
    Clock = 2,
}

/// One run of one game process.
#[derive(Clone, Debug)]
pub struct Session {
    /// The id that stands in events: hash of what the sender is known by (48 bits), and a count (16 bits).
    pub id: u64,
    /// How the sender is known.
    pub kind: Kind,
    /// Keyed hash of the id and the last game id.
    pub game_key: u64,
    /// The last game id, as far as it is shown to people; empty until the first state.
    pub game_id: String,
    /// The sender's User-Agent, or what else it called itself.
    pub agent: String,
    /// Whether a heartbeat has told its version.
    pub has_version: bool,
    /// The connection that brings its events, while it is open.
    pub connection: Option<u64>,
    /// Whether that connection has brought a second request, and so is kept alive and the session's own.
    pub is_connection_kept: bool,
    /// When it was last heard of.
    pub heard: Now,
    /// Whether a later session of the same sender has begun.
    pub is_over: bool,
    /// Whether it may hold the events of more than one game process.
    pub is_ambiguous: bool,
    /// Events stored.
    pub events: u64,
    /// Polls for commands, by which it shows that it fetches them.
    pub polls: u64,
    pub(super) generation: u32,
    /// The address it was last heard of at, and the address's place in [`super::addresses`].
    pub(super) address: Option<(u64, u32)>,
    pub(super) newest_monotonic: f64,
    pub(super) newest_unix: f64,
    /// Time of the connection test that began it, while nothing else has come since: a test sent again begins nothing.
    pub(super) test_time_bits: Option<u64>,
    previous_game_key: u64,
    returns: u32,
    first_return_mono_ns: u64,
}

impl Session {
    pub(super) fn new(id: u64, kind: Kind, game_key: u64, generation: u32, now: Now) -> Session {
        Session {
            id,
            kind,
            game_key,
            game_id: String::new(),
            agent: String::new(),
            has_version: false,
            connection: None,
            is_connection_kept: false,
            heard: now,
            is_over: false,
            is_ambiguous: false,
            events: 0,
            polls: 0,
            generation,
            address: None,
            newest_monotonic: f64::NEG_INFINITY,
            newest_unix: f64::NEG_INFINITY,
            test_time_bits: None,
            previous_game_key: 0,
            returns: 0,
            first_return_mono_ns: 0,
        }
    }

    /// Whether it can be reached now: its connection is open, or it was heard of lately and nothing followed it.
    #[must_use]
    pub fn is_connected(&self, now: Now) -> bool {
        !self.is_over
            && (self.connection.is_some()
                || now.mono_ns.saturating_sub(self.heard.mono_ns) < limits::SESSION_CONNECTED_NS)
    }

    /// Whether a clock lies so far behind the newest that the game must have been started anew.
    pub(super) fn is_far_behind(&self, clock: Clock) -> bool {
        matches!(clock, Clock::Monotonic(ms) if ms < self.newest_monotonic - limits::SESSION_CLOCK_BACK_MS)
    }

    /// Takes an event's clock; true when the event is older than the newest one.
    pub(super) fn advance(&mut self, clock: Option<Clock>) -> bool {
        let (newest, time) = match clock {
            Some(Clock::Monotonic(ms)) => (&mut self.newest_monotonic, ms),
            Some(Clock::Unix(ms)) => (&mut self.newest_unix, ms),
            None => return false,
        };
        // Every comparison with NaN is false: such a time neither advances the clock nor is behind it.
        if time > *newest {
            *newest = time;
        }
        time < *newest
    }

    /// Takes the key of the game that an event names; true when this shows a second game process.
    pub(super) fn change_game(&mut self, game_key: u64, now: Now) -> bool {
        if game_key == self.game_key {
            return false;
        }
        if game_key == self.previous_game_key {
            if self.returns == 0
                || now.mono_ns.saturating_sub(self.first_return_mono_ns)
                    > limits::SESSION_ALTERNATION_NS
            {
                self.returns = 0;
                self.first_return_mono_ns = now.mono_ns;
            }
            self.returns += 1;
        } else {
            self.returns = 0;
        }
        self.previous_game_key = std::mem::replace(&mut self.game_key, game_key);
        self.returns >= limits::SESSION_ALTERNATIONS
    }
}
