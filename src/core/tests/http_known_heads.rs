//! A head whose bytes were judged before gets the same judgement again, and nothing else does.

mod wire;

use jimbot_core::access::AccessConfig;
use jimbot_core::conn::{ConnConfig, Connection, Peer};
use proptest::prelude::*;
use wire::{Driver, LOOPBACK, Seen};

/// Requests that differ in everything a head can say, the refused ones among them.
fn request(line: &str, fields: &[&str], length: Option<&str>, body: &str) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
    for field in fields {
        bytes.push_str(field);
        bytes.push_str("\r\n");
    }
    if let Some(length) = length {
        bytes.push_str(&format!("Content-Length: {length}\r\n"));
    }
    format!("{bytes}\r\n{body}").into_bytes()
}

/// What a connection makes of it: what the service saw, what was answered, whether it goes on.
fn outcome(driver: &mut Driver, bytes: &[u8]) -> (Vec<Seen>, String, bool) {
    driver.conn = Connection::new(driver.conn.peer(), &ConnConfig::default(), driver.now_ns);
    driver.seen.clear();
    driver.send(bytes);
    (driver.seen.clone(), driver.take_sent(), driver.conn.wants().read)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_as_the_first_time(
        picks in prop::collection::vec((0_usize..5, 0_usize..9, 0_usize..8), 1..80),
        stranger in any::<bool>(),
    ) {
        let lines = ["POST /a", "POST /b?c=d", "GET /a", "HEAD /a", "PUT http://localhost/x"];
        let fields = [
            vec![],
            vec!["User-Agent: BalatroMCP/1.0"],
            vec!["Prefer: handling=lenient"],
            vec!["Connection: close"],
            vec!["Expect: 100-continue"],
            vec!["Content-Encoding: gzip"],
            vec!["Origin: http://evil.example"],
            vec!["Authorization: Bearer s3cret"],
            vec!["Authorization: Bearer wrong!"],
        ];
        // As many digits, fewer, none, leading zeros, no digits.
        let lengths = [Some("7"), Some("3"), Some("0"), Some("10"), Some("07"), None, Some("x"), Some("99999999")];
        let access = AccessConfig { token: Some(b"s3cret".to_vec()), ..AccessConfig::default() };
        let peer = if stranger { Peer::Address([192, 168, 0, 9].into()) } else { LOOPBACK };
        let mut remembering = Driver::with(ConnConfig::default(), access.clone(), peer);
        for (line, field, length) in picks {
            let bytes = request(lines[line], &fields[field], lengths[length], "0123456789");
            let mut fresh = Driver::with(ConnConfig::default(), access.clone(), peer);
            let expected = outcome(&mut fresh, &bytes);
            prop_assert_eq!(outcome(&mut remembering, &bytes), expected, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn a_token_that_was_right_before_is_compared_again() {
    let access = AccessConfig { token: Some(b"s3cret".to_vec()), ..AccessConfig::default() };
    let stranger = Peer::Address([192, 168, 0, 9].into());
    let mut driver = Driver::with(ConnConfig::default(), access, stranger);
    let with =
        |token: &str| request("GET /a", &[&format!("Authorization: Bearer {token}")], None, "");
    driver.send(&with("s3cret"));
    driver.send(&with("s3cret"));
    driver.send(&with("S3cret"));
    assert_eq!(driver.statuses(), [200, 200, 401]);
    assert_eq!(driver.conn.known_head(), None, "heads with secrets have no name");
}

#[test]
fn a_head_that_a_trusted_peer_sent_lets_no_stranger_in() {
    let access = AccessConfig { token: Some(b"s3cret".to_vec()), ..AccessConfig::default() };
    let mut driver = Driver::with(ConnConfig::default(), access, LOOPBACK);
    let bytes = request("GET /a", &[], None, "");
    driver.send(&bytes);
    driver.send(&bytes);
    assert!(driver.conn.known_head().is_some());
    let stranger = Peer::Address([192, 168, 0, 9].into());
    driver.conn = Connection::new(stranger, &ConnConfig::default(), driver.now_ns);
    driver.send(&bytes);
    assert_eq!(driver.statuses(), [200, 200, 401]);
}
