//! The writer: the one process that stores events.
//!
//! A frame is opened ([`begin`](LogWriter::begin)), filled ([`room`](LogWriter::room), [`append`](LogWriter::append)) and
//! made visible ([`commit`](LogWriter::commit)). The steps inside are `protocol`'s; this module holds them together.
//!
//! | file | what |
//! |---|---|
//! | `open` | creating a log or taking one over |
//! | `recovery` | what a killed service left: the open frame, the words, the history |
//! | `append` | opening a frame, storing events in it, committing it |
//! | `rotate` | sealing the log and going on in another |
//! | `readers` | leases, detaching, status |
//! | `beside` | what is kept in a file beside the log |

mod append;
mod beside;
mod open;
mod readers;
mod recovery;
mod rotate;

use std::path::{Path, PathBuf};

use crate::{
    directory::Directory, file::LogFile, fork::LockFile, protocol, slots::Table, time::Now,
    wake::WakeBudget,
};

pub use {
    append::{Commit, Full},
    open::{FullPolicy, LogOptions},
    readers::ReaderStatus,
    recovery::Recovery,
};

/// The log, open for writing. There is one in all processes: an OFD lock sees to it.
#[derive(Debug)]
pub struct LogWriter {
    directory: Directory,
    log: LogFile,
    table: Table,
    lock: LockFile,
    predecessor: Option<rotate::Predecessor>,
    options: LogOptions,
    generation: u64,
    recovery: Recovery,
    /// The word `committed`, which nobody else stores.
    committed: u64,
    next_sequence: u64,
    frame: Option<append::OpenFrame>,
    budget: WakeBudget,
    watch: readers::Watch,
}

impl LogWriter {
    /// The log's epoch: with an event's sequence it is the event's identity.
    pub fn epoch(&self) -> u64 {
        self.log.constants.log_epoch
    }

    /// How many services have written this log, this one included.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Key of the index entries' `id_hash`, chosen when the log was created, so that hashes keep their meaning.
    pub fn id_key(&self) -> [u8; 16] {
        self.log.constants.id_key
    }

    /// Bytes of the ring.
    pub fn capacity(&self) -> u64 {
        self.log.constants.capacity
    }

    /// Most payload bytes of a frame, and so of an event with its tag and length.
    pub fn max_batch_bytes(&self) -> u32 {
        self.log.constants.max_batch_bytes
    }

    /// Most events of a frame.
    pub fn max_batch_events(&self) -> u32 {
        self.log.constants.max_batch_events
    }

    /// Sequence that the next event gets.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes of the ring that hold history or are held by readers, for a gauge.
    pub fn used_bytes(&self) -> u64 {
        let oldest = self.log.control().oldest.0.load(std::sync::atomic::Ordering::Relaxed);
        self.committed - oldest
    }

    /// What was found at start.
    pub fn recovered(&self) -> &Recovery {
        &self.recovery
    }

    /// The directory of the log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Path of a file beside the log.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.directory.path_of(name)
    }

    /// When a wake that was put off is due, on the monotonic clock: wakes may take at most a tenth of the time.
    pub fn wake_due(&self) -> Option<u64> {
        self.budget.due()
    }

    /// Does the wake that was put off, if it is due.
    pub fn service_wake(&mut self, now: Now) {
        if self.budget.due().is_some_and(|due| due <= now.mono_ns) {
            self.budget.wake(self.log.control(), self.table.head(), now);
        }
    }

    /// Wakes the sleepers for what is about to be committed: they come to themselves while the event is converted, and
    /// look for it for a moment. Does nothing where waking again so soon would cost too much.
    pub fn alert(&mut self, now: Now) {
        self.budget.alert(self.log.control(), self.table.head(), now);
    }

    /// Wakes done, and wakes put off, since the start.
    pub fn wakes(&self) -> (u64, u64) {
        (self.budget.woken, self.budget.deferred)
    }
}

impl Drop for LogWriter {
    /// Leaves nothing open: what is stored becomes visible, and the sleepers are told.
    fn drop(&mut self) {
        if self.lock.is_ours() {
            self.commit(Now::read());
            crate::wake::wake_always(self.log.control(), self.table.head());
        }
    }
}

/// Where a frame begins that is opened at `position`, and how far it may reach: at the start of the next lap, when the
/// largest frame does not fit before the ring's end.
fn place(log: &LogFile, position: u64) -> (u64, u64) {
    let max_frame = log.limits.max_frame;
    let lap_end = log.next_lap(position);
    let start = if lap_end - position < max_frame { lap_end } else { position };
    (start, start + max_frame)
}

/// The first reader that keeps a frame opened at `position` from being placed.
fn holder_at(log: &LogFile, table: &Table, position: u64) -> Option<usize> {
    let (_, limit) = place(log, position);
    protocol::first_holder(
        table.head(),
        table.slots(),
        limit.saturating_sub(log.constants.capacity),
    )
}
