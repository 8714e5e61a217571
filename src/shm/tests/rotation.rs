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

/// A rotation, and a frame of `events` events in the new log.
fn rotate_and_store(home: &Home, events: u32) -> LogWriter {
    let mut writer = LogWriter::open(home.path(), &rotating()).expect("rotate");
    frame(&mut writer, events, 40);
    writer
}

#[test]
fn a_lossy_reader_two_rotations_behind_joins_the_sealed_log_in_between() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut lossy = reader(&home, "lossy", Guarantee::Lossy, Start::Earliest);
    let mut slow = reliable(&home, "slow");
    frame(&mut writer, 2, 40);
    drop(writer);
    drop(rotate_and_store(&home, 3));
    slow.try_next().expect("read").expect("the first log's frame").release().expect("whole");
    let second = slow.try_next().expect("read").expect("the second log's frame");
    let writer = rotate_and_store(&home, 4);

    assert_eq!(read_all(&mut lossy).expect("no log is missing"), 2 + 3 + 4);
    assert_eq!((lossy.missed(), lossy.log_epoch()), (0, writer.epoch()));
    second.release().expect("whole");
    assert_eq!(read_all(&mut slow).expect("read"), 4);
}

#[test]
fn a_lossy_reader_whose_next_log_is_gone_goes_on_and_counts_what_was_in_it() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut early = reader(&home, "early", Guarantee::Lossy, Start::Earliest);
    let mut late = reader(&home, "late", Guarantee::Lossy, Start::Earliest);
    frame(&mut writer, 2, 40);
    drop(writer);
    drop(rotate_and_store(&home, 3));
    drop(rotate_and_store(&home, 4));
    let mut writer = rotate_and_store(&home, 5);

    assert_eq!(read_all(&mut early).expect("read"), 2 + 4 + 5, "the third log is still there");
    assert_eq!((early.missed(), early.log_epoch()), (3, writer.epoch()));
    writer.check_readers(later(Now::read(), 2));
    assert_eq!(files(&home), ["log", "readers"]);
    assert_eq!(read_all(&mut late).expect("read"), 2 + 5);
    assert_eq!((late.missed(), late.log_epoch()), (3 + 4, writer.epoch()));
}

#[test]
fn a_reader_that_has_read_the_old_log_and_not_followed_yet_is_not_taken_for_dead() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut idle = reliable(&home, "idle");
    frame(&mut writer, 2, 40);
    idle.try_next().expect("read").expect("a frame").release().expect("whole");
    drop(writer);
    let mut writer = rotate_and_store(&home, 3);
    let now = Now::read();
    for seconds in [2, 60, 120] {
        writer.check_readers(later(now, seconds));
    }
    let status = &writer.readers(now)[0];
    assert!(status.alive && !status.detached, "{status:?}");
    drop(writer);
    let error = LogWriter::open(home.path(), &rotating()).expect_err("it is to read the second");
    assert!(
        matches!(&error, OpenError::PredecessorInUse { readers, .. } if readers == &["idle"]),
        "{error}"
    );
    assert_eq!(read_all(&mut idle).expect("read"), 3);
    drop(rotate_and_store(&home, 4));
    assert_eq!(read_all(&mut idle).expect("read"), 4);
    assert_eq!(idle.missed(), 0);
}

#[test]
fn a_detached_reader_whose_next_log_is_gone_is_told_what_was_in_it() {
    let home = Home::new();
    let options = LogOptions { full_policy: jimbot_shm::FullPolicy::Detach, ..rotating() };
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut slow = reliable(&home, "slow");
    frame(&mut writer, 2, 40);
    drop(writer);
    let mut writer = LogWriter::open(home.path(), &options).expect("rotate");
    let gone = fill(&mut writer, 1000);
    assert!(writer.check_readers(Now::read()), "it is detached");
    drop(writer);
    let mut writer = rotate_and_store(&home, 3);
    writer.check_readers(later(Now::read(), 2));
    assert_eq!(files(&home), ["log", "readers"]);

    slow.try_next().expect("read").expect("the first log's frame").release().expect("whole");
    match slow.try_next() {
        Err(ReadError::Detached { first_missed: 1, missed }) => assert_eq!(missed, gone),
        other => panic!("it must be told: {other:?}"),
    }
    assert_eq!(read_all(&mut slow).expect("read"), 3);
    assert_eq!((slow.missed(), slow.log_epoch()), (gone, writer.epoch()));
}
