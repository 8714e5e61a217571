//! What readers see.

mod common;

use std::time::Duration;

use common::{Home, check, files, frame, read_all, reader, reliable, small, store, tiny};
use jimbot_shm::{Guarantee, LogOptions, LogReader, LogWriter, Now, ReaderOptions, Start, Waited};

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

#[test]
fn a_lossy_view_that_is_overwritten_is_found_out() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut lossy = reader(&home, "l", Guarantee::Lossy, Start::Earliest);
    frame(&mut writer, 4, 100);
    let held = lossy.try_next().expect("read").expect("a frame");
    held.check().expect("whole still");
    for _ in 0..100 {
        frame(&mut writer, 16, 200);
    }
    let overrun = held.check().expect_err("overwritten");
    assert_eq!((overrun.first_sequence, overrun.events), (1, 4));
    assert!(held.copy().is_err());
    assert!(overrun.to_string().contains("from sequence 1 on was overwritten"));
}

#[test]
fn a_reader_begins_where_it_asked() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    for _ in 0..10 {
        frame(&mut writer, 3, 20);
    }
    let first = |start| {
        let mut reader = reader(&home, "", Guarantee::Lossy, start);
        reader.try_next().expect("read").map(|frame| frame.header().first_sequence)
    };
    assert_eq!(first(Start::Earliest), Some(1));
    assert_eq!(first(Start::Latest), None);
    assert_eq!(first(Start::Sequence(1)), Some(1));
    assert_eq!(first(Start::Sequence(15)), Some(13), "the frame that holds it");
    assert_eq!(first(Start::Sequence(16)), Some(16));
    assert_eq!(first(Start::Sequence(1000)), None, "yet to come");
    let latest = reader(&home, "latest", Guarantee::Lossy, Start::Latest);
    assert_eq!(latest.next_sequence(), 31);
}

#[test]
fn a_start_that_is_gone_counts_as_missed() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    for _ in 0..100 {
        frame(&mut writer, 16, 200);
    }
    let mut late = reader(&home, "late", Guarantee::Reliable, Start::Sequence(5));
    let first = late.try_next().expect("read").expect("a frame").header().first_sequence;
    assert_eq!(late.missed(), first - 5);
}

#[test]
fn lag_and_missed_are_told_in_events_bytes_and_time() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    let mut reader = reliable(&home, "r");
    assert_eq!(reader.lag(), Default::default());
    frame(&mut writer, 3, 20);
    frame(&mut writer, 2, 20);
    let lag = reader.lag();
    assert_eq!((lag.events, lag.bytes), (5, 192 + 3 * 64 + 128 + 2 * 64));
    read_all(&mut reader).expect("read");
    assert_eq!(reader.lag(), Default::default());
    assert_eq!(reader.missed(), 0);
}

#[test]
fn a_wait_ends_when_something_is_committed() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    let mut sleeper = reliable(&home, "sleeper");
    assert_eq!(sleeper.wait(Duration::from_millis(1)).expect("wait"), Waited::TimedOut);
    let sleeping = std::thread::spawn(move || {
        let frame = sleeper.next(Duration::from_secs(60)).expect("read").expect("woken");
        frame.header().first_sequence
    });
    frame(&mut writer, 1, 10);
    assert_eq!(sleeping.join().expect("the sleeper"), 1);
}

#[test]
fn an_alerted_reader_finds_what_is_committed_after_it() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    writer.alert(Now::read());
    assert_eq!(writer.wakes(), (0, 0), "nobody sleeps");
    for sequence in 1..=50 {
        let mut sleeper = reader(&home, "sleeper", Guarantee::Lossy, Start::Latest);
        let sleeping = std::thread::spawn(move || {
            let frame = sleeper.next(Duration::from_secs(60)).expect("read").expect("woken");
            frame.header().first_sequence
        });
        let before = writer.wakes().0;
        while writer.wakes().0 == before {
            writer.alert(Now::read());
            std::thread::yield_now();
        }
        // It looks for the event, or has gone to sleep again: it gets it either way.
        if sequence % 2 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        frame(&mut writer, 1, 10);
        while !sleeping.is_finished() {
            // A wake so soon after the alert may be put off.
            writer.service_wake(Now::read());
            std::thread::yield_now();
        }
        assert_eq!(sleeping.join().expect("the sleeper"), sequence);
    }
}

#[test]
fn an_alert_so_soon_after_a_wake_is_left_out() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    let mut sleeper = reader(&home, "sleeper", Guarantee::Lossy, Start::Latest);
    let sleeping = std::thread::spawn(move || {
        sleeper.next(Duration::from_secs(60)).expect("read").expect("woken");
    });
    let now = Now::read();
    while writer.wakes().0 == 0 {
        writer.alert(now);
    }
    // By its clock no time has passed.
    for _ in 0..1_000 {
        writer.alert(now);
        std::thread::yield_now();
    }
    assert_eq!((writer.wakes(), writer.wake_due()), ((1, 0), None));
    frame(&mut writer, 1, 10);
    while !sleeping.is_finished() {
        writer.service_wake(Now::read());
        std::thread::yield_now();
    }
    sleeping.join().expect("the sleeper");
}

#[test]
fn waking_takes_at_most_a_tenth_of_the_time() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    let mut sleeper = reader(&home, "sleeper", Guarantee::Lossy, Start::Latest);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let sleeping = std::thread::spawn(move || {
        while stopped.try_recv().is_err() {
            sleeper.next(Duration::from_millis(20)).expect("read");
        }
    });
    let now = Now::read();
    let commit = |writer: &mut LogWriter| {
        writer.begin(now).expect("room");
        store(writer, 10);
        writer.commit(now);
        std::thread::sleep(Duration::from_micros(100));
    };
    while writer.wakes().0 == 0 {
        commit(&mut writer);
    }
    // By its clock no time has passed, so the next sleeper is not woken at once.
    while writer.wakes().1 == 0 {
        commit(&mut writer);
    }
    assert_eq!(writer.wakes(), (1, 1));
    let due = writer.wake_due().expect("put off");
    assert!(due > now.mono_ns);
    writer.service_wake(Now { mono_ns: due - 1, ..now });
    assert_eq!((writer.wakes().0, writer.wake_due()), (1, Some(due)));
    writer.service_wake(Now { mono_ns: due, ..now });
    assert_eq!(writer.wake_due(), None);
    stop.send(()).expect("the sleeper runs");
    sleeping.join().expect("the sleeper");
}

#[test]
fn a_restart_keeps_the_epoch_and_counts_the_generation() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    let mut living = reliable(&home, "living");
    let (epoch, key) = (writer.epoch(), writer.id_key());
    frame(&mut writer, 2, 30);
    writer.begin(Now::read()).expect("room");
    store(&mut writer, 30);
    drop(writer);
    let options = LogOptions { id_key: [9; 16], ..small() };
    let mut writer = LogWriter::open(home.path(), &options).expect("take over");
    assert_eq!((writer.epoch(), writer.id_key(), writer.generation()), (epoch, key, 2));
    assert_eq!(writer.next_sequence(), 4);
    let mut history = Vec::new();
    writer.scan(|entry, bytes| {
        assert_eq!(bytes, common::event_bytes(entry.sequence, 30));
        history.push(entry.sequence);
    });
    assert_eq!(history, [1, 2, 3]);
    frame(&mut writer, 1, 30);
    assert_eq!(read_all(&mut living).expect("read"), 4, "it reads on in the same log");
    assert_eq!(files(&home), ["log", "readers"]);
}

#[test]
fn a_reader_waits_for_a_log_that_is_not_there_yet() {
    let home = Home::new();
    let path = home.path().to_owned();
    let waiting = std::thread::spawn(move || {
        let options =
            ReaderOptions { patience: Duration::from_secs(60), ..ReaderOptions::default() };
        LogReader::open(&path, &options).map(|reader| reader.log_epoch())
    });
    let writer = LogWriter::open(home.path(), &small()).expect("open");
    assert_eq!(waiting.join().expect("the reader").expect("joined"), writer.epoch());
}

#[test]
fn what_is_not_appended_is_left_behind() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    writer.begin(Now::read()).expect("room");
    store(&mut writer, 100);
    let before = (writer.open_events(), writer.open_bytes(), writer.room().len());
    writer.room()[..2000].fill(0xff);
    assert_eq!((writer.open_events(), writer.open_bytes(), writer.room().len()), before);
    store(&mut writer, 100);
    writer.commit(Now::read());
    assert!(writer.commit(Now::read()).is_none(), "nothing is open");
    let mut reader = reliable(&home, "r");
    assert_eq!(read_all(&mut reader).expect("read"), 2);
}

#[test]
fn a_frame_takes_its_limits_and_no_more() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    writer.begin(Now::read()).expect("room");
    assert_eq!((writer.room().len(), writer.events_left()), (4096, 16));
    let room = writer.room().len();
    store(&mut writer, room - 3);
    assert_eq!(writer.room().len(), 0);
    assert_eq!(writer.commit(Now::read()).expect("an event").bytes, 4096);
    writer.begin(Now::read()).expect("room");
    for _ in 0..16 {
        store(&mut writer, 10);
    }
    assert_eq!(writer.events_left(), 0);
    writer.commit(Now::read());
    let mut reader = reliable(&home, "r");
    assert_eq!(read_all(&mut reader).expect("read"), 17);
}
