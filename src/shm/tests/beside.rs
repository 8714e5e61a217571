//! The file beside the log that keeps what is known of producers.

mod common;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use common::{Home, files, small};
use jimbot_shm::{LogOptions, LogWriter};

#[test]
fn what_was_kept_last_is_there_for_the_next_service_and_for_a_rotated_log() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    assert_eq!(writer.read_producers(100).expect("none yet"), None);
    writer.replace_producers(b"first").expect("kept");
    writer.replace_producers(b"second").expect("kept");
    let mode = fs::metadata(home.path().join("producers")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let origin = writer.origin();
    drop(writer);

    let options = LogOptions { rotate: true, epoch_seed: [5; 8], ..small() };
    let writer = LogWriter::open(home.path(), &options).expect("rotate");
    assert_eq!(writer.read_producers(6).expect("read"), Some(b"second".to_vec()));
    assert_eq!((writer.origin() == origin, writer.epoch() == origin), (true, false));
    assert_eq!(writer.committed(), 0);
}

#[test]
fn a_service_killed_while_it_writes_leaves_the_last_one_whole() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    writer.replace_producers(b"last").expect("kept");
    drop(writer);
    fs::write(home.path().join("producers.new"), "ne").expect("ours");
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    assert_eq!(writer.read_producers(100).expect("read"), Some(b"last".to_vec()));
    writer.replace_producers(b"next").expect("kept");
    assert_eq!(writer.read_producers(100).expect("read"), Some(b"next".to_vec()));
    assert!(!files(&home).contains(&"producers.new".to_owned()));
}

#[test]
fn what_is_not_ours_is_neither_read_nor_written_to() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &small()).expect("open");
    let (file, elsewhere) = (home.path().join("producers"), home.path().join("elsewhere"));
    fs::write(&elsewhere, "somebody's").expect("ours");
    for (name, content) in [("producers", "read"), ("producers.new", "written to")] {
        symlink(&elsewhere, home.path().join(name)).expect(content);
    }
    let error = writer.read_producers(100).expect_err("a link").to_string();
    assert!(error.contains("it is a symbolic link"), "{error}");
    writer.replace_producers(b"ours").expect("in place of the links");
    assert_eq!(writer.read_producers(100).expect("read"), Some(b"ours".to_vec()));
    assert_eq!(fs::read(&elsewhere).expect("untouched"), b"somebody's");

    fs::write(&file, [0; 101]).expect("ours");
    let error = writer.read_producers(100).expect_err("too long").to_string();
    assert!(error.contains("its 101 bytes are more than 100"), "{error}");
    fs::remove_file(&file).expect("ours");
    fs::create_dir(&file).expect("ours");
    assert!(writer.read_producers(100).is_err());
    assert!(writer.replace_producers(b"ours").is_err(), "a directory is in the way");
}
