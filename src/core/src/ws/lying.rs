//! Messages taken where they lie in the received bytes.
//!
//! Nearly every message of a game is one frame that came whole. The codec would copy it into a buffer of its own and
//! hand it out in a shared one, which takes 1,040 instructions more than to unmask it in place. Only what needs no
//! judgement is taken here. Everything else is the codec's: control frames, fragments, frames without a mask, reserved
//! bits, lengths past the limit.

use wide::u8x16;

/// First byte of a text message that is one frame: FIN, no reserved bit.
const TEXT: u8 = 0x81;
/// The same of a binary message.
const BINARY: u8 = 0x82;
/// In the second byte: the payload is masked.
const MASKED: u8 = 0x80;

/// What bytes between two frames begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole message.
    Whole(Frame),
    /// A part of one. How long its frame will be, if that is known.
    Part(Option<usize>),
    /// Something for the codec.
    Other,
}

/// A data frame that is a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) binary: bool,
    /// Bytes of the header.
    pub(super) header: usize,
    /// Bytes of the payload.
    pub(super) length: usize,
    mask: [u8; 4],
}

/// Looks at bytes that stand between two frames. `longest` is the longest payload allowed.
pub(super) fn find(bytes: &[u8], longest: usize) -> Found {
    let binary = match bytes.first() {
        None => return Found::Part(None),
        Some(&TEXT) => false,
        Some(&BINARY) => true,
        Some(_) => return Found::Other,
    };
    let Some(&second) = bytes.get(1) else { return Found::Part(None) };
    if second & MASKED == 0 {
        return Found::Other;
    }
    let (length, begin) = match second & !MASKED {
        126 => match bytes[2..].first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Found::Part(None),
        },
        127 => match bytes[2..].first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Found::Part(None),
        },
        short => (u64::from(short), 2),
    };
    if length > longest as u64 {
        return Found::Other;
    }
    let (length, header) = (length as usize, begin + 4);
    match bytes.get(begin..).and_then(|rest| rest.first_chunk()) {
        Some(&mask) if bytes.len() - header >= length => {
            Found::Whole(Frame { binary, header, length, mask })
        }
        _ => Found::Part(Some(header + length)),
    }
}

impl Frame {
    /// Unmasks the payload, which is what `payload` must be. False when it is a text that is not UTF-8.
    pub(super) fn unmask(&self, payload: &mut [u8]) -> bool {
        let is_ascii = unmask(payload, self.mask);
        self.binary || is_ascii || std::str::from_utf8(payload).is_ok()
    }
}

/// Unmasks, and says whether what comes out is ASCII.
fn unmask(payload: &mut [u8], mask: [u8; 4]) -> bool {
    let [a, b, c, d] = mask;
    let wide = u8x16::new([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    let mut seen = u8x16::ZERO;
    let (chunks, rest) = payload.as_chunks_mut::<16>();
    for chunk in chunks {
        let bytes = u8x16::new(*chunk) ^ wide;
        seen |= bytes;
        *chunk = bytes.to_array();
    }
    // Chunks hold whole masks, so the rest begins with the mask's first byte.
    let word = u32::from_ne_bytes(mask);
    let mut last = 0;
    let (chunks, rest) = rest.as_chunks_mut::<4>();
    for chunk in chunks {
        let bytes = u32::from_ne_bytes(*chunk) ^ word;
        last |= bytes;
        *chunk = bytes.to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
        last |= u32::from(*byte);
    }
    const HIGH: u128 = u128::from_ne_bytes([0x80; 16]);
    (u128::from_ne_bytes(seen.to_array()) | u128::from(last)) & HIGH == 0
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    /// The same by the codec's own parser.
    fn reference(bytes: &[u8], longest: usize) -> Found {
        let mut cursor = Cursor::new(bytes);
        let Ok(Some((header, length))) = FrameHeader::parse(&mut cursor) else {
            return Found::Part(None);
        };
        let binary = match header.opcode {
            OpCode::Data(Data::Text) => false,
            OpCode::Data(Data::Binary) => true,
            _ => return Found::Other,
        };
        let is_plain = header.is_final && !header.rsv1 && !header.rsv2 && !header.rsv3;
        let (Some(mask), true) = (header.mask, is_plain && length <= longest as u64) else {
            return Found::Other;
        };
        let (header, length) = (cursor.position() as usize, length as usize);
        if bytes.len() - header < length {
            return Found::Part(Some(header + length));
        }
        Found::Whole(Frame { binary, header, length, mask })
    }

    proptest! {
        #[test]
        fn finds_what_the_codecs_parser_finds(
            first in prop_oneof![Just(TEXT), Just(BINARY), any::<u8>()],
            second in any::<u8>(),
            zeros in 0_usize..8,
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            // Lengths in 8 bytes are mostly zeros, or too long for every limit.
            let mut bytes = vec![first, second];
            bytes.resize(2 + zeros, 0);
            bytes.extend_from_slice(&rest);
            for end in 0..bytes.len() {
                let bytes = &bytes[..end];
                match (find(bytes, 200), reference(bytes, 200)) {
                    // The codec's parser waits for the whole header where the first bytes tell.
                    (Found::Other | Found::Part(_), Found::Part(None)) => {}
                    // The length is told before the mask has come.
                    (found, expected) => prop_assert_eq!(found, expected),
                }
            }
        }

        #[test]
        fn unmasks_byte_for_byte_and_tells_text(
            text in prop_oneof!["[a-z]{0,100}", "\\PC{0,100}"],
            broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            mask in any::<[u8; 4]>(),
        ) {
            let mut payload = text.into_bytes();
            if let Some((at, byte)) = broken
                && !payload.is_empty()
            {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            let mut masked: Vec<u8> =
                payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            let frame = Frame { binary: false, header: 6, length: payload.len(), mask };
            let is_text = frame.unmask(&mut masked);
            prop_assert_eq!(&masked, &payload);
            prop_assert_eq!(is_text, std::str::from_utf8(&payload).is_ok());
        }
    }
}
