//! A blocking HTTP/1.1 client with the habits of the libraries below the mod.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use super::target::{Stream, Target};
use super::token::Token;

/// How a client treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// One connection that is kept alive, as WinINet does.
    KeepAlive,
    /// A new connection for each request, and `Expect: 100-continue` for large bodies, as curl
    /// does.
    New,
    /// A new connection with `Connection: Close`, a `Host` without port, read until its end, as
    /// plain Lua sockets do.
    Close,
}

/// Waiting longer than this for an answer is an outage.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bodies from which curl asks before it sends.
const EXPECT_BYTES: usize = 1024;
/// The largest answer that makes sense; more is a peer that is not our service.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// One request to be sent.
pub(super) struct Outgoing<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// One client with at most one connection.
pub(super) struct HttpClient<'a> {
    target: &'a Target,
    token: Option<&'a Token>,
    habit: Habit,
    kept: Option<Stream>,
    buffer: Vec<u8>,
}

impl<'a> HttpClient<'a> {
    pub(super) fn new(
        target: &'a Target,
        token: Option<&'a Token>,
        habit: Habit,
    ) -> HttpClient<'a> {
        HttpClient { target, token, habit, kept: None, buffer: Vec::new() }
    }

    /// Sends one request and waits for its answer.
    pub(super) fn ask(&mut self, request: &Outgoing<'_>) -> io::Result<Answer> {
        if let Some(mut stream) = self.kept.take() {
            // A kept connection may have been closed since; then the request was not read, and
            // HTTP libraries send it once more on a new connection.
            match self.exchange(&mut stream, request) {
                Ok((answer, keep)) => {
                    self.kept = keep.then_some(stream);
                    return Ok(answer);
                }
                Err(error) if self.buffer.is_empty() && closed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut stream = self.target.connect(PATIENCE)?;
        let (answer, keep) = self.exchange(&mut stream, request)?;
        if keep && self.habit == Habit::KeepAlive {
            self.kept = Some(stream);
        } else if self.habit == Habit::Close {
            // This library reads until the peer closes.
            stream.read_to_end(&mut Vec::new())?;
        }
        Ok(answer)
    }

    fn exchange(
        &mut self,
        stream: &mut Stream,
        request: &Outgoing<'_>,
    ) -> io::Result<(Answer, bool)> {
        let Outgoing { method, path, headers, body } = request;
        let host = self.target.host();
        let host = match self.habit {
            Habit::Close => host.rsplit_once(':').map_or(host, |(name, _)| name),
            _ => host,
        };
        let expect = self.habit == Habit::New && body.len() > EXPECT_BYTES;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        if let Some(token) = self.token {
            head.push_str(&format!("Authorization: {}\r\n", token.header()));
        }
        for (name, value) in *headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if *method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        if self.habit == Habit::Close {
            head.push_str("Connection: Close\r\n");
        }
        if expect {
            head.push_str("Expect: 100-continue\r\n");
        }
        head.push_str("\r\n");
        self.buffer.clear();
        if expect {
            stream.write_all(head.as_bytes())?;
            let interim = self.read_answer(stream)?;
            if interim.0.status != 100 {
                return Ok(interim);
            }
            stream.write_all(body)?;
        } else {
            let mut message = head.into_bytes();
            message.extend_from_slice(body);
            stream.write_all(&message)?;
        }
        self.buffer.clear();
        self.read_answer(stream)
    }

    /// Reads one answer, with its body by `Content-Length`, and tells whether the connection
    /// stays open.
    fn read_answer(&mut self, stream: &mut Stream) -> io::Result<(Answer, bool)> {
        let mut chunk = [0; 4096];
        loop {
            if let Some((head, status, length, keep)) = parse(&self.buffer)? {
                let whole = head + length;
                if self.buffer.len() >= whole {
                    let body = self.buffer[head..whole].to_vec();
                    return Ok((Answer { status, body }, keep));
                }
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, "the answer is too long"));
            }
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }
}

fn closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

/// Bytes of the head, status, bytes of the body, and whether the connection is kept.
fn parse(bytes: &[u8]) -> io::Result<Option<(usize, u16, usize, bool)>> {
    let invalid = |reason: &str| io::Error::new(ErrorKind::InvalidData, reason.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) =
        response.parse(bytes).map_err(|error| invalid(&error.to_string()))?
    else {
        return Ok(None);
    };
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value)
    };
    let length = match header("content-length") {
        Some(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| invalid("the answer's Content-Length is no number"))?,
        // The mod's plain sockets can't decode chunked answers, so neither do we.
        None if header("transfer-encoding").is_some() => {
            return Err(invalid("the answer is chunked, which games can't read"));
        }
        None => 0,
    };
    let keep = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    let status = response.code.ok_or_else(|| invalid("the answer has no status"))?;
    Ok(Some((head, status, length, keep)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_length_is_there() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nConnection: close\r\n\r\nabc";
        let (head, status, length, keep) = parse(text).unwrap().unwrap();
        assert_eq!((&text[head..], status, length, keep), (&b"abc"[..], 200, 3, false));
        assert!(parse(&text[..20]).unwrap().is_none());
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
