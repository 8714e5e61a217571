//! NATS JetStream with its own client, beside the bus.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, stream};
use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use jimbot_proto::events::v1::Event;
use prost::Message;

use crate::Failure;
use crate::measure::{Latency, event, histogram, now_ns, pace};

/// Acknowledgements that may be awaited at once.
const IN_FLIGHT: usize = 4096;

/// Where, and what kind of stream.
#[derive(Args)]
struct Server {
    /// URL of the server
    #[arg(long)]
    url: String,
    /// Name of the stream: made anew
    #[arg(long, default_value = "PERF")]
    stream: String,
    /// Keep messages in memory
    #[arg(long)]
    memory: bool,
    /// Copies of each message
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Bytes of an event
    #[arg(long, default_value_t = 300)]
    bytes: usize,
}

impl Server {
    async fn open(&self) -> Result<(jetstream::Context, stream::Stream), Failure> {
        let client = async_nats::connect(&self.url).await?;
        let context = jetstream::context::ContextBuilder::new()
            .max_ack_inflight(IN_FLIGHT)
            // A server that flushes each message falls behind, and its latency is what is asked for.
            .timeout(Duration::from_secs(60))
            .backpressure_on_inflight(true)
            .build(client);
        // It may not be there.
        context.delete_stream(&self.stream).await.ok();
        let stream = context
            .create_stream(stream::Config {
                name: self.stream.clone(),
                subjects: vec![self.subject()],
                num_replicas: self.replicas,
                storage: if self.memory {
                    stream::StorageType::Memory
                } else {
                    stream::StorageType::File
                },
                ..stream::Config::default()
            })
            .await?;
        Ok((context, stream))
    }

    fn subject(&self) -> String {
        format!("perf.{}", self.stream)
    }

    fn payload(&self, number: u64, due_ns: u64) -> bytes::Bytes {
        event("perf", number, due_ns, self.bytes).encode_to_vec().into()
    }
}

/// Publish as fast as the server acknowledges, with a window of 4,096 messages; then fetch them all.
#[derive(Args)]
pub(crate) struct Flood {
    #[command(flatten)]
    server: Server,
    /// Messages
    #[arg(long, default_value_t = 100_000)]
    events: u64,
}

impl Flood {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (context, stream) = self.server.open().await?;
        let start_ns = now_ns();
        let mut waiting = FuturesOrdered::new();
        for number in 0..self.events {
            let message = jetstream::message::PublishMessage::build()
                .payload(self.server.payload(number, start_ns))
                .message_id(format!("{number:020}"));
            let ack = context.send_publish(self.server.subject(), message).await?;
            waiting.push_back(ack.into_future());
            while waiting.len() >= IN_FLIGHT / 2 {
                waiting.next().await.ok_or("no acknowledgement")??;
            }
        }
        while let Some(ack) = waiting.next().await {
            ack?;
        }
        let published_ns = now_ns();
        let consumer = stream.create_consumer(consumer(DeliverPolicy::All)).await?;
        let mut fetched = 0;
        while fetched < self.events {
            let mut messages = consumer.fetch().max_messages(2048).messages().await?;
            while let Some(message) = messages.next().await {
                fetched += u64::from(!message?.payload.is_empty());
            }
        }
        let fetched_ns = now_ns();
        context.delete_stream(&self.server.stream).await?;
        crate::print(&serde_json::json!({
            "events": self.events,
            "publish_ns": published_ns - start_ns,
            "fetch_ns": fetched_ns - published_ns,
        }))
    }
}

fn consumer(deliver_policy: DeliverPolicy) -> pull::Config {
    pull::Config { deliver_policy, ack_policy: AckPolicy::None, ..pull::Config::default() }
}

/// Publish at a rate and consume: latencies of the acknowledgement and of the delivery.
#[derive(Args)]
pub(crate) struct Pace {
    #[command(flatten)]
    server: Server,
    /// Messages a second
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// Seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

impl Pace {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (context, stream) = self.server.open().await?;
        let count = (self.rate * self.seconds) as u64;
        let consumer = stream.create_consumer(consumer(DeliverPolicy::New)).await?;
        let mut messages = consumer.messages().await?;
        let receiving = tokio::spawn(async move {
            let mut latencies = histogram();
            while latencies.len() < count {
                let next = tokio::time::timeout(Duration::from_secs(30), messages.next());
                let message = next.await?.ok_or("the server has ended")??;
                let event = Event::decode(message.payload.clone())?;
                latencies.record(now_ns().saturating_sub(event.receive_time_unix_ns))?;
            }
            Ok::<_, Failure>(Latency::of(&latencies))
        });
        let (acks, mut waiting) = tokio::sync::mpsc::unbounded_channel();
        let acknowledging = tokio::spawn(async move {
            let mut latencies = histogram();
            while let Some((due_ns, ack)) = waiting.recv().await {
                let ack: jetstream::context::PublishAckFuture = ack;
                ack.await?;
                latencies.record(now_ns().saturating_sub(due_ns))?;
            }
            Ok::<_, Failure>(Latency::of(&latencies))
        });
        pace(self.rate, count, async |number, due_ns| {
            let payload = self.server.payload(number, due_ns);
            let message = jetstream::message::PublishMessage::build()
                .payload(payload)
                .message_id(format!("{number:020}"));
            let ack = context.send_publish(self.server.subject(), message).await?;
            acks.send((due_ns, ack))?;
            Ok(())
        })
        .await?;
        drop(acks);
        let (acknowledged, delivered) = (acknowledging.await??, receiving.await??);
        context.delete_stream(&self.server.stream).await?;
        crate::print(&serde_json::json!({ "acknowledged": acknowledged, "delivered": delivered }))
    }
}
