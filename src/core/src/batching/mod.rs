//! When the open batch becomes visible.
//!
//! In *adaptive* mode the reactor never sleeps over an open batch: a poll that finds nothing to do commits, and so
//! does a turn in which one socket alone had something; a lone event is visible at once, and batches grow only while
//! sockets stay ready. In *window* mode a batch stays open for the
//! window. In both the window is the bound on waiting, and the batch is committed 10 ms before its end; what must not
//! wait is committed before it is answered; and a batch without room is committed at once. No reader's state enters.

use crate::limits;
use crate::metrics::names::commit;
use crate::time::Now;

/// How batches are closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As soon as there is nothing else to do.
    #[default]
    Adaptive,
    /// At the end of the window.
    Window,
}

/// Why a batch is committed; the number is its label in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// A poll found nothing to do.
    Idle = commit::IDLE,
    /// The window is about to end.
    Window = commit::WINDOW,
    /// There is no room for the next event.
    BatchFull = commit::BATCH_FULL,
    /// An event must not wait.
    Urgent = commit::URGENT,
    /// The service shuts down.
    Drain = commit::DRAIN,
}

/// The open batch's clock.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    mode: Mode,
    window_ns: u64,
    /// When the first event of the open batch arrived.
    opened_mono_ns: Option<u64>,
    has_urgent: bool,
}

impl Batching {
    /// Batches in `mode` whose events wait `window_ns` at most.
    #[must_use]
    pub fn new(mode: Mode, window_ns: u64) -> Batching {
        assert!(window_ns >= limits::WINDOW_NS_MIN, "the margin would swallow the window");
        Batching { mode, window_ns, opened_mono_ns: None, has_urgent: false }
    }

    /// An event was stored in the open batch.
    pub fn stored(&mut self, now: Now, is_urgent: bool) {
        self.opened_mono_ns.get_or_insert(now.mono_ns);
        self.has_urgent |= is_urgent;
    }

    /// Whether, and why, the batch is to be committed now.
    #[must_use]
    pub fn due(&self, now: Now) -> Option<Cause> {
        if self.has_urgent {
            return Some(Cause::Urgent);
        }
        self.deadline().filter(|&deadline| now.mono_ns >= deadline).map(|_| Cause::Window)
    }

    /// Whether, and why, the batch is to be committed when a poll has found nothing to do.
    #[must_use]
    pub fn due_when_idle(&self, now: Now) -> Option<Cause> {
        self.due(now).or_else(|| self.commits_when_idle().then_some(Cause::Idle))
    }

    /// Whether what comes alone is committed at once.
    #[must_use]
    pub fn is_adaptive(&self) -> bool {
        self.mode == Mode::Adaptive
    }

    /// Whether a quiet poll would commit: then the next poll must not sleep.
    #[must_use]
    pub fn commits_when_idle(&self) -> bool {
        self.is_adaptive() && self.opened_mono_ns.is_some()
    }

    /// Whether an event waits that must not.
    #[must_use]
    pub fn has_urgent(&self) -> bool {
        self.has_urgent
    }

    /// When the open batch must be committed at the latest, on the monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let opened = self.opened_mono_ns?;
        Some(opened.saturating_add(self.window_ns - limits::WINDOW_MARGIN_NS))
    }

    /// The batch was committed; returns how long its first event has waited, in nanoseconds.
    pub fn committed(&mut self, now: Now) -> u64 {
        self.has_urgent = false;
        self.opened_mono_ns.take().map_or(0, |opened| now.mono_ns.saturating_sub(opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MILLISECOND;

    const START: Now = Now { mono_ns: 1_000, unix_ns: 0 };

    fn after(ms: u64) -> Now {
        START.plus(ms * MILLISECOND)
    }

    #[test]
    fn adaptive_commits_when_nothing_is_left_to_do() {
        let mut batching = Batching::new(Mode::Adaptive, limits::WINDOW_NS);
        assert_eq!(batching.due_when_idle(START), None);
        batching.stored(START, false);
        assert_eq!(batching.due(after(1)), None);
        assert_eq!(batching.due_when_idle(after(1)), Some(Cause::Idle));
        assert_eq!(batching.committed(after(1)), MILLISECOND);
        assert_eq!(batching.due_when_idle(after(1)), None);
    }

    #[test]
    fn under_load_the_window_of_the_first_event_bounds_the_wait() {
        for mode in [Mode::Adaptive, Mode::Window] {
            let mut batching = Batching::new(mode, limits::WINDOW_NS);
            batching.stored(START, false);
            batching.stored(after(50), false);
            assert_eq!(batching.due(after(89)), None);
            assert_eq!(batching.deadline(), Some(after(90).mono_ns));
            assert_eq!(batching.due(after(90)), Some(Cause::Window));
        }
    }

    #[test]
    fn a_window_is_not_cut_short_by_a_quiet_poll() {
        let mut batching = Batching::new(Mode::Window, limits::WINDOW_NS);
        batching.stored(START, false);
        assert!(!batching.commits_when_idle());
        assert_eq!(batching.due_when_idle(after(1)), None);
    }

    #[test]
    fn what_is_urgent_does_not_wait() {
        let mut batching = Batching::new(Mode::Window, limits::WINDOW_NS);
        batching.stored(START, true);
        batching.stored(START, false);
        assert_eq!(batching.due(START), Some(Cause::Urgent));
        batching.committed(START);
        assert!(!batching.has_urgent());
    }
}
