//! Time as the core sees it: a pair of readings that the shell takes once a turn and passes in.
//!
//! Nothing in this crate reads a clock, so every wait can be driven by a test with a made-up one.

/// Nanoseconds in a microsecond.
pub const MICROSECOND: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Nanoseconds of a clock that never goes back: every deadline and duration is counted on it.
    pub mono_ns: u64,
    /// Nanoseconds since 1970-01-01 UTC: what is written into events, and compared across restarts. It may be set
    /// back by the host, so no deadline hangs on it.
    pub unix_ns: u64,
}

impl Now {
    /// The same moment `ns` nanoseconds later, on both clocks.
    #[must_use]
    pub const fn plus(self, ns: u64) -> Now {
        Now { mono_ns: self.mono_ns.saturating_add(ns), unix_ns: self.unix_ns.saturating_add(ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_moves_both_clocks_and_saturates() {
        let now = Now { mono_ns: 5, unix_ns: u64::MAX - 1 };
        assert_eq!(now.plus(2 * SECOND), Now { mono_ns: 5 + 2 * SECOND, unix_ns: u64::MAX });
    }
}
