//! How the service is set up.

use crate::access::Access;
use crate::batching::Mode;
use crate::conn::ConnConfig;
use crate::limits;

/// Settings of a [`super::Service`].
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Limits and times of connections.
    pub connections: ConnConfig,
    /// Who may come in.
    pub access: Access,
    /// Open connections at which accepting stops.
    pub max_connections: usize,
    /// When batches are closed.
    pub batching: Mode,
    /// The longest an event waits for its batch, nanoseconds.
    pub window_ns: u64,
    /// How long a request waits for room in a full log, nanoseconds.
    pub full_hold_ns: u64,
    /// How long a command waits to be fetched, nanoseconds.
    pub command_age_ns: u64,
    /// Events remembered to recognise repeats, a power of two up to 2^20.
    pub repeats_events: usize,
    /// Bytes of lists that are remembered because games send them again; 0 remembers none.
    pub span_bytes: usize,
    /// Sessions remembered.
    pub sessions: usize,
    /// The version that health, metrics and notices tell.
    pub version: &'static str,
}

impl ServiceConfig {
    /// The defaults, with this rule of who may come in.
    #[must_use]
    pub fn new(access: Access) -> ServiceConfig {
        ServiceConfig {
            connections: ConnConfig::default(),
            access,
            max_connections: limits::CONNECTIONS,
            batching: Mode::default(),
            window_ns: limits::WINDOW_NS,
            full_hold_ns: limits::FULL_HOLD_NS,
            command_age_ns: limits::COMMAND_AGE_NS,
            repeats_events: limits::REPEATS_EVENTS,
            span_bytes: limits::SPAN_BYTES,
            sessions: limits::SESSIONS_MAX,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}
