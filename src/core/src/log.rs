//! The log as the core sees it: one open batch that takes events, and commits that make them visible.
//!
//! [`EventLog`] is what the service needs of the shared-memory log; the shell implements it for the real one, and
//! [`MemoryLog`] is a faithful one in plain memory for tests and simulations.

mod memory;

use std::sync::atomic::AtomicU64;

use crate::limits;
use crate::time::Now;

pub use memory::{Frame, MemoryLog, MemoryLogOptions};

/// What the log keeps of an event beside its bytes, 64 bytes in the log, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IndexEntry {
    /// Set by the log at the append.
    pub sequence: u64,
    /// Offset of the event's first byte from the payload's start; set by the log at the append.
    pub offset: u32,
    /// Bytes of the event, without tag and length; set by the log at the append.
    pub length: u32,
    /// Number of the event's type in the schema.
    pub event_type: u16,
    /// [`flags`].
    pub flags: u16,
    /// Number of the priority in the schema.
    pub priority: u8,
    /// Which of the wire's dialects the event came in.
    pub dialect: u8,
    /// Zero.
    pub reserved: u16,
    /// Keyed hash of session and last game id.
    pub game_key: u64,
    /// The session's id.
    pub session: u64,
    /// Keyed hash by which a repeat is recognised; 0 when the event can have none.
    pub id_hash: u64,
    /// The event's own time, in the unit of its clock; NaN when it has none.
    pub producer_time: f64,
    /// When the service read it, nanoseconds since 1970 UTC.
    pub receive_time_unix_ns: u64,
}

/// Bits of [`IndexEntry::flags`].
pub mod flags {
    /// Found in a body that could not be read as a whole.
    pub const SALVAGED: u16 = 1 << 0;
    /// Carries findings of the validation.
    pub const FLAGGED: u16 = 1 << 1;
    /// Carries text that was not UTF-8, repaired, with its raw bytes beside it.
    pub const RAW_TEXT: u16 = 1 << 2;
    /// Stands for a body, or a part of one, that nobody could read.
    pub const UNREADABLE: u16 = 1 << 3;
    /// Its session may hold the events of more than one game process.
    pub const SESSION_AMBIGUOUS: u16 = 1 << 4;
    /// Was in the open batch of a service that died.
    pub const RECOVERED: u16 = 1 << 5;
    /// Its type is not in the schema.
    pub const UNKNOWN_TYPE: u16 = 1 << 6;
    /// Its clock is older than the newest one seen in its session.
    pub const OUT_OF_ORDER: u16 = 1 << 7;
}

/// The log has no room: a reliable reader has not read what would be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What a commit made visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Sequence of the batch's first event.
    pub first_sequence: u64,
    /// Events in the batch.
    pub events: u32,
    /// Bytes of its payload.
    pub bytes: u32,
}

/// What a reader is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Holds nobody up and is told exactly what it missed.
    Lossy,
    /// Misses nothing: the log waits for it.
    Reliable,
}

/// How one reader stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ReaderStatus {
    /// The name it registered under.
    pub name: String,
    /// What it is promised.
    pub guarantee: Guarantee,
    /// Whether its process lives.
    pub alive: bool,
    /// Whether it was detached and no longer holds anything.
    pub detached: bool,
    /// Counts how often the name was taken over.
    pub generation: u64,
    /// Process id it registered with, for people only.
    pub pid: u32,
    /// Committed events it has not read.
    pub lag_events: u64,
    /// Bytes of the log between its cursor and the newest batch.
    pub lag_bytes: u64,
    /// Age of the oldest batch that it has not read, in seconds; 0 when it has read everything.
    pub lag_seconds: f64,
    /// Events it was too late for.
    pub missed: u64,
    /// Seconds since its last call, for people only: a reader that works on a batch is quiet, too.
    pub quiet_seconds: f64,
    /// Bytes of the log it keeps pinned through views.
    pub pinned_bytes: u64,
    /// The same as a part of the log's capacity.
    pub pinned_share: f64,
    /// For how long it has had the oldest of these views, in seconds; 0 when it has none.
    pub pinned_seconds: f64,
}

impl ReaderStatus {
    /// Whether it stands in the way of what is written, or will: then the log has to wait for it when it is full.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.guarantee == Guarantee::Reliable && !self.detached
    }

    /// Whether its views take more of the log, or take it for longer, than a program that only reads would.
    #[must_use]
    pub fn pins_too_much(&self) -> bool {
        self.holds()
            && self.alive
            && (self.pinned_seconds > limits::PINNED_SECONDS
                || self.pinned_share > limits::PINNED_SHARE)
    }
}

/// One writer's log: events go into an open batch and become visible with its commit.
///
/// An event is *stored* at [`EventLog::append`]: from then on it survives the process, so that it can be acknowledged
/// before its batch is committed.
pub trait EventLog {
    /// 64 random bits of the log's creation; with the sequence it identifies an event for ever.
    fn epoch(&self) -> u64;
    /// The epoch of the first log of its line: a log that was rotated goes on in another of the same line.
    fn origin(&self) -> u64;
    /// Counts the services that have written into this log.
    fn generation(&self) -> u64;
    /// Key for hashes that must mean the same after a restart.
    fn id_key(&self) -> [u8; 16];
    /// The sequence the next append will get.
    fn next_sequence(&self) -> u64;
    /// Shows every event that is still in the log, oldest first: index entry and bytes (without tag and length).
    fn scan(&self, visit: &mut dyn FnMut(&IndexEntry, &[u8]));
    /// The last checkpoint that was kept beside the log, if there is one.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    fn read_checkpoint(&self) -> Result<Option<Vec<u8>>, String>;
    /// Keeps these bytes beside the log in place of the last ones: whoever dies meanwhile leaves either whole.
    ///
    /// # Errors
    /// Why they cannot be kept, for people; then the last ones are still there.
    fn write_checkpoint(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// Whether the log has gone on by a quarter of its capacity since it was opened or since this last was true.
    fn checkpoint_due(&mut self) -> bool;
    /// Opens a batch when none is open.
    ///
    /// # Errors
    /// [`Full`] when a reliable reader holds the room; [`EventLog::check_readers`] tells when there is some again.
    fn begin(&mut self, now: Now) -> Result<(), Full>;
    /// Bytes of the open batch that are still free; empty when none is open.
    fn room(&mut self) -> &mut [u8];
    /// Events that the open batch still takes; 0 when none is open.
    fn events_left(&self) -> u32;
    /// Stores the first `element_len` bytes of [`EventLog::room`]: tag, length and event, the event itself beginning
    /// at `event_offset`. Returns its sequence. Sequence, offset and length of `entry` are filled in here.
    fn append(&mut self, element_len: usize, event_offset: usize, entry: &IndexEntry) -> u64;
    /// Events in the open batch.
    fn open_events(&self) -> u32;
    /// Bytes in the open batch.
    fn open_bytes(&self) -> u32;
    /// Makes the open batch visible and wakes readers, unless waking so soon again would cost too much; `None` when
    /// there was nothing to commit.
    fn commit(&mut self, now: Now) -> Option<Commit>;
    /// Looks after readers that died or hold the log up; true when there is room for a batch.
    fn check_readers(&mut self, now: Now) -> bool;
    /// How every reader stands.
    fn readers(&self) -> Vec<ReaderStatus>;
    /// The cells that [`crate::metrics::cell_names`] names, in its order.
    fn counters(&self) -> &[AtomicU64];
    /// When a wake that was put off must happen ([`Now::mono_ns`]).
    fn wake_due(&self) -> Option<u64>;
    /// Wakes readers whose wake was put off and is due.
    fn service_wake(&mut self, now: Now);
    /// Wakes readers for what is about to be committed, so that they come to themselves meanwhile.
    fn alert(&mut self, now: Now);
}
