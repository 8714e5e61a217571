//! `jimbot-floor`: a bare epoll loop that does the least a server can do, to measure against.
//!
//! It reads what a client sends and writes the same answer for each read without looking at it, the one
//! that the service gives to one stored event: what is left of a service's cost beside it is the service's own work. With `--whole-requests` it
//! answers when the body is there that the head announces, since a large one takes several reads. With
//! `--discard` it only reads, as a WebSocket server does that answers nothing (but the upgrade, and a
//! ping that is the last that came).

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use clap::Parser;
use jimbot_perf::floor::ANSWER;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// A bare epoll loop: the floor under every measurement.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 lets the kernel choose, the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// CPU to run on
    #[arg(long)]
    cpu: Option<usize>,
    /// Answer when all of a request's body is there, and not after each read
    #[arg(long)]
    whole_requests: bool,
    /// Speak as a WebSocket that answers no message
    #[arg(long)]
    discard: bool,
}

/// The accept key of RFC 6455 section 1.3, for the key of the load generator.
const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const PONG: &[u8] = &[0x8A, 0];
/// An empty ping under a mask of zeros, as the load generator sends it when all else has gone.
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if let Some(cpu) = arguments.cpu {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set)?;
    }
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(arguments.listen)?;
    // With mio's 128 some of thousands that connect at once would try again seconds later.
    socket2::SockRef::from(&listener).listen(4096)?;
    println!("{}", listener.local_addr()?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(connections.len());
                    poll.registry().register(
                        &mut stream,
                        token,
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    connections.push(Some(Connection::new(stream)));
                }
                continue;
            }
            if !event.is_readable() {
                continue;
            }
            let place = &mut connections[event.token().0];
            let Some(connection) = place else { continue };
            if serve(connection, &mut buffer, &arguments).is_err() {
                *place = None;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    upgraded: bool,
    /// The last bytes that came: a read may end within a ping.
    last: [u8; PING.len()],
    /// Bytes that the request under way still lacks.
    missing: usize,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, upgraded: false, last: [0; PING.len()], missing: 0 }
    }

    /// Whether all that came so far ends with these bytes.
    fn ends_with(&mut self, came: &[u8], end: &[u8]) -> bool {
        let new = came.len().min(self.last.len());
        self.last.rotate_left(new);
        let kept = self.last.len() - new;
        self.last[kept..].copy_from_slice(&came[came.len() - new..]);
        self.last.ends_with(end)
    }

    /// Whether what came ends a request. The client sends the next one when it has the answer.
    fn ends_request(&mut self, came: &[u8]) -> io::Result<bool> {
        if self.missing == 0 {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            let head = match request.parse(came) {
                Ok(httparse::Status::Complete(head)) => head,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            let length = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok())
                .unwrap_or(0);
            self.missing = head + length;
        }
        self.missing = self.missing.saturating_sub(came.len());
        Ok(self.missing == 0)
    }
}

fn serve(connection: &mut Connection, buffer: &mut [u8], arguments: &Arguments) -> io::Result<()> {
    loop {
        let read = match connection.stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let came = &buffer[..read];
        if arguments.discard {
            // What comes before the upgrade is its request, in one read or several.
            if !connection.upgraded {
                connection.upgraded = connection.ends_with(came, b"\r\n\r\n");
                if connection.upgraded {
                    connection.stream.write_all(UPGRADE)?;
                }
            } else if connection.ends_with(came, &PING) {
                connection.stream.write_all(PONG)?;
            }
        } else if !arguments.whole_requests || connection.ends_request(came)? {
            connection.stream.write_all(ANSWER)?;
        }
        if read < buffer.len() {
            return Ok(());
        }
    }
}
