//! What all games count together.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer;

/// The longest answer time that is told apart, in microseconds.
const ANSWER_US_MAX: u64 = 60_000_000;

/// A counter that any thread adds to.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of a run.
pub(super) struct Tally {
    /// Events that may still be made up.
    left: Option<AtomicU64>,
    /// Events that were sent at least once.
    pub(super) sent: Count,
    /// Events the service said it took, repeats included.
    pub(super) accepted: Count,
    /// Accepted ones that it knew already.
    pub(super) repeats: Count,
    /// Events it refused and said so.
    pub(super) refused: Count,
    /// Events given up after failures.
    pub(super) lost: Count,
    /// Requests and messages sent, the first time.
    pub(super) requests: Count,
    /// Requests and messages sent again.
    pub(super) resent: Count,
    /// Requests without a good answer, by reason.
    pub(super) failures: Count,
    pub(super) bytes: Count,
    pub(super) polls: Count,
    pub(super) commands: Count,
    /// The last failure, for people.
    last_failure: Mutex<Option<String>>,
    answers: Mutex<Histogram<u64>>,
    ids: Option<Mutex<BufWriter<File>>>,
}

impl Tally {
    pub(super) fn new(events: Option<u64>, ids: Option<Mutex<BufWriter<File>>>) -> Tally {
        let answers = Histogram::new_with_bounds(1, ANSWER_US_MAX, 3).expect("valid bounds");
        Tally {
            left: events.map(AtomicU64::new),
            sent: Count::default(),
            accepted: Count::default(),
            repeats: Count::default(),
            refused: Count::default(),
            lost: Count::default(),
            requests: Count::default(),
            resent: Count::default(),
            failures: Count::default(),
            bytes: Count::default(),
            polls: Count::default(),
            commands: Count::default(),
            last_failure: Mutex::new(None),
            answers: Mutex::new(answers),
            ids,
        }
    }

    /// Takes one of the events that the run may have; `false` when there are none left.
    pub(super) fn take_event(&self) -> bool {
        match &self.left {
            None => true,
            Some(left) => left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok(),
        }
    }

    pub(super) fn answered_after(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        lock(&self.answers).saturating_record(us.clamp(1, ANSWER_US_MAX));
    }

    pub(super) fn failed(&self, reason: String) {
        self.failures.add(1);
        *lock(&self.last_failure) = Some(reason);
    }

    pub(super) fn last_failure(&self) -> Option<String> {
        lock(&self.last_failure).clone()
    }

    /// Answer times in microseconds at the given percentiles.
    pub(super) fn answer_us(&self, percentiles: [f64; 3]) -> [u64; 3] {
        let answers = lock(&self.answers);
        percentiles.map(|percentile| answers.value_at_percentile(percentile))
    }

    /// Counts what an answer says about the events with these ids.
    pub(super) fn count_answer(&self, answer: &[u8], ids: &[Option<String>]) {
        let verdict = answer::read(answer, ids.len());
        self.accepted.add(verdict.accepted);
        self.repeats.add(verdict.repeats);
        self.refused.add(verdict.refused);
        let taken = ids.iter().enumerate().filter(|(at, _)| !verdict.refused_at.contains(at));
        self.acknowledge(taken.filter_map(|(_, id)| id.as_deref()));
    }

    /// Writes down that these events are acknowledged.
    fn acknowledge<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        if let Some(file) = &self.ids {
            let mut file = lock(file);
            for id in ids {
                if let Err(error) = writeln!(file, "{id}") {
                    drop(file);
                    self.failed(format!("the file of acknowledged ids: {error}"));
                    return;
                }
            }
        }
    }

    pub(super) fn flush_ids(&self) -> io::Result<()> {
        self.ids.as_ref().map_or(Ok(()), |file| lock(file).flush())
    }
}

/// A thread that panicked has told its own story; its counts are still good.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
