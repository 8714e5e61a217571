//! What a service may ask about the request in hand.

use super::head::{Field, Head};

/// The request methods this service knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: answered like GET, without the body.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
}

impl Method {
    /// The method of this name. Names are case-sensitive (RFC 9110, section 9.1).
    pub fn parse(name: &[u8]) -> Option<Method> {
        Some(match name {
            b"GET" => Method::Get,
            b"POST" => Method::Post,
            b"HEAD" => Method::Head,
            b"PUT" => Method::Put,
            b"PATCH" => Method::Patch,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            _ => return None,
        })
    }

    /// The method's name.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }

    /// Whether a request of this method without a length is refused (411): its content is what it is about.
    pub(crate) const fn needs_length(self) -> bool {
        matches!(self, Method::Post | Method::Put | Method::Patch)
    }
}

/// A request head, borrowed from the connection that received it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    head: &'a Head,
    bytes: &'a [u8],
    lenient: bool,
}

impl<'a> Request<'a> {
    pub(crate) const fn new(head: &'a Head, bytes: &'a [u8], lenient: bool) -> Self {
        Request { head, bytes, lenient }
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// The path, as sent: visible ASCII, not percent-decoded.
    pub fn path(&self) -> &'a str {
        self.head.path(self.bytes)
    }

    /// The query without its question mark, as sent; empty when there is none.
    pub fn query(&self) -> &'a str {
        self.head.query(self.bytes)
    }

    /// The value of the first `name=value` in the query, not percent-decoded; empty for a bare `name`.
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        self.query().split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub fn version_minor(&self) -> u8 {
        self.head.version_minor
    }

    /// `User-Agent`, empty without one or when it is not UTF-8.
    pub fn user_agent(&self) -> &'a str {
        self.text(Field::UserAgent)
    }

    /// `Content-Type`, empty without one.
    pub fn content_type(&self) -> &'a str {
        self.text(Field::ContentType)
    }

    /// The media type of `Content-Type`, without its parameters.
    pub fn media_type(&self) -> &'a str {
        self.content_type().split(';').next().unwrap_or_default().trim()
    }

    /// `Accept`, empty without one.
    pub fn accept(&self) -> &'a str {
        self.text(Field::Accept)
    }

    /// `Host`, empty without one.
    pub fn host(&self) -> &'a str {
        self.text(Field::Host)
    }

    /// `traceparent` (W3C Trace Context), empty without one.
    pub fn traceparent(&self) -> &'a str {
        self.text(Field::Traceparent)
    }

    /// `tracestate` (W3C Trace Context), empty without one.
    pub fn tracestate(&self) -> &'a str {
        self.text(Field::Tracestate)
    }

    /// Whether content this client sends is never answered with 4xx: its `User-Agent` is one of the configured lenient
    /// agents, or it asked with `Prefer: handling=lenient`.
    pub fn lenient(&self) -> bool {
        self.lenient
    }

    /// Whether the request asks for a WebSocket.
    pub fn is_upgrade(&self) -> bool {
        self.head.upgrade
    }

    /// Path, `Content-Type` and `User-Agent` as they came, for what needs them only if all goes wrong.
    pub(crate) fn origin(&self) -> [&'a [u8]; 3] {
        [
            self.head.path_bytes(self.bytes),
            self.field(Field::ContentType).unwrap_or_default(),
            self.field(Field::UserAgent).unwrap_or_default(),
        ]
    }

    pub(crate) fn field(&self, field: Field) -> Option<&'a [u8]> {
        self.head.field(self.bytes, field)
    }

    fn text(&self, field: Field) -> &'a str {
        self.field(field).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}
