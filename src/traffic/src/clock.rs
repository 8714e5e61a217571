//! The two clocks of a game, passed in by whoever drives it.

/// One moment on both clocks that games put into events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// The monotonic clock of the game process, in milliseconds with a fraction.
    pub monotonic_ms: f64,
    /// Wall-clock time, in milliseconds since the Unix epoch with a fraction.
    pub unix_ms: f64,
}

impl Clock {
    /// A fixed moment for examples and tests: a day after boot, in 2026.
    pub const EXAMPLE: Clock =
        Clock { monotonic_ms: 86_400_516.669_667, unix_ms: 1_772_000_000_250.0 };

    /// The same moment `ms` milliseconds later.
    #[must_use]
    pub fn later(self, ms: f64) -> Clock {
        Clock { monotonic_ms: self.monotonic_ms + ms, unix_ms: self.unix_ms + ms }
    }
}

/// A clock that moves only when told to: for tests, and for workloads written ahead of time.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    now: Clock,
}

impl VirtualClock {
    /// A clock that stands at `start`.
    pub fn starting_at(start: Clock) -> VirtualClock {
        VirtualClock { now: start }
    }

    /// The present moment.
    pub fn now(&self) -> Clock {
        self.now
    }

    /// Moves both clocks forward.
    pub fn advance(&mut self, ms: f64) {
        self.now = self.now.later(ms);
    }
}
