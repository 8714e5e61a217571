//! Looks into serialised events just far enough to route them: identity, type, game, session and source. Nothing is
//! decoded or encoded; what is stored and delivered are slices of what came.

use std::ops::Range;

/// Field numbers of `jimbot.events.v1.Event` that the bus reads; a test holds them against the schema.
mod field {
    pub(super) const LOG_EPOCH: u64 = 1;
    pub(super) const SEQUENCE: u64 = 2;
    pub(super) const TYPE: u64 = 3;
    pub(super) const SESSION: u64 = 8;
    pub(super) const GAME_KEY: u64 = 9;
    pub(super) const SOURCE: u64 = 10;
    pub(super) const PRODUCER: u64 = 24;
    pub(super) const PRODUCER_SEQUENCE: u64 = 25;
}

/// Tag of `EventBatch.events`.
const ELEMENT_TAG: u8 = 0x0a;

/// Bytes that are no protobuf message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the bytes that were given.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// What the bus knows of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Instance of the log; 0 outside a log.
    pub log_epoch: u64,
    /// Number in the log.
    pub sequence: u64,
    /// Number of the event type.
    pub event_type: i32,
    /// Key of the game.
    pub game_key: u64,
    /// Run of a game process.
    pub session: u64,
    /// Program that sent it.
    pub source: &'a [u8],
    /// Producer that numbers its events.
    pub producer: &'a [u8],
    /// The producer's number.
    pub producer_sequence: Option<u64>,
}

/// An event within a serialised `EventBatch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Where tag, length and event stand in the batch.
    pub span: Range<usize>,
    /// The event's own bytes.
    pub event: &'a [u8],
}

/// Walks through the events of a serialised `EventBatch`.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    batch: &'a [u8],
    at: usize,
}

/// The events of `batch`, in order. Ends after the first malformed one: nothing behind it can be found.
pub fn elements(batch: &[u8]) -> Elements<'_> {
    Elements { batch, at: 0 }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.batch.len() {
            let start = self.at;
            let mut input = Input { bytes: self.batch, at: start };
            let step = if self.batch[start] == ELEMENT_TAG {
                input.at += 1;
                input.length_delimited().map(Some)
            } else {
                // A field that a later schema has in its batches.
                input.varint().and_then(|tag| input.skip(tag)).map(|()| None)
            };
            self.at = input.at;
            match step {
                Ok(Some(event)) => return Some(Ok(Element { span: start..input.at, event })),
                Ok(None) => {}
                Err(malformed) => {
                    self.at = self.batch.len();
                    return Some(Err(malformed));
                }
            }
        }
        None
    }
}

/// Reads what the bus needs from a serialised `Event`, and checks that its outermost fields are well-formed.
pub fn fields(event: &[u8]) -> Result<Fields<'_>, Malformed> {
    let mut fields = Fields::default();
    let mut input = Input { bytes: event, at: 0 };
    while input.at < event.len() {
        let tag = input.varint()?;
        match (tag >> 3, tag & 7) {
            (field::LOG_EPOCH, 1) => fields.log_epoch = input.fixed64()?,
            (field::SEQUENCE, 0) => fields.sequence = input.varint()?,
            // Enumerations are written as sign-extended 64-bit numbers.
            (field::TYPE, 0) => fields.event_type = input.varint()? as i32,
            (field::SESSION, 1) => fields.session = input.fixed64()?,
            (field::GAME_KEY, 1) => fields.game_key = input.fixed64()?,
            (field::SOURCE, 2) => fields.source = input.length_delimited()?,
            (field::PRODUCER, 2) => fields.producer = input.length_delimited()?,
            (field::PRODUCER_SEQUENCE, 0) => fields.producer_sequence = Some(input.varint()?),
            _ => input.skip(tag)?,
        }
    }
    Ok(fields)
}

/// Appends `event` to a serialised batch.
pub fn push_element(batch: &mut Vec<u8>, event: &[u8]) {
    batch.push(ELEMENT_TAG);
    let mut length = event.len();
    while length >= 0x80 {
        batch.push(length as u8 | 0x80);
        length >>= 7;
    }
    batch.push(length as u8);
    batch.extend_from_slice(event);
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn fail<T>(&self, reason: &'static str) -> Result<T, Malformed> {
        Err(Malformed { offset: self.at, reason })
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return self.fail("it ends inside a number");
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                if shift == 63 && byte > 1 {
                    return self.fail("a number is longer than 64 bits");
                }
                return Ok(value);
            }
        }
        self.fail("a number is longer than 64 bits")
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.at..];
        if len > rest.len() as u64 {
            return self.fail("a field is longer than what is there");
        }
        self.at += len as usize;
        Ok(&rest[..len as usize])
    }

    fn length_delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.varint()?;
        self.take(len)
    }

    fn fixed64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    fn skip(&mut self, tag: u64) -> Result<(), Malformed> {
        if tag >> 3 == 0 || tag >> 32 != 0 {
            return self.fail("a field has no valid number");
        }
        match tag & 7 {
            0 => self.varint().map(|_| ()),
            1 => self.take(8).map(|_| ()),
            2 => self.length_delimited().map(|_| ()),
            5 => self.take(4).map(|_| ()),
            _ => self.fail("a field has a wire type that messages here do not use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jimbot_proto::events::v1::{Event, EventBatch, EventType, event};
    use proptest::prelude::*;
    use prost::Message;

    fn sample(sequence: u64) -> Event {
        Event {
            log_epoch: 0x1122_3344_5566_7788,
            sequence,
            r#type: EventType::GameState as i32,
            session: 5,
            game_key: u64::MAX - 1,
            source: Some("BalatroMCP".to_owned()),
            producer: Some("mod-1".to_owned()),
            producer_sequence: Some(sequence * 3),
            payload: Some(event::Payload::GameState(Default::default())),
            ..Default::default()
        }
    }

    #[test]
    fn the_fields_read_are_the_schemas() {
        let bytes = sample(900).encode_to_vec();
        let fields = fields(&bytes).unwrap();
        assert_eq!(fields.log_epoch, 0x1122_3344_5566_7788);
        assert_eq!(fields.sequence, 900);
        assert_eq!(fields.event_type, EventType::GameState as i32);
        assert_eq!((fields.session, fields.game_key), (5, u64::MAX - 1));
        assert_eq!((fields.source, fields.producer), (&b"BalatroMCP"[..], &b"mod-1"[..]));
        assert_eq!(fields.producer_sequence, Some(2700));
    }

    #[test]
    fn slices_joined_again_are_the_same_batch() {
        let batch = EventBatch { events: (1..200).map(sample).collect() }.encode_to_vec();
        let mut joined = Vec::new();
        for element in elements(&batch) {
            let element = element.unwrap();
            assert_eq!(&batch[element.span.clone()][..1], &[ELEMENT_TAG]);
            push_element(&mut joined, element.event);
        }
        assert_eq!(joined, batch);
    }

    #[test]
    fn every_truncation_is_noticed_or_whole() {
        let batch = EventBatch { events: (1..4).map(sample).collect() }.encode_to_vec();
        let whole: Vec<usize> = elements(&batch).map(|element| element.unwrap().span.end).collect();
        for cut in 0..batch.len() {
            let found: Result<Vec<_>, _> = elements(&batch[..cut]).collect();
            assert_eq!(found.is_ok(), cut == 0 || whole.contains(&cut), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&bytes);
            for element in elements(&bytes).flatten() {
                prop_assert!(element.span.end <= bytes.len());
            }
        }

        #[test]
        fn what_prost_reads_is_read_alike(sequence: u64, epoch: u64, source in "\\PC{0,20}") {
            let event = Event { log_epoch: epoch, sequence, source: Some(source), ..sample(1) };
            let bytes = event.encode_to_vec();
            let fields = fields(&bytes).unwrap();
            prop_assert_eq!((fields.log_epoch, fields.sequence), (epoch, sequence));
            prop_assert_eq!(fields.source, event.source.as_deref().unwrap().as_bytes());
        }
    }
}
