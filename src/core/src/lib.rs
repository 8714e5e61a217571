//! The event path without I/O: codecs, conversion, batching and limits, driven by bytes and a clock that is passed in.

pub mod access;
pub mod batching;
pub mod breaker;
pub mod conn;
pub mod convert;
pub mod http;
pub mod limits;
pub mod log;
mod lru;
pub mod mailbox;
pub mod metrics;
pub mod repeats;
pub mod service;
pub mod session;
pub mod time;
pub mod wheel;
pub mod ws;
