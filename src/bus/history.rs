//! Reading what is stored, for gRPC and HTTP alike.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Bus;
use super::cut::{Bounds, Cut, Cutter};
use super::filter::Filter;
use super::store::{StoreError, StoreReader};

/// Events of one look into the past when none are asked for.
pub const LIMIT_DEFAULT: u64 = 1_000;
/// Events of one look into the past at most; `next_cursor` goes on from there.
pub const LIMIT_MAX: u64 = 1_000_000;
const BOUNDS: Bounds = Bounds { events: 1024, bytes: 1 << 20 };

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) filter: Filter,
    /// Nanoseconds since 1970.
    pub(super) from_ns: Option<u64>,
    pub(super) to_ns: Option<u64>,
    pub(super) limit: u64,
    pub(super) cursor: Option<Cursor>,
}

/// Where the rest of a look into the past lies. It keeps the end that was found at first: on a busy bus a look that
/// found a new end with every page would never come to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    next: u64,
    end: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.next, self.end)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = |(next, end): (&str, &str)| {
            Some(Cursor { next: next.parse().ok()?, end: end.parse().ok()? })
        };
        text.split_once('-').and_then(read).ok_or("cursor: give back `next_cursor` as it came")
    }
}

/// Walks through the past.
pub(super) struct Past {
    reader: Box<dyn StoreReader>,
    filter: Filter,
    cutter: Cutter,
    next: u64,
    end: u64,
    left: u64,
}

impl Past {
    /// Finds where the past begins and ends; what is stored from now on is no part of it.
    pub(super) async fn new(bus: &Arc<Bus>, query: Query) -> Result<Past, StoreError> {
        let extent = bus.store.extent();
        let from = match (query.cursor, query.from_ns) {
            (Some(cursor), _) => cursor.next,
            (None, Some(time)) => bus.store.position_at(time).await?,
            (None, None) => extent.earliest,
        };
        let end = match (query.cursor, query.to_ns) {
            (Some(cursor), _) => cursor.end,
            (None, Some(time)) => bus.store.position_at(time).await?,
            (None, None) => extent.next,
        };
        let limit = if query.limit == 0 { LIMIT_DEFAULT } else { query.limit.min(LIMIT_MAX) };
        Ok(Past {
            reader: bus.store.reader(&query.filter.topics()),
            filter: query.filter,
            cutter: Cutter::default(),
            next: from.max(extent.earliest),
            end: end.min(extent.next),
            left: limit,
        })
    }

    /// The next events; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Cut>, StoreError> {
        loop {
            if self.left == 0 || self.next >= self.end {
                return Ok(None);
            }
            if self.cutter.is_empty() {
                let page = self.reader.read(self.next, BOUNDS.bytes).await?;
                if page.runs.is_empty() {
                    if page.next <= self.next {
                        return Ok(None);
                    }
                    self.next = page.next;
                    continue;
                }
                let from = page.lost.map_or(self.next, |lost| lost.next);
                self.cutter.feed(page.runs, from);
            }
            let events = usize::try_from(self.left).unwrap_or(usize::MAX).min(BOUNDS.events);
            let mut cut = self.cutter.cut(&self.filter, Bounds { events, ..BOUNDS });
            self.next = self.cutter.position();
            let within = cut.positions.partition_point(|position| *position < self.end);
            if within < cut.positions.len() {
                cut.positions.truncate(within);
                let bytes = super::scan::elements(&cut.batch).flatten().take(within).last();
                let bytes = bytes.map_or(0, |element| element.span.end);
                cut.batch.truncate(bytes);
                self.next = self.end;
            }
            self.left -= cut.positions.len() as u64;
            if !cut.positions.is_empty() {
                return Ok(Some(cut));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Where to go on; empty when nothing is left.
    pub(super) fn cursor(&self) -> String {
        if self.next >= self.end {
            return String::new();
        }
        Cursor { next: self.next, end: self.end }.to_string()
    }
}
