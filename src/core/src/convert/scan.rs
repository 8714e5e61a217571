//! Reading the text: bytes by position, white space, and stepping over whole values.
//!
//! Reads past the end give zero bytes, which no JSON token contains, so the hot paths need one
//! bounds check per load and no special case for the end of the text.

use super::machine::Machine;
use super::stop::{Fault, Outcome, Stop, syntax};
use wide::{i8x16, u8x16};

/// Where a string stands: decides where it ends when its quotes are not escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Key,
    Member,
    Element,
}

/// Sixteen bytes of text, in one register.
pub(super) type Chunk = u8x16;

/// The 16 bytes at `at`, zeros behind the end.
#[inline(always)]
pub(super) fn load16(input: &[u8], at: usize) -> Chunk {
    match input.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        Some(chunk) => Chunk::new(*chunk),
        None => Chunk::new(load16_at_end(input, at).to_le_bytes()),
    }
}

#[cold]
#[inline(never)]
fn load16_at_end(input: &[u8], at: usize) -> u128 {
    let missing = (at + 16).saturating_sub(input.len());
    match input.last_chunk::<16>() {
        // The last bytes of all, moved to the front.
        Some(last) if missing < 16 => u128::from_le_bytes(*last) >> (8 * missing),
        Some(_) => 0,
        None => {
            let mut chunk = [0; 16];
            if let Some(rest) = input.get(at..) {
                chunk[..rest.len()].copy_from_slice(rest);
            }
            u128::from_le_bytes(chunk)
        }
    }
}

/// Bytes of text that a member of a common kind lies in: key, value, what follows.
pub(super) type Near = [u8; NEAR];
pub(super) const NEAR: usize = 64;

/// The end of a text and zeros behind it.
pub(super) struct Ending {
    bytes: [u8; 2 * NEAR],
}

impl Ending {
    pub(super) fn new() -> Self {
        Self { bytes: [0; 2 * NEAR] }
    }

    /// Another text is at hand.
    #[inline(always)]
    pub(super) fn set(&mut self, input: &[u8]) {
        if let Some(last) = input.last_chunk::<NEAR>() {
            self.bytes[..NEAR].copy_from_slice(last);
        } else {
            self.set_short(input);
        }
    }

    #[cold]
    #[inline(never)]
    fn set_short(&mut self, input: &[u8]) {
        self.bytes[NEAR - input.len()..NEAR].copy_from_slice(input);
    }

    /// The last `len` bytes of the text, at most 64, and as many zeros as make any of them `Near`.
    #[inline(always)]
    pub(super) fn rest(&self, len: usize) -> Option<&[u8]> {
        self.bytes.get(NEAR.checked_sub(len)?..)
    }
}

/// The bytes at `at`, zeros behind the end.
pub(super) fn near(input: &[u8], at: usize) -> Near {
    let rest = input.get(at..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut near = [0; NEAR];
        near[..rest.len()].copy_from_slice(rest);
        near
    })
}

/// Sixteen of these bytes; `at` is at most 31.
#[inline(always)]
pub(super) fn near16(near: &Near, at: usize) -> Chunk {
    let at = at & 31;
    near[at..at + 16].first_chunk().map_or_else(Chunk::default, |chunk| Chunk::new(*chunk))
}

/// Eight of these bytes, first lowest; `at` is at most 31.
#[inline(always)]
pub(super) fn near8(near: &Near, at: usize) -> u64 {
    let at = at & 31;
    near[at..at + 8].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Sixteen further on; `at` is at most 48.
#[inline(always)]
pub(super) fn far16(near: &Near, at: usize) -> Chunk {
    near.get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or_else(Chunk::default, |chunk| Chunk::new(*chunk))
}

/// The same further on; `at` is at most 55.
#[inline(always)]
pub(super) fn far8(near: &Near, at: usize) -> u64 {
    near.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// The first `len` bytes (up to 16) of a chunk, first lowest, zeros behind them.
#[inline(always)]
pub(super) fn masked(chunk: Chunk, len: usize) -> u128 {
    const MASKS: [u128; 32] = {
        let mut masks = [u128::MAX; 32];
        let mut len = 0;
        while len < 16 {
            masks[len] = (1 << (8 * len)) - 1;
            len += 1;
        }
        masks
    };
    u128::from_le_bytes(chunk.to_array()) & MASKS[len & 31]
}

/// Bits of the bytes in which two chunks are the same.
#[inline(always)]
pub(super) fn equal_bits(one: Chunk, other: Chunk) -> u32 {
    one.simd_eq(other).to_bitmask()
}

/// The eight bytes at `at`, first byte lowest, zeros behind the end.
#[inline(always)]
pub(super) fn load8(input: &[u8], at: usize) -> u64 {
    match input.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => load8_at_end(input, at),
    }
}

#[cold]
#[inline(never)]
fn load8_at_end(input: &[u8], at: usize) -> u64 {
    let mut chunk = [0; 8];
    if let Some(rest) = input.get(at..) {
        let len = rest.len().min(8);
        chunk[..len].copy_from_slice(&rest[..len]);
    }
    u64::from_le_bytes(chunk)
}

/// Bits of the quotes, and of what else needs a look inside a string: backslash, control, not ASCII.
/// One signed comparison finds the last two.
#[inline(always)]
pub(super) fn string_bits(chunk: Chunk) -> (u32, u32) {
    let signed = i8x16::new(chunk.to_array().map(|byte| byte as i8));
    let low = signed.simd_lt(i8x16::splat(0x20));
    let backslash = chunk.simd_eq(Chunk::splat(b'\\'));
    (equal_bits(chunk, Chunk::splat(b'"')), low.to_bitmask() | backslash.to_bitmask())
}

/// Bits of the bytes that need a look inside a string, quotes too.
#[inline(always)]
pub(super) fn special_bits(chunk: Chunk) -> u32 {
    let (quotes, others) = string_bits(chunk);
    quotes | others
}

/// Bits of the bytes from `!` to `~`.
#[inline(always)]
pub(super) fn graphic_bits(chunk: Chunk) -> u32 {
    let signed = i8x16::new(chunk.to_array().map(|byte| byte as i8));
    // As signed numbers, bytes that are not ASCII are less than all of these.
    let above = i8x16::splat(b' ' as i8).simd_lt(signed).to_bitmask();
    above & signed.simd_lt(i8x16::splat(0x7F)).to_bitmask()
}

/// Bits of the quotes and backslashes.
#[inline(always)]
pub(super) fn quote_bits(chunk: Chunk) -> u32 {
    (chunk.simd_eq(Chunk::splat(b'"')) | chunk.simd_eq(Chunk::splat(b'\\'))).to_bitmask()
}

#[inline(always)]
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The first byte from `at` on that is not white space.
#[inline(always)]
pub(super) fn after_space(input: &[u8], mut at: usize) -> usize {
    while at < input.len() && is_space(input[at]) {
        at += 1;
    }
    at
}

impl Machine<'_> {
    /// The byte at the position, zero at the end.
    #[inline(always)]
    pub(super) fn byte(&self) -> u8 {
        self.byte_at(self.at)
    }

    #[inline(always)]
    pub(super) fn byte_at(&self, at: usize) -> u8 {
        if at < self.input.len() { self.input[at] } else { 0 }
    }

    /// Steps over white space; games send none, so the first look is the common end.
    #[inline(always)]
    pub(super) fn space(&mut self) {
        if self.byte().wrapping_sub(1) < b' ' {
            self.at = after_space(self.input, self.at);
        }
    }

    /// The fault of a missing token: the end of the text has a word of its own.
    #[cold]
    #[inline(never)]
    pub(super) fn fault<T>(&self, fault: Fault) -> Outcome<T> {
        syntax(if self.at >= self.input.len() { Fault::End } else { fault })
    }

    /// Steps over a string whose opening quote was read; returns where its closing quote stands.
    pub(super) fn skip_string(&mut self, place: Place) -> Outcome<usize> {
        if self.salvage && place != Place::Member {
            return self.skip_unescaped_string(place);
        }
        loop {
            let bits = quote_bits(load16(self.input, self.at));
            if bits == 0 {
                self.at += 16;
                if self.at >= self.input.len() {
                    self.at = self.input.len();
                    return syntax(Fault::Unterminated);
                }
                continue;
            }
            self.at += bits.trailing_zeros() as usize;
            if self.byte() == b'"' {
                self.at += 1;
                return Ok(self.at - 1);
            }
            self.at = (self.at + 2).min(self.input.len());
        }
    }

    /// Games escape nothing in keys and inside arrays: there a quote ends the string only if what
    /// follows can follow a string.
    fn skip_unescaped_string(&mut self, place: Place) -> Outcome<usize> {
        let mut at = self.at;
        while let Some(found) = self.input.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
            let quote = at + found;
            if self.ends_string(place, quote) {
                self.at = quote + 1;
                return Ok(quote);
            }
            at = quote + 1;
        }
        self.at = self.input.len();
        syntax(Fault::Unterminated)
    }

    fn ends_string(&self, place: Place, quote: usize) -> bool {
        let next = after_space(self.input, quote + 1);
        let byte = self.byte_at(next);
        match place {
            Place::Key => byte == b':' && self.starts_value(next + 1),
            Place::Element if byte == b',' => self.starts_value(next + 1),
            Place::Element => byte == b']' || byte == b'}',
            Place::Member => true,
        }
    }

    fn starts_value(&self, at: usize) -> bool {
        let byte = self.byte_at(after_space(self.input, at));
        matches!(
            byte,
            b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'i' | b'N' | b'I'
        )
    }

    /// Steps over one value of any type, checking that it is JSON (with the number tokens that
    /// games send). Needs no stack: one bit a level tells object from array.
    pub(super) fn skip_value(&mut self) -> Outcome<()> {
        let mut kinds: u128 = 0;
        let mut level = 0_u32;
        loop {
            // A value is due.
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    let place = match (level, kinds & 1) {
                        (0, _) => self.place,
                        (_, 1) => Place::Member,
                        _ => Place::Element,
                    };
                    self.skip_string(place)?;
                }
                open @ (b'{' | b'[') => {
                    if self.depth + level >= self.depth_max {
                        return Err(Stop::TooDeep);
                    }
                    self.at += 1;
                    self.space();
                    let is_object = open == b'{';
                    if self.byte() == open + 2 {
                        self.at += 1;
                    } else {
                        kinds = kinds << 1 | u128::from(is_object);
                        level += 1;
                        if is_object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' if self.byte_at(self.at + 1) == b'u' => self.literal(b"null")?,
                b'-' | b'0'..=b'9' | b'i' | b'n' | b'I' | b'N' => {
                    self.number()?;
                }
                _ => return self.fault(Fault::Value),
            }
            // A value was read.
            loop {
                if level == 0 {
                    return Ok(());
                }
                self.space();
                let is_object = kinds & 1 == 1;
                match (self.byte(), is_object) {
                    (b',', true) => {
                        self.at += 1;
                        self.space();
                        self.skip_key()?;
                        break;
                    }
                    (b',', false) => {
                        self.at += 1;
                        self.space();
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        kinds >>= 1;
                        level -= 1;
                    }
                    (_, true) => return self.fault(Fault::CommaOrBrace),
                    (_, false) => return self.fault(Fault::CommaOrBracket),
                }
            }
        }
    }

    /// Steps over `"key" :` and the space behind it.
    fn skip_key(&mut self) -> Outcome<()> {
        if self.byte() != b'"' {
            return self.fault(Fault::Key);
        }
        self.at += 1;
        self.skip_string(Place::Key)?;
        self.colon()
    }

    /// Reads the colon behind a key, and the space around it.
    #[inline(always)]
    pub(super) fn colon(&mut self) -> Outcome<()> {
        self.space();
        if self.byte() != b':' {
            return self.fault(Fault::Colon);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// Reads exactly this literal.
    pub(super) fn literal(&mut self, word: &[u8]) -> Outcome<()> {
        if self.input.get(self.at..self.at + word.len()) == Some(word) {
            self.at += word.len();
            Ok(())
        } else {
            self.fault(Fault::Literal)
        }
    }
}
