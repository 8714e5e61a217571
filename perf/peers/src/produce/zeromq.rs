//! ZeroMQ: ZMTP 3.0 (rfc.zeromq.org/spec/23) as a PUSH socket that bound and has one PULL socket.

use std::io;
use std::os::unix::net::UnixListener;

use crate::line::Line;
use crate::pace::Wire;

const GREETING_BYTES: usize = 64;
const COMMAND: u8 = 4;
const LONG: u8 = 2;

/// Nothing is answered, so there is nothing to keep.
pub(crate) struct ZeroMq;

/// Waits for the PULL socket, and shakes hands.
pub(crate) fn accept(listener: &UnixListener) -> io::Result<(Line, ZeroMq)> {
    let mut line = Line::new(listener.accept()?.0.into())?;
    let mut greeting = [0; GREETING_BYTES];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    line.out.extend_from_slice(&greeting);
    line.until("ZeroMQ's greeting", |input| {
        Ok((input.len() >= GREETING_BYTES).then(|| drop(input.drain(..GREETING_BYTES))))
    })?;
    let ready = b"\x05READY\x0bSocket-Type\0\0\0\x04PUSH";
    line.out.push(COMMAND);
    line.out.push(ready.len() as u8);
    line.out.extend_from_slice(ready);
    let answer = line.until("ZeroMQ's handshake", |input| {
        let whole = input.get(1).is_some_and(|length| input.len() >= 2 + usize::from(*length));
        Ok(whole.then(|| std::mem::take(input)))
    })?;
    if answer[0] != COMMAND || !answer.windows(4).any(|window| window == b"PULL") {
        let answer = String::from_utf8_lossy(&answer).into_owned();
        return Err(io::Error::other(format!("not a PULL socket: {answer:?}")));
    }
    Ok((line, ZeroMq))
}

impl Wire for ZeroMq {
    fn publish(&mut self, out: &mut Vec<u8>, body: &[u8]) {
        match u8::try_from(body.len()) {
            Ok(length) => out.extend_from_slice(&[0, length]),
            Err(_) => {
                out.push(LONG);
                out.extend_from_slice(&(body.len() as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(body);
    }

    fn understand(&mut self, input: &mut Vec<u8>, _out: &mut Vec<u8>) -> io::Result<()> {
        // A PULL socket has nothing to say; libzmq asks for signs of life only where it is told to.
        input.clear();
        Ok(())
    }

    fn unanswered(&self) -> usize {
        0
    }
}
