//! A WebSocket client that asks for acks and remembers what is not acknowledged yet.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tungstenite::{ClientRequestBuilder, Error, Message, WebSocket};

use super::target::{Stream, Target};
use super::token::Token;

/// Messages on their way before the client waits for an ack.
const UNACKNOWLEDGED_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// A message that the service has not acknowledged.
pub(super) struct Pending {
    pub(super) text: String,
    pub(super) ids: Vec<Option<String>>,
    pub(super) sent_at: Instant,
    pub(super) attempts: u32,
}

/// One client with at most one connection.
pub(super) struct WebSocketClient<'a> {
    target: &'a Target,
    token: Option<&'a Token>,
    socket: Option<WebSocket<Stream>>,
    pending: VecDeque<Pending>,
}

impl<'a> WebSocketClient<'a> {
    pub(super) fn new(target: &'a Target, token: Option<&'a Token>) -> WebSocketClient<'a> {
        WebSocketClient { target, token, socket: None, pending: VecDeque::new() }
    }

    /// Puts a message in line and sends it.
    pub(super) fn send(&mut self, text: String, ids: Vec<Option<String>>) -> io::Result<()> {
        self.pending.push_back(Pending { text, ids, sent_at: Instant::now(), attempts: 0 });
        self.send_new()
    }

    /// Messages without an ack.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether an ack should be waited for before more is sent.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= UNACKNOWLEDGED_MAX
    }

    /// Gives up the oldest message.
    pub(super) fn forget_oldest(&mut self) -> Option<Pending> {
        self.pending.pop_front()
    }

    /// How often the oldest message was sent.
    pub(super) fn oldest_attempts(&self) -> u32 {
        self.pending.front().map_or(0, |pending| pending.attempts)
    }

    /// Begins anew: what was not acknowledged is sent again, in order.
    pub(super) fn reconnect(&mut self) -> io::Result<u64> {
        self.socket = None;
        for pending in &mut self.pending {
            pending.sent_at = Instant::now();
        }
        self.connect()?;
        let again = self.pending.len() as u64;
        let mut resent = std::mem::take(&mut self.pending);
        let result = resent.iter_mut().try_for_each(|pending| self.put(pending));
        self.pending = resent;
        result.map(|()| again)
    }

    /// Takes one answer of the service: the acknowledged message and the answer's text. `None`
    /// when none has come (when not told to wait).
    pub(super) fn answer(&mut self, wait: bool) -> io::Result<Option<(Option<Pending>, String)>> {
        let Some(socket) = self.socket.as_mut() else {
            return Err(ErrorKind::NotConnected.into());
        };
        socket.get_ref().set_nonblocking(!wait)?;
        let received = socket.read();
        socket.get_ref().set_nonblocking(false)?;
        match received {
            Ok(Message::Text(text)) => {
                let acknowledges = serde_json::from_str::<serde_json::Value>(&text)
                    .is_ok_and(|ack| ack["ack"].is_u64());
                let pending = if acknowledges { self.pending.pop_front() } else { None };
                Ok(Some((pending, text.to_string())))
            }
            Ok(Message::Close(frame)) => {
                let reason = frame.map_or_else(String::new, |frame| format!("{frame}"));
                Err(io::Error::new(ErrorKind::ConnectionAborted, format!("closed: {reason}")))
            }
            // Pings are answered by the library with the next write.
            Ok(_) => {
                socket.flush().map_err(io_error)?;
                Ok(None)
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock && !wait => Ok(None),
            Err(error) => Err(io_error(error)),
        }
    }

    /// Says good-bye.
    pub(super) fn close(&mut self) {
        if let Some(mut socket) = self.socket.take() {
            // The other side may be gone already.
            let _ = socket.close(None).and_then(|()| socket.flush());
        }
    }

    fn send_new(&mut self) -> io::Result<()> {
        self.connect()?;
        let mut last = self.pending.pop_back().expect("a message was just put in line");
        let result = self.put(&mut last);
        self.pending.push_back(last);
        result
    }

    fn put(&mut self, pending: &mut Pending) -> io::Result<()> {
        pending.attempts += 1;
        let socket = self.socket.as_mut().ok_or(ErrorKind::NotConnected)?;
        let result = socket.send(Message::text(pending.text.clone()));
        if result.is_err() {
            self.socket = None;
        }
        result.map_err(io_error)
    }

    fn connect(&mut self) -> io::Result<()> {
        if self.socket.is_some() {
            return Ok(());
        }
        let stream = self.target.connect(PATIENCE)?;
        let address = format!("ws://{}/ws?ack=1", self.target.host());
        let uri = address.parse().map_err(|_| ErrorKind::InvalidInput)?;
        let mut request = ClientRequestBuilder::new(uri);
        if let Some(token) = self.token {
            request = request.with_header("Authorization", token.header());
        }
        let (socket, _) = tungstenite::client(request, stream)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
        self.socket = Some(socket);
        Ok(())
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::new(ErrorKind::ConnectionAborted, other.to_string()),
    }
}
