//! How long a body is (RFC 9112, section 6), and the heads that leave it open to argument.

use super::{Fault, Refusal, Status};

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body.
    None,
    /// `Content-Length`: this many bytes.
    Fixed(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Framing {
    /// Of a head with this `Content-Length`.
    pub(super) const fn of_length(length: u64) -> Framing {
        match length {
            0 => Framing::None,
            length => Framing::Fixed(length),
        }
    }
}

/// Gathers the length headers of one head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lengths {
    content_length: Option<u64>,
    chunked: bool,
}

const REPEATED_LENGTH: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Content-Length",
    "the header is given more than once",
    "send one Content-Length",
);
const BAD_LENGTH: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Content-Length",
    "the value is not a decimal number of bytes below 2^63",
    "send digits only",
);
const REPEATED_ENCODING: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Transfer-Encoding",
    "the header is given more than once",
    "send one Transfer-Encoding: chunked",
);
const BAD_ENCODING: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Transfer-Encoding",
    "the value is not exactly `chunked`",
    "send Transfer-Encoding: chunked, or Content-Length",
);
const UNKNOWN_ENCODING: Fault = Fault::fatal(
    Status::NOT_IMPLEMENTED,
    "Transfer-Encoding",
    "bodies are taken chunked, and in no other transfer coding",
    "send Transfer-Encoding: chunked, or Content-Length",
);
const BOTH: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Content-Length",
    "the head has both Content-Length and Transfer-Encoding",
    "send one of them",
);
const CHUNKED_IN_1_0: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Transfer-Encoding",
    "HTTP/1.0 has no transfer codings",
    "send Content-Length, or speak HTTP/1.1",
);
const LENGTH_REQUIRED: Fault = Fault::mild(Refusal::new(
    Status::LENGTH_REQUIRED,
    "Content-Length",
    "a request of this method needs a length, and the head has none",
    "send Content-Length (0 for an empty body)",
));

impl Lengths {
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.content_length.is_some() {
            return Err(REPEATED_LENGTH);
        }
        self.content_length = Some(parse_length(value).ok_or(BAD_LENGTH)?);
        Ok(())
    }

    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.chunked {
            return Err(REPEATED_ENCODING);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(encoding_fault(value));
        }
        self.chunked = true;
        Ok(())
    }

    /// Decides, once every header field is known.
    pub(super) fn decide(self, version_minor: u8, needs_length: bool) -> Result<Framing, Fault> {
        match (self.content_length, self.chunked) {
            (Some(_), true) => Err(BOTH),
            (None, true) if version_minor == 0 => Err(CHUNKED_IN_1_0),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) => Ok(Framing::of_length(length)),
            (None, false) if needs_length => Err(LENGTH_REQUIRED),
            (None, false) => Ok(Framing::None),
        }
    }
}

/// `1*DIGIT` below 2^63: no sign, no blank, no list, no overflow.
pub(super) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut length = 0u64;
    for digit in value {
        length = length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    (length <= i64::MAX as u64).then_some(length)
}

/// A coding that exists and ends in `chunked` is one we do not speak (501); anything else has no defined length (400).
fn encoding_fault(value: &[u8]) -> Fault {
    let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).rev();
    let known = |coding: &[u8]| {
        [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress"]
            .iter()
            .any(|name| coding.eq_ignore_ascii_case(name))
    };
    let last = codings.next().unwrap_or_default();
    let mut rest = codings.peekable();
    if last.eq_ignore_ascii_case(b"chunked") && rest.peek().is_some() && rest.all(known) {
        UNKNOWN_ENCODING
    } else {
        BAD_ENCODING
    }
}
