//! What clients of every kind send over HTTP, and what they get back.

mod wire;

use wire::{Driver, Seen};

const POST: &str = "POST /api/v1/events HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n\
                    User-Agent: BalatroMCP/1.0\r\nContent-Length: 7\r\n\r\n{\"a\":1}";

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

#[test]
fn the_mods_post_over_a_kept_connection() {
    let mut driver = Driver::new();
    for _ in 0..3 {
        assert_eq!(driver.send(POST.as_bytes()), POST.len());
        assert_eq!(
            driver.take_sent(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n7"
        );
        assert!(driver.conn.wants().read && !driver.conn.wants().close);
    }
    assert_eq!(driver.seen, vec![lenient("POST", "/api/v1/events", b"{\"a\":1}"); 3]);
}

#[test]
fn a_websocket_takes_the_bytes_behind_its_upgrade() {
    let mut driver = Driver::new();
    let mut bytes = wire::upgrade("/events?ack=1");
    bytes.extend(wire::frame(0x81, b"{}"));
    driver.send(&bytes);
    let sent = driver.sent.clone();
    let end = sent.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(
        String::from_utf8_lossy(&sent[..end]),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    assert_eq!(wire::server_frames(&sent[end..]), vec![(0x81, b"{\"ack\":1,\"seq\":1}".to_vec())]);
    assert_eq!(
        driver.seen,
        vec![Seen::Upgrade { path: "/events".to_owned() }, Seen::Text(b"{}".to_vec())]
    );
}
