//! From the log through the forwarder into a bus, with the bus failing in every way. After each: what is in the log is in the
//! bus, once, in order.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use jimbot_core::breaker::{State, Terms};
use jimbot_core::time::{MILLISECOND, SECOND};
use jimbot_mcp::bus::{self, Config as BusConfig};
use jimbot_mcp::forwarder::{self, Config, Handle, Snapshot};
use jimbot_shm::{IndexEntry, LogOptions, LogWriter, Now};
use prost::Message;

use crate::support::{Subscriber, client, durable, event};

/// A log in shared memory, small enough to be filled.
pub(crate) struct Log {
    writer: LogWriter,
    dir: tempfile::TempDir,
}

impl Log {
    pub(crate) fn new() -> Log {
        use std::os::unix::fs::PermissionsExt as _;
        let private = std::fs::Permissions::from_mode(0o700);
        let mut builder = tempfile::Builder::new();
        let dir =
            builder.prefix("jimbot-bus-").permissions(private).tempdir_in("/dev/shm").unwrap();
        let options = LogOptions {
            capacity: Some(1 << 20),
            max_batch_bytes: 32 << 10,
            max_batch_events: 256,
            epoch_seed: fastrand::u64(1..).to_le_bytes(),
            now: Now::read(),
            ..LogOptions::default()
        };
        Log { writer: LogWriter::open(dir.path(), &options).unwrap(), dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Stores a batch of events, when there is room for it; as the service does, an event at a time.
    pub(crate) fn store(&mut self, events: u64) -> bool {
        if self.writer.begin(Now::read()).is_err() {
            self.writer.check_readers(Now::read());
            return false;
        }
        for _ in 0..events {
            let event = event(self.writer.epoch(), self.writer.next_sequence());
            let mut element = Vec::new();
            bus::scan::push_element(&mut element, &event.encode_to_vec());
            self.writer.room()[..element.len()].copy_from_slice(&element);
            let offset = element.len() - event.encoded_len();
            self.writer.append(element.len(), offset, &IndexEntry::default());
        }
        self.writer.commit(Now::read()).unwrap();
        true
    }

    fn stored(&self) -> u64 {
        self.writer.next_sequence() - 1
    }
}

/// A breaker that does not make tests wait.
const QUICK: Terms = Terms {
    failures: 3,
    open_ns: 200 * MILLISECOND,
    probes: 2,
    backoff_ns: 10 * MILLISECOND,
    backoff_max_ns: 50 * MILLISECOND,
    budget: 10,
    budget_successes: 10,
};

pub(crate) fn forward(log: &Log, url: &str, spill: &Path) -> Handle {
    forwarder::start(Config {
        breaker: QUICK,
        deadline: Duration::from_secs(5),
        spill_after: Duration::from_millis(200),
        ..Config::new(log.path(), url, spill)
    })
    .unwrap()
}

fn start_bus(dir: &Path, listen: SocketAddr) -> bus::Handle {
    bus::start(BusConfig { listen, ..BusConfig::embedded(dir) }).unwrap()
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Until the forwarder says so.
pub(crate) async fn until(handle: &Handle, what: impl Fn(&Snapshot) -> bool) -> Snapshot {
    loop {
        let snapshot = handle.status().snapshot();
        if what(&snapshot) {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Holds what a durable subscriber gets against what is in the log.
pub(crate) async fn assert_all_there(bus: &bus::Handle, log: &Log) {
    let mut client = client(&bus.url()).await;
    let mut subscriber = Subscriber::new(&mut client, durable("checker")).await.unwrap();
    let found = subscriber.sequences(log.stored() as usize).await;
    assert_eq!(found, (1..=log.stored()).collect::<Vec<_>>());
}

/// The same where a server failed with several messages under way: order is not promised for those.
pub(crate) async fn assert_all_there_once(bus: &bus::Handle, log: &Log) {
    let mut client = client(&bus.url()).await;
    let mut subscriber = Subscriber::new(&mut client, durable("checker")).await.unwrap();
    let mut found = subscriber.sequences(log.stored() as usize).await;
    found.sort_unstable();
    assert_eq!(found, (1..=log.stored()).collect::<Vec<_>>());
}

#[tokio::test]
async fn batches_arrive_as_they_lie_and_are_let_go_of() {
    let mut log = Log::new();
    let dir = tempfile::tempdir().unwrap();
    let bus = start_bus(&dir.path().join("bus"), ANY);
    let handle = forward(&log, &bus.url(), &dir.path().join("spill"));
    // Several laps of the log.
    while log.stored() < 60_000 {
        if !log.store(100) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let done = until(&handle, |status| status.published == log.stored()).await;
    assert_eq!((done.missed, done.rejected), (0, 0));
    assert_all_there(&bus, &log).await;
    handle.stop(Duration::from_secs(5));
}

#[tokio::test]
async fn an_outage_of_the_bus_spills_and_is_made_up_for_in_order() {
    let mut log = Log::new();
    let dir = tempfile::tempdir().unwrap();
    let bus = start_bus(&dir.path().join("bus"), ANY);
    let address = bus.address();
    let handle = forward(&log, &bus.url(), &dir.path().join("spill"));
    for _ in 0..20 {
        assert!(log.store(50));
    }
    until(&handle, |status| status.published > 0).await;
    bus.stop();
    // More than the log can hold: it must not be held up by the bus.
    while log.stored() < 50_000 {
        if !log.store(100) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let out =
        until(&handle, |status| status.spill_events > 30_000 && status.breaker_opened > 0).await;
    assert!(!out.spill_full && !out.connected && out.last_error.is_some(), "{out:?}");
    let bus = start_bus(&dir.path().join("bus"), address);
    for _ in 0..20 {
        while !log.store(50) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let back = until(&handle, |status| status.spill_events == 0 && status.lag_events == 0).await;
    assert_eq!((back.missed, back.breaker), (0, State::Closed));
    assert_all_there(&bus, &log).await;
}

#[tokio::test]
async fn a_bus_that_is_not_there_at_the_start_is_waited_for() {
    let mut log = Log::new();
    let dir = tempfile::tempdir().unwrap();
    // A port that nobody listens on.
    let address = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let handle = forward(&log, &format!("http://{address}"), &dir.path().join("spill"));
    assert!(log.store(100));
    until(&handle, |status| status.breaker == State::Open).await;
    let bus = start_bus(&dir.path().join("bus"), address);
    until(&handle, |status| status.published == 100).await;
    assert_all_there(&bus, &log).await;
}

#[tokio::test]
async fn a_forwarder_that_ends_in_an_outage_leaves_nothing_behind() {
    let mut log = Log::new();
    let dir = tempfile::tempdir().unwrap();
    let spill = dir.path().join("spill");
    let address = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    for round in 1..=3 {
        let handle = forward(&log, &url, &spill);
        for _ in 0..10 {
            assert!(log.store(30), "round {round}");
        }
        handle.stop(Duration::ZERO);
    }
    let handle = forward(&log, &url, &spill);
    let bus = start_bus(&dir.path().join("bus"), address);
    until(&handle, |status| status.published == 900).await;
    assert_all_there(&bus, &log).await;
}

#[tokio::test]
async fn a_full_spill_holds_the_log_and_loses_nothing() {
    let mut log = Log::new();
    let dir = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let config = Config {
        breaker: QUICK,
        spill_bytes: 256 << 10,
        spill_after: Duration::from_millis(50),
        ..Config::new(log.path(), format!("http://{address}"), dir.path().join("spill"))
    };
    let handle = forwarder::start(config).unwrap();
    let mut refused = 0;
    while refused < 50 {
        if !log.store(100) {
            refused += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let full = until(&handle, |status| status.spill_full).await;
    assert!(full.spill_bytes <= 256 << 10 && full.spill_events > 0, "{full:?}");
    let bus = start_bus(&dir.path().join("bus"), address);
    while !log.store(100) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(&handle, |status| status.spill_events == 0 && status.lag_events == 0).await;
    assert_all_there(&bus, &log).await;
}

#[tokio::test]
async fn batches_of_one_event_travel_together() {
    let mut log = Log::new();
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2000 {
        assert!(log.store(1));
    }
    let bus = start_bus(&dir.path().join("bus"), ANY);
    let mut client = client(&bus.url()).await;
    let mut subscriber = Subscriber::new(&mut client, durable("counter")).await.unwrap();
    let _handle = forward(&log, &bus.url(), &dir.path().join("spill"));
    let mut first = Vec::new();
    while first.is_empty() {
        first = subscriber.delivery().await.positions;
    }
    assert!(first.len() > 100, "one request for many batches, not {} events", first.len());
    assert_all_there(&bus, &log).await;
}

#[tokio::test]
async fn what_the_bus_has_already_is_not_sent_again() {
    let mut log = Log::new();
    let dir = tempfile::tempdir().unwrap();
    let bus = start_bus(&dir.path().join("bus"), ANY);
    for _ in 0..10 {
        assert!(log.store(50));
    }
    // Everything is there, but the forwarder's own memory of it is gone.
    let mut publisher = client(&bus.url()).await;
    let batch = crate::support::batch(log.writer.epoch(), 1, 500);
    crate::support::publish(&mut publisher, batch).await.unwrap();
    let handle = forward(&log, &bus.url(), &dir.path().join("spill"));
    let done = until(&handle, |status| status.duplicates == 500).await;
    assert_eq!(done.published, 0);
    assert!(log.store(1));
    until(&handle, |status| status.published == 1).await;
    assert_all_there(&bus, &log).await;
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let terms = Terms::default();
    assert_eq!((terms.failures, terms.open_ns, terms.probes), (5, 60 * SECOND, 3));
}
