//! Finds the end of a head, byte by byte as it arrives, and refuses what two parsers could cut in two ways.
//!
//! `httparse` takes a bare LF for a line end and skips any number of empty lines first. Here every line ends in CRLF,
//! no CR stands alone and no line is folded, so whoever forwarded these bytes cut them at the same places.

use super::{Fault, Status};
use crate::limits;
use memchr::memchr2;

/// How far a head was looked at. Never looks at a byte twice, however small the pieces are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadScan {
    scanned: usize,
    line_start: usize,
    lines: usize,
}

/// What a scan found.
#[derive(Debug)]
pub(crate) enum Scanned {
    /// The head is not complete yet.
    Partial,
    /// The head is complete and has this many bytes, its empty line included.
    Complete(usize),
    /// The bytes are no head.
    Bad(Fault),
}

const BARE_LF: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "line end",
    "a line of the head ends in LF alone",
    "end every line with CR LF",
);
const BARE_CR: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "line end",
    "a CR stands in the head without an LF after it",
    "end every line with CR LF",
);
const FOLDED: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "header line",
    "a header line begins with white space (obsolete line folding)",
    "send each header field on one line",
);
const NOT_HTTP: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "request line",
    "the bytes are not an HTTP/1.1 request",
    "this port speaks plain HTTP/1.1 and WebSocket, without TLS",
);
const TARGET_TOO_LONG: Fault = Fault::fatal(
    Status::URI_TOO_LONG,
    "request line",
    "the request line is longer than the limit",
    "send data in the body",
);
const HEAD_TOO_LONG: Fault = Fault::fatal(
    Status::HEADER_FIELDS_TOO_LARGE,
    "head",
    "the head is longer than the limit",
    "send fewer and shorter header fields",
);

impl HeadScan {
    /// A scan that has seen nothing.
    pub(crate) const NEW: HeadScan = HeadScan { scanned: 0, line_start: 0, lines: 0 };

    /// Whether the scan has seen nothing.
    pub(crate) const fn is_new(&self) -> bool {
        self.scanned == 0 && self.lines == 0
    }

    /// Looks at what has arrived since the last call. `bytes` begins at the request line.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Scanned {
        if self.scanned == 0 {
            match bytes.first() {
                None => return Scanned::Partial,
                Some(&first) if !is_token(first) => {
                    return Scanned::Bad(match first {
                        b'\n' => BARE_LF,
                        _ => NOT_HTTP,
                    });
                }
                Some(_) => {}
            }
        }
        while let Some(offset) = memchr2(b'\r', b'\n', &bytes[self.scanned..]) {
            let at = self.scanned + offset;
            if bytes[at] == b'\n' {
                return Scanned::Bad(BARE_LF);
            }
            match bytes.get(at + 1) {
                None => {
                    self.scanned = at;
                    return self.within_limits(bytes.len());
                }
                Some(b'\n') => {}
                Some(_) => return Scanned::Bad(BARE_CR),
            }
            let length = at - self.line_start;
            if self.lines == 0 && length > limits::REQUEST_LINE_BYTES_MAX {
                return Scanned::Bad(TARGET_TOO_LONG);
            }
            if at + 2 > limits::HEAD_BYTES_MAX {
                return Scanned::Bad(HEAD_TOO_LONG);
            }
            if length == 0 {
                return Scanned::Complete(at + 2);
            }
            if self.lines > 0 && matches!(bytes[self.line_start], b' ' | b'\t') {
                return Scanned::Bad(FOLDED);
            }
            self.lines += 1;
            self.line_start = at + 2;
            self.scanned = at + 2;
        }
        self.scanned = bytes.len();
        self.within_limits(bytes.len())
    }

    fn within_limits(&self, length: usize) -> Scanned {
        if self.lines == 0 && length > limits::REQUEST_LINE_BYTES_MAX + 1 {
            Scanned::Bad(TARGET_TOO_LONG)
        } else if length >= limits::HEAD_BYTES_MAX {
            Scanned::Bad(HEAD_TOO_LONG)
        } else {
            Scanned::Partial
        }
    }
}

/// Whether `byte` may stand in a token (RFC 9110, section 5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
