//! Where frames begin and end in the bytes the codec was given.
//!
//! tungstenite keeps bytes of its own and does not say how many. To know when its buffer is empty (so that it can go)
//! and how much of a message it holds (so that the memory counts towards the budget of all connections), the frame
//! lengths are followed beside it. Whether a frame is
//! legal is tungstenite's to say.

/// Follows frames through a stream of bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Boundary {
    header: [u8; 14],
    header_length: u8,
    /// Bytes of the current frame's payload that are still to come.
    payload_remaining: u64,
    /// A data message was begun and its last fragment has not come.
    fragmented: bool,
    /// Bytes of the message in progress, headers included.
    message_bytes: u64,
    frames: u64,
    control_frames: u64,
}

impl Boundary {
    /// Follows `bytes` to the end of the current frame, and says how many of them are the frame's. The codec is given
    /// these.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        let (frames, mut at) = (self.frames, 0);
        while at < bytes.len() && self.frames == frames {
            let rest = &bytes[at..];
            if self.payload_remaining > 0 {
                let length = self.payload_remaining.min(rest.len() as u64);
                self.payload_remaining -= length;
                self.message_bytes += length;
                at += length as usize;
                if self.payload_remaining == 0 {
                    self.end_frame();
                }
                continue;
            }
            self.header[usize::from(self.header_length)] = rest[0];
            self.header_length += 1;
            at += 1;
            if self.header_length >= 2 && self.header_length == self.header_bytes() {
                self.begin_payload();
            }
        }
        at
    }

    fn begin_payload(&mut self) {
        self.message_bytes += u64::from(self.header_length);
        self.payload_remaining = self.payload_bytes();
        if self.payload_remaining == 0 {
            self.end_frame();
        }
    }

    /// How long the current header is, as far as its first two bytes say.
    fn header_bytes(&self) -> u8 {
        let extended = match self.header[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.header[1] & 0x80 != 0 { 4 } else { 0 }
    }

    fn payload_bytes(&self) -> u64 {
        match self.header[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.header[2..10]);
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        }
    }

    fn end_frame(&mut self) {
        self.header_length = 0;
        self.frames += 1;
        if self.header[0] & 0x08 != 0 {
            self.control_frames += 1;
        } else {
            self.fragmented = self.header[0] & 0x80 == 0;
        }
        if !self.fragmented {
            self.message_bytes = 0;
        }
    }

    /// Whether the next byte begins a frame.
    pub(super) const fn is_between_frames(&self) -> bool {
        self.header_length == 0 && self.payload_remaining == 0
    }

    /// Whether the codec holds nothing: no piece of a frame, no fragment of a message.
    pub(super) const fn is_clean(&self) -> bool {
        self.is_between_frames() && !self.fragmented
    }

    /// Bytes of the message in progress.
    pub(super) const fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// Takes the number of frames, and of control frames among them, that ended since the last call.
    pub(super) const fn take_frames(&mut self) -> (u64, u64) {
        let taken = (self.frames, self.control_frames);
        self.frames = 0;
        self.control_frames = 0;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };

    #[test]
    fn frames_of_every_length_form_are_followed_at_every_split() {
        let mut stream = Vec::new();
        for (length, last) in [(0, true), (1, false), (125, true), (126, true), (70_000, true)] {
            let data = if stream.is_empty() { Data::Text } else { Data::Binary };
            let mut frame = Frame::message(vec![7; length], OpCode::Data(data), last);
            frame.header_mut().mask = Some([1, 2, 3, 4]);
            frame.format(&mut stream).unwrap();
        }
        for piece in [1, 2, 3, 5, 7, 13, 4096, stream.len()] {
            let mut boundary = Boundary::default();
            for mut bytes in stream.chunks(piece) {
                while !bytes.is_empty() {
                    let used = boundary.advance(bytes);
                    assert!(used == bytes.len() || boundary.is_between_frames());
                    bytes = &bytes[used..];
                }
            }
            assert!(boundary.is_clean());
            assert_eq!(boundary.take_frames(), (5, 0));
            assert_eq!(boundary.advance(&[0x81, 0xFE, 1]), 3);
            assert!(!boundary.is_clean(), "a piece of a header");
        }
    }
}
