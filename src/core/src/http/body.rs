//! Bodies, decoded in place: after the last step the body's bytes lie together, directly behind the head.

use super::framing::Framing;
use super::scan::is_token;
use super::{Fault, Status};
use crate::limits;

/// What happens to the bytes of a body that is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PastLimit {
    /// The request is refused (413).
    Refuse,
    /// They are counted and dropped: the first bytes, up to the limit, are handed on with the true length.
    Drop,
}

/// Reads one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyReader {
    decoder: Decoder,
    /// Bytes kept so far.
    kept: usize,
    /// Bytes the body has had so far, the dropped ones included.
    total: u64,
    limit: usize,
    past_limit: PastLimit,
}

#[derive(Clone, Copy, Debug)]
enum Decoder {
    Fixed { remaining: u64 },
    Chunked(Chunked),
}

/// Where the chunked decoder stands, and what framing has cost so far.
#[derive(Clone, Copy, Debug)]
struct Chunked {
    state: ChunkState,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum ChunkState {
    Size { value: u64, digits: u8 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { remaining: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// The outcome of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyStep {
    /// All bytes given were used, more are needed.
    More,
    /// The body is complete.
    Done,
}

/// Why a body is refused. The connection ends: what follows can't be told from a next request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyError(pub(crate) Fault);

const fn chunk_error(reason: &'static str) -> BodyError {
    BodyError(Fault::fatal(
        Status::BAD_REQUEST,
        "Transfer-Encoding",
        reason,
        "send chunks as RFC 9112, section 7.1 has them",
    ))
}

/// 413 for a body past the limit.
pub(crate) const TOO_LARGE: BodyError = BodyError(Fault::fatal(
    Status::CONTENT_TOO_LARGE,
    "body",
    "the body is longer than this service takes in one request",
    "send the events in several smaller batches",
));

const EXTENSIONS: BodyError = chunk_error("the chunk extensions are longer than the limit");
const TRAILERS: BodyError = BodyError(Fault::fatal(
    Status::HEADER_FIELDS_TOO_LARGE,
    "trailer",
    "the trailer fields are longer than the limit",
    "leave trailer fields out",
));

impl BodyReader {
    /// A reader for a body of this framing, or 413 when its length is announced and past the limit.
    pub(crate) fn new(
        framing: Framing,
        limit: usize,
        past_limit: PastLimit,
    ) -> Result<BodyReader, BodyError> {
        let decoder = match framing {
            Framing::None => Decoder::Fixed { remaining: 0 },
            Framing::Fixed(remaining) => {
                let most = match past_limit {
                    PastLimit::Refuse => limit as u64,
                    PastLimit::Drop => limits::BODY_DROPPED_BYTES_MAX,
                };
                if remaining > most {
                    return Err(TOO_LARGE);
                }
                Decoder::Fixed { remaining }
            }
            Framing::Chunked => Decoder::Chunked(Chunked {
                state: ChunkState::Size { value: 0, digits: 0 },
                extension_bytes: 0,
                trailer_bytes: 0,
            }),
        };
        Ok(BodyReader { decoder, kept: 0, total: 0, limit, past_limit })
    }

    /// Bytes of the body that were kept.
    pub(crate) const fn kept(&self) -> usize {
        self.kept
    }

    /// The body's true length so far.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes still have to be stored, as far as that is announced.
    pub(crate) fn announced(&self) -> usize {
        let remaining = match self.decoder {
            Decoder::Fixed { remaining } => remaining,
            Decoder::Chunked(Chunked { state: ChunkState::Data { remaining }, .. }) => remaining,
            Decoder::Chunked(_) => 0,
        };
        remaining.min((self.limit - self.kept) as u64) as usize
    }

    /// Uses `buffer[*cursor..end]`, keeps the body's bytes from `buffer[body_start]` on and moves the cursor past
    /// what was used. After [`BodyStep::Done`] the bytes from the cursor on belong to the next request.
    pub(crate) fn step(
        &mut self,
        buffer: &mut [u8],
        body_start: usize,
        cursor: &mut usize,
        end: usize,
    ) -> Result<BodyStep, BodyError> {
        debug_assert!(body_start + self.kept <= *cursor && *cursor <= end, "the body lies behind");
        let mut decoder = self.decoder;
        let outcome = match &mut decoder {
            Decoder::Fixed { remaining } => {
                let length = (*remaining).min((end - *cursor) as u64) as usize;
                *remaining -= length as u64;
                let done = *remaining == 0;
                self.keep(buffer, body_start, cursor, length)
                    .map(|()| if done { BodyStep::Done } else { BodyStep::More })
            }
            Decoder::Chunked(chunked) => {
                self.step_chunked(chunked, buffer, body_start, cursor, end)
            }
        };
        self.decoder = decoder;
        outcome
    }

    fn step_chunked(
        &mut self,
        chunked: &mut Chunked,
        buffer: &mut [u8],
        body_start: usize,
        cursor: &mut usize,
        end: usize,
    ) -> Result<BodyStep, BodyError> {
        while *cursor < end {
            if let ChunkState::Data { remaining } = &mut chunked.state {
                let length = (*remaining).min((end - *cursor) as u64) as usize;
                *remaining -= length as u64;
                if *remaining == 0 {
                    chunked.state = ChunkState::DataCr;
                }
                self.keep(buffer, body_start, cursor, length)?;
                continue;
            }
            chunked.control(buffer[*cursor])?;
            *cursor += 1;
            match chunked.state {
                ChunkState::Done => return Ok(BodyStep::Done),
                ChunkState::Data { remaining }
                    if self.past_limit == PastLimit::Refuse
                        && remaining > self.limit as u64 - self.total =>
                {
                    return Err(TOO_LARGE);
                }
                _ => {}
            }
        }
        Ok(BodyStep::More)
    }

    /// Takes `length` body bytes at the cursor.
    fn keep(
        &mut self,
        buffer: &mut [u8],
        body_start: usize,
        cursor: &mut usize,
        length: usize,
    ) -> Result<(), BodyError> {
        self.total += length as u64;
        let most = match self.past_limit {
            PastLimit::Refuse => self.limit as u64,
            PastLimit::Drop => limits::BODY_DROPPED_BYTES_MAX,
        };
        if self.total > most {
            return Err(TOO_LARGE);
        }
        let kept = length.min(self.limit - self.kept);
        let target = body_start + self.kept;
        if kept > 0 && target != *cursor {
            buffer.copy_within(*cursor..*cursor + kept, target);
        }
        self.kept += kept;
        *cursor += length;
        Ok(())
    }
}

impl Chunked {
    /// Takes one byte of framing.
    fn control(&mut self, byte: u8) -> Result<(), BodyError> {
        self.state = match (self.state, byte) {
            (ChunkState::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == limits::CHUNK_SIZE_DIGITS_MAX {
                    return Err(chunk_error("a chunk size has more digits than the limit"));
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                ChunkState::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
            }
            (ChunkState::Size { digits: 0, .. }, _) => {
                return Err(chunk_error("a chunk does not begin with its size in hexadecimal"));
            }
            (ChunkState::Size { value, .. }, b'\r') => ChunkState::SizeEnd { size: value },
            (ChunkState::Size { value, .. }, b';') => ChunkState::Extension { size: value },
            (ChunkState::Size { .. }, _) => {
                return Err(chunk_error("a chunk size is followed by neither CR LF nor `;`"));
            }
            (ChunkState::Extension { size }, b'\r') => ChunkState::SizeEnd { size },
            (state @ ChunkState::Extension { .. }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extension_bytes += 1;
                if self.extension_bytes > limits::CHUNK_EXTENSION_BYTES_MAX {
                    return Err(EXTENSIONS);
                }
                state
            }
            (ChunkState::Extension { .. }, _) => {
                return Err(chunk_error("a chunk extension holds a control character"));
            }
            (ChunkState::SizeEnd { size: 0 }, b'\n') => ChunkState::TrailerStart,
            (ChunkState::SizeEnd { size }, b'\n') => ChunkState::Data { remaining: size },
            (ChunkState::SizeEnd { .. }, _) => {
                return Err(chunk_error("a chunk size line ends in CR alone"));
            }
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => ChunkState::Size { value: 0, digits: 0 },
            (ChunkState::DataCr | ChunkState::DataLf, _) => {
                return Err(chunk_error(
                    "a chunk is longer than its size, or has no CR LF after it",
                ));
            }
            (ChunkState::TrailerStart, b'\r') => ChunkState::EndLf,
            (ChunkState::TrailerStart | ChunkState::TrailerName, byte) if is_token(byte) => {
                self.trailer()?;
                ChunkState::TrailerName
            }
            (ChunkState::TrailerName, b':') => ChunkState::TrailerValue,
            (ChunkState::TrailerStart | ChunkState::TrailerName, _) => {
                return Err(chunk_error("a trailer line is not `Name: value`"));
            }
            (ChunkState::TrailerValue, b'\r') => ChunkState::TrailerLf,
            (ChunkState::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.trailer()?;
                ChunkState::TrailerValue
            }
            (ChunkState::TrailerValue, _) => {
                return Err(chunk_error("a trailer value holds a control character"));
            }
            (ChunkState::TrailerLf, b'\n') => ChunkState::TrailerStart,
            (ChunkState::EndLf, b'\n') => ChunkState::Done,
            (ChunkState::TrailerLf | ChunkState::EndLf, _) => {
                return Err(chunk_error("a trailer line ends in CR alone"));
            }
            (ChunkState::Data { .. } | ChunkState::Done, _) => {
                unreachable!("data is taken in bulk, and nothing is taken after the end")
            }
        };
        Ok(())
    }

    fn trailer(&mut self) -> Result<(), BodyError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > limits::TRAILER_BYTES_MAX { Err(TRAILERS) } else { Ok(()) }
    }
}
