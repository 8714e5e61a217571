//! What is counted of connections: refusals by status, endings by reason.

use crate::http::Status;
use crate::ws::CloseCode;

macro_rules! counts {
    ($($variant:ident $name:literal,)*) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counted {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Counted {
            /// Everything that is counted.
            pub const ALL: [Counted; [$($name),*].len()] = [$(Counted::$variant),*];

            /// The name, in snake case.
            pub const fn name(self) -> &'static str {
                match self { $(Counted::$variant => $name,)* }
            }
        }
    };
}

counts! {
    Requests "requests",
    Upgrades "upgrades",
    Messages "messages",
    BodiesCut "bodies_cut",
    Continues "continues",
    Refused400 "refused_400",
    Refused401 "refused_401",
    Refused403 "refused_403",
    Refused408 "refused_408",
    Refused411 "refused_411",
    Refused413 "refused_413",
    Refused414 "refused_414",
    Refused415 "refused_415",
    Refused417 "refused_417",
    Refused426 "refused_426",
    Refused431 "refused_431",
    Refused501 "refused_501",
    Refused503 "refused_503",
    Refused505 "refused_505",
    RefusedOther "refused_other",
    ClosedIdle "closed_idle",
    ClosedOutputStalled "closed_output_stalled",
    ClosedTruncated "closed_truncated",
    WaitedForMemory "waited_for_memory",
    PingsSent "pings_sent",
    WebSocketProtocol "websocket_closed_1002",
    WebSocketInvalid "websocket_closed_1007",
    WebSocketPolicy "websocket_closed_1008",
    WebSocketTooLarge "websocket_closed_1009",
    WebSocketSilent "websocket_closed_1011",
    WebSocketTryAgain "websocket_closed_1013",
    WebSocketOther "websocket_closed_other",
}

impl Counted {
    /// A refusal the connection itself answered with.
    pub(crate) const fn refused(status: Status) -> Counted {
        match status.code() {
            400 => Counted::Refused400,
            401 => Counted::Refused401,
            403 => Counted::Refused403,
            408 => Counted::Refused408,
            411 => Counted::Refused411,
            413 => Counted::Refused413,
            414 => Counted::Refused414,
            415 => Counted::Refused415,
            417 => Counted::Refused417,
            426 => Counted::Refused426,
            431 => Counted::Refused431,
            501 => Counted::Refused501,
            503 => Counted::Refused503,
            505 => Counted::Refused505,
            _ => Counted::RefusedOther,
        }
    }

    /// A WebSocket we closed.
    pub(crate) const fn closed(code: CloseCode) -> Counted {
        match code {
            CloseCode::Protocol => Counted::WebSocketProtocol,
            CloseCode::Invalid => Counted::WebSocketInvalid,
            CloseCode::Policy => Counted::WebSocketPolicy,
            CloseCode::TooLarge => Counted::WebSocketTooLarge,
            CloseCode::Internal => Counted::WebSocketSilent,
            CloseCode::TryAgain => Counted::WebSocketTryAgain,
            CloseCode::Normal | CloseCode::GoingAway | CloseCode::Unsupported => {
                Counted::WebSocketOther
            }
        }
    }
}

/// Counts of all connections since the service started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    counts: [u64; Counted::ALL.len()],
}

impl Tally {
    /// Counts one.
    pub(crate) const fn add(&mut self, what: Counted) {
        self.counts[what as usize] += 1;
    }

    /// How often.
    pub const fn get(&self, what: Counted) -> u64 {
        self.counts[what as usize]
    }

    /// Every count with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counted::ALL.iter().map(|&what| (what.name(), self.get(what)))
    }
}
