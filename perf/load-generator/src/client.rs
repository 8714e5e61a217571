//! One connection to the service under load.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::payload::{Ids, Payload};

/// How events travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A request for each body; the answer ends it.
    Http,
    /// A text message for each body, answered by an ack for each (`?ack=1`).
    WebSocketAcked,
    /// Text messages that nobody answers; the end of the run is a ping that comes back.
    WebSocket,
}

/// What a connection has to tell after its socket was ready.
#[derive(Default)]
pub struct Progress {
    /// Intended send times of the bodies that were answered, nanoseconds of the monotonic clock,
    /// with the events of each.
    pub answered: Vec<(u64, usize)>,
    /// Answers that were not a success.
    pub refused: u64,
    /// The service closed the connection.
    pub closed: bool,
}

/// A connection with what it has sent and not had answered.
pub struct Client {
    stream: TcpStream,
    wire: Wire,
    out: Vec<u8>,
    out_sent: usize,
    input: Vec<u8>,
    in_flight: VecDeque<(u64, usize)>,
    upgraded: bool,
    /// The pong of the last ping came.
    pub settled: bool,
    /// Bytes written in all.
    pub bytes: u64,
}

impl Client {
    /// Connects (blocking: connecting is not measured) and upgrades when the wire is a WebSocket.
    ///
    /// # Errors
    /// What the kernel or the service answers.
    pub fn connect(address: SocketAddr, wire: Wire) -> io::Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        if wire != Wire::Http {
            let query = if wire == Wire::WebSocketAcked { "?ack=1" } else { "" };
            // The key is the example of RFC 6455 section 1.3.
            write!(
                stream,
                "GET /ws{query} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Version: 13\r\n\r\n"
            )?;
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            if !head.starts_with(b"HTTP/1.1 101") {
                let head = String::from_utf8_lossy(&head).into_owned();
                return Err(io::Error::other(format!("the upgrade was refused: {head}")));
            }
        }
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            wire,
            out: Vec::new(),
            out_sent: 0,
            input: Vec::new(),
            in_flight: VecDeque::new(),
            upgraded: wire != Wire::Http,
            settled: false,
            bytes: 0,
        })
    }

    /// Registers for edges in both directions.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Bodies sent and not answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// When those were meant to be sent.
    pub fn intended_in_flight(&self) -> impl Iterator<Item = u64> {
        self.in_flight.iter().map(|&(intended, _)| intended)
    }

    /// Whether all that was queued has gone to the kernel.
    pub fn flushed(&self) -> bool {
        self.out_sent == self.out.len()
    }

    /// Queues the next body; `flush` sends it.
    pub fn queue(&mut self, payload: &mut Payload, ids: &mut Ids, intended_mono_ns: u64) -> usize {
        let template = payload.next_template();
        let (events, length) = (template.events(), template.byte_len());
        if self.flushed() {
            self.out.clear();
            self.out_sent = 0;
        }
        if self.wire == Wire::Http {
            let path = if template.batch { "/api/v1/events/batch" } else { "/api/v1/events" };
            write!(
                self.out,
                "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                 User-Agent: jimbot-load\r\nContent-Length: {length}\r\n\r\n"
            )
            .expect("a vector takes all");
        } else {
            frame_head(&mut self.out, 0x81, length);
        }
        self.out.extend_from_slice(template.fill(ids, intended_mono_ns));
        if self.wire != Wire::WebSocket {
            self.in_flight.push_back((intended_mono_ns, events));
        }
        events
    }

    /// Asks for a sign that all before it was taken; `settled` says that it came.
    pub fn ping(&mut self) {
        frame_head(&mut self.out, 0x89, 0);
    }

    /// Writes until all is gone or the kernel takes no more.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.out_sent < self.out.len() {
            match self.stream.write(&self.out[self.out_sent..]) {
                Ok(written) => {
                    self.out_sent += written;
                    self.bytes += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what came and tells which bodies it answers.
    ///
    /// # Errors
    /// When the connection is lost or the answer is not HTTP or WebSocket.
    pub fn read(&mut self, progress: &mut Progress) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    progress.closed = true;
                    break;
                }
                Ok(read) => {
                    self.input.extend_from_slice(&chunk[..read]);
                    if read < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut used = 0;
        while let Some(length) = if self.upgraded {
            self.take_frame(used, progress)?
        } else {
            self.take_answer(used, progress)?
        } {
            used += length;
        }
        self.input.drain(..used);
        Ok(())
    }

    fn take_answer(&mut self, at: usize, progress: &mut Progress) -> io::Result<Option<usize>> {
        let input = &self.input[at..];
        let Some(head) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&input[..head])
            .map_err(|_| io::Error::other("the answer's head is not text"))?;
        let length = text
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            })
            .unwrap_or(0usize);
        if input.len() < head + 4 + length {
            return Ok(None);
        }
        let Some(sent) = self.in_flight.pop_front() else {
            return Err(io::Error::other(format!("an answer to nothing: {text}")));
        };
        if text.as_bytes().get(9) == Some(&b'2') {
            progress.answered.push(sent);
        } else {
            progress.refused += 1;
        }
        Ok(Some(head + 4 + length))
    }

    fn take_frame(&mut self, at: usize, progress: &mut Progress) -> io::Result<Option<usize>> {
        let input = &self.input[at..];
        let [first, second, rest @ ..] = input else { return Ok(None) };
        let (length, head) = match second & 0x7f {
            126 if rest.len() >= 2 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), 4),
            126 => return Ok(None),
            127 => return Err(io::Error::other("the service sent a frame past 64 KiB")),
            short => (usize::from(short), 2),
        };
        if input.len() < head + length {
            return Ok(None);
        }
        match first & 0x0f {
            0x1 => {
                // An ack counts the events of one stored message.
                let Some(sent) = self.in_flight.pop_front() else {
                    return Err(io::Error::other("an ack of nothing"));
                };
                progress.answered.push(sent);
            }
            0x8 => progress.closed = true,
            0xA => self.settled = true,
            _ => {}
        }
        Ok(Some(head + length))
    }
}

/// A masked frame's head. The mask is zero, so the payload goes as it is: the service unmasks it
/// all the same, and the generator spends its core on sending.
fn frame_head(out: &mut Vec<u8>, first: u8, length: usize) {
    out.push(first);
    match length {
        0..=125 => out.push(0x80 | length as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}
