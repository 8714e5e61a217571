//! Events that come as protobuf: a serialised `Event` or `EventBatch`.
//!
//! Each event is walked against the schema (`walk`: lengths, wire types, UTF-8, depth), so that a committed
//! payload always parses whole, its values are checked as those of JSON are, and it is copied without its
//! identity, which the log gives anew.
//!
//! Of a batch every event is kept that can be read. For the mod the others, and all behind a length that does not
//! hold, become events with the raw bytes; other senders are told which event was refused and why.

use std::ops::Range;

use super::event::{FINDINGS_LISTED_MAX, TYPE_CONNECTION_TEST, TYPE_UNKNOWN};
use super::identity::Mode;
use super::machine::Machine;
use super::refusal::SEVERITY_REJECT;
use super::stop::Outcome;
use super::tables::{KINDS, kind_of};
use super::unreadable::{Unreadable, longer_than_accepted, too_large};
use super::walk::{Broken, Reader, Walk, Wrong};
use super::{BodySummary, Context, Converted, Converter, Refusal, Step};
use crate::log::flags;

const TAG_EVENTS: u8 = 0x0A;
const TAG_TYPE: (u32, u8) = (0x18, 1);

/// Where a binary message stands.
#[derive(Clone, Debug, Default)]
pub struct BinaryCursor {
    at: usize,
    is_batch: bool,
    started: bool,
    /// Length of the whole message when only its start was kept.
    cut: Option<u64>,
    pending: Option<Unreadable>,
    summary: BodySummary,
}

impl BinaryCursor {
    /// The start of a message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the message was `length` bytes long and only its start is given: what does not fit is told by one
    /// event.
    #[must_use]
    pub fn cut(mut self, length: u64) -> Self {
        self.cut = Some(length);
        self
    }
}

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
        if cursor.pending.is_some() {
            let (pending, summary) = (&mut cursor.pending, &mut cursor.summary);
            return self.next_piece(pending, summary, message, context, room);
        }
        if cursor.at >= message.len() && cursor.cut.is_none() {
            return Step::Done(cursor.summary.clone());
        }
        let index = cursor.summary.events + cursor.summary.refused;
        let kept = cursor.summary.events - cursor.summary.unreadable;
        let range = match next_event(cursor, message) {
            Ok(range) => range,
            Err(reason) => {
                // Without a length that holds there is no next event.
                let rest = cursor.at..message.len();
                cursor.at = message.len();
                let lost = match cursor.cut.take() {
                    Some(length) => {
                        Unreadable::truncated(rest, length, longer_than_accepted(length), kept)
                    }
                    None => Unreadable::broken(rest, reason.to_owned(), kept),
                };
                return self.not_kept(cursor, lost, message, context, room);
            }
        };
        let (bytes, end) = (&message[range.clone()], range.end);
        let walk = match Walk::event(bytes, context.lenient) {
            Ok(walk) => walk,
            Err(reason) => {
                cursor.at = end;
                let lost = Unreadable::broken(range, reason.to_owned(), kept);
                return self.not_kept(cursor, lost, message, context, room);
            }
        };
        let mut broken = walk.broken.iter().map(|broken| (&broken.path, broken.finding));
        if !context.lenient
            && let Some((path, finding)) =
                broken.find(|(_, finding)| finding.severity == SEVERITY_REJECT)
        {
            cursor.at = end;
            return match finding.reason.strip_suffix(" is missing") {
                Some(field) => refuse(cursor, index, field.to_owned(), "missing".to_owned()),
                None => refuse(cursor, index, path.clone(), finding.reason.to_owned()),
            };
        }
        let mut machine = self.machine(bytes, 0, room, context.nesting_max, Mode::default());
        machine.findings.extend(walk.broken.iter().map(|broken| broken.finding));
        machine.noted = walk.noted;
        match machine.copy_event(context, &walk.broken) {
            Ok(event) => {
                cursor.at = end;
                cursor.summary.events += 1;
                Step::Event(event)
            }
            Err(_) if room.len() < context.event_bytes_max => Step::NoRoom,
            Err(_) => {
                cursor.at = end;
                let length = bytes.len() as u64;
                let lost = Unreadable::truncated(range, length, too_large(context), kept);
                self.not_kept(cursor, lost, message, context, room)
            }
        }
    }

    /// Stores what is no event, or what fits no batch, as it came; a sender that is told is told.
    #[cold]
    fn not_kept(
        &mut self,
        cursor: &mut BinaryCursor,
        lost: Unreadable,
        message: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
    ) -> Step {
        if !context.lenient {
            let index = cursor.summary.events + cursor.summary.refused;
            return refuse(cursor, index, String::new(), lost.error);
        }
        cursor.pending = Some(lost);
        self.next_piece(&mut cursor.pending, &mut cursor.summary, message, context, room)
    }
}

fn refuse(cursor: &mut BinaryCursor, index: u32, field: String, reason: String) -> Step {
    cursor.summary.refused += 1;
    Step::Refused(Refusal { index, field, reason })
}

/// Where the next event's bytes are; what follows them starts at their end.
fn next_event(cursor: &BinaryCursor, message: &[u8]) -> Result<Range<usize>, Wrong> {
    if !cursor.is_batch {
        // An event that was cut may look whole where it was cut between two fields.
        let is_whole = cursor.cut.is_none();
        return is_whole.then_some(0..message.len()).ok_or("ends inside an event");
    }
    let mut reader = Reader { bytes: message, at: cursor.at };
    if reader.varint()? != u64::from(TAG_EVENTS) {
        return Err("not an EventBatch: expected events only");
    }
    let length = reader.chunk()?.len();
    Ok(reader.at - length..reader.at)
}

impl Machine<'_> {
    /// Copies a checked event under a new identity, with the rules that it breaks.
    fn copy_event(&mut self, context: &Context<'_>, broken: &[Broken]) -> Outcome<Converted> {
        let input = self.input;
        let element = self.open_element(context)?;
        let mut number = None;
        let mut reader = Reader::new(input);
        // An event that was converted before brings findings.
        let mut told = Vec::new();
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
                30 => told.push(read_finding(&input[reader.at - value as usize..reader.at])),
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
        for Broken { path, finding } in broken.iter().take(FINDINGS_LISTED_MAX) {
            if !told.contains(&(path.as_bytes(), finding.reason.as_bytes())) {
                self.put_finding(path, finding.severity, finding.reason)?;
            }
        }
        self.put_varint(TAG_TYPE, number)?;
        let known = KINDS.iter().position(|kind| u64::from(kind.number) == number);
        self.facts.kind = known.unwrap_or(kind_of(TYPE_UNKNOWN)) as u16;
        self.facts.is_unknown = known.is_none() || number == u64::from(TYPE_UNKNOWN);
        if self.facts.priority == 0 {
            self.facts.priority = KINDS[usize::from(self.facts.kind)].priority;
        }
        let mut bits = 0;
        if !told.is_empty() {
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

/// Field and reason of a finding.
fn read_finding(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut found: (&[u8], &[u8]) = (b"", b"");
    let mut reader = Reader::new(bytes);
    while let Ok((number, wire)) = reader.tag() {
        let chunk = match wire {
            2 => reader.chunk(),
            0 => reader.varint().map(|_| &b""[..]),
            _ => break,
        };
        match (number, chunk) {
            (1, Ok(field)) => found.0 = field,
            (3, Ok(reason)) => found.1 = reason,
            (_, Ok(_)) => {}
            (_, Err(_)) => break,
        }
    }
    found
}

/// Place of `base.game_id` in a `BalatroGameStateEvent` with its length in front.
fn state_game_id(field: &[u8]) -> Option<Range<usize>> {
    let mut state = Reader::new(field);
    state.chunk().ok()?;
    let mut found = None;
    let mut outer = Reader::new(field);
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
        let mut base = Reader::new(chunk);
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
