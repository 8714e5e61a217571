//! Batches that leave this host: the Event Bus in this process, or the way to another one.
//!
//! Both run on threads of their own beside the reactor and are its readers, not its partners: the
//! forwarder reads the log like everybody else, and what it tells (metrics, readiness) is looked
//! at once a second.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jimbot_core::log::EventLog;
use jimbot_core::metrics::names;
use jimbot_core::service::Service;
use jimbot_core::time::Now;

use super::ServeError;
use crate::bus::access::Token;
use crate::config::{Bus, ServeConfig};
use crate::{bus, forwarder};

/// How often the forwarder's figures are looked at.
const LOOK_EVERY_NS: u64 = 1_000_000_000;
/// How often it is said that the spill is full.
const SAY_EVERY_NS: u64 = 60_000_000_000;

/// What runs beside the reactor to carry events further.
pub(super) struct Beyond {
    forwarder: forwarder::Handle,
    /// Ends after the forwarder, which delivers to it until the end.
    bus: Option<bus::Handle>,
    next_look_mono_ns: u64,
    next_word_mono_ns: u64,
}

impl Beyond {
    /// Starts what the configuration asks for. The log exists by now, its reader is the forwarder.
    pub(super) fn start(config: &ServeConfig) -> Result<Option<Self>, ServeError> {
        let failed = |error: &dyn std::fmt::Display| ServeError(error.to_string());
        let token = config.bus_token_file.as_deref().map(read_token).transpose()?;
        let (bus, url) = match &config.bus {
            Bus::None => return Ok(None),
            Bus::Embedded => {
                let embedded = bus::Config::embedded(bus::server::default_dir());
                let handle = bus::start(bus::Config { token: token.clone(), ..embedded })
                    .map_err(|error| failed(&error))?;
                let url = handle.url();
                (Some(handle), url)
            }
            Bus::Url(url) => (None, url.clone()),
        };
        let settings = forwarder::Config {
            token,
            ..forwarder::Config::new(&config.shm_dir, url, spill_dir())
        };
        let forwarder = forwarder::start(settings).map_err(|error| failed(&error))?;
        Ok(Some(Self { forwarder, bus, next_look_mono_ns: 0, next_word_mono_ns: 0 }))
    }

    /// The bus's URL, when it runs in this process.
    pub(super) fn url(&self) -> Option<String> {
        self.bus.as_ref().map(bus::Handle::url)
    }

    /// Called once a turn; costs a comparison until a second has passed.
    pub(super) fn look<L: EventLog>(&mut self, now: Now, service: &mut Service<L>) {
        if now.mono_ns < self.next_look_mono_ns {
            return;
        }
        self.next_look_mono_ns = now.mono_ns + LOOK_EVERY_NS;
        let status = self.forwarder.status().snapshot();
        let cells = service.log().counters();
        for (metric, value) in [
            (names::FORWARDER_PUBLISHED, status.published),
            (names::FORWARDER_REJECTED, status.rejected),
            (names::FORWARDER_FAILURES, status.failures),
            (names::FORWARDER_BREAKER_OPENED, status.breaker_opened),
            (names::FORWARDER_SPILLED, status.spilled),
            (names::FORWARDER_SPILL_EVENTS, status.spill_events),
            (names::FORWARDER_SPILL_BYTES, status.spill_bytes),
            (names::FORWARDER_LAG_EVENTS, status.lag_events),
            (names::FORWARDER_CONNECTED, u64::from(status.connected)),
        ] {
            metric.set(cells, 0, value);
        }
        if let Some(figures) = self.bus.as_ref().and_then(bus::Handle::figures) {
            // The rest, durables above all, is at the bus's own `/metrics`.
            for (metric, value) in [
                (names::BUS_STORED, figures.stored),
                (names::BUS_DUPLICATES, figures.duplicates),
                (names::BUS_DELIVERED, figures.delivered),
                (names::BUS_SUBSCRIPTIONS, figures.subscriptions),
                (names::BUS_STORE_BYTES, figures.store_bytes),
            ] {
                metric.set(cells, 0, value);
            }
        }
        service.set_spill_full(status.spill_full);
        if status.spill_full && now.mono_ns >= self.next_word_mono_ns {
            self.next_word_mono_ns = now.mono_ns + SAY_EVERY_NS;
            log::warn!(
                "the bus can't be reached and the spill is full ({} events, {} bytes): events \
                 stay in the log, and games are held back when that is full too; last error: {}",
                status.spill_events,
                status.spill_bytes,
                status.last_error.as_deref().unwrap_or("none"),
            );
        }
    }

    /// Ends both. What is in the log by now is delivered when that takes no longer than
    /// `patience`, and spilled to disk otherwise.
    pub(super) fn stop(self, patience: Duration) {
        self.forwarder.stop(patience);
        if let Some(bus) = self.bus {
            bus.stop();
        }
    }
}

fn read_token(path: &Path) -> Result<Token, ServeError> {
    let bad = |reason: String| ServeError(format!("bus_token_file {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    Token::new(&text).map_err(bad)
}

/// Where the forwarder keeps what it can't deliver: beside the bus's own directory, on disk.
fn spill_dir() -> PathBuf {
    bus::server::default_dir().with_file_name("spill")
}
