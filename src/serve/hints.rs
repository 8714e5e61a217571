//! What people are told when the service is up and no game comes.

use std::net::SocketAddr;

use jimbot_core::log::EventLog;
use jimbot_core::metrics::names;
use jimbot_core::service::Service;
use jimbot_core::time::Now;

use super::port_holder::{PortHolder, port_holder};
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

    /// Gives the text when it is time for it. Called once a turn; costs a comparison until then.
    pub(super) fn look<L: EventLog>(&mut self, now: Now, service: &Service<L>) -> Option<String> {
        if self.due_mono_ns.is_none_or(|due| now.mono_ns < due) {
            return None;
        }
        self.due_mono_ns = None;
        let cells = service.log().counters();
        let stored = names::EVENTS_STORED.get(cells, names::transport::HTTP)
            + names::EVENTS_STORED.get(cells, names::transport::WEBSOCKET);
        (stored == 0).then(|| self.text(port_holder))
    }

    fn text(&self, holder: impl Fn(SocketAddr) -> Option<PortHolder>) -> String {
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
    use super::{Hints, PortHolder};
    use crate::config::ListenAddress;
    use jimbot_core::access::{Access, AccessConfig};
    use jimbot_core::log::{EventLog, MemoryLog, MemoryLogOptions};
    use jimbot_core::metrics::names;
    use jimbot_core::service::{Service, ServiceConfig};
    use jimbot_core::time::Now;

    const START_MS: u64 = 1_000_000;

    /// Milliseconds after the start.
    fn after(ms: u64) -> Now {
        Now { mono_ns: (START_MS + ms) * 1_000_000, unix_ns: 0 }
    }

    fn hints(address: &str) -> Hints {
        let bound: [ListenAddress; 1] = [address.parse().unwrap()];
        Hints::new(&bound, after(0))
    }

    fn service() -> Service<MemoryLog> {
        let config = ServiceConfig::new(Access::new(AccessConfig::default()));
        Service::new(config, MemoryLog::new(MemoryLogOptions::default()), after(0))
    }

    #[test]
    fn it_comes_after_thirty_seconds_and_once() {
        let (mut hints, service) = (hints("127.0.0.1:8080"), service());
        for early in [0, 1, 29_999] {
            assert_eq!(hints.look(after(early), &service), None, "{early} ms");
        }
        let text = hints.look(after(30_000), &service).expect("it is time");
        assert!(text.starts_with("no event for 30 s. The usual reasons:\n- "), "{text}");
        for late in [30_000, 30_001, 60_000, 86_400_000] {
            assert_eq!(hints.look(after(late), &service), None, "{late} ms");
        }
    }

    #[test]
    fn a_turn_that_comes_late_is_no_reason_to_be_silent() {
        let text = hints("127.0.0.1:8080").look(after(31_500), &service());
        assert!(text.is_some());
    }

    #[test]
    fn who_has_sent_an_event_is_told_nothing() {
        for transport in [names::transport::HTTP, names::transport::WEBSOCKET] {
            let (mut hints, service) = (hints("127.0.0.1:8080"), service());
            assert_eq!(hints.look(after(10_000), &service), None);
            names::EVENTS_STORED.add(service.log().counters(), transport, 1);
            for ms in [30_000, 60_000, 86_400_000] {
                assert_eq!(hints.look(after(ms), &service), None, "{ms} ms");
            }
        }
    }

    #[test]
    fn a_missing_port_is_named_with_its_holder() {
        let hints = hints("127.0.0.1:9000");
        let text = hints.text(|address| {
            assert_eq!(address.to_string(), "127.0.0.1:8080");
            Some(PortHolder::Process { name: "nginx".into(), pid: 7 })
        });
        assert!(
            text.contains("does not listen on port 8080, which is held by nginx (pid 7);"),
            "{text}"
        );
        let text = hints.text(|_| Some(PortHolder::Hidden { user: 33, port: 8080 }));
        assert!(text.contains("`sudo ss -ltnp 'sport = :8080'` names it"), "{text}");
        let text = hints.text(|_| None);
        assert!(text.contains("does not listen on port 8080; the mod in the field"), "{text}");
    }

    #[test]
    fn with_the_port_the_other_reasons_are_named() {
        let text = hints("127.0.0.1:8080").text(|_| panic!("nobody else can hold it"));
        assert!(text.contains("WSL2") && text.contains("Mods folder"), "{text}");
    }
}
