//! `jimbot-peer-axum`: an HTTP endpoint as a team would write it with axum and tokio.
//!
//! It converts each body with the service's own converter, so what is left between the two is the
//! way around it: a framework, a channel, and a Unix socket to the Python process instead of a log.
//! It keeps no log, looks for no repeats, and stores nothing: all of that would cost it more.
//!
//! On the socket an event is `u32 length, f64 producer time, bytes`, little-endian. Who connects there
//! is the consumer; without one events wait in the channel.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use clap::Parser;
use jimbot_core::convert::{BodyCursor, BodyForm, Context, Converter, Step};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

/// An HTTP endpoint of axum and tokio, with a channel behind it: a peer to compare with.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 lets the kernel choose, the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Unix socket at which the consumer of the events connects
    #[arg(long)]
    consumer: PathBuf,
    /// CPU to run on
    #[arg(long)]
    cpu: Option<usize>,
}

/// Events that wait for the consumer; past them requests wait.
const CHANNEL_EVENTS: usize = 64 * 1024;
/// Events given to the consumer in one write.
const WRITE_EVENTS: usize = 1024;
/// Room for what one body becomes.
const ROOM_BYTES: usize = 2 << 20;

/// An event as protobuf, and the time its producer gave it.
type Converted = (Vec<u8>, f64);

thread_local! {
    static CONVERTER: RefCell<(Converter, Vec<u8>)> =
        RefCell::new((Converter::new(), vec![0; ROOM_BYTES]));
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    if let Some(cpu) = arguments.cpu {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set)?;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> std::io::Result<()> {
    let (sender, receiver) = mpsc::channel(CHANNEL_EVENTS);
    let consumers = UnixListener::bind(&arguments.consumer)?;
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("{}", listener.local_addr()?);
    tokio::spawn(deliver(consumers, receiver));
    let app = Router::new()
        .route("/api/v1/events", post(take_event))
        .route("/api/v1/events/batch", post(take_batch))
        .with_state(sender);
    axum::serve(listener, app).await
}

type Channel = State<mpsc::Sender<Converted>>;

async fn take_event(channel: Channel, body: Bytes) -> (StatusCode, String) {
    take(channel, &body, BodyForm::Events).await
}

async fn take_batch(channel: Channel, body: Bytes) -> (StatusCode, String) {
    take(channel, &body, BodyForm::Batch).await
}

async fn take(State(channel): Channel, body: &[u8], form: BodyForm) -> (StatusCode, String) {
    let (events, refused) = convert(body, form);
    if let Some(reason) = refused {
        return (StatusCode::BAD_REQUEST, reason);
    }
    let accepted = events.len();
    for event in events {
        if channel.send(event).await.is_err() {
            return (StatusCode::SERVICE_UNAVAILABLE, String::new());
        }
    }
    (StatusCode::OK, format!("{{\"accepted\": {accepted}}}"))
}

fn convert(body: &[u8], form: BodyForm) -> (Vec<Converted>, Option<String>) {
    CONVERTER.with_borrow_mut(|(converter, room)| {
        let mut cursor = BodyCursor::new(form);
        let mut events = Vec::new();
        loop {
            match converter.next(&mut cursor, body, &Context::default(), room) {
                Step::Event(event) => {
                    events.push((room[..event.element_len].to_vec(), event.entry.producer_time));
                }
                Step::Refused(refusal) => return (events, Some(refusal.reason)),
                Step::NoRoom => return (events, Some("too large".to_owned())),
                Step::Done(_) => return (events, None),
            }
        }
    })
}

/// Hands events to one consumer after the other, in batches of what is there.
async fn deliver(consumers: UnixListener, mut receiver: mpsc::Receiver<Converted>) {
    let mut batch = Vec::with_capacity(WRITE_EVENTS);
    let mut bytes = Vec::new();
    while let Ok((mut consumer, _)) = consumers.accept().await {
        while receiver.recv_many(&mut batch, WRITE_EVENTS).await > 0 {
            bytes.clear();
            for (event, time) in batch.drain(..) {
                bytes.extend_from_slice(&(event.len() as u32).to_le_bytes());
                bytes.extend_from_slice(&time.to_le_bytes());
                bytes.extend_from_slice(&event);
            }
            if consumer.write_all(&bytes).await.is_err() {
                break;
            }
        }
    }
}
