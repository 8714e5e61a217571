//! What the schema says, as static tables that the build script writes from its descriptor.

use super::key_hash;
use super::scan::{Chunk, Near, equal_bits, load16, masked, near16};

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
    /// No field.
    None,
}

/// One JSON key of a message: first what converting a plain member needs, in one cache line.
#[repr(C, align(64))]
pub(super) struct Field {
    /// `,"name":`, compared with the text before anything is looked up, zeros behind it.
    key: [Chunk; 2],
    /// Bits of that text's bytes: in its first sixteen, and in what follows them.
    low: u16,
    high: u16,
    /// Tags of a text and of a number in this field, as bytes, first lowest.
    text_tag: u32,
    number_tag: u32,
    /// All ones when a text is looked at, unless it is the one that passed last; otherwise 0.
    pub(super) looks_at_text: u32,
    /// The tag's bytes, first lowest.
    tag: u32,
    tag_len: u8,
    /// Lengths of those tags; 0 when a text, or a number, does not fit.
    text_tag_len: u8,
    number_tag_len: u8,
    /// Length of `,"name":`.
    pub(super) key_len: u8,
    pub(super) kind: Kind,
    /// 1-based place in `Table::flats` of the message whose keys stand in this object; 0 for none.
    pub(super) flat: u8,
    /// A longer text passes without a look up to this length; when it has no space or control in it,
    /// up to the other.
    pub(super) passes_len: u8,
    pub(super) passes_graphic_len: u8,
    /// Place in the set of keys seen, as a bit; keys of the same field share it.
    pub(super) mask: u64,
    /// Bits of which none may be set when the key comes: its own, and its flat message's.
    pub(super) guard: u64,
    /// A number from `least` to `most` passes, if finite.
    pub(super) least: f64,
    pub(super) most: f64,
    /// Table, choice or enum that the kind refers to.
    pub(super) sub: u16,
    /// Index into `RULES`, 0 for none.
    pub(super) rule: u16,
    /// Whether the text identifies something: 1 the event, 2 its game (envelope), 3 its producer,
    /// 4 its game (state); 0 otherwise.
    pub(super) role: u8,
    /// Bytes that the length is expected to take at first.
    pub(super) reserve: u8,
    /// Tag of a flag in this field, as the other two.
    flag_tag_len: u8,
    flag_tag: u32,
    pub(super) name: &'static str,
}

const _: () = assert!(size_of::<Field>() == 128, "two cache lines");

/// The schema's `Format` of names without spaces.
pub(super) const FORMAT_GRAPHIC: u8 = 1;

/// Bits of the flat messages in `Field::guard`; that of keys outside of any is the highest.
pub(super) const FLATS: u64 = 0xFF << 56;

/// The bits of all but this one.
pub(super) const fn barred(flat: u8) -> u64 {
    FLATS & !(1 << (63 - flat))
}

/// A field as the build script prints it.
pub(super) struct Row {
    name: &'static str,
    kind: Kind,
    tag: Tag,
    bit: u8,
    flat: u8,
    sub: u16,
    rule: u16,
    role: u8,
    reserve: u8,
}

impl Field {
    /// Stands before a table's fields, and is never met: no text has its key.
    const NONE: Self = Self {
        key: [Chunk::new([0xFF; 16]); 2],
        low: 0xFFFF,
        guard: u64::MAX,
        ..Self::new(&Row {
            name: "",
            kind: Kind::None,
            tag: (0, 0),
            bit: 0,
            flat: 0,
            sub: 0,
            rule: 0,
            role: 0,
            reserve: 0,
        })
    };

    const fn new(row: &Row) -> Self {
        let name = row.name.as_bytes();
        let key_len = name.len() + 4;
        assert!(key_len < 32, "a key is longer than the text for comparison holds");
        let mut key = [0; 32];
        key[0] = b',';
        key[1] = b'"';
        let mut index = 0;
        while index < name.len() {
            key[2 + index] = name[index];
            index += 1;
        }
        key[key_len - 2] = b'"';
        key[key_len - 1] = b':';
        assert!(row.bit < 56 && row.flat < 8, "more fields than the set of seen keys holds");
        let bits = ((1_u64 << key_len) - 1) as u32;
        let (text_tag, number_tag) = match row.kind {
            Kind::Text => (row.tag, (0, 0)),
            Kind::Double => ((0, 0), row.tag),
            Kind::Choice => (CHOICES[row.sub as usize].text, CHOICES[row.sub as usize].number),
            _ => ((0, 0), (0, 0)),
        };
        let flag_tag = match row.kind {
            Kind::Bool => row.tag,
            Kind::Choice => CHOICES[row.sub as usize].flag,
            _ => (0, 0),
        };
        let rule = &RULES[row.rule as usize];
        // What only has a greatest length has a greater one than the texts of one chunk.
        let passes = rule.is_length && rule.max_bytes >= 16 && row.role == 0;
        let is_graphic = rule.format == FORMAT_GRAPHIC && rule.one_of.is_empty() && !rule.has_bound;
        let longest = if rule.max_bytes < 0x7F { rule.max_bytes as u8 } else { 0x7F };
        Self {
            key: halves(key),
            low: bits as u16,
            high: (bits >> 16) as u16,
            text_tag: text_tag.0,
            number_tag: number_tag.0,
            looks_at_text: if passes { 0 } else { u32::MAX },
            tag: row.tag.0,
            tag_len: row.tag.1,
            text_tag_len: text_tag.1,
            number_tag_len: number_tag.1,
            key_len: key_len as u8,
            kind: row.kind,
            mask: 1 << row.bit,
            guard: 1 << row.bit | 1 << (63 - row.flat),
            flat: row.flat,
            passes_len: if passes { longest } else { 0 },
            passes_graphic_len: if passes || is_graphic { longest } else { 0 },
            // Whether a number is whole is looked at where every rule is.
            least: if rule.integer { f64::NAN } else { rule.min },
            most: rule.max,
            sub: row.sub,
            rule: row.rule,
            role: row.role,
            reserve: row.reserve,
            flag_tag_len: flag_tag.1,
            flag_tag: flag_tag.0,
            name: row.name,
        }
    }

    #[inline(always)]
    pub(super) fn tag(&self) -> Tag {
        (self.tag, self.tag_len)
    }

    #[inline(always)]
    pub(super) fn text_tag(&self) -> Tag {
        (self.text_tag, self.text_tag_len)
    }

    #[inline(always)]
    pub(super) fn number_tag(&self) -> Tag {
        (self.number_tag, self.number_tag_len)
    }

    #[inline(always)]
    pub(super) fn flag_tag(&self) -> Tag {
        (self.flag_tag, self.flag_tag_len)
    }

    /// Whether this field's key, with what stands before it and its colon, are the first of these
    /// bytes. Bits of `given` are not looked at: the first member has no comma before it.
    #[inline(always)]
    pub(super) fn is_at(&self, near: &Near, given: u32) -> bool {
        let same = equal_bits(near16(near, 0), self.key[0]) | given;
        same & u32::from(self.low) == u32::from(self.low)
            && (self.high == 0
                || !equal_bits(near16(near, 16), self.key[1]) & u32::from(self.high) == 0)
    }
}

/// Both halves of a key.
const fn halves(key: [u8; 32]) -> [Chunk; 2] {
    let (mut first, mut second) = ([0; 16], [0; 16]);
    let mut index = 0;
    while index < 16 {
        first[index] = key[index];
        second[index] = key[16 + index];
        index += 1;
    }
    [Chunk::new(first), Chunk::new(second)]
}

/// A tag's bytes, first lowest, and how many they are.
pub(super) type Tag = (u32, u8);

/// One message.
pub(super) struct Table {
    #[allow(dead_code, reason = "read by tests")]
    pub(super) name: &'static str,
    /// Its first slot in `FIELDS`: that of the object's start; the fields' follow.
    pub(super) base: usize,
    len: usize,
    multiplier: u64,
    shift: u32,
    buckets: &'static [u8],
    /// Tags of the messages whose keys stand in this object.
    pub(super) flats: &'static [Tag],
}

impl Table {
    /// Its fields, in the order of their slots.
    pub(super) fn fields(&self) -> &'static [Field] {
        &FIELDS[self.base + 1..self.base + 1 + self.len]
    }

    /// The slot of the field with this key.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let slot = self.expect(masked(load16(key, 0), key.len().min(16)));
        if FIELDS[slot].name.as_bytes() == key {
            return Some(slot).filter(|slot| *slot != self.base);
        }
        // Of keys that begin alike only one is where it is expected.
        let others = if key.len() > 16 { self.fields() } else { &[] };
        let index = others.iter().position(|field| field.name.as_bytes() == key)?;
        Some(self.base + 1 + index)
    }

    /// The slot that a key has whose first sixteen bytes (zeros behind a shorter one) are these. For
    /// any other key it is some slot.
    #[inline(always)]
    pub(super) fn expect(&self, start: u128) -> usize {
        let bucket = key_hash::bucket(start, self.multiplier, self.shift);
        self.base + usize::from(self.buckets.get(bucket).copied().unwrap_or(0))
    }
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
        is_length: true,
        severity: 0,
    };
}

/// A key of the envelope that must be there.
pub(super) struct Required {
    /// Number of its field in `Event`.
    pub(super) number: u32,
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
    words: Words,
    /// What it means when no subtype decides.
    pub(super) meaning: Meaning,
    subtypes: &'static [Subtype],
}

/// A subtype of a type name.
pub(super) struct Subtype {
    words: Words,
    meaning: Meaning,
}

/// What the words of an event say of its type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    /// Index into `KINDS`.
    kind: u16,
    /// The type, and the subtype, are spelled as that kind's.
    pub(super) is_own_name: bool,
    pub(super) is_own_subtype: bool,
}

impl Meaning {
    pub(super) fn kind(self) -> usize {
        usize::from(self.kind)
    }
}

/// A name of up to 31 bytes and its closing quote, zeros behind it.
pub(super) type Words = [u128; 2];

const fn words(name: &str) -> Words {
    let len = name.len();
    assert!(len < 32, "a name is longer than what it is compared by");
    let mut words = [0; 2];
    let mut index = 0;
    while index <= len {
        let byte = if index < len { name.as_bytes()[index] } else { b'"' };
        words[index / 16] |= (byte as u128) << (8 * (index % 16));
        index += 1;
    }
    words
}

const fn is_same(one: &str, other: &str) -> bool {
    is_equal(&words(one), &words(other))
}

/// Word by word, which costs less than a call that compares memory.
#[inline(always)]
const fn is_equal(one: &Words, other: &Words) -> bool {
    one[0] == other[0] && one[1] == other[1]
}

impl TypeName {
    const fn new(name: &str, kind: usize, subtypes: &'static [Subtype]) -> Self {
        let is_own_name = is_same(name, KINDS[kind].name);
        // Whatever subtype stands beside it is not this kind's, unless it has the same name.
        let meaning = Meaning { kind: kind as u16, is_own_name, is_own_subtype: false };
        Self { words: words(name), meaning, subtypes }
    }

    /// What it means with this subtype.
    pub(super) fn with(&self, subtype: &Words) -> Meaning {
        self.subtypes
            .iter()
            .find(|known| is_equal(&known.words, subtype))
            .map_or(self.meaning, |known| known.meaning)
    }
}

impl Subtype {
    const fn new(name: &str, subtype: &str, kind: usize) -> Self {
        let is_own_name = is_same(name, KINDS[kind].name);
        let is_own_subtype = is_same(subtype, KINDS[kind].subtype);
        Self {
            words: words(subtype),
            meaning: Meaning { kind: kind as u16, is_own_name, is_own_subtype },
        }
    }
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
    /// Its key in paths; empty where its own members stand in the object around it.
    pub(super) name: &'static str,
    /// Index into `RULES` of what its values, or the number of its elements, are checked for; 0 for none.
    pub(super) rule: u16,
    /// Number, from 1, among the repeated fields of its message; 0 for one that is not.
    pub(super) counter: u8,
    pub(super) is_map: bool,
    /// Whether there are rules for what the message in it holds: not where the service wrote it.
    pub(super) is_checked: bool,
}

/// The text between these places, behind which its closing quote stands; nothing when it is longer
/// than any name.
#[inline(always)]
pub(super) fn words_of(input: &[u8], start: usize, end: usize) -> Option<Words> {
    let len = end + 1 - start;
    match len {
        0..=16 => Some([masked(load16(input, start), len), 0]),
        17..=32 => {
            Some([masked(load16(input, start), 16), masked(load16(input, start + 16), len - 16)])
        }
        _ => None,
    }
}

/// The type of this name.
#[inline(always)]
pub(super) fn find_type(words: &Words) -> Option<&'static TypeName> {
    let bucket = key_hash::bucket(words[0], NAMES_MULTIPLIER, NAMES_SHIFT);
    let index = usize::from(NAMES_BUCKETS.get(bucket).copied()?).wrapping_sub(1);
    NAMES.get(index).filter(|found| is_equal(&found.words, words))
}

/// The index of the type with this number.
pub(super) fn kind_of(number: u16) -> usize {
    KINDS.iter().position(|kind| kind.number == number).unwrap_or(0)
}

/// Index of the kind without a name.
pub(super) const KIND_UNKNOWN: usize = 0;
/// Table of the envelope.
pub(super) const EVENT: usize = 0;
/// Shape of the event.
pub(super) const EVENT_SHAPE: usize = 0;
/// Table of the batch's envelope.
pub(super) const BATCH: usize = 1;

include!(concat!(env!("OUT_DIR"), "/tables.rs"));
