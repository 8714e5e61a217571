//! Answers, written straight into a connection's output buffer. Always `HTTP/1.1` in the status line and always
//! `Content-Length`, never chunked: one HTTP library in use below the mod understands nothing else.

use super::Status;

/// An answer to one request.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: Status,
    /// The media type of the body; empty for none.
    pub content_type: &'a str,
    /// The body. Left out, with its length told, when the request was HEAD.
    pub body: &'a [u8],
    /// Further header fields. Names and values are the service's own: no CR or LF may be in them.
    pub headers: &'a [(&'a str, &'a str)],
    /// Ends the connection with this answer.
    pub close: bool,
}

impl<'a> Response<'a> {
    /// An answer with a body.
    pub const fn new(status: Status, content_type: &'a str, body: &'a [u8]) -> Self {
        Response { status, content_type, body, headers: &[], close: false }
    }

    /// 200 with a JSON body.
    pub const fn json(body: &'a [u8]) -> Self {
        Response::new(Status::OK, "application/json", body)
    }

    /// 200 with plain text.
    pub const fn text(body: &'a [u8]) -> Self {
        Response::new(Status::OK, "text/plain", body)
    }

    /// 204: nothing to say.
    pub const fn no_content() -> Self {
        Response::new(Status::NO_CONTENT, "", b"")
    }
}

/// What the answer says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// HTTP/1.1, goes on: nothing to say.
    Keep,
    /// HTTP/1.0, goes on because the client asked: it must be told.
    KeepTold,
    /// Ends after this answer.
    Close,
}

impl Persistence {
    const fn line(self) -> &'static [u8] {
        match self {
            Persistence::Keep => b"",
            Persistence::KeepTold => b"Connection: keep-alive\r\n",
            Persistence::Close => b"Connection: close\r\n",
        }
    }
}

impl Response<'_> {
    /// Appends head and body; returns the length of the head.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        persistence: Persistence,
        without_body: bool,
    ) -> usize {
        let begin = out.len();
        write_status_line(out, self.status);
        if !self.content_type.is_empty() {
            write_field(out, "Content-Type", self.content_type);
        }
        if !self.status.is_bodiless() {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(out, self.body.len() as u64);
            out.extend_from_slice(b"\r\n");
        }
        for (name, value) in self.headers {
            write_field(out, name, value);
        }
        out.extend_from_slice(persistence.line());
        out.extend_from_slice(b"\r\n");
        let head = out.len() - begin;
        if !without_body && !self.status.is_bodiless() {
            out.extend_from_slice(self.body);
        }
        head
    }
}

/// An answer that was written once and is copied from then on: the acknowledgement of the hot path.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// By persistence: the bytes of head and body, and the length of the head.
    forms: [(Box<[u8]>, usize); 3],
    close: bool,
}

impl Prepared {
    /// Writes `response` in every form it can take.
    pub fn new(response: &Response<'_>) -> Prepared {
        let form = |persistence| {
            let mut bytes = Vec::new();
            let head = response.write(&mut bytes, persistence, false);
            (bytes.into_boxed_slice(), head)
        };
        Prepared {
            forms: [form(Persistence::Keep), form(Persistence::KeepTold), form(Persistence::Close)],
            close: response.close,
        }
    }

    /// Whether the answer itself ends the connection.
    pub(crate) const fn closes(&self) -> bool {
        self.close
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, persistence: Persistence, without_body: bool) {
        let (bytes, head) = &self.forms[persistence as usize];
        out.extend_from_slice(if without_body { &bytes[..*head] } else { bytes });
    }
}

/// Appends the interim answer that lets a client send the body it holds back.
pub(crate) fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

fn write_status_line(out: &mut Vec<u8>, status: Status) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(status.code()));
    out.push(b' ');
    out.extend_from_slice(status.reason().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    // A line end in our own header would split the answer in two.
    assert!(
        !name.bytes().chain(value.bytes()).any(|byte| matches!(byte, b'\r' | b'\n' | 0)),
        "header {name:?} holds a line end"
    );
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends `value` in decimal, without allocating.
pub(crate) fn write_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// How many digits [`write_decimal`] appends.
pub(crate) const fn decimal_length(value: u64) -> usize {
    match value.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(response: &Response<'_>, persistence: Persistence, head: bool) -> String {
        let mut out = Vec::new();
        response.write(&mut out, persistence, head);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_carry_their_length() {
        let answer = Response::json(b"{}");
        assert_eq!(
            written(&answer, Persistence::Keep, false),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
        assert_eq!(
            written(&answer, Persistence::Close, true),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            written(&Response::no_content(), Persistence::KeepTold, false),
            "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn a_prepared_answer_is_the_same_bytes() {
        let answer = Response::json(b"{\"stored\":1}");
        let prepared = Prepared::new(&answer);
        for persistence in [Persistence::Keep, Persistence::KeepTold, Persistence::Close] {
            for head in [false, true] {
                let (mut one, mut other) = (Vec::new(), Vec::new());
                prepared.write(&mut one, persistence, head);
                answer.write(&mut other, persistence, head);
                assert_eq!(one, other);
            }
        }
    }

    #[test]
    fn decimals() {
        for value in [0, 7, 10, 99, 100, u64::MAX] {
            let mut out = Vec::new();
            write_decimal(&mut out, value);
            assert_eq!(out.len(), decimal_length(value));
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    #[test]
    #[should_panic(expected = "holds a line end")]
    fn a_header_of_ours_never_splits_an_answer() {
        let mut out = Vec::new();
        Response { headers: &[("Allow", "GET\r\nX: y")], ..Response::no_content() }.write(
            &mut out,
            Persistence::Keep,
            false,
        );
    }
}
