//! The embedded store when disk, files or clocks misbehave.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jimbot_core::time::SECOND;
use jimbot_mcp::bus::store::{Embedded, EmbeddedOptions, Retention, Store};
use jimbot_mcp::journal::OpenError;
use jimbot_proto::events::v1::{AckLevel, GapReason};

use crate::conformance::ALL;
use crate::support::{MovableClock, append, read_all};

fn open(dir: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(EmbeddedOptions { retention: ALL, ..EmbeddedOptions::new(dir) })
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

/// A closed store with 200 events in 20 flushed appends.
async fn filled(dir: &Path) {
    let store = open(dir).unwrap();
    for batch in 0..20 {
        let mut events = append(1, batch * 10 + 1, batch * 10 + 10);
        events.level = AckLevel::Fsynced;
        let done = store.append(events).await.unwrap();
        assert_eq!(done.level, AckLevel::Fsynced);
    }
    store.close().await;
}

async fn numbers(store: &Embedded) -> Vec<u64> {
    read_all(store, store.extent().earliest).await.0.iter().map(|event| event.1).collect()
}

#[tokio::test]
async fn a_second_process_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))));
    store.close().await;
    drop(store);
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let path = segments(dir.path()).pop().unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[9], 8).unwrap();
    let before = fs::read(&path).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(error, OpenError::Newer { version: 9, .. }), "{error}");
    assert!(error.to_string().contains("start the newer program"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_write_that_never_ended_is_cut_off_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    // No durable mark, as if the host's last flush had been before all of this.
    fs::remove_file(dir.path().join("synced")).unwrap();
    let path = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let mut seen = Vec::new();
    for cut in (whole.len() - 1500..whole.len()).step_by(37) {
        fs::write(&path, &whole[..cut]).unwrap();
        fs::remove_file(dir.path().join("synced")).ok();
        let store = open(dir.path()).unwrap();
        let found = numbers(&store).await;
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
        assert_eq!(found.len() % 10, 0, "an append is there whole or not at all");
        seen.push(found.len());
        let next = found.len() as u64 + 1;
        store.append(append(1, next, next + 9)).await.unwrap();
        assert_eq!(numbers(&store).await.len(), found.len() + 10);
        store.close().await;
    }
    assert!(seen.first() < seen.last(), "{seen:?}");
}

#[tokio::test]
async fn durable_events_that_are_missing_stop_the_start_and_say_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let path = segments(dir.path()).pop().unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("--accept-loss"), "{error}");

    let options = EmbeddedOptions { accept_loss: true, ..EmbeddedOptions::new(dir.path()) };
    let store = Embedded::open(options).unwrap();
    assert_eq!(numbers(&store).await, (1..=190).collect::<Vec<_>>());
    let done = store.append(append(1, 201, 210)).await.unwrap();
    assert_eq!(done.positions, Some((201, 210)), "lost positions are not given to other events");
    let (_, lost) = read_all(&store, 1).await;
    assert_eq!(lost, [(191, 201)]);
    store.close().await;
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_what_is_around_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let path = segments(dir.path()).pop().unwrap();
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], middle).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged { .. })));

    let options = EmbeddedOptions { accept_loss: true, ..EmbeddedOptions::new(dir.path()) };
    let store = Embedded::open(options).unwrap();
    let (events, lost) = read_all(&store, 1).await;
    assert_eq!(events.len(), 190);
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].1 - lost[0].0, 10, "{lost:?}");
    store.close().await;
}

#[tokio::test]
async fn damage_in_an_old_segment_is_told_to_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { bytes: 256 << 10, ..ALL };
    let options = EmbeddedOptions { retention, ..EmbeddedOptions::new(dir.path()) };
    let store = Embedded::open(options.clone()).unwrap();
    for batch in 0..100 {
        store.append(append(1, batch * 10 + 1, batch * 10 + 10)).await.unwrap();
    }
    store.close().await;
    drop(store);
    let path = segments(dir.path()).first().unwrap().clone();
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 4], 3_000).unwrap();
    let store = Embedded::open(options).unwrap();
    let page = store.reader(&[]).read(1, 1 << 20).await.unwrap();
    assert_eq!(page.lost, None, "what lies before the damage comes first");
    let (events, lost) = read_all(&store, 1).await;
    assert_eq!(events.len(), 990);
    assert_eq!(lost.len(), 1);
    let page = store.reader(&[]).read(lost[0].0, 1 << 20).await.unwrap();
    assert_eq!(page.lost.map(|lost| lost.reason), Some(GapReason::Damaged));
    store.close().await;
}

#[tokio::test]
async fn setting_the_clock_neither_removes_events_nor_disorders_them() {
    let dir = tempfile::tempdir().unwrap();
    let clock = MovableClock::new();
    let hour = 3600 * SECOND;
    let retention = Retention { age_ns: 24 * hour, bytes: 64 << 10, ..ALL };
    let options =
        EmbeddedOptions { retention, clock: clock.clock(), ..EmbeddedOptions::new(dir.path()) };
    let store = Embedded::open(options).unwrap();
    store.append(append(1, 1, 10)).await.unwrap();
    clock.set_by(30 * hour as i64);
    store.append(append(1, 11, 20)).await.unwrap();
    let after_the_step = clock.now().unix_ns;
    clock.set_by(-60 * (hour as i64));
    store.append(append(1, 21, 30)).await.unwrap();
    assert_eq!(
        numbers(&store).await,
        (1..=30).collect::<Vec<_>>(),
        "nothing went by the wall clock"
    );
    let page = store.reader(&[]).read(1, 1 << 20).await.unwrap();
    assert!(page.runs.iter().map(|run| run.next()).is_sorted());
    assert!(store.position_at(after_the_step).await.unwrap() >= 11);
    // A day that really passes does remove.
    clock.pass(25 * hour);
    for batch in 3..40 {
        store.append(append(1, batch * 10 + 1, batch * 10 + 10)).await.unwrap();
    }
    clock.pass(25 * hour);
    store.append(append(1, 401, 410)).await.unwrap();
    while numbers(&store).await.contains(&1) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    store.close().await;
}
