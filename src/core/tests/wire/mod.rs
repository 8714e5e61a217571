//! Drives one connection the way the shell and the service do, without sockets and with a made-up clock.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use jimbot_core::access::{Access, AccessConfig};
use jimbot_core::conn::{ConnConfig, ConnTimer, Connection, Incoming, Peer, Shared};
use jimbot_core::http::{Method, Refusal, Response, Status};
use jimbot_core::time::SECOND;
use jimbot_core::ws::CloseCode;
use std::net::{IpAddr, Ipv4Addr};

/// A client on this host.
pub const LOOPBACK: Peer = Peer::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// What the service saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Request {
        method: &'static str,
        path: String,
        query: String,
        lenient: bool,
        body: Vec<u8>,
        length: u64,
    },
    Upgrade {
        path: String,
    },
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

impl Seen {
    /// A plain request as most tests expect it.
    pub fn request(method: &'static str, path: &str, body: &[u8]) -> Seen {
        Seen::Request {
            method,
            path: path.to_owned(),
            query: String::new(),
            lenient: false,
            body: body.to_vec(),
            length: body.len() as u64,
        }
    }
}

/// One connection with a service that answers every request with the length of its body, and (if told so) echoes
/// WebSocket messages.
pub struct Driver {
    pub shared: Shared,
    pub conn: Connection,
    pub now_ns: u64,
    /// Everything the service saw.
    pub seen: Vec<Seen>,
    /// Everything that was sent to the client.
    pub sent: Vec<u8>,
    /// Requests and messages stay in hand until [`Driver::answer`].
    pub hold: bool,
    /// Text messages are sent back.
    pub echo: bool,
    /// The client takes no answers.
    pub deaf: bool,
    stored: u64,
}

impl Driver {
    pub fn new() -> Driver {
        Driver::with(ConnConfig::default(), AccessConfig::default(), LOOPBACK)
    }

    pub fn with(config: ConnConfig, access: AccessConfig, peer: Peer) -> Driver {
        let now_ns = 1_000 * SECOND;
        let conn = Connection::new(peer, &config, now_ns);
        let shared = Shared::new(config, Access::new(access));
        Driver {
            shared,
            conn,
            now_ns,
            seen: Vec::new(),
            sent: Vec::new(),
            hold: false,
            echo: false,
            deaf: false,
            stored: 0,
        }
    }

    /// The client sends `bytes`. Returns how many of them the connection took.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let space = self.conn.read_space(&mut self.shared, self.now_ns);
            let length = space.len().min(bytes.len() - taken);
            space[..length].copy_from_slice(&bytes[taken..taken + length]);
            if length == 0 {
                break;
            }
            taken += length;
            self.conn.filled(length, self.now_ns);
            self.turn();
            if self.conn.wants().close {
                break;
            }
        }
        self.settle();
        taken
    }

    /// What the service and the shell do in one turn.
    pub fn turn(&mut self) {
        loop {
            let Some(incoming) = self.conn.next(&mut self.shared, self.now_ns) else {
                let before = self.conn.output().len();
                self.flush();
                if before == 0 || self.deaf {
                    return;
                }
                continue;
            };
            let seen = self.look(incoming);
            self.seen.push(seen);
            if !self.hold {
                self.answer();
            }
        }
    }

    fn look(&self, incoming: Incoming) -> Seen {
        match incoming {
            Incoming::Request => {
                let request = self.conn.request();
                Seen::Request {
                    method: request.method().name(),
                    path: request.path().to_owned(),
                    query: request.query().to_owned(),
                    lenient: request.lenient(),
                    body: self.conn.body().to_vec(),
                    length: self.conn.body_length(),
                }
            }
            Incoming::Upgrade => Seen::Upgrade { path: self.conn.request().path().to_owned() },
            Incoming::Message { binary: false } => Seen::Text(self.conn.body().to_vec()),
            Incoming::Message { binary: true } => Seen::Binary(self.conn.body().to_vec()),
        }
    }

    /// Answers what is in hand.
    pub fn answer(&mut self) {
        match self.seen.last() {
            Some(Seen::Request { path, .. }) if path == "/missing" => {
                let refusal =
                    Refusal::new(Status::NOT_FOUND, "path", "no such path", "see the README");
                self.conn.refuse(&mut self.shared, &refusal, self.now_ns);
            }
            Some(Seen::Request { body, .. }) => {
                let text = body.len().to_string();
                let response = Response::text(text.as_bytes());
                self.conn.respond(&mut self.shared, &response, self.now_ns);
            }
            Some(Seen::Upgrade { .. }) => self.conn.upgrade(&mut self.shared, self.now_ns),
            Some(Seen::Text(text)) => {
                if self.echo {
                    let text = String::from_utf8(text.clone()).expect("text is UTF-8");
                    self.conn.send_text(&mut self.shared, &text, self.now_ns);
                }
                self.message_done();
            }
            Some(Seen::Binary(_)) => self.message_done(),
            None => panic!("nothing is in hand"),
        }
    }

    fn message_done(&mut self) {
        self.stored += 1;
        self.conn.ack(&mut self.shared, 1, self.stored, self.now_ns);
        self.conn.done(self.now_ns);
    }

    /// Sends the output to the client.
    pub fn flush(&mut self) {
        if self.deaf {
            return;
        }
        let output = self.conn.output();
        let length = output.len();
        self.sent.extend_from_slice(output);
        if length > 0 {
            self.conn.output_sent(length, self.now_ns);
        }
    }

    pub fn settle(&mut self) {
        self.conn.settle(&mut self.shared);
    }

    /// The client closes its side.
    pub fn eof(&mut self) {
        self.conn.peer_closed();
        self.turn();
        self.settle();
    }

    /// Lets time pass until the next deadline, which fires.
    pub fn fire(&mut self) -> ConnTimer {
        let (timer, at) = self.conn.deadline(&self.shared).expect("something is waited for");
        self.now_ns = self.now_ns.max(at);
        self.conn.on_timer(timer, &mut self.shared, self.now_ns);
        self.turn();
        self.settle();
        timer
    }

    /// Takes what was sent to the client.
    pub fn take_sent(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.sent)).into_owned()
    }

    /// The status codes of everything sent.
    pub fn statuses(&self) -> Vec<u16> {
        statuses(&self.sent)
    }

    pub fn method_name(method: Method) -> &'static str {
        method.name()
    }
}

/// The status codes in a stream of answers that all carry `Content-Length` (or may not).
pub fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let head = std::str::from_utf8(&bytes[..end]).expect("an answer's head is ASCII");
        assert!(head.starts_with("HTTP/1.1 "), "{head}");
        let status = head[9..12].parse().expect("a status code");
        found.push(status);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |value| value.parse().expect("a length"));
        bytes = &bytes[end + length..];
    }
    found
}

/// A masked client frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A valid upgrade request.
pub fn upgrade(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost:8765\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// The frames in what a server sent: first byte and payload.
pub fn server_frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (length, header) = match bytes[1] {
            126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
            short => (usize::from(short), 2),
        };
        frames.push((bytes[0], bytes[header..header + length].to_vec()));
        bytes = &bytes[header + length..];
    }
    frames
}

/// What came of a stream: what the service saw, what the client got, and whether the connection is over.
pub fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, Vec<u8>, bool) {
    let mut driver = Driver::new();
    driver.echo = true;
    for piece in pieces {
        driver.send(piece);
    }
    let wants = driver.conn.wants();
    let over = wants.close || wants.shut_down;
    driver.eof();
    let seen = std::mem::take(&mut driver.seen);
    let sent = std::mem::take(&mut driver.sent);
    driver.conn.release(&mut driver.shared);
    assert_eq!(driver.shared.pool.used(), 0, "everything is given back");
    (seen, sent, over)
}

/// Takes `data` for a sequence of operations on one connection and checks what must hold after each: for fuzzers.
///
/// An operation is one byte, `0x00..=0xBF` followed by as many bytes (at most) that the client sends.
pub fn operate(data: &[u8]) {
    let config = ConnConfig {
        max_body_bytes: 2_000,
        buffer_bytes: 128 * 1024,
        output_high_bytes: 4_096,
        ..ConnConfig::default()
    };
    let mut driver = Driver::with(config, AccessConfig::default(), LOOPBACK);
    driver.echo = true;
    let mut rest = data;
    while let Some((&operation, tail)) = rest.split_first() {
        rest = tail;
        match operation {
            0..=0xBF => {
                let (bytes, tail) = rest.split_at(usize::from(operation).min(rest.len()));
                rest = tail;
                driver.send(bytes);
            }
            0xC0 => {
                driver.send(&upgrade("/events?ack=1"));
            }
            0xC1 => {
                driver.send(&frame(0x81, b"{\"type\":\"heartbeat\"}"));
            }
            0xC2 => {
                driver.send(&frame(0x82, &[7; 3_000]));
            }
            0xC3 => driver.deaf = !driver.deaf,
            0xC4 => driver.hold = !driver.hold,
            0xC5 if driver.conn.is_in_hand() => driver.answer(),
            0xC6 => driver.conn.begin_drain(),
            0xC7 => driver.conn.peer_closed(),
            0xC8 => driver.conn.peer_reset(),
            0xC9 => {
                let now_ns = driver.now_ns;
                driver.conn.close(&mut driver.shared, CloseCode::Policy, "fuzz", now_ns);
            }
            0xCA..=0xCF if driver.conn.deadline(&driver.shared).is_some() => {
                driver.fire();
            }
            0xD0 => {
                let now_ns = driver.now_ns;
                driver.conn.send_text(&mut driver.shared, "select_card:1", now_ns);
            }
            _ => driver.now_ns += u64::from(operation) * SECOND / 256,
        }
        driver.turn();
        driver.settle();
        driver.sent.clear();
        driver.check();
    }
    // However it went, it can be brought to an end.
    driver.deaf = false;
    driver.hold = false;
    if driver.conn.is_in_hand() {
        driver.answer();
    }
    driver.eof();
    for _ in 0..8 {
        if driver.conn.wants().close {
            break;
        }
        driver.fire();
    }
    assert!(driver.conn.wants().close, "a connection whose peer is gone ends: {:?}", driver.conn);
    driver.conn.release(&mut driver.shared);
    assert_eq!(driver.shared.pool.used(), 0, "everything is given back");
}

impl Driver {
    /// What holds between turns.
    fn check(&self) {
        let wants = self.conn.wants();
        let output = self.conn.output().len();
        assert_eq!(wants.write, output > 0);
        assert!(!(wants.close && (wants.read || wants.write)), "{wants:?}");
        assert!(!(wants.read && wants.memory), "{wants:?}");
        assert!(output < 4_096 + 300 * 1024, "the output is bounded");
        assert!(self.conn.owned_bytes() < 700 * 1024, "what is owned is bounded");
        if self.conn.is_idle() {
            assert_eq!(self.conn.owned_bytes(), 0, "who waits for a request owns nothing");
        }
        if !wants.read && !wants.write && !wants.memory && !wants.close {
            // Something else must bring it on: the service's answer, or time.
            assert!(
                self.conn.is_in_hand() || self.conn.deadline(&self.shared).is_some(),
                "stuck: {:?}",
                self.conn
            );
        }
    }
}
