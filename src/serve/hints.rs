//! What people are told when the service is up and no game comes.

use std::net::SocketAddr;

use jimbot_core::log::EventLog;
use jimbot_core::metrics::names;
use jimbot_core::service::Service;
use jimbot_core::time::Now;

use super::port_holder::port_holder;
use crate::config::ListenAddress;

/// How long a game may take to come before its usual obstacles are named.
const PATIENCE_NS: u64 = 30_000_000_000;
/// The one port from which the mod in the field polls for commands, whatever it is told.
const MOD_PORT: u16 = 8080;

/// Says once, after 30 s without an event, what usually is the reason.
pub(super) struct Hints {
    due_mono_ns: Option<u64>,
    has_mod_port: bool,
}

impl Hints {
    pub(super) fn new(bound: &[ListenAddress], now: Now) -> Self {
        let has_mod_port = bound
            .iter()
            .any(|address| matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == MOD_PORT));
        Self { due_mono_ns: Some(now.mono_ns + PATIENCE_NS), has_mod_port }
    }

    /// Called once a turn; costs a comparison until it is due.
    pub(super) fn look<L: EventLog>(&mut self, now: Now, service: &Service<L>) {
        if self.due_mono_ns.is_none_or(|due| now.mono_ns < due) {
            return;
        }
        self.due_mono_ns = None;
        let cells = service.log().counters();
        let stored = names::EVENTS_STORED.get(cells, names::transport::HTTP)
            + names::EVENTS_STORED.get(cells, names::transport::WEBSOCKET);
        if stored == 0 {
            // A log line is one line, so that no text can pretend to be another.
            for line in self.text(port_holder).lines() {
                log::info!("{line}");
            }
        }
    }

    fn text(&self, holder: impl Fn(SocketAddr) -> Option<String>) -> String {
        let port = if self.has_mod_port {
            "- the mod sends to http://localhost:8080; look into its configuration if it was changed"
                .to_owned()
        } else {
            let at = SocketAddr::from(([127, 0, 0, 1], MOD_PORT));
            let held = holder(at)
                .map_or_else(String::new, |holder| format!(", which is held by {holder}"));
            format!(
                "- this service does not listen on port {MOD_PORT}{held}; the mod in the field \
                 polls for commands at http://localhost:8080 whatever it is told, so give it \
                 --listen 127.0.0.1:8080"
            )
        };
        format!(
            "no event for 30 s. The usual reasons:\n\
             {port}\n\
             - the game runs on Windows and this service in WSL2: use mirrored networking, or \
             --listen on the address that Windows sees (README, \"With your game\")\n\
             - the mod is missing or failed to load: the game's Mods folder needs BalatroMCP and \
             its loader; its console shows errors\n\
             To see events without a game: jimbot-mcp simulate"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Hints;
    use crate::config::ListenAddress;
    use jimbot_core::time::Now;

    fn hints(address: &str) -> Hints {
        let bound: [ListenAddress; 1] = [address.parse().unwrap()];
        Hints::new(&bound, Now { mono_ns: 0, unix_ns: 0 })
    }

    #[test]
    fn a_missing_port_is_named_with_its_holder() {
        let text = hints("127.0.0.1:9000").text(|_| Some("nginx (pid 7)".into()));
        assert!(text.contains("does not listen on port 8080, which is held by nginx (pid 7)"));
    }

    #[test]
    fn with_the_port_the_other_reasons_are_named() {
        let text = hints("127.0.0.1:8080").text(|_| panic!("nobody else can hold it"));
        assert!(text.contains("WSL2") && text.contains("Mods folder"), "{text}");
    }
}
