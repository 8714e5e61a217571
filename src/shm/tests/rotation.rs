//! From a sealed log to its successor.

mod common;

use common::{Home, check, files, fill, frame, later, read_all, reader, reliable, small, tiny};
use jimbot_shm::{
    Guarantee, LogOptions, LogReader, LogWriter, Now, OpenError, ReadError, ReaderOptions, Start,
};

fn rotating() -> LogOptions {
    LogOptions { rotate: true, ..tiny() }
}

#[test]
fn every_reader_finishes_the_old_log_and_follows() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    let old_epoch = writer.epoch();
    let mut lossy = reader(&home, "lossy", Guarantee::Lossy, Start::Earliest);
    let mut slow = reliable(&home, "slow");
    for _ in 0..5 {
        frame(&mut writer, 2, 40);
    }
    let first = slow.try_next().expect("read").expect("a frame");
    drop(writer);
    let mut writer = LogWriter::open(home.path(), &rotating()).expect("rotate");
    assert_ne!(writer.epoch(), old_epoch);
    let mut events = 0;
    writer.scan(|_, _| events += 1);
    assert_eq!(events, 10, "the history comes along");
    frame(&mut writer, 3, 40);
    assert_eq!(
        writer.readers(Now::read()).len(),
        1,
        "the reliable reader is held before it has followed"
    );
    assert!(writer.readers(Now::read())[0].alive, "it lives, in the old log");

    for reader in [&mut lossy, &mut slow] {
        let mut epochs = Vec::new();
        while let Some(frame) = reader.try_next().expect("read") {
            check(&frame.copy().expect("whole"));
            epochs.push((frame.log_epoch() == old_epoch, frame.header().first_sequence));
            frame.release().expect("whole");
        }
        let start = usize::from(reader.guarantee() == Guarantee::Reliable);
        let all = [(true, 1), (true, 3), (true, 5), (true, 7), (true, 9), (false, 1)];
        assert_eq!(epochs, all[start..]);
        assert_eq!((reader.missed(), reader.log_epoch()), (0, writer.epoch()));
    }

    // The first frame is still in hand: the old log waits for it, however long.
    let now = Now::read();
    writer.check_readers(later(now, 1000));
    assert_eq!(files(&home).len(), 4);
    check(&first.copy().expect("whole"));
    first.release().expect("whole");
    drop(first);
    writer.check_readers(later(now, 1002));
    assert_eq!(files(&home), ["log", "readers"]);
}

#[test]
fn a_reader_in_the_old_log_holds_the_new_one() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut slow = reliable(&home, "slow");
    frame(&mut writer, 2, 40);
    drop(writer);
    let mut writer = LogWriter::open(home.path(), &rotating()).expect("rotate");
    let stored = fill(&mut writer, 1000);
    assert!(!writer.check_readers(later(Now::read(), 1000)), "it lives, and has not followed");
    assert_eq!(read_all(&mut slow).expect("read"), 2 + stored);
    assert!(writer.check_readers(Now::read()));
}

#[test]
fn a_dead_reader_comes_back_to_the_old_log_within_its_lease() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    drop(reliable(&home, "absent"));
    frame(&mut writer, 2, 40);
    drop(writer);
    let mut writer = LogWriter::open(home.path(), &rotating()).expect("rotate");
    frame(&mut writer, 3, 40);
    let now = Now::read();
    writer.check_readers(now);
    writer.check_readers(later(now, 20));
    let mut back = reliable(&home, "absent");
    assert_eq!(read_all(&mut back).expect("read"), 5);
    assert_eq!(back.missed(), 0);
}

#[test]
fn a_dead_reader_that_comes_back_too_late_is_told_what_it_lost() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut absent = reliable(&home, "absent");
    frame(&mut writer, 2, 40);
    read_all(&mut absent).expect("read");
    drop(absent);
    frame(&mut writer, 5, 40);
    drop(writer);
    let mut writer = LogWriter::open(home.path(), &rotating()).expect("rotate");
    let now = Now::read();
    writer.check_readers(now);
    writer.check_readers(later(now, 60));
    writer.check_readers(later(now, 62));
    assert_eq!(files(&home), ["log", "readers"], "nobody is waited for any more");
    frame(&mut writer, 3, 40);
    let mut back = reliable(&home, "absent");
    assert_eq!(back.missed(), 5, "what went with the old log");
    assert_eq!(read_all(&mut back).expect("read"), 3);
}

#[test]
fn a_reader_detached_in_the_new_log_is_told_its_gap_when_it_follows() {
    let home = Home::new();
    let options = LogOptions { full_policy: jimbot_shm::FullPolicy::Detach, ..rotating() };
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut slow = reliable(&home, "slow");
    frame(&mut writer, 2, 40);
    drop(writer);
    let mut writer = LogWriter::open(home.path(), &options).expect("rotate");
    fill(&mut writer, 1000);
    assert!(writer.check_readers(Now::read()));
    for _ in 0..100 {
        frame(&mut writer, 1, 1000);
    }
    let stored = writer.next_sequence() - 1;
    let first = slow.try_next().expect("read").expect("the old log's frame");
    first.release().expect("whole");
    let missed = match slow.try_next() {
        Err(ReadError::Detached { first_missed: 1, missed }) => missed,
        other => panic!("it must be told: {other:?}"),
    };
    assert_eq!(missed + read_all(&mut slow).expect("read"), stored);
}

#[test]
fn a_log_is_not_rotated_again_while_its_predecessor_is_read() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut slow = reliable(&home, "slow");
    frame(&mut writer, 2, 40);
    drop(writer);
    drop(LogWriter::open(home.path(), &rotating()).expect("rotate"));
    let error = LogWriter::open(home.path(), &rotating()).expect_err("still being read");
    assert!(
        matches!(&error, OpenError::PredecessorInUse { readers, .. } if readers == &["slow"]),
        "{error}"
    );
    let mut writer =
        LogWriter::open(home.path(), &tiny()).expect("the log itself can be taken over");
    frame(&mut writer, 1, 40);
    assert_eq!(read_all(&mut slow).expect("read"), 3);
    drop(writer);
    LogWriter::open(home.path(), &rotating()).expect("nobody reads the first one any more");
}

#[test]
fn a_sleeping_reader_is_woken_by_the_seal() {
    let home = Home::new();
    let writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut sleeper = reliable(&home, "sleeper");
    let sleeping = std::thread::spawn(move || {
        let frame =
            sleeper.next(std::time::Duration::from_secs(60)).expect("read").expect("followed");
        frame.log_epoch()
    });
    drop(writer);
    let mut writer = LogWriter::open(home.path(), &rotating()).expect("rotate");
    frame(&mut writer, 1, 40);
    assert_eq!(sleeping.join().expect("the sleeper"), writer.epoch());
}

#[test]
fn a_new_reader_begins_with_the_new_log() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let _slow = reliable(&home, "slow");
    frame(&mut writer, 2, 40);
    drop(writer);
    let mut writer = LogWriter::open(home.path(), &rotating()).expect("rotate");
    frame(&mut writer, 1, 40);
    let mut fresh = reliable(&home, "fresh");
    assert_eq!(read_all(&mut fresh).expect("read"), 1);
    let options = ReaderOptions {
        name: "slow".into(),
        guarantee: Guarantee::Reliable,
        ..ReaderOptions::default()
    };
    let error = LogReader::open(home.path(), &options).expect_err("it lives in the old log");
    assert!(matches!(error, OpenError::ReaderNameInUse { .. }), "{error}");
}
