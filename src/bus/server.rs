//! Sockets and thread of a bus, in its own process or inside the service.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt as _;
use jimbot_proto::events::v1::event_bus_server::EventBusServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use super::access::{Token, guard};
use super::grpc::Service;
use super::metrics::Figures;
use super::store::{
    Embedded, EmbeddedOptions, JetStream, JetStreamOptions, Memory, Retention, Store, StoreError,
    system_clock,
};
use super::{Bus, rest};
use crate::journal::OpenError;

/// Bytes of one message: the largest batch of a log, with room for its envelope. gRPC's own limit is 4 MiB.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of one HTTP/2 frame: with the protocol's least, 16 KiB, a large batch costs a system call for each.
pub(super) const FRAME_BYTES_MAX: u32 = 256 << 10;
/// What a stream may send ahead of its being read; a connection may twice that.
const WINDOW_BYTES: u32 = 1 << 20;
/// How often a silent connection is asked whether it is alive, and how long it may take to say so.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Streams of one connection.
const STREAMS_MAX: u32 = 1024;
/// How long subscribers and publishers have to end when the bus does.
const DRAIN: Duration = Duration::from_secs(3);

/// Where events are kept.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// In memory.
    Memory(Retention),
    /// On the local disk.
    Embedded(EmbeddedOptions),
    /// In NATS JetStream.
    JetStream(JetStreamOptions),
}

/// How a bus is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where events are kept.
    pub store: StoreConfig,
    /// What every call has to carry.
    pub token: Option<Token>,
    /// Certificate chain and key, in PEM.
    pub tls: Option<(Vec<u8>, Vec<u8>)>,
    /// Listen beyond this host without a token.
    pub insecure: bool,
}

impl Config {
    /// An embedded bus in `dir`, on this host.
    pub fn embedded(dir: impl Into<PathBuf>) -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            store: StoreConfig::Embedded(EmbeddedOptions::new(dir)),
            token: None,
            tls: None,
            insecure: false,
        }
    }
}

/// Why a bus did not start.
#[derive(Debug)]
pub enum StartError {
    /// It would be open to everyone.
    Open(SocketAddr),
    /// The address can't be had.
    Bind(SocketAddr, io::Error),
    /// The embedded store can't be opened.
    Store(OpenError),
    /// The store can't be used.
    Backend(StoreError),
    /// Certificate or key are none.
    Tls(String),
    /// The thread can't be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Open(address) => write!(
                f,
                "anyone who reaches {address} could read and write the bus: give it --token-file, listen on 127.0.0.1, or say --insecure"
            ),
            StartError::Bind(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is taken; another bus may be running. Choose with --listen")
            }
            StartError::Bind(address, error) => write!(f, "{address}: {error}"),
            StartError::Store(error) => error.fmt(f),
            StartError::Backend(error) => error.fmt(f),
            StartError::Tls(reason) => write!(f, "TLS certificate or key: {reason}"),
            StartError::Thread(error) => write!(f, "the bus's thread can't be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A bus that runs.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    bus: Weak<Bus>,
    tls: bool,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for clients on this host.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// What it has done; `None` when it has ended.
    pub fn figures(&self) -> Option<Figures> {
        self.bus.upgrade().map(|bus| bus.figures())
    }

    /// Ends it: subscribers are told, what was acknowledged is flushed.
    pub fn stop(mut self) {
        self.end();
    }

    /// Whether it has ended on its own.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the bus's thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a bus in a thread named `bus`. Returns when it listens.
pub fn start(config: Config) -> Result<Handle, StartError> {
    if config.token.is_none() && !config.insecure && !config.listen.ip().is_loopback() {
        return Err(StartError::Open(config.listen));
    }
    let tls = config.tls.is_some();
    let (stop, stopping) = watch::channel(false);
    let (ready, started) = std_mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("bus".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .thread_name("bus-io")
                // Reads of old events from the disk.
                .max_blocking_threads(4)
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(run(config, stopping, &ready)),
                Err(error) => {
                    // `start` waits for this.
                    ready.send(Err(StartError::Thread(error))).ok();
                }
            }
        })
        .map_err(StartError::Thread)?;
    match started.recv() {
        Ok(Ok((address, bus))) => Ok(Handle { address, bus, tls, stop, thread: Some(thread) }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Thread(io::Error::other("it ended while it started"))),
    }
}

async fn open(config: StoreConfig) -> Result<Arc<dyn Store>, StartError> {
    match config {
        StoreConfig::Memory(retention) => Ok(Arc::new(Memory::new(retention, system_clock()))),
        StoreConfig::Embedded(options) => {
            Ok(Arc::new(Embedded::open(options).map_err(StartError::Store)?))
        }
        StoreConfig::JetStream(options) => {
            Ok(Arc::new(JetStream::open(options).await.map_err(StartError::Backend)?))
        }
    }
}

async fn run(
    config: Config,
    mut stopping: watch::Receiver<bool>,
    ready: &std_mpsc::SyncSender<Result<(SocketAddr, Weak<Bus>), StartError>>,
) {
    let prepared = prepare(config, stopping.clone()).await;
    let (mut server, routes, incoming, address, bus) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            ready.send(Err(error)).ok();
            return;
        }
    };
    let store = Arc::clone(&bus.store);
    let watched = Arc::downgrade(&bus);
    drop(bus);
    if ready.send(Ok((address, watched))).is_err() {
        return;
    }
    let mut told = stopping.clone();
    let serving = server.add_routes(routes).serve_with_incoming_shutdown(incoming, async move {
        told.wait_for(|stop| *stop).await.ok();
    });
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        _ = stopping.wait_for(|stop| *stop) => {
            // Clients that do not let go are left behind.
            tokio::time::timeout(DRAIN, &mut serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        log::error!("the bus on {address} ended: {error}");
    }
    store.close().await;
}

type Prepared = (Server, Routes, TcpIncoming, SocketAddr, Arc<Bus>);

async fn prepare(config: Config, closing: watch::Receiver<bool>) -> Result<Prepared, StartError> {
    let store = open(config.store).await?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| StartError::Bind(config.listen, error))?;
    let address = listener.local_addr().map_err(|error| StartError::Bind(config.listen, error))?;
    let bus = Arc::new(Bus::new(Arc::clone(&store), system_clock(), closing));
    log::info!("event bus on {address}, {}", store.describe());

    let mut server = Server::builder()
        .accept_http1(true)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .max_concurrent_streams(STREAMS_MAX)
        // What a publisher whose turn has not come has sent ahead is memory that no budget counts. A message comes in over
        // several windows as well.
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES);
    if let Some((certificate, key)) = config.tls {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        server = server.tls_config(tls).map_err(|error| StartError::Tls(error.to_string()))?;
    }

    let service = EventBusServer::new(Service(Arc::clone(&bus)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(2 * MESSAGE_BYTES_MAX);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<EventBusServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(jimbot_proto::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the schema that was built in is whole");
    let router = Routes::new(service)
        .add_service(health_service)
        .add_service(reflection)
        .into_axum_router()
        .merge(rest::routes(Arc::clone(&bus)));
    // What HTTP/2 holds for a peer that does not read is memory like any other.
    let counted = Arc::clone(&bus.budget);
    let router = router.layer(axum::middleware::map_response(move |response: Response| {
        let budget = Arc::clone(&counted);
        async move {
            response.map(|body| {
                Body::new(body.map_frame(move |frame| frame.map_data(|data| budget.count(data))))
            })
        }
    }));
    let router = match config.token {
        Some(token) => router.layer(axum::middleware::from_fn_with_state(token, guard)),
        None => router,
    };
    // The server's own setting is for sockets that it binds. Without this an answer that follows another one waits 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok((server, Routes::from(router), incoming, address, bus))
}

/// Where an embedded store lies by default: `$XDG_STATE_HOME/jimbot-mcp/bus`.
pub fn default_dir() -> PathBuf {
    let state =
        std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    state.or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib")).join("jimbot-mcp/bus")
}
