//! The reader: joins under a name, reads frames, tells how far it is.
//!
//! | file | what |
//! |---|---|
//! | `join` | opening a reader: finding the log, claiming a slot, choosing where to begin |
//! | `next` | the next frame; gaps, detachment, the end of a sealed log |
//! | `wait` | sleeping until there is one |
//! | `follow` | from a sealed log to its successor |
//! | `frame` | a frame in hand: pointers, copies, validity, release |

mod follow;
mod frame;
mod join;
mod next;
mod wait;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
    time::Duration,
};

use crate::{
    file::LogFile,
    protocol::{self, Claim, STATE_FREE, Slot},
    slots::{Guarantee, Table},
    sync::AtomicU32,
    time::Now,
};

pub use frame::{Frame, FrameCopy};
pub use wait::{Waited, Waiter};

use frame::Pins;

/// Where a reader begins that has no cursor yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event that is still there.
    Earliest,
    /// Behind the last event that is visible now.
    #[default]
    Latest,
    /// At the frame that holds this event. When it is gone, the gap counts as missed; when it is yet to come, as `Latest`.
    Sequence(u64),
}

/// How to open a reader.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// Its name, at most 64 bytes: it shows in lists, and a reliable reader resumes by it. Empty: one is made up.
    pub name: String,
    /// What it is promised.
    pub guarantee: Guarantee,
    /// Where it begins when it has no cursor. A reliable reader of a known name always resumes at its cursor.
    pub start: Start,
    /// Not detached while it lives, whatever the service's policy: for a reader that never waits for anyone else.
    pub never_detach: bool,
    /// How long to wait for a log that is missing or not ready.
    pub patience: Duration,
    /// How long a wait looks before it sleeps: as long as it looks it needs no waking, and keeps a CPU busy.
    pub spin: Duration,
}

impl Default for ReaderOptions {
    fn default() -> ReaderOptions {
        ReaderOptions {
            name: String::new(),
            guarantee: Guarantee::Lossy,
            start: Start::Latest,
            never_detach: false,
            patience: Duration::ZERO,
            spin: Duration::ZERO,
        }
    }
}

/// How far a reader is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Committed events that it has not been handed.
    pub events: u64,
    /// Bytes of the log from where it reads to the end.
    pub bytes: u64,
    /// Age of the oldest event that it has not been handed.
    pub age_ns: u64,
}

/// What a reader and its frames share: one log, one slot.
#[derive(Debug)]
struct Shared {
    log: LogFile,
    table: Table,
    index: usize,
    claim: Claim,
    guarantee: Guarantee,
    pins: Mutex<Pins>,
    /// 1: the slot is given back when the last frame is gone.
    leaving: AtomicU32,
}

impl Shared {
    fn slot(&self) -> &Slot {
        self.table.slot(self.index)
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        // The list is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.pins.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_ours(&self) -> bool {
        self.table.locks.is_ours()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A reliable reader that just goes keeps its name and its cursor, and resumes by them.
        if !self.is_ours() || self.leaving.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Ok(_registration) = self.table.register() else { return };
        let slot = self.slot();
        let now = slot.claim();
        if now.generation == self.claim.generation {
            slot.claim.store(now.with_state(STATE_FREE).word(), Ordering::Release);
            let head = self.table.head();
            head.occupied.0.fetch_and(!(1 << self.index), Ordering::AcqRel);
            protocol::finish_wait(head, self.index);
        }
    }
}

/// A reader of the log.
#[derive(Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    options: ReaderOptions,
    directory: PathBuf,
    /// Where the next frame is.
    position: u64,
    /// The sequence it should begin with.
    expected: u64,
    missed: u64,
    /// What `missed` was of the readers that had the name before.
    missed_earlier: u64,
    /// First event and number of those that were overwritten while nobody read under this reader's name; told once.
    resume_gap: Option<(u64, u64)>,
    closed: bool,
    /// The log is sealed and its successor was not there yet.
    successor_missing: bool,
}

impl LogReader {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// What it is promised.
    pub fn guarantee(&self) -> Guarantee {
        self.options.guarantee
    }

    /// How many readers have had this name's slot, this one included.
    pub fn generation(&self) -> u64 {
        self.shared.claim.generation
    }

    /// Epoch of the log it reads now.
    pub fn log_epoch(&self) -> u64 {
        self.shared.log.constants.log_epoch
    }

    /// Key of the index entries' `id_hash`.
    pub fn id_key(&self) -> [u8; 16] {
        self.shared.log.constants.id_key
    }

    /// Bytes of the log's ring.
    pub fn capacity(&self) -> u64 {
        self.shared.log.constants.capacity
    }

    /// Sequence of the next event it is to be handed.
    pub fn next_sequence(&self) -> u64 {
        self.expected
    }

    /// Events it was too late for, exactly, since its name first joined.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Those of [`missed`](LogReader::missed) that earlier readers of its name were too late for.
    pub fn missed_earlier(&self) -> u64 {
        self.missed_earlier
    }

    /// How far it is behind.
    pub fn lag(&self) -> Lag {
        let log = &self.shared.log;
        let control = log.control();
        let committed = protocol::committed(control);
        let bytes = committed.saturating_sub(self.position);
        if bytes == 0 {
            return Lag::default();
        }
        let sequence = control.committed.sequence_before.load(Ordering::Relaxed);
        let age_ns = match log.header(self.position) {
            Ok(Some(header)) => Now::read().unix_ns.saturating_sub(header.open_unix_ns),
            _ => 0,
        };
        Lag { events: sequence.saturating_sub(self.expected), bytes, age_ns }
    }

    /// Bytes of the frames handed out and not released, and how long the oldest of them has been out.
    pub fn pinned(&self) -> (u64, Duration) {
        let pins = self.shared.pins();
        let since =
            pins.oldest_since().map_or(0, |since| Now::read().unix_ns.saturating_sub(since));
        (pins.bytes(), Duration::from_nanos(since))
    }

    /// Whether a service has the log open now.
    pub fn writer_alive(&self) -> bool {
        let service = &self.shared.log.control().service;
        crate::file::inspect(&self.directory).is_ok_and(|info| {
            info.writer_alive && info.generation >= service.generation.load(Ordering::Relaxed)
        })
    }

    /// Ends reading for good: the name and the cursor are forgotten. (Dropping a reliable reader keeps both.)
    pub fn unregister(mut self) {
        // The name may wait in the successor of a sealed log too; where that cannot be joined, the lease ends it.
        if let Some(successor) = protocol::sealed(self.shared.log.control()) {
            let _ = self.follow(successor);
        }
        self.shared.leaving.store(1, Ordering::Relaxed);
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        if self.options.guarantee == Guarantee::Lossy {
            self.shared.leaving.store(1, Ordering::Relaxed);
        }
    }
}
