//! What a run gave, as text for people and JSON for programs.

use serde::Serialize;

use crate::process::{Machine, Snapshot};
use crate::run::Outcome;

/// Latencies from the intended send time, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    count: u64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    mean_us: f64,
    /// The histogram: upper ends of the buckets in nanoseconds, and their counts.
    histogram_ns: Vec<(u64, u64)>,
}

/// What the run cost the service.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// All threads, microseconds of CPU an event.
    cpu_us_per_event: f64,
    /// Share of one core that all threads used.
    cores: f64,
    /// CPU a thread, microseconds an event, by the thread's name.
    threads_us_per_event: std::collections::BTreeMap<String, f64>,
    /// The counters themselves.
    process: Snapshot,
}

/// A whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    workload: String,
    wire: String,
    connections: usize,
    rate_events_per_second: Option<f64>,
    client: &'static str,
    seconds: f64,
    events: u64,
    bodies: u64,
    events_sent: u64,
    refused: u64,
    bytes: u64,
    events_per_second: f64,
    backlog_max: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Cost>,
    machine: Machine,
}

/// What the caller knows of the run.
pub struct Setting {
    /// Name of the workload.
    pub workload: String,
    /// Name of the wire.
    pub wire: String,
    /// Connections.
    pub connections: usize,
    /// Events a second that were asked for.
    pub rate: Option<f64>,
    /// Whether the client spun.
    pub spin: bool,
}

impl Report {
    /// Puts the outcome and the service's counters together.
    pub fn new(setting: Setting, outcome: &Outcome, service: Option<Snapshot>) -> Self {
        let us = |ns: u64| ns as f64 / 1e3;
        let histogram = &outcome.latency_ns;
        let latency = (!histogram.is_empty()).then(|| Latency {
            count: histogram.len(),
            p50_us: us(histogram.value_at_quantile(0.5)),
            p90_us: us(histogram.value_at_quantile(0.9)),
            p99_us: us(histogram.value_at_quantile(0.99)),
            p999_us: us(histogram.value_at_quantile(0.999)),
            max_us: us(histogram.max()),
            mean_us: histogram.mean() / 1e3,
            histogram_ns: histogram
                .iter_recorded()
                .map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration()))
                .collect(),
        });
        let per_event = |cpu_ns: u64| cpu_ns as f64 / 1e3 / (outcome.events.max(1) as f64);
        let service = service.map(|process| Cost {
            cpu_us_per_event: per_event(process.cpu_ns()),
            cores: process.cpu_ns() as f64 / 1e9 / outcome.seconds,
            threads_us_per_event: process
                .threads
                .iter()
                .map(|(name, thread)| (name.clone(), per_event(thread.cpu_ns)))
                .collect(),
            process,
        });
        Self {
            workload: setting.workload,
            wire: setting.wire,
            connections: setting.connections,
            rate_events_per_second: setting.rate,
            client: if setting.spin { "spinning" } else { "sleeping" },
            seconds: outcome.seconds,
            events: outcome.events,
            bodies: outcome.bodies,
            events_sent: outcome.events_sent,
            refused: outcome.refused,
            bytes: outcome.bytes,
            events_per_second: outcome.events as f64 / outcome.seconds,
            backlog_max: outcome.backlog_max,
            latency,
            service,
            machine: Machine::describe(),
        }
    }

    /// The report for a person.
    pub fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "{} over {}, {} connections, {} client, {:.1} s\n  {:>12.0} events/s   {} events in {} bodies, {} refused\n",
            self.workload,
            self.wire,
            self.connections,
            self.client,
            self.seconds,
            self.events_per_second,
            self.events,
            self.bodies,
            self.refused,
        );
        if let Some(latency) = &self.latency {
            let _ = writeln!(
                text,
                "  answer after p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, max {:.1} µs",
                latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us
            );
        }
        if let Some(cost) = &self.service {
            let _ = writeln!(
                text,
                "  service: {:.3} µs of CPU an event, {:.2} cores, {:.1} MB resident ({:.1} of it shared)",
                cost.cpu_us_per_event,
                cost.cores,
                cost.process.resident_bytes as f64 / 1e6,
                cost.process.resident_shared_bytes as f64 / 1e6,
            );
            for (name, us) in &cost.threads_us_per_event {
                let _ = writeln!(text, "    {name:<16} {us:.3} µs an event");
            }
        }
        if self.rate_events_per_second.is_some() && self.backlog_max > self.connections {
            let _ = writeln!(
                text,
                "  the rate was not kept: up to {} bodies waited for a connection",
                self.backlog_max
            );
        }
        text
    }
}
