//! Redis Streams: `XADD` in a pipeline, each answered with its id.

use std::io::{self, Write};

use crate::line::{Line, text_line};
use crate::pace::Wire;

/// Entries that the stream keeps, about.
const KEPT: &str = "400000";

/// What is under way.
#[derive(Default)]
pub(crate) struct Redis {
    unanswered: usize,
}

/// Connects.
pub(crate) fn connect(address: &str) -> io::Result<(Line, Redis)> {
    Ok((Line::connect(address)?, Redis::default()))
}

impl Wire for Redis {
    fn publish(&mut self, out: &mut Vec<u8>, body: &[u8]) {
        write!(
            out,
            "*8\r\n$4\r\nXADD\r\n$6\r\nevents\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n${}\r\n{KEPT}\r\n$1\r\n*\r\n$1\r\ne\r\n${}\r\n",
            KEPT.len(),
            body.len()
        )
        .expect("a vector takes all");
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
        self.unanswered += 1;
    }

    fn understand(&mut self, input: &mut Vec<u8>, _out: &mut Vec<u8>) -> io::Result<()> {
        let mut used = 0;
        while let Some((line, after)) = text_line(input, used) {
            // An answer is two lines: the length of the id, and the id.
            if line.first() != Some(&b'$') {
                let line = String::from_utf8_lossy(line);
                return Err(io::Error::other(format!("Redis refused an event: {line}")));
            }
            let Some((_, after)) = text_line(input, after) else { break };
            used = after;
            self.unanswered -= 1;
        }
        input.drain(..used);
        Ok(())
    }

    fn unanswered(&self) -> usize {
        self.unanswered
    }
}

#[cfg(test)]
mod tests {
    use super::Redis;
    use crate::pace::Wire;

    #[test]
    fn answers_cut_anywhere_are_counted_once() {
        let answer = b"$3\r\n1-0\r\n";
        for cut in 0..answer.len() {
            let mut wire = Redis::default();
            wire.publish(&mut Vec::new(), b"{}");
            let mut input = answer[..cut].to_vec();
            wire.understand(&mut input, &mut Vec::new()).expect("no error yet");
            assert_eq!(wire.unanswered(), 1, "cut at {cut}");
            input.extend_from_slice(&answer[cut..]);
            wire.understand(&mut input, &mut Vec::new()).expect("an answer");
            assert_eq!((wire.unanswered(), input.len()), (0, 0), "cut at {cut}");
        }
    }

    #[test]
    fn a_refused_event_ends_the_run() {
        let mut wire = Redis::default();
        wire.publish(&mut Vec::new(), b"{}");
        let mut input = b"-OOM command not allowed\r\n".to_vec();
        let error = wire.understand(&mut input, &mut Vec::new()).expect_err("refused");
        assert!(error.to_string().contains("OOM"), "{error}");
    }
}
