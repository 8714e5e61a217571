//! Reliable readers and the full log.

mod common;

use common::{Home, check, fill, frame, later, read_all, reader, reliable, tiny};
use jimbot_shm::{
    FullPolicy, Guarantee, LogOptions, LogReader, LogWriter, Now, OpenError, ReadError,
    ReaderOptions, Start, layout::READER_SLOTS,
};

#[test]
fn a_living_reader_that_reads_nothing_holds_the_writer_until_it_releases() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut slow = reliable(&home, "slow");
    let _lossy = reader(&home, "lossy", Guarantee::Lossy, Start::Earliest);
    let stored = fill(&mut writer, 1000);
    let now = Now::read();
    assert!(!writer.check_readers(later(now, 1000)), "held as long as it lives");
    let full = writer.begin(now).expect_err("full");
    assert_eq!(writer.readers(now)[full.slot].name, "slow");
    let mut seen = 0;
    while !writer.check_readers(now) {
        let frame = slow.try_next().expect("read").expect("a frame");
        check(&frame.copy().expect("whole"));
        frame.release().expect("whole");
        seen += 1;
    }
    writer.begin(now).expect("room again");
    assert!(seen < stored);
    seen += read_all(&mut slow).expect("read");
    assert_eq!((seen, slow.missed()), (stored, 0));
}

#[test]
fn a_living_reader_that_fills_the_log_is_detached_where_the_option_says_so() {
    let home = Home::new();
    let options = LogOptions { full_policy: FullPolicy::Detach, ..tiny() };
    let mut writer = LogWriter::open(home.path(), &options).expect("open");
    let mut slow = reliable(&home, "slow");
    let first = {
        frame(&mut writer, 2, 50);
        slow.try_next().expect("read").expect("a frame")
    };
    fill(&mut writer, 1000);
    assert!(writer.check_readers(Now::read()), "it has gone out of the way");
    assert!(writer.readers(Now::read())[0].detached);
    for _ in 0..200 {
        frame(&mut writer, 1, 1000);
    }
    let stored = writer.next_sequence() - 1;
    first.check().expect_err("the frame in hand is overwritten");
    let missed = match slow.try_next() {
        Err(ReadError::Detached { first_missed, missed }) => {
            assert_eq!(first_missed, 3, "the frame in hand was handed out");
            missed
        }
        other => panic!("it must be told: {other:?}"),
    };
    first.release().expect_err("too late");
    assert!(!writer.readers(Now::read())[0].detached, "it has rejoined");
    let seen = read_all(&mut slow).expect("read");
    assert_eq!(2 + missed + seen, stored, "the gap is exact");
    assert_eq!(slow.missed(), missed);
}

#[test]
fn a_detached_reader_that_has_lost_nothing_goes_on() {
    let home = Home::new();
    let options = LogOptions { full_policy: FullPolicy::Detach, ..tiny() };
    let mut writer = LogWriter::open(home.path(), &options).expect("open");
    let mut slow = reliable(&home, "slow");
    let stored = fill(&mut writer, 1000);
    assert!(writer.check_readers(Now::read()));
    assert!(writer.readers(Now::read())[0].detached);
    assert_eq!(read_all(&mut slow).expect("nothing to tell"), stored);
    assert_eq!(slow.missed(), 0);
}

#[test]
fn a_reader_may_ask_never_to_be_detached_while_it_lives() {
    let home = Home::new();
    let options = LogOptions { full_policy: FullPolicy::Detach, ..tiny() };
    let mut writer = LogWriter::open(home.path(), &options).expect("open");
    let forwarder = LogReader::open(
        home.path(),
        &ReaderOptions {
            name: "forwarder".into(),
            guarantee: Guarantee::Reliable,
            start: Start::Earliest,
            never_detach: true,
            ..ReaderOptions::default()
        },
    )
    .expect("join");
    fill(&mut writer, 1000);
    let now = Now::read();
    assert!(!writer.check_readers(now));
    drop(forwarder);
    assert!(!writer.check_readers(later(now, 10)), "dead, within its lease");
    assert!(writer.check_readers(later(now, 41)), "dead for longer than its lease");
}

#[test]
fn the_cursor_is_the_lowest_frame_that_was_not_released() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut holder = reliable(&home, "holder");
    for _ in 0..4 {
        frame(&mut writer, 1, 50);
    }
    let frames: Vec<_> =
        (0..4).map(|_| holder.try_next().expect("read").expect("a frame")).collect();
    let lag = |writer: &LogWriter| {
        let status = &writer.readers(Now::read())[0];
        (status.lag_events, status.pinned_bytes)
    };
    assert_eq!(lag(&writer), (4, 4 * 192));
    frames[1].release().expect("whole");
    frames[2].release().expect("whole");
    frames[2].release().expect("again is nothing");
    assert_eq!(lag(&writer), (4, 2 * 192), "the first is still out");
    frames[0].release().expect("whole");
    assert_eq!(lag(&writer), (1, 192));
    assert_eq!(holder.pinned().0, 192);
    // Dropped and not released: it is still unread.
    drop(frames);
    drop(holder);
    let mut heir = reliable(&home, "holder");
    assert_eq!(heir.try_next().expect("read").expect("a frame").header().first_sequence, 4);
    assert_eq!(writer.readers(Now::read())[0].generation, 2);
}

#[test]
fn a_name_in_use_is_refused_and_a_free_one_resumes() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut first = reliable(&home, "trainer");
    frame(&mut writer, 1, 50);
    frame(&mut writer, 1, 50);
    first.try_next().expect("read").expect("a frame").release().expect("whole");
    let options = ReaderOptions { name: "trainer".into(), ..ReaderOptions::default() };
    let error = LogReader::open(home.path(), &options).expect_err("in use");
    assert!(matches!(&error, OpenError::ReaderNameInUse { pid, .. } if *pid == std::process::id()));
    drop(first);
    let mut second = reliable(&home, "trainer");
    assert_eq!(second.generation(), 2);
    assert_eq!(read_all(&mut second).expect("read"), 1);
    second.unregister();
    let mut third = reliable(&home, "trainer");
    assert_eq!(
        (third.generation(), third.missed()),
        (3, 0),
        "forgotten, and not mistaken for another"
    );
    assert_eq!(read_all(&mut third).expect("read"), 2, "and so it begins again");
}

#[test]
fn a_full_table_gives_the_slot_of_the_longest_detached_reader() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut readers: Vec<_> =
        (0..READER_SLOTS).map(|at| reliable(&home, &format!("r{at}"))).collect();
    let lossy = ReaderOptions { name: "one more".into(), ..ReaderOptions::default() };
    let error = LogReader::open(home.path(), &lossy).expect_err("no slot");
    assert!(matches!(error, OpenError::TableFull { slots: READER_SLOTS }), "{error}");

    let now = Now::read();
    for (at, name) in ["r10", "r20"].into_iter().enumerate() {
        readers.retain(|reader| reader.name() != name);
        writer.check_readers(later(now, 100 * at as u64));
        if at == 0 {
            let error = LogReader::open(home.path(), &lossy).expect_err("within its lease");
            assert!(matches!(error, OpenError::TableFull { .. }), "{error}");
        }
        writer.check_readers(later(now, 100 * at as u64 + 50));
    }
    let one_more = LogReader::open(home.path(), &lossy).expect("in place of r10");
    let names: Vec<_> = writer.readers(now).into_iter().map(|reader| reader.name).collect();
    assert!(
        !names.contains(&"r10".into())
            && names.contains(&"r20".into())
            && names.contains(&"one more".into())
    );
    drop(one_more);
    reliable(&home, "free slots go first");
    assert!(writer.readers(now).iter().any(|reader| reader.name == "r20"));
}

#[test]
fn names_are_checked() {
    let home = Home::new();
    let _writer = LogWriter::open(home.path(), &tiny()).expect("open");
    for name in ["a".repeat(65), "a\nb".into()] {
        let options = ReaderOptions { name, ..ReaderOptions::default() };
        assert!(matches!(LogReader::open(home.path(), &options), Err(OpenError::Invalid { .. })));
    }
    let widest = reliable(&home, &"ä".repeat(32));
    assert_eq!(widest.name().len(), 64);
}

#[test]
fn readers_are_shown_with_how_far_they_are_behind() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let _slow = reliable(&home, "slow");
    let now = Now::read();
    writer.begin(now).expect("room");
    common::store(&mut writer, 50);
    writer.commit(now);
    let status = &writer.readers(later(now, 7))[0];
    assert_eq!((status.lag_events, status.lag_bytes, status.lag_ns), (1, 192, 7_000_000_000));
    assert!(status.alive && !status.detached && status.guarantee == Guarantee::Reliable);
    assert_eq!(status.pid, std::process::id());
}
