//! Refusals: answers that name the field, the reason and what to do next.

use super::Status;

/// A refusal of one request, answered as a JSON object with the keys `error`, `field`, `reason` and `remedy`.
///
/// The status alone tells a program enough; the three texts are for the person who reads its log.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The status code.
    pub status: Status,
    /// What is wrong: a header name, a JSON path, `path`, `body` …
    pub field: &'a str,
    /// Why it is refused.
    pub reason: &'a str,
    /// What would be accepted.
    pub remedy: &'a str,
    /// Header fields that belong to the status: `Allow`, `Retry-After`, `WWW-Authenticate` …
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> Refusal<'a> {
    /// A refusal without further header fields.
    pub const fn new(status: Status, field: &'a str, reason: &'a str, remedy: &'a str) -> Self {
        Refusal { status, field, reason, remedy, headers: &[] }
    }

    /// The same refusal with header fields that belong to its status.
    pub const fn with_headers(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Refusal { headers, ..self }
    }

    /// 426 for a plain request to a path that speaks WebSocket only.
    pub const fn upgrade_required() -> Refusal<'static> {
        Refusal {
            status: Status::UPGRADE_REQUIRED,
            field: "Upgrade",
            reason: "this path speaks WebSocket only, and the request asks for no upgrade",
            remedy: "open it with a WebSocket client",
            headers: &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
        }
    }

    /// Appends the JSON body of this refusal.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        for (key, value) in [
            ("{\"error\":", self.status.reason()),
            (",\"field\":", self.field),
            (",\"reason\":", self.reason),
            (",\"remedy\":", self.remedy),
        ] {
            out.extend_from_slice(key.as_bytes());
            write_json_string(out, value);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// A refusal whose texts are known at compile time, and what becomes of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) refusal: Refusal<'static>,
    /// The bytes that follow can't be told apart from a next request: the connection ends with this answer.
    pub(crate) fatal: bool,
}

impl Fault {
    /// The connection can't go on: where the next request begins is unknown or open to argument.
    pub(crate) const fn fatal(
        status: Status,
        field: &'static str,
        reason: &'static str,
        remedy: &'static str,
    ) -> Fault {
        Fault { refusal: Refusal::new(status, field, reason, remedy), fatal: true }
    }

    /// The request is refused, its end is known: the connection may go on.
    pub(crate) const fn mild(refusal: Refusal<'static>) -> Fault {
        Fault { refusal, fatal: false }
    }
}

/// Appends `text` as a JSON string. Texts can hold what a client sent, so everything JSON reserves is escaped.
pub(crate) fn write_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7F => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_whatever_the_texts_hold() {
        let mut out = Vec::new();
        Refusal::new(Status::BAD_REQUEST, "a\"b", "c\\\n\u{1}", "é").write_body(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"error\":\"Bad Request\",\"field\":\"a\\\"b\",\"reason\":\"c\\\\\\n\\u0001\",\"remedy\":\"é\"}\n"
        );
    }
}
