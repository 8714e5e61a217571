//! The states in which a directory and its files can be found, and what is said about them.

mod common;

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::Path,
};

use common::{Home, files, frame, read_all, reliable, small, tiny};
use jimbot_shm::{
    LogOptions, LogReader, LogWriter, Now, OpenError, ReaderOptions, inspect,
    layout::{self, constants, control, max_frame},
};

fn join(path: &Path) -> Result<LogReader, OpenError> {
    LogReader::open(path, &ReaderOptions::default())
}

fn patch(home: &Home, offset: u64, bytes: &[u8]) {
    let file = fs::File::options().write(true).open(home.path().join("log")).expect("the log");
    file.write_all_at(bytes, offset).expect("write");
}

/// A log with a few events and no service.
fn left_behind() -> Home {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    for _ in 0..3 {
        frame(&mut writer, 2, 30);
    }
    home
}

#[test]
fn the_directory_is_made_private() {
    let home = Home::new();
    assert!(matches!(join(home.path()), Err(OpenError::Missing { .. })));
    drop(LogWriter::open(home.path(), &small()).expect("open"));
    assert_eq!(fs::metadata(home.path()).expect("made").permissions().mode() & 0o7777, 0o700);
    assert_eq!(
        fs::metadata(home.path().join("log")).expect("made").permissions().mode() & 0o7777,
        0o600
    );
}

#[test]
fn a_directory_that_others_can_reach_into_is_refused() {
    let home = left_behind();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    for error in [
        LogWriter::open(home.path(), &small()).expect_err("unsafe"),
        join(home.path()).expect_err("unsafe"),
    ] {
        assert!(matches!(error, OpenError::UnsafeDirectory { .. }));
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
}

#[test]
fn links_are_not_followed() {
    let home = left_behind();
    let link = Home::new();
    symlink(home.path(), link.path()).expect("a link");
    assert!(matches!(join(link.path()), Err(OpenError::UnsafeDirectory { .. })));
    assert!(matches!(
        LogWriter::open(link.path(), &small()),
        Err(OpenError::UnsafeDirectory { .. })
    ));
    fs::remove_file(link.path()).expect("ours");

    fs::rename(home.path().join("log"), home.path().join("elsewhere")).expect("ours");
    symlink("elsewhere", home.path().join("log")).expect("a link");
    assert!(matches!(join(home.path()), Err(OpenError::Foreign { .. })));
    assert!(matches!(LogWriter::open(home.path(), &small()), Err(OpenError::Foreign { .. })));
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let home = Home::new();
    fs::write(home.path(), "").expect("ours");
    assert!(matches!(
        LogWriter::open(home.path(), &small()),
        Err(OpenError::UnsafeDirectory { .. })
    ));
    fs::remove_file(home.path()).expect("ours");
}

#[test]
fn a_file_that_was_not_finished_is_made_anew() {
    for size in [0, 100 * 4096] {
        let home = left_behind();
        let file = fs::File::create(home.path().join("log")).expect("cut");
        file.set_len(size).expect("zeros");
        assert!(matches!(join(home.path()), Err(OpenError::NotInitialised { .. })));
        let mut writer = LogWriter::open(home.path(), &small()).expect("made anew");
        assert!(!writer.recovered().taken_over);
        frame(&mut writer, 1, 10);
        assert_eq!(read_all(&mut reliable(&home, "r")).expect("read"), 1);
    }
}

#[test]
fn a_foreign_file_is_left_alone() {
    for content in ["hello", "hello, this is somebody's letter", &"letter ".repeat(10_000)] {
        let home = left_behind();
        fs::write(home.path().join("log"), content).expect("ours");
        for rotate in [false, true] {
            let error = LogWriter::open(home.path(), &LogOptions { rotate, ..small() })
                .expect_err("foreign");
            assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        }
        assert!(matches!(join(home.path()), Err(OpenError::Foreign { .. })));
        assert_eq!(fs::read_to_string(home.path().join("log")).expect("still there"), content);
    }
}

/// What is said of a file that cannot be read on, and that it can be put aside.
fn refused(home: &Home, kind: impl Fn(&OpenError) -> bool, reader_too: bool) {
    let error = LogWriter::open(home.path(), &small()).expect_err("not as it should be");
    assert!(kind(&error), "{error:?}");
    assert!(error.to_string().contains("--rotate-log"), "{error}");
    if reader_too {
        assert!(kind(&join(home.path()).expect_err("the same")));
    }
    let mut writer =
        LogWriter::open(home.path(), &LogOptions { rotate: true, ..small() }).expect("put aside");
    let aside = writer.recovered().put_aside.clone().expect("put aside");
    assert!(aside.starts_with("log.aside-") && files(home).contains(&aside));
    assert_eq!(frame(&mut writer, 1, 10), 1);
}

#[test]
fn an_older_or_newer_file_is_refused() {
    let home = left_behind();
    patch(&home, constants::LAYOUT_VERSION, &99u32.to_le_bytes());
    refused(&home, |error| matches!(error, OpenError::WrongVersion { found: 99, .. }), true);
}

#[test]
fn a_truncated_file_is_refused() {
    for left in [64, 3 * 4096, 10 * 4096] {
        let home = left_behind();
        let file = fs::File::options().write(true).open(home.path().join("log")).expect("the log");
        file.set_len(left).expect("cut");
        refused(&home, |error| matches!(error, OpenError::Truncated { .. }), true);
    }
}

#[test]
fn words_that_contradict_each_other_are_refused() {
    let damages: [(u64, u64); 5] = [
        (control::COMMITTED, 8),
        (control::OLDEST, 1 << 40),
        (control::RESERVED, 64),
        (layout::ring_offset(16) + layout::header::EVENT_COUNT, 77),
        (layout::ring_offset(16) + layout::header::CHECKSUM, 77),
    ];
    for (offset, value) in damages {
        let home = left_behind();
        patch(&home, offset, &value.to_le_bytes());
        refused(&home, |error| matches!(error, OpenError::Damaged { .. }), false);
    }
    for (offset, value) in
        [(constants::CAPACITY, 4097), (constants::MAX_FRAME, 1), (constants::RING_OFFSET, 0)]
    {
        let home = left_behind();
        patch(&home, offset, &u64::to_le_bytes(value));
        refused(&home, |error| matches!(error, OpenError::Damaged { .. }), true);
    }
}

#[test]
fn a_reader_of_damaged_frames_says_so_and_stops() {
    let home = left_behind();
    let mut reader = reliable(&home, "r");
    patch(&home, layout::ring_offset(16) + layout::header::PAYLOAD_BYTES, &u32::MAX.to_le_bytes());
    for _ in 0..2 {
        let error = reader.try_next().expect_err("damaged");
        assert!(matches!(error, jimbot_shm::ReadError::Damaged { .. }), "{error}");
    }
}

#[test]
fn the_readers_table_is_made_anew_when_it_is_gone() {
    let home = left_behind();
    fs::remove_file(home.path().join("readers")).expect("ours");
    let mut writer = LogWriter::open(home.path(), &small()).expect("take over");
    frame(&mut writer, 1, 10);
    assert_eq!(read_all(&mut reliable(&home, "r")).expect("read"), 7);
}

#[test]
fn a_full_file_system_is_an_error_and_leaves_nothing_behind() {
    let home = Home::new();
    let options = LogOptions { capacity: Some(layout::CAPACITY_LIMIT), ..small() };
    let error = LogWriter::open(home.path(), &options).expect_err("a terabyte");
    assert!(matches!(error, OpenError::NoSpace { .. }), "{error}");
    assert!(files(&home).is_empty());
    LogWriter::open(home.path(), &small()).expect("there is room for a small one");
}

#[test]
fn every_page_is_there_from_the_beginning() {
    use std::os::unix::fs::MetadataExt;
    let home = left_behind();
    for name in ["log", "readers"] {
        let metadata = fs::metadata(home.path().join(name)).expect("there");
        assert!(metadata.blocks() * 512 >= metadata.len(), "{name}");
    }
}

#[test]
fn limits_are_checked() {
    let least = 8 * max_frame(4096, 16);
    let bad = [
        LogOptions { max_batch_bytes: 0, ..small() },
        LogOptions { max_batch_bytes: layout::MAX_BATCH_BYTES_LIMIT + 1, ..small() },
        LogOptions { max_batch_events: 0, ..small() },
        LogOptions { max_batch_events: layout::MAX_BATCH_EVENTS_LIMIT + 1, ..small() },
        LogOptions { capacity: Some(least / 4096 * 4096 - 4096), ..small() },
        LogOptions { capacity: Some(least.next_multiple_of(4096) + 64), ..small() },
        LogOptions { epoch_seed: [0; 8], ..small() },
    ];
    for options in bad {
        let home = Home::new();
        let error = LogWriter::open(home.path(), &options).expect_err("refused");
        assert!(matches!(error, OpenError::Invalid { .. }), "{error}");
    }
}

#[test]
fn the_default_capacity_is_a_quarter_of_what_is_free_within_bounds() {
    let options = LogOptions::default();
    let least =
        (8 * max_frame(options.max_batch_bytes, options.max_batch_events)).next_multiple_of(4096);
    assert_eq!(options.default_capacity(u64::MAX), 256 << 20);
    assert_eq!(options.default_capacity(400 << 20), 100 << 20);
    assert_eq!(options.default_capacity(0), least);
}

#[test]
fn a_second_service_is_refused() {
    let home = Home::new();
    let writer = LogWriter::open(home.path(), &small()).expect("open");
    let error = LogWriter::open(home.path(), &small()).expect_err("in use");
    assert!(matches!(error, OpenError::InUse { pid, .. } if pid == std::process::id()));
    assert!(inspect(home.path()).expect("ready").writer_alive);
    drop(writer);
    assert!(!inspect(home.path()).expect("ready").writer_alive);
    LogWriter::open(home.path(), &small()).expect("free");
}

#[test]
fn another_size_waits_for_the_reliable_readers() {
    let home = left_behind();
    let mut slow = reliable(&home, "slow");
    let larger = LogOptions { capacity: Some(2 << 20), now: Now::read(), ..small() };
    for options in [&larger, &LogOptions { max_batch_events: 8, ..tiny() }] {
        let error = LogWriter::open(home.path(), options).expect_err("unread");
        assert!(
            matches!(&error, OpenError::SizeChanged { readers, .. } if readers == &["slow"]),
            "{error}"
        );
    }
    assert_eq!(read_all(&mut slow).expect("read"), 6);
    let mut writer = LogWriter::open(home.path(), &larger).expect("all is read");
    assert_eq!(writer.capacity(), 2 << 20);
    assert!(writer.recovered().rotated);
    frame(&mut writer, 1, 10);
    assert_eq!(read_all(&mut slow).expect("follow"), 1);
    // Without a size the existing one is kept.
    drop(writer);
    let any = LogOptions { capacity: None, ..small() };
    assert_eq!(LogWriter::open(home.path(), &any).expect("open").capacity(), 2 << 20);
}
