//! Counters that anyone with the directory can watch.

mod common;

use std::sync::atomic::Ordering;

use common::Home;
use jimbot_shm::{Counters, CountersReader, OpenError};

#[test]
fn cells_are_read_by_name() {
    let home = Home::new();
    let counters = Counters::create(home.path(), &["events_total", "refusals_total{code=\"400\"}"])
        .expect("create");
    let watcher = CountersReader::open(home.path()).expect("open");
    counters.cells()[0].store(7, Ordering::Relaxed);
    counters.cells()[1].fetch_add(2, Ordering::Relaxed);
    assert_eq!(watcher.get("events_total"), Some(7));
    assert_eq!(watcher.get("nothing"), None);
    let all: Vec<_> = watcher.iter().collect();
    assert_eq!(all, [("events_total", 7), ("refusals_total{code=\"400\"}", 2)]);
}

#[test]
fn a_new_service_replaces_the_file_and_says_so_in_the_old_one() {
    let home = Home::new();
    let old = Counters::create(home.path(), &["a"]).expect("create");
    let watcher = CountersReader::open(home.path()).expect("open");
    assert!(!watcher.is_replaced());
    let new = Counters::create(home.path(), &["a", "b"]).expect("create");
    new.cells()[0].store(1, Ordering::Relaxed);
    old.cells()[0].store(9, Ordering::Relaxed);
    assert!(watcher.is_replaced());
    assert_eq!(CountersReader::open(home.path()).expect("open").get("a"), Some(1));
}

#[test]
fn names_and_files_are_checked() {
    let home = Home::new();
    let long = "x".repeat(129);
    for names in [&["a", "a"][..], &[""], &[&long]] {
        assert!(matches!(Counters::create(home.path(), names), Err(OpenError::Invalid { .. })));
    }
    assert!(matches!(CountersReader::open(home.path()), Err(OpenError::Missing { .. })));
    let file = home.path().join("counters");
    for (content, expected) in
        [(vec![0; 64], "not finished"), (vec![1; 200], "not ours"), (vec![], "not ours")]
    {
        std::fs::write(&file, content).expect("ours");
        let error = CountersReader::open(home.path()).expect_err("not counters").to_string();
        assert!(error.contains(expected), "{error}");
    }
}
