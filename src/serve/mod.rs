//! `jimbot-mcp serve`: puts log, service, listeners and helper threads together and runs the loop.
//!
//! | file | what |
//! |---|---|
//! | `shm_log` | the shared-memory log behind the core's interface |
//! | `settings` | the configuration in the core's terms |
//! | `cpus` | the hot thread's CPU, which the other threads keep off |
//! | `memory` | huge pages for the core's largest table |
//! | `beyond` | the Event Bus and the forwarder, where the configuration asks for them |
//! | `endpoints` | `endpoints.json`, for programs that look the service up |
//! | `hints` | what people are told when no game comes |
//! | `port_holder` | who has the port |

mod beyond;
mod cpus;
pub mod endpoints;
mod hints;
mod memory;
mod port_holder;
mod settings;
pub mod shm_log;

use std::io;
use std::path::Path;
use std::time::Duration;

use jimbot_core::log::EventLog;
use jimbot_core::repeats::Repeats;
use jimbot_core::service::Service;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{ListenAddress, ServeConfig};
use crate::reactor::{self, Ended, Listener, Reactor, ReactorOptions};
use beyond::Beyond;
use cpus::Cpus;
use endpoints::Endpoints;
use hints::Hints;
use port_holder::port_holder;
use shm_log::ShmLog;

/// Why the service could not start or go on. Its text says what to do.
#[derive(Debug)]
pub struct ServeError(String);

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServeError {}

fn failed(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> ServeError {
    move |error| ServeError(format!("{what}: {error}"))
}

/// How long the last log lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Descriptors beside those of connections: log, listeners, helper threads, standard streams.
const OTHER_DESCRIPTORS: u64 = 128;

/// Runs the service until a signal ends it.
///
/// # Errors
/// When it can't start (the text names the setting and the remedy), or the poll fails.
pub fn run(config: &ServeConfig) -> Result<(), ServeError> {
    let cpus = Cpus::split(config.cpu)?;
    let logging = cpus.beside(|| crate::logging::install(config.log_level, config.log_format))?;
    cpus.tell();
    let ended = serve(config, &cpus);
    logging.flush(LAST_LINES);
    ended
}

fn serve(config: &ServeConfig, cpus: &Cpus) -> Result<(), ServeError> {
    allow_descriptors(config.max_connections as u64 + OTHER_DESCRIPTORS);
    let listeners = bind(config)?;
    let bound: Vec<ListenAddress> =
        listeners.iter().map(|listener| listener.bound().clone()).collect();

    // What can't be read must not leave a log behind.
    let settings = settings::service(config, &bound)?;
    let log = open_log(config)?;
    let service = match memory::huge(Repeats::words(settings.repeats_events)) {
        Some(memory) => Service::with_memory(settings, log, memory, reactor::now()),
        None => Service::new(settings, log, reactor::now()),
    };

    let mut beyond = cpus.beside(|| Beyond::start(config))??;

    let shown: Vec<String> = bound.iter().map(ToString::to_string).collect();
    let endpoints = Endpoints {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen: shown.clone(),
        bus: beyond.as_ref().and_then(Beyond::url),
    };
    let _published = endpoints
        .publish(&config.shm_dir)
        .map_err(failed(format_args!("{} can't be written", config.shm_dir.display())))?;
    for address in &shown {
        println!("listening on {address}");
    }
    if let Some(url) = &endpoints.bus {
        println!("event bus at {url}");
    }

    let options = ReactorOptions {
        busy_poll: config.busy_poll,
        drain_deadline_ns: config.drain_seconds.saturating_mul(1_000_000_000),
    };
    let mut notices = Vec::new();
    let mut hints = Hints::new(&bound, reactor::now());
    let mut reactor = Reactor::new(listeners, service, options)
        .map_err(failed("the event loop can't be set up"))?;
    let status = format!("listening on {}", shown.join(", "));
    let ended = reactor
        .run(&status, |now, service| {
            service.take_notices(&mut notices);
            for notice in notices.drain(..) {
                log::info!("{notice}");
            }
            // A log line is one line, so that no text can pretend to be another.
            for line in hints.look(now, service).iter().flat_map(|text| text.lines()) {
                log::info!("{line}");
            }
            if let Some(beyond) = &mut beyond {
                beyond.look(now, service);
            }
        })
        .map_err(failed("the event loop failed"))?;
    if let Some(beyond) = beyond {
        beyond.stop(Duration::from_secs(config.drain_seconds));
    }
    match ended {
        Ended::Drained => log::info!("stopped: everything received is stored and answered"),
        Ended::CutShort => {
            log::warn!("stopped before all connections were done; everything stored is committed");
        }
    }
    Ok(())
}

/// Raises the limit on descriptors as far as the system lets us, so that the cap on connections is
/// ours and not an accident of the shell.
fn allow_descriptors(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return;
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit { current: Some(wanted.min(most)), maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() || most < wanted {
        log::warn!(
            "this process may open {} descriptors, {wanted} are needed for all connections; raise \
             it with `ulimit -n` or LimitNOFILE=",
            most.min(wanted)
        );
    }
}

fn bind(config: &ServeConfig) -> Result<Vec<Listener>, ServeError> {
    config
        .listen
        .iter()
        .map(|address| {
            Listener::bind(address, config.backlog)
                .map_err(|error| ServeError(cannot_listen(address, &error)))
        })
        .collect()
}

fn cannot_listen(address: &ListenAddress, error: &io::Error) -> String {
    let tcp = match address {
        ListenAddress::Unix(_) => {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => "make its directory",
                _ => "free the path",
            };
            return format!(
                "can't listen on {address}: {error}; {remedy}, or choose another with --listen"
            );
        }
        ListenAddress::Tcp(tcp) => *tcp,
    };
    let holder = match error.kind() {
        io::ErrorKind::AddrInUse => port_holder(tcp),
        _ => None,
    };
    let holder = holder.map_or_else(String::new, |holder| format!(": it is held by {holder}"));
    format!(
        "can't listen on {address}: {error}{holder}; stop what holds it, or choose other addresses \
         with --listen (the mod in the field reaches only port 8080)"
    )
}

fn open_log(config: &ServeConfig) -> Result<ShmLog, ServeError> {
    let now = reactor::now();
    let options = settings::log(config, now).map_err(failed("no random bytes can be had"))?;
    let log =
        ShmLog::open(&config.shm_dir, &options).map_err(|error| ServeError(error.to_string()))?;
    tell_about(&log, &config.shm_dir);
    Ok(log)
}

/// The events a second by which the log's size is explained.
const EXAMPLE_RATE: f64 = 1000.0;
/// Bytes that a typical event of play takes in the log, with its index entry.
const EXAMPLE_EVENT_BYTES: f64 = 700.0;

fn tell_about(log: &ShmLog, directory: &Path) {
    let writer = log.writer();
    let capacity = writer.capacity() as f64;
    log::info!(
        "log {} of {:.0} MiB holds about {:.0} s at {EXAMPLE_RATE:.0} events/s of play; epoch \
         {:016x}, generation {}, next sequence {}",
        directory.display(),
        capacity / f64::from(1 << 20),
        capacity / EXAMPLE_RATE / EXAMPLE_EVENT_BYTES,
        log.epoch(),
        log.generation(),
        log.next_sequence(),
    );
    let recovered = writer.recovered();
    if let Some(name) = &recovered.put_aside {
        log::warn!("a log that could not be read was put aside as {name}");
    }
    if recovered.rotated {
        log::info!("the log before was sealed; readers finish it and follow");
    }
    if recovered.damaged > 0 {
        log::warn!(
            "{} events of the open batch were damaged by a fault outside the program and are lost",
            recovered.damaged
        );
    }
    if recovered.events > 0 {
        log::info!(
            "recovered {} events that the service before had acknowledged and not yet committed",
            recovered.events
        );
    }
}
