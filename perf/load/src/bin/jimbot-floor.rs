//! `jimbot-floor`: a bare epoll loop that does the least a server can do, to measure against.
//!
//! It reads what a client sends and writes the same answer for each read without looking at it:
//! what is left of a service's cost beside it is the service's own work. With `--discard` it only
//! reads, as a WebSocket server does that answers nothing (but the upgrade, and a ping at the end of a
//! read).

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use clap::Parser;
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
    /// Bytes of a request: an answer is written for each so many bytes; 0 for each read
    #[arg(long, default_value_t = 0)]
    request_bytes: usize,
    /// Speak as a WebSocket that answers no message
    #[arg(long)]
    discard: bool,
}

/// As long as the service's answer to one stored event.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"accepted\": 1}";
/// The accept key of RFC 6455 section 1.3, for the key of the load generator.
const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const PONG: &[u8] = &[0x8A, 0];
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
    println!("{}", listener.local_addr()?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<(TcpStream, usize)>> = Vec::new();
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
                    connections.push(Some((stream, 0)));
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

fn serve(
    (stream, pending): &mut (TcpStream, usize),
    buffer: &mut [u8],
    arguments: &Arguments,
) -> io::Result<()> {
    loop {
        let read = match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if arguments.discard {
            // The first read is the upgrade; a later one may begin with any byte of a message.
            if *pending == 0 {
                *pending = read;
                stream.write_all(UPGRADE)?;
            } else if buffer[..read].ends_with(&[0x89, 0x80, 0, 0, 0, 0]) {
                stream.write_all(PONG)?;
            }
        } else {
            *pending += read;
            let each =
                if arguments.request_bytes == 0 { *pending } else { arguments.request_bytes };
            while *pending >= each && *pending > 0 {
                *pending -= each;
                stream.write_all(ANSWER)?;
            }
        }
        if read < buffer.len() {
            return Ok(());
        }
    }
}
