//! Objects: which key is this, and how its value becomes a field.

use super::encode::{EXTRA, Open, VALUE, varint_len};
use super::keyset;
use super::machine::Machine;
use super::numbers::plain_number;
use super::scan::{Place, after_space, load8, load16, quote_bits, special_bits};
use super::stop::{Fault, Outcome, Stop};
use super::strings::{Key, raw_bytes};
use super::tables::{CHOICES, ENUMS, Field, Kind, TABLES, Table, Tag};

/// Longest key that the fields' texts for comparison hold.
const KEY_BYTES_MAX: usize = 29;

/// What a key turned out to be.
enum Found {
    Field(usize),
    Unknown(Key),
}

/// A message whose keys stand in the object around it, open while its keys come one after another.
/// A parser merges the parts.
#[derive(Clone, Copy)]
struct Flat {
    number: u8,
    open: Option<Open>,
}

/// Where the text at `at` ends when it is exactly this field's key and colon.
#[inline(always)]
fn key_end(input: &[u8], at: usize, field: Option<&Field>) -> Option<usize> {
    let field = field?;
    let Some(chunk) = input.get(at..).and_then(|rest| rest.first_chunk::<16>()) else {
        return key_end_near_the_end(input, at, field);
    };
    let words = u128::from_le_bytes(*chunk);
    let mut other = (words as u64 ^ field.key[0]) & field.mask[0]
        | ((words >> 64) as u64 ^ field.key[1]) & field.mask[1];
    if field.key_len > 16 {
        other |= (load8(input, at + 16) ^ field.key[2]) & field.mask[2]
            | (load8(input, at + 24) ^ field.key[3]) & field.mask[3];
    }
    // A key too long to compare has no length here, and no mask either.
    (other == 0 && field.key_len != 0).then(|| at + usize::from(field.key_len))
}

#[cold]
fn key_end_near_the_end(input: &[u8], at: usize, field: &Field) -> Option<usize> {
    let same = (0..4)
        .all(|index| (load8(input, at + index * 8) ^ field.key[index]) & field.mask[index] == 0);
    (same && field.key_len != 0).then(|| at + usize::from(field.key_len))
}

/// Room for a tag, a length byte and sixteen bytes, checked at once.
#[inline(always)]
fn room32(out: &mut [u8], pos: usize) -> Option<&mut [u8; 32]> {
    out.get_mut(pos..)?.first_chunk_mut::<32>()
}

impl Machine<'_> {
    /// Converts the object whose brace is at the position into fields of the open message.
    pub(super) fn object(&mut self, table: &'static Table) -> Outcome<()> {
        if self.depth >= self.depth_max {
            return Err(Stop::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        self.objects += 1;
        let object = self.objects;
        if self.careful {
            self.look_ahead()?;
        }
        self.space();
        let mut seen = 0_u64;
        let mut unfit = 0_u64;
        let mut slot = table.base;
        let mut flat = Flat { number: 0, open: None };
        if self.byte() == b'}' {
            self.at += 1;
        } else {
            // Positions are kept in locals: the compiler cannot know that a write to the output
            // leaves the machine itself alone. Whatever may stop or look gets them back first.
            let input = self.input;
            let (mut at, mut pos) = (self.at, self.pos);
            loop {
                let predicted = usize::from(self.memory.next[slot]);
                let index = if let Some(end) = key_end(input, at, table.fields.get(predicted)) {
                    at = end;
                    predicted
                } else if let Some((index, end)) = self.find_plain(at, table) {
                    self.memory.next[slot] = index as u8;
                    at = end;
                    index
                } else {
                    (self.at, self.pos) = (at, pos);
                    match self.find_key(table)? {
                        Found::Field(index) => {
                            self.memory.next[slot] = index as u8;
                            at = self.at;
                            index
                        }
                        Found::Unknown(key) => {
                            self.close_flat(&mut flat)?;
                            self.unknown(object, key)?;
                            if self.after_member()? {
                                break;
                            }
                            (at, pos) = (self.at, self.pos);
                            continue;
                        }
                    }
                };
                let field = &table.fields[index];
                let bit = 1_u64 << (field.bit & 63);
                if self.careful {
                    self.at = after_space(input, at);
                    self.pos = pos;
                    if let Some(name) = self.superseded(table, index, seen & bit != 0) {
                        self.close_flat(&mut flat)?;
                        self.carry(&Key::Named(name))?;
                        if self.after_member()? {
                            break;
                        }
                        (at, pos) = (self.at, self.pos);
                        continue;
                    }
                } else if seen & bit != 0 {
                    return Err(Stop::Duplicate);
                }
                seen |= bit;
                slot = table.base + 1 + index;
                if flat.number != field.flat {
                    (self.at, self.pos) = (at, pos);
                    self.switch_flat(&mut flat, table, field.flat)?;
                    pos = self.pos;
                }
                if let Some(ends) = self.plain_value(field, slot, at, pos) {
                    (at, pos) = ends;
                } else {
                    self.at = after_space(input, at);
                    self.pos = pos;
                    let (value_at, value_pos) = (self.at, self.pos);
                    let fits = self.value(field, slot)?;
                    if !fits || self.inexact {
                        if !fits {
                            self.pos = value_pos;
                            unfit |= bit;
                        }
                        self.inexact = false;
                        self.close_flat(&mut flat)?;
                        self.at = value_at;
                        self.carry(&Key::Static(field.name))?;
                    }
                    (at, pos) = (self.at, self.pos);
                }
                // One look for what nearly always follows.
                if let Some([b',', b'"', ..]) = input.get(at..) {
                    at += 1;
                } else {
                    (self.at, self.pos) = (at, pos);
                    if self.after_member()? {
                        break;
                    }
                    at = self.at;
                }
            }
        }
        self.close_flat(&mut flat)?;
        self.fitted = seen & !unfit;
        if self.careful {
            self.ahead.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads what stands behind a member; true at the object's end.
    #[inline(always)]
    pub(super) fn after_member(&mut self) -> Outcome<bool> {
        self.space();
        match self.byte() {
            b',' => {
                self.at += 1;
                self.space();
                Ok(false)
            }
            b'}' => {
                self.at += 1;
                Ok(true)
            }
            _ => self.fault(Fault::CommaOrBrace),
        }
    }

    /// The field whose plain key, with its colon right behind it, stands at `at`, and where the
    /// colon ends. Nothing when there is no such field or the key needs a closer look.
    #[inline(always)]
    fn find_plain(&self, at: usize, table: &'static Table) -> Option<(usize, usize)> {
        let input = self.input;
        let start = at + 1;
        let mut len = 0;
        loop {
            let bits = quote_bits(load16(input, start + len));
            if bits != 0 {
                len += bits.trailing_zeros() as usize;
                break;
            }
            len += 16;
            if len > KEY_BYTES_MAX {
                return None;
            }
        }
        if self.salvage {
            return None;
        }
        let index = table.expect(load8(input, start), len, || load8(input, start + len - 8));
        key_end(input, at, table.fields.get(index)).map(|end| (index, end))
    }

    /// Converts a value that needs no look: short text, a number of few digits, a flag. Gives where
    /// it ends in input and output; nothing when the value is another, with nothing written.
    #[inline(always)]
    fn plain_value(
        &mut self,
        field: &'static Field,
        slot: usize,
        at: usize,
        pos: usize,
    ) -> Option<(usize, usize)> {
        let first = *self.input.get(at)?;
        let tag = match field.kind {
            Kind::Text if first == b'"' => field.tag(),
            Kind::Double if first != b'"' => field.tag(),
            Kind::Choice => {
                let choice = &CHOICES[usize::from(field.sub)];
                let tag = if first == b'"' { choice.text } else { choice.number };
                if tag.1 == 0 {
                    return None;
                }
                tag
            }
            Kind::Bool => return self.plain_flag(field.tag(), at, pos),
            _ => return None,
        };
        if first == b'"' {
            return self.plain_text(field, tag, slot, at, pos);
        }
        let (value, end) = plain_number(self.input, at)?;
        let room = room32(self.out, pos)?;
        room[..4].copy_from_slice(&tag.0.to_le_bytes());
        let len = usize::from(tag.1 & 7);
        room[len..len + 8].copy_from_slice(&value.to_bits().to_le_bytes());
        if field.rule != 0 {
            self.check_number(field, value, at);
        }
        Some((end, pos + len + 8))
    }

    #[inline(always)]
    fn plain_text(
        &mut self,
        field: &'static Field,
        tag: Tag,
        slot: usize,
        at: usize,
        pos: usize,
    ) -> Option<(usize, usize)> {
        if self.salvage || self.memory.reserve[slot] != 1 {
            return None;
        }
        let chunk = *self.input.get(at + 1..)?.first_chunk::<16>()?;
        let bits = special_bits(chunk);
        let len = bits.trailing_zeros() as usize;
        if bits == 0 || chunk[len & 15] != b'"' {
            return None;
        }
        let room = room32(self.out, pos)?;
        room[..4].copy_from_slice(&tag.0.to_le_bytes());
        let before = usize::from(tag.1 & 7) + 1;
        room[before - 1] = len as u8;
        room[before..before + 16].copy_from_slice(&chunk);
        let start = pos + before;
        if field.rule != 0 {
            self.check_text(field, start..start + len, at, slot);
        }
        Some((at + len + 2, start + len))
    }

    #[inline(always)]
    fn plain_flag(&mut self, tag: Tag, at: usize, pos: usize) -> Option<(usize, usize)> {
        let word = load8(self.input, at);
        let (value, end) = if word as u32 == u32::from_le_bytes(*b"true") {
            (true, at + 4)
        } else if word & 0xFF_FFFF_FFFF == u64::from_le_bytes(*b"false\0\0\0") {
            (false, at + 5)
        } else {
            return None;
        };
        let room = room32(self.out, pos)?;
        room[..4].copy_from_slice(&tag.0.to_le_bytes());
        let len = usize::from(tag.1 & 7);
        room[len] = u8::from(value);
        Some((end, pos + len + 1))
    }

    /// Reads a key that was not the predicted one, its colon and the space around it.
    #[inline(never)]
    fn find_key(&mut self, table: &'static Table) -> Outcome<Found> {
        let key = self.read_key()?;
        let input = self.input;
        let found = match &key {
            Key::Plain(range) => table.find(&input[range.clone()]),
            Key::Decoded(range) => {
                let mut bytes = Vec::new();
                raw_bytes(&input[range.clone()], &mut bytes);
                table.find(&bytes)
            }
            Key::Static(_) | Key::Named(_) => None,
        };
        Ok(match found {
            Some(index) => Found::Field(index),
            None => Found::Unknown(key),
        })
    }

    /// Reads any key, its colon and the space around it.
    pub(super) fn read_key(&mut self) -> Outcome<Key> {
        if self.byte() != b'"' {
            return self.fault(Fault::Key);
        }
        self.at += 1;
        let start = self.at;
        let mut at = start;
        let plain_end = loop {
            let bits = special_bits(load16(self.input, at));
            if bits == 0 {
                at += 16;
                continue;
            }
            at += bits.trailing_zeros() as usize;
            break at;
        };
        let key = if self.byte_at(plain_end) == b'"' && !self.salvage {
            self.at = plain_end + 1;
            Key::Plain(start..plain_end)
        } else {
            let end = self.skip_string(Place::Key)?;
            Key::Decoded(start..end)
        };
        self.colon()?;
        Ok(key)
    }

    #[inline(always)]
    fn close_flat(&mut self, flat: &mut Flat) -> Outcome<()> {
        if let Some(open) = flat.open.take() {
            self.close(open)?;
        }
        flat.number = 0;
        Ok(())
    }

    fn switch_flat(&mut self, flat: &mut Flat, table: &'static Table, number: u8) -> Outcome<()> {
        self.close_flat(flat)?;
        if number != 0 {
            flat.open = Some(self.open(table.flats[usize::from(number) - 1], 1)?);
            flat.number = number;
        }
        Ok(())
    }

    /// Carries a member that the message has no field for.
    #[inline(never)]
    fn unknown(&mut self, object: u64, key: Key) -> Outcome<()> {
        let input = self.input;
        if self.careful {
            let mut bytes = Vec::new();
            if let Key::Plain(range) | Key::Decoded(range) = &key {
                raw_bytes(&input[range.clone()], &mut bytes);
            }
            return match self.superseded_key(&bytes) {
                Some(name) => self.carry(&Key::Named(name)),
                None => self.carry(&key),
            };
        }
        if !self.note_key(object, &key) {
            return Err(Stop::Duplicate);
        }
        self.carry(&key)
    }

    /// Notes a key that has no place in the set of seen fields; false when it came before.
    pub(super) fn note_key(&mut self, object: u64, key: &Key) -> bool {
        let input = self.input;
        let hash = match key {
            Key::Plain(range) => keyset::hash(object, &input[range.clone()]),
            Key::Decoded(range) => {
                let mut bytes = Vec::new();
                raw_bytes(&input[range.clone()], &mut bytes);
                keyset::hash(object, &bytes)
            }
            Key::Static(name) => keyset::hash(object, name.as_bytes()),
            Key::Named(name) => keyset::hash(object, name.as_bytes()),
        };
        self.memory.keys.insert(hash)
    }

    /// Carries the value at the position in `extra`, as its JSON text.
    #[inline(never)]
    pub(super) fn carry(&mut self, key: &Key) -> Outcome<()> {
        let start = self.at;
        self.place = Place::Member;
        self.skip_value()?;
        self.inexact = false;
        let end = self.at;
        if let Key::Plain(name) = key
            && self.input[start..end].is_ascii()
        {
            // All lengths are known: nothing to move afterwards.
            let inner =
                2 + varint_len(name.len()) + name.len() + varint_len(end - start) + end - start;
            self.put_varint(EXTRA, inner as u64)?;
            self.put_key(key)?;
            self.put_varint(VALUE, (end - start) as u64)?;
            return self.put_input(start..end);
        }
        let entry = self.open(EXTRA, 1)?;
        self.put_key(key)?;
        self.json_text(VALUE, start, end)?;
        self.close(entry)?;
        Ok(())
    }

    /// A part of the input as text.
    pub(super) fn json_text(&mut self, tag: Tag, start: usize, end: usize) -> Outcome<()> {
        let text = self.open(tag, varint_len(end - start))?;
        if self.put_repaired(start..end)? {
            self.raw_at(start, end);
        }
        self.close(text)?;
        Ok(())
    }

    /// Converts the value at the position; false when the field can't hold it. What was written
    /// then is the caller's to take back.
    #[inline(never)]
    pub(super) fn value(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        match field.kind {
            Kind::Double => {
                let at = self.at;
                if !matches!(self.byte(), b'0'..=b'9' | b'-') && !self.at_number_word() {
                    return Ok(false);
                }
                let value = self.number()?;
                self.put_fixed(field.tag(), value.to_bits())?;
                if field.rule != 0 {
                    self.check_number(field, value, at);
                }
                Ok(true)
            }
            Kind::Text => {
                if self.byte() != b'"' {
                    return Ok(false);
                }
                let at = self.at;
                self.at += 1;
                let range = self.text(field.tag(), Place::Member, slot)?;
                if field.rule != 0 {
                    self.check_text(field, range, at, slot);
                }
                Ok(true)
            }
            Kind::Message => {
                if self.byte() != b'{' {
                    return Ok(false);
                }
                self.message(field.tag(), usize::from(field.sub), slot)?;
                Ok(true)
            }
            Kind::MessageList
            | Kind::Changes
            | Kind::TextList
            | Kind::DoubleList
            | Kind::BoolList => self.list(field, slot),
            Kind::Choice => self.choice(field, slot),
            Kind::Bool => match self.flag()? {
                Some(value) => self.put_bool(field.tag(), value).map(|()| true),
                None => Ok(false),
            },
            _ => self.value_rare(field, slot),
        }
    }

    /// Whether a number's word stands here (and not `null`).
    #[inline(always)]
    fn at_number_word(&self) -> bool {
        match self.byte() {
            b'i' | b'I' | b'N' => true,
            b'n' => self.byte_at(self.at + 1) == b'a',
            _ => false,
        }
    }

    /// Whether a number starts here.
    pub(super) fn at_number(&self) -> bool {
        matches!(self.byte(), b'0'..=b'9' | b'-') || self.at_number_word()
    }

    /// One message: its tag, its length, its fields.
    #[inline(always)]
    pub(super) fn message(&mut self, tag: Tag, table: usize, slot: usize) -> Outcome<()> {
        let reserved = usize::from(self.memory.reserve[slot]);
        let open = self.open(tag, reserved)?;
        self.object(&TABLES[table])?;
        let took = self.close(open)?;
        if took != reserved {
            self.memory.reserve[slot] = took as u8;
        }
        Ok(())
    }

    pub(super) fn flag(&mut self) -> Outcome<Option<bool>> {
        match self.byte() {
            b't' => self.literal(b"true").map(|()| Some(true)),
            b'f' => self.literal(b"false").map(|()| Some(false)),
            _ => Ok(None),
        }
    }

    #[inline(always)]
    fn choice(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        let choice = &CHOICES[usize::from(field.sub)];
        let at = self.at;
        match self.byte() {
            b'"' if choice.text.1 != 0 => {
                self.at += 1;
                let range = self.text(choice.text, Place::Member, slot)?;
                if field.rule != 0 {
                    self.check_text(field, range, at, slot);
                }
                Ok(true)
            }
            b'{' if choice.object.1 != 0 => {
                self.message(choice.object, choice.table, slot)?;
                Ok(true)
            }
            b't' | b'f' if choice.flag.1 != 0 => {
                let value = self.flag()?.unwrap_or_default();
                self.put_bool(choice.flag, value)?;
                Ok(true)
            }
            _ if choice.number.1 != 0 && self.at_number() => {
                let value = self.number()?;
                self.put_fixed(choice.number, value.to_bits())?;
                if field.rule != 0 {
                    self.check_number(field, value, at);
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    #[inline(never)]
    fn value_rare(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        match field.kind {
            Kind::MessageMap | Kind::TextMap | Kind::JsonMap | Kind::DoubleMap => {
                self.map(field, slot)
            }
            Kind::Enum => self.enumeration(field),
            Kind::Unsigned64 => self.whole(field, u64::MAX, false),
            Kind::Unsigned32 => self.whole(field, u64::from(u32::MAX), false),
            Kind::Signed64 => self.whole(field, i64::MAX as u64, true),
            Kind::Signed32 => self.whole(field, i32::MAX as u64, true),
            _ => self.envelope_value(field, slot),
        }
    }

    /// An enum's value by its short name in lower case.
    fn enumeration(&mut self, field: &'static Field) -> Outcome<bool> {
        if self.byte() != b'"' {
            return Ok(false);
        }
        self.at += 1;
        let start = self.at;
        let end = self.skip_string(Place::Member)?;
        let text = &self.input[start..end];
        let names = ENUMS[usize::from(field.sub)];
        let Some((_, number)) = names.iter().find(|(name, _)| name.as_bytes() == text) else {
            return Ok(false);
        };
        if field.name == "priority" && self.nested == 0 {
            self.facts.priority = *number as u8;
        }
        self.put_varint(field.tag(), u64::from(*number))?;
        Ok(true)
    }

    /// An integer field takes only tokens that are integers within its range.
    fn whole(&mut self, field: &'static Field, max: u64, signed: bool) -> Outcome<bool> {
        let start = self.at;
        if !self.at_number() {
            return Ok(false);
        }
        self.number()?;
        self.inexact = false;
        let token = &self.input[start..self.at];
        let (negative, digits) = match token.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, token),
        };
        let value = digits.iter().try_fold(0_u64, |value, digit| {
            let digit = u64::from(digit.wrapping_sub(b'0'));
            if digit > 9 { None } else { value.checked_mul(10)?.checked_add(digit) }
        });
        let Some(value) = value.filter(|value| *value <= max && (signed || !negative)) else {
            return Ok(false);
        };
        if field.name == "producer_sequence" && self.nested == 0 {
            self.facts.producer_sequence = Some(value);
        }
        let value = if negative { (value as i64).wrapping_neg() as u64 } else { value };
        self.put_varint(field.tag(), value)?;
        Ok(true)
    }

    /// Reads the keys of the object at the position (behind its brace) without their values.
    #[cold]
    fn look_ahead(&mut self) -> Outcome<()> {
        let start = self.at;
        let mut keys = std::collections::HashMap::new();
        self.space();
        if self.byte() != b'}' {
            loop {
                let key = self.read_key()?;
                let mut bytes = Vec::new();
                if let Key::Plain(range) | Key::Decoded(range) = key {
                    raw_bytes(&self.input[range], &mut bytes);
                }
                keys.entry(bytes).or_insert((0, 0)).1 += 1;
                self.place = Place::Member;
                self.skip_value()?;
                self.inexact = false;
                if self.after_member()? {
                    break;
                }
            }
        }
        self.at = start;
        self.ahead.push(keys);
        Ok(())
    }

    /// In careful mode: the name under which this field's value is carried because the same key, or
    /// one that means the same and comes first in the schema, says it elsewhere.
    #[cold]
    fn superseded(&mut self, table: &'static Table, index: usize, seen: bool) -> Option<String> {
        let field = &table.fields[index];
        let name = self.superseded_key(field.name.as_bytes());
        if name.is_some() {
            return name;
        }
        let keys = self.ahead.last()?;
        let other = table.fields[..index]
            .iter()
            .any(|other| other.bit == field.bit && keys.contains_key(other.name.as_bytes()));
        (other || seen).then(|| field.name.to_owned())
    }

    /// In careful mode: the name under which this key's value is carried because the key comes again.
    #[cold]
    pub(super) fn superseded_key(&mut self, key: &[u8]) -> Option<String> {
        let keys = self.ahead.last_mut()?;
        let (met, all) = keys.get_mut(key)?;
        *met += 1;
        if met == all {
            return None;
        }
        let mut name = format!("{}#{met}", String::from_utf8_lossy(key));
        while keys.contains_key(name.as_bytes()) {
            name.push('#');
        }
        Some(name)
    }
}
