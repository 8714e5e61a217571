//! What people should be told: the shell prints or logs it.

use std::fmt;

/// One thing worth saying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A game was seen for the first time in its session.
    GameConnected {
        /// Its id, the run's seed.
        game_id: String,
        /// What its sender calls itself.
        agent: String,
        /// The session.
        session: u64,
    },
    /// Two games come in as one.
    SessionAmbiguous {
        /// What their sender calls itself.
        agent: String,
        /// The session.
        session: u64,
    },
    /// The log is full; these reliable readers hold it.
    LogFull {
        /// Names of the readers, the one furthest behind first.
        readers: Vec<String>,
    },
    /// The log has room again after this many milliseconds.
    LogHasRoom {
        /// How long it was full.
        after_ms: u64,
    },
    /// What producers have sent could not be learnt from the checkpoint beside the log.
    ProducersUnknown {
        /// Why.
        reason: String,
    },
    /// What producers have sent could not be kept beside the log.
    ProducersNotKept {
        /// Why.
        reason: String,
    },
    /// No more connections are accepted for now.
    ConnectionLimit {
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::GameConnected { game_id, agent, .. } if agent.is_empty() => {
                write!(f, "game {game_id} connected")
            }
            Notice::GameConnected { game_id, agent, .. } => {
                write!(f, "game {game_id} connected ({agent})")
            }
            Notice::SessionAmbiguous { agent, session } => write!(
                f,
                "two games send as one ({agent}, session {session:016x}): they share address and User-Agent and \
                 cannot be told apart, so their events are stored but marked ambiguous; run one game with this mod \
                 on a host, or give each its own producer id"
            ),
            Notice::LogFull { readers } if readers.is_empty() => {
                write!(f, "the log is full; games are held back until there is room")
            }
            Notice::LogFull { readers } => write!(
                f,
                "the log is full because {} did not read on; games are held back until it does (or until its lease \
                 ends, when it is dead)",
                readers.join(", ")
            ),
            Notice::LogHasRoom { after_ms } => {
                write!(f, "the log has room again after {after_ms} ms")
            }
            Notice::ProducersUnknown { reason } => write!(
                f,
                "what is beside the log of producers' numbers is not used: {reason}; numbers that the log itself no \
                 longer holds are stored again when they are sent again"
            ),
            Notice::ProducersNotKept { reason } => write!(
                f,
                "producers' numbers can't be kept beside the log: {reason}; after a restart those that the log no \
                 longer holds are stored again when they are sent again"
            ),
            Notice::ConnectionLimit { limit } => write!(
                f,
                "{limit} connections are open, which is the limit (--max-connections); further ones wait"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_game_is_named_with_its_mod() {
        let notice = |agent: &str| Notice::GameConnected {
            game_id: "7LB2WVPK".into(),
            agent: agent.into(),
            session: 1,
        };
        assert_eq!(
            notice("BalatroMCP 0.1.0").to_string(),
            "game 7LB2WVPK connected (BalatroMCP 0.1.0)"
        );
        assert_eq!(notice("").to_string(), "game 7LB2WVPK connected");
    }
}
