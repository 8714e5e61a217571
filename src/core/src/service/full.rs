//! What happens while the log is full, and while no more connections are accepted.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;

use crate::metrics::{Metric, names};
use crate::service::ConnId;
use crate::time::Now;

/// Time spent in a state, added to a counter now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch {
    metric: Metric,
    since: Option<u64>,
}

impl Stopwatch {
    pub(super) const fn new(metric: Metric) -> Stopwatch {
        Stopwatch { metric, since: None }
    }

    pub(super) fn start(&mut self, now: Now) {
        self.since.get_or_insert(now.mono_ns);
    }

    pub(super) fn stop(&mut self, cells: &[AtomicU64], now: Now) {
        self.count_time(cells, now);
        self.since = None;
    }

    pub(super) fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// Adds what has passed since the last time.
    pub(super) fn count_time(&mut self, cells: &[AtomicU64], now: Now) {
        if let Some(since) = &mut self.since {
            self.metric.add(cells, 0, now.mono_ns.saturating_sub(*since));
            *since = now.mono_ns.max(*since);
        }
    }
}

/// The log's being full, and who waits for room: every reader of the log is looked at each millisecond, since readers
/// never wake the writer; who waited for as long as the hold lasts is turned away.
#[derive(Debug)]
pub(super) struct FullLog {
    time: Stopwatch,
    began_mono_ns: u64,
    /// In the order in which they began to wait.
    pub(super) held: VecDeque<ConnId>,
}

impl FullLog {
    pub(super) fn new() -> FullLog {
        FullLog {
            time: Stopwatch::new(names::FULL_SECONDS),
            began_mono_ns: 0,
            held: VecDeque::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.time.is_running()
    }

    /// The log was found full; true when it was not known to be.
    pub(super) fn begin(&mut self, cells: &[AtomicU64], now: Now) -> bool {
        if self.is_full() {
            return false;
        }
        self.time.start(now);
        self.began_mono_ns = now.mono_ns;
        names::FULL_EPISODES.add(cells, 0, 1);
        true
    }

    /// The log has room again; returns for how long it was full, in nanoseconds.
    pub(super) fn end(&mut self, cells: &[AtomicU64], now: Now) -> u64 {
        self.time.stop(cells, now);
        now.mono_ns.saturating_sub(self.began_mono_ns)
    }

    pub(super) fn count_time(&mut self, cells: &[AtomicU64], now: Now) {
        self.time.count_time(cells, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MILLISECOND;

    #[test]
    fn time_is_counted_once() {
        let cells: Vec<AtomicU64> =
            crate::metrics::cell_names().iter().map(|_| AtomicU64::new(0)).collect();
        let now = |ms| Now { mono_ns: ms * MILLISECOND, unix_ns: 0 };
        let mut full = FullLog::new();
        assert!(full.begin(&cells, now(10)));
        assert!(!full.begin(&cells, now(11)));
        full.count_time(&cells, now(15));
        full.count_time(&cells, now(15));
        assert_eq!(full.end(&cells, now(30)), 20 * MILLISECOND);
        assert!(!full.is_full());
        full.count_time(&cells, now(90));
        assert_eq!(names::FULL_SECONDS.get(&cells, 0), 20 * MILLISECOND);
        assert_eq!(names::FULL_EPISODES.get(&cells, 0), 1);
    }
}
