//! What one conversion works on, and what is remembered between conversions.

use super::guess::Guesses;
use super::keyset::KeySet;
use super::scan::{Chunk, Ending, Place};
use super::spans::Spans;
use super::tables::{SLOTS, TABLES, TypeName};
use std::collections::HashMap;
use std::ops::Range;

/// What is remembered from event to event: which key followed which, how many bytes lengths took.
pub(super) struct Memory {
    /// By slot of the field.
    pub(super) seats: [Seat; SLOTS],
    pub(super) last_type: LastType,
    /// What payloads before their type turned out to be.
    pub(super) guesses: Guesses,
    /// Bytes that the last event's own length took.
    pub(super) element: usize,
    /// The end of the text at hand.
    pub(super) ending: Ending,
    /// Keys without a field, to see when one comes twice.
    pub(super) keys: KeySet,
    /// Lists that came before.
    pub(super) spans: Box<Spans>,
    /// In careful mode, for each object around the position: decoded key → met, all in all.
    pub(super) ahead: Vec<HashMap<Vec<u8>, (u32, u32)>>,
}

/// The last type that was looked up by its name.
#[derive(Default)]
pub(super) struct LastType {
    /// The name from its opening quote on, and what followed it.
    pub(super) text: Chunk,
    pub(super) name: Option<&'static TypeName>,
}

/// What is remembered of a field.
#[derive(Clone, Copy, Default)]
pub(super) struct Seat {
    /// The last short text that kept the field's rule: the bytes as they came, with both quotes.
    pub(super) passed: Chunk,
    /// Slot of the field that followed it last time.
    pub(super) next: u16,
    /// Bytes that its length took last time.
    pub(super) reserve: u8,
    /// For the start of a message: how far its keys came in the order of the last ones.
    pub(super) order: i8,
}

impl Memory {
    pub(super) fn new(span_bytes: usize) -> Box<Self> {
        let mut memory = Box::new(Self {
            seats: [Seat::default(); SLOTS],
            last_type: LastType::default(),
            guesses: Guesses::new(),
            element: 2,
            ending: Ending::new(),
            keys: KeySet::default(),
            spans: Box::new(Spans::new(span_bytes)),
            ahead: Vec::new(),
        });
        for table in &TABLES {
            for (index, field) in table.fields().iter().enumerate() {
                let slot = table.base + 1 + index;
                // At first, fields are expected in the schema's order.
                memory.seats[slot - 1].next = slot as u16;
                memory.seats[slot].next = slot as u16;
                memory.seats[slot].reserve = field.reserve.max(1);
            }
        }
        memory
    }

    /// What is remembered of the field in this slot.
    #[inline(always)]
    pub(super) fn seat(&mut self, slot: usize) -> &mut Seat {
        &mut self.seats[slot % SLOTS]
    }
}

/// A text of the input that stands repaired in the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawAt {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value that breaks a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct FindingAt {
    /// Where the value starts in the input.
    pub(super) at: usize,
    pub(super) severity: u8,
    pub(super) reason: &'static str,
}

/// What is known of the event at hand before its end. All zeros is nothing, and there is no gap
/// between its fields, so that a new one is a few stores.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Envelope {
    /// `type` between its quotes, in the input.
    pub(super) type_text: Span,
    pub(super) subtype: Span,
    /// What the type's text names.
    pub(super) type_name: Option<&'static TypeName>,
    /// Keys whose values fitted, by `Field::bit`.
    pub(super) keys: u64,
    pub(super) payload: Payload,
    pub(super) time: f64,
    pub(super) has_time: bool,
    /// Keys and values of the third dialect were seen.
    pub(super) is_script: bool,
    /// `data` was the payload's key.
    pub(super) is_data: bool,
    /// The time was ISO 8601 text.
    pub(super) is_iso: bool,
    no_gap: [u8; 4],
}

impl Envelope {
    #[inline(always)]
    pub(super) fn note_time(&mut self, time: f64) {
        self.time = time;
        self.has_time = true;
    }
}

/// A place in a text in which something else comes first, so that 0 to 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn get(self) -> Option<Range<usize>> {
        (self.end != 0).then_some(self.start..self.end)
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// Position of the payload in input and output, and the type it was taken to be of.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Payload {
    /// Where its value starts in the input; 0 when there is none, for a brace comes first.
    pub(super) value_at: usize,
    pub(super) out: Span,
    /// How much was noted before it and after it.
    pub(super) raw: (u32, u32),
    pub(super) findings: (u32, u32),
    /// Slot of its key.
    pub(super) slot: u32,
    /// Number, from 1, of the event type whose table read it; 0 when it was not read yet.
    pub(super) kind: u32,
}

/// What the index, repeats and sessions need; spans are places in the output. As an `Envelope`, it is
/// without gaps.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Facts {
    pub(super) event_id: Span,
    /// From the envelope.
    pub(super) game_id: Span,
    /// From a state in the payload.
    pub(super) own_game_id: Span,
    pub(super) producer: Span,
    pub(super) producer_sequence: u64,
    pub(super) time: f64,
    pub(super) kind: u16,
    pub(super) has_producer_sequence: bool,
    pub(super) has_time: bool,
    pub(super) is_unknown: bool,
    pub(super) dialect: u8,
    pub(super) priority: u8,
    pub(super) clock: u8,
}

impl Facts {
    /// Remembers where a text is that identifies event, game or producer: `Field::role`.
    #[inline(never)]
    pub(super) fn note(&mut self, role: u8, range: Range<usize>) {
        let span = match role {
            1 => &mut self.event_id,
            2 => &mut self.game_id,
            3 => &mut self.producer,
            _ => &mut self.own_game_id,
        };
        *span = range.into();
    }
}

/// One conversion: input and output with a position in each.
pub(super) struct Machine<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
    pub(super) out: &'a mut [u8],
    pub(super) pos: usize,
    pub(super) memory: &'a mut Memory,
    pub(super) depth: u32,
    pub(super) depth_max: u32,
    /// Events within events.
    pub(super) nested: u32,
    /// Objects met so far, so that equal keys of different objects differ.
    pub(super) objects: u64,
    /// The last number's double says less than its token.
    pub(super) inexact: bool,
    /// Keys of the object read last whose values their fields hold, by `Field::bit`.
    pub(super) fitted: u64,
    /// Keys are looked at before their values: one of them comes twice somewhere.
    pub(super) careful: bool,
    /// Strings in arrays and keys end where they plausibly end.
    pub(super) salvage: bool,
    /// Where the value being skipped stands.
    pub(super) place: Place,
    pub(super) envelope: Envelope,
    pub(super) facts: Facts,
    pub(super) raw: &'a mut Vec<RawAt>,
    pub(super) findings: &'a mut Vec<FindingAt>,
    /// Broken rules that are only counted.
    pub(super) noted: u32,
}

/// How deep events may lie within `changes` of events; deeper ones are carried as text. Keeps the
/// output far below the hundred levels that protobuf parsers allow.
pub(super) const NESTED_MAX: u32 = 4;
