//! When bodies are due at a fixed rate, and which of them wait for a connection.

use std::collections::VecDeque;

/// The send times of a run, in nanoseconds of the monotonic clock: fixed before it begins, whatever the service does.
#[derive(Debug)]
pub struct Schedule {
    start: u64,
    end: u64,
    interval_ns: f64,
    /// Bodies that have fallen due so far.
    due: u64,
    backlog: VecDeque<u64>,
    backlog_max: usize,
}

impl Schedule {
    /// So many bodies a second from `start` until before `end`.
    pub fn new(start: u64, end: u64, bodies_per_second: f64) -> Self {
        let interval_ns = 1e9 / bodies_per_second;
        Self { start, end, interval_ns, due: 0, backlog: VecDeque::new(), backlog_max: 0 }
    }

    /// Takes up what has fallen due until now.
    pub fn advance(&mut self, now: u64) {
        while let Some(due) = self.next_due()
            && due <= now
        {
            self.backlog.push_back(due);
            self.due += 1;
        }
        self.backlog_max = self.backlog_max.max(self.backlog.len());
    }

    /// When the next one falls due; none after the end.
    pub fn next_due(&self) -> Option<u64> {
        let due = self.start + (self.due as f64 * self.interval_ns) as u64;
        (due < self.end).then_some(due)
    }

    /// Bodies that are due and not sent.
    pub fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// The intended send time of the one that has waited longest, which is sent now.
    pub fn take(&mut self) -> Option<u64> {
        self.backlog.pop_front()
    }

    /// Those of all that wait.
    pub fn backlog(&self) -> impl Iterator<Item = u64> {
        self.backlog.iter().copied()
    }

    /// The most that have waited at once.
    pub fn backlog_max(&self) -> usize {
        self.backlog_max
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn what_falls_due_while_the_client_is_away_is_not_forgotten() {
        let mut schedule = Schedule::new(1_000, 2_000, 1e7);
        schedule.advance(1_000);
        assert_eq!((schedule.take(), schedule.take()), (Some(1_000), None));
        schedule.advance(1_250);
        assert_eq!(schedule.backlog().collect::<Vec<_>>(), [1_100, 1_200]);
        assert_eq!(schedule.next_due(), Some(1_300));
        // Long past the end: what was due before it still is, and nothing else.
        schedule.advance(9_000);
        assert_eq!(schedule.backlog().last(), Some(1_900));
        assert_eq!(schedule.waiting(), 9);
        assert_eq!(schedule.next_due(), None);
        assert_eq!(schedule.backlog_max(), 9);
    }
}
