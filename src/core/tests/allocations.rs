//! What a steady state allocates: nothing for a request over HTTP, at most once for each buffer fill on a WebSocket.

mod wire;

use allocation_counter::measure;
use jimbot_core::access::{Access, AccessConfig};
use jimbot_core::conn::{ConnConfig, Connection, Incoming, Shared};
use jimbot_core::http::{Prepared, Response};
use wire::{LOOPBACK, frame, upgrade};

const NOW_NS: u64 = 1_000_000_000;

/// One connection and the shortest service there can be: no allocation of its own.
struct Bare {
    shared: Shared,
    conn: Connection,
    stored: Prepared,
    /// Requests and messages seen.
    seen: usize,
}

impl Bare {
    fn new() -> Bare {
        let config = ConnConfig::default();
        Bare {
            conn: Connection::new(LOOPBACK, &config, NOW_NS),
            shared: Shared::new(config, Access::new(AccessConfig::default())),
            stored: Prepared::new(&Response::json(b"{\"stored\":1}")),
            seen: 0,
        }
    }

    /// One turn: read, answer, send, settle.
    fn turn(&mut self, bytes: &[u8]) {
        let space = self.conn.read_space(&mut self.shared, NOW_NS);
        space[..bytes.len()].copy_from_slice(bytes);
        self.conn.filled(bytes.len(), NOW_NS);
        while let Some(incoming) = self.conn.next(&mut self.shared, NOW_NS) {
            self.seen += 1;
            match incoming {
                Incoming::Request if self.conn.request().path() == "/text" => {
                    let response = Response::text(self.conn.request().user_agent().as_bytes());
                    let length = [b'0' + (response.body.len() % 10) as u8];
                    self.conn.respond(&mut self.shared, &Response::text(&length), NOW_NS);
                }
                Incoming::Request => {
                    self.conn.respond_prepared(&mut self.shared, &self.stored, NOW_NS);
                }
                Incoming::Upgrade => self.conn.upgrade(&mut self.shared, NOW_NS),
                Incoming::Message { .. } => {
                    self.conn.ack(&mut self.shared, 1, self.seen as u64, NOW_NS);
                    self.conn.done(NOW_NS);
                }
            }
        }
        let length = self.conn.output().len();
        self.conn.output_sent(length, NOW_NS);
        self.conn.settle(&mut self.shared);
        assert_eq!(self.conn.owned_bytes(), 0);
    }
}

#[test]
fn a_request_allocates_nothing() {
    let body = "x".repeat(9_200);
    let small = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n\
         User-Agent: BalatroMCP/1.0\r\nContent-Length: 190\r\n\r\n{}",
        &body[..190]
    );
    let batch = format!(
        "POST /api/v1/events/batch HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 9200\r\n\r\n{body}"
    );
    let chunked = format!(
        "POST /text HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let poll = "GET /api/v1/commands/poll HTTP/1.1\r\nHost: localhost:8080\r\n\r\n".to_owned();
    let mut bare = Bare::new();
    let inputs = [small.repeat(16), small, batch, chunked, poll];
    for input in &inputs {
        bare.turn(input.as_bytes());
    }
    let allocations = measure(|| {
        for _ in 0..100 {
            for input in &inputs {
                bare.turn(input.as_bytes());
            }
        }
    });
    assert_eq!(bare.seen, 101 * 20);
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn a_request_in_two_pieces_allocates_nothing() {
    let request =
        b"POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n12345678901234567890";
    let mut bare = Bare::new();
    let in_pieces = |bare: &mut Bare| {
        let (one, other) = request.split_at(70);
        for piece in [one, other] {
            let space = bare.conn.read_space(&mut bare.shared, NOW_NS);
            space[..piece.len()].copy_from_slice(piece);
            bare.conn.filled(piece.len(), NOW_NS);
            if bare.conn.next(&mut bare.shared, NOW_NS).is_some() {
                bare.seen += 1;
                bare.conn.respond_prepared(&mut bare.shared, &bare.stored, NOW_NS);
                let length = bare.conn.output().len();
                bare.conn.output_sent(length, NOW_NS);
            }
            bare.conn.settle(&mut bare.shared);
        }
    };
    in_pieces(&mut bare);
    let allocations = measure(|| (0..100).for_each(|_| in_pieces(&mut bare)));
    assert_eq!(bare.seen, 101);
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn a_websocket_allocates_at_most_once_for_each_buffer_fill() {
    let small = frame(0x81, &[b'x'; 190]).repeat(64);
    let large = frame(0x82, &[0; 9_200]).repeat(4);
    for (input, messages) in [(small, 64), (large, 4)] {
        let mut bare = Bare::new();
        bare.turn(&upgrade("/ws?ack=1"));
        for _ in 0..3 {
            bare.turn(&input);
        }
        let before = bare.seen;
        let allocations = measure(|| (0..100).for_each(|_| bare.turn(&input)));
        assert_eq!(bare.seen - before, 100 * messages);
        // The codec is filled in steps of its read buffer.
        let fills = 100 * input.len().div_ceil(jimbot_core::limits::IDLE_BUFFER_BYTES) as u64;
        assert!(allocations.count_total <= fills, "{} > {fills}", allocations.count_total);
    }
}

#[test]
fn a_quiet_websocket_owns_no_memory_of_its_own() {
    // Buffers of the pool, which all connections share, are there from the first one on.
    let mut first = Bare::new();
    let talk = |bare: &mut Bare| {
        bare.turn(&upgrade("/ws?ack=1"));
        bare.turn(&frame(0x81, b"{\"type\":\"HEARTBEAT\"}"));
        bare.turn(&frame(0x89, b"ping"));
        bare.turn(&frame(0x8A, b"pong"));
        // In fragments, which the codec collects.
        bare.turn(&frame(0x01, &[b'x'; 10_000]));
        bare.turn(&frame(0x80, b"y"));
    };
    talk(&mut first);
    assert_eq!(first.seen, 3);
    let mut shared = std::mem::replace(
        &mut first.shared,
        Shared::new(ConnConfig::default(), Access::new(AccessConfig::default())),
    );
    let held = measure(|| {
        let mut quiet = Bare::new();
        std::mem::swap(&mut quiet.shared, &mut shared);
        talk(&mut quiet);
        std::mem::swap(&mut quiet.shared, &mut shared);
        std::mem::forget(quiet.conn);
    });
    assert!(held.bytes_current < 1_024, "{held:?}");
}
