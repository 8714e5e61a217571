//! The clock: read here, once a turn, and passed to everything that needs a time.

use jimbot_core::time::Now;
use rustix::time::{ClockId, clock_gettime};

/// Reads both clocks: the monotonic one drives every deadline, the other is what people and
/// readers see in receive times.
pub fn now() -> Now {
    Now { mono_ns: read(ClockId::Monotonic), unix_ns: read(ClockId::Realtime) }
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Both clocks count from a past moment, so neither part is negative.
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::now;

    #[test]
    fn monotonic_clock_never_goes_back_and_wall_clock_is_in_this_century() {
        let first = now();
        let second = now();
        assert!(second.mono_ns >= first.mono_ns);
        assert!(first.unix_ns > 1_700_000_000_000_000_000);
    }
}
