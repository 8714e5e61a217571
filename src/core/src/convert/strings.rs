//! Text: copied sixteen bytes at a time while it needs no look, decoded and repaired when it does.

use super::encode::KEY;
use super::machine::{Machine, RawAt};
use super::scan::{Place, load16, string_bits};
use super::stop::{Fault, Outcome, Stop, syntax};
use super::tables::Tag;
use std::ops::Range;

impl Machine<'_> {
    /// Writes the string whose opening quote was read, without tag or length.
    #[inline(always)]
    pub(super) fn string(&mut self, place: Place) -> Outcome<()> {
        let (start, start_pos) = (self.at, self.pos);
        loop {
            let chunk = load16(self.input, self.at);
            match self.out.get_mut(self.pos..).and_then(|rest| rest.first_chunk_mut::<16>()) {
                Some(room) => *room = chunk.to_array(),
                None => return Err(Stop::NoRoom),
            }
            let (quotes, others) = string_bits(chunk);
            if quotes | others == 0 {
                self.at += 16;
                self.pos += 16;
                continue;
            }
            let len = (quotes | others).trailing_zeros() as usize;
            self.at += len;
            self.pos += len;
            if quotes >> len & 1 == 1 && !self.salvage {
                self.at += 1;
                return Ok(());
            }
            self.at = start;
            self.pos = start_pos;
            return self.string_decoded(place);
        }
    }

    /// The same for text with escapes, control characters or bytes beyond ASCII.
    #[inline(never)]
    fn string_decoded(&mut self, place: Place) -> Outcome<()> {
        let start = self.at;
        let end = self.skip_string(place)?;
        if self.decode(start..end)? {
            self.raw_at(start, end);
        }
        Ok(())
    }

    /// Writes a tagged string whose opening quote was read; returns its place in the output.
    ///
    /// Positions are kept in locals: the compiler cannot know that a write to the output leaves the
    /// machine itself alone, and would load everything again after each.
    #[inline(always)]
    pub(super) fn text(&mut self, tag: Tag, place: Place, slot: usize) -> Outcome<Range<usize>> {
        let input = self.input;
        let reserved = usize::from(self.memory.seat(slot).reserve);
        let mut at = self.at;
        let out = &mut *self.out;
        match out.get_mut(self.pos..).and_then(|rest| rest.first_chunk_mut::<16>()) {
            Some(room) => room[..4].copy_from_slice(&tag.0.to_le_bytes()),
            None => return Err(Stop::NoRoom),
        }
        let start = self.pos + usize::from(tag.1) + reserved;
        let mut pos = start;
        loop {
            let chunk = load16(input, at);
            match out.get_mut(pos..).and_then(|rest| rest.first_chunk_mut::<16>()) {
                Some(room) => *room = chunk.to_array(),
                None => return Err(Stop::NoRoom),
            }
            let (quotes, others) = string_bits(chunk);
            if quotes | others == 0 {
                at += 16;
                pos += 16;
                continue;
            }
            let len = (quotes | others).trailing_zeros() as usize;
            at += len;
            pos += len;
            if quotes >> len & 1 == 1 && reserved == 1 && pos - start < 0x80 && !self.salvage {
                out[start - 1] = (pos - start) as u8;
                self.at = at + 1;
                self.pos = pos;
                return Ok(start..pos);
            }
            return self.text_long(tag, place, slot);
        }
    }

    /// The same for text with a longer length, or one that needs a look.
    #[inline(never)]
    fn text_long(&mut self, tag: Tag, place: Place, slot: usize) -> Outcome<Range<usize>> {
        let reserved = usize::from(self.memory.seat(slot).reserve);
        let open = self.open(tag, reserved)?;
        self.string(place)?;
        let len = self.pos - open.body();
        let took = self.close(open)?;
        if took != reserved {
            self.memory.seat(slot).reserve = took as u8;
        }
        Ok(self.pos - len..self.pos)
    }

    /// Notes that a text of the input stands repaired in the output.
    #[cold]
    pub(super) fn raw_at(&mut self, start: usize, end: usize) {
        self.raw.push(RawAt { start, end });
    }

    /// Writes what stands between two quotes, escapes undone; true when it had to be repaired.
    pub(super) fn decode(&mut self, range: Range<usize>) -> Outcome<bool> {
        let mut repaired = false;
        let mut at = range.start;
        while at < range.end {
            let rest = &self.input[at..range.end];
            let run = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            if run > 0 {
                repaired |= self.put_repaired(at..at + run)?;
                at += run;
                continue;
            }
            let (decoded, len) = match read_escape(rest) {
                Some(found) => found,
                // In unescaped text a backslash is only itself.
                None if self.salvage => (Escape::Character('\\'), 1),
                None => {
                    self.at = at;
                    return syntax(Fault::Escape);
                }
            };
            at += len;
            match decoded {
                Escape::Character(character) => {
                    self.put_raw(character.encode_utf8(&mut [0; 4]).as_bytes())?;
                }
                Escape::LoneSurrogate(_) => {
                    self.put_raw("\u{FFFD}".as_bytes())?;
                    repaired = true;
                }
            }
        }
        Ok(repaired)
    }

    /// Copies a part of the input as UTF-8; true when it was not.
    pub(super) fn put_repaired(&mut self, range: Range<usize>) -> Outcome<bool> {
        let input = self.input;
        let bytes = &input[range.clone()];
        if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() {
            self.put_input(range)?;
            return Ok(false);
        }
        for chunk in bytes.utf8_chunks() {
            self.put_raw(chunk.valid().as_bytes())?;
            if !chunk.invalid().is_empty() {
                self.put_raw("\u{FFFD}".as_bytes())?;
            }
        }
        Ok(true)
    }

    /// Writes a map entry's key, which is text between these places of the input or of the scratch.
    pub(super) fn put_key(&mut self, key: &Key) -> Outcome<()> {
        match key {
            Key::Plain(range) => {
                self.put_varint(KEY, range.len() as u64)?;
                self.put_input(range.clone())
            }
            Key::Decoded(range) => {
                let open = self.open(KEY, 1)?;
                if self.decode(range.clone())? {
                    self.raw_at(range.start, range.end);
                }
                self.close(open).map(|_| ())
            }
            Key::Static(name) => self.put_bytes(KEY, name.as_bytes()),
            Key::Named(name) => self.put_bytes(KEY, name.as_bytes()),
        }
    }
}

/// A key as it stands in the input.
#[derive(Clone, Debug)]
pub(super) enum Key {
    /// ASCII without escapes.
    Plain(Range<usize>),
    /// Anything else: decode it.
    Decoded(Range<usize>),
    /// A field's name.
    Static(&'static str),
    /// A name of our own making.
    Named(String),
}

/// What an escape stands for.
pub(super) enum Escape {
    Character(char),
    LoneSurrogate(u16),
}

/// The escape at the start of `text`, and its length.
pub(super) fn read_escape(text: &[u8]) -> Option<(Escape, usize)> {
    let character = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{C}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let unit = hex4(text.get(2..6)?)?;
            if let Some(character) = char::from_u32(u32::from(unit)) {
                return Some((Escape::Character(character), 6));
            }
            if unit < 0xDC00
                && text.get(6..8) == Some(b"\\u")
                && let Some(low) = text.get(8..12).and_then(hex4)
                && let Some(Ok(character)) = char::decode_utf16([unit, low]).next()
            {
                return Some((Escape::Character(character), 12));
            }
            return Some((Escape::LoneSurrogate(unit), 6));
        }
        _ => return None,
    };
    Some((Escape::Character(character), 2))
}

fn hex4(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0, |value, byte| Some(value << 4 | (*byte as char).to_digit(16)? as u16))
}

/// The bytes that a string stands for, escapes undone and nothing repaired: lone surrogates as the
/// three bytes that UTF-8 would give them.
pub(super) fn raw_bytes(text: &[u8], into: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let run = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        into.extend_from_slice(&rest[..run]);
        at += run;
        if run == rest.len() {
            return;
        }
        match read_escape(&text[at..]) {
            Some((Escape::Character(character), len)) => {
                into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at += len;
            }
            Some((Escape::LoneSurrogate(unit), len)) => {
                into.extend_from_slice(&[
                    0xE0 | (unit >> 12) as u8,
                    0x80 | (unit >> 6 & 0x3F) as u8,
                    0x80 | (unit & 0x3F) as u8,
                ]);
                at += len;
            }
            None => {
                into.push(b'\\');
                at += 1;
            }
        }
    }
}
