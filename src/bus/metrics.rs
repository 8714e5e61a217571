//! What the bus has done and how it stands, in Prometheus' text format.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jimbot_proto::events::v1::{GapReason, RejectReason, Rejection};

use super::store::{Appended, Cursor, Extent};

/// Upper bounds of the buckets for flushes, in microseconds.
const FLUSH_BOUNDS_US: [u64; 10] =
    [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000];
/// Most numbers of a schema's enumeration that are counted apart.
const REASONS: usize = 8;

/// Counts that only grow. One bus has one of these; every thread may write.
#[derive(Debug, Default)]
pub struct Counters {
    stored: AtomicU64,
    duplicates: AtomicU64,
    rejected: [AtomicU64; REASONS],
    failures: AtomicU64,
    delivered: AtomicU64,
    redelivered: AtomicU64,
    dead_lettered: AtomicU64,
    missed: [AtomicU64; REASONS],
    cursor_failures: AtomicU64,
}

fn add(cell: &AtomicU64, amount: usize) {
    cell.fetch_add(amount as u64, Ordering::Relaxed);
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

/// The cell of an enumeration's number; numbers that this version does not know share the first.
fn cell_of(cells: &[AtomicU64; REASONS], number: i32) -> &AtomicU64 {
    usize::try_from(number).ok().and_then(|at| cells.get(at)).unwrap_or(&cells[0])
}

impl Counters {
    pub(super) fn published(&self, appended: &Appended, rejections: &[Rejection]) {
        add(&self.stored, appended.stored as usize);
        add(&self.duplicates, appended.duplicates as usize);
        self.rejected(rejections);
    }

    pub(super) fn rejected(&self, rejections: &[Rejection]) {
        for rejection in rejections {
            add(cell_of(&self.rejected, rejection.reason), 1);
        }
    }

    pub(super) fn failed(&self) {
        add(&self.failures, 1);
    }

    pub(super) fn delivered(&self, events: usize) {
        add(&self.delivered, events);
    }

    pub(super) fn redelivered(&self, events: usize) {
        add(&self.redelivered, events);
    }

    pub(super) fn dead_lettered(&self, events: usize) {
        add(&self.dead_lettered, events);
    }

    pub(super) fn missed(&self, reason: GapReason, events: u64) {
        cell_of(&self.missed, reason as i32).fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn cursor_failed(&self) {
        add(&self.cursor_failures, 1);
    }
}

/// How long flushes took.
#[derive(Debug, Default)]
pub struct Flushes {
    buckets: [AtomicU64; FLUSH_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
    failures: AtomicU64,
}

impl Flushes {
    /// Notes one that succeeded.
    pub fn took(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        add(&self.buckets[FLUSH_BOUNDS_US.partition_point(|bound| *bound < us)], 1);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Notes one that failed.
    pub fn failed(&self) {
        add(&self.failures, 1);
    }
}

/// How a bus stands, beside its counters.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    pub(super) extent: Extent,
    pub(super) subscriptions: usize,
    pub(super) delivery_bytes: usize,
    pub(super) publishing_bytes: usize,
    pub(super) flushes: Option<&'a Flushes>,
    /// Durables by name, and whether each has a subscriber; `None` when the store can't tell now.
    pub(super) durables: Option<Vec<(String, Cursor, bool)>>,
}

/// The figures that the service shows among its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events stored.
    pub stored: u64,
    /// Events that were stored before.
    pub duplicates: u64,
    /// Events delivered for the first time to a subscriber.
    pub delivered: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Bytes of the store.
    pub store_bytes: u64,
}

impl Counters {
    pub(super) fn figures(&self, extent: Extent, subscriptions: usize) -> Figures {
        Figures {
            stored: read(&self.stored),
            duplicates: read(&self.duplicates),
            delivered: read(&self.delivered),
            subscriptions: subscriptions as u64,
            store_bytes: extent.bytes,
        }
    }

    /// The text of `/metrics`.
    pub(super) fn render(&self, standing: &Standing<'_>) -> String {
        let mut text = Text::default();
        text.counter("events_stored_total", "Events stored.", read(&self.stored));
        text.counter(
            "events_duplicate_total",
            "Events that were stored before and came again.",
            read(&self.duplicates),
        );
        text.head("events_rejected_total", "counter", "Events that were refused, by reason.");
        for (reason, cell) in self.rejected.iter().enumerate().skip(1) {
            if let Ok(reason) = RejectReason::try_from(reason as i32) {
                let name = reason.as_str_name().trim_start_matches("REJECT_REASON_");
                text.labelled("events_rejected_total", "reason", &name.to_lowercase(), read(cell));
            }
        }
        text.counter(
            "publish_failures_total",
            "Publications that the store did not take.",
            read(&self.failures),
        );
        text.counter(
            "events_delivered_total",
            "Events delivered for the first time, once for each subscriber.",
            read(&self.delivered),
        );
        text.counter(
            "events_redelivered_total",
            "Events delivered again because they were not acknowledged.",
            read(&self.redelivered),
        );
        text.counter(
            "events_dead_lettered_total",
            "Events that no attempt could deal with.",
            read(&self.dead_lettered),
        );
        text.head("events_missed_total", "counter", "Events that subscribers were told to miss.");
        for (reason, cell) in self.missed.iter().enumerate().skip(1) {
            if let Ok(reason) = GapReason::try_from(reason as i32) {
                let name = reason.as_str_name().trim_start_matches("GAP_REASON_");
                text.labelled("events_missed_total", "reason", &name.to_lowercase(), read(cell));
            }
        }
        text.counter(
            "cursor_failures_total",
            "Times the place of a durable could not be saved.",
            read(&self.cursor_failures),
        );
        text.gauge("subscriptions", "Subscriptions now.", standing.subscriptions);
        text.gauge(
            "delivery_bytes",
            "Memory of what is on its way to subscribers.",
            standing.delivery_bytes,
        );
        text.gauge(
            "publishing_bytes",
            "Memory of batches that publishers have under way.",
            standing.publishing_bytes,
        );
        let Extent { earliest, next, bytes } = standing.extent;
        text.gauge("store_bytes", "Bytes of the store.", bytes);
        text.gauge("store_events", "Events in the store.", next.saturating_sub(earliest));
        text.gauge("store_next_position", "Position that the next event gets.", next);
        if let Some(durables) = &standing.durables {
            text.durables(durables, next);
        }
        if let Some(flushes) = standing.flushes {
            text.flushes(flushes);
        }
        text.0
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.0,
            "# HELP jimbot_mcp_bus_{name} {help}\n# TYPE jimbot_mcp_bus_{name} {kind}"
        );
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "jimbot_mcp_bus_{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "jimbot_mcp_bus_{name} {value}");
    }

    fn labelled(&mut self, name: &str, label: &str, value: &str, number: u64) {
        let _ = writeln!(self.0, "jimbot_mcp_bus_{name}{{{label}=\"{value}\"}} {number}");
    }

    /// Names of durables are letters, digits, `_` and `-`, and the store bounds their number.
    fn durables(&mut self, durables: &[(String, Cursor, bool)], next: u64) {
        self.head(
            "durable_lag_events",
            "gauge",
            "Events stored that the durable was not given yet.",
        );
        for (name, cursor, _) in durables {
            let lag = next.saturating_sub(cursor.next);
            self.labelled("durable_lag_events", "durable", name, lag);
        }
        self.head("durable_unacked_events", "gauge", "Events given to it and not acknowledged.");
        for (name, cursor, _) in durables {
            self.labelled("durable_unacked_events", "durable", name, cursor.unacked.len() as u64);
        }
        self.head("durable_connected", "gauge", "1 while the durable has a subscriber.");
        for (name, _, held) in durables {
            self.labelled("durable_connected", "durable", name, u64::from(*held));
        }
    }

    fn flushes(&mut self, flushes: &Flushes) {
        self.head("fsync_seconds", "histogram", "How long flushing to the disk took.");
        let mut count = 0;
        for (bound, cell) in FLUSH_BOUNDS_US.iter().zip(&flushes.buckets) {
            count += read(cell);
            let bound = (*bound as f64 / 1e6).to_string();
            self.labelled("fsync_seconds_bucket", "le", &bound, count);
        }
        count += read(&flushes.buckets[FLUSH_BOUNDS_US.len()]);
        self.labelled("fsync_seconds_bucket", "le", "+Inf", count);
        let sum = read(&flushes.sum_us) as f64 / 1e6;
        let _ = write!(
            self.0,
            "jimbot_mcp_bus_fsync_seconds_sum {sum}\njimbot_mcp_bus_fsync_seconds_count {count}\n"
        );
        self.counter("fsync_failures_total", "Flushes that failed.", read(&flushes.failures));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_described_once_and_buckets_grow() {
        let counters = Counters::default();
        counters.missed(GapReason::Retention, 7);
        counters.rejected(&[Rejection { reason: 99, ..Rejection::default() }]);
        let flushes = Flushes::default();
        flushes.took(Duration::from_micros(250));
        flushes.took(Duration::from_secs(9));
        let cursor = Cursor { next: 4, unacked: vec![(3, 1)] };
        let text = counters.render(&Standing {
            extent: Extent { earliest: 2, next: 10, bytes: 500 },
            subscriptions: 3,
            delivery_bytes: 0,
            publishing_bytes: 0,
            flushes: Some(&flushes),
            durables: Some(vec![("trainer".to_owned(), cursor, true)]),
        });
        let mut seen = std::collections::BTreeSet::new();
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            assert!(seen.insert(line.split(' ').nth(2)), "{line}");
        }
        for line in [
            "jimbot_mcp_bus_events_missed_total{reason=\"retention\"} 7",
            "jimbot_mcp_bus_durable_lag_events{durable=\"trainer\"} 6",
            "jimbot_mcp_bus_durable_unacked_events{durable=\"trainer\"} 1",
            "jimbot_mcp_bus_store_events 8",
            "jimbot_mcp_bus_fsync_seconds_bucket{le=\"0.0003\"} 1",
            "jimbot_mcp_bus_fsync_seconds_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
