//! Readers in other processes, and the service in another process.

use std::{
    thread,
    time::{Duration, Instant},
};

use jimbot_shm::{
    Guarantee, LogReader, LogWriter, Now, OpenError, ReadError, ReaderOptions, ReaderStatus,
};

use crate::{
    common::{Home, check, frame},
    peer::{Peer, options, reliable},
};

fn victim(writer: &LogWriter) -> ReaderStatus {
    let readers = writer.readers(Now::read());
    readers.into_iter().find(|reader| reader.name == "victim").expect("in the table")
}

/// Looks until it is so. How long it takes decides nothing.
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "waited a minute: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn a_reader_killed_inside_a_batch_is_handed_it_again() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &options()).expect("open");
    frame(&mut writer, 3, 40);
    frame(&mut writer, 2, 40);
    let mut peer = Peer::start("hold", home.path(), &[]);
    peer.expect("1");
    let status = victim(&writer);
    assert!(status.alive && status.pinned_bytes > 0 && status.lag_events == 5, "{status:?}");
    assert_eq!(status.pid, peer.id());
    let error = LogReader::open(
        home.path(),
        &ReaderOptions {
            name: "victim".into(),
            guarantee: Guarantee::Reliable,
            ..ReaderOptions::default()
        },
    )
    .expect_err("the name is in use");
    assert!(matches!(error, OpenError::ReaderNameInUse { pid, .. } if pid == peer.id()), "{error}");
    peer.kill();

    let mut heir = reliable(home.path(), "victim");
    assert_eq!(heir.generation(), 2);
    let again = heir.try_next().expect("read").expect("the frame that was in hand");
    assert_eq!(again.header().first_sequence, 1);
    check(&again.copy().expect("whole"));
    assert_eq!(victim(&writer).generation, 2);
}

pub fn a_killed_reader_holds_for_its_lease_only() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &options()).expect("open");
    frame(&mut writer, 1, 40);
    let mut peer = Peer::start("hold", home.path(), &[]);
    peer.expect("1");
    let mut stored = 1;
    while writer.begin(Now::read()).is_ok() {
        crate::common::store(&mut writer, 1000);
        writer.commit(Now::read());
        stored += 1;
    }
    let now = Now::read();
    let later = |seconds: u64| Now { mono_ns: now.mono_ns + seconds * 1_000_000_000, ..now };
    assert!(!writer.check_readers(later(100)), "alive: it holds");
    peer.kill();
    assert!(!writer.check_readers(later(101)), "dead, and within its lease");
    assert!(!victim(&writer).alive && !victim(&writer).detached);
    assert!(writer.check_readers(later(102)), "its lease is over");
    assert!(victim(&writer).detached);
    assert_eq!(writer.detached(), 1);
    for _ in 0..100 {
        frame(&mut writer, 1, 1000);
        stored += 1;
    }
    // Its name and its cursor are kept: what it lost is told exactly.
    let mut heir = reliable(home.path(), "victim");
    match heir.try_next() {
        Err(ReadError::Detached { first_missed: 1, missed }) => assert_eq!(missed, heir.missed()),
        other => panic!("it must be told what it lost: {other:?}"),
    }
    let mut seen = 0;
    while let Some(frame) = heir.try_next().expect("read") {
        check(&frame.copy().expect("whole"));
        seen += u64::from(frame.header().event_count);
        frame.release().expect("whole");
    }
    assert!(heir.missed() > 0);
    assert_eq!(seen + heir.missed(), stored);
}

pub fn a_stopped_reader_is_alive() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &options()).expect("open");
    frame(&mut writer, 1, 40);
    let mut peer = Peer::start("hold", home.path(), &[]);
    peer.expect("1");
    peer.signal(libc::SIGSTOP);
    let now = Now::read();
    for second in 0..100 {
        writer.check_readers(Now { mono_ns: now.mono_ns + second * 1_000_000_000, ..now });
    }
    assert!(victim(&writer).alive && !victim(&writer).detached);
    peer.kill();
    wait_until("its lock is freed", || !victim(&writer).alive);
}

pub fn a_forked_reader_says_so_and_holds_no_lock() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &options()).expect("open");
    frame(&mut writer, 1, 40);
    let mut peer = Peer::start("fork", home.path(), &[]);
    peer.expect("refused");
    assert!(victim(&writer).alive, "the parent holds its lock");
    assert!(victim(&writer).pinned_bytes > 0, "the child has released nothing");
    peer.signal(libc::SIGKILL);
    // The child lives on, without the lock.
    wait_until("the parent's lock is freed", || !victim(&writer).alive);
    let mut heir = reliable(home.path(), "victim");
    assert_eq!(heir.try_next().expect("read").expect("a frame").header().first_sequence, 1);
    assert_eq!(peer.end().0, Some(libc::SIGKILL));
}

pub fn a_signal_ends_a_wait_early() {
    let home = Home::new();
    let _writer = LogWriter::open(home.path(), &options()).expect("open");
    let mut peer = Peer::start("interrupt", home.path(), &[]);
    peer.expect("interrupted");
    assert_eq!(peer.end().1, Some(0));
}

pub fn a_second_service_is_refused_by_name() {
    let home = Home::new();
    let mut peer = Peer::start("serve", home.path(), &[]);
    peer.expect("ready");
    let error = LogWriter::open(home.path(), &options()).expect_err("in use");
    assert!(error.to_string().contains(&format!("process {}", peer.id())), "{error}");
    peer.kill();
    let writer = LogWriter::open(home.path(), &options()).expect("free again");
    assert_eq!(writer.generation(), 2);
}

pub fn a_sleeping_reader_is_woken_by_another_process() {
    let home = Home::new();
    let mut peer = Peer::start("serve", home.path(), &[]);
    peer.expect("ready");
    let mut reader = reliable(home.path(), "sleeper");
    for _ in 0..20 {
        let frame = reader.next(Duration::from_secs(60)).expect("read").expect("woken");
        frame.release().expect("whole");
    }
    peer.kill();
}

pub fn a_forked_service_holds_no_lock() {
    let home = Home::new();
    let mut peer = Peer::start("serve-forked", home.path(), &[]);
    peer.expect("forked");
    peer.signal(libc::SIGKILL);
    assert_eq!(peer.end().0, Some(libc::SIGKILL));
    let writer = LogWriter::open(home.path(), &options()).expect("free though the child lives");
    assert_eq!(writer.recovered().events, 1);
}
