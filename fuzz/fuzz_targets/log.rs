//! A log whose files were changed anywhere: readers and the next writer open it or say why not, and never read beside it.
//!
//! Input: a byte that chooses, then changes of six bytes each: file, offset (four bytes), value.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use jimbot_shm::{
    Guarantee, IndexEntry, LogOptions, LogReader, LogWriter, Now, ReadError, ReaderOptions, Start,
};

const NOW: Now = Now { mono_ns: 1_000_000_000, unix_ns: 1_795_327_244_000_000_000 };
const NAMES: [&str; 2] = ["log", "readers"];

fn options() -> LogOptions {
    let (max_batch_bytes, max_batch_events) = (4096, 16);
    let least = 8 * jimbot_shm::layout::max_frame(max_batch_bytes, max_batch_events);
    LogOptions {
        capacity: Some(least.next_multiple_of(4096)),
        max_batch_bytes,
        max_batch_events,
        epoch_seed: [5; 8],
        id_key: [7; 16],
        now: NOW,
        ..LogOptions::default()
    }
}

/// Files of a log with committed frames, an open one, and a reliable reader that has not read all.
static FILES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let home = home();
    let mut writer = LogWriter::open(&home, &options()).expect("a new log");
    for events in [1, 3, 16] {
        store(&mut writer, events);
        writer.commit(NOW).expect("events");
    }
    let mut reader = LogReader::open(&home, &reader_options(Guarantee::Reliable)).expect("a log");
    reader.try_next().expect("it is whole").expect("a frame").release().expect("it is whole");
    store(&mut writer, 2);
    NAMES.map(|name| fs::read(home.join(name)).expect("it can be read"))
});

fn home() -> PathBuf {
    PathBuf::from(format!("/dev/shm/jimbot-fuzz-log-{}", std::process::id()))
}

fn reader_options(guarantee: Guarantee) -> ReaderOptions {
    ReaderOptions {
        name: "fuzz".into(),
        guarantee,
        start: Start::Earliest,
        patience: Duration::ZERO,
        ..ReaderOptions::default()
    }
}

fn store(writer: &mut LogWriter, events: u8) {
    writer.begin(NOW).expect("room");
    for n in 0..events {
        let element = [0x0A, 4, n, n, n, n];
        writer.room()[..6].copy_from_slice(&element);
        writer.append(6, 2, &IndexEntry { event_type: 1, ..IndexEntry::default() });
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&choice, changes)) = data.split_first() else { return };
    let mut files = FILES.clone();
    for change in changes.chunks_exact(6) {
        let bytes = &mut files[usize::from(change[0]) % 2];
        let offset = u32::from_le_bytes([change[1], change[2], change[3], change[4]]) as usize;
        match bytes.len() {
            0 => {}
            length if change[0] == u8::MAX => bytes.truncate(offset % length),
            length => bytes[offset % length] = change[5],
        }
    }
    let home = home();
    for (name, bytes) in NAMES.iter().zip(&files) {
        // A new file each time: a mapping of the last round may still be there.
        let _ = fs::remove_file(home.join(name));
        fs::write(home.join(name), bytes).expect("memory");
    }
    let guarantee = if choice & 1 == 1 { Guarantee::Reliable } else { Guarantee::Lossy };
    if let Err(error) = jimbot_shm::inspect(&home) {
        assert!(!error.to_string().is_empty());
    }
    read(&home, guarantee);
    match LogWriter::open(&home, &options()) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(mut writer) => {
            writer.scan(|_, _| {});
            if writer.begin(NOW).is_ok() {
                drop(writer);
                let mut writer = LogWriter::open(&home, &options()).expect("it opened before");
                store(&mut writer, 1);
                writer.commit(NOW).expect("an event");
            }
        }
    }
    read(&home, guarantee);
});

/// Reads all there is; every event lies inside its frame.
fn read(home: &Path, guarantee: Guarantee) {
    let Ok(mut reader) = LogReader::open(home, &reader_options(guarantee)) else { return };
    for _ in 0..100 {
        match reader.try_next() {
            Ok(Some(frame)) => {
                if let Ok(copy) = frame.copy() {
                    assert_eq!(copy.events().count(), copy.index.len());
                }
                let _ = frame.release();
            }
            Ok(None) => return,
            Err(ReadError::Detached { .. }) => {}
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        }
    }
}
