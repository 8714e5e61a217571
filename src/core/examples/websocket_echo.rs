//! Sends every WebSocket message back: what a conformance suite (Autobahn) talks to, to test the machine in `conn`.
//!
//! `cargo run -p jimbot-core --example websocket_echo -- 127.0.0.1:9001` prints the address it listens on. One thread a
//! connection, blocking: the smallest shell there can be, and the only one without the service behind it.

use jimbot_core::access::{Access, AccessConfig};
use jimbot_core::conn::{ConnConfig, Connection, Incoming, Peer, Shared};
use jimbot_core::http::Refusal;
use jimbot_core::ws::WsConfig;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// The suite's largest message has 16 MiB.
const MESSAGE_BYTES: usize = 32 << 20;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("connection ended: {error}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let ws = WsConfig {
        max_message_bytes: MESSAGE_BYTES,
        max_frame_bytes: MESSAGE_BYTES,
        ..WsConfig::default()
    };
    let config = ConnConfig { ws, ..ConnConfig::default() };
    let start = Instant::now();
    let now_ns = || start.elapsed().as_nanos() as u64;
    let mut conn = Connection::new(Peer::Address(stream.peer_addr()?.ip()), &config, now_ns());
    let mut shared = Shared::new(config, Access::new(AccessConfig::default()));
    loop {
        let space = conn.read_space(&mut shared, now_ns());
        if !space.is_empty() {
            match stream.read(space) {
                Ok(0) => conn.peer_closed(),
                Ok(length) => conn.filled(length, now_ns()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => conn.peer_reset(),
                Err(error) => return Err(error),
            }
        }
        if let Some((timer, at_ns)) = conn.deadline(&shared)
            && at_ns <= now_ns()
        {
            conn.on_timer(timer, &mut shared, now_ns());
        }
        while let Some(incoming) = conn.next(&mut shared, now_ns()) {
            match incoming {
                Incoming::Upgrade => conn.upgrade(&mut shared, now_ns()),
                Incoming::Request => {
                    conn.refuse(&mut shared, &Refusal::upgrade_required(), now_ns());
                }
                Incoming::Message { binary } => {
                    // What the machine wants to send comes first: a pong may be due.
                    flush(&mut conn, &mut stream, now_ns())?;
                    let data = if binary { Data::Binary } else { Data::Text };
                    let header =
                        FrameHeader { opcode: OpCode::Data(data), ..FrameHeader::default() };
                    let mut frame = Vec::with_capacity(conn.body().len() + 16);
                    header
                        .format(conn.body().len() as u64, &mut frame)
                        .map_err(io::Error::other)?;
                    frame.extend_from_slice(conn.body());
                    stream.write_all(&frame)?;
                    conn.done(now_ns());
                }
            }
        }
        flush(&mut conn, &mut stream, now_ns())?;
        conn.settle(&mut shared);
        let wants = conn.wants();
        if wants.shut_down {
            // The peer may have closed already.
            let _already_closed = stream.shutdown(Shutdown::Write);
        }
        if wants.close {
            return Ok(());
        }
    }
}

fn flush(conn: &mut Connection, stream: &mut TcpStream, now_ns: u64) -> io::Result<()> {
    let length = conn.output().len();
    stream.write_all(conn.output())?;
    conn.output_sent(length, now_ns);
    Ok(())
}
