//! A journal whose files were changed anywhere: it opens or says why not, and what it then reads has intact positions.
//!
//! Input: a byte that chooses, then changes of four bytes each: file, offset (two bytes), value.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jimbot_core::time::{Now, SECOND};
use jimbot_mcp::journal::{Append, Journal, Kind, Options, Place};

const NOW: Now = Now { mono_ns: SECOND, unix_ns: 1_795_327_244 * SECOND };
const EVENTS: u64 = 60;

/// The files of a journal with three segments, by name.
static FILES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let home = home();
    let mut journal = open(&home, false).expect("a new journal");
    for segment in 0..3 {
        for record in 0..10 {
            let body = [segment * 10 + record; 70];
            let kind = if record == 5 { Kind::Change } else { Kind::Events };
            let count = if kind == Kind::Events { 2 } else { 0 };
            journal.append(&[Append { kind, count, body: &[&body] }], NOW).expect("room");
        }
        journal
            .append(&[Append { kind: Kind::Events, count: 2, body: &[b"last"] }], NOW)
            .expect("room");
        if segment == 1 {
            journal.syncer().sync().expect("a disk");
        }
        if segment < 2 {
            journal.roll(b"snapshot", NOW).expect("room");
        }
    }
    assert_eq!(journal.next(), EVENTS + 1);
    let mut files: Vec<_> = fs::read_dir(&home)
        .expect("it is there")
        .map(|entry| {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("plain").to_owned();
            (name, fs::read(&path).expect("it can be read"))
        })
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    files.sort();
    files
});

fn home() -> PathBuf {
    PathBuf::from(format!("/dev/shm/jimbot-fuzz-journal-{}", std::process::id()))
}

fn open(dir: &Path, accept_loss: bool) -> Result<Journal, jimbot_mcp::journal::OpenError> {
    let options = Options { segment_bytes: 1 << 20, accept_loss };
    Journal::open(dir, options, NOW, &mut |_, _| {})
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&choice, changes)) = data.split_first() else { return };
    let mut files = FILES.clone();
    for change in changes.chunks_exact(4) {
        let at = usize::from(change[0]) % files.len();
        let bytes = &mut files[at].1;
        let offset = usize::from(u16::from_le_bytes([change[1], change[2]]));
        // Behind the end: cut it there.
        match bytes.len() {
            0 => {}
            length if offset < length => bytes[offset] = change[3],
            length => bytes.truncate(offset % length),
        }
    }
    let home = home();
    let _ = fs::remove_dir_all(&home);
    fs::create_dir(&home).expect("memory");
    for (name, bytes) in &files {
        fs::write(home.join(name), bytes).expect("memory");
    }
    let accept_loss = choice & 1 == 1;
    match open(&home, accept_loss) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(mut journal) => {
            read(&journal);
            let first = journal.next();
            let item = Append { kind: Kind::Events, count: 1, body: &[b"after"] };
            assert_eq!(journal.append(&[item], NOW).expect("room"), first);
            assert!(read(&journal), "what was appended is read");
            drop(journal);
            open(&home, accept_loss).expect("what was opened once opens again");
        }
    }
});

/// Reads everything; whether the last record is the one appended here.
fn read(journal: &Journal) -> bool {
    let reader = journal.reader();
    let (mut place, mut next, mut last) = (Place::default(), reader.earliest(), Vec::new());
    while next < reader.next() {
        let found = reader.read(&mut place, next, 500).expect("memory");
        assert!(found.next > next, "it goes on");
        let mut at = next;
        for record in &found.records {
            assert!(record.next() > at, "records follow each other");
            at = record.next();
            last = record.body.to_vec();
        }
        next = found.next;
    }
    last == b"after"
}
