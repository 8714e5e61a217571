//! The short way through an object: members whose values need no look, with no white space, or with
//! the single spaces behind commas and colons that many programs print.
//!
//! It compares the text with the key that followed last time, and writes tag, length and value at
//! once. Whatever else comes, it leaves to `object`, and is asked again behind it.

use super::machine::{Envelope, LastType, Machine, Span};
use super::numbers::{any_number, longer_number, tiny_number};
use super::object::Members;
use super::scan::{
    NEAR, Near, after_space, equal_bits, far16, graphic_bits, load16, masked, near8, near16,
    quote_bits, string_bits,
};
use super::stop::{Fault, Outcome, Stop};
use super::tables::{FIELDS, FLATS, Field, Kind, SLOTS, Table, Tag, find_type};

/// Where `Seat::order` ends: one or two objects whose keys come in the last order make up for it.
const ORDER_MAX: i32 = 8;

/// Why the short way ended.
enum Leave {
    /// Before a member whose key it does not know.
    Member,
    /// A key came twice, or belongs to another flat message.
    Barred,
    /// Before the value of the field in the slot.
    Value,
    /// Behind a text or number of the field in the slot that is to be looked at; where its value
    /// starts.
    CheckText(usize),
    CheckNumber(usize, f64),
}

impl Machine<'_> {
    /// All members of an object, the short way where it goes. Whether they are `ORDERED` was judged
    /// once for the object: where keys come in any order, trying costs more than it brings.
    #[inline(never)]
    pub(super) fn members<const ORDERED: bool>(&mut self, members: &mut Members) -> Outcome<()> {
        loop {
            // What is left of both, and where both end, so that a member takes one look at each.
            let (mut end, out_end) = (self.input.len(), self.out.len());
            let Some(mut rest) = self.input.get(self.at..) else {
                return self.fault(Fault::CommaOrBrace);
            };
            let Some(mut free) = self.out.get_mut(self.pos..) else { return Err(Stop::NoRoom) };
            let (mut slot, mut seen) = (members.slot, members.seen);
            // The position is on the space behind a comma or the first brace.
            let mut is_spaced = false;
            let leave = 'members: loop {
                let Some(near) = rest.first_chunk::<NEAR>() else {
                    if let Some(ending) = self.memory.ending.rest(rest.len())
                        && end == self.input.len()
                    {
                        rest = ending;
                        end += NEAR;
                        continue;
                    }
                    break Leave::Member;
                };
                let mut next = usize::from(self.memory.seats[slot % SLOTS].next);
                let mut field = &FIELDS[next % SLOTS];
                let mut key_len = usize::from(field.key_len & 31);
                if !ORDERED || !field.is_at(near, 0) {
                    let head = near_word(near);
                    if head as u8 == b'}' {
                        (self.at, self.pos) = (end - rest.len() + 1, out_end - free.len());
                        members.seen = seen;
                        // Keys that came as expected were not counted one by one.
                        if !ORDERED || (members.order, members.misses) != (ORDER_MAX, 0) {
                            let order = members.order_after::<ORDERED>();
                            self.memory.seat(members.table.base).order = order;
                        }
                        return Ok(());
                    }
                    // What many programs print between members, beside the comma.
                    if head >> 8 == u16::from(b' ') && !is_spaced && head as u8 != b' ' {
                        if head as u8 != b',' && !(head as u8 == b'{' && members.first == 1) {
                            break Leave::Member;
                        }
                        is_spaced = true;
                        rest = &rest[1..];
                        continue;
                    }
                    // An object's first key has no comma before it.
                    let is_first = head as u8 == b'{' && members.first == 1;
                    let given = u32::from(is_first || is_spaced);
                    if !ORDERED || given == 0 || !field.is_at(near, 1) {
                        let found = if ORDERED {
                            look_up(near, given, members)
                        } else {
                            find_plain(near, given, members.table)
                        };
                        let Some(found) = found else {
                            end -= usize::from(is_spaced);
                            break Leave::Member;
                        };
                        if !ORDERED {
                            members.misses += if found.0 == next { -1 } else { 2 };
                        }
                        (next, key_len) = (found.0, found.1 & 31);
                        field = &FIELDS[next % SLOTS];
                        self.memory.seats[slot % SLOTS].next = next as u16;
                    }
                    members.first = 0;
                }
                if seen & field.guard != 0 {
                    end -= usize::from(is_spaced);
                    break Leave::Barred;
                }
                is_spaced = false;
                seen |= field.mask;
                slot = next;
                let Some(room) = free.first_chunk_mut::<64>() else {
                    rest = &rest[key_len..];
                    break Leave::Value;
                };
                // The value's own first byte tells sooner than the field what it is.
                while near[key_len] != b'"' {
                    let tag = field.number_tag();
                    let number = match tag.1 {
                        0 => None,
                        _ => tiny_number(near8(near, key_len) as u32),
                    };
                    if number.is_none() && near[key_len] == b' ' && key_len < 31 {
                        key_len += 1;
                        continue;
                    }
                    if tag.1 == 0 {
                        if field.kind == Kind::Timestamp {
                            let (time, len) = longer_number(near, key_len);
                            if len != 0 {
                                self.envelope.note_time(time);
                                rest = &rest[key_len + len..];
                                continue 'members;
                            }
                        }
                        let tag = field.flag_tag();
                        let (read, written) = match tag.1 {
                            0 => (0, 0),
                            _ => near_flag(near, key_len, room, tag),
                        };
                        if read == 0 {
                            rest = &rest[key_len..];
                            break 'members Leave::Value;
                        }
                        rest = &rest[key_len + read..];
                        free = &mut free[written & 63..];
                        continue 'members;
                    }
                    let (value, len) = number
                        .or_else(|| Some(longer_number(near, key_len)).filter(|found| found.1 != 0))
                        .unwrap_or_else(|| any_number(rest, key_len));
                    if len == 0 {
                        rest = &rest[key_len..];
                        break 'members Leave::Value;
                    }
                    let tag_len = usize::from(tag.1 & 7);
                    room[..4].copy_from_slice(&tag.0.to_le_bytes());
                    room[tag_len..tag_len + 8].copy_from_slice(&value.to_bits().to_le_bytes());
                    rest = &rest[key_len + len..];
                    free = &mut free[tag_len + 8..];
                    if !((field.least <= value) & (value <= field.most)) {
                        break 'members Leave::CheckNumber(end - rest.len() - len, value);
                    }
                    continue 'members;
                }
                // A text of up to fourteen bytes that needs no look inside.
                let value = near16(near, key_len);
                let (quotes, others) = string_bits(value);
                let closing = quotes & quotes.wrapping_sub(1);
                let text = closing ^ closing.wrapping_sub(1);
                let tag = field.text_tag();
                if closing != 0 && others & text == 0 && tag.1 != 0 {
                    // Between the quotes, and one more.
                    let len = closing.trailing_zeros() as usize & 15;
                    let tag_len = usize::from(tag.1 & 7);
                    room[..4].copy_from_slice(&tag.0.to_le_bytes());
                    // The opening quote comes to stand where the length belongs.
                    room[tag_len..tag_len + 16].copy_from_slice(&value.to_array());
                    room[tag_len] = len as u8 - 1;
                    rest = &rest[key_len + len + 1..];
                    free = &mut free[tag_len + len..];
                    // One test for all fields, so that their order does not matter to it.
                    let passed = equal_bits(value, self.memory.seats[slot % SLOTS].passed);
                    if !passed & text & field.looks_at_text != 0 {
                        break Leave::CheckText(end - rest.len() - len - 1);
                    }
                    continue;
                }
                if tag.1 == 0 {
                    let start = end - rest.len() + key_len;
                    let last = &mut self.memory.last_type;
                    let read = name_text(field, near, key_len, start, &mut self.envelope, last);
                    rest = &rest[key_len + read..];
                    if read == 0 {
                        break Leave::Value;
                    }
                    continue;
                }
                let start = end - rest.len() + key_len;
                rest = &rest[key_len..];
                if closing != 0 || others != 0 {
                    break Leave::Value;
                }
                let Some(text) = near_text(near, key_len, room, tag)
                    .or_else(|| copy_text(self.input, start + 1, free, tag))
                else {
                    break Leave::Value;
                };
                let len = usize::from(text.len);
                rest = &rest[len + 2..];
                free = &mut free[usize::from(tag.1 & 7) + 1 + len..];
                let passes =
                    if text.is_graphic { field.passes_graphic_len } else { field.passes_len };
                if text.len > passes {
                    break Leave::CheckText(start);
                }
                if field.role != 0 && self.nested == 0 {
                    let pos = out_end - free.len();
                    self.facts.note(field.role, pos - len..pos);
                }
            };
            (self.at, self.pos) = (end - rest.len(), out_end - free.len());
            (members.slot, members.seen) = (slot, seen);
            if self.left(members, leave)? {
                return Ok(());
            }
        }
    }

    /// Does what the short way left; true at the object's end.
    #[inline(always)]
    fn left(&mut self, members: &mut Members, leave: Leave) -> Outcome<bool> {
        let field = &FIELDS[members.slot % SLOTS];
        match leave {
            Leave::Value => match field.kind {
                Kind::Payload if self.byte() == b'{' && self.payload(field, members.slot)? => {}
                _ => {
                    self.at = after_space(self.input, self.at);
                    self.member_value(members)?;
                }
            },
            Leave::Member => return self.member(members),
            Leave::Barred => {
                let next = self.memory.seat(members.slot).next;
                let flat = FIELDS[usize::from(next) % SLOTS].flat;
                if flat == members.flat {
                    return Err(Stop::Duplicate);
                }
                // Back before the key, which may be the first.
                members.first = u32::from(self.byte() == b'{');
                self.switch_flat(members, flat)?;
            }
            Leave::CheckText(at) => {
                let len = self.at - at - 2;
                let range = self.pos - len..self.pos;
                if len > 14 {
                    self.check_text(field, range, at);
                } else {
                    let text = load16(self.input, at);
                    self.check_short_text(field, members.slot, text, at, range);
                }
            }
            Leave::CheckNumber(at, value) => self.check_number(field, value, at),
        }
        Ok(false)
    }
}

impl Members {
    /// How far keys came in the order of the last ones, at an object's end.
    #[inline(always)]
    fn order_after<const ORDERED: bool>(&self) -> i8 {
        let hits = if ORDERED { (self.seen & !FLATS).count_ones() as i32 } else { 0 };
        (self.order + hits - self.misses).clamp(-ORDER_MAX, ORDER_MAX) as i8
    }
}

/// [`find_plain`] where another key was expected. Takes all of `members`, so that nothing of it is
/// kept at hand where keys are as expected.
#[cold]
#[inline(never)]
fn look_up(near: &Near, given: u32, members: &mut Members) -> Option<(usize, usize)> {
    members.misses += 3;
    find_plain(near, given, members.table)
}

/// The first two bytes.
#[inline(always)]
fn near_word(near: &Near) -> u16 {
    near8(near, 0) as u16
}

/// A text of 15 to 127 bytes that needed no look inside.
#[derive(Clone, Copy)]
struct Copied {
    len: u8,
    /// All its bytes are from `!` to `~`.
    is_graphic: bool,
}

/// Writes such a text of up to 47 bytes, whose opening quote stands at `at`; nothing when it is
/// another, or stands further on than 15.
#[inline(never)]
fn near_text(near: &Near, at: usize, room: &mut [u8; 64], tag: Tag) -> Option<Copied> {
    if at > 15 {
        return None;
    }
    let start = at + 1;
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
fn copy_text(input: &[u8], at: usize, free: &mut [u8], tag: Tag) -> Option<Copied> {
    let room = free.first_chunk_mut::<{ 8 + 128 }>()?;
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

/// Writes the flag at `at` (at most 31). How many bytes it has, 0 when it is none, and how many were
/// written.
#[inline(never)]
fn near_flag(near: &Near, at: usize, room: &mut [u8; 64], tag: Tag) -> (usize, usize) {
    let flag = match near8(near, at).to_le_bytes() {
        [b't', b'r', b'u', b'e', ..] => true,
        [b'f', b'a', b'l', b's', b'e', ..] => false,
        _ => return (0, 0),
    };
    let tag_len = usize::from(tag.1 & 7);
    room[..4].copy_from_slice(&tag.0.to_le_bytes());
    room[tag_len] = u8::from(flag);
    (if flag { 4 } else { 5 }, tag_len + 1)
}

/// Takes a text at `at` (at most 31) of a field other than of texts: the name of the type, or of the
/// subtype, which stand at `start` of the input. How many bytes it has with its quotes, 0 when it is
/// another.
#[inline(never)]
fn name_text(
    field: &Field,
    near: &Near,
    at: usize,
    start: usize,
    envelope: &mut Envelope,
    last: &mut LastType,
) -> usize {
    let value = near16(near, at);
    let (quotes, others) = string_bits(value);
    let closing = quotes & quotes.wrapping_sub(1);
    let text = closing ^ closing.wrapping_sub(1);
    let is_short = closing != 0 && others & text == 0;
    let mut len = closing.trailing_zeros() as usize + 1;
    match field.kind {
        Kind::Type => {
            // Most events are of the type of the one before, and most names that short.
            if !is_short || !equal_bits(value, last.text) & text != 0 {
                len = near_type(near, at, last);
            }
            if len != 0 {
                envelope.type_name = last.name;
                envelope.type_text = Span { start: start + 1, end: start + len - 1 };
                envelope.is_script |= field.sub != 0;
            }
            len
        }
        Kind::Subtype if is_short => {
            envelope.subtype = Span { start: start + 1, end: start + len - 1 };
            len
        }
        _ => 0,
    }
}

/// Looks up the type of the schema whose name stands there; the name's length with its quotes, 0 when
/// it is of no type.
#[inline(always)]
fn near_type(near: &Near, at: usize, last: &mut LastType) -> usize {
    let at = at & 31;
    let (first, second) = (far16(near, at + 1), far16(near, at + 17));
    let len = (quote_bits(first) | quote_bits(second) << 16).trailing_zeros() as usize;
    if len >= 31 {
        return 0;
    }
    let words =
        [masked(first, (len + 1).min(16)), masked(second, (len + 1).saturating_sub(16) & 31)];
    match find_type(&words) {
        Some(name) => {
            *last = LastType { text: near16(near, at), name: Some(name) };
            len + 2
        }
        None => 0,
    }
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
