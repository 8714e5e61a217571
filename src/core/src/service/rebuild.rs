//! After a restart: what must outlive the process is learnt again from the log.

use crate::log::EventLog;
use crate::repeats::{Numbered, Repeats};
use crate::session::{Clock, Sessions};
use crate::time::Now;

/// `ProducerClock` in the schema.
const CLOCK_MONOTONIC_MS: u64 = 1;
const CLOCK_UNIX_MS: u64 = 2;
const CLOCK_UNIX_SECONDS: u64 = 3;

/// Teaches repeats and sessions every event that the log still holds.
pub(super) fn rebuild<L: EventLog>(
    log: &L,
    repeats: &mut Repeats,
    sessions: &mut Sessions,
    now: Now,
) {
    log.scan(&mut |entry, bytes| {
        let found = find(bytes);
        let numbered = match found {
            Found { producer: Some(producer), sequence: Some(sequence), .. } => {
                Some(Numbered { producer: repeats.hash_producer(producer), sequence })
            }
            _ => None,
        };
        repeats.remember(
            entry.id_hash,
            entry.producer_time,
            entry.event_type,
            numbered,
            entry.receive_time_unix_ns,
        );
        sessions.restore(entry, clock(found.clock, entry.producer_time), now);
    });
}

/// The clock of a time, by its number in the schema.
pub(super) fn clock(number: u64, time: f64) -> Option<Clock> {
    match number {
        CLOCK_MONOTONIC_MS => Some(Clock::Monotonic(time)),
        CLOCK_UNIX_MS => Some(Clock::Unix(time)),
        CLOCK_UNIX_SECONDS => Some(Clock::Unix(time * 1000.0)),
        _ => None,
    }
}

/// The type of an event as it was sent, when the schema does not know it.
pub(super) fn type_name(event: &[u8]) -> &[u8] {
    find(event).type_name
}

/// What a heartbeat says of its sender: `source` and the mod's version.
pub(super) fn name_and_version(event: &[u8]) -> Option<String> {
    let found = find(event);
    let version = strings(found.heartbeat?).find(|(field, _)| *field == HEARTBEAT_VERSION)?.1;
    let source = std::str::from_utf8(found.source.unwrap_or(b"game")).ok()?;
    Some(format!("{source} {}", std::str::from_utf8(version).ok()?))
}

/// Numbers of fields of `Event`, and of `HeartbeatEvent.version`.
const PRODUCER_CLOCK: u64 = 6;
const SOURCE: u64 = 10;
const TYPE_NAME: u64 = 17;
const PRODUCER: u64 = 24;
const PRODUCER_SEQUENCE: u64 = 25;
const HEARTBEAT: u64 = 40;
const HEARTBEAT_VERSION: u64 = 1;

/// What the index does not hold of an event.
#[derive(Debug, Default, PartialEq)]
struct Found<'a> {
    clock: u64,
    source: Option<&'a [u8]>,
    type_name: &'a [u8],
    producer: Option<&'a [u8]>,
    sequence: Option<u64>,
    heartbeat: Option<&'a [u8]>,
}

/// The fields of a message that are bytes, texts or messages.
fn strings(mut message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            match field(&mut message)? {
                (number, Value::Bytes(bytes)) => return Some((number, bytes)),
                (_, Value::Number(_)) => {}
            }
        }
    })
}

/// Walks the event's own fields.
fn find(mut event: &[u8]) -> Found<'_> {
    let mut found = Found::default();
    // The log holds what we wrote; what cannot be walked teaches nothing more.
    while let Some((number, value)) = field(&mut event) {
        match (number, value) {
            (PRODUCER_CLOCK, Value::Number(clock)) => found.clock = clock,
            (PRODUCER_SEQUENCE, Value::Number(sequence)) => found.sequence = Some(sequence),
            (SOURCE, Value::Bytes(source)) => found.source = Some(source),
            (TYPE_NAME, Value::Bytes(name)) => found.type_name = name,
            (PRODUCER, Value::Bytes(producer)) => found.producer = Some(producer),
            (HEARTBEAT, Value::Bytes(heartbeat)) => found.heartbeat = Some(heartbeat),
            _ => {}
        }
    }
    found
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The next field's number and value; fixed-width values are bytes.
fn field<'a>(message: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(message)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(message)?),
        1 => Value::Bytes(take(message, 8)?),
        2 => {
            let length = varint(message)?;
            Value::Bytes(take(message, length)?)
        }
        5 => Value::Bytes(take(message, 4)?),
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use jimbot_proto::events::v1::{Event, ProducerClock};
    use prost::Message;

    use super::*;

    #[test]
    fn finds_what_prost_wrote_and_survives_what_it_did_not() {
        let event = Event {
            sequence: 77,
            event_id: Some("x".repeat(200)),
            producer_time: 1.5,
            producer_clock: ProducerClock::MonotonicMs as i32,
            producer: Some("mod-1".into()),
            producer_sequence: Some(300),
            ..Event::default()
        };
        let bytes = event.encode_to_vec();
        let whole =
            Found { clock: 1, producer: Some(b"mod-1"), sequence: Some(300), ..Found::default() };
        assert_eq!(find(&bytes), whole);
        for end in 0..bytes.len() {
            find(&bytes[..end]);
        }
    }

    #[test]
    fn clocks_are_those_of_the_schema() {
        let time = 2.0;
        assert_eq!(clock(ProducerClock::MonotonicMs as u64, time), Some(Clock::Monotonic(2.0)));
        assert_eq!(clock(ProducerClock::UnixMs as u64, time), Some(Clock::Unix(2.0)));
        assert_eq!(clock(ProducerClock::UnixSeconds as u64, time), Some(Clock::Unix(2000.0)));
        assert_eq!(clock(ProducerClock::Unspecified as u64, time), None);
    }
}
