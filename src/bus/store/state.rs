//! How what a store remembers beside the events is written: protobuf, so that a later version can add to it.

use super::super::publishers::{Publisher, Publishers};
use super::Cursor as Place;
use std::collections::HashMap;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Snapshot {
    #[prost(message, repeated, tag = "1")]
    publishers: Vec<Numbered>,
    #[prost(message, repeated, tag = "2")]
    cursors: Vec<Cursor>,
    /// Position up to which the publishers' numbers hold, where they are kept apart from the events.
    #[prost(uint64, tag = "3")]
    scanned: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Change {
    #[prost(message, optional, tag = "1")]
    pub(super) cursor: Option<Cursor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Numbered {
    #[prost(fixed64, tag = "1")]
    log_epoch: u64,
    #[prost(string, tag = "2")]
    producer: String,
    /// First and last number of each range.
    #[prost(uint64, repeated, tag = "3")]
    bounds: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Cursor {
    #[prost(string, tag = "1")]
    name: String,
    /// 0: the durable was removed.
    #[prost(uint64, tag = "2")]
    next: u64,
    #[prost(uint64, repeated, tag = "3")]
    unacked: Vec<u64>,
    #[prost(uint32, repeated, tag = "4")]
    deliveries: Vec<u32>,
}

impl Snapshot {
    pub(super) fn of(publishers: &Publishers, cursors: &HashMap<String, Place>) -> Snapshot {
        let publishers = publishers.iter().map(|(publisher, numbers)| {
            let (log_epoch, producer) = match publisher {
                Publisher::Log(epoch) => (*epoch, String::new()),
                Publisher::Producer(name) => (0, name.to_string()),
            };
            let bounds = numbers.ranges().iter().flat_map(|&(first, last)| [first, last]);
            Numbered { log_epoch, producer, bounds: bounds.collect() }
        });
        let cursors = cursors.iter();
        Snapshot {
            publishers: publishers.collect(),
            cursors: cursors.map(|(name, cursor)| Cursor::of(name, Some(cursor))).collect(),
            scanned: 0,
        }
    }

    pub(super) fn of_publishers(publishers: &Publishers, scanned: u64) -> Snapshot {
        Snapshot { scanned, ..Snapshot::of(publishers, &HashMap::new()) }
    }

    pub(super) fn publishers(self) -> (Publishers, u64) {
        let scanned = self.scanned;
        (self.known().0, scanned)
    }

    pub(super) fn known(self) -> (Publishers, HashMap<String, Place>) {
        let mut publishers = Publishers::default();
        for Numbered { log_epoch, producer, bounds } in self.publishers {
            let publisher = match log_epoch {
                0 => Publisher::Producer(producer.into()),
                epoch => Publisher::Log(epoch),
            };
            for range in bounds.chunks_exact(2) {
                publishers.insert(&publisher, range[0], range[1]);
            }
        }
        let cursors = self.cursors.into_iter().filter_map(Cursor::known);
        let cursors = cursors.filter_map(|(name, cursor)| Some((name, cursor?))).collect();
        (publishers, cursors)
    }
}

impl Cursor {
    pub(super) fn of(name: &str, cursor: Option<&Place>) -> Cursor {
        let unacked = cursor.map(|cursor| cursor.unacked.as_slice()).unwrap_or_default();
        Cursor {
            name: name.to_owned(),
            next: cursor.map_or(0, |cursor| cursor.next),
            unacked: unacked.iter().map(|event| event.0).collect(),
            deliveries: unacked.iter().map(|event| event.1).collect(),
        }
    }

    pub(super) fn known(self) -> Option<(String, Option<Place>)> {
        let unacked = self.unacked.into_iter().zip(self.deliveries).collect();
        let cursor = (self.next != 0).then_some(Place { next: self.next, unacked });
        (!self.name.is_empty()).then_some((self.name, cursor))
    }
}
