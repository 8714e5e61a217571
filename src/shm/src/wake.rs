//! Sleeping and waking, and what waking may cost.

use std::{
    io,
    sync::atomic::AtomicU32,
    time::{Duration, Instant},
};

use rustix::{io::Errno, thread::futex};

use crate::{
    protocol::{self, Control, TableHead},
    time::Now,
};

/// A sleeper looks at the log again after this long at the latest, woken or not.
pub(crate) const SLEEP_MAX: Duration = Duration::from_millis(250);
/// For so long a sleeper that was woken looks for what it was woken for: the writer wakes it while it still converts
/// the event, which takes some 20 µs on a thread that was asleep itself.
pub(crate) const CALLED: Duration = Duration::from_micros(50);
/// Waking takes at most one part in so many of the writer's time.
const SHARE: u64 = 10;

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slept {
    /// Woken, or there was no reason to sleep.
    Woken,
    /// The time was up.
    TimedOut,
    /// A signal came.
    Interrupted,
}

/// Sleeps while `word` is `value`. Never PRIVATE: the waker is another process, and a read-only mapping will do.
pub(crate) fn sleep(word: &AtomicU32, value: u32, timeout: Duration) -> io::Result<Slept> {
    let timeout = timeout.min(SLEEP_MAX);
    let timeout = futex::Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match futex::wait(word, futex::Flags::empty(), value, Some(&timeout)) {
        Ok(()) | Err(Errno::AGAIN) => Ok(Slept::Woken),
        Err(Errno::TIMEDOUT) => Ok(Slept::TimedOut),
        Err(Errno::INTR) => Ok(Slept::Interrupted),
        Err(errno) => Err(errno.into()),
    }
}

/// Looks until `found`, for `limit` at most. Does not yield meanwhile: on a busy CPU that would cost a whole time slice.
pub(crate) fn look(limit: Duration, mut found: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if found() {
            return true;
        }
        std::hint::spin_loop();
    }
    false
}

/// Wakes all who sleep on `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    // Waking fails only for a word that is not mapped.
    let woken = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
    debug_assert!(woken.is_ok());
}

/// When the writer may wake again.
///
/// What a wake costs is the middle one of the last three that were timed. The clock also counts what stops the thread in
/// the middle of one, an interrupt or another process, and one such wake would put off the next for milliseconds.
#[derive(Debug, Default)]
pub(crate) struct WakeBudget {
    /// What the last wakes took, nanoseconds.
    took_ns: [u64; 3],

    /// Monotonic time before which nobody is woken.
    not_before_ns: u64,
    /// A wake was put off until then.
    due: bool,
    /// Wakes done, and wakes put off, since the start.
    pub(crate) woken: u64,
    pub(crate) deferred: u64,
}

impl WakeBudget {
    /// Wakes the sleepers if there are any and the budget allows it; else notes that it is due.
    pub(crate) fn wake(&mut self, control: &Control, head: &TableHead, now: Now) {
        if !protocol::sleepers(head) {
            self.due = false;
            return;
        }
        if now.mono_ns < self.not_before_ns {
            self.deferred += u64::from(!self.due);
            self.due = true;
            return;
        }
        self.ring(control, head, now);
    }

    /// Wakes the sleepers before there is anything to read, if the budget allows it. One that sleeps again before the
    /// commit has set its bit again, and the commit's own wake finds it.
    pub(crate) fn alert(&mut self, control: &Control, head: &TableHead, now: Now) {
        if now.mono_ns >= self.not_before_ns && protocol::sleepers(head) {
            self.ring(control, head, now);
        }
    }

    fn ring(&mut self, control: &Control, head: &TableHead, now: Now) {
        let begin = Instant::now();
        protocol::ring(control, head);
        wake_all(&control.wake.0);
        self.rang(begin.elapsed().as_nanos() as u64, now);
    }

    /// A wake took so long: none follows before the time of which it is the share.
    fn rang(&mut self, took_ns: u64, now: Now) {
        self.due = false;
        self.took_ns[(self.woken % 3) as usize] = took_ns;
        self.woken += 1;
        let mut costs = self.took_ns;
        costs.sort_unstable();
        let [_, cost, _] = costs;
        self.not_before_ns = now.mono_ns + took_ns + SHARE * cost;
    }

    /// Monotonic time at which a wake that was put off is due.
    pub(crate) fn due(&self) -> Option<u64> {
        self.due.then_some(self.not_before_ns)
    }
}

/// Wakes everyone, whatever it costs: at start, when the log is sealed and at its end.
pub(crate) fn wake_always(control: &Control, head: &TableHead) {
    protocol::ring(control, head);
    wake_all(&control.wake.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    fn after(took_us: &[u64]) -> u64 {
        let mut budget = WakeBudget::default();
        for took in took_us {
            budget.rang(took * US, Now::default());
        }
        budget.not_before_ns / US
    }

    #[test]
    fn a_wake_that_was_interrupted_does_not_put_off_the_next_for_milliseconds() {
        assert_eq!(after(&[7, 7, 7, 500]), 500 + 70);
        assert_eq!(after(&[7, 500, 7]), 7 + 70);
    }

    #[test]
    fn waking_that_has_become_dear_is_put_off_from_the_second_time_on() {
        assert_eq!(after(&[7, 7, 500, 500]), 500 + 5_000);
        assert_eq!(after(&[500, 500, 500]), 500 + 5_000);
    }
}
