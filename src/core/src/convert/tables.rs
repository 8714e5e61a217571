//! What the schema says, as static tables that the build script writes from its descriptor.

use super::key_hash;
use super::scan::load8;

/// How a JSON value becomes a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Text,
    Bool,
    Message,
    MessageList,
    /// A oneof of number, text, flag and object under one key.
    Choice,
    TextList,
    #[allow(dead_code, reason = "no list of numbers in the schema as it stands")]
    DoubleList,
    #[allow(dead_code, reason = "no list of flags in the schema as it stands")]
    BoolList,
    MessageMap,
    TextMap,
    /// Map to JSON texts.
    JsonMap,
    #[allow(dead_code, reason = "no map to numbers in the schema as it stands")]
    DoubleMap,
    Enum,
    Unsigned64,
    #[allow(dead_code, reason = "not in the schema as it stands")]
    Unsigned32,
    #[allow(dead_code, reason = "not in the schema as it stands")]
    Signed64,
    #[allow(dead_code, reason = "not in the schema as it stands")]
    Signed32,
    // The envelope's own keys.
    Type,
    Subtype,
    Timestamp,
    Payload,
    Changes,
    Events,
}

/// One JSON key of a message.
pub(super) struct Field {
    pub(super) name: &'static str,
    /// `"name":`, compared before anything is looked up; 32 bytes as words.
    pub(super) key: [u64; 4],
    pub(super) mask: [u64; 4],
    /// Length of that text; 0 when it is longer.
    pub(super) key_len: u8,
    pub(super) kind: Kind,
    /// The tag's bytes, first lowest.
    pub(super) tag: u32,
    pub(super) tag_len: u8,
    /// Place in the set of keys seen; keys of the same field share it.
    pub(super) bit: u8,
    /// 1-based place in `Table::flats` of the message whose keys stand in this object; 0 for none.
    pub(super) flat: u8,
    /// Table, choice or enum that the kind refers to.
    pub(super) sub: u16,
    /// Index into `RULES`, 0 for none.
    pub(super) rule: u16,
    /// Whether the text identifies something: 1 the event, 2 its game (envelope), 3 its producer,
    /// 4 its game (state); 0 otherwise.
    pub(super) role: u8,
    /// Bytes that the length is expected to take at first.
    pub(super) reserve: u8,
}

impl Field {
    pub(super) fn tag(&self) -> Tag {
        (self.tag, self.tag_len)
    }
}

/// A tag's bytes, first lowest, and how many they are.
pub(super) type Tag = (u32, u8);

/// One message.
pub(super) struct Table {
    #[allow(dead_code, reason = "read by tests")]
    pub(super) name: &'static str,
    /// First place in next-key memory: that of the object's start; the fields' follow.
    pub(super) base: usize,
    multiplier: u64,
    shift: u32,
    buckets: &'static [u8],
    /// Tags of the messages whose keys stand in this object.
    pub(super) flats: &'static [Tag],
    pub(super) fields: &'static [Field],
}

impl Table {
    /// The field with this key.
    #[inline(always)]
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let index = self.buckets[bucket(key, self.multiplier, self.shift) % self.buckets.len()];
        let field = self.fields.get(index as usize)?;
        (field.name.as_bytes() == key).then_some(index as usize)
    }
}

impl Table {
    /// The index that a key of this table has whose first eight bytes (and what follows a shorter
    /// key), length and, when it is that long, last eight bytes are these. For any other key it is
    /// some index or none.
    #[inline(always)]
    pub(super) fn expect(&self, first: u64, len: usize, last: impl FnOnce() -> u64) -> usize {
        let folded = if len >= 8 {
            key_hash::fold(first, last(), len)
        } else {
            let word = first & ((1 << (8 * len)) - 1);
            key_hash::fold(word, word, len)
        };
        let bucket = key_hash::bucket(folded, self.multiplier, self.shift);
        usize::from(self.buckets.get(bucket).copied().unwrap_or(u8::MAX))
    }
}

#[inline(always)]
fn bucket(key: &[u8], multiplier: u64, shift: u32) -> usize {
    let folded = if key.len() >= 8 {
        key_hash::fold(load8(key, 0), load8(key, key.len() - 8), key.len())
    } else {
        key_hash::words(key)
    };
    key_hash::bucket(folded, multiplier, shift)
}

/// The members of a oneof that share one JSON key; a length of 0 means there is none.
pub(super) struct Choice {
    pub(super) number: Tag,
    pub(super) text: Tag,
    pub(super) flag: Tag,
    pub(super) object: Tag,
    pub(super) table: usize,
}

/// What is expected of a value.
pub(super) struct Rule {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) has_bound: bool,
    pub(super) finite: bool,
    pub(super) integer: bool,
    pub(super) one_of: &'static [&'static str],
    pub(super) format: u8,
    pub(super) max_bytes: u32,
    pub(super) max_items: u32,
    /// The greatest length is all that a text is checked for.
    pub(super) is_length: bool,
    /// As in the schema's `Severity`.
    pub(super) severity: u8,
}

impl Rule {
    const NONE: Self = Self {
        min: f64::NEG_INFINITY,
        max: f64::INFINITY,
        has_bound: false,
        finite: false,
        integer: false,
        one_of: &[],
        format: 0,
        max_bytes: u32::MAX,
        max_items: u32::MAX,
        is_length: false,
        severity: 0,
    };
}

/// A key of the envelope that must be there.
pub(super) struct Required {
    /// Its place in the set of keys seen.
    pub(super) bit: u8,
    /// Bit by number of the dialect that demands it.
    pub(super) dialects: u8,
    pub(super) severity: u8,
    /// `KEY is missing`.
    pub(super) reason: &'static str,
}

/// One event type.
pub(super) struct EventKind {
    pub(super) number: u16,
    /// Canonical type name, without subtype.
    pub(super) name: &'static str,
    pub(super) subtype: &'static str,
    /// Tag of its payload in `Event`; length 0 when it has none.
    pub(super) tag: Tag,
    pub(super) table: usize,
    pub(super) priority: u8,
}

/// A name under which an event type is sent.
pub(super) struct TypeName {
    pub(super) name: &'static str,
    /// Index into `KINDS` when no subtype decides.
    pub(super) kind: usize,
    pub(super) subtypes: &'static [(&'static str, usize)],
}

/// How a field stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Varint {
        packable: bool,
    },
    Fixed64 {
        packable: bool,
    },
    #[allow(dead_code, reason = "not in the schema as it stands")]
    Fixed32 {
        packable: bool,
    },
    Text,
    Bytes,
    /// Index into `SHAPES`.
    Message(usize),
}

/// One field of a message as protobuf; in the order of their numbers.
pub(super) struct ShapeField {
    pub(super) number: u32,
    pub(super) shape: Shape,
}

/// The type of this name.
#[inline(always)]
pub(super) fn find_type(name: &[u8]) -> Option<&'static TypeName> {
    let bucket = bucket(name, NAMES_MULTIPLIER, NAMES_SHIFT);
    let found = NAMES.get(NAMES_BUCKETS[bucket % NAMES_BUCKETS.len()] as usize)?;
    (found.name.as_bytes() == name).then_some(found)
}

/// The index of the type with this number.
pub(super) fn kind_of(number: u16) -> usize {
    KINDS.iter().position(|kind| kind.number == number).unwrap_or(0)
}

/// Table of the envelope.
pub(super) const EVENT: usize = 0;
/// Table of the batch's envelope.
pub(super) const BATCH: usize = 1;

include!(concat!(env!("OUT_DIR"), "/tables.rs"));
