//! What cutting a request and decoding a frame cost, each beside its floor in the same run.
//!
//! `cargo bench -p jimbot-core --bench wire` measures: each pair alternates in short rounds, the figure is the median
//! of the ratios with the quartiles. Under `cargo test --benches` it runs once, so that it never rots.
//!
//! | pair | floor |
//! |---|---|
//! | `head` | bare `httparse` over the same bytes |
//! | `request` | bare `httparse`, plus copying body and answer |
//! | `websocket` | tungstenite's context over a cursor, reading the same frames |

mod pairs;

use jimbot_core::access::{Access, AccessConfig};
use jimbot_core::conn::{ConnConfig, Connection, Incoming, Peer, Shared};
use jimbot_core::http::{Prepared, Response, parse_head};
use pairs::{is_quick, pair};
use std::hint::black_box;
use std::io::{Cursor, Read, Write};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

const FRAMES: usize = 64;
const NOW_NS: u64 = 1_000_000_000;

fn small_post() -> Vec<u8> {
    format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n\
         User-Agent: BalatroMCP/1.0\r\nContent-Length: 190\r\n\r\n{}",
        "x".repeat(190)
    )
    .into_bytes()
}

fn frames() -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..FRAMES {
        bytes.extend_from_slice(&[0x82, 0x80 | 126, 0, 190, 1, 2, 3, 4]);
        bytes.extend((0..190u8).map(|n| n ^ [1, 2, 3, 4][usize::from(n % 4)]));
    }
    bytes
}

struct Wire {
    shared: Shared,
    conn: Connection,
    stored: Prepared,
}

impl Wire {
    fn new() -> Wire {
        let config = ConnConfig::default();
        let access = AccessConfig {
            listeners: vec!["127.0.0.1:8080".parse().expect("an address")],
            ..AccessConfig::default()
        };
        Wire {
            conn: Connection::new(Peer::Local, &config, NOW_NS),
            shared: Shared::new(config, Access::new(access)),
            stored: Prepared::new(&Response::json(b"{\"stored\":1}")),
        }
    }

    /// One turn; returns the body bytes and output bytes that passed.
    fn turn(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.conn.read_space(&mut self.shared, NOW_NS);
            let length = rest.len().min(space.len());
            space[..length].copy_from_slice(&rest[..length]);
            rest = &rest[length..];
            self.conn.filled(length, NOW_NS);
            while let Some(incoming) = self.conn.next(&mut self.shared, NOW_NS) {
                passed += self.conn.body().len();
                match incoming {
                    Incoming::Request => {
                        self.conn.respond_prepared(&mut self.shared, &self.stored, NOW_NS);
                    }
                    Incoming::Upgrade => self.conn.upgrade(&mut self.shared, NOW_NS),
                    Incoming::Message { .. } => self.conn.done(NOW_NS),
                }
            }
        }
        let length = self.conn.output().len();
        self.conn.output_sent(length, NOW_NS);
        self.conn.settle(&mut self.shared);
        passed + length
    }
}

/// A stream of the same bytes for ever.
struct Source {
    bytes: Cursor<Vec<u8>>,
}

impl Read for Source {
    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        if self.bytes.position() == self.bytes.get_ref().len() as u64 {
            self.bytes.set_position(0);
        }
        self.bytes.read(space)
    }
}

impl Write for Source {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn bare_head(bytes: &[u8]) -> usize {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("{other:?}"),
    }
}

fn main() {
    let quick = is_quick();
    let post = small_post();
    let head = post.len() - 190;
    pair(
        "head",
        quick,
        1,
        &mut || match parse_head(black_box(&post[..head])) {
            Some(Ok((length, _))) => length,
            other => panic!("{other:?}"),
        },
        &mut || bare_head(black_box(&post[..head])),
    );

    let mut wire = Wire::new();
    let (mut into, mut out) = (vec![0; 1 << 16], vec![0; 1 << 12]);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"stored\":1}";
    pair("request", quick, 1, &mut || wire.turn(black_box(&post)), &mut || {
        into[..post.len()].copy_from_slice(black_box(&post));
        let head = bare_head(&into[..post.len()]);
        out[..answer.len()].copy_from_slice(answer);
        into[head..post.len()].len() + black_box(&out[..answer.len()]).len()
    });

    let frames = frames();
    let mut wire = Wire::new();
    wire.turn(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let mut source = Source { bytes: Cursor::new(frames.clone()) };
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    pair("websocket", quick, FRAMES, &mut || wire.turn(black_box(&frames)), &mut || {
        (0..FRAMES).map(|_| context.read(&mut source).expect("a frame").len()).sum()
    });
}
