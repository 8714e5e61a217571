//! JetStream as the store, on real servers that are killed and started again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jimbot_mcp::bus::store::{
    Append, Cursor, JetStream, JetStreamOptions, Lost, Retention, Store, StoreError,
};
use jimbot_mcp::bus::topic::Pattern;
use jimbot_mcp::bus::{self, Config, StoreConfig};
use jimbot_proto::events::v1::{AckLevel, EventBatch, EventType, GapReason, PublishRequest};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::conformance::{ALL, Backend};
use crate::forwarder::{Log, assert_all_there_once, forward, until};
use crate::support::{Subscriber, append, batch, client, durable, event, identities, read_all};

fn binary() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/nats/bin/nats-server");
    match std::env::var_os("NATS_SERVER") {
        Some(path) => path.into(),
        None if installed.exists() => installed,
        None => panic!(
            "nats-server is not installed: scripts/test installs it, or name one in NATS_SERVER"
        ),
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that can be killed and started again on the same port and data.
struct Server {
    child: Child,
    config: PathBuf,
    port: u16,
    monitor: u16,
}

impl Server {
    fn start(dir: &Path, name: &str, cluster: Option<(u16, &str)>) -> Server {
        let (port, monitor) = (free_port(), free_port());
        let config = dir.join(format!("{name}.conf"));
        let cluster = cluster.map_or(String::new(), |(listen, routes)| {
            format!("cluster {{ name: test, listen: 127.0.0.1:{listen}, routes: [{routes}] }}\n")
        });
        let text = format!(
            "server_name: {name}\nlisten: 127.0.0.1:{port}\nhttp: 127.0.0.1:{monitor}\njetstream {{ store_dir: {:?} }}\n{cluster}",
            dir.join(name)
        );
        std::fs::write(&config, text).unwrap();
        Server { child: spawn(&config), config, port, monitor }
    }

    async fn ready(&self) {
        let url = format!("127.0.0.1:{}", self.monitor);
        loop {
            if let Some(answer) = get(&url, "/healthz").await
                && answer.contains("\"ok\"")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = spawn(&self.config);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed already in some tests.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(config: &Path) -> Child {
    Command::new(binary()).arg("-c").arg(config).stderr(Stdio::null()).spawn().unwrap()
}

async fn get(address: &str, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

pub(crate) struct Nats {
    server: Server,
    _dir: tempfile::TempDir,
}

impl Nats {
    pub(crate) async fn new() -> Nats {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), "single", None);
        server.ready().await;
        Nats { server, _dir: dir }
    }
}

impl Backend for Nats {
    async fn open(&self, retention: Retention) -> Arc<dyn Store> {
        let options = JetStreamOptions { retention, ..JetStreamOptions::new(self.server.url()) };
        Arc::new(JetStream::open(options).await.unwrap())
    }

    fn survives(&self) -> bool {
        true
    }

    fn slack_events(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn servers_that_are_not_there_are_told_with_their_address() {
    let url = format!("nats://127.0.0.1:{}", free_port());
    let error = JetStream::open(JetStreamOptions::new(url.clone())).await.err().unwrap();
    assert!(
        matches!(error, StoreError::Unavailable(_)) && error.to_string().contains(&url),
        "{error}"
    );
}

#[tokio::test]
async fn a_repeat_is_known_long_after_the_servers_have_forgotten_it() {
    let nats = Nats::new().await;
    let options = JetStreamOptions {
        duplicate_window: Duration::from_secs(1),
        ..JetStreamOptions::new(nats.server.url())
    };
    let store = JetStream::open(options.clone()).await.unwrap();
    store.append(append(1, 1, 100)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(store.append(append(1, 1, 120)).await.unwrap().duplicates, 100);
    // Not closed, as if the process had been killed: nothing was kept, the headers tell.
    drop(store);
    let store = JetStream::open(options).await.unwrap();
    let again = store.append(append(1, 51, 130)).await.unwrap();
    assert_eq!((again.stored, again.duplicates), (10, 70));
    assert_eq!(read_all(&store, 1).await.0.len(), 130);
}

#[tokio::test]
async fn what_an_acknowledgement_means_is_seen_from_the_servers() {
    let nats = Nats::new().await;
    let options = JetStreamOptions {
        monitor: Some(format!("127.0.0.1:{}", nats.server.monitor)),
        ..JetStreamOptions::new(nats.server.url())
    };
    let store = JetStream::open(options).await.unwrap();
    assert_eq!(store.levels().0, AckLevel::Written, "this server flushes later");
    let options = JetStreamOptions {
        stream: "RAM".into(),
        in_memory: true,
        ..JetStreamOptions::new(nats.server.url())
    };
    // Two streams cannot have the same subjects; the second is refused with the reason.
    let error = tokio::time::timeout(Duration::from_secs(30), JetStream::open(options))
        .await
        .unwrap()
        .err()
        .unwrap();
    assert!(error.to_string().contains("overlap"), "{error}");
}

#[tokio::test]
async fn an_outage_longer_than_the_duplicate_window_neither_loses_nor_doubles() {
    let mut nats = Nats::new().await;
    let dir = tempfile::tempdir().unwrap();
    let store = StoreConfig::JetStream(JetStreamOptions {
        duplicate_window: Duration::from_secs(1),
        ..JetStreamOptions::new(nats.server.url())
    });
    let bus =
        tokio::task::spawn_blocking(move || bus::start(Config { store, ..Config::embedded("") }))
            .await
            .unwrap()
            .unwrap();
    let mut log = Log::new();
    let handle = forward(&log, &bus.url(), &dir.path().join("spill"));
    for _ in 0..20 {
        assert!(log.store(50));
    }
    until(&handle, |status| status.published >= 1000).await;
    // In the middle of a publish.
    for _ in 0..20 {
        assert!(log.store(50));
    }
    nats.server.kill();
    for _ in 0..20 {
        assert!(log.store(50));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    nats.server.start_again();
    nats.server.ready().await;
    let done = until(&handle, |status| status.spill_events == 0 && status.lag_events == 0).await;
    assert_eq!((done.missed, done.rejected), (0, 0), "{done:?}");
    assert_all_there_once(&bus, &log).await;
}

#[tokio::test]
async fn killing_the_leader_of_a_cluster_while_publishing_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port(), free_port()];
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
    let mut servers: Vec<Server> = ports
        .iter()
        .enumerate()
        .map(|(at, port)| Server::start(dir.path(), &format!("node-{at}"), Some((*port, &routes))))
        .collect();
    for server in &servers {
        server.ready().await;
    }
    let all: Vec<String> = servers.iter().map(Server::url).collect();
    let store = StoreConfig::JetStream(JetStreamOptions {
        replicas: 3,
        ..JetStreamOptions::new(all.join(","))
    });
    let bus =
        tokio::task::spawn_blocking(move || bus::start(Config { store, ..Config::embedded("") }))
            .await
            .unwrap()
            .unwrap();
    let mut publisher = client(&bus.url()).await;
    let (mut acknowledged, mut killed) = (0, false);
    while acknowledged < 4_000 {
        let (send, requests) = mpsc::channel(4);
        let mut answers = match publisher.publish(ReceiverStream::new(requests)).await {
            Ok(answers) => answers.into_inner(),
            Err(_) => continue,
        };
        let from = acknowledged;
        let sender = tokio::spawn(async move {
            for number in 0..(4_000 - from) / 50 {
                let first = from + number * 50 + 1;
                let batch = batch(1, first, first + 49).into();
                let request =
                    PublishRequest { batch, request_id: first + 49, ..Default::default() };
                if send.send(request).await.is_err() {
                    return;
                }
            }
        });
        while let Ok(Some(answer)) = answers.message().await {
            assert_eq!(answer.result.unwrap().ack_level, AckLevel::Replicated as i32);
            acknowledged = answer.request_id;
            if acknowledged >= 1_500 && !killed {
                killed = true;
                let leader = leader(&servers).await;
                servers
                    .iter_mut()
                    .find(|server| server.config.ends_with(format!("{leader}.conf")))
                    .unwrap()
                    .kill();
            }
        }
        sender.abort();
    }
    assert!(killed);
    // What keeps the durables' places may be electing its leader still; a client asks again, and so does this.
    let mut subscriber = loop {
        match Subscriber::new(&mut publisher, durable("checker")).await {
            Ok(subscriber) => break subscriber,
            Err(error) => assert_eq!(error.code(), tonic::Code::Unavailable, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut found = subscriber.sequences(4_000).await;
    found.sort_unstable();
    assert_eq!(found, (1..=4_000).collect::<Vec<_>>());
}

/// Name of the node that leads the stream.
async fn leader(servers: &[Server]) -> String {
    loop {
        for server in servers {
            let answer =
                get(&format!("127.0.0.1:{}", server.monitor), "/jsz?streams=true&config=true")
                    .await;
            let body = answer
                .as_deref()
                .and_then(|answer| answer.split_once("\r\n\r\n"))
                .map(|(_, body)| body.to_owned());
            let Some(body) = body else { continue };
            let jsz: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            for account in jsz["account_details"].as_array().into_iter().flatten() {
                for stream in account["stream_detail"].as_array().into_iter().flatten() {
                    if stream["name"] == "JIMBOT"
                        && let Some(leader) = stream["cluster"]["leader"].as_str()
                    {
                        return leader.to_owned();
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_stream_that_was_made_otherwise_is_changed_or_refused_with_the_reason() {
    let nats = Nats::new().await;
    nats.open(ALL).await.close().await;
    let smaller = Retention { events: 50, ..ALL };
    let store = nats.open(smaller).await;
    for first in [1, 51, 101] {
        store.append(append(1, first, first + 49)).await.unwrap();
    }
    loop {
        let extent = store.extent();
        if extent.next - extent.earliest == 50 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let options = JetStreamOptions { in_memory: true, ..JetStreamOptions::new(nats.server.url()) };
    let error = JetStream::open(options).await.err().unwrap();
    assert!(error.to_string().contains("--nats-stream"), "{error}");
}

/// Events of types that are published in turn, one of the second for each hundred of the first.
fn rare(first: u64, last: u64) -> Append {
    let payload = EventBatch {
        events: (first..=last)
            .map(|number| {
                let mut event = event(1, number);
                if number % 100 == 0 {
                    event.r#type = EventType::HandPlayed as i32;
                    event.payload = None;
                }
                event
            })
            .collect(),
    }
    .encode_to_vec();
    let mut append = append(1, first, last);
    append.spans[0].bytes = 0..payload.len();
    Append { payload: payload.into(), ..append }
}

#[tokio::test]
async fn who_wants_little_pulls_little_from_the_servers() {
    let nats = Nats::new().await;
    let options = JetStreamOptions::new(nats.server.url());
    let store = JetStream::open(options.clone()).await.unwrap();
    // More than what is held in memory at the next start, which is nothing.
    for first in (1..=5_000).step_by(1_000) {
        store.append(rare(first, first + 999)).await.unwrap();
    }
    store.close().await;
    drop(store);
    let store = JetStream::open(options).await.unwrap();
    let sent = async || -> u64 {
        let address = format!("127.0.0.1:{}", nats.server.monitor);
        let answer = get(&address, "/varz").await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let varz: serde_json::Value = serde_json::from_str(body).unwrap();
        varz["out_msgs"].as_u64().unwrap()
    };
    let before = sent().await;
    let wanted = [Pattern::parse("game.hand.played").unwrap()];
    let mut reader = store.reader(&wanted);
    let (mut at, mut found) = (1, Vec::new());
    while at <= 5_000 {
        let page = reader.read(at, 1 << 20).await.unwrap();
        assert_eq!(page.lost, None);
        assert!(page.next > at, "{at}");
        found.extend(identities(&page).into_iter().map(|event| event.1));
        at = page.next;
    }
    assert_eq!(found, (1..=50).map(|number| number * 100).collect::<Vec<_>>());
    let pulled = sent().await - before;
    assert!(pulled < 1_000, "{pulled} messages for 50 events");
    store.close().await;
}

#[tokio::test]
async fn a_message_that_someone_deleted_is_told_as_deleted() {
    let nats = Nats::new().await;
    let options = JetStreamOptions::new(nats.server.url());
    let store = JetStream::open(options.clone()).await.unwrap();
    store.append(append(1, 1, 30)).await.unwrap();
    store.close().await;
    drop(store);
    let context = async_nats::jetstream::new(async_nats::connect(nats.server.url()).await.unwrap());
    let stream = context.get_stream("JIMBOT").await.unwrap();
    for position in [11, 12] {
        stream.delete_message(position).await.unwrap();
    }
    let store = JetStream::open(options).await.unwrap();
    let mut reader = store.reader(&[]);
    let page = reader.read(1, 1 << 20).await.unwrap();
    assert_eq!((page.next, page.lost), (11, None), "what is before goes first");
    let page = reader.read(11, 1 << 20).await.unwrap();
    let lost = Lost { first: 11, next: 13, reason: GapReason::Deleted };
    assert_eq!((page.next, page.lost), (31, Some(lost)));
    store.close().await;
}

#[tokio::test]
async fn durables_of_the_servers_are_listed_and_forgotten() {
    let nats = Nats::new().await;
    let store = JetStream::open(JetStreamOptions::new(nats.server.url())).await.unwrap();
    assert_eq!(store.cursors().await.unwrap(), []);
    let cursor = Cursor { next: 7, unacked: vec![(3, 1)] };
    for name in ["one", "two"] {
        store.set_cursor(name, Some(cursor.clone())).await.unwrap();
    }
    store.set_cursor("one", None).await.unwrap();
    assert_eq!(store.cursors().await.unwrap(), [("two".to_owned(), cursor)]);
    store.close().await;
}
