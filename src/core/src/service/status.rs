//! How the service is: health, readiness, metrics, readers.

use crate::log::{EventLog, Guarantee, ReaderStatus};
use crate::metrics::{self, names};
use crate::service::Service;
use crate::time::{Now, SECOND};

/// Why the service does not want traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It shuts down.
    Draining,
    /// The log is full.
    LogFull,
    /// The Event Bus is out of reach and the spill on disk is full: the log is next.
    SpillFull,
}

impl<L: EventLog> Service<L> {
    /// Whether the service takes events now.
    ///
    /// # Errors
    /// [`NotReady`] says why not.
    pub fn ready(&self) -> Result<(), NotReady> {
        if self.is_draining {
            Err(NotReady::Draining)
        } else if self.full.is_full() {
            Err(NotReady::LogFull)
        } else if self.is_spill_full {
            Err(NotReady::SpillFull)
        } else {
            Ok(())
        }
    }

    /// What the shell knows of the forwarder's spill.
    pub fn set_spill_full(&mut self, is_full: bool) {
        self.is_spill_full = is_full;
    }

    /// The JSON of the health endpoints.
    pub(super) fn health(&self, now: Now) -> String {
        let status = match self.ready() {
            Ok(()) => "ok",
            Err(NotReady::Draining) => "draining",
            Err(NotReady::LogFull) => "log full",
            Err(NotReady::SpillFull) => "spill full",
        };
        format!(
            "{{\"status\":\"{status}\",\"version\":\"{}\",\"uptime_seconds\":{},\"connections\":{},\
             \"log_epoch\":\"{:016x}\",\"next_sequence\":{}}}\n",
            self.config.version,
            now.mono_ns.saturating_sub(self.started.mono_ns) / SECOND,
            self.conns.len(),
            self.intake.log.epoch(),
            self.intake.log.next_sequence(),
        )
    }

    /// The text of `/metrics`.
    pub(super) fn metrics(&mut self, now: Now) -> String {
        self.update_gauges(now);
        metrics::render(self.intake.log.counters(), self.config.version)
    }

    /// Writes the figures that are looked up rather than counted. The shell calls it once a second too, for those who
    /// watch the cells.
    pub fn update_gauges(&mut self, now: Now) {
        let readers = self.intake.log.readers();
        let cells = self.intake.log.counters();
        let alive = |guarantee| {
            readers.iter().filter(|r| r.alive && !r.detached && r.guarantee == guarantee).count()
        };
        // A dead reliable reader holds the log for as long as its lease lasts; nobody waits for other dead ones.
        let most = |of: fn(&ReaderStatus) -> u64| {
            let counts = |r: &&ReaderStatus| r.holds() || (r.alive && !r.detached);
            readers.iter().filter(counts).map(of).max().unwrap_or(0)
        };
        names::READERS.set(cells, 0, alive(Guarantee::Lossy) as u64);
        names::READERS.set(cells, 1, alive(Guarantee::Reliable) as u64);
        names::READER_LAG_EVENTS.set(cells, 0, most(|r| r.lag_events));
        names::READER_LAG_BYTES.set(cells, 0, most(|r| r.lag_bytes));
        names::READER_LAG_SECONDS.set(cells, 0, most(|r| (r.lag_seconds * SECOND as f64) as u64));
        names::READERS_PINNED_BYTES.set(cells, 0, readers.iter().map(|r| r.pinned_bytes).sum());
        names::QUEUE_EVENTS.set(cells, 0, u64::from(self.intake.log.open_events()));
        names::LOG_SEQUENCE.set(cells, 0, self.intake.log.next_sequence());
        names::LOG_GENERATION.set(cells, 0, self.intake.log.generation());
        names::SESSIONS_KNOWN.set(cells, 0, self.intake.sessions.len() as u64);
        names::SESSIONS_FORGOTTEN.set(cells, 0, self.intake.sessions.forgotten());
        names::REPEATS_EVICTED.set(cells, 0, self.intake.repeats.evicted_young());
        names::REPEATS_GAPS_FORGOTTEN.set(cells, 0, self.intake.repeats.gaps_forgotten());
        let spans = self.intake.converter.span_counts();
        for (label, count) in [spans.hits, spans.partial, spans.misses].into_iter().enumerate() {
            names::SPANS.set(cells, label, count);
        }
        names::SPANS_EVICTED.set(cells, 0, spans.evicted);
        names::SPAN_BYTES.set(cells, 0, self.intake.converter.span_bytes() as u64);
        names::BUFFER_BYTES.set(cells, 0, self.shared.pool.used() as u64);
        names::COMMANDS_WAITING.set(cells, 0, self.mailbox.len() as u64);
        names::CONNECTIONS_OPEN.set(cells, 0, self.conns.len() as u64);
        names::WEBSOCKETS_OPEN.set(cells, 0, self.websockets as u64);
        names::DRAINING.set(cells, 0, u64::from(self.is_draining));
        names::START_TIME.set(cells, 0, self.started.unix_ns);
        for (label, what) in crate::conn::Counted::ALL.into_iter().enumerate() {
            names::CONNECTION_EVENTS.set(cells, label, self.shared.tally.get(what));
        }
        self.full.count_time(cells, now);
        self.saturation.count_time(cells, now);
    }

    /// The JSON of `/api/v1/readers`.
    pub(super) fn readers(&self) -> String {
        let readers: Vec<serde_json::Value> = self
            .intake
            .log
            .readers()
            .into_iter()
            .map(|reader| {
                let pins_too_much = reader.pins_too_much();
                serde_json::json!({
                    "name": reader.name,
                    "guarantee": match reader.guarantee {
                        Guarantee::Lossy => "lossy",
                        Guarantee::Reliable => "reliable",
                    },
                    "alive": reader.alive,
                    "detached": reader.detached,
                    "generation": reader.generation,
                    "pid": reader.pid,
                    "lag": {
                        "events": reader.lag_events,
                        "bytes": reader.lag_bytes,
                        "seconds": reader.lag_seconds,
                    },
                    "missed": reader.missed,
                    "quiet_seconds": reader.quiet_seconds,
                    "pinned_bytes": reader.pinned_bytes,
                    "pinned_seconds": reader.pinned_seconds,
                    "pins_too_much": pins_too_much,
                })
            })
            .collect();
        format!("{}\n", serde_json::json!({ "readers": readers }))
    }
}
