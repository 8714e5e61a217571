//! A service killed at each store of the protocol: what the next one finds is exactly what was promised.

use std::{
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use jimbot_shm::{CRASH_POINTS, LogWriter, Now, layout};

use crate::{
    common::{Home, check, frame},
    peer::{Peer, options, reliable},
};

/// Events in a frame of the peer.
const FRAME_EVENTS: u64 = 3;

/// A word of the control page, read by its documented offset.
fn word(directory: &Path, offset: u64) -> u64 {
    let file = std::fs::File::open(directory.join("log")).expect("the log");
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset).expect("the control page");
    u64::from_le_bytes(bytes)
}

/// Reads everything to the end; gives the sequences, which must follow one another, and whether frames were recovered.
fn read_all(reader: &mut jimbot_shm::LogReader, from: u64, wait: Duration) -> (u64, u32) {
    let (mut next, mut recovered) = (from, 0);
    while let Some(frame) = reader.next(wait).expect("read") {
        let copy = frame.copy().expect("whole");
        check(&copy);
        assert_eq!(copy.header.first_sequence, next, "no gap, nothing twice");
        next = copy.header.end_sequence();
        recovered += u32::from(copy.header.is_recovered());
        frame.release().expect("whole");
    }
    (next, recovered)
}

pub fn a_service_killed_at_any_store_loses_nothing_acknowledged() {
    let points = CRASH_POINTS.iter().filter(|point| !point.starts_with("rotate:"));
    for point in points {
        // The first time, while all is new; soon after; and after laps, when every frame overwrites others.
        for passes in [1, 2, 40] {
            killed_at(point, passes);
        }
    }
}

fn killed_at(point: &str, passes: u32) {
    let context = format!("killed at {point}, pass {passes}");
    let home = Home::new();
    drop(LogWriter::open(home.path(), &options()).expect("create"));
    let mut reader = reliable(home.path(), "witness");
    let mut peer = Peer::start("write", home.path(), &[point, &passes.to_string()]);
    let dead = Arc::new(AtomicBool::new(false));
    let over = dead.clone();
    let reading = thread::spawn(move || {
        let mut next = 1;
        while !over.load(Ordering::Acquire) {
            (next, _) = read_all(&mut reader, next, Duration::from_millis(1));
        }
        (next, _) = read_all(&mut reader, next, Duration::ZERO);
        (reader, next)
    });
    let acknowledged = peer.numbers();
    assert_eq!(peer.end().0, Some(libc::SIGKILL), "{context}");
    dead.store(true, Ordering::Release);
    let (mut reader, seen) = reading.join().expect("the witness");
    assert_eq!(acknowledged, (1..=acknowledged.len() as u64).collect::<Vec<_>>(), "{context}");
    let last = acknowledged.len() as u64;
    let visible = (seen - 1) / FRAME_EVENTS * FRAME_EVENTS;
    assert_eq!(seen - 1, visible, "{context}: only whole frames are visible");

    let reserved = word(home.path(), layout::control::RESERVED);
    let mut writer = LogWriter::open(home.path(), &options()).expect("take over");
    let recovery = writer.recovered().clone();
    assert!(recovery.taken_over && recovery.damaged == 0, "{context}: {recovery:?}");
    assert_eq!(writer.generation(), 3, "{context}");
    assert!(
        word(home.path(), layout::control::RESERVED) >= reserved,
        "{context}: reserved is never lowered"
    );
    assert_eq!(
        word(home.path(), layout::control::INTENT),
        word(home.path(), layout::control::RESERVED),
        "{context}"
    );

    // The store that the point follows, and what was promised of it.
    let (stored, open) = match point {
        // Not stored, not acknowledged: absent.
        "append:bytes" | "append:stage" => (last, last - visible),
        // Stored, and killed before it could be acknowledged: present.
        "append:open-state" => (last + 1, last + 1 - visible),
        // Inside a commit: committed again from the stage.
        "commit:index" | "commit:header" | "commit:sequence" => (last, FRAME_EVENTS),
        // Committed, or between frames: nothing to do.
        _ => (last, 0),
    };
    assert_eq!(u64::from(recovery.events), open, "{context}");
    assert_eq!(writer.next_sequence(), stored + 1, "{context}");
    assert_eq!(word(home.path(), layout::control::SEQUENCE_AFTER), stored + 1, "{context}");

    // The witness, which held the writer all the while, has every acknowledged event once.
    let (next, recovered) = read_all(&mut reader, seen, Duration::ZERO);
    assert_eq!(next, stored + 1, "{context}");
    assert_eq!(recovered, u32::from(open > 0), "{context}");
    assert_eq!(reader.missed(), 0, "{context}");

    // And the log goes on, over a lap's end too.
    for _ in 0..40 {
        let first = frame(&mut writer, 5, 300);
        assert_eq!(read_all(&mut reader, first, Duration::ZERO).0, first + 5, "{context}");
    }
    let mut events = 0;
    writer.scan(|_, _| events += 1);
    assert!(events >= 5, "{context}");
    writer.check_readers(Now::read());
}

pub fn a_service_killed_while_it_rotates_ends_with_one_log() {
    for point in CRASH_POINTS.iter().filter(|point| point.starts_with("rotate:")) {
        let home = Home::new();
        let mut writer = LogWriter::open(home.path(), &options()).expect("create");
        let old_epoch = writer.epoch();
        let mut reader = reliable(home.path(), "witness");
        let absent = reliable(home.path(), "absent");
        drop(absent);
        for _ in 0..3 {
            frame(&mut writer, 4, 50);
        }
        drop(writer);
        let peer = Peer::start("rotate", home.path(), &[point]);
        assert_eq!(peer.end().0, Some(libc::SIGKILL), "{point}");

        let mut writer = LogWriter::open(home.path(), &options()).expect("take over");
        let rotated = *point != "rotate:built";
        assert_eq!(writer.epoch() != old_epoch, rotated, "{point}: the seal decides");
        let names = || {
            let entries = std::fs::read_dir(home.path()).expect("the directory");
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
                .collect();
            names.sort();
            names
        };
        let old = [format!("log.{old_epoch:016x}"), format!("readers.{old_epoch:016x}")];
        if rotated {
            assert_eq!(names(), ["log", &old[0], "readers", &old[1]], "{point}");
        } else {
            assert_eq!(names(), ["log", "readers"], "{point}");
        }
        let first = frame(&mut writer, 2, 70);
        assert_eq!(first, if rotated { 1 } else { 13 }, "{point}");

        // The living reader finishes the old log and follows; the one that comes back does the same.
        for reader in [&mut reader, &mut reliable(home.path(), "absent")] {
            let mut seen = Vec::new();
            while let Some(frame) = reader.try_next().expect("read") {
                check(&frame.copy().expect("whole"));
                seen.push((frame.log_epoch() == old_epoch, frame.header().first_sequence));
                frame.release().expect("whole");
            }
            let last = if rotated { (false, 1) } else { (true, 13) };
            assert_eq!(seen, [(true, 1), (true, 5), (true, 9), last], "{point}");
            assert_eq!(reader.missed(), 0, "{point}");
        }
        // Both have finished it, so the old log goes.
        writer.check_readers(Now { mono_ns: u64::MAX / 2, ..Now::read() });
        assert_eq!(names(), ["log", "readers"], "{point}");
    }
}
