//! NATS JetStream as the store: one message an event, the subject is the topic, the message id is `epoch:sequence`.
//!
//! JetStream recognises a repeat within its duplicate window only. Beyond that this store does: it knows which numbers
//! of which publisher are in the stream, keeps that beside the stream (with the stream's sequence up to which it holds), and
//! reads the headers of what came since: at start, and after every failure that leaves open whether something was stored.

mod read;
mod setup;
mod write;

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{Context, kv, stream};
use futures_util::StreamExt as _;
use jimbot_proto::events::v1::AckLevel;
use prost::Message as _;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::super::publishers::{Publisher, Publishers};
use super::super::topic::Pattern;
use super::state;
use super::tail::{TAIL_BYTES, Tail};
use super::{Append, Cursor, Extent, Retention, Store, StoreError, StoreReader, Submitted};

use read::{Reader, Runs};
use setup::{level, prepare_bucket, prepare_stream};
use write::{Job, write};

/// Publishes under way to the server.
const IN_FLIGHT: usize = 4096;
/// Appends that may wait to be published.
const QUEUE: usize = 64;
/// How long the server may take to acknowledge one.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// How long a connection at start may take.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Pause before servers without a leader are asked again.
const ELECTION_PAUSE: Duration = Duration::from_millis(100);
/// How long a request for old events may take.
const FETCH_WAIT: Duration = Duration::from_secs(5);
/// How long a request for new events waits for them.
const FOLLOW_WAIT: Duration = Duration::from_secs(1);
/// Events of one such request.
const FETCH_EVENTS: usize = 2048;
/// A consumer that nobody asks goes away after this.
const IDLE_CONSUMER: Duration = Duration::from_secs(30);
/// How often the stream's extent is looked up, and what is known is kept.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What is known is kept after this many new events: so many headers have to be read at start, at most.
const KEEP_EVERY: u64 = 50_000;
/// What the keys of durables' places begin with, in the bucket beside the stream.
const CURSOR_KEY: &str = "cursor.";
/// Key of what is known of publishers, in the bucket beside the stream.
const PUBLISHERS_KEY: &str = "publishers";

/// How a JetStream store is set up.
#[derive(Clone, Debug)]
pub struct JetStreamOptions {
    /// Servers: `nats://host:port`, several with commas.
    pub servers: String,
    /// Name of the stream; a bucket `<name>_state` stands beside it.
    pub stream: String,
    /// Copies of each message, on as many nodes.
    pub replicas: usize,
    /// Keep messages in the servers' memory.
    pub in_memory: bool,
    /// How much the stream keeps.
    pub retention: Retention,
    /// How long the servers themselves recognise a repeat.
    pub duplicate_window: Duration,
    /// `host:port` of a server's monitoring, to see how it flushes.
    pub monitor: Option<String>,
}

impl JetStreamOptions {
    /// The defaults: one copy on disk, 24 hours, 1 GiB.
    pub fn new(servers: impl Into<String>) -> JetStreamOptions {
        JetStreamOptions {
            servers: servers.into(),
            stream: "JIMBOT".to_owned(),
            replicas: 1,
            in_memory: false,
            retention: super::EmbeddedOptions::new("").retention,
            duplicate_window: Duration::from_secs(120),
            monitor: None,
        }
    }
}

/// Events in a JetStream stream.
pub struct JetStream {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    tasks: StdMutex<Vec<tokio::task::JoinHandle<()>>>,
}

struct Shared {
    options: JetStreamOptions,
    context: Context,
    stream: stream::Stream,
    state: kv::Store,
    tail: Tail,
    next: watch::Sender<u64>,
    earliest: StdMutex<(u64, u64)>,
    known: Mutex<Known>,
    level: AckLevel,
}

/// What is known of the stream's publishers.
#[derive(Default)]
struct Known {
    publishers: Publishers,
    /// The stream's sequence up to which `publishers` holds all.
    scanned: u64,
    kept: u64,
    /// A publish ended without an answer: the headers have to be read before anything is said or stored.
    unsure: bool,
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("NATS: {error}"))
}

impl JetStream {
    /// Connects, and creates or checks stream and bucket.
    pub async fn open(options: JetStreamOptions) -> Result<JetStream, StoreError> {
        let servers: Vec<String> = options.servers.split(',').map(str::to_owned).collect();
        let connecting = async_nats::ConnectOptions::new()
            .name("jimbot-mcp bus")
            .max_reconnects(None)
            .connection_timeout(Duration::from_secs(2))
            .connect(servers);
        let client = tokio::time::timeout(CONNECT_WAIT, connecting)
            .await
            .map_err(|_| {
                unavailable(format!("no answer from {} within {CONNECT_WAIT:?}", options.servers))
            })?
            .map_err(|error| unavailable(format!("{}: {error}", options.servers)))?;
        let context = async_nats::jetstream::context::ContextBuilder::new()
            .ack_timeout(ACK_WAIT)
            .max_ack_inflight(IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client);
        let stream = prepare_stream(&context, &options).await?;
        let state = prepare_bucket(&context, &options).await?;
        let level = level(&options).await;
        let info = stream.cached_info().state.clone();
        let first = info.first_sequence.max(1);
        let last = info.last_sequence;
        let (next, _) = watch::channel(last + 1);
        let shared = Arc::new(Shared {
            tail: Tail::new(last + 1, TAIL_BYTES),
            earliest: StdMutex::new((first, info.bytes)),
            known: Mutex::default(),
            options,
            context,
            stream,
            state,
            next,
            level,
        });
        // The replicas of a bucket that was just made may still be choosing their leader.
        let until = tokio::time::Instant::now() + CONNECT_WAIT;
        while let Err(error) = shared.load().await {
            let is_passing = matches!(error, StoreError::Unavailable(_));
            if !is_passing || tokio::time::Instant::now() >= until {
                return Err(error);
            }
            tokio::time::sleep(ELECTION_PAUSE).await;
        }
        let (jobs, queue) = mpsc::channel(QUEUE);
        let tasks = vec![
            tokio::spawn(write(Arc::clone(&shared), queue)),
            tokio::spawn(follow(Arc::clone(&shared), last + 1)),
            tokio::spawn(look(Arc::clone(&shared))),
        ];
        Ok(JetStream { shared, jobs, tasks: StdMutex::new(tasks) })
    }
}

fn message_id(publisher: &Publisher, number: u64) -> String {
    match publisher {
        Publisher::Log(epoch) => format!("{epoch:016x}:{number}"),
        Publisher::Producer(name) => format!("producer/{name}/{number}"),
    }
}

fn parse_id(id: &str) -> Option<(Publisher, u64)> {
    if let Some(rest) = id.strip_prefix("producer/") {
        let (name, number) = rest.rsplit_once('/')?;
        return Some((Publisher::Producer(name.into()), number.parse().ok()?));
    }
    let (epoch, number) = id.split_once(':')?;
    Some((Publisher::Log(u64::from_str_radix(epoch, 16).ok()?), number.parse().ok()?))
}

impl Shared {
    /// A consumer that starts at a sequence, or at a time, and goes away by itself.
    async fn consumer(
        &self,
        deliver_policy: DeliverPolicy,
        headers_only: bool,
        filter_subjects: Vec<String>,
    ) -> Result<consumer::Consumer<pull::Config>, StoreError> {
        let config = pull::Config {
            deliver_policy,
            headers_only,
            filter_subjects,
            ack_policy: AckPolicy::None,
            inactive_threshold: IDLE_CONSUMER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let creating = self.stream.create_consumer(config);
        tokio::time::timeout(FETCH_WAIT, creating)
            .await
            .map_err(|_| unavailable("no answer"))?
            .map_err(unavailable)
    }

    /// Reads what is kept of publishers, and the headers of what came since.
    async fn load(&self) -> Result<(), StoreError> {
        let kept = self.state.get(PUBLISHERS_KEY).await.map_err(unavailable)?;
        let mut known = self.known.lock().await;
        if let Some(bytes) = kept {
            let kept = state::Snapshot::decode(bytes).map_err(|error| {
                unavailable(format!("what is known of publishers can't be read: {error}"))
            })?;
            let (publishers, scanned) = kept.publishers();
            *known = Known { publishers, scanned, kept: scanned, unsure: false };
        }
        self.scan(&mut known).await
    }

    /// Brings `known` up to the stream's end.
    async fn scan(&self, known: &mut Known) -> Result<(), StoreError> {
        let info = tokio::time::timeout(FETCH_WAIT, self.stream.get_info())
            .await
            .map_err(|_| unavailable("no answer"))?
            .map_err(unavailable)?;
        let last = info.state.last_sequence;
        if known.scanned < last {
            let start_sequence = known.scanned + 1;
            let policy = DeliverPolicy::ByStartSequence { start_sequence };
            let consumer = self.consumer(policy, true, Vec::new()).await?;
            while known.scanned < last {
                let mut messages = consumer
                    .fetch()
                    .max_messages(FETCH_EVENTS)
                    .messages()
                    .await
                    .map_err(unavailable)?;
                let mut any = false;
                while let Some(message) = messages.next().await {
                    let message = message.map_err(unavailable)?;
                    any = true;
                    known.scanned = message.info().map_err(unavailable)?.stream_sequence;
                    let headers = message.headers.as_ref();
                    let id = headers.and_then(|headers| headers.get("Nats-Msg-Id"));
                    if let Some((publisher, number)) = id.and_then(|id| parse_id(id.as_str())) {
                        known.publishers.insert(&publisher, number, number);
                    }
                }
                if !any {
                    // The rest was removed meanwhile.
                    known.scanned = last;
                }
            }
        }
        known.unsure = false;
        Ok(())
    }

    async fn sure(&self, known: &mut Known) -> Result<(), StoreError> {
        if known.unsure { self.scan(known).await } else { Ok(()) }
    }

    async fn keep(&self, known: &mut Known) {
        // What other bus processes stored is read again by who starts; what is kept has to hold for the whole stream.
        let bytes =
            state::Snapshot::of_publishers(&known.publishers, known.scanned).encode_to_vec();
        match self.state.put(PUBLISHERS_KEY, bytes.into()).await {
            Ok(_) => known.kept = known.scanned,
            Err(error) => log::warn!("what is known of publishers is not kept: {error}"),
        }
    }
}

/// Brings what is stored into the tail, as it comes.
async fn follow(shared: Arc<Shared>, mut next: u64) {
    loop {
        if let Err(error) = follow_once(&shared, &mut next).await {
            log::debug!("following the stream: {error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Follows the stream with one consumer, until that fails or falls silent though there is more: the node that had it is gone.
async fn follow_once(shared: &Shared, next: &mut u64) -> Result<(), StoreError> {
    let policy = DeliverPolicy::ByStartSequence { start_sequence: *next };
    let consumer = shared.consumer(policy, false, Vec::new()).await?;
    loop {
        let asking = consumer.batch().max_messages(512).expires(FOLLOW_WAIT).messages();
        let asked = tokio::time::timeout(FETCH_WAIT, asking).await;
        let messages = asked.map_err(|_| unavailable("no answer"))?.map_err(unavailable)?;
        let mut chunks = messages.ready_chunks(512);
        let mut silent = true;
        while let Ok(Some(chunk)) = tokio::time::timeout(2 * FOLLOW_WAIT, chunks.next()).await {
            let mut runs = Runs::default();
            for message in chunk {
                let message = message.map_err(unavailable)?;
                let sequence = message.info().map_err(unavailable)?.stream_sequence;
                if sequence >= *next {
                    runs.push(&message)?;
                    *next = sequence + 1;
                    silent = false;
                }
            }
            for run in runs.finish() {
                shared.tail.push(run);
            }
            shared.next.send_replace(*next);
        }
        if silent {
            let info = tokio::time::timeout(FETCH_WAIT, shared.stream.get_info()).await;
            let info = info.map_err(|_| unavailable("no answer"))?.map_err(unavailable)?;
            if info.state.last_sequence >= *next {
                return Err(unavailable("the consumer is silent though there is more"));
            }
        }
    }
}

/// Looks after the stream's extent, and keeps what is known of publishers.
async fn look(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match tokio::time::timeout(FETCH_WAIT, shared.stream.get_info()).await {
            Ok(Ok(info)) => {
                let found = (info.state.first_sequence.max(1), info.state.bytes);
                *shared.earliest.lock().unwrap_or_else(PoisonError::into_inner) = found;
            }
            Ok(Err(error)) => log::debug!("the stream's extent: {error}"),
            Err(_) => log::debug!("the stream's extent: no answer"),
        }
    }
}

#[tonic::async_trait]
impl Store for JetStream {
    fn describe(&self) -> String {
        let options = &self.shared.options;
        let copies = if options.replicas == 1 { "copy" } else { "copies" };
        format!(
            "NATS JetStream {}, stream {}, {} {copies}",
            options.servers, options.stream, options.replicas
        )
    }

    fn levels(&self) -> (AckLevel, AckLevel) {
        (self.shared.level, self.shared.level)
    }

    async fn submit(&self, append: Append) -> Result<Submitted, StoreError> {
        if append.level > self.shared.level {
            return Err(StoreError::Level { wanted: append.level, offered: self.shared.level });
        }
        let (reply, answer) = oneshot::channel();
        let closing = || StoreError::Unavailable("it is closing".to_owned());
        self.jobs.send(Job { append, reply }).await.map_err(|_| closing())?;
        Ok(Submitted(answer))
    }

    fn reader(&self, wanted: &[Pattern]) -> Box<dyn StoreReader> {
        Box::new(Reader::new(Arc::clone(&self.shared), wanted))
    }

    fn extent(&self) -> Extent {
        let (earliest, bytes) =
            *self.shared.earliest.lock().unwrap_or_else(PoisonError::into_inner);
        let next = *self.shared.next.borrow();
        Extent { earliest: earliest.min(next), next, bytes }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.shared.next.subscribe()
    }

    async fn position_at(&self, time_unix_ns: u64) -> Result<u64, StoreError> {
        let start_time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_unix_ns))
            .map_err(|error| StoreError::Limit(error.to_string()))?;
        let policy = DeliverPolicy::ByStartTime { start_time };
        let consumer = self.shared.consumer(policy, true, Vec::new()).await?;
        let mut messages =
            consumer.fetch().max_messages(1).messages().await.map_err(unavailable)?;
        match messages.next().await {
            Some(message) => {
                let message = message.map_err(unavailable)?;
                Ok(message.info().map_err(unavailable)?.stream_sequence)
            }
            None => Ok(*self.shared.next.borrow()),
        }
    }

    async fn last_sequence(&self, publisher: &Publisher) -> Result<Option<u64>, StoreError> {
        let mut known = self.shared.known.lock().await;
        // Another bus process may have stored what the publisher asks about.
        self.shared.scan(&mut known).await?;
        Ok(known.publishers.get(publisher).and_then(|numbers| numbers.complete()))
    }

    async fn cursor(&self, name: &str) -> Result<Option<Cursor>, StoreError> {
        let bytes =
            self.shared.state.get(format!("{CURSOR_KEY}{name}")).await.map_err(unavailable)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let cursor = state::Cursor::decode(bytes).map_err(unavailable)?;
        Ok(cursor.known().and_then(|(_, cursor)| cursor))
    }

    async fn set_cursor(&self, name: &str, cursor: Option<Cursor>) -> Result<(), StoreError> {
        let key = format!("{CURSOR_KEY}{name}");
        match cursor {
            Some(cursor) => {
                let bytes = state::Cursor::of(name, Some(&cursor)).encode_to_vec();
                self.shared.state.put(key, bytes.into()).await.map_err(unavailable)?;
            }
            None => self.shared.state.purge(key).await.map_err(unavailable)?,
        }
        Ok(())
    }

    async fn cursors(&self) -> Result<Vec<(String, Cursor)>, StoreError> {
        let mut keys = self.shared.state.keys().await.map_err(unavailable)?;
        let mut cursors = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(unavailable)?;
            let Some(name) = key.strip_prefix(CURSOR_KEY) else { continue };
            // It may have been deleted since.
            if let Some(cursor) = self.cursor(name).await? {
                cursors.push((name.to_owned(), cursor));
            }
        }
        Ok(cursors)
    }

    async fn close(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        let keeping = async {
            let mut known = self.shared.known.lock().await;
            if known.scanned > known.kept && !known.unsure {
                self.shared.keep(&mut known).await;
            }
        };
        // Without it the next start reads a few more headers.
        tokio::time::timeout(FETCH_WAIT, keeping).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_the_identities_that_they_are() {
        for (publisher, number) in [
            (Publisher::Log(0xfe), 7),
            (Publisher::Producer("bot/with/slashes:1".into()), u64::MAX),
        ] {
            assert_eq!(parse_id(&message_id(&publisher, number)), Some((publisher, number)));
        }
        assert_eq!(message_id(&Publisher::Log(0xfe), 7), "00000000000000fe:7");
        assert_eq!(parse_id("someone else's"), None);
    }
}
