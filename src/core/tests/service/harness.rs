//! A shell without sockets: clients are byte strings, the clock is made up.

use jimbot_core::access::{Access, AccessConfig};
use jimbot_core::conn::Peer;
use jimbot_core::log::{IndexEntry, MemoryLog, MemoryLogOptions};
use jimbot_core::service::{ConnId, Notice, Service, ServiceConfig};
use jimbot_core::time::{MILLISECOND, Now, SECOND};
use jimbot_proto::events::v1::Event;
use prost::Message;

/// An answer as a client reads it.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) struct Harness {
    pub(crate) service: Service<MemoryLog>,
    pub(crate) now: Now,
    pub(crate) notices: Vec<Notice>,
}

pub(crate) fn config() -> ServiceConfig {
    ServiceConfig {
        repeats_events: 1 << 12,
        sessions: 256,
        ..ServiceConfig::new(Access::new(AccessConfig::default()))
    }
}

pub(crate) fn start() -> Now {
    Now { mono_ns: 1_000 * SECOND, unix_ns: 1_780_000_000 * SECOND }
}

impl Harness {
    pub(crate) fn new() -> Harness {
        Harness::with(config(), MemoryLog::new(MemoryLogOptions::default()))
    }

    pub(crate) fn with(config: ServiceConfig, log: MemoryLog) -> Harness {
        let now = start();
        Harness { service: Service::new(config, log, now), now, notices: Vec::new() }
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        self.connect_from([127, 0, 0, 1])
    }

    pub(crate) fn connect_from(&mut self, address: [u8; 4]) -> ConnId {
        self.service.accept(Peer::Address(address.into()), self.now).expect("a place is free")
    }

    /// Hands bytes over as far as the service reads; returns how many it took.
    pub(crate) fn send(&mut self, id: ConnId, mut bytes: &[u8]) -> usize {
        let mut sent = 0;
        while !bytes.is_empty() {
            let space = self.service.read_space(id, self.now);
            let length = space.len().min(bytes.len());
            if length == 0 {
                break;
            }
            space[..length].copy_from_slice(&bytes[..length]);
            self.service.filled(id, length, self.now);
            bytes = &bytes[length..];
            sent += length;
            let now = self.now;
            while self.service.work(|| now) {}
        }
        sent
    }

    /// Takes what the service wants to send to a client, and does what it wants then.
    pub(crate) fn receive(&mut self, id: ConnId) -> Vec<u8> {
        let mut received = Vec::new();
        loop {
            let output = self.service.output(id);
            if output.is_empty() {
                break;
            }
            received.extend_from_slice(output);
            let length = output.len();
            self.service.output_sent(id, length, self.now);
        }
        if self.service.wants(id).close {
            self.service.release(id, self.now);
        }
        received
    }

    /// One turn of the shell.
    pub(crate) fn turn(&mut self) {
        let now = self.now;
        while self.service.work(|| now) {}
        self.service.on_time(now);
        self.service.commit_due(now);
        self.service.take_notices(&mut self.notices);
        let mut changed = Vec::new();
        self.service.take_changed(&mut changed);
        for id in changed {
            if self.service.wants(id).close {
                self.service.release(id, now);
            }
        }
    }

    /// Lets time pass, with turns at every deadline.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        let end = self.now.plus(ms * MILLISECOND);
        loop {
            self.turn();
            let next = self.service.next_deadline().unwrap_or(u64::MAX).max(self.now.mono_ns + 1);
            if next > end.mono_ns {
                break;
            }
            self.now = self.now.plus(next - self.now.mono_ns);
        }
        self.now = end;
        self.turn();
    }

    /// Sends a request and reads its answer.
    pub(crate) fn request(&mut self, id: ConnId, request: impl AsRef<[u8]>) -> Answer {
        self.send(id, request.as_ref());
        self.turn();
        let bytes = self.receive(id);
        self.turn();
        parse(&bytes)
    }

    pub(crate) fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        let id = self.connect();
        let answer = self.request(id, post(path, "", body));
        self.service.peer_closed(id, self.now);
        self.turn();
        answer
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        let id = self.connect();
        let answer = self.request(id, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.service.peer_closed(id, self.now);
        self.turn();
        answer
    }

    pub(crate) fn stored(&self) -> Vec<(IndexEntry, Event)> {
        let mut events = Vec::new();
        self.service.log().for_each_event(|entry, bytes| {
            let event = Event::decode(bytes).expect("stored events parse");
            assert_eq!((event.sequence, event.session), (entry.sequence, entry.session));
            assert_eq!(event.game_key, entry.game_key);
            events.push((*entry, event));
        });
        events
    }
}

/// A POST with these extra header lines.
pub(crate) fn post(path: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A POST as the mod sends it.
pub(crate) fn mod_post(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    post(path, "User-Agent: BalatroMCP/1.0\r\n", body)
}

pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// An event of the mod's dialect.
pub(crate) fn event(id: &str, time: f64) -> String {
    format!(
        r#"{{"type":"MONEY_CHANGED","source":"BalatroMCP","timestamp":{time},"event_id":"{id}","version":1,"payload":{{"old_value":1,"new_value":2,"difference":1}}}}"#
    )
}

/// A state with a game id.
pub(crate) fn state(id: &str, time: f64, game: &str) -> String {
    format!(
        r#"{{"type":"GAME_STATE","source":"BalatroMCP","timestamp":{time},"event_id":"{id}","version":1,"payload":{{"in_game":true,"game_id":"{game}","ante":1}}}}"#
    )
}

pub(crate) fn batch(events: &[String]) -> String {
    format!(
        r#"{{"batch_id":"b","source":"BalatroMCP","timestamp":1780000000000,"events":[{}]}}"#,
        events.join(",")
    )
}

/// The request that opens a WebSocket.
pub(crate) fn upgrade(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost:8765\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A client's frame: final, masked with zeros.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

pub(crate) fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(1, payload.as_ref())
}

/// The server's frames: opcode and payload.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => (u16::from_be_bytes([rest[0], rest[1]]) as usize, &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            length => (*length as usize, rest),
        };
        frames.push((first & 15, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    frames
}

/// The server's text messages.
pub(crate) fn texts(bytes: &[u8]) -> Vec<String> {
    let is_text = |(opcode, payload)| (opcode == 1).then(|| String::from_utf8(payload).unwrap());
    frames(bytes).into_iter().filter_map(is_text).collect()
}

/// The code of the server's close frame.
pub(crate) fn close_code(bytes: &[u8]) -> Option<u16> {
    let close = frames(bytes).into_iter().find(|(opcode, _)| *opcode == 8)?;
    Some(u16::from_be_bytes([close.1[0], close.1[1]]))
}

impl Harness {
    /// Opens a WebSocket.
    pub(crate) fn websocket(&mut self, target: &str) -> ConnId {
        let id = self.connect();
        let answer = self.request(id, upgrade(target, ""));
        assert_eq!(answer.status, 101, "{}", answer.head);
        id
    }

    /// Sends a frame and reads what comes back.
    pub(crate) fn say(&mut self, id: ConnId, frame: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(id, frame.as_ref());
        self.turn();
        let received = self.receive(id);
        self.turn();
        received
    }

    /// The peer ends its direction; the connection is over soon.
    pub(crate) fn hang_up(&mut self, id: ConnId) {
        self.service.peer_closed(id, self.now);
        self.receive(id);
        self.turn();
    }
}
