//! A log in plain memory, for tests and simulations: the same rules, no readers, faults on request.

use std::sync::atomic::AtomicU64;

use super::{Commit, EventLog, Full, IndexEntry, ReaderStatus};
use crate::{limits, metrics, time::Now};

/// Sizes and keys of a [`MemoryLog`].
#[derive(Clone, Debug)]
pub struct MemoryLogOptions {
    /// Bytes of one batch.
    pub max_batch_bytes: u32,
    /// Events of one batch.
    pub max_batch_events: u32,
    /// The log's epoch.
    pub epoch: u64,
    /// The log's key for hashes.
    pub id_key: [u8; 16],
    /// Committed batches that are kept; older ones are forgotten, so that long runs stay flat.
    pub frames_kept: usize,
}

impl Default for MemoryLogOptions {
    fn default() -> MemoryLogOptions {
        MemoryLogOptions {
            max_batch_bytes: limits::BATCH_BYTES,
            max_batch_events: limits::BATCH_EVENTS,
            epoch: 0x6a69_6d62_6f74_0001,
            id_key: *b"jimbot memorylog",
            frames_kept: usize::MAX,
        }
    }
}

/// A committed batch.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// When it was committed.
    pub committed_mono_ns: u64,
    /// The serialised `EventBatch`.
    pub payload: Vec<u8>,
    /// One entry an event.
    pub index: Vec<IndexEntry>,
}

/// The log for tests. It is full when told so ([`MemoryLog::set_full`]).
#[derive(Debug)]
pub struct MemoryLog {
    options: MemoryLogOptions,
    generation: u64,
    next_sequence: u64,
    room: Vec<u8>,
    used: usize,
    stage: Vec<IndexEntry>,
    is_open: bool,
    is_full: bool,
    frames: std::collections::VecDeque<Frame>,
    counters: Vec<AtomicU64>,
    readers: Vec<ReaderStatus>,
    /// Epoch of the first log of this one's line.
    origin: u64,
    checkpoint: Option<Vec<u8>>,
    fails_checkpoints: bool,
    /// Batches committed, and how many had been when a checkpoint was last due.
    commits: usize,
    checkpoint_at: usize,
    /// Frames whose buffers are used again once the history is at its limit: appends then allocate nothing.
    spare: Vec<Frame>,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(options: MemoryLogOptions) -> MemoryLog {
        MemoryLog {
            generation: 1,
            next_sequence: 1,
            room: vec![0; options.max_batch_bytes as usize],
            used: 0,
            stage: Vec::with_capacity(options.max_batch_events as usize),
            is_open: false,
            is_full: false,
            frames: std::collections::VecDeque::new(),
            counters: metrics::cell_names().iter().map(|_| AtomicU64::new(0)).collect(),
            readers: Vec::new(),
            origin: options.epoch,
            checkpoint: None,
            fails_checkpoints: false,
            commits: 0,
            checkpoint_at: 0,
            spare: Vec::new(),
            options,
        }
    }

    /// Makes [`EventLog::begin`] fail from the next batch on, or work again.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// What [`EventLog::readers`] reports.
    pub fn set_readers(&mut self, readers: Vec<ReaderStatus>) {
        self.readers = readers;
    }

    /// What is kept beside the log, to look at or to change.
    pub fn checkpoint_mut(&mut self) -> &mut Option<Vec<u8>> {
        &mut self.checkpoint
    }

    /// Makes [`EventLog::write_checkpoint`] fail from now on, or work again.
    pub fn set_fails_checkpoints(&mut self, fails: bool) {
        self.fails_checkpoints = fails;
    }

    /// The committed batches, oldest first.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    /// What a killed service leaves and its successor finds: the open batch's events are there, committed.
    #[must_use]
    pub fn killed_and_reopened(mut self, now: Now) -> MemoryLog {
        for entry in &mut self.stage {
            entry.flags |= super::flags::RECOVERED;
        }
        self.commit(now);
        self.generation += 1;
        self.is_full = false;
        self.checkpoint_at = self.commits;
        self
    }

    /// The log that takes the place of a killed service's: nothing is in it, and it is of the same line.
    #[must_use]
    pub fn killed_and_rotated(self, options: MemoryLogOptions) -> MemoryLog {
        MemoryLog { origin: self.origin, checkpoint: self.checkpoint, ..MemoryLog::new(options) }
    }

    /// Every stored event, committed and open, oldest first, as index entry and event bytes.
    pub fn for_each_event(&self, mut visit: impl FnMut(&IndexEntry, &[u8])) {
        let open = (&self.stage, &self.room[..self.used]);
        for (index, payload) in self.frames.iter().map(|f| (&f.index, &f.payload[..])).chain([open])
        {
            for entry in index {
                let start = entry.offset as usize;
                visit(entry, &payload[start..start + entry.length as usize]);
            }
        }
    }
}

impl EventLog for MemoryLog {
    fn epoch(&self) -> u64 {
        self.options.epoch
    }

    fn origin(&self) -> u64 {
        self.origin
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn id_key(&self) -> [u8; 16] {
        self.options.id_key
    }

    fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    fn scan(&self, visit: &mut dyn FnMut(&IndexEntry, &[u8])) {
        self.for_each_event(visit);
    }

    fn read_checkpoint(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(self.checkpoint.clone())
    }

    fn write_checkpoint(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.fails_checkpoints {
            return Err("it was told to fail".to_owned());
        }
        let checkpoint = self.checkpoint.get_or_insert_default();
        checkpoint.clear();
        checkpoint.extend_from_slice(bytes);
        Ok(())
    }

    fn checkpoint_due(&mut self) -> bool {
        let is_due = self.commits - self.checkpoint_at >= (self.options.frames_kept / 4).max(1);
        if is_due {
            self.checkpoint_at = self.commits;
        }
        is_due
    }

    fn begin(&mut self, _now: Now) -> Result<(), Full> {
        if !self.is_open {
            if self.is_full {
                return Err(Full);
            }
            self.is_open = true;
        }
        Ok(())
    }

    fn room(&mut self) -> &mut [u8] {
        let start = if self.is_open { self.used } else { self.room.len() };
        &mut self.room[start..]
    }

    fn events_left(&self) -> u32 {
        if self.is_open { self.options.max_batch_events - self.stage.len() as u32 } else { 0 }
    }

    fn append(&mut self, element_len: usize, event_offset: usize, entry: &IndexEntry) -> u64 {
        assert!(self.is_open && self.events_left() > 0, "append without a batch that has room");
        assert!(event_offset <= element_len && self.used + element_len <= self.room.len());
        let sequence = self.next_sequence;
        self.stage.push(IndexEntry {
            sequence,
            offset: (self.used + event_offset) as u32,
            length: (element_len - event_offset) as u32,
            ..*entry
        });
        self.used += element_len;
        self.next_sequence += 1;
        sequence
    }

    fn open_events(&self) -> u32 {
        self.stage.len() as u32
    }

    fn open_bytes(&self) -> u32 {
        self.used as u32
    }

    fn commit(&mut self, now: Now) -> Option<Commit> {
        self.is_open = false;
        let first_sequence = self.stage.first()?.sequence;
        let commit =
            Commit { first_sequence, events: self.stage.len() as u32, bytes: self.used as u32 };
        while self.frames.len() >= self.options.frames_kept.max(1) {
            self.spare.extend(self.frames.pop_front());
        }
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.committed_mono_ns = now.mono_ns;
        frame.payload.clear();
        frame.payload.extend_from_slice(&self.room[..self.used]);
        frame.index.clear();
        frame.index.append(&mut self.stage);
        self.frames.push_back(frame);
        self.commits += 1;
        self.used = 0;
        Some(commit)
    }

    fn check_readers(&mut self, _now: Now) -> bool {
        !self.is_full
    }

    fn readers(&self) -> Vec<ReaderStatus> {
        self.readers.clone()
    }

    fn counters(&self) -> &[AtomicU64] {
        &self.counters
    }

    fn wake_due(&self) -> Option<u64> {
        None
    }

    fn service_wake(&mut self, _now: Now) {}

    fn alert(&mut self, _now: Now) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { mono_ns: 1, unix_ns: 2 };

    fn append(log: &mut MemoryLog, event: &[u8]) -> u64 {
        log.begin(NOW).unwrap();
        let room = log.room();
        room[0] = 0x0a;
        room[1] = event.len() as u8;
        room[2..2 + event.len()].copy_from_slice(event);
        log.append(2 + event.len(), 2, &IndexEntry::default())
    }

    #[test]
    fn events_are_stored_at_the_append_and_visible_at_the_commit() {
        let mut log = MemoryLog::new(MemoryLogOptions::default());
        assert_eq!(append(&mut log, b"one"), 1);
        assert_eq!(append(&mut log, b"two"), 2);
        assert_eq!(log.frames().count(), 0);
        let commit = log.commit(NOW).unwrap();
        assert_eq!(commit, Commit { first_sequence: 1, events: 2, bytes: 10 });
        assert_eq!(log.commit(NOW), None);
        let mut seen = Vec::new();
        log.scan(&mut |entry, bytes| seen.push((entry.sequence, bytes.to_vec())));
        assert_eq!(seen, [(1, b"one".to_vec()), (2, b"two".to_vec())]);
    }

    #[test]
    fn a_full_log_takes_what_fits_the_open_batch_and_no_new_one() {
        let mut log = MemoryLog::new(MemoryLogOptions::default());
        append(&mut log, b"one");
        log.set_full(true);
        assert_eq!(log.begin(NOW), Ok(()), "the open batch goes on");
        log.commit(NOW);
        assert_eq!(log.begin(NOW), Err(Full));
        assert!(log.room().is_empty());
        log.set_full(false);
        assert_eq!(append(&mut log, b"two"), 2);
    }

    #[test]
    fn a_killed_service_loses_no_stored_event() {
        let mut log = MemoryLog::new(MemoryLogOptions::default());
        append(&mut log, b"one");
        let log = log.killed_and_reopened(NOW);
        assert_eq!(log.generation(), 2);
        let frame = log.frames().next().unwrap();
        assert_eq!(frame.index[0].flags, super::super::flags::RECOVERED);
    }
}
