//! The short way through an object: members without white space whose values need no look.
//!
//! It compares the text with the key that followed last time, and writes tag, length and value at
//! once. Whatever else comes, it leaves to `object`, and is asked again behind it.

use super::machine::{Envelope, Facts, Seat, Span};
use super::numbers::{near_number, plain_number, short_number};
use super::object::Members;
use super::scan::{
    Ending, Near, equal_bits, far16, graphic_bits, load16, masked, near, near8, near16, quote_bits,
    string_bits,
};
use super::tables::{FIELDS, FLAT_END, Kind, SLOTS, Table, Tag, TypeName, find_type};

/// Why the short way ended.
pub(super) enum Leave {
    /// At the end of the object.
    End,
    /// Before a member whose key it does not know.
    Member,
    /// Before a member of another flat message.
    Flat,
    /// A key came twice.
    Duplicate,
    /// Before the value of the field in the slot.
    Value,
    /// Behind a text or number of the field in the slot that is to be looked at; where its value
    /// starts.
    CheckText(usize),
    CheckNumber(usize, f64),
}

/// A machine's parts by themselves, so that the compiler sees that writing output leaves the
/// positions alone and keeps them in registers.
pub(super) struct Short<'a> {
    pub(super) input: &'a [u8],
    pub(super) out: &'a mut [u8],
    pub(super) seats: &'a mut [Seat; SLOTS],
    pub(super) envelope: &'a mut Envelope,
    pub(super) facts: &'a mut Facts,
    pub(super) ending: &'a mut Ending,
    pub(super) is_nested: bool,
    pub(super) at: usize,
    pub(super) pos: usize,
}

impl Short<'_> {
    /// Goes as far as it can. Stops before the comma (or the first one's brace) in front of the next
    /// member.
    #[inline(always)]
    pub(super) fn go(&mut self, members: &mut Members) -> Leave {
        let (input, table) = (self.input, members.table);
        let (mut at, mut pos) = (self.at, self.pos);
        let (mut slot, mut seen, mut first) = (members.slot, members.seen, members.first);
        let mut order = members.order;
        // Judged once for an object: where keys come in any order, trying costs more than it brings.
        let is_ordered = order >= 0;
        let leave = loop {
            let near = near(input, at, self.ending);
            let expected = usize::from(self.seats[slot % SLOTS].next);
            let mut next = expected;
            let mut field = &FIELDS[next % SLOTS];
            let key_len;
            if is_ordered && field.is_at(near, first) {
                order += 1;
                key_len = usize::from(field.key_len);
            } else if near[0] == b'}' && first == 0 {
                // Before the first field of the table no end is expected: there it has no comma.
                if slot != table.base {
                    self.seats[slot % SLOTS].next = table.base as u16;
                }
                at += 1;
                break Leave::End;
            } else if let Some(found) = find_plain(near, first, table) {
                (next, key_len) = found;
                field = &FIELDS[next % SLOTS];
                self.seats[slot % SLOTS].next = next as u16;
                order += if next == expected { 1 } else { -2 };
            } else {
                break Leave::Member;
            }
            if members.flat != field.flat {
                if field.flat == FLAT_END {
                    at += 1;
                    break Leave::End;
                }
                break Leave::Flat;
            }
            let bit = 1_u64 << (field.bit & 63);
            if seen & bit != 0 {
                break Leave::Duplicate;
            }
            seen |= bit;
            (slot, first) = (next, 0);
            at += key_len;
            // The value's own first byte tells sooner than the field what it is.
            let value = near16(near, key_len);
            let (quotes, others) = string_bits(value);
            let Some(room) = room64(self.out, pos) else { break Leave::Value };
            if quotes & 1 == 1 {
                // A text of up to fourteen bytes that needs no look inside.
                let closing = quotes & (quotes - 1);
                let text = closing ^ closing.wrapping_sub(1);
                let tag = field.text_tag();
                if closing == 0 || others & text != 0 || tag.1 == 0 {
                    if field.kind == Kind::Type
                        && let Some((known, len)) = near_type(near, key_len)
                    {
                        self.envelope.type_name = Some(known);
                        self.envelope.type_text = Span { start: at + 1, end: at + 1 + len };
                        self.envelope.is_script |= field.sub != 0;
                        at += len + 2;
                        continue;
                    }
                    if closing != 0 || others != 0 || tag.1 == 0 {
                        break Leave::Value;
                    }
                    let copied =
                        if key_len < 16 { near_text(near, key_len, room, tag) } else { None };
                    let Some(text) =
                        copied.or_else(|| copy_text(input, at + 1, self.out, pos, tag))
                    else {
                        break Leave::Value;
                    };
                    let len = usize::from(text.len);
                    at += len + 2;
                    pos += usize::from(tag.1) + 1 + len;
                    let passes =
                        if text.is_graphic { field.passes_graphic_len } else { field.passes_len };
                    if text.len > passes {
                        break Leave::CheckText(at - len - 2);
                    }
                    if field.role != 0 && !self.is_nested {
                        self.facts.note(field.role, pos - len..pos);
                    }
                    continue;
                }
                // Between the quotes, and one more.
                let len = closing.trailing_zeros() as usize;
                let tag_len = usize::from(tag.1 & 7);
                room[..4].copy_from_slice(&tag.0.to_le_bytes());
                // The opening quote comes to stand where the length belongs.
                room[tag_len..tag_len + 16].copy_from_slice(&value.to_array());
                room[tag_len] = len as u8 - 1;
                at += len + 1;
                pos += tag_len + len;
                // One test for all fields, so that their order does not matter to it.
                let passed = equal_bits(value, self.seats[slot % SLOTS].passed);
                if !passed & text & field.looks_at_text != 0 {
                    break Leave::CheckText(at - len - 1);
                }
            } else {
                let tag = field.number_tag();
                if tag.1 == 0 {
                    if field.kind == Kind::Timestamp
                        && let Some((time, len)) = near_number(near, key_len)
                    {
                        self.envelope.note_time(time);
                        at += len;
                        continue;
                    }
                    break Leave::Value;
                }
                let word = near8(near, key_len);
                let Some((value, len)) = short_number(word).or_else(|| long_number(input, at))
                else {
                    break Leave::Value;
                };
                let tag_len = usize::from(tag.1 & 7);
                room[..4].copy_from_slice(&tag.0.to_le_bytes());
                room[tag_len..tag_len + 8].copy_from_slice(&value.to_bits().to_le_bytes());
                at += len;
                pos += tag_len + 8;
                if !((field.least <= value) & (value <= field.most)) {
                    break Leave::CheckNumber(at - len, value);
                }
            }
        };
        (self.at, self.pos) = (at, pos);
        (members.slot, members.seen, members.first) = (slot, seen, first);
        members.order = order;
        leave
    }
}

/// A text of 15 to 127 bytes that needed no look inside.
#[derive(Clone, Copy)]
struct Copied {
    len: u8,
    /// All its bytes are from `!` to `~`.
    is_graphic: bool,
}

/// Writes such a text of up to 47 bytes, whose opening quote stands at `at`, which is at most 15;
/// nothing when it is another.
#[inline(always)]
fn near_text(near: &Near, at: usize, room: &mut [u8; 64], tag: Tag) -> Option<Copied> {
    let start = (at & 15) + 1;
    let text = usize::from(tag.1 & 7) + 1;
    let (mut quotes, mut others, mut graphic) = (0_u64, 0_u64, 0_u64);
    room[..4].copy_from_slice(&tag.0.to_le_bytes());
    for part in [0, 16, 32] {
        let chunk = far16(near, start + part);
        room[text + part..text + part + 16].copy_from_slice(&chunk.to_array());
        let bits = string_bits(chunk);
        quotes |= u64::from(bits.0) << part;
        others |= u64::from(bits.1) << part;
        graphic |= u64::from(graphic_bits(chunk)) << part;
    }
    // The bytes before the closing quote.
    let inside = (quotes & quotes.wrapping_neg()).wrapping_sub(1);
    if quotes == 0 || others & inside != 0 {
        return None;
    }
    let len = quotes.trailing_zeros() as u8;
    room[text - 1] = len;
    Some(Copied { len, is_graphic: !graphic & inside == 0 })
}

/// Writes one of any such length, behind its opening quote; nothing when it is another.
#[inline(never)]
fn copy_text(input: &[u8], at: usize, out: &mut [u8], pos: usize, tag: Tag) -> Option<Copied> {
    let room = out.get_mut(pos..)?.first_chunk_mut::<{ 8 + 128 }>()?;
    let text = usize::from(tag.1 & 7) + 1;
    room[..4].copy_from_slice(&tag.0.to_le_bytes());
    let mut others_than_graphic = 0;
    for start in (0..128).step_by(16) {
        let chunk = load16(input, at + start);
        room[text + start..text + start + 16].copy_from_slice(&chunk.to_array());
        let (quotes, others) = string_bits(chunk);
        let ends = quotes | others;
        others_than_graphic |= !graphic_bits(chunk) & (ends ^ ends.wrapping_sub(1));
        if ends != 0 {
            let end = ends.trailing_zeros();
            let len = start + end as usize;
            if quotes >> end & 1 == 0 || len > 0x7F {
                return None;
            }
            room[text - 1] = len as u8;
            return Some(Copied { len: len as u8, is_graphic: others_than_graphic & 0xFFFF == 0 });
        }
    }
    None
}

/// The type of the schema whose name stands between quotes at `at`, which is at most 31, and the
/// name's length.
#[inline(never)]
fn near_type(near: &Near, at: usize) -> Option<(&'static TypeName, usize)> {
    let at = (at & 31) + 1;
    let (first, second) = (far16(near, at), far16(near, at + 16));
    let len = (quote_bits(first) | quote_bits(second) << 16).trailing_zeros() as usize;
    let words =
        [masked(first, (len + 1).min(16)), masked(second, (len + 1).saturating_sub(16) & 31)];
    (len < 31).then_some(())?;
    Some((find_type(&words)?, len))
}

/// A number of more digits, or with a point, and its length.
#[inline(always)]
fn long_number(input: &[u8], at: usize) -> Option<(f64, usize)> {
    plain_number(input, at).map(|(value, end)| (value, end - at))
}

/// The slot of the field whose key these bytes start with, and the length of what stands before the
/// value. Nothing when there is no such field or the key needs a closer look.
#[inline(always)]
pub(super) fn find_plain(near: &Near, first: u32, table: &'static Table) -> Option<(usize, usize)> {
    let name = near16(near, 2);
    let len = (quote_bits(name) | 1 << 16).trailing_zeros() as usize;
    let slot = table.expect(masked(name, len));
    let field = &FIELDS[slot % SLOTS];
    if slot == table.base || !field.is_at(near, first) {
        return None;
    }
    // The same number either way, but the quote tells it without waiting for the field.
    Some((slot, if len < 16 { len + 4 } else { usize::from(field.key_len) }))
}

/// Room for a tag, a length byte and 48 bytes, checked at once.
#[inline(always)]
fn room64(out: &mut [u8], pos: usize) -> Option<&mut [u8; 64]> {
    out.get_mut(pos..)?.first_chunk_mut::<64>()
}
