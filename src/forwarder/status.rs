//! What a forwarder is doing, readable from any thread.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jimbot_core::breaker::State;

/// Cells that the forwarder writes.
#[derive(Debug, Default)]
pub struct Status {
    pub(super) published: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) breaker_opened: AtomicU64,
    pub(super) spilled: AtomicU64,
    pub(super) spill_events: AtomicU64,
    pub(super) spill_bytes: AtomicU64,
    pub(super) lag_events: AtomicU64,
    pub(super) lag_bytes: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) connected: AtomicBool,
    pub(super) spill_full: AtomicBool,
    breaker: AtomicU8,
    last_error: Mutex<Option<String>>,
}

/// A reading of all cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Events that the bus has acknowledged.
    pub published: u64,
    /// Events that it knew already.
    pub duplicates: u64,
    /// Events that it will not take.
    pub rejected: u64,
    /// Calls and connections that failed.
    pub failures: u64,
    /// Times the breaker has opened.
    pub breaker_opened: u64,
    /// Where the breaker stands.
    pub breaker: State,
    /// Events that were written to the spill.
    pub spilled: u64,
    /// Events in the spill that are not delivered.
    pub spill_events: u64,
    /// Bytes of the spill on disk.
    pub spill_bytes: u64,
    /// Events in the log that are neither delivered nor spilled.
    pub lag_events: u64,
    /// Bytes of the log that they hold.
    pub lag_bytes: u64,
    /// Events that the log overwrote before they were read.
    pub missed: u64,
    /// Whether the bus is connected.
    pub connected: bool,
    /// Whether the spill is full, so that the log fills up: the service is not ready.
    pub spill_full: bool,
    /// What failed last.
    pub last_error: Option<String>,
}

impl Status {
    /// Reads all cells.
    pub fn snapshot(&self) -> Snapshot {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Snapshot {
            published: read(&self.published),
            duplicates: read(&self.duplicates),
            rejected: read(&self.rejected),
            failures: read(&self.failures),
            breaker_opened: read(&self.breaker_opened),
            breaker: match self.breaker.load(Ordering::Relaxed) {
                1 => State::Open,
                2 => State::HalfOpen,
                _ => State::Closed,
            },
            spilled: read(&self.spilled),
            spill_events: read(&self.spill_events),
            spill_bytes: read(&self.spill_bytes),
            lag_events: read(&self.lag_events),
            lag_bytes: read(&self.lag_bytes),
            missed: read(&self.missed),
            connected: self.connected.load(Ordering::Relaxed),
            spill_full: self.spill_full.load(Ordering::Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn set_breaker(&self, state: State) {
        let number = match state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        };
        self.breaker.store(number, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, reason: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}
