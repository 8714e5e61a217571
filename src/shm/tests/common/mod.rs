//! What the tests share: a directory of their own, small logs, events that tell what they are.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use jimbot_shm::{
    FrameCopy, Guarantee, IndexEntry, LogOptions, LogReader, LogWriter, Now, ReadError,
    ReaderOptions, Start,
};

/// A directory for one log, removed with everything in it at the end.
pub struct Home(PathBuf);

impl Home {
    pub fn new() -> Home {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "/dev/shm/jimbot-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Home(PathBuf::from(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A log of 1 MiB, with frames of at most 4 KiB and 16 events.
pub fn small() -> LogOptions {
    let now = Now::read();
    LogOptions {
        capacity: Some(1 << 20),
        max_batch_bytes: 4096,
        max_batch_events: 16,
        epoch_seed: (now.unix_ns ^ u64::from(std::process::id()) << 32).to_le_bytes(),
        id_key: [7; 16],
        now,
        ..LogOptions::default()
    }
}

/// `small`, with the least capacity there can be.
pub fn tiny() -> LogOptions {
    let options = small();
    let least =
        8 * jimbot_shm::layout::max_frame(options.max_batch_bytes, options.max_batch_events);
    LogOptions { capacity: Some(least.next_multiple_of(4096)), ..options }
}

/// Bytes that an event of this sequence has: its content follows from it.
pub fn event_bytes(sequence: u64, length: usize) -> Vec<u8> {
    (0..length).map(|index| (sequence as u8).wrapping_mul(31).wrapping_add(index as u8)).collect()
}

/// Stores one event of `length` bytes; a frame must be open and have room.
pub fn store(writer: &mut LogWriter, length: usize) -> u64 {
    let bytes = event_bytes(writer.next_sequence(), length);
    let room = writer.room();
    let head = [0x0a, length as u8 & 0x7f | 0x80, (length >> 7) as u8];
    room[..3].copy_from_slice(&head);
    room[3..3 + length].copy_from_slice(&bytes);
    let entry = IndexEntry { event_type: length as u16, ..IndexEntry::default() };
    writer.append(3 + length, 3, &entry)
}

/// Stores `events` events in one frame and commits it.
pub fn frame(writer: &mut LogWriter, events: u32, length: usize) -> u64 {
    writer.begin(Now::read()).expect("room");
    let first = writer.next_sequence();
    for _ in 0..events {
        store(writer, length);
    }
    writer.commit(Now::read()).expect("events");
    first
}

/// Checks that every event of the frame is what its sequence says.
pub fn check(copy: &FrameCopy) {
    let first = copy.header.first_sequence;
    assert_eq!(copy.index.len(), copy.header.event_count as usize);
    for (at, (entry, bytes)) in copy.events().enumerate() {
        assert_eq!(entry.sequence, first + at as u64);
        assert_eq!(bytes, event_bytes(entry.sequence, usize::from(entry.event_type)));
    }
}

/// A reader that joins at once.
pub fn reader(home: &Home, name: &str, guarantee: Guarantee, start: Start) -> LogReader {
    let options = ReaderOptions { name: name.into(), guarantee, start, ..ReaderOptions::default() };
    LogReader::open(home.path(), &options).expect("join")
}

/// A reliable reader from the beginning or its cursor on.
pub fn reliable(home: &Home, name: &str) -> LogReader {
    reader(home, name, Guarantee::Reliable, Start::Earliest)
}

/// Reads, checks and releases everything that is there; gives the events.
pub fn read_all(reader: &mut LogReader) -> Result<u64, ReadError> {
    let mut events = 0;
    while let Some(frame) = reader.try_next()? {
        check(&frame.copy().expect("whole"));
        events += u64::from(frame.header().event_count);
        frame.release().expect("whole");
    }
    Ok(events)
}

/// Stores single events of `length` bytes until the log is full; gives how many.
pub fn fill(writer: &mut LogWriter, length: usize) -> u64 {
    let mut events = 0;
    while writer.begin(Now::read()).is_ok() {
        store(writer, length);
        writer.commit(Now::read());
        events += 1;
        assert!(events < 1_000_000, "it is never full");
    }
    events
}

/// A time so many seconds after `now`.
pub fn later(now: Now, seconds: u64) -> Now {
    Now {
        mono_ns: now.mono_ns + seconds * 1_000_000_000,
        unix_ns: now.unix_ns + seconds * 1_000_000_000,
    }
}

/// Names in the log's directory.
pub fn files(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.path()).expect("the directory");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> =
        entries.map(|entry| name(entry).into_string().expect("UTF-8")).collect();
    names.sort();
    names
}
