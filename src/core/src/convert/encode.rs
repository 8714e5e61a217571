//! Writing protobuf into the output slice: tags, varints, reserved lengths.
//!
//! Writes are whole words where that is cheaper, so an event needs up to 16 bytes more room than it
//! ends up with.

use super::machine::Machine;
use super::stop::{Outcome, Stop};
use super::tables::Tag;
use std::ops::Range;

/// Tag of `extra` in every message, and of a map entry's key and value.
pub(super) const EXTRA: Tag = (0x7A, 1);
pub(super) const KEY: Tag = (0x0A, 1);
pub(super) const VALUE: Tag = (0x12, 1);

/// Bytes of a varint.
#[inline(always)]
pub(super) fn varint_len(value: usize) -> usize {
    if value < 0x80 { 1 } else { (70 - (value as u64).leading_zeros() as usize) / 7 }
}

/// A message whose length is not known yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Where its length bytes start.
    at: usize,
    /// How many were left free.
    reserved: usize,
}

impl Open {
    /// One whose length bytes start here.
    pub(super) fn at(at: usize, reserved: usize) -> Self {
        Self { at, reserved }
    }

    /// Where the message's own bytes start.
    pub(super) fn body(self) -> usize {
        self.at + self.reserved
    }
}

impl Machine<'_> {
    #[inline(always)]
    fn room16(&mut self) -> Outcome<&mut [u8; 16]> {
        match self.out.get_mut(self.pos..).and_then(|rest| rest.first_chunk_mut::<16>()) {
            Some(chunk) => Ok(chunk),
            None => Err(Stop::NoRoom),
        }
    }

    #[inline(always)]
    pub(super) fn put_tag(&mut self, tag: Tag) -> Outcome<()> {
        let room = self.room16()?;
        room[..4].copy_from_slice(&tag.0.to_le_bytes());
        self.pos += usize::from(tag.1 & 7);
        Ok(())
    }

    /// A tag and eight bytes: double or fixed64.
    #[inline(always)]
    pub(super) fn put_fixed(&mut self, tag: Tag, value: u64) -> Outcome<()> {
        let room = self.room16()?;
        room[..4].copy_from_slice(&tag.0.to_le_bytes());
        let len = usize::from(tag.1 & 7);
        room[len..len + 8].copy_from_slice(&value.to_le_bytes());
        self.pos += len + 8;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn put_varint(&mut self, tag: Tag, value: u64) -> Outcome<()> {
        if value < 0x80 { self.put_small(tag, value as u8) } else { self.put_long(tag, value) }
    }

    #[inline(never)]
    fn put_long(&mut self, tag: Tag, mut value: u64) -> Outcome<()> {
        self.put_tag(tag)?;
        let room = self.room16()?;
        let mut len = 0;
        while value >= 0x80 {
            room[len] = value as u8 | 0x80;
            value >>= 7;
            len += 1;
        }
        room[len] = value as u8;
        self.pos += len + 1;
        Ok(())
    }

    pub(super) fn put_bool(&mut self, tag: Tag, value: bool) -> Outcome<()> {
        self.put_small(tag, u8::from(value))
    }

    /// A varint below 128.
    #[inline(always)]
    pub(super) fn put_small(&mut self, tag: Tag, value: u8) -> Outcome<()> {
        let room = self.room16()?;
        room[..4].copy_from_slice(&tag.0.to_le_bytes());
        let len = usize::from(tag.1 & 7);
        room[len] = value;
        self.pos += len + 1;
        Ok(())
    }

    /// Bytes whose length is known.
    pub(super) fn put_bytes(&mut self, tag: Tag, bytes: &[u8]) -> Outcome<()> {
        self.put_varint(tag, bytes.len() as u64)?;
        self.put_raw(bytes)
    }

    pub(super) fn put_raw(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self.out.get_mut(self.pos..self.pos + bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => return Err(Stop::NoRoom),
        }
        self.pos += bytes.len();
        Ok(())
    }

    /// A copy of a part of the input, as `put_raw`.
    pub(super) fn put_input(&mut self, range: Range<usize>) -> Outcome<()> {
        let len = range.len();
        match self.out.get_mut(self.pos..self.pos + len) {
            Some(room) => room.copy_from_slice(&self.input[range]),
            None => return Err(Stop::NoRoom),
        }
        self.pos += len;
        Ok(())
    }

    /// Starts a message or text, leaving `reserved` bytes (1 to 5) for its length.
    #[inline(always)]
    pub(super) fn open(&mut self, tag: Tag, reserved: usize) -> Outcome<Open> {
        self.put_tag(tag)?;
        let open = Open { at: self.pos, reserved };
        self.pos += reserved;
        Ok(open)
    }

    /// Writes the length; returns how many bytes it took, for the next guess.
    #[inline(always)]
    pub(super) fn close(&mut self, open: Open) -> Outcome<usize> {
        let len = self.pos - open.body();
        if open.reserved == 1 && len < 0x80 {
            self.out[open.at] = len as u8;
            return Ok(1);
        }
        if open.reserved == 2
            && (0x80..0x4000).contains(&len)
            && let Some(place) = self.out.get_mut(open.at..open.at + 2)
        {
            place.copy_from_slice(&[len as u8 | 0x80, (len >> 7) as u8]);
            return Ok(2);
        }
        self.close_long(open, len)
    }

    #[inline(never)]
    fn close_long(&mut self, open: Open, len: usize) -> Outcome<usize> {
        let needed = varint_len(len);
        if needed != open.reserved {
            let to = open.at + needed;
            if to + len > self.out.len() {
                return Err(Stop::NoRoom);
            }
            self.out.copy_within(open.body()..self.pos, to);
            self.moved(open.body(), to as isize - open.body() as isize);
            self.pos = to + len;
        }
        let mut value = len;
        for byte in &mut self.out[open.at..open.at + needed - 1] {
            *byte = value as u8 | 0x80;
            value >>= 7;
        }
        self.out[open.at + needed - 1] = value as u8;
        Ok(needed)
    }

    /// Keeps what was noted about output positions true when bytes move.
    #[cold]
    pub(super) fn moved(&mut self, from: usize, by: isize) {
        let facts = &mut self.facts;
        for span in
            [&mut facts.event_id, &mut facts.game_id, &mut facts.own_game_id, &mut facts.producer]
        {
            if span.end > 0 && span.start >= from {
                span.start = span.start.wrapping_add_signed(by);
                span.end = span.end.wrapping_add_signed(by);
            }
        }
    }
}
