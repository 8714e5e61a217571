//! Clients of a bus for the command line: lines of JSON in, lines of JSON out.

use std::fmt;
use std::io::{BufRead, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jimbot_proto::events::v1::event_bus_client::EventBusClient;
use jimbot_proto::events::v1::start_position::{Earliest, Latest, Start};
use jimbot_proto::events::v1::subscribe_request::Request as Up;
use jimbot_proto::events::v1::subscribe_response::Response as Down;
use jimbot_proto::events::v1::{
    Ack, DeleteDurableRequest, Durable, DurableState, EventFilter, GapReason, ListDurablesRequest,
    PublishBatchRequest, StartPosition, SubscribeRequest, SubscribeStart,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::access::Token;
use super::scan;
use super::server::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::tail::json;

/// Lines that are published together.
const LINES: usize = 500;
/// Bytes after which no further line joins a batch.
const LINES_BYTES: usize = 1 << 20;
/// How often a wait looks whether it should end.
const NAP: Duration = Duration::from_millis(100);

/// Where a bus is, and what it wants to see.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// The token that it asks for.
    pub token: Option<Token>,
}

impl Options {
    /// Checks the URL, and reads the token file if there is one.
    pub fn new(url: String, token_file: Option<&Path>) -> Result<Options, String> {
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(format!("--bus is like http://127.0.0.1:50051 or https://…, not `{url}`"));
        }
        let token = match token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                Some(Token::new(&text).map_err(|reason| format!("{}: {reason}", path.display()))?)
            }
            None => None,
        };
        Ok(Options { url, token })
    }
}

/// Why a client gave up.
#[derive(Debug)]
pub enum ClientError {
    /// The URL is none, or names no bus.
    Connect(String, String),
    /// The bus said no.
    Status(Status),
    /// A line that is no event.
    Line(u64, String),
    /// Standard input or output failed.
    Io(std::io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Connect(url, reason) => {
                write!(f, "no bus at {url}: {reason}. `jimbot-mcp bus` starts one")
            }
            ClientError::Status(status) => {
                write!(f, "the bus says {:?}: {}", status.code(), status.message())?;
                match status.code() {
                    Code::Unauthenticated => f.write_str(" (--token-file names a file with it)"),
                    _ => Ok(()),
                }
            }
            ClientError::Line(line, reason) => write!(f, "line {line}: {reason}"),
            ClientError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<Status> for ClientError {
    fn from(status: Status) -> ClientError {
        ClientError::Status(status)
    }
}

impl ClientError {
    /// Tells apart what the bus says and that there is none: a status that has a cause was made on this side.
    fn of_bus_at(self, url: &str) -> ClientError {
        let ClientError::Status(status) = self else { return self };
        let mut reasons: Vec<String> = Vec::new();
        let mut cause = std::error::Error::source(&status);
        while let Some(error) = cause {
            let reason = error.to_string();
            if reasons.last() != Some(&reason) {
                reasons.push(reason);
            }
            cause = error.source();
        }
        match reasons.is_empty() {
            true => ClientError::Status(status),
            false => ClientError::Connect(url.to_owned(), reasons.join(": ")),
        }
    }
}

/// Puts the token into every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A client that sends its token.
pub type Client = EventBusClient<InterceptedService<Channel, Bearer>>;

/// Checks the URL, without a call and without a runtime.
pub fn endpoint(options: &Options) -> Result<Endpoint, ClientError> {
    let bad = |reason: String| ClientError::Connect(options.url.clone(), reason);
    let endpoint = Endpoint::from_shared(options.url.clone())
        .map_err(|error| bad(error.to_string()))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(MESSAGE_BYTES_MAX as u32)
        .initial_connection_window_size(2 * MESSAGE_BYTES_MAX as u32);
    if !options.url.starts_with("https:") {
        return Ok(endpoint);
    }
    let tls = ClientTlsConfig::new().with_native_roots();
    endpoint.tls_config(tls).map_err(|error| bad(error.to_string()))
}

/// A client of the bus at `endpoint`; connects with the first call. Has to be made where a runtime runs.
pub fn connect(endpoint: &Endpoint, token: Option<&Token>) -> Client {
    let header = token.map(|token| {
        let mut value: MetadataValue<Ascii> = token.header().parse().expect("tokens are printable");
        value.set_sensitive(true);
        value
    });
    EventBusClient::with_interceptor(endpoint.connect_lazy(), Bearer(header))
        .max_decoding_message_size(2 * MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// A client of the bus at `options.url`, as [`connect`] makes it.
pub fn client(options: &Options) -> Result<Client, ClientError> {
    Ok(connect(&endpoint(options)?, options.token.as_ref()))
}

fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Io)
}

/// What was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Events stored.
    pub stored: u64,
    /// Events that were there before.
    pub duplicates: u64,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events published, {} were there before", self.stored, self.duplicates)
    }
}

/// Publishes events, one line of JSON each.
pub fn publish_lines(
    options: &Options,
    producer: Option<String>,
    input: impl BufRead,
) -> Result<Published, ClientError> {
    publish_all(options, producer, input).map_err(|error| error.of_bus_at(&options.url))
}

fn publish_all(
    options: &Options,
    producer: Option<String>,
    input: impl BufRead,
) -> Result<Published, ClientError> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let mut client = client(options)?;
    let decoder = json::Decoder::new();
    let made_up = || format!("publish-{:016x}", fastrand::u64(..));
    let mut numbered = Numbered { name: producer.unwrap_or_else(made_up), next: None };
    let mut published = Published::default();
    let mut batch = Vec::new();
    let mut count = 0;
    for (line, text) in (1u64..).zip(input.lines()) {
        let text = text.map_err(ClientError::Io)?;
        if text.trim().is_empty() {
            continue;
        }
        let event = decoder.parse(&text).map_err(|reason| ClientError::Line(line, reason))?;
        let event = numbered.identify(&runtime, &mut client, event)?;
        scan::push_element(&mut batch, &event);
        count += 1;
        if count >= LINES || batch.len() >= LINES_BYTES {
            let full = std::mem::take(&mut batch);
            runtime.block_on(send(&mut client, full, line, &mut published))?;
            count = 0;
        }
    }
    if count > 0 {
        runtime.block_on(send(&mut client, batch, 0, &mut published))?;
    }
    Ok(published)
}

async fn send(
    client: &mut Client,
    batch: Vec<u8>,
    line: u64,
    published: &mut Published,
) -> Result<(), ClientError> {
    let request = PublishBatchRequest { batch: batch.into(), ..Default::default() };
    let result = client.publish_batch(request).await?.into_inner().result.unwrap_or_default();
    published.stored += u64::from(result.stored);
    published.duplicates += u64::from(result.duplicates);
    match result.rejections.first() {
        Some(rejection) => Err(ClientError::Line(line, rejection.message.clone())),
        None => Ok(()),
    }
}

/// Gives events without an identity one.
struct Numbered {
    name: String,
    next: Option<u64>,
}

impl Numbered {
    fn identify(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        client: &mut Client,
        mut event: Vec<u8>,
    ) -> Result<Vec<u8>, ClientError> {
        use jimbot_proto::events::v1::last_sequence_request::Publisher;
        let fields = scan::fields(&event).unwrap_or_default();
        if super::publishers::identity(&fields).is_some() {
            return Ok(event);
        }
        let number = match self.next {
            Some(number) => number,
            None => {
                let publisher = Some(Publisher::Producer(self.name.clone()));
                let request = jimbot_proto::events::v1::LastSequenceRequest { publisher };
                let last = runtime.block_on(client.last_sequence(request))?.into_inner();
                last.last_sequence + 1
            }
        };
        self.next = Some(number + 1);
        // Fields that stand later in a message win, so these can be put behind it.
        let identity = jimbot_proto::events::v1::Event {
            producer: Some(self.name.clone()),
            producer_sequence: Some(number),
            ..Default::default()
        };
        event.extend_from_slice(&prost::Message::encode_to_vec(&identity));
        Ok(event)
    }
}

/// What `tail` wants of a bus.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Topic patterns; none wants all.
    pub topics: Vec<String>,
    /// Begin with the oldest event.
    pub from_start: bool,
    /// Take the durable of this name, and acknowledge what is printed.
    pub durable: Option<String>,
    /// End after this many events.
    pub count: Option<u64>,
    /// End when no event came for this long.
    pub until_idle: Option<Duration>,
}

/// Prints events as lines of JSON, as they come.
pub fn tail(
    options: &Options,
    wanted: &Wanted,
    output: impl Write,
    stop: &AtomicBool,
    tell: impl FnMut(&str),
) -> Result<(), ClientError> {
    runtime()?
        .block_on(tail_async(options, wanted, output, stop, tell))
        .map_err(|error| error.of_bus_at(&options.url))
}

async fn tail_async(
    options: &Options,
    wanted: &Wanted,
    mut output: impl Write,
    stop: &AtomicBool,
    mut tell: impl FnMut(&str),
) -> Result<(), ClientError> {
    let mut client = client(options)?;
    let start =
        if wanted.from_start { Start::Earliest(Earliest {}) } else { Start::Latest(Latest {}) };
    let start = SubscribeStart {
        filter: Some(EventFilter { topics: wanted.topics.clone(), ..Default::default() }),
        start: Some(StartPosition { start: Some(start) }),
        durable: wanted
            .durable
            .as_ref()
            .map(|name| Durable { name: name.clone(), ..Default::default() }),
        ..Default::default()
    };
    let (up, requests) = mpsc::channel(16);
    let ask = |request| SubscribeRequest { request: Some(request) };
    // The channel is new and empty.
    up.send(ask(Up::Start(start))).await.ok();
    let mut down = client.subscribe(ReceiverStream::new(requests)).await?.into_inner();
    let decoder = json::Decoder::new();
    let mut shown = 0;
    let mut last_event = Instant::now();
    let enough = |shown| wanted.count.is_some_and(|count| shown >= count);
    while !stop.load(Ordering::Relaxed) && !enough(shown) {
        let message = match tokio::time::timeout(NAP, down.message()).await {
            Ok(message) => message?,
            Err(_) if wanted.until_idle.is_some_and(|idle| last_event.elapsed() >= idle) => break,
            Err(_) => continue,
        };
        match message.and_then(|message| message.response) {
            Some(Down::Delivery(delivery)) => {
                last_event = Instant::now();
                let mut lines = String::new();
                let mut last = 0;
                for (element, position) in scan::elements(&delivery.batch).zip(&delivery.positions)
                {
                    let bytes = element.map_err(|bad| Status::data_loss(bad.reason))?.event;
                    if enough(shown) {
                        break;
                    }
                    match decoder.decode(bytes) {
                        Ok(event) => json::write(&mut lines, &event),
                        Err(error) => tell(&format!("event {position} can't be read: {error}")),
                    }
                    shown += 1;
                    last = *position;
                }
                match output.write_all(lines.as_bytes()).and_then(|()| output.flush()) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    written => written.map_err(ClientError::Io)?,
                }
                if wanted.durable.is_some() {
                    let ack = Ack { up_to: last, positions: Vec::new() };
                    // A bus that has gone delivers it again.
                    up.send(ask(Up::Ack(ack))).await.ok();
                }
            }
            Some(Down::Gap(gap)) => {
                let missed = gap.last_position - gap.first_position + 1;
                let why = match gap.reason() {
                    GapReason::Retention => "they were too old, or too many came after them",
                    GapReason::Damaged => "they are damaged on the bus's disk",
                    GapReason::Deleted => "they were deleted from the bus's store",
                    GapReason::Unspecified => "the bus does not have them any more",
                };
                tell(&format!("{missed} events missed: {why}"));
            }
            Some(Down::Subscribed(_) | Down::CaughtUp(_)) => {}
            None => return Err(Status::unavailable("the bus closed the subscription").into()),
        }
    }
    // The end of our side is the end of the subscription; the bus saves what was acknowledged before it answers that.
    drop(up);
    while let Ok(Ok(Some(_))) = tokio::time::timeout(NAP * 10, down.message()).await {}
    Ok(())
}

/// The durables of a bus, by name.
pub fn durables(options: &Options) -> Result<Vec<DurableState>, ClientError> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let mut client = client(options)?;
    let answer = runtime.block_on(client.list_durables(ListDurablesRequest {}))?;
    Ok(answer.into_inner().durables)
}

/// Makes a bus forget a durable.
pub fn delete_durable(options: &Options, name: String) -> Result<(), ClientError> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let mut client = client(options)?;
    runtime.block_on(client.delete_durable(DeleteDurableRequest { name }))?;
    Ok(())
}
