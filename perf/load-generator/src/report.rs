//! What a run gave, as text for people and JSON for programs.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::process::{Machine, Snapshot};
use crate::run::Outcome;

/// Percentiles that are told one by one; the last that are told are those that single samples make up.
const PERCENTS: [f64; 11] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999, 100.0];

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
    /// The same, cut by percent instead of by buckets.
    percentiles: Vec<Percentile>,
}

/// How many answers came after so long at most.
#[derive(Clone, Copy, Debug, Serialize)]
struct Percentile {
    percent: f64,
    us: f64,
    count: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let us = |ns: u64| ns as f64 / 1e3;
        let count = histogram.len();
        // Beyond, a percentile is the same sample as the last one.
        let is_told =
            |percent: &f64| *percent == 100.0 || count as f64 * (1.0 - percent / 100.0) >= 1.0;
        (count > 0).then(|| Self {
            count,
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
            percentiles: PERCENTS
                .into_iter()
                .filter(is_told)
                .map(|percent| {
                    let value = match percent {
                        0.0 => histogram.min(),
                        _ => histogram.value_at_quantile(percent / 100.0),
                    };
                    Percentile { percent, us: us(value), count: histogram.count_between(0, value) }
                })
                .collect(),
        })
    }
}

/// What the run cost the service.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// All threads, microseconds of CPU an event.
    cpu_us_per_event: f64,
    /// Of it in user mode; unknown when the process used less than one of the kernel's ticks.
    user_us_per_event: Option<f64>,
    /// Of it in the kernel.
    system_us_per_event: Option<f64>,
    /// Share of one core that all threads used.
    cores: f64,
    /// CPU a thread, microseconds an event, by the thread's name.
    threads_us_per_event: std::collections::BTreeMap<String, f64>,
    /// Times that threads waited.
    voluntary_switches: u64,
    /// Times that they lost their CPU.
    involuntary_switches: u64,
    /// The counters themselves.
    process: Snapshot,
}

impl Cost {
    fn of(process: Snapshot, outcome: &Outcome) -> Self {
        let per_event = |cpu_ns: f64| cpu_ns / 1e3 / (outcome.events.max(1) as f64);
        let cpu_ns = process.cpu_ns() as f64;
        let (voluntary_switches, involuntary_switches) = process.switches();
        Self {
            cpu_us_per_event: per_event(cpu_ns),
            user_us_per_event: process.user_share().map(|share| per_event(cpu_ns * share)),
            system_us_per_event: process
                .user_share()
                .map(|share| per_event(cpu_ns * (1.0 - share))),
            cores: cpu_ns / 1e9 / outcome.seconds,
            threads_us_per_event: process
                .threads
                .iter()
                .map(|(name, thread)| (name.clone(), per_event(thread.cpu_ns as f64)))
                .collect(),
            voluntary_switches,
            involuntary_switches,
            process,
        }
    }
}

/// A whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    workload: String,
    wire: String,
    /// Of the bodies; none where they are not made from one.
    seed: Option<u64>,
    connections: usize,
    rate_events_per_second: Option<f64>,
    client: &'static str,
    seconds: f64,
    events: u64,
    bodies: u64,
    events_sent: u64,
    refused: u64,
    unsent: u64,
    unanswered: u64,
    bytes: u64,
    events_per_second: f64,
    bytes_per_second: f64,
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
    /// Seed of its bodies, if they have one.
    pub seed: Option<u64>,
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
        Self {
            workload: setting.workload,
            wire: setting.wire,
            seed: setting.seed,
            connections: setting.connections,
            rate_events_per_second: setting.rate,
            client: if setting.spin { "spinning" } else { "sleeping" },
            seconds: outcome.seconds,
            events: outcome.events,
            bodies: outcome.bodies,
            events_sent: outcome.events_sent,
            refused: outcome.refused,
            unsent: outcome.unsent,
            unanswered: outcome.unanswered,
            bytes: outcome.bytes,
            events_per_second: outcome.events as f64 / outcome.seconds,
            bytes_per_second: outcome.bytes as f64 / outcome.seconds,
            backlog_max: outcome.backlog_max,
            latency: Latency::of(&outcome.latency_ns),
            service: service.map(|process| Cost::of(process, outcome)),
            machine: Machine::describe(),
        }
    }

    /// The report for a person.
    pub fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "{}\n{} over {}, {} connections, {} client, {:.1} s\n  {:>12.0} events/s   {:.2} MB/s   {} events in {} bodies, {} refused\n",
            self.machine.text(),
            self.workload,
            self.wire,
            self.connections,
            self.client,
            self.seconds,
            self.events_per_second,
            self.bytes_per_second / 1e6,
            self.events,
            self.bodies,
            self.refused,
        );
        // Writing to a string does not fail.
        if let Some(cost) = &self.service {
            let _ = write!(text, "  service: {:.3} µs of CPU an event", cost.cpu_us_per_event);
            if let Some((user, system)) = cost.user_us_per_event.zip(cost.system_us_per_event) {
                let _ = write!(text, " ({user:.3} user, {system:.3} system)");
            }
            let _ = writeln!(
                text,
                ", {:.2} cores, {:.1} MB resident ({:.1} of it shared)",
                cost.cores,
                cost.process.resident_bytes as f64 / 1e6,
                cost.process.resident_shared_bytes as f64 / 1e6,
            );
            for (name, us) in &cost.threads_us_per_event {
                let _ = writeln!(text, "    {name:<16} {us:.3} µs an event");
            }
            let _ = writeln!(
                text,
                "    context switches: {} by waiting, {} by losing the CPU; {:.4} an event",
                cost.voluntary_switches,
                cost.involuntary_switches,
                (cost.voluntary_switches + cost.involuntary_switches) as f64
                    / self.events.max(1) as f64,
            );
        }
        if let Some(latency) = &self.latency {
            let _ = writeln!(
                text,
                "  answered after, from the intended send time ({} bodies, mean {:.1} µs):",
                latency.count, latency.mean_us
            );
            for row in &latency.percentiles {
                let Percentile { percent, us, count } = row;
                let _ = writeln!(text, "    {percent:>7} %  {us:>12.1} µs  {count:>10}");
            }
        }
        if self.rate_events_per_second.is_some() && self.backlog_max > self.connections {
            let _ = writeln!(
                text,
                "  the rate was not kept: up to {} bodies waited for a connection",
                self.backlog_max
            );
        }
        for (count, what) in [
            (self.unsent, "were due and never sent, since no connection was free"),
            (self.unanswered, "were sent and not answered"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "  {count} bodies {what}");
            }
        }
        text
    }
}
