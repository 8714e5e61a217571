//! Why a WebSocket is closed.

/// The close codes this service sends (RFC 6455, section 7.4.1, and IANA's registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// 1000: the purpose is fulfilled.
    Normal = 1000,
    /// 1001: the service shuts down.
    GoingAway = 1001,
    /// 1002: the peer broke the protocol.
    Protocol = 1002,
    /// 1003: a kind of data that is not taken.
    Unsupported = 1003,
    /// 1007: a text message that is not UTF-8.
    Invalid = 1007,
    /// 1008: the peer sends more than it may.
    Policy = 1008,
    /// 1009: a message larger than the limit.
    TooLarge = 1009,
    /// 1011: the connection can't be kept: no answer to pings, or a fault of ours.
    Internal = 1011,
    /// 1013: try again later.
    TryAgain = 1013,
}

impl CloseCode {
    /// The number.
    pub const fn code(self) -> u16 {
        self as u16
    }
}
