//! HTTP/1.1 as state machines over bytes: heads are cut by `httparse` behind checks of the raw bytes, bodies are
//! framed by a decoder that works in place, answers are written straight into the output buffer.
//!
//! | file | what it knows |
//! |---|---|
//! | `scan` | where a head ends, and the line ends and folds that make two parsers disagree |
//! | `head` | request line and header fields of one complete head |
//! | `known` | heads that were judged before, so that a client's next one is only compared |
//! | `framing` | how long the body is, and which heads leave that open to argument |
//! | `body` | `Content-Length` and chunked bodies, trailers, bodies past the limit |
//! | `request` | what a service may ask about a request |
//! | `response`, `status`, `refusal` | answers, precomputed answers, and errors that say what to do next |
//!
//! Ambiguity is refused, never resolved (RFC 9112, sections 2.2, 5.1, 6.3 and 11.2): whoever stands before this
//! service may read such bytes another way, and then one request becomes two.

mod body;
mod framing;
mod head;
mod known;
mod refusal;
mod request;
mod response;
mod scan;
mod status;

pub use head::parse_head;
pub use known::KnownHead;
pub use refusal::Refusal;
pub use request::{Method, Request};
pub use response::{Prepared, Response};
pub use status::Status;

pub(crate) use body::{BodyReader, BodyStep, PastLimit};
pub(crate) use framing::Framing;
pub(crate) use head::{Field, Head};
pub(crate) use known::KnownHeads;
pub(crate) use refusal::Fault;
pub(crate) use response::{Persistence, decimal_length, write_continue, write_decimal};
pub(crate) use scan::{HeadScan, Scanned};
