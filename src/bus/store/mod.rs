//! Where the bus keeps events: one trait, its backends, and what all of them promise.
//!
//! The promises, which `tests/bus/conformance.rs` holds every backend to: events are stored in the order of their
//! appends; an event that is stored already (same publisher, same number) is counted and not stored again, however long
//! ago that was; a store that is opened again after its process was killed has all that it acknowledged; reading starts at
//! any position and tells exactly what retention took; a durable's place survives with the events.

mod embedded;
mod jetstream;
mod memory;
mod state;
mod tail;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use jimbot_core::time::Now;
use jimbot_proto::events::v1::{AckLevel, GapReason};
use tokio::sync::{oneshot, watch};

pub use embedded::{Embedded, EmbeddedOptions};
pub use jetstream::{JetStream, JetStreamOptions};
pub use memory::Memory;

use super::metrics::Flushes;
use super::publishers::Publisher;
use super::topic::Pattern;
pub use crate::journal::Retention;

/// Reads both clocks.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The host's clocks.
pub fn system_clock() -> Clock {
    let start = std::time::Instant::now();
    Arc::new(move || Now {
        mono_ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
        unix_ns: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)),
    })
}

/// Consecutive events of one publisher, numbered without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Who numbered them.
    pub publisher: Publisher,
    /// Number of the first.
    pub first: u64,
    /// Events.
    pub count: u32,
    /// Where they stand in the payload, as elements of an `EventBatch`.
    pub bytes: Range<usize>,
}

impl Span {
    /// Number of the last event.
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }
}

/// Events to be stored.
#[derive(Clone, Debug)]
pub struct Append {
    /// Holds them as elements of an `EventBatch`.
    pub payload: Bytes,
    /// What of the payload is to be stored, in order.
    pub spans: Vec<Span>,
    /// Topic of all of them, when it is not the one of their types.
    pub topic: Option<Arc<str>>,
    /// What the acknowledgement has to mean at least.
    pub level: AckLevel,
    /// Shared by the appends of one publisher's stream: after one of them failed, later ones fail too, so that nothing
    /// newer is stored before what is missing.
    pub chain: Option<Arc<AtomicBool>>,
}

impl Append {
    /// Fails when an earlier append of the chain has failed.
    pub(super) fn check_chain(&self) -> Result<(), StoreError> {
        match &self.chain {
            Some(broken) if broken.load(Ordering::Acquire) => Err(StoreError::Unavailable(
                "an earlier batch of the stream was not stored".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Makes later appends of the chain fail.
    pub(super) fn break_chain(&self) {
        if let Some(broken) = &self.chain {
            broken.store(true, Ordering::Release);
        }
    }
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// What is certain now.
    pub level: AckLevel,
    /// Events stored by this append.
    pub stored: u32,
    /// Events that were stored before.
    pub duplicates: u32,
    /// Positions of the first and the last event stored, when there is one.
    pub positions: Option<(u64, u64)>,
}

/// Stored events that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Position of the first; each following event has the next position.
    pub first: u64,
    /// Events.
    pub count: u32,
    /// When they were stored, in nanoseconds since 1970.
    pub time_unix_ns: u64,
    /// Topic of all of them, when it is not the one of their types.
    pub topic: Option<Arc<str>>,
    /// The events, as elements of an `EventBatch`.
    pub elements: Bytes,
}

impl Run {
    /// Position after the last event.
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// Events that can't be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// First position.
    pub first: u64,
    /// Position after the last one.
    pub next: u64,
    /// Why.
    pub reason: GapReason,
}

/// What a read found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Events in order; the first run may start before the position asked for. Empty at the end.
    pub runs: Vec<Run>,
    /// Events before them that were asked for and are gone.
    pub lost: Option<Lost>,
    /// Position to go on from.
    pub next: u64,
    /// The events lie in the store's own memory, so that holding them costs little.
    pub shared: bool,
}

/// Where a durable subscription stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Position of the first event that was never delivered.
    pub next: u64,
    /// Events before it that were delivered and not acknowledged, with the times they were delivered, by position.
    pub unacked: Vec<(u64, u32)>,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Position of the oldest event, or of the next one when there is none.
    pub earliest: u64,
    /// Position that the next event gets.
    pub next: u64,
    /// Bytes of it all, as far as the store knows.
    pub bytes: u64,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There is no room; nothing else is wrong, and room may come.
    Full(String),
    /// It can't be reached, or has to be started again.
    Unavailable(String),
    /// It does not offer that level of acknowledgement.
    Level {
        /// What was asked for.
        wanted: AckLevel,
        /// The highest it offers.
        offered: AckLevel,
    },
    /// A limit of the store.
    Limit(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full(reason) => write!(f, "the store is full: {reason}"),
            StoreError::Unavailable(reason) => write!(f, "the store is not available: {reason}"),
            StoreError::Level { wanted, offered } => write!(
                f,
                "the store acknowledges up to {}, not {}; ask for less, or use a store that replicates or flushes",
                offered.as_str_name(),
                wanted.as_str_name()
            ),
            StoreError::Limit(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for StoreError {}

/// Events that have their place in a store's order.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Result<Appended, StoreError>>);

impl Submitted {
    /// Waits until the level asked for is reached.
    ///
    /// # Errors
    /// What kept them from being stored.
    pub async fn stored(self) -> Result<Appended, StoreError> {
        self.0.await.map_err(|_| StoreError::Unavailable("it is closing".to_owned()))?
    }

    /// Events that are stored already.
    pub(super) fn done(appended: Appended) -> Submitted {
        let (reply, answer) = oneshot::channel();
        // The other end is in hand.
        reply.send(Ok(appended)).ok();
        Submitted(answer)
    }
}

/// A place for events.
#[tonic::async_trait]
pub trait Store: Send + Sync + 'static {
    /// What kind of store it is, for people.
    fn describe(&self) -> String;

    /// The highest level of acknowledgement it offers, and the one it gives when none is asked for.
    fn levels(&self) -> (AckLevel, AckLevel);

    /// Stores events, and returns when the level asked for is reached. Events that are stored already are left out.
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.submit(append).await?.stored().await
    }

    /// Begins to store events, behind everything that was submitted before. Returns as soon as they have their place:
    /// who submits one after the other has them stored in that order, however many are under way.
    async fn submit(&self, append: Append) -> Result<Submitted, StoreError>;

    /// A reading end of its own. `wanted` is a hint: a store may leave out runs whose topics none of it selects, where
    /// that is cheaper than handing them over; an empty list wants all.
    fn reader(&self, wanted: &[Pattern]) -> Box<dyn StoreReader>;

    /// What is there.
    fn extent(&self) -> Extent;

    /// The position that the next event gets, as it grows.
    fn watch(&self) -> watch::Receiver<u64>;

    /// Position of the first event stored at this time (nanoseconds since 1970) or later.
    async fn position_at(&self, time_unix_ns: u64) -> Result<u64, StoreError>;

    /// The number up to which a publisher's events are stored without a gap, counted from the first one stored.
    async fn last_sequence(&self, publisher: &Publisher) -> Result<Option<u64>, StoreError>;

    /// Where a durable stands.
    async fn cursor(&self, name: &str) -> Result<Option<Cursor>, StoreError>;

    /// Notes where a durable stands, or forgets it.
    async fn set_cursor(&self, name: &str, cursor: Option<Cursor>) -> Result<(), StoreError>;

    /// Where all durables stand.
    async fn cursors(&self) -> Result<Vec<(String, Cursor)>, StoreError>;

    /// How long flushing takes, where the store itself flushes.
    fn flushes(&self) -> Option<&Flushes> {
        None
    }

    /// Flushes what can be flushed and ends the store's threads and connections.
    async fn close(&self);
}

/// Reads a store from any position.
#[tonic::async_trait]
pub trait StoreReader: Send {
    /// Whole runs of events from `from` on, of together about `max_bytes`. Does not wait for events to come.
    async fn read(&mut self, from: u64, max_bytes: usize) -> Result<Page, StoreError>;
}

/// What was new in an append, and what of the publishers' numbers was taken for it.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Bytes to store, slices of the payload in order.
    pub(super) pieces: Vec<Bytes>,
    /// Events in them.
    pub(super) stored: u32,
    /// Events that were there before.
    pub(super) duplicates: u32,
    taken: Vec<(Publisher, u64, u64)>,
}

impl Fresh {
    /// Sorts out what is stored already, and takes the numbers of the rest.
    pub(super) fn take(append: &Append, publishers: &mut super::publishers::Publishers) -> Fresh {
        let mut fresh = Fresh::default();
        for span in &append.spans {
            let numbers = publishers.get(&span.publisher);
            if numbers.is_none_or(|numbers| numbers.is_free(span.first, span.last())) {
                fresh.add(append.payload.slice(span.bytes.clone()), span.count);
                fresh.note(publishers, &span.publisher, span.first, span.last());
                continue;
            }
            // Some of the span is there: look at each event.
            let base = span.bytes.start;
            let elements = super::scan::elements(&append.payload[span.bytes.clone()]);
            for (number, element) in (span.first..).zip(elements.flatten()) {
                let known = publishers.get(&span.publisher);
                if known.is_some_and(|numbers| numbers.contains(number)) {
                    fresh.duplicates += 1;
                    continue;
                }
                let bytes = base + element.span.start..base + element.span.end;
                fresh.add(append.payload.slice(bytes), 1);
                fresh.note(publishers, &span.publisher, number, number);
            }
        }
        fresh
    }

    fn add(&mut self, piece: Bytes, count: u32) {
        self.pieces.push(piece);
        self.stored += count;
    }

    fn note(
        &mut self,
        publishers: &mut super::publishers::Publishers,
        publisher: &Publisher,
        first: u64,
        last: u64,
    ) {
        publishers.insert(publisher, first, last);
        self.taken.push((publisher.clone(), first, last));
    }

    /// Gives the numbers back: the events could not be stored.
    pub(super) fn give_back(&self, publishers: &mut super::publishers::Publishers) {
        for (publisher, first, last) in &self.taken {
            publishers.remove(publisher, *first, *last);
        }
    }

    /// The pieces as one.
    pub(super) fn joined(&self) -> Bytes {
        match self.pieces.as_slice() {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}
