//! NATS: `PUB`, to whoever subscribed or into a stream that acknowledges each event.

use std::io::{self, Write};

use crate::line::{Line, text_line};
use crate::pace::Wire;

/// What is under way.
#[derive(Default)]
pub(crate) struct Nats {
    stored: bool,
    unanswered: usize,
    /// A ping whose pong has not come.
    asked: bool,
}

/// Connects; with `stored` events go to the subject of the stream, and are acknowledged.
pub(crate) fn connect(address: &str, stored: bool) -> io::Result<(Line, Nats)> {
    let mut line = Line::connect(address)?;
    line.out.extend_from_slice(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
    if stored {
        line.out.extend_from_slice(b"SUB acks 1\r\n");
    }
    let mut wire = Nats { stored, ..Nats::default() };
    wire.ask(&mut line.out);
    line.until("the NATS server", |input| {
        wire.understand(input, &mut Vec::new())?;
        Ok(wire.settled().then_some(()))
    })?;
    Ok((line, wire))
}

impl Wire for Nats {
    fn publish(&mut self, out: &mut Vec<u8>, body: &[u8]) {
        let subject = if self.stored { "stored acks" } else { "events" };
        write!(out, "PUB {subject} {}\r\n", body.len()).expect("a vector takes all");
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
        self.unanswered += usize::from(self.stored);
    }

    fn understand(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> io::Result<()> {
        let mut used = 0;
        while let Some((line, after)) = text_line(input, used) {
            let mut end = after;
            match line.split(|byte| *byte == b' ').next().unwrap_or_default() {
                b"MSG" => {
                    let length: usize = std::str::from_utf8(line)
                        .ok()
                        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
                        .ok_or_else(|| unexpected(line))?;
                    end += length + 2;
                    let Some(ack) = input.get(after..end) else { break };
                    // {"stream":"stored","seq":1}, or {"error":{...},...}
                    if !ack.windows(6).any(|window| window == b"\"seq\":") {
                        return Err(unexpected(ack));
                    }
                    self.unanswered -= 1;
                }
                b"PONG" => self.asked = false,
                b"PING" => out.extend_from_slice(b"PONG\r\n"),
                b"INFO" | b"+OK" => {}
                _ => return Err(unexpected(line)),
            }
            used = end;
        }
        input.drain(..used);
        Ok(())
    }

    fn unanswered(&self) -> usize {
        self.unanswered
    }

    fn ask(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PING\r\n");
        self.asked = true;
    }

    fn settled(&self) -> bool {
        self.unanswered == 0 && !self.asked
    }
}

fn unexpected(line: &[u8]) -> io::Error {
    io::Error::other(format!("NATS said {:?}", String::from_utf8_lossy(line)))
}

#[cfg(test)]
mod tests {
    use super::Nats;
    use crate::pace::Wire;

    #[test]
    fn acknowledgements_cut_anywhere_are_counted_once() {
        let answer = b"PING\r\nMSG acks 1 27\r\n{\"stream\":\"stored\",\"seq\":1}\r\nPONG\r\n";
        for cut in 0..answer.len() {
            let mut wire = Nats { stored: true, ..Nats::default() };
            let mut out = Vec::new();
            wire.publish(&mut out, b"{}");
            wire.ask(&mut out);
            out.clear();
            let mut input = answer[..cut].to_vec();
            wire.understand(&mut input, &mut out).expect("no error yet");
            assert!(!wire.settled(), "cut at {cut}");
            input.extend_from_slice(&answer[cut..]);
            wire.understand(&mut input, &mut out).expect("answers");
            assert!(wire.settled() && input.is_empty(), "cut at {cut}");
            assert_eq!(out, b"PONG\r\n", "cut at {cut}");
        }
    }

    #[test]
    fn an_event_that_was_not_stored_ends_the_run() {
        let mut wire = Nats { stored: true, ..Nats::default() };
        wire.publish(&mut Vec::new(), b"{}");
        let mut input = b"MSG acks 1 22\r\n{\"error\":{\"code\":503}}\r\n".to_vec();
        let error = wire.understand(&mut input, &mut Vec::new()).expect_err("not stored");
        assert!(error.to_string().contains("503"), "{error}");
    }
}
