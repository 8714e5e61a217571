//! Time, events and histograms that all parts use.

use std::time::Duration;

use hdrhistogram::Histogram;
use jimbot_proto::events::v1::{Event, EventType, ProducerClock};
use serde::Serialize;

/// Nanoseconds of `CLOCK_MONOTONIC`, which all processes of the host share.
pub(crate) fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let duration = Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32);
    u64::try_from(duration.as_nanos()).expect("uptimes are far below 500 years")
}

/// An event of a producer, of about `bytes` bytes, that carries when it was meant to be sent.
pub(crate) fn event(producer: &str, number: u64, intended_ns: u64, bytes: usize) -> Event {
    Event {
        r#type: EventType::Heartbeat as i32,
        producer: Some(producer.to_owned()),
        producer_sequence: Some(number),
        producer_clock: ProducerClock::MonotonicMs as i32,
        // In a field of eight bytes as nanoseconds: a double of milliseconds would round them.
        receive_time_unix_ns: intended_ns,
        source: Some("jimbot-bus-load".to_owned()),
        correlation_id: Some("x".repeat(bytes.saturating_sub(80))),
        ..Event::default()
    }
}

/// An empty histogram of nanoseconds, three digits exact.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Latencies in microseconds.
#[derive(Serialize)]
pub(crate) struct Latency {
    count: u64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// The histogram: upper ends of the buckets in nanoseconds, and their counts.
    histogram_ns: Vec<(u64, u64)>,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Latency {
        let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        let buckets = histogram.iter_recorded();
        Latency {
            count: histogram.len(),
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: us(1.0),
            histogram_ns: buckets
                .map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration()))
                .collect(),
        }
    }
}

/// Sends at fixed times: calls `send` with number and time of each event that is due, sleeps until the next.
pub(crate) async fn pace(
    rate: f64,
    count: u64,
    mut send: impl AsyncFnMut(u64, u64) -> Result<(), crate::Failure>,
) -> Result<(), crate::Failure> {
    let start_ns = now_ns() + 50_000_000;
    for number in 0..count {
        let due_ns = start_ns + (number as f64 * 1e9 / rate) as u64;
        while let Some(left) = due_ns.checked_sub(now_ns()).filter(|left| *left > 0) {
            // Timers here are a millisecond coarse; what fell due meanwhile goes out together, and counts from its own time.
            tokio::time::sleep(Duration::from_nanos(left)).await;
        }
        send(number, due_ns).await?;
    }
    Ok(())
}
