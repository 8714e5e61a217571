//! What readers see.

mod common;

use std::time::Duration;

use common::{Home, check, frame, small, store, tiny};
use jimbot_shm::{Guarantee, LogReader, LogWriter, Now, ReaderOptions, Start};

fn reader(home: &Home, name: &str, guarantee: Guarantee, start: Start) -> LogReader {
    let options = ReaderOptions { name: name.into(), guarantee, start, ..ReaderOptions::default() };
    LogReader::open(home.path(), &options).expect("join")
}

#[test]
fn a_frame_is_seen_when_it_is_committed_and_not_before() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    let mut lossy = reader(&home, "a", Guarantee::Lossy, Start::Earliest);
    assert!(lossy.try_next().expect("read").is_none());
    writer.begin(Now::read()).expect("room");
    let first = store(&mut writer, 100);
    store(&mut writer, 50);
    assert!(lossy.try_next().expect("read").is_none());
    let commit = writer.commit(Now::read()).expect("events");
    assert_eq!((commit.first_sequence, commit.events, commit.bytes), (first, 2, 156));
    let copy =
        lossy.next(Duration::from_secs(5)).expect("read").expect("a frame").copy().expect("whole");
    check(&copy);
    assert_eq!(copy.header.event_count, 2);
}

#[test]
fn a_reliable_reader_reads_all_laps_in_order() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut reliable = reader(&home, "r", Guarantee::Reliable, Start::Earliest);
    let mut expected = 1;
    for round in 0..500 {
        frame(&mut writer, 1 + round % 16, 10 + round as usize % 200);
        let out = reliable.try_next().expect("read").expect("a frame");
        let copy = out.copy().expect("whole");
        check(&copy);
        assert_eq!(copy.header.first_sequence, expected);
        expected = copy.header.end_sequence();
        out.release().expect("whole");
    }
    assert_eq!(reliable.missed(), 0);
    assert_eq!(expected, writer.next_sequence());
}

#[test]
fn a_lossy_reader_that_is_lapped_learns_the_exact_gap() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut lossy = reader(&home, "l", Guarantee::Lossy, Start::Earliest);
    for _ in 0..300 {
        frame(&mut writer, 16, 200);
    }
    let mut seen = 0;
    while let Some(out) = lossy.try_next().expect("read") {
        check(&out.copy().expect("whole"));
        seen += u64::from(out.header().event_count);
    }
    assert!(lossy.missed() > 0);
    assert_eq!(seen + lossy.missed(), 300 * 16);
}
