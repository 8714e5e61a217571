//! What may be spent on one connection before the next has its turn.

use crate::time::Now;

/// Bytes, and where a clock may be read, time.
pub(super) struct Budget<'a> {
    bytes: usize,
    clock: Option<(&'a mut dyn FnMut() -> Now, u64)>,
}

impl<'a> Budget<'a> {
    /// So many bytes of events.
    pub(super) fn of_bytes(bytes: usize) -> Budget<'a> {
        Budget { bytes, clock: None }
    }

    /// So many bytes, and not past a moment on the monotonic clock.
    pub(super) fn of_time(
        bytes: usize,
        clock: &'a mut dyn FnMut() -> Now,
        until_mono_ns: u64,
    ) -> Budget<'a> {
        Budget { bytes, clock: Some((clock, until_mono_ns)) }
    }

    /// An event took so many bytes.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some((clock, until)) = &mut self.clock
            && clock().mono_ns >= *until
        {
            self.bytes = 0;
        }
    }

    /// Whether there is nothing left.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes left.
    pub(super) fn left(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_or_time_whichever_ends_first() {
        let mut budget = Budget::of_bytes(10);
        budget.spend(9);
        assert!(!budget.is_spent());
        budget.spend(9);
        assert!(budget.is_spent());
        let mut time = 0;
        let mut clock = || {
            time += 10;
            Now { mono_ns: time, unix_ns: 0 }
        };
        let mut budget = Budget::of_time(1000, &mut clock, 20);
        budget.spend(1);
        assert_eq!(budget.left(), 999);
        budget.spend(1);
        assert!(budget.is_spent());
    }
}
