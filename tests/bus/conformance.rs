//! What every store promises, held against each backend.

use std::sync::Arc;

use jimbot_core::time::SECOND;
use jimbot_mcp::bus::publishers::Publisher;
use jimbot_mcp::bus::store::{
    Cursor, Embedded, EmbeddedOptions, Memory, Retention, Store, StoreError,
};
use jimbot_proto::events::v1::AckLevel;

use crate::support::{MovableClock, append, read_all};

/// Keeps everything.
pub(crate) const ALL: Retention = Retention { bytes: 1 << 30, events: u64::MAX, age_ns: u64::MAX };

/// Opens one backend, again and again on the same data.
pub(crate) trait Backend {
    /// Opens what is there. Whoever held it before has closed it.
    async fn open(&self, retention: Retention) -> Arc<dyn Store>;
    /// Whether events outlive `close`.
    fn survives(&self) -> bool;
    /// How much more than asked for may be kept: stores remove in pieces.
    fn slack_events(&self) -> u64;
}

struct OnDisk(tempfile::TempDir);

impl Backend for OnDisk {
    async fn open(&self, retention: Retention) -> Arc<dyn Store> {
        let options = EmbeddedOptions { retention, ..EmbeddedOptions::new(self.0.path()) };
        Arc::new(Embedded::open(options).unwrap())
    }

    fn survives(&self) -> bool {
        true
    }

    fn slack_events(&self) -> u64 {
        0
    }
}

struct InMemory;

impl Backend for InMemory {
    async fn open(&self, retention: Retention) -> Arc<dyn Store> {
        Arc::new(Memory::new(retention, MovableClock::new().clock()))
    }

    fn survives(&self) -> bool {
        false
    }

    fn slack_events(&self) -> u64 {
        0
    }
}

pub(crate) async fn events_are_stored_in_order_and_read_from_anywhere(backend: &impl Backend) {
    let store = backend.open(ALL).await;
    let start = store.extent().next;
    for batch in 0..40 {
        let done = store.append(append(7, batch * 25 + 1, batch * 25 + 25)).await.unwrap();
        assert_eq!((done.stored, done.duplicates), (25, 0));
        let first = start + batch * 25;
        assert_eq!(done.positions, Some((first, first + 24)));
    }
    for from in [
        start,
        start + 1,
        start + 24,
        start + 25,
        start + 500,
        start + 999,
        start + 1000,
        start + 5000,
    ] {
        let (events, lost) = read_all(&*store, from).await;
        let wanted: Vec<_> =
            (from..start + 1000).map(|position| (7, position - start + 1, position)).collect();
        assert_eq!((events, lost), (wanted, vec![]), "from {from}");
    }
    store.close().await;
}

pub(crate) async fn an_event_is_stored_once_however_late_it_comes_again(backend: &impl Backend) {
    let store = backend.open(ALL).await;
    store.append(append(1, 1, 10)).await.unwrap();
    store.append(append(2, 1, 10)).await.unwrap();
    let again = store.append(append(1, 1, 10)).await.unwrap();
    assert_eq!((again.stored, again.duplicates, again.positions), (0, 10, None));
    let partly = store.append(append(1, 6, 15)).await.unwrap();
    assert_eq!((partly.stored, partly.duplicates), (5, 5));
    let after_a_gap = store.append(append(1, 30, 40)).await.unwrap();
    assert_eq!(after_a_gap.stored, 11);
    let around_it = store.append(append(1, 10, 45)).await.unwrap();
    assert_eq!((around_it.stored, around_it.duplicates), (19, 17));
    let mut wanted: Vec<u64> = (1..=45).collect();
    wanted.extend(1..=10);
    let mut found: Vec<u64> =
        read_all(&*store, store.extent().earliest).await.0.iter().map(|event| event.1).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    store.close().await;
    if backend.survives() {
        let store = backend.open(ALL).await;
        let again = store.append(append(1, 1, 46)).await.unwrap();
        assert_eq!((again.stored, again.duplicates), (1, 45), "it is known after a restart too");
        store.close().await;
    }
}

pub(crate) async fn the_last_sequence_of_a_publisher_is_known(backend: &impl Backend) {
    let store = backend.open(ALL).await;
    assert_eq!(store.last_sequence(&Publisher::Log(5)).await.unwrap(), None);
    store.append(append(5, 1, 100)).await.unwrap();
    store.append(append(6, 1, 3)).await.unwrap();
    assert_eq!(store.last_sequence(&Publisher::Log(5)).await.unwrap(), Some(100));
    store.close().await;
    if backend.survives() {
        let store = backend.open(ALL).await;
        assert_eq!(store.last_sequence(&Publisher::Log(5)).await.unwrap(), Some(100));
        assert_eq!(store.last_sequence(&Publisher::Log(6)).await.unwrap(), Some(3));
        store.close().await;
    }
}

pub(crate) async fn what_was_acknowledged_is_there_after_a_restart(backend: &impl Backend) {
    if !backend.survives() {
        return;
    }
    let mut acknowledged = 0;
    for round in 0..4 {
        let store = backend.open(ALL).await;
        for _ in 0..5 {
            store.append(append(9, acknowledged + 1, acknowledged + 20)).await.unwrap();
            acknowledged += 20;
        }
        let (events, lost) = read_all(&*store, store.extent().earliest).await;
        let numbers: Vec<u64> = events.iter().map(|event| event.1).collect();
        assert_eq!(numbers, (1..=acknowledged).collect::<Vec<_>>(), "round {round}");
        assert!(lost.is_empty());
        store.close().await;
    }
}

pub(crate) async fn a_durables_place_is_kept(backend: &impl Backend) {
    let cursor = Cursor { next: 120, unacked: vec![(90, 1), (117, 3)] };
    let store = backend.open(ALL).await;
    assert_eq!(store.cursor("trainer").await.unwrap(), None);
    store.set_cursor("trainer", Some(Cursor { next: 5, unacked: vec![] })).await.unwrap();
    store.set_cursor("trainer", Some(cursor.clone())).await.unwrap();
    store.set_cursor("gone", Some(cursor.clone())).await.unwrap();
    store.set_cursor("gone", None).await.unwrap();
    assert_eq!(store.cursor("trainer").await.unwrap().as_ref(), Some(&cursor));
    store.close().await;
    if backend.survives() {
        let store = backend.open(ALL).await;
        assert_eq!(store.cursor("trainer").await.unwrap(), Some(cursor));
        assert_eq!(store.cursor("gone").await.unwrap(), None);
        store.close().await;
    }
}

pub(crate) async fn retention_takes_the_oldest_and_tells_what_is_lost(backend: &impl Backend) {
    let keep = 1_000;
    let store = backend.open(Retention { bytes: 64 << 10, events: keep, ..ALL }).await;
    let first = store.extent().next;
    for batch in 0..300 {
        store.append(append(3, batch * 20 + 1, batch * 20 + 20)).await.unwrap();
    }
    // Stores remove on their own time.
    let mut extent = store.extent();
    while extent.next - extent.earliest > keep + backend.slack_events() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        extent = store.extent();
    }
    assert_eq!(extent.next, first + 6_000);
    let (events, lost) = read_all(&*store, first).await;
    let told: u64 = lost.iter().map(|(first, next)| next - first).sum();
    assert_eq!(told + events.len() as u64, 6_000, "{lost:?}");
    assert!(events.len() as u64 <= keep && !events.is_empty());
    assert_eq!(events.last().map(|event| event.1), Some(6_000));
    let again = store.append(append(3, 1, 20)).await.unwrap();
    assert_eq!(again.duplicates, 20, "what was removed is still known to have been stored");
    store.close().await;
}

pub(crate) async fn time_finds_positions(backend: &impl Backend) {
    let store = backend.open(ALL).await;
    store.append(append(4, 1, 5)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let between = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let second = store.append(append(4, 6, 10)).await.unwrap();
    let position = store.position_at(between.as_nanos() as u64).await.unwrap();
    assert_eq!(Some(position), second.positions.map(|positions| positions.0));
    let future = between.as_nanos() as u64 + 3600 * SECOND;
    assert_eq!(store.position_at(future).await.unwrap(), store.extent().next);
    assert_eq!(store.position_at(0).await.unwrap(), store.extent().earliest);
    store.close().await;
}

pub(crate) async fn who_waits_is_woken(backend: &impl Backend) {
    let store = backend.open(ALL).await;
    let mut next = store.watch();
    let before = *next.borrow_and_update();
    let waiting =
        tokio::spawn(
            async move { next.wait_for(|position| *position >= before + 3).await.map(|_| ()) },
        );
    store.append(append(8, 1, 3)).await.unwrap();
    waiting.await.unwrap().unwrap();
    store.close().await;
}

pub(crate) async fn a_topic_of_its_own_is_kept(backend: &impl Backend) {
    let store = backend.open(ALL).await;
    let first = store.extent().next;
    let mut given_up = append(8, 1, 3);
    given_up.topic = Some("dead_letter.trainer".into());
    given_up.spans[0].publisher = Publisher::Producer("dead_letter.trainer".into());
    store.append(given_up).await.unwrap();
    store.append(append(8, 1, 3)).await.unwrap();
    let page = store.reader(&[]).read(first, 1 << 20).await.unwrap();
    assert_eq!(page.runs[0].topic.as_deref(), Some("dead_letter.trainer"));
    assert_eq!((page.runs[1].topic.as_deref(), page.next), (None, first + 6));
    store.close().await;
}

pub(crate) async fn a_level_that_is_not_offered_is_refused(backend: &impl Backend) {
    let store = backend.open(ALL).await;
    let (offered, _) = store.levels();
    for level in [AckLevel::Memory, AckLevel::Written, AckLevel::Fsynced, AckLevel::Replicated] {
        let mut wanted = append(2, level as u64 * 10 + 1, level as u64 * 10 + 5);
        wanted.level = level;
        match store.append(wanted).await {
            Ok(done) => assert!(done.level >= level && level <= offered, "{level:?}"),
            Err(error) => {
                assert!(level > offered);
                assert_eq!(error, StoreError::Level { wanted: level, offered });
            }
        }
    }
    store.close().await;
}

/// One test a promise, for a backend.
macro_rules! conformance {
    ($name:ident, $backend:expr, $($promise:ident)*) => {
        mod $name {
            $(#[tokio::test]
            async fn $promise() {
                let backend = $backend;
                crate::conformance::$promise(&backend).await;
            })*
        }
    };
    ($name:ident, $backend:expr) => {
        conformance!($name, $backend,
            events_are_stored_in_order_and_read_from_anywhere
            an_event_is_stored_once_however_late_it_comes_again
            the_last_sequence_of_a_publisher_is_known
            what_was_acknowledged_is_there_after_a_restart
            a_durables_place_is_kept
            retention_takes_the_oldest_and_tells_what_is_lost
            time_finds_positions
            who_waits_is_woken
            a_topic_of_its_own_is_kept
            a_level_that_is_not_offered_is_refused);
    };
}

conformance!(embedded, crate::conformance::OnDisk(tempfile::tempdir().unwrap()));
conformance!(memory, crate::conformance::InMemory);
conformance!(jetstream, crate::nats::Nats::new().await);
