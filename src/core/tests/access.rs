//! Who may come in: tokens for strangers, nothing for web pages, health for everybody.

mod wire;

use jimbot_core::access::AccessConfig;
use jimbot_core::conn::{ConnConfig, Peer};
use wire::{Driver, LOOPBACK, Seen};

const STRANGER: &str = "192.168.1.7";

fn peer(address: &str) -> Peer {
    Peer::Address(address.parse().unwrap())
}

fn config() -> AccessConfig {
    AccessConfig {
        token: Some(b"s3cret\n".to_vec()),
        host_names: vec!["Games.Example.".to_owned()],
        listeners: vec!["127.0.0.1:8080".parse().unwrap(), "0.0.0.0:8765".parse().unwrap()],
        ..AccessConfig::default()
    }
}

/// The answer's status and the field it names.
fn answer(access: AccessConfig, peer: Peer, line: &str, fields: &str) -> (u16, String) {
    let mut driver = Driver::with(ConnConfig::default(), access, peer);
    driver.send(format!("{line} HTTP/1.1\r\n{fields}\r\n").as_bytes());
    let statuses = driver.statuses();
    assert_eq!(statuses.len(), 1, "{line} {fields}");
    assert_eq!(
        driver.seen.is_empty(),
        statuses[0] != 200,
        "{line} {fields}: what is refused is never seen"
    );
    let text = driver.take_sent();
    let field = text.split("\"field\":\"").nth(1).and_then(|rest| rest.split('"').next());
    (statuses[0], field.unwrap_or_default().to_owned())
}

#[test]
fn tokens() {
    let get = |peer, fields: &str| {
        answer(config(), peer, "GET /metrics", &format!("Host: 10.0.0.1\r\n{fields}")).0
    };
    let stranger = peer(STRANGER);
    assert_eq!(get(stranger, ""), 401);
    assert_eq!(get(stranger, "Authorization: Bearer s3cret\r\n"), 200);
    assert_eq!(get(stranger, "authorization: bearer s3cret\r\n"), 200);
    assert_eq!(get(stranger, "Authorization: Bearer wrong\r\n"), 401);
    assert_eq!(get(stranger, "Authorization: Basic s3cret\r\n"), 401);
    for trusted in [LOOPBACK, peer("127.9.9.9"), peer("::1"), peer("::ffff:127.0.0.1"), Peer::Local]
    {
        assert_eq!(get(trusted, ""), 200, "{trusted:?}");
        assert_eq!(get(trusted, "Authorization: Bearer whatever\r\n"), 200, "{trusted:?}");
    }
    let without = AccessConfig { token: None, ..config() };
    assert_eq!(answer(without, stranger, "GET /metrics", "Host: 10.0.0.1\r\n").0, 200);
    let networks = AccessConfig { trusted: vec!["192.168.0.0/16".parse().unwrap()], ..config() };
    assert_eq!(answer(networks.clone(), stranger, "GET /", "Host: localhost\r\n").0, 200);
    assert_eq!(answer(networks, LOOPBACK, "GET /", "Host: localhost\r\n").0, 401);
    let nobody = AccessConfig { trusted: Vec::new(), ..config() };
    assert_eq!(answer(nobody.clone(), LOOPBACK, "GET /", "Host: localhost\r\n").0, 401);
    assert_eq!(answer(nobody, Peer::Local, "GET /", "Host: localhost\r\n").0, 200);
}

#[test]
fn a_401_says_how_to_authenticate() {
    let mut driver = Driver::with(ConnConfig::default(), config(), peer(STRANGER));
    driver.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    driver
        .send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n\r\n");
    assert_eq!(driver.statuses(), [401, 200], "the connection goes on");
    assert!(driver.take_sent().contains("\r\nWWW-Authenticate: Bearer realm=\"jimbot-mcp\"\r\n"));
}

#[test]
fn a_refused_body_is_never_read() {
    let mut driver = Driver::with(ConnConfig::default(), config(), peer(STRANGER));
    driver.send(
        b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(driver.statuses(), [401]);
    assert!(driver.conn.wants().shut_down);
}

#[test]
fn hosts() {
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("localhost.", 200),
        ("127.0.0.1:8080", 200),
        ("10.20.30.40", 200),
        ("[::1]:8080", 200),
        ("[fe80::1]", 200),
        ("games.example", 200),
        ("GAMES.example.:99", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("games.example.evil", 403),
        ("127.0.0.1.evil.example", 403),
        ("0x7f.1", 403),
        ("127.1", 403),
        ("", 403),
        ("localhost:", 403),
        ("localhost:99999", 403),
        ("user@localhost", 403),
        ("[::1", 403),
    ] {
        let (found, field) = answer(config(), LOOPBACK, "GET /", &format!("Host: {host}\r\n"));
        assert_eq!(found, status, "{host}");
        assert!(status == 200 || field == "Host", "{host}: {field}");
    }
}

#[test]
fn origins() {
    for (host, origin, status) in [
        ("localhost:8080", "http://localhost:8080", 200),
        ("localhost:8080", "HTTP://LOCALHOST:8080", 200),
        // Another port of ours at a name of ours.
        ("localhost:8080", "http://127.0.0.1:8765", 200),
        ("127.0.0.1:8765", "http://games.example:8080", 200),
        ("games.example", "https://games.example", 200),
        ("games.example", "http://games.example:80", 200),
        ("10.0.0.5:8765", "http://10.0.0.5:8765", 200),
        ("10.0.0.5:8765", "http://10.0.0.6:8765", 403),
        ("localhost:8080", "http://localhost:3000", 403),
        ("localhost:8080", "http://localhost", 403),
        ("localhost:8080", "https://localhost", 403),
        ("localhost:8080", "http://evil.example", 403),
        ("localhost:8080", "http://evil.example:8080", 403),
        ("evil.example:8080", "http://evil.example:8080", 403),
        ("localhost:8080", "http://localhost:8080.evil.example", 403),
        ("localhost:8080", "http://localhost:8080/", 403),
        ("localhost:8080", "null", 403),
        ("localhost:8080", "", 403),
        ("localhost:8080", "file://", 403),
        ("localhost:8080", "localhost:8080", 403),
        ("localhost:8080", "chrome-extension://abcdef", 403),
    ] {
        for line in ["GET /", "GET /health", "OPTIONS /api/v1/events"] {
            let fields = format!("Host: {host}\r\nOrigin: {origin}\r\n");
            let (found, field) = answer(config(), LOOPBACK, line, &fields);
            assert_eq!(found, status, "{line} {host} {origin}");
            assert!(status == 200 || field == "Origin", "{host} {origin}: {field}");
        }
    }
}

#[test]
fn fetch_metadata() {
    for (site, status) in [
        ("same-origin", 200),
        ("none", 200),
        ("same-site", 403),
        ("cross-site", 403),
        ("", 403),
        ("None", 403),
    ] {
        for path in ["/", "/health", "/healthz", "/readyz", "/api/v1/events/health"] {
            let fields = format!("Host: localhost\r\nSec-Fetch-Site: {site}\r\n");
            let (found, field) = answer(config(), LOOPBACK, &format!("GET {path}"), &fields);
            assert_eq!(found, status, "{path} {site}");
            assert!(status == 200 || field == "Sec-Fetch-Site");
        }
    }
}

#[test]
fn health_is_free_of_host_and_token() {
    for path in ["/health", "/api/v1/events/health", "/healthz", "/readyz", "/health?verbose=1"] {
        let found =
            answer(config(), peer(STRANGER), &format!("GET {path}"), "Host: lb.internal\r\n");
        assert_eq!(found.0, 200, "{path}");
    }
    for path in ["/healthy", "/health/", "//health", "/HEALTH", "/metrics"] {
        let found =
            answer(config(), peer(STRANGER), &format!("GET {path}"), "Host: lb.internal\r\n");
        assert_eq!(found.0, 403, "{path}");
    }
}

#[test]
fn upgrades_are_checked_too() {
    let mut driver = Driver::with(ConnConfig::default(), config(), LOOPBACK);
    let request = String::from_utf8(wire::upgrade("/events")).unwrap();
    driver.send(request.replace("\r\n\r\n", "\r\nOrigin: https://evil.example\r\n\r\n").as_bytes());
    assert_eq!(driver.statuses(), [403]);
    assert_eq!(driver.seen, []);
    driver.send(request.as_bytes());
    assert_eq!(driver.seen, [Seen::Upgrade { path: "/events".to_owned() }]);
}
