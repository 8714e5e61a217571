//! `jimbot-mcp bus` and `jimbot-mcp publish`: what can be chosen.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jimbot_core::time::SECOND;
use jimbot_proto::events::v1::AckLevel;

use super::values::seconds;
use crate::bus::access::Token;
use crate::bus::store::{EmbeddedOptions, JetStreamOptions, Retention};
use crate::bus::{self, Config, StoreConfig};

/// How certain an acknowledgement is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ack {
    /// Survives the bus's process
    Written,
    /// Survives a power cut
    Fsynced,
}

/// Run an Event Bus: anyone publishes, anyone subscribes, at least once.
///
/// Clients speak gRPC (jimbot.events.v1.EventBus); the past is also there as lines of JSON at
/// /api/v1/events on the same port. Topics come from event types: docs/topics.md lists them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jimbot-mcp bus                                   keeps 24 hours and 1 GiB at most
  jimbot-mcp bus --ack fsynced                     no acknowledged event is lost in a power cut
  jimbot-mcp bus --store nats://127.0.0.1:4222     many hosts, one bus
  jimbot-mcp bus --store memory --listen 127.0.0.1:0
  curl 'localhost:50051/api/v1/events?topic=game.>&limit=5'")]
pub(super) struct Bus {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,

    /// Where events are kept: `embedded` on the local disk, `memory`, or NATS JetStream at
    /// nats://HOST:PORT (several with commas)
    #[arg(long, value_name = "STORE", default_value = "embedded")]
    store: String,

    /// Directory of the embedded store [default: $XDG_STATE_HOME/jimbot-mcp/bus]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Keep this many bytes at most
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    max_bytes: u64,

    /// Keep this many events at most
    #[arg(long, value_name = "N")]
    max_events: Option<u64>,

    /// Keep events for this long at most
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "86400")]
    max_age: Duration,

    /// What an acknowledgement means when the publisher does not say
    #[arg(long, value_name = "LEVEL", default_value = "written")]
    ack: Ack,

    /// Flush written events to the disk this often
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0.1")]
    fsync_interval: Duration,

    /// NATS: name of the stream
    #[arg(long, value_name = "NAME", default_value = "JIMBOT")]
    nats_stream: String,

    /// NATS: keep each event on this many nodes
    #[arg(long, value_name = "N", default_value_t = 1)]
    nats_replicas: usize,

    /// NATS: keep events in the servers' memory
    #[arg(long)]
    nats_memory: bool,

    /// NATS: address of a server's monitoring, to see whether it flushes before it acknowledges
    #[arg(long, value_name = "HOST:PORT")]
    nats_monitor: Option<String>,

    /// Demand the bearer token in this file of every call
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Speak TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Listen beyond this host without a token
    #[arg(long)]
    insecure: bool,

    /// Start although stored events are missing or damaged, and go on with what is intact
    #[arg(long)]
    accept_loss: bool,
}

impl Bus {
    pub(super) fn run(self) -> ExitCode {
        let stop = Arc::new(AtomicBool::new(false));
        if let Err(error) = super::stop_on_signals(&stop) {
            return super::fail(error, 1);
        }
        // A limit on the size of files is answered like a full disk; unhandled, its signal would end the process.
        let too_large = Arc::new(AtomicBool::new(false));
        if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, too_large) {
            return super::fail(error, 1);
        }
        let config = match self.config() {
            Ok(config) => config,
            Err(reason) => return super::fail(reason, 2),
        };
        let handle = match bus::start(config) {
            Ok(handle) => handle,
            Err(error) => return super::fail(error, 1),
        };
        // Who started it on port 0 reads the address here.
        let code = super::answer(format!("event bus on {}\n", handle.url()).as_bytes());
        if code != ExitCode::SUCCESS {
            return code;
        }
        while !stop.load(Ordering::Relaxed) && !handle.has_ended() {
            std::thread::sleep(Duration::from_millis(50));
        }
        if handle.has_ended() {
            return super::fail("the bus ended on its own; its messages say why", 1);
        }
        handle.stop();
        ExitCode::SUCCESS
    }

    fn config(self) -> Result<Config, String> {
        let retention = Retention {
            bytes: self.max_bytes,
            events: self.max_events.unwrap_or(u64::MAX),
            age_ns: u64::try_from(self.max_age.as_nanos()).unwrap_or(u64::MAX).max(SECOND),
        };
        let store = match self.store.as_str() {
            "memory" => StoreConfig::Memory(retention),
            "embedded" => StoreConfig::Embedded(EmbeddedOptions {
                retention,
                fsync_interval: self.fsync_interval,
                level: match self.ack {
                    Ack::Written => AckLevel::Written,
                    Ack::Fsynced => AckLevel::Fsynced,
                },
                accept_loss: self.accept_loss,
                ..EmbeddedOptions::new(self.dir.unwrap_or_else(bus::server::default_dir))
            }),
            servers if servers.starts_with("nats://") || servers.starts_with("tls://") => {
                StoreConfig::JetStream(JetStreamOptions {
                    stream: self.nats_stream,
                    replicas: self.nats_replicas,
                    in_memory: self.nats_memory,
                    retention,
                    monitor: self.nats_monitor,
                    ..JetStreamOptions::new(servers)
                })
            }
            other => {
                return Err(format!(
                    "--store {other}: choose embedded, memory, or nats://HOST:PORT"
                ));
            }
        };
        let read = |path: &Path| -> Result<Vec<u8>, String> {
            std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let token = match &self.token_file {
            Some(path) => {
                let text = String::from_utf8_lossy(&read(path)?).into_owned();
                Some(Token::new(&text).map_err(|reason| format!("{}: {reason}", path.display()))?)
            }
            None => None,
        };
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        Ok(Config { listen: self.listen, store, token, tls, insecure: self.insecure })
    }
}

/// Publish events to an Event Bus: lines of JSON from standard input.
///
/// Each line is an event in protobuf's canonical JSON form, as `tail` prints it. Events that
/// have neither `logEpoch` and `sequence` nor `producer` and `producerSequence` are numbered
/// under --producer.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echo '{\"type\":\"EVENT_TYPE_HEARTBEAT\"}' | jimbot-mcp publish
  jimbot-mcp tail --from-start --until-idle 1 | jimbot-mcp publish --bus http://archive:50051")]
pub(super) struct Publish {
    /// URL of the bus
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    bus: String,

    /// Name under which events without an identity are numbered
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,

    /// Send the bearer token in this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Publish {
    pub(super) fn run(self) -> ExitCode {
        let options = match bus::client::Options::new(self.bus, self.token_file.as_deref()) {
            Ok(options) => options,
            Err(reason) => return super::fail(reason, 2),
        };
        let published = bus::client::publish_lines(&options, self.producer, io::stdin().lock());
        match published {
            Ok(done) => super::answer(format!("{done}\n").as_bytes()),
            Err(error) => super::fail(error, 1),
        }
    }
}
