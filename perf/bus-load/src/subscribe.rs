//! A subscriber that counts.

use clap::Args;
use jimbot_proto::events::v1::event_bus_client::EventBusClient;
use jimbot_proto::events::v1::start_position::{Earliest, Latest, Start};
use jimbot_proto::events::v1::subscribe_request::Request as Up;
use jimbot_proto::events::v1::subscribe_response::Response as Down;
use jimbot_proto::events::v1::{
    Ack, Durable, EventBatch, StartPosition, SubscribeRequest, SubscribeResponse, SubscribeStart,
};
use prost::Message;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::Failure;
use crate::measure::now_ns;

/// Subscribe from the oldest event on, and end after so many: prints `{"ready":…}` when the subscription stands.
#[derive(Args)]
pub(crate) struct Subscribe {
    /// URL of the bus
    #[arg(long)]
    url: String,
    /// Events to wait for
    #[arg(long)]
    events: u64,
    /// Hold a durable of this name, and acknowledge every delivery
    #[arg(long)]
    durable: Option<String>,
    /// Parse every event, as a subscriber that looks at them does
    #[arg(long)]
    parse: bool,
    /// Stay until standard input ends, so that what the process cost can be read
    #[arg(long)]
    linger: bool,
}

/// A subscription that stands.
pub(crate) struct Subscription {
    pub(crate) up: mpsc::Sender<SubscribeRequest>,
    pub(crate) down: Streaming<SubscribeResponse>,
}

/// A connection with windows that hold a whole large delivery, as the service's own clients have.
pub(crate) async fn channel(url: &str) -> Result<Channel, Failure> {
    connect(url, WINDOW, 2 * WINDOW).await
}

/// A connection with these windows of each stream and of all.
pub(crate) async fn connect(url: &str, stream: u32, all: u32) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .tcp_nodelay(true)
        .initial_stream_window_size(stream)
        .initial_connection_window_size(all);
    Ok(endpoint.connect().await?)
}

/// Window of a client that means to keep up.
const WINDOW: u32 = 4 << 20;

pub(crate) async fn subscribe(
    channel: Channel,
    earliest: bool,
    durable: Option<&str>,
) -> Result<Subscription, Failure> {
    let start = if earliest { Start::Earliest(Earliest {}) } else { Start::Latest(Latest {}) };
    let start = SubscribeStart {
        start: Some(StartPosition { start: Some(start) }),
        durable: durable.map(|name| Durable { name: name.to_owned(), ..Durable::default() }),
        ..SubscribeStart::default()
    };
    let (up, requests) = mpsc::channel(64);
    up.send(SubscribeRequest { request: Some(Up::Start(start)) }).await?;
    let mut client = EventBusClient::new(channel).max_decoding_message_size(16 << 20);
    let mut down = client.subscribe(ReceiverStream::new(requests)).await?.into_inner();
    match down.message().await?.and_then(|message| message.response) {
        Some(Down::Subscribed(_)) => Ok(Subscription { up, down }),
        other => Err(format!("the subscription does not stand: {other:?}").into()),
    }
}

impl Subscription {
    pub(crate) async fn ack(&self, up_to: u64) -> Result<(), Failure> {
        let ack = Ack { up_to, positions: Vec::new() };
        Ok(self.up.send(SubscribeRequest { request: Some(Up::Ack(ack)) }).await?)
    }
}

impl Subscribe {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut subscription =
            subscribe(channel(&self.url).await?, true, self.durable.as_deref()).await?;
        crate::print(&serde_json::json!({ "ready": true }))?;
        let (mut events, mut bytes, mut deliveries) = (0, 0, 0u64);
        let (mut first_ns, mut last) = (0, 0);
        while events < self.events {
            let message = subscription.down.message().await?.ok_or("the bus has ended")?;
            let delivery = match message.response {
                Some(Down::Delivery(delivery)) => delivery,
                Some(Down::Gap(gap)) => return Err(format!("events are missing: {gap:?}").into()),
                _ => continue,
            };
            if first_ns == 0 {
                first_ns = now_ns();
            }
            if self.parse {
                let batch = EventBatch::decode(delivery.batch.clone())?;
                if batch.events.len() != delivery.positions.len() {
                    return Err("a delivery has not as many events as positions".into());
                }
            }
            if delivery.positions.first().is_some_and(|first| *first <= last) {
                return Err("a position came twice".into());
            }
            last = delivery.positions.last().copied().unwrap_or(last);
            events += delivery.positions.len() as u64;
            bytes += delivery.batch.len();
            deliveries += 1;
            if self.durable.is_some() {
                subscription.ack(last).await?;
            }
        }
        crate::print(&serde_json::json!({
            "events": events,
            "bytes": bytes,
            "deliveries": deliveries,
            "first_ns": first_ns,
            "last_ns": now_ns(),
        }))?;
        if self.linger {
            tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
        }
        Ok(())
    }
}
