//! The shared-memory log behind the interface that the core knows.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use jimbot_core::log::{Commit, EventLog, Full, Guarantee, IndexEntry, ReaderStatus};
use jimbot_core::metrics;
use jimbot_core::repeats::CHECKPOINT_BYTES_MAX;
use jimbot_core::time::Now;
use jimbot_shm::{Counters, LogOptions, LogWriter, OpenError};

/// A log in a directory, with the counters beside it.
pub struct ShmLog {
    writer: LogWriter,
    counters: Counters,
    /// Where the log stood when a checkpoint was last due.
    checkpoint_at: u64,
}

impl ShmLog {
    /// Creates the log or takes over the one that is there.
    ///
    /// # Errors
    /// As [`LogWriter::open`] says.
    pub fn open(directory: &Path, options: &LogOptions) -> Result<Self, OpenError> {
        let writer = LogWriter::open(directory, options)?;
        let names = metrics::cell_names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let counters = Counters::create(directory, &names)?;
        Ok(Self { checkpoint_at: writer.committed(), writer, counters })
    }

    /// The log itself, for what only the shell asks.
    pub fn writer(&self) -> &LogWriter {
        &self.writer
    }
}

fn to_shm(now: Now) -> jimbot_shm::Now {
    jimbot_shm::Now { mono_ns: now.mono_ns, unix_ns: now.unix_ns }
}

/// Both crates describe the same 64 bytes; the core may not depend on the log's crate.
fn entry_to_shm(entry: &IndexEntry) -> jimbot_shm::IndexEntry {
    jimbot_shm::IndexEntry {
        sequence: entry.sequence,
        offset: entry.offset,
        length: entry.length,
        event_type: entry.event_type,
        flags: entry.flags,
        priority: entry.priority,
        dialect: entry.dialect,
        reserved: entry.reserved,
        game_key: entry.game_key,
        session: entry.session,
        id_hash: entry.id_hash,
        producer_time: entry.producer_time,
        receive_time_unix_ns: entry.receive_time_unix_ns,
    }
}

fn entry_to_core(entry: &jimbot_shm::IndexEntry) -> IndexEntry {
    IndexEntry {
        sequence: entry.sequence,
        offset: entry.offset,
        length: entry.length,
        event_type: entry.event_type,
        flags: entry.flags,
        priority: entry.priority,
        dialect: entry.dialect,
        reserved: entry.reserved,
        game_key: entry.game_key,
        session: entry.session,
        id_hash: entry.id_hash,
        producer_time: entry.producer_time,
        receive_time_unix_ns: entry.receive_time_unix_ns,
    }
}

impl EventLog for ShmLog {
    fn epoch(&self) -> u64 {
        self.writer.epoch()
    }

    fn origin(&self) -> u64 {
        self.writer.origin()
    }

    fn generation(&self) -> u64 {
        self.writer.generation()
    }

    fn id_key(&self) -> [u8; 16] {
        self.writer.id_key()
    }

    fn next_sequence(&self) -> u64 {
        self.writer.next_sequence()
    }

    fn scan(&self, visit: &mut dyn FnMut(&IndexEntry, &[u8])) {
        self.writer.scan(|entry, event| visit(&entry_to_core(entry), event));
    }

    fn read_checkpoint(&self) -> Result<Option<Vec<u8>>, String> {
        self.writer.read_producers(CHECKPOINT_BYTES_MAX as u64).map_err(|error| error.to_string())
    }

    fn write_checkpoint(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.writer.replace_producers(bytes).map_err(|error| error.to_string())
    }

    fn checkpoint_due(&mut self) -> bool {
        let committed = self.writer.committed();
        let is_due = committed - self.checkpoint_at >= self.writer.capacity() / 4;
        if is_due {
            self.checkpoint_at = committed;
        }
        is_due
    }

    fn begin(&mut self, now: Now) -> Result<(), Full> {
        self.writer.begin(to_shm(now)).map_err(|_| Full)
    }

    fn room(&mut self) -> &mut [u8] {
        self.writer.room()
    }

    fn events_left(&self) -> u32 {
        self.writer.events_left()
    }

    fn append(&mut self, element_len: usize, event_offset: usize, entry: &IndexEntry) -> u64 {
        self.writer.append(element_len, event_offset, &entry_to_shm(entry))
    }

    fn open_events(&self) -> u32 {
        self.writer.open_events()
    }

    fn open_bytes(&self) -> u32 {
        self.writer.open_bytes()
    }

    fn commit(&mut self, now: Now) -> Option<Commit> {
        self.writer.commit(to_shm(now)).map(|commit| Commit {
            first_sequence: commit.first_sequence,
            events: commit.events,
            bytes: commit.bytes,
        })
    }

    fn check_readers(&mut self, now: Now) -> bool {
        self.writer.check_readers(to_shm(now))
    }

    fn readers(&self) -> Vec<ReaderStatus> {
        let now = to_shm(crate::reactor::now());
        let capacity = self.writer.capacity() as f64;
        let seconds = |ns: u64| ns as f64 / 1e9;
        self.writer
            .readers(now)
            .into_iter()
            .map(|reader| ReaderStatus {
                name: reader.name,
                guarantee: match reader.guarantee {
                    jimbot_shm::Guarantee::Lossy => Guarantee::Lossy,
                    jimbot_shm::Guarantee::Reliable => Guarantee::Reliable,
                },
                alive: reader.alive,
                detached: reader.detached,
                generation: reader.generation,
                pid: reader.pid,
                lag_events: reader.lag_events,
                lag_bytes: reader.lag_bytes,
                lag_seconds: seconds(reader.lag_ns),
                missed: reader.missed,
                quiet_seconds: seconds(now.unix_ns.saturating_sub(reader.beat_unix_ns)),
                pinned_bytes: reader.pinned_bytes,
                pinned_share: reader.pinned_bytes as f64 / capacity,
                pinned_seconds: seconds(reader.pinned_ns),
            })
            .collect()
    }

    fn counters(&self) -> &[AtomicU64] {
        self.counters.cells()
    }

    fn wake_due(&self) -> Option<u64> {
        self.writer.wake_due()
    }

    fn service_wake(&mut self, now: Now) {
        self.writer.service_wake(to_shm(now));
    }

    fn alert(&mut self, now: Now) {
        self.writer.alert(to_shm(now));
    }
}
