//! A whole turn of the service with connections whose sockets are memory: what the loop does for an
//! event, without the kernel.

use std::ops::Range;

use jimbot_core::access::{Access, AccessConfig};
use jimbot_core::conn::Peer;
use jimbot_core::log::EventLog;
use jimbot_core::service::{ConnId, Service, ServiceConfig};
use jimbot_core::time::Now;
use jimbot_mcp::serve::shm_log::ShmLog;
use jimbot_shm::LogOptions;
use jimbot_traffic::Clock;
use jimbot_traffic::workload::{Stream, Workload};
use tempfile::TempDir;

/// Connections that send in every turn.
const CONNECTIONS: usize = 64;
/// Frames in one read from a WebSocket.
const FRAMES: usize = 16;
/// Different bodies that each connection sends in turn. One in twenty has states whose deck changed.
const BODIES: usize = 20;
/// One more turn each 1 ms of the service's time, so that batches, readers and timers come due.
const TURN_NS: u64 = 1_000_000;

/// How events reach the service.
#[derive(Clone, Copy)]
pub(crate) enum Wire {
    /// A request for each body.
    Http,
    /// [`FRAMES`] messages a read.
    WebSocket,
}

/// What one connection sends in a turn, with the places of the ids in it.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    ids: Vec<Range<usize>>,
}

/// Turns of the service in which each of 64 connections has sent something.
pub(crate) struct Turn {
    service: Service<ShmLog>,
    connections: Vec<ConnId>,
    inputs: Vec<Input>,
    /// Turns so far.
    turns: usize,
    now: Now,
    /// Number of the last event: its id.
    sent: u64,
    changed: Vec<ConnId>,
    directory: TempDir,
}

impl Turn {
    pub(crate) fn new(wire: Wire, workload: Workload) -> Self {
        // Memory, not a disk, as the service has it.
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory in /dev/shm");
        let options = LogOptions {
            capacity: Some(64 << 20),
            epoch_seed: [1; 8],
            id_key: [2; 16],
            ..LogOptions::default()
        };
        let log = ShmLog::open(&directory.path().join("log"), &options).expect("a new log");
        let now = Now { mono_ns: 1_000_000_000, unix_ns: 1_795_327_244_000_000_000 };
        let access = Access::new(AccessConfig::default());
        let mut service = Service::new(ServiceConfig::new(access), log, now);
        let connections = (0..CONNECTIONS)
            .map(|_| service.accept(Peer::Local, now).expect("a free place"))
            .collect();
        let mut turn = Self {
            service,
            connections,
            inputs: inputs(wire, workload),
            turns: 0,
            now,
            sent: 0,
            changed: Vec::new(),
            directory,
        };
        if matches!(wire, Wire::WebSocket) {
            let upgrade = b"GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            for index in 0..CONNECTIONS {
                turn.receive(index, upgrade);
            }
        }
        turn
    }

    /// What a read would bring, and what the loop does about it.
    fn receive(&mut self, index: usize, bytes: &[u8]) {
        let (id, now) = (self.connections[index], self.now);
        let space = self.service.read_space(id, now);
        space[..bytes.len()].copy_from_slice(bytes);
        self.service.filled(id, bytes.len(), now);
        self.service.take_changed(&mut self.changed);
        while let Some(id) = self.changed.pop() {
            let length = self.service.output(id).len();
            self.service.output_sent(id, length, now);
            self.service.wants(id);
        }
    }

    /// Every connection sends once.
    pub(crate) fn run(&mut self) {
        let which = self.turns % self.inputs.len();
        self.turns += 1;
        let mut input = std::mem::take(&mut self.inputs[which]);
        for index in 0..CONNECTIONS {
            for id in &input.ids {
                self.sent += 1;
                write_id(&mut input.bytes[id.clone()], self.sent);
            }
            self.receive(index, &input.bytes);
        }
        let now = self.now;
        self.service.work(|| now);
        self.service.on_time(now);
        self.service.commit_due(now);
        self.now.mono_ns += TURN_NS;
        self.now.unix_ns += TURN_NS;
        self.inputs[which] = input;
    }

    /// Events sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// What goes through one turn.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.inputs[0].bytes.repeat(CONNECTIONS)
    }

    /// Leaves the log as a killed service does, and removes it: closing it reads the clock in a way that valgrind, which
    /// gives no vDSO, can't follow.
    pub(crate) fn abandon(self) {
        std::mem::forget(self.service);
        drop(self.directory);
    }

    /// Asserts that every event was stored: that none was taken for a repeat, or refused.
    pub(crate) fn check(&self) {
        assert_eq!(self.service.log().next_sequence() - 1, self.sent);
    }
}

/// What one game sends in so many turns.
fn inputs(wire: Wire, workload: Workload) -> Vec<Input> {
    let mut stream = Stream::new(workload, 3, Clock::EXAMPLE);
    (0..BODIES).map(|_| input(wire, &mut stream)).collect()
}

fn input(wire: Wire, stream: &mut Stream) -> Input {
    let mut input = Input { bytes: Vec::new(), ids: Vec::new() };
    let bodies = match wire {
        Wire::Http => 1,
        Wire::WebSocket => FRAMES,
    };
    for _ in 0..bodies {
        let body = stream.next_body();
        match wire {
            Wire::Http => {
                let path = if body.batch { "/api/v1/events/batch" } else { "/api/v1/events" };
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
                     Content-Type: application/json\r\nUser-Agent: BalatroMCP/1.0\r\n\
                     Content-Length: {}\r\n\r\n",
                    body.bytes.len()
                );
                input.bytes.extend_from_slice(head.as_bytes());
            }
            Wire::WebSocket => {
                // A masked text frame; a mask of zeros leaves the text as it is.
                input.bytes.push(0x81);
                match body.bytes.len() {
                    length @ 0..126 => input.bytes.push(0x80 | length as u8),
                    length => {
                        let length = u16::try_from(length).expect("a frame below 64 KiB");
                        input.bytes.push(0x80 | 126);
                        input.bytes.extend_from_slice(&length.to_be_bytes());
                    }
                }
                input.bytes.extend_from_slice(&[0; 4]);
            }
        }
        let start = input.bytes.len();
        input.ids.extend(body.ids.iter().map(|id| start + id.start..start + id.end));
        input.bytes.extend_from_slice(&body.bytes);
    }
    input
}

/// Writes a number as the last 12 digits of a UUID.
fn write_id(id: &mut [u8], mut number: u64) {
    for digit in id.iter_mut().rev().take(12) {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}
