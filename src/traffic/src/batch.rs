//! Packing events into requests, as the mod does.

use crate::clock::Clock;
use crate::game::{Event, whole_seconds_ms};
use crate::number::write_number;

/// How long the mod collects before it sends, in milliseconds.
const COLLECT_MS: f64 = 100.0;

/// One request that a game sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `POST` or `GET`.
    pub method: &'static str,
    /// The path, as in the contract.
    pub path: &'static str,
    /// Headers as the mod sends them; `Host` and `Content-Length` are the HTTP library's.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body; empty for a poll.
    pub body: Vec<u8>,
}

/// The headers of every POST of the mod.
pub fn post_headers() -> &'static [(&'static str, &'static str)] {
    &[("Content-Type", "application/json"), ("User-Agent", "BalatroMCP/1.0")]
}

/// The mod's poll for commands.
pub fn poll_request() -> Request {
    Request {
        method: "GET",
        path: "/api/v1/commands/poll",
        headers: &[("Content-Type", "text/plain")],
        body: Vec::new(),
    }
}

/// The request that carries a connection test: the only one on the single-event path.
pub fn connection_test_request(event: &Event) -> Request {
    Request {
        method: "POST",
        path: "/api/v1/events",
        headers: post_headers(),
        body: event.json.clone(),
    }
}

/// Events in the mod's batch envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The body: one JSON object.
    pub body: Vec<u8>,
    /// The events in it, without their text.
    pub ids: Vec<Option<String>>,
}

impl Batch {
    /// Packs `events` (1 to 50 in the field) under `batch_id`, at `clock`.
    pub fn pack(events: &[Event], batch_id: &str, clock: Clock) -> Batch {
        let text: usize = events.iter().map(|event| event.json.len() + 1).sum();
        let mut body = Vec::with_capacity(text + 128);
        body.extend_from_slice(b"{\"batch_id\":\"");
        body.extend_from_slice(batch_id.as_bytes());
        body.extend_from_slice(b"\",\"source\":\"BalatroMCP\",\"timestamp\":");
        write_number(&mut body, whole_seconds_ms(clock));
        body.extend_from_slice(b",\"events\":[");
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&event.json);
        }
        body.extend_from_slice(b"]}");
        Batch { body, ids: events.iter().map(|event| event.id.clone()).collect() }
    }

    /// The POST that carries the batch.
    pub fn request(self) -> Request {
        Request {
            method: "POST",
            path: "/api/v1/events/batch",
            headers: post_headers(),
            body: self.body,
        }
    }
}

/// Collects the events of one game until the mod would send them.
pub struct Batcher {
    events: Vec<Event>,
    most: usize,
    collecting_since: f64,
    sent: u64,
    name: u64,
}

impl Batcher {
    /// A batcher that sends at most `most` events at once (the mod: 50), with batch ids made
    /// from `seed`.
    pub fn new(most: usize, seed: u64) -> Batcher {
        assert!(most > 0, "a batch holds at least one event");
        Batcher {
            events: Vec::new(),
            most,
            collecting_since: 0.0,
            sent: 0,
            name: fastrand::Rng::with_seed(seed).u64(..),
        }
    }

    /// Adds an event of the moment `clock`.
    pub fn push(&mut self, event: Event, clock: Clock) {
        if self.events.is_empty() {
            self.collecting_since = clock.monotonic_ms;
        }
        self.events.push(event);
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.events.len()
    }

    /// Whether the mod would send now: the batch is full, or 100 ms have passed.
    pub fn due(&self, clock: Clock) -> bool {
        self.events.len() >= self.most
            || !self.events.is_empty() && clock.monotonic_ms - self.collecting_since >= COLLECT_MS
    }

    /// Takes what waits, up to a full batch.
    pub fn take(&mut self, clock: Clock) -> Option<Batch> {
        if self.events.is_empty() {
            return None;
        }
        let count = self.events.len().min(self.most);
        let taken: Vec<Event> = self.events.drain(..count).collect();
        self.collecting_since = clock.monotonic_ms;
        self.sent += 1;
        Some(Batch::pack(&taken, &format!("{:016x}-{}", self.name, self.sent), clock))
    }
}
