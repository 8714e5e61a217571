//! How many frames a peer may send in a second: a leaky bucket that holds one second's worth.

use crate::time::SECOND;

/// Counts against a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// What one takes of the time; 0 without a limit.
    each_ns: u64,
    /// The time at which everything counted so far will have leaked away.
    empty_at_ns: u64,
}

impl Rate {
    pub(super) const fn new(per_second: u64) -> Rate {
        let each_ns = match per_second {
            0 => 0,
            per_second => SECOND / per_second,
        };
        Rate { each_ns, empty_at_ns: 0 }
    }

    /// Counts `amount` and says whether the rate still allows it. A rate of 0 allows everything.
    pub(super) fn allows(&mut self, amount: u64, now_ns: u64) -> bool {
        if self.each_ns == 0 || amount == 0 {
            return true;
        }
        let cost = amount.saturating_mul(self.each_ns);
        self.empty_at_ns = self.empty_at_ns.max(now_ns).saturating_add(cost);
        self.empty_at_ns - now_ns <= SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_may_come_at_once_and_no_more() {
        let mut rate = Rate::new(100);
        assert!(rate.allows(100, 5 * SECOND));
        assert!(!rate.allows(1, 5 * SECOND));
        assert!(rate.allows(49, 5 * SECOND + SECOND / 2 + SECOND / 50));
        assert!(Rate::new(0).allows(u64::MAX, 0));
    }
}
