//! What clients of every kind send over HTTP, and what they get back.

mod wire;

use jimbot_core::access::AccessConfig;
use jimbot_core::conn::{ConnConfig, Counted};
use wire::{Driver, LOOPBACK, Seen};

const OK_7: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n7";
const OK_7_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nConnection: close\r\n\r\n7";
const OK_0: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n0";

fn lenient(method: &'static str, path: &str, body: &[u8]) -> Seen {
    Seen::Request {
        method,
        path: path.to_owned(),
        query: String::new(),
        lenient: true,
        body: body.to_vec(),
        length: body.len() as u64,
    }
}

fn small(max_body_bytes: usize) -> Driver {
    let config = ConnConfig { max_body_bytes, ..ConnConfig::default() };
    Driver::with(config, AccessConfig::default(), LOOPBACK)
}

#[test]
fn the_mod_over_a_kept_connection() {
    let post = "POST /api/v1/events HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n\
                User-Agent: BalatroMCP/1.0\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
    let poll = "GET /api/v1/commands/poll HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: text/plain\r\n\r\n";
    let mut driver = Driver::new();
    for _ in 0..3 {
        assert_eq!(driver.send(post.as_bytes()), post.len());
        assert_eq!(driver.take_sent(), OK_7);
        driver.send(poll.as_bytes());
        assert_eq!(driver.take_sent(), OK_0);
        assert!(driver.conn.wants().read && !driver.conn.wants().close);
    }
    let expected = [
        lenient("POST", "/api/v1/events", b"{\"a\":1}"),
        Seen::request("GET", "/api/v1/commands/poll", b""),
    ];
    assert_eq!(driver.seen, [&expected[..]; 3].concat());
}

#[test]
fn the_mod_over_curl_waits_for_100() {
    let head = "POST /api/v1/events/batch HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\
                User-Agent: BalatroMCP/1.0\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n";
    let mut driver = Driver::new();
    driver.send(head.as_bytes());
    assert_eq!(driver.take_sent(), "HTTP/1.1 100 Continue\r\n\r\n");
    driver.send(b"{\"a\"");
    assert_eq!(driver.take_sent(), "");
    driver.send(b":1}");
    assert_eq!(driver.take_sent(), OK_7);
}

#[test]
fn no_100_when_the_body_is_already_there() {
    let mut driver = Driver::new();
    driver.send(
        b"POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\nExpect: 100-Continue\r\n\r\n{\"a\":1}",
    );
    assert_eq!(driver.take_sent(), OK_7);
}

#[test]
fn the_mod_over_plain_sockets() {
    // No port in Host, `Close` with a capital letter, and it reads until we close.
    let mut driver = Driver::new();
    driver.send(
        b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: Close\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
    );
    assert_eq!(driver.take_sent(), OK_7_CLOSE);
    assert!(driver.conn.wants().close);
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let mut driver = Driver::new();
    driver
        .send(b"POST /e HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    assert_eq!(
        driver.take_sent(),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n7"
    );
    assert!(!driver.conn.wants().close);
    driver.send(b"POST /e HTTP/1.0\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    assert_eq!(driver.take_sent(), OK_7_CLOSE);
    assert!(driver.conn.wants().close);
}

#[test]
fn head_is_answered_without_the_body() {
    let mut driver = Driver::new();
    driver.send(b"HEAD /health HTTP/1.1\r\nHost: x.example\r\n\r\nGET /health HTTP/1.1\r\nHost: 1.2.3.4\r\n\r\n");
    let head = OK_0.strip_suffix('0').unwrap();
    assert_eq!(driver.take_sent(), format!("{head}{OK_0}"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut bytes = Vec::new();
    for length in 0..200 {
        let body = "x".repeat(length);
        bytes.extend_from_slice(
            format!("POST /{length} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
                .as_bytes(),
        );
    }
    let mut driver = Driver::new();
    assert_eq!(driver.send(&bytes), bytes.len());
    assert_eq!(driver.statuses(), vec![200; 200]);
    let lengths = driver.take_sent();
    let lengths: Vec<&str> =
        lengths.split("\r\n\r\n").skip(1).map(|rest| rest.split("HTTP").next().unwrap()).collect();
    assert_eq!(lengths, (0..200).map(|length| length.to_string()).collect::<Vec<_>>());
}

#[test]
fn chunked_bodies_with_extensions_and_trailers() {
    let mut driver = Driver::new();
    driver.send(
        b"POST /e HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n\
          3\r\n{\"a\r\n0004;name=\"value\";x\r\n\":1}\r\n0;last\r\nChecksum: 1\r\nContent-Length: 99\r\n\r\n\
          GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(driver.take_sent(), format!("{OK_7}{OK_0}"));
    assert_eq!(
        driver.seen,
        [Seen::request("POST", "/e", b"{\"a\":1}"), Seen::request("GET", "/", b"")]
    );
}

#[test]
fn targets_in_every_form() {
    let mut driver = Driver::new();
    for (line, host, path, query) in [
        ("GET /a/b?ack=1&x HTTP/1.1", "localhost", "/a/b", "ack=1&x"),
        ("GET /? HTTP/1.1", "localhost", "/", ""),
        ("GET http://LocalHost:80/a?b HTTP/1.1", "localhost:80", "/a", "b"),
        ("GET HTTP://localhost HTTP/1.1", "localhost", "/", ""),
        ("GET http://localhost?q HTTP/1.1", "localhost", "/", "q"),
        ("OPTIONS * HTTP/1.1", "localhost", "*", ""),
        ("GET /%7B%22?%00 HTTP/1.1", "localhost", "/%7B%22", "%00"),
    ] {
        driver.seen.clear();
        driver.send(format!("{line}\r\nHost: {host}\r\n\r\n").as_bytes());
        match driver.seen.as_slice() {
            [Seen::Request { path: seen_path, query: seen_query, .. }] => {
                assert_eq!((seen_path.as_str(), seen_query.as_str()), (path, query), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn a_refusal_is_json_and_the_connection_goes_on() {
    let mut driver = Driver::new();
    driver.send(b"GET /missing HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(
        driver.take_sent(),
        format!(
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 87\r\n\r\n{}{OK_0}",
            "{\"error\":\"Not Found\",\"field\":\"path\",\"reason\":\"no such path\",\"remedy\":\"see the README\"}\n"
        )
    );
}

#[test]
fn a_body_past_the_limit_is_refused_before_it_is_sent() {
    let mut driver = small(100);
    let head = b"POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n";
    driver.send(head);
    assert_eq!(driver.statuses(), [413]);
    let sent = driver.take_sent();
    assert!(sent.contains("\"field\":\"body\"") && sent.contains("Connection: close"), "{sent}");
    // A client that sends the body all the same is listened to until it has read the answer.
    let wants = driver.conn.wants();
    assert!(wants.shut_down && wants.read && !wants.close);
    assert_eq!(driver.send(&[b'x'; 200_000]), 200_000);
    assert_eq!(driver.take_sent(), "");
    driver.eof();
    assert!(driver.conn.wants().close);
    assert_eq!(driver.seen, []);
}

#[test]
fn a_chunked_body_past_the_limit_is_refused_when_it_passes_it() {
    let mut driver = small(100);
    driver.send(b"POST /e HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n");
    driver.send(&[b'x'; 100]);
    assert_eq!(driver.take_sent(), "");
    driver.send(b"\r\n1\r\n");
    assert_eq!(driver.statuses(), [413]);
}

#[test]
fn a_lenient_agent_past_the_limit_is_answered_and_its_first_bytes_are_kept() {
    for chunked in [false, true] {
        for agent in ["User-Agent: BalatroMCP/2.7 x", "Prefer: respond-async, handling=lenient"] {
            let mut driver = small(1_000);
            let body: Vec<u8> = (0..300_000u32).map(|n| b'a' + (n % 26) as u8).collect();
            let mut bytes =
                format!("POST /e HTTP/1.1\r\nHost: localhost\r\n{agent}\r\n").into_bytes();
            if chunked {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in body.chunks(777) {
                    bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    bytes.extend_from_slice(piece);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            } else {
                bytes.extend_from_slice(b"Content-Length: 300000\r\n\r\n");
                bytes.extend_from_slice(&body);
            }
            bytes.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(driver.send(&bytes), bytes.len());
            assert_eq!(driver.statuses(), [200, 200], "chunked: {chunked}");
            assert_eq!(
                driver.seen[0],
                Seen::Request {
                    method: "POST",
                    path: "/e".to_owned(),
                    query: String::new(),
                    lenient: true,
                    body: body[..1_000].to_vec(),
                    length: 300_000,
                }
            );
            assert_eq!(driver.seen[1], Seen::request("GET", "/next", b""));
            assert_eq!(driver.shared.tally.get(Counted::BodiesCut), 1);
            assert_eq!(driver.shared.pool.used(), 0, "everything was given back");
        }
    }
}

#[test]
fn large_bodies_arrive_whole() {
    for length in [4_000, 65_000, 65_536, 70_000, 1_000_000, 8 << 20] {
        let body: Vec<u8> = (0..length).map(|n: u32| (n % 251) as u8).collect();
        let mut driver = Driver::new();
        let head =
            format!("POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        driver.send(head.as_bytes());
        assert_eq!(driver.send(&body), body.len());
        assert!(driver.seen == [Seen::request("POST", "/e", &body)], "{length}");
        assert_eq!(driver.shared.pool.used(), 0);
        assert_eq!(driver.conn.owned_bytes(), 0);
    }
}

#[test]
fn a_client_that_half_closes_gets_its_answers() {
    let mut driver = Driver::new();
    driver.hold = true;
    driver.send(
        b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /2 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /3 HT",
    );
    driver.eof();
    driver.answer();
    driver.turn();
    assert!(!driver.conn.wants().close);
    driver.answer();
    driver.turn();
    assert_eq!(driver.statuses(), [200, 200]);
    assert!(driver.conn.wants().close);
    assert_eq!(driver.shared.tally.get(Counted::ClosedTruncated), 1);
}

#[test]
fn the_last_answer_to_a_half_closed_client_says_so() {
    let mut driver = Driver::new();
    driver.hold = true;
    driver.send(b"POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    driver.eof();
    driver.answer();
    driver.turn();
    assert_eq!(driver.take_sent(), OK_7_CLOSE);
    assert!(driver.conn.wants().close);
}

#[test]
fn a_reset_drops_answers_and_keeps_what_was_sent() {
    let mut driver = Driver::new();
    driver.hold = true;
    driver.send(
        b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    driver.conn.peer_reset();
    driver.hold = false;
    driver.answer();
    driver.turn();
    assert_eq!(driver.seen.len(), 2);
    assert_eq!(driver.sent, b"");
    assert!(driver.conn.wants().close && !driver.conn.wants().write);
}

#[test]
fn a_drain_answers_what_was_received_and_says_close_last() {
    let mut driver = Driver::new();
    driver.hold = true;
    driver.send(
        b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    driver.conn.begin_drain();
    driver.hold = false;
    driver.answer();
    driver.turn();
    let sent = driver.take_sent();
    assert_eq!(sent.matches("Connection: close").count(), 1);
    assert!(sent.ends_with("Connection: close\r\n\r\n0"), "{sent}");
    assert!(driver.conn.wants().close);
}

#[test]
fn a_drain_closes_idle_connections_at_once() {
    let mut driver = Driver::new();
    driver.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    driver.conn.begin_drain();
    driver.turn();
    assert!(driver.conn.wants().close);
}

#[test]
fn a_few_empty_lines_before_a_request_are_passed_over() {
    let mut driver = Driver::new();
    for piece in ["\r", "\n\r", "\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        driver.send(piece.as_bytes());
    }
    assert_eq!(driver.take_sent(), OK_0);
    driver.send(b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(driver.statuses(), [400]);
}

#[test]
fn a_tls_hello_is_told_apart_at_its_first_byte() {
    let mut driver = Driver::new();
    driver.send(&[0x16, 3, 1]);
    assert_eq!(driver.statuses(), [400]);
    assert!(driver.take_sent().contains("without TLS"));
}

#[test]
fn a_compressed_body_is_refused_unread() {
    let mut driver = Driver::new();
    driver.send(
        b"POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc\
          GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(driver.statuses(), [415]);
    assert!(driver.take_sent().contains("Accept-Encoding: identity\r\nConnection: close\r\n"));
    assert!(driver.conn.wants().shut_down);
}

#[test]
fn a_post_without_a_length_is_told_so_and_the_connection_goes_on() {
    let mut driver = Driver::new();
    driver.send(
        b"POST /e HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(driver.statuses(), [411, 200]);
}
