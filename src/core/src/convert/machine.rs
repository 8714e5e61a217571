//! What one conversion works on, and what is remembered between conversions.

use super::keyset::KeySet;
use super::scan::Place;
use super::tables::{SLOTS, TABLES, TypeName};
use std::collections::HashMap;
use std::ops::Range;

/// What is remembered from event to event: which key followed which, how many bytes lengths took.
pub(super) struct Memory {
    /// By place of a field: index of the field that followed it last time.
    pub(super) next: Vec<u8>,
    /// By place of a field: bytes that its length took last time.
    pub(super) reserve: Vec<u8>,
    /// By place of a field: the last short text that kept the field's rule.
    pub(super) passed: Vec<u64>,
    /// Index of the event type that the last payload before its type turned out to have.
    pub(super) guess: usize,
    /// Bytes that the last event's own length took.
    pub(super) element: u8,
    /// Keys without a field, to see when one comes twice.
    pub(super) keys: KeySet,
}

impl Memory {
    pub(super) fn new() -> Self {
        let mut next = vec![0; SLOTS];
        let mut reserve = vec![1; SLOTS];
        for table in &TABLES {
            for (index, field) in table.fields.iter().enumerate() {
                // At first, fields are expected in the schema's order.
                next[table.base + 1 + index] = (index + 1).min(table.fields.len() - 1) as u8;
                reserve[table.base + 1 + index] = field.reserve.max(1);
            }
        }
        Self {
            next,
            reserve,
            passed: vec![0; SLOTS],
            guess: 0,
            element: 2,
            keys: KeySet::default(),
        }
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

/// What is known of the event at hand before its end.
#[derive(Clone, Default)]
pub(super) struct Envelope {
    /// `type` between its quotes, in the input.
    pub(super) type_text: Option<Range<usize>>,
    /// What that text names.
    pub(super) type_name: Option<&'static TypeName>,
    pub(super) subtype: Option<Range<usize>>,
    /// Position of the payload in input and output, and the type it was taken to be of.
    pub(super) payload: Option<Payload>,
    /// Keys and values of the third dialect were seen.
    pub(super) is_script: bool,
    /// `data` was the payload's key.
    pub(super) is_data: bool,
    pub(super) time: Option<f64>,
    /// Keys whose values fitted, by `Field::bit`.
    pub(super) keys: u64,
    /// The time was ISO 8601 text.
    pub(super) is_iso: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Payload {
    pub(super) value_at: usize,
    pub(super) out: Range<usize>,
    /// Index of the event type whose table read it; `None` when it was not read yet.
    pub(super) kind: Option<usize>,
    /// Index of its key in the envelope's table.
    pub(super) field: usize,
    /// What was noted before it and after it.
    pub(super) raw: Range<usize>,
    pub(super) findings: Range<usize>,
}

/// What the index, repeats and sessions need; ranges are places in the output.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) kind: usize,
    pub(super) is_unknown: bool,
    pub(super) dialect: u8,
    pub(super) priority: u8,
    pub(super) clock: u8,
    pub(super) time: Option<f64>,
    pub(super) event_id: Range<usize>,
    /// From the envelope.
    pub(super) game_id: Range<usize>,
    /// From a state in the payload.
    pub(super) own_game_id: Range<usize>,
    pub(super) producer: Range<usize>,
    pub(super) producer_sequence: Option<u64>,
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
    /// In careful mode, for each object around the position: decoded key → met, all in all.
    pub(super) ahead: Vec<HashMap<Vec<u8>, (u32, u32)>>,
}

/// How deep events may lie within `changes` of events; deeper ones are carried as text. Keeps the
/// output far below the hundred levels that protobuf parsers allow.
pub(super) const NESTED_MAX: u32 = 4;
