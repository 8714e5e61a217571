//! One complete head: the request line and the header fields this service knows, as places in the head's bytes.

use super::framing::{Framing, Lengths};
use super::request::Method;
use super::scan::{HeadScan, Scanned};
use super::{Fault, Refusal, Request, Status};
use crate::limits;
use std::mem::MaybeUninit;
use std::ops::Range;

/// A place in the head's bytes.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    const NONE: Span = Span { start: u32::MAX, length: 0 };

    /// The place of `part`, which is a piece of `whole`.
    fn of(whole: &[u8], part: &[u8]) -> Span {
        if part.is_empty() {
            // An empty slice need not point into the head.
            return Span { start: 0, length: 0 };
        }
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        debug_assert!(start + part.len() <= whole.len(), "a span lies within its head");
        Span { start: start as u32, length: part.len() as u32 }
    }

    fn get(self, head: &[u8]) -> Option<&[u8]> {
        (self.start != u32::MAX)
            .then(|| &head[self.start as usize..(self.start + self.length) as usize])
    }
}

macro_rules! fields {
    ($($variant:ident $name:literal $repeat:ident,)*) => {
        /// Header fields whose values are kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Field { $($variant,)* }

        impl Field {
            const COUNT: usize = [$(Field::$variant),*].len();

            /// The kept field of this name, if it is one.
            fn of(name: &[u8]) -> Option<Field> {
                $(if name.len() == $name.len() && name.eq_ignore_ascii_case($name.as_bytes()) {
                    return Some(Field::$variant);
                })*
                None
            }

            /// The field's name.
            const fn name(self) -> &'static str {
                match self { $(Field::$variant => $name,)* }
            }

            /// A second one makes the request ambiguous where a decision hangs on the value.
            const fn repeat(self) -> Repeat {
                match self { $(Field::$variant => Repeat::$repeat,)* }
            }
        }
    };
}

/// What a second field of the same name means.
enum Repeat {
    /// The request is refused.
    Refused,
    /// The first one counts.
    First,
}

fields! {
    Host "Host" Refused,
    UserAgent "User-Agent" First,
    ContentType "Content-Type" Refused,
    Origin "Origin" Refused,
    SecFetchSite "Sec-Fetch-Site" Refused,
    Authorization "Authorization" Refused,
    ContentEncoding "Content-Encoding" Refused,
    Accept "Accept" First,
    Traceparent "traceparent" First,
    Tracestate "tracestate" First,
    WebSocketKey "Sec-WebSocket-Key" Refused,
    WebSocketVersion "Sec-WebSocket-Version" Refused,
}

/// What the head says, without its bytes: those stay in the receive buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) method: Method,
    pub(crate) version_minor: u8,
    pub(crate) framing: Framing,
    /// The client expects the connection to go on.
    pub(crate) keep_alive: bool,
    /// The client waits for 100 before it sends the body.
    pub(crate) expects_continue: bool,
    /// `Upgrade: websocket`, named by `Connection` too.
    pub(crate) upgrade: bool,
    pub(crate) prefers_lenient: bool,
    authority: Span,
    path: Span,
    query: Span,
    /// The value of `Content-Length`.
    length_digits: Span,
    fields: [Span; Field::COUNT],
}

const BAD_LINE: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "request line",
    "it is not `METHOD target HTTP/1.1`, with single spaces",
    "send a request line as RFC 9112 has it",
);
const BAD_TARGET: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "request target",
    "it is neither a path nor an http:// address of visible ASCII characters",
    "percent-encode other characters",
);
const BAD_NAME: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "header name",
    "a header name is empty, or holds a character that is not allowed (white space before the colon too)",
    "send `Name: value`",
);
const BAD_VALUE: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "header value",
    "a header value holds a control character",
    "send visible characters, spaces and tabs only",
);
const BAD_VERSION: Fault = Fault::fatal(
    Status::VERSION_NOT_SUPPORTED,
    "request line",
    "this service speaks HTTP/1.1 and HTTP/1.0",
    "send the request as HTTP/1.1",
);
const TOO_MANY_FIELDS: Fault = Fault::fatal(
    Status::HEADER_FIELDS_TOO_LARGE,
    "head",
    "the head has more header fields than the limit",
    "send fewer header fields",
);
const UNKNOWN_METHOD: Fault = Fault::fatal(
    Status::NOT_IMPLEMENTED,
    "request line",
    "the method is not one this service knows (methods are case-sensitive)",
    "use GET, HEAD or POST",
);
const NO_HOST: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Host",
    "an HTTP/1.1 request without a Host header",
    "send one Host header",
);
const OTHER_HOST: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Host",
    "the Host header and the request target name different hosts",
    "name the same host in both",
);
const BAD_EXPECTATION: Fault = Fault::fatal(
    Status::EXPECTATION_FAILED,
    "Expect",
    "the only expectation this service meets is `100-continue`",
    "leave the Expect header out",
);
const ENCODED_BODY: Fault = Fault::mild(
    Refusal::new(
        Status::UNSUPPORTED_MEDIA_TYPE,
        "Content-Encoding",
        "bodies are taken as they are, without compression",
        "send the body without Content-Encoding",
    )
    .with_headers(&[("Accept-Encoding", "identity")]),
);

impl Head {
    pub(crate) const EMPTY: Head = Head {
        length: 0,
        method: Method::Get,
        version_minor: 1,
        framing: Framing::None,
        keep_alive: false,
        expects_continue: false,
        upgrade: false,
        prefers_lenient: false,
        authority: Span::NONE,
        path: Span::NONE,
        query: Span::NONE,
        length_digits: Span::NONE,
        fields: [Span::NONE; Field::COUNT],
    };

    /// Reads a head that [`HeadScan`] found complete. `bytes` is the head and nothing more.
    ///
    /// A fault that leaves the body's end known is returned beside the head, so that the caller can pass over the body.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Head, Option<Fault>), Fault> {
        let mut headers = [const { MaybeUninit::uninit() }; limits::HEADER_FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(BAD_LINE),
            Err(error) => return Err(fault_of(error, bytes)),
        }
        let (Some(method), Some(target), Some(version_minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(BAD_LINE);
        };
        let mut head = Head { length: bytes.len(), version_minor, ..Head::EMPTY };
        head.method = Method::parse(method.as_bytes()).ok_or(UNKNOWN_METHOD)?;
        head.set_target(bytes, target.as_bytes())?;

        let mut lengths = Lengths::default();
        let mut connection = ConnectionOptions::default();
        let (mut offers_websocket, mut expectation) = (false, None);
        for header in request.headers.iter() {
            let (name, value) = (header.name.as_bytes(), header.value);
            if let Some(field) = Field::of(name) {
                let span = &mut head.fields[field as usize];
                if span.start == u32::MAX {
                    *span = Span::of(bytes, value);
                } else if matches!(field.repeat(), Repeat::Refused) {
                    return Err(Fault::fatal(
                        Status::BAD_REQUEST,
                        field.name(),
                        "the header is given more than once",
                        "send the header once",
                    ));
                }
            } else if name.eq_ignore_ascii_case(b"content-length") {
                lengths.content_length(value)?;
                head.length_digits = Span::of(bytes, value);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                lengths.transfer_encoding(value)?;
            } else if name.eq_ignore_ascii_case(b"connection") {
                connection.read(value);
            } else if name.eq_ignore_ascii_case(b"upgrade") {
                offers_websocket |= has_token(value, b"websocket");
            } else if name.eq_ignore_ascii_case(b"expect") {
                if expectation.replace(value.eq_ignore_ascii_case(b"100-continue")) == Some(false) {
                    return Err(BAD_EXPECTATION);
                }
            } else if name.eq_ignore_ascii_case(b"prefer") {
                head.prefers_lenient |= has_token(value, b"handling=lenient");
            }
        }
        head.check_host(bytes)?;
        let modern = version_minor > 0;
        head.keep_alive = !connection.close && (modern || connection.keep_alive);
        // RFC 9110, section 7.8: an Upgrade in HTTP/1.0 is ignored; section 10.1.1: so is its Expect.
        head.upgrade = modern && offers_websocket && connection.upgrade;
        head.expects_continue = modern && expectation == Some(true);
        if modern && expectation == Some(false) {
            return Err(BAD_EXPECTATION);
        }
        let mut mild = None;
        match lengths.decide(version_minor, head.method.needs_length()) {
            Ok(framing) => head.framing = framing,
            Err(fault) if fault.fatal => return Err(fault),
            Err(fault) => mild = Some(fault),
        }
        if let Some(coding) = head.field(bytes, Field::ContentEncoding)
            && !coding.eq_ignore_ascii_case(b"identity")
        {
            mild = Some(ENCODED_BODY);
        }
        Ok((head, mild))
    }

    /// Splits the target (RFC 9112, section 3.2: origin form, absolute form, `*`) into authority, path and query.
    fn set_target(&mut self, bytes: &[u8], target: &[u8]) -> Result<(), Fault> {
        if target.iter().any(|byte| !byte.is_ascii_graphic() || *byte == b'#') {
            return Err(BAD_TARGET);
        }
        let mut rest = target;
        if !target.starts_with(b"/") {
            let scheme = target.get(..7).filter(|text| text.eq_ignore_ascii_case(b"http://"));
            if let Some(scheme) = scheme {
                let after = &target[scheme.len()..];
                let end = after.iter().position(|byte| matches!(byte, b'/' | b'?'));
                let (authority, path) = after.split_at(end.unwrap_or(after.len()));
                if authority.is_empty() || authority.contains(&b'@') {
                    return Err(BAD_TARGET);
                }
                self.authority = Span::of(bytes, authority);
                rest = path;
            } else if target != b"*" || self.method != Method::Options {
                return Err(BAD_TARGET);
            }
        }
        let split = rest.iter().position(|&byte| byte == b'?');
        let (path, query) = rest.split_at(split.unwrap_or(rest.len()));
        self.path = Span::of(bytes, path);
        self.query = Span::of(bytes, query.get(1..).unwrap_or_default());
        Ok(())
    }

    fn check_host(&self, bytes: &[u8]) -> Result<(), Fault> {
        match (self.field(bytes, Field::Host), self.authority.get(bytes)) {
            (None, _) if self.version_minor > 0 => Err(NO_HOST),
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
                Err(OTHER_HOST)
            }
            _ => Ok(()),
        }
    }

    /// The value of a kept field.
    pub(crate) fn field<'a>(&self, bytes: &'a [u8], field: Field) -> Option<&'a [u8]> {
        self.fields[field as usize].get(bytes)
    }

    /// Where the value of `Content-Length` stands; empty without one.
    pub(crate) fn content_length_digits(&self) -> Range<usize> {
        match self.length_digits {
            Span { start: u32::MAX, .. } => 0..0,
            Span { start, length } => start as usize..(start + length) as usize,
        }
    }

    /// The path; `/` for an address without one.
    pub(crate) fn path<'a>(&self, bytes: &'a [u8]) -> &'a str {
        ascii(self.path_bytes(bytes))
    }

    pub(crate) fn path_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.path.get(bytes) {
            Some(path) if !path.is_empty() => path,
            _ => b"/",
        }
    }

    /// The query without its question mark; empty when there is none.
    pub(crate) fn query<'a>(&self, bytes: &'a [u8]) -> &'a str {
        ascii(self.query.get(bytes).unwrap_or_default())
    }
}

/// The target was checked to be visible ASCII.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// What `Connection` lists.
#[derive(Clone, Copy, Debug, Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl ConnectionOptions {
    fn read(&mut self, value: &[u8]) {
        self.close |= has_token(value, b"close");
        self.keep_alive |= has_token(value, b"keep-alive");
        self.upgrade |= has_token(value, b"upgrade");
    }
}

/// Whether a comma-separated list names `token`, in any case.
pub(crate) fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

fn fault_of(error: httparse::Error, bytes: &[u8]) -> Fault {
    match error {
        httparse::Error::HeaderName => BAD_NAME,
        httparse::Error::HeaderValue => BAD_VALUE,
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
        httparse::Error::Version if names_a_version(bytes) => BAD_VERSION,
        _ => BAD_LINE,
    }
}

/// Whether the request line ends in `HTTP/<digit>.<digit>`: another version, and not garbage.
fn names_a_version(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == b'\r').unwrap_or(bytes.len());
    let line = &bytes[..end];
    let Some(at) = line.len().checked_sub(9) else { return false };
    let tail = &line[at..];
    line.iter().filter(|&&byte| byte == b' ').count() == 2
        && tail.starts_with(b" HTTP/")
        && tail[6].is_ascii_digit()
        && tail[7] == b'.'
        && tail[8].is_ascii_digit()
}

/// Reads one whole request head, as a connection does: for benches, fuzzers and comparisons with other parsers.
///
/// Returns the request and the length of its head, or the refusal it would be answered with. `None` means that the
/// head is not complete.
pub fn parse_head(bytes: &[u8]) -> Option<Result<(usize, bool), Refusal<'static>>> {
    let mut scan = HeadScan::NEW;
    match scan.advance(bytes) {
        Scanned::Partial => None,
        Scanned::Bad(fault) => Some(Err(fault.refusal)),
        Scanned::Complete(length) => Some(match Head::parse(&bytes[..length]) {
            Err(fault) => Err(fault.refusal),
            Ok((_, Some(fault))) => Err(fault.refusal),
            Ok((head, None)) => {
                let request = Request::new(&head, &bytes[..length], false);
                Ok((length, !request.path().is_empty() && head.framing == Framing::None))
            }
        }),
    }
}
