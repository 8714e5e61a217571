//! What connections share: their limits, who may come in, their buffers and what is counted of them.

use super::{BufferPool, Tally};
use crate::access::Access;
use crate::http::KnownHeads;
use crate::limits;
use crate::ws::WsConfig;
use std::net::IpAddr;

/// Limits and times of connections. Times are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnConfig {
    /// Bytes of one body. Longer ones are refused (413), or cut for lenient agents.
    pub max_body_bytes: usize,
    /// Beginnings of `User-Agent` values whose content is never answered with 4xx.
    pub lenient_agents: Vec<String>,
    /// From the first byte of a head to its last (408).
    pub head_ns: u64,
    /// Between an answer and the next request.
    pub idle_ns: u64,
    /// Head start of a body before its rate counts (408).
    pub body_grace_ns: u64,
    /// The slowest a body may come.
    pub body_bytes_per_second: u64,
    /// The longest a body may take.
    pub body_ns: u64,
    /// How long a client may take nothing of its answers.
    pub output_stall_ns: u64,
    /// Unsent bytes from which on nothing more is read.
    pub output_high_bytes: usize,
    /// How long a connection waits for a share of the buffer budget (503, or close 1013).
    pub memory_wait_ns: u64,
    /// Bytes all connections together hold of what is not complete.
    pub buffer_bytes: usize,
    /// WebSocket limits and times.
    pub ws: WsConfig,
}

impl Default for ConnConfig {
    fn default() -> Self {
        ConnConfig {
            max_body_bytes: limits::BODY_BYTES,
            lenient_agents: vec!["BalatroMCP/".to_owned()],
            head_ns: limits::HEAD_NS,
            idle_ns: limits::IDLE_NS,
            body_grace_ns: limits::BODY_GRACE_NS,
            body_bytes_per_second: limits::BODY_BYTES_PER_SECOND,
            body_ns: limits::BODY_NS,
            output_stall_ns: limits::OUTPUT_STALL_NS,
            output_high_bytes: limits::OUTPUT_HIGH_BYTES,
            memory_wait_ns: limits::MEMORY_WAIT_NS,
            buffer_bytes: limits::BUFFER_BYTES,
            ws: WsConfig::default(),
        }
    }
}

impl ConnConfig {
    /// Whether this `User-Agent` belongs to an agent whose content is never answered with 4xx.
    pub fn is_lenient(&self, user_agent: &str) -> bool {
        self.lenient_agents.iter().any(|beginning| user_agent.starts_with(beginning.as_str()))
    }
}

/// Who is on the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP peer.
    Address(IpAddr),
    /// A Unix socket: the file system has decided who may open it.
    Local,
}

/// What all connections of one service share. Passed to every call that may need it.
#[derive(Debug)]
pub struct Shared {
    /// Limits and times.
    pub config: ConnConfig,
    /// Who may come in.
    pub access: Access,
    /// Buffers.
    pub pool: BufferPool,
    /// What was counted.
    pub tally: Tally,
    /// Request heads judged before.
    pub(crate) known_heads: KnownHeads,
}

impl Shared {
    /// What a service's connections share.
    pub fn new(config: ConnConfig, access: Access) -> Shared {
        let pool = BufferPool::new(config.buffer_bytes);
        let known_heads = KnownHeads::default();
        Shared { config, access, pool, tally: Tally::default(), known_heads }
    }
}
