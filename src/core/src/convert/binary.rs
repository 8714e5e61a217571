//! Events that come as protobuf: a serialised `Event` or `EventBatch`.
//!
//! Each event is walked against the schema (lengths, wire types, UTF-8, depth), so that a committed
//! payload always parses whole, and copied without its identity, which the log gives anew.

use super::event::{TYPE_CONNECTION_TEST, TYPE_UNKNOWN};
use super::identity::Mode;
use super::machine::Machine;
use super::stop::Outcome;
use super::tables::{KINDS, SHAPES, Shape, ShapeField, kind_of};
use super::{BodySummary, Context, Converted, Converter, Refusal, Step};
use crate::log::flags;

/// Messages within messages; parsers allow a hundred.
const DEPTH_MAX: u32 = 64;
const TAG_EVENTS: u8 = 0x0A;
const TAG_TYPE: (u32, u8) = (0x18, 1);
/// Shape of `Event`, the first.
const EVENT: usize = 0;

/// Where a binary message stands.
#[derive(Clone, Debug, Default)]
pub struct BinaryCursor {
    at: usize,
    is_batch: bool,
    started: bool,
    summary: BodySummary,
}

impl BinaryCursor {
    /// The start of a message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Why bytes are no event.
type Wrong = &'static str;

impl Converter {
    /// Takes the next event of a serialised `Event` or `EventBatch` into the start of `room`.
    pub fn next_binary(
        &mut self,
        cursor: &mut BinaryCursor,
        message: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
    ) -> Step {
        if !cursor.started {
            cursor.started = true;
            // Field 1 is a length and an event in a batch, eight bytes in an event.
            cursor.is_batch = message.first() == Some(&TAG_EVENTS);
        }
        if cursor.at >= message.len() {
            return Step::Done(cursor.summary.clone());
        }
        let index = cursor.summary.events + cursor.summary.refused;
        let (bytes, end) = match next_event(cursor, message) {
            Ok(found) => found,
            Err(reason) => {
                // Without a length that holds there is no next event.
                cursor.at = message.len();
                return refuse(cursor, index, reason.to_owned());
            }
        };
        if let Err(reason) = check(bytes, EVENT, DEPTH_MAX) {
            cursor.at = end;
            return refuse(cursor, index, reason.to_owned());
        }
        let mut machine = self.machine(bytes, 0, room, context.nesting_max, Mode::default());
        match machine.copy_event(context) {
            Ok(event) => {
                cursor.at = end;
                cursor.summary.events += 1;
                Step::Event(event)
            }
            Err(_) if room.len() < context.event_bytes_max => Step::NoRoom,
            Err(_) => {
                cursor.at = end;
                let reason = format!("the event takes more than {} bytes", context.event_bytes_max);
                refuse(cursor, index, reason)
            }
        }
    }
}

fn refuse(cursor: &mut BinaryCursor, index: u32, reason: String) -> Step {
    cursor.summary.refused += 1;
    Step::Refused(Refusal { index, field: String::new(), reason })
}

/// The next event's bytes, and where what follows them starts.
fn next_event<'a>(cursor: &BinaryCursor, message: &'a [u8]) -> Result<(&'a [u8], usize), Wrong> {
    if !cursor.is_batch {
        return Ok((message, message.len()));
    }
    let mut reader = Reader { bytes: message, at: cursor.at };
    if reader.varint()? != u64::from(TAG_EVENTS) {
        return Err("not an EventBatch: expected events only");
    }
    let bytes = reader.chunk()?;
    Ok((bytes, reader.at))
}

/// Reads wire format; every step checks its bounds.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn varint(&mut self) -> Result<u64, Wrong> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or("ends inside a number")?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return Err("a number longer than 64 bits");
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number longer than 64 bits")
    }

    fn skip(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        let end = self.at.checked_add(count).ok_or("ends inside a field")?;
        let chunk = self.bytes.get(self.at..end).ok_or("ends inside a field")?;
        self.at = end;
        Ok(chunk)
    }

    fn chunk(&mut self) -> Result<&'a [u8], Wrong> {
        let len = usize::try_from(self.varint()?).map_err(|_| "ends inside a field")?;
        self.skip(len)
    }

    /// A field's number and wire type.
    fn tag(&mut self) -> Result<(u32, u8), Wrong> {
        let tag = u32::try_from(self.varint()?).map_err(|_| "a field number out of range")?;
        if tag >> 3 == 0 {
            return Err("a field number out of range");
        }
        Ok((tag >> 3, (tag & 7) as u8))
    }
}

/// Checks that these bytes are a message of this shape.
fn check(bytes: &[u8], shape: usize, depth: u32) -> Result<(), Wrong> {
    if depth == 0 {
        return Err("nested too deep");
    }
    let fields: &[ShapeField] = SHAPES[shape];
    let mut reader = Reader { bytes, at: 0 };
    while !reader.is_done() {
        let (number, wire) = reader.tag()?;
        let known = fields
            .binary_search_by_key(&number, |field| field.number)
            .ok()
            .map(|index| fields[index].shape);
        match (wire, known) {
            (0, None | Some(Shape::Varint { .. })) => {
                reader.varint()?;
            }
            (1, None | Some(Shape::Fixed64 { .. })) => {
                reader.skip(8)?;
            }
            (5, None | Some(Shape::Fixed32 { .. })) => {
                reader.skip(4)?;
            }
            (2, None | Some(Shape::Bytes)) => {
                reader.chunk()?;
            }
            (2, Some(Shape::Text)) => {
                std::str::from_utf8(reader.chunk()?).map_err(|_| "a text that is not UTF-8")?;
            }
            (2, Some(Shape::Message(inner))) => check(reader.chunk()?, inner, depth - 1)?,
            (2, Some(Shape::Varint { packable: true })) => {
                let mut packed = Reader { bytes: reader.chunk()?, at: 0 };
                while !packed.is_done() {
                    packed.varint()?;
                }
            }
            (2, Some(Shape::Fixed64 { packable: true })) if reader.chunk()?.len() % 8 == 0 => {}
            (2, Some(Shape::Fixed32 { packable: true })) if reader.chunk()?.len() % 4 == 0 => {}
            // Groups are of the time before proto3; nothing here ever had one.
            (3 | 4, _) => return Err("a group, which no message here has"),
            _ => return Err("a field of another wire type"),
        }
    }
    Ok(())
}

impl Machine<'_> {
    /// Copies a checked event under a new identity.
    fn copy_event(&mut self, context: &Context<'_>) -> Outcome<Converted> {
        let input = self.input;
        let element = self.open_element(context)?;
        let mut number = None;
        let mut reader = Reader { bytes: input, at: 0 };
        let mut has_findings = false;
        let mut has_raw_text = false;
        while !reader.is_done() {
            let start = reader.at;
            // The bytes were checked; a fault here would be ours and ends the copy early.
            let Ok((field, wire)) = reader.tag() else { break };
            let at = reader.at;
            let value = match wire {
                0 => reader.varint(),
                1 => reader
                    .skip(8)
                    .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default())),
                5 => reader.skip(4).map(|_| 0),
                _ => reader.chunk().map(|chunk| chunk.len() as u64),
            };
            let Ok(value) = value else { break };
            // Texts end where their field ends.
            let text_start =
                self.pos + (reader.at - start) - value as usize * usize::from(wire == 2);
            let range = text_start..self.pos + (reader.at - start);
            let facts = &mut self.facts;
            match field {
                1 | 2 | 7 | 8 | 9 => continue,
                3 => {
                    number = Some(value);
                    continue;
                }
                4 => facts.event_id = range.into(),
                5 => {
                    facts.time = f64::from_bits(value);
                    facts.has_time = true;
                }
                6 => facts.clock = value.min(255) as u8,
                11 => facts.priority = value.min(3) as u8,
                19 => facts.game_id = range.into(),
                24 => facts.producer = range.into(),
                25 => {
                    facts.producer_sequence = value;
                    facts.has_producer_sequence = true;
                }
                29 => has_raw_text = true,
                30 => has_findings = true,
                12 => {
                    if let Some(id) = state_game_id(&input[at..reader.at]) {
                        let offset = self.pos + (at - start) + id.start;
                        facts.own_game_id = (offset..offset + id.len()).into();
                    }
                }
                _ => {}
            }
            self.put_input(start..reader.at)?;
        }
        let number = number.filter(|number| *number != 0).unwrap_or(u64::from(TYPE_UNKNOWN));
        self.put_varint(TAG_TYPE, number)?;
        let known = KINDS.iter().position(|kind| u64::from(kind.number) == number);
        self.facts.kind = known.unwrap_or(kind_of(TYPE_UNKNOWN)) as u16;
        self.facts.is_unknown = known.is_none() || number == u64::from(TYPE_UNKNOWN);
        if self.facts.priority == 0 {
            self.facts.priority = KINDS[usize::from(self.facts.kind)].priority;
        }
        let mut bits = 0;
        if has_findings {
            bits |= flags::FLAGGED;
        }
        if has_raw_text {
            bits |= flags::RAW_TEXT;
        }
        let mut event = self.close_element(&element, context, bits)?;
        // A type of a newer schema keeps its number.
        event.entry.event_type = u16::try_from(number).unwrap_or(TYPE_UNKNOWN);
        event.is_connection_test = event.entry.event_type == TYPE_CONNECTION_TEST;
        Ok(event)
    }
}

/// Place of `base.game_id` in a `BalatroGameStateEvent` with its length in front.
fn state_game_id(field: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut state = Reader { bytes: field, at: 0 };
    state.chunk().ok()?;
    let mut found = None;
    let mut outer = Reader { bytes: field, at: 0 };
    outer.varint().ok()?;
    while !outer.is_done() {
        let (number, wire) = outer.tag().ok()?;
        if wire != 2 {
            match wire {
                0 => outer.varint().map(|_| ()).ok()?,
                1 => outer.skip(8).map(|_| ()).ok()?,
                _ => outer.skip(4).map(|_| ()).ok()?,
            }
            continue;
        }
        let chunk = outer.chunk().ok()?;
        if number != 1 {
            continue;
        }
        let base_at = outer.at - chunk.len();
        let mut base = Reader { bytes: chunk, at: 0 };
        while !base.is_done() {
            let (number, wire) = base.tag().ok()?;
            match wire {
                0 => base.varint().map(|_| ()).ok()?,
                1 => base.skip(8).map(|_| ()).ok()?,
                2 => {
                    let text = base.chunk().ok()?;
                    if number == 2 {
                        let end = base_at + base.at;
                        found = Some(end - text.len()..end);
                    }
                }
                _ => base.skip(4).map(|_| ()).ok()?,
            }
        }
    }
    found
}
