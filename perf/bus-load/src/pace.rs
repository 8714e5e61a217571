//! Publishing: at a rate, with the time until a subscriber has each event; and as fast as it goes, to fill a store.

use std::time::Duration;

use clap::Args;
use jimbot_proto::events::v1::event_bus_client::EventBusClient;
use jimbot_proto::events::v1::subscribe_response::Response as Down;
use jimbot_proto::events::v1::{AckLevel, EventBatch, PublishRequest, PublishResponse};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::Failure;
use crate::measure::{Latency, event, histogram, now_ns, pace};
use crate::subscribe::{channel, subscribe};

/// Publish at a rate, an event a message, while another connection of this process subscribes: latencies of the
/// acknowledgement and of the delivery, both from when the event was meant to be sent.
#[derive(Args)]
pub(crate) struct Pace {
    /// URL of the bus
    #[arg(long)]
    url: String,
    /// Events a second
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// Seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Bytes of an event
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// Ask for an acknowledgement that means: memory, written, fsynced or replicated
    #[arg(long, default_value = "default", value_parser = level)]
    level: AckLevel,
    /// Subscribe with a durable of this name, and acknowledge
    #[arg(long)]
    durable: Option<String>,
}

fn level(text: &str) -> Result<AckLevel, String> {
    match text {
        "default" => Ok(AckLevel::Unspecified),
        _ => AckLevel::from_str_name(&format!("ACK_LEVEL_{}", text.to_uppercase()))
            .ok_or_else(|| "default, memory, written, fsynced or replicated".to_owned()),
    }
}

impl Pace {
    /// Publisher and subscriber on threads of their own, so that neither waits for the other.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let count = (self.rate * self.seconds) as u64;
        let (ready, standing) = std::sync::mpsc::channel();
        let (url, durable) = (self.url.clone(), self.durable.clone());
        let subscriber =
            std::thread::Builder::new().name("subscriber".to_owned()).spawn(move || {
                crate::run(async move {
                    let delivered = receive(&url, durable.as_deref(), count, ready).await?;
                    crate::print(&delivered)
                })
            })?;
        if standing.recv().is_ok() {
            crate::run(self.publish(count))?;
        }
        subscriber.join().map_err(|_| "the subscriber panicked")?
    }

    async fn publish(&self, count: u64) -> Result<(), Failure> {
        let mut client = EventBusClient::new(channel(&self.url).await?);
        let (up, requests) = mpsc::channel(4096);
        let answers = client.publish(ReceiverStream::new(requests)).await?.into_inner();
        let (level, start_ns) = (self.level, now_ns());
        let (send_times, times) = mpsc::unbounded_channel();
        let acknowledged = tokio::spawn(acknowledgements(answers, times, count));
        let producer = format!("pace-{start_ns:x}");
        pace(self.rate, count, async |number, due_ns| {
            let event = event(&producer, number + 1, due_ns, self.bytes);
            let batch = EventBatch { events: vec![event] }.encode_to_vec().into();
            send_times.send(due_ns)?;
            let ack_level = level as i32;
            up.send(PublishRequest { batch, ack_level, request_id: number }).await?;
            Ok(())
        })
        .await?;
        let (acknowledged, meant) = acknowledged.await??;
        crate::print(&serde_json::json!({
            "acknowledged": acknowledged,
            "level": meant.as_str_name(),
        }))
    }
}

async fn acknowledgements(
    mut answers: Streaming<PublishResponse>,
    mut times: mpsc::UnboundedReceiver<u64>,
    count: u64,
) -> Result<(Latency, AckLevel), Failure> {
    let mut latencies = histogram();
    let mut meant = AckLevel::Unspecified;
    for _ in 0..count {
        let answer = answers.message().await?.ok_or("the bus has ended")?;
        let result = answer.result.ok_or("an answer has no result")?;
        if result.stored != 1 {
            return Err(format!("an event was not stored: {result:?}").into());
        }
        meant = result.ack_level();
        let due_ns = times.recv().await.ok_or("more answers than events")?;
        latencies.record(now_ns().saturating_sub(due_ns))?;
    }
    Ok((Latency::of(&latencies), meant))
}

async fn receive(
    url: &str,
    durable: Option<&str>,
    count: u64,
    ready: std::sync::mpsc::Sender<()>,
) -> Result<serde_json::Value, Failure> {
    let mut subscription = subscribe(channel(url).await?, false, durable).await?;
    ready.send(())?;
    let mut latencies = histogram();
    while latencies.len() < count {
        let message = tokio::time::timeout(Duration::from_secs(30), subscription.down.message());
        let message = message.await??.ok_or("the bus has ended")?;
        let Some(Down::Delivery(delivery)) = message.response else { continue };
        let arrived_ns = now_ns();
        for event in EventBatch::decode(delivery.batch)?.events {
            latencies.record(arrived_ns.saturating_sub(event.receive_time_unix_ns))?;
        }
        if let (Some(_), Some(last)) = (durable, delivery.positions.last()) {
            subscription.ack(*last).await?;
        }
    }
    Ok(serde_json::json!({ "delivered": Latency::of(&latencies) }))
}

/// Publish as fast as the bus takes it, in batches.
#[derive(Args)]
pub(crate) struct Fill {
    /// URL of the bus
    #[arg(long)]
    url: String,
    /// Events
    #[arg(long)]
    events: u64,
    /// Bytes of an event
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// Events in a batch
    #[arg(long, default_value_t = 500)]
    batch: u64,
}

impl Fill {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut client = EventBusClient::new(channel(&self.url).await?);
        let (up, requests) = mpsc::channel(16);
        let mut answers = client.publish(ReceiverStream::new(requests)).await?.into_inner();
        let start_ns = now_ns();
        let producer = format!("fill-{start_ns:x}");
        let events = self.events;
        let sending = tokio::spawn(async move {
            let mut next = 1;
            while next <= self.events {
                let last = (next + self.batch - 1).min(self.events);
                let events = (next..=last).map(|n| event(&producer, n, 0, self.bytes)).collect();
                let batch = EventBatch { events }.encode_to_vec().into();
                let request = PublishRequest { batch, request_id: last, ..Default::default() };
                if up.send(request).await.is_err() {
                    return;
                }
                next = last + 1;
            }
        });
        let mut stored = 0;
        while stored < events {
            let answer = answers.message().await?.ok_or("the bus has ended")?;
            stored += u64::from(answer.result.unwrap_or_default().stored);
        }
        sending.await?;
        crate::print(&serde_json::json!({ "events": stored, "ns": now_ns() - start_ns }))
    }
}
