//! Sleeping until there is something to read.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{LogReader, Shared};
use crate::{
    error::ReadError,
    protocol,
    time::Now,
    wake::{self, Slept},
};

/// Pause between looks for the successor of a sealed log.
const SUCCESSOR_STEP: Duration = Duration::from_millis(10);

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// There is something to read, or something to be told: call [`LogReader::try_next`].
    Ready,
    /// The time was up.
    TimedOut,
    /// A signal came; handle it, and wait again.
    Interrupted,
}

/// What a thread waits on while other threads use the reader: knows where the reader stood when it was made. Make a new
/// one for each wait. One thread waits at a time; of two, one may sleep on for 250 ms.
#[derive(Clone, Debug)]
pub struct Waiter {
    shared: Arc<Shared>,
    position: u64,
    successor_missing: bool,
    spin: Duration,
}

impl LogReader {
    /// What waits for something to read from here on.
    pub fn waiter(&self) -> Waiter {
        Waiter {
            shared: self.shared.clone(),
            position: self.position,
            successor_missing: self.successor_missing,
            spin: self.options.spin,
        }
    }

    /// Sleeps in the kernel until there may be something to read, at most 250 ms. Looks before, as the options say.
    ///
    /// # Errors
    /// When the kernel refuses, or in a forked child.
    pub fn wait(&self, timeout: Duration) -> Result<Waited, ReadError> {
        self.waiter().wait(timeout)
    }
}

impl Waiter {
    /// As [`LogReader::wait`].
    ///
    /// # Errors
    /// When the kernel refuses, or in a forked child.
    pub fn wait(&self, timeout: Duration) -> Result<Waited, ReadError> {
        if !self.shared.is_ours() {
            return Err(ReadError::Forked);
        }
        let (control, head) = (self.shared.log.control(), self.shared.table.head());
        self.beat();
        if self.successor_missing {
            std::thread::sleep(timeout.min(SUCCESSOR_STEP));
            return Ok(Waited::Ready);
        }
        let spin = self.spin.min(timeout).min(wake::SLEEP_MAX);
        if !spin.is_zero() && wake::look(spin, || self.something_new()) {
            return Ok(Waited::Ready);
        }
        let timeout = timeout.saturating_sub(spin);
        if timeout.is_zero() && !spin.is_zero() {
            return Ok(Waited::TimedOut);
        }
        let wake = protocol::prepare_wait(control, head, self.shared.index);
        if self.something_new() {
            protocol::finish_wait(head, self.shared.index);
            return Ok(Waited::Ready);
        }
        let slept = wake::sleep(&control.wake.0, wake, timeout);
        protocol::finish_wait(head, self.shared.index);
        match slept.map_err(ReadError::Io)? {
            _ if self.something_new() => Ok(Waited::Ready),
            Slept::Interrupted => Ok(Waited::Interrupted),
            // The writer may have called before its commit.
            Slept::Woken if wake::look(wake::CALLED, || self.something_new()) => Ok(Waited::Ready),
            Slept::Woken | Slept::TimedOut => Ok(Waited::TimedOut),
        }
    }

    fn something_new(&self) -> bool {
        let control = self.shared.log.control();
        protocol::committed(control) != self.position
            || protocol::sealed(control).is_some()
            || self.shared.slot().claim() != self.shared.claim
    }

    /// Shows people that it lives.
    fn beat(&self) {
        self.shared.slot().progress.beat_unix_ns.store(Now::read().unix_ns, Ordering::Relaxed);
    }
}
