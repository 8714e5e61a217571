//! Events, stores and clocks for the tests of the bus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jimbot_core::time::Now;
use jimbot_mcp::bus::publishers::Publisher;
use jimbot_mcp::bus::scan;
use jimbot_mcp::bus::store::{Append, Clock, Page, Span, Store, system_clock};
use jimbot_mcp::bus::{Config, Handle};
use jimbot_proto::events::v1::event_bus_client::EventBusClient;
use jimbot_proto::events::v1::start_position::{Earliest, Start};
use jimbot_proto::events::v1::subscribe_request::Request as Up;
use jimbot_proto::events::v1::subscribe_response::Response as Down;
use jimbot_proto::events::v1::{
    Ack, AckLevel, Delivery, Durable, Event, EventBatch, EventType, HeartbeatEvent,
    PublishBatchRequest, PublishResult, StartPosition, SubscribeRequest, SubscribeResponse,
    SubscribeStart, event,
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// An event of a log.
pub(crate) fn event(log_epoch: u64, sequence: u64) -> Event {
    Event {
        log_epoch,
        sequence,
        r#type: EventType::Heartbeat as i32,
        event_id: Some(format!("e-{sequence}")),
        payload: Some(event::Payload::Heartbeat(HeartbeatEvent::default())),
        ..Default::default()
    }
}

/// A serialised batch of events `first..=last` of a log.
pub(crate) fn batch(log_epoch: u64, first: u64, last: u64) -> Vec<u8> {
    EventBatch { events: (first..=last).map(|n| event(log_epoch, n)).collect() }.encode_to_vec()
}

/// An append of events `first..=last` of a log.
pub(crate) fn append(log_epoch: u64, first: u64, last: u64) -> Append {
    let payload = batch(log_epoch, first, last);
    let span = Span {
        publisher: Publisher::Log(log_epoch),
        first,
        count: (last - first + 1) as u32,
        bytes: 0..payload.len(),
    };
    Append {
        payload: payload.into(),
        spans: vec![span],
        topic: None,
        level: AckLevel::Unspecified,
        chain: None,
    }
}

/// Epoch and sequence of every event from `from` to the end, with its position, and what was told to be lost.
pub(crate) async fn read_all(
    store: &dyn Store,
    from: u64,
) -> (Vec<(u64, u64, u64)>, Vec<(u64, u64)>) {
    let mut reader = store.reader(&[]);
    let (mut events, mut lost) = (Vec::new(), Vec::new());
    let mut at = from;
    loop {
        let page = reader.read(at, 10_000).await.unwrap();
        assert!(page.next >= at);
        if let Some(gone) = page.lost {
            lost.push((gone.first, gone.next));
        }
        if page.runs.is_empty() {
            return (events, lost);
        }
        at = page.next;
        events.extend(identities(&page).into_iter().filter(|event| event.2 >= from));
    }
}

/// Epoch, sequence and position of a page's events.
pub(crate) fn identities(page: &Page) -> Vec<(u64, u64, u64)> {
    let mut events = Vec::new();
    for run in &page.runs {
        let mut position = run.first;
        for element in scan::elements(&run.elements) {
            let fields = scan::fields(element.unwrap().event).unwrap();
            events.push((fields.log_epoch, fields.sequence, position));
            position += 1;
        }
        assert_eq!(position, run.next(), "a run says how many events it has");
    }
    events
}

/// A clock that runs like the host's, and can be set forwards and back.
#[derive(Clone)]
pub(crate) struct MovableClock {
    host: Clock,
    mono_ns: Arc<AtomicU64>,
    unix_offset_ns: Arc<Mutex<i64>>,
}

impl MovableClock {
    pub(crate) fn new() -> MovableClock {
        MovableClock {
            host: system_clock(),
            mono_ns: Arc::default(),
            unix_offset_ns: Arc::default(),
        }
    }

    /// Lets time pass, on both clocks.
    pub(crate) fn pass(&self, ns: u64) {
        self.mono_ns.fetch_add(ns, Ordering::Relaxed);
        self.set_by(i64::try_from(ns).unwrap());
    }

    /// Someone sets the wall clock.
    pub(crate) fn set_by(&self, ns: i64) {
        *self.unix_offset_ns.lock().unwrap() += ns;
    }

    pub(crate) fn now(&self) -> Now {
        let host = (self.host)();
        let offset = *self.unix_offset_ns.lock().unwrap();
        Now {
            mono_ns: host.mono_ns + self.mono_ns.load(Ordering::Relaxed),
            unix_ns: host.unix_ns.saturating_add_signed(offset),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || this.now())
    }
}

pub(crate) type BusClient = EventBusClient<tonic::transport::Channel>;

/// A client of a bus.
pub(crate) async fn client(url: &str) -> BusClient {
    EventBusClient::connect(url.to_owned())
        .await
        .unwrap()
        .max_decoding_message_size(16 << 20)
        .max_encoding_message_size(16 << 20)
}

/// A bus on a store in `dir`, and a client.
pub(crate) async fn bus(dir: &std::path::Path) -> (Handle, BusClient) {
    let handle = jimbot_mcp::bus::start(Config::embedded(dir)).unwrap();
    let client = client(&handle.url()).await;
    (handle, client)
}

pub(crate) async fn publish(
    client: &mut BusClient,
    batch: Vec<u8>,
) -> Result<PublishResult, Status> {
    let request = PublishBatchRequest { batch: batch.into(), ..Default::default() };
    Ok(client.publish_batch(request).await?.into_inner().result.unwrap())
}

/// A subscriber.
pub(crate) struct Subscriber {
    up: mpsc::Sender<SubscribeRequest>,
    down: Streaming<SubscribeResponse>,
}

/// Everything from the oldest event on.
pub(crate) fn from_earliest() -> SubscribeStart {
    let start = Some(Start::Earliest(Earliest {}));
    SubscribeStart { start: Some(StartPosition { start }), ..Default::default() }
}

/// The same, as a durable.
pub(crate) fn durable(name: &str) -> SubscribeStart {
    let durable = Durable { name: name.to_owned(), ..Default::default() };
    SubscribeStart { durable: Some(durable), ..from_earliest() }
}

impl Subscriber {
    pub(crate) async fn new(
        client: &mut BusClient,
        start: SubscribeStart,
    ) -> Result<Subscriber, Status> {
        let (up, requests) = mpsc::channel(64);
        up.send(SubscribeRequest { request: Some(Up::Start(start)) }).await.unwrap();
        let mut down = client.subscribe(ReceiverStream::new(requests)).await?.into_inner();
        match down.message().await?.and_then(|message| message.response) {
            Some(Down::Subscribed(_)) => Ok(Subscriber { up, down }),
            other => panic!("the first message tells that the subscription stands, not {other:?}"),
        }
    }

    pub(crate) async fn say(&self, request: Up) {
        self.up.send(SubscribeRequest { request: Some(request) }).await.unwrap();
    }

    pub(crate) async fn ack_up_to(&self, position: u64) {
        self.say(Up::Ack(Ack { up_to: position, positions: vec![] })).await;
    }

    pub(crate) async fn message(&mut self) -> Result<Option<Down>, Status> {
        Ok(self.down.message().await?.and_then(|message| message.response))
    }

    /// The next delivery; what else is told is passed over.
    pub(crate) async fn delivery(&mut self) -> Delivery {
        loop {
            match self.message().await.unwrap() {
                Some(Down::Delivery(delivery)) => return delivery,
                Some(_) => {}
                None => panic!("the subscription ended"),
            }
        }
    }

    /// Sequences of the next `count` events, each acknowledged.
    pub(crate) async fn sequences(&mut self, count: usize) -> Vec<u64> {
        let mut sequences = Vec::new();
        while sequences.len() < count {
            let delivery = self.delivery().await;
            let batch = EventBatch::decode(delivery.batch).unwrap();
            assert_eq!(batch.events.len(), delivery.positions.len());
            sequences.extend(batch.events.iter().map(|event| event.sequence));
            self.ack_up_to(*delivery.positions.last().unwrap()).await;
        }
        sequences
    }
}
