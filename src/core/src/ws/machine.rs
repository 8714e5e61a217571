//! One WebSocket after its upgrade.

use super::CloseCode;
use super::boundary::Boundary;
use super::pipe::Pipe;
use super::rate::Rate;
use crate::limits;
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::{self, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, FrameHeader};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Message};

/// Limits and times of a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WsConfig {
    /// Bytes of a message, all its fragments together (close 1009).
    pub max_message_bytes: usize,
    /// Bytes of one frame's payload (close 1009).
    pub max_frame_bytes: usize,
    /// Frames a peer may send in a second (close 1008); 0 for no limit.
    pub frames_per_second: u64,
    /// Control frames a peer may send in a second (close 1008); 0 for no limit.
    pub control_frames_per_second: u64,
    /// Silence after which a ping is sent, in nanoseconds.
    pub ping_after_ns: u64,
    /// Silence after that ping which ends the connection (close 1011), in nanoseconds.
    pub pong_within_ns: u64,
    /// How long the peer's close frame is awaited after ours, in nanoseconds.
    pub close_within_ns: u64,
}

impl Default for WsConfig {
    fn default() -> Self {
        WsConfig {
            max_message_bytes: limits::MESSAGE_BYTES,
            max_frame_bytes: limits::MESSAGE_BYTES,
            frames_per_second: limits::FRAMES_PER_SECOND,
            control_frames_per_second: limits::CONTROL_FRAMES_PER_SECOND,
            ping_after_ns: limits::PING_AFTER_NS,
            pong_within_ns: limits::PONG_WITHIN_NS,
            close_within_ns: limits::CLOSE_WITHIN_NS,
        }
    }
}

/// What one step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A message is in hand.
    Message {
        /// Binary, or text.
        binary: bool,
    },
    /// The bytes received so far hold no further message.
    More,
    /// The output is over its high mark: nothing more is read before it is sent.
    Blocked,
    /// The closing handshake is complete, or the peer is gone: close once the output is sent.
    Ended,
    /// A close frame with this code is in the output: whatever comes now is dropped.
    Failed(CloseCode),
}

/// What a WebSocket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WsTimer {
    /// Silence: send a ping.
    Heartbeat,
    /// Silence after the ping.
    Pong,
    /// The peer's close frame.
    Close,
    /// Silence after a large message: give its memory back.
    Trim,
}

/// The state of one WebSocket. See `conn/LIFECYCLE.md`.
#[derive(Debug)]
pub(crate) struct Machine {
    context: WebSocketContext,
    boundary: Boundary,
    frames: Rate,
    control_frames: Rate,
    /// The message in hand.
    message: Option<Message>,
    /// The peer asked for acknowledgements.
    acks: bool,
    /// The codec's buffer grew past what an idle connection may own.
    grown: bool,
    over_rate: bool,
    /// Nothing the codec wants to send is held back.
    settled: bool,
    heard_ns: u64,
    pinged_ns: Option<u64>,
    closing_ns: Option<u64>,
}

/// Where a machine takes its bytes from and puts its frames.
pub(crate) struct Wires<'a> {
    /// Received bytes.
    pub(crate) input: &'a [u8],
    /// The unsent output, and what comes behind it.
    pub(crate) output: &'a mut Vec<u8>,
    /// From this length of `output` on nothing more is read.
    pub(crate) output_high: usize,
    /// The peer sends nothing any more.
    pub(crate) peer_closed: bool,
}

fn context(config: &WsConfig) -> WebSocketContext {
    // The pipe always takes what is written, so the codec's own output holds one control frame at most.
    let limits = WebSocketConfig::default()
        .read_buffer_size(limits::IDLE_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(limits::IDLE_BUFFER_BYTES)
        .max_message_size(Some(config.max_message_bytes))
        .max_frame_size(Some(config.max_frame_bytes.min(config.max_message_bytes)));
    WebSocketContext::new(Role::Server, Some(limits))
}

impl Machine {
    pub(crate) fn new(config: &WsConfig, acks: bool, now_ns: u64) -> Machine {
        Machine {
            context: context(config),
            boundary: Boundary::default(),
            frames: Rate::new(config.frames_per_second),
            control_frames: Rate::new(config.control_frames_per_second),
            message: None,
            acks,
            grown: false,
            over_rate: false,
            settled: true,
            heard_ns: now_ns,
            pinged_ns: None,
            closing_ns: None,
        }
    }

    /// Takes bytes of `wires.input` until a message is complete; says how many were used.
    pub(crate) fn next(
        &mut self,
        mut wires: Wires<'_>,
        config: &WsConfig,
        now_ns: u64,
    ) -> (Step, usize) {
        debug_assert!(self.message.is_none(), "one message is in hand at a time");
        let mut used = 0;
        self.settled = false;
        let step = loop {
            if self.over_rate {
                break self.fail(
                    CloseCode::Policy,
                    "more frames a second than allowed",
                    &mut wires,
                );
            }
            if wires.output.len() >= wires.output_high {
                break Step::Blocked;
            }
            let mut pipe = Pipe {
                input: &wires.input[used..],
                taken: 0,
                output: wires.output,
                boundary: &mut self.boundary,
                peer_closed: wires.peer_closed,
            };
            let result = self.context.read(&mut pipe);
            if pipe.taken > 0 {
                used += pipe.taken;
                let (frames, control) = self.boundary.take_frames();
                self.over_rate = !self.frames.allows(frames, now_ns)
                    || !self.control_frames.allows(control, now_ns);
                // The codec reserves room for a whole frame as soon as it knows its length.
                self.grown |= self.boundary.message_bytes() > limits::IDLE_BUFFER_BYTES as u64 / 2;
            }
            match result {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    self.grown |= message.len() > limits::IDLE_BUFFER_BYTES / 2;
                    let binary = message.is_binary();
                    self.message = Some(message);
                    break Step::Message { binary };
                }
                // Answers to pings and closes leave with the next read.
                Ok(_) => {}
                Err(error) => match self.outcome(error, config, &mut wires) {
                    Step::More => {
                        self.settled = true;
                        break Step::More;
                    }
                    step => break step,
                },
            }
        };
        (step, used)
    }

    fn outcome(&mut self, error: Error, config: &WsConfig, wires: &mut Wires<'_>) -> Step {
        match error {
            Error::Io(_) => Step::More,
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Step::Ended,
            Error::Protocol(violation) => {
                self.fail(CloseCode::Protocol, &violation.to_string(), wires)
            }
            Error::Utf8(_) => self.fail(CloseCode::Invalid, "text that is not UTF-8", wires),
            Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
                let most = max_size.min(config.max_message_bytes);
                self.fail(
                    CloseCode::TooLarge,
                    &format!("a message of more than {most} bytes: send smaller batches"),
                    wires,
                )
            }
            other => self.fail(CloseCode::Internal, &other.to_string(), wires),
        }
    }

    fn fail(&mut self, code: CloseCode, reason: &str, wires: &mut Wires<'_>) -> Step {
        self.send_close(code, reason, wires.output);
        Step::Failed(code)
    }

    /// Begins the closing handshake, or does nothing when a close frame has been sent.
    pub(crate) fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
        output: &mut Vec<u8>,
        now_ns: u64,
    ) {
        if self.closing_ns.is_none() {
            self.send_close(code, reason, output);
            self.closing_ns = Some(now_ns);
        }
    }

    fn send_close(&mut self, code: CloseCode, reason: &str, output: &mut Vec<u8>) {
        if !self.context.can_write() {
            return;
        }
        let mut pipe =
            Pipe { input: &[], taken: 0, output, boundary: &mut self.boundary, peer_closed: false };
        let frame = CloseFrame {
            code: coding::CloseCode::from(code.code()),
            reason: cut(reason, 123).to_owned().into(),
        };
        // A pong that is due goes first: the codec would send it behind the close frame.
        let sent =
            self.context.flush(&mut pipe).and_then(|()| self.context.close(&mut pipe, Some(frame)));
        debug_assert!(sent.is_ok(), "the pipe takes everything: {sent:?}");
    }

    /// The content of the message in hand.
    pub(crate) fn body(&self) -> &[u8] {
        match &self.message {
            Some(Message::Text(text)) => text.as_bytes(),
            Some(Message::Binary(bytes)) => bytes,
            _ => &[],
        }
    }

    /// The message in hand is finished with.
    pub(crate) fn done(&mut self, now_ns: u64) {
        self.message = None;
        // While a message was in hand nothing was read: a pong may lie unread, so its time begins anew.
        if let Some(pinged_ns) = &mut self.pinged_ns {
            *pinged_ns = now_ns;
        }
    }

    /// Bytes came.
    pub(crate) fn heard(&mut self, now_ns: u64) {
        self.heard_ns = now_ns;
        self.pinged_ns = None;
    }

    /// Whether the peer asked for acknowledgements.
    pub(crate) const fn acks(&self) -> bool {
        self.acks
    }

    /// Whether messages can still be sent.
    pub(crate) fn can_send(&self) -> bool {
        self.context.can_write()
    }

    /// Whether we began the closing handshake.
    pub(crate) const fn is_closing(&self) -> bool {
        self.closing_ns.is_some()
    }

    /// Bytes the codec holds of messages that are incomplete or in hand.
    pub(crate) fn held_bytes(&self) -> usize {
        self.boundary.message_bytes() as usize + self.body().len()
    }

    /// The next deadline. `reading` is false while we do not read: the peer's silence is then our own doing.
    pub(crate) fn deadline(&self, config: &WsConfig, reading: bool) -> Option<(WsTimer, u64)> {
        if let Some(since_ns) = self.closing_ns {
            return Some((WsTimer::Close, since_ns + config.close_within_ns));
        }
        if !reading {
            return None;
        }
        if self.can_trim() {
            return Some((WsTimer::Trim, self.heard_ns + limits::TRIM_AFTER_NS));
        }
        Some(match self.pinged_ns {
            Some(pinged_ns) => (WsTimer::Pong, pinged_ns + config.pong_within_ns),
            None => (WsTimer::Heartbeat, self.heard_ns + config.ping_after_ns),
        })
    }

    fn can_trim(&self) -> bool {
        self.grown
            && self.settled
            && self.message.is_none()
            && self.boundary.is_clean()
            && self.context.can_write()
    }

    /// Replaces a codec whose buffer grew.
    pub(crate) fn trim(&mut self, config: &WsConfig) {
        if self.can_trim() {
            self.context = context(config);
            self.grown = false;
        }
    }

    /// Sends a ping.
    pub(crate) fn ping(&mut self, output: &mut Vec<u8>, now_ns: u64) {
        if !self.context.can_write() {
            return;
        }
        let mut pipe =
            Pipe { input: &[], taken: 0, output, boundary: &mut self.boundary, peer_closed: false };
        let sent = self.context.write(&mut pipe, Message::Ping(Bytes::new()));
        debug_assert!(sent.is_ok(), "the pipe takes everything: {sent:?}");
        self.pinged_ns = Some(now_ns);
    }

    /// Begins a text message of `length` bytes, which the caller appends. The codec would copy the text into a buffer of
    /// its own first; its frame header serves as well.
    pub(crate) fn begin_text(&self, length: usize, output: &mut Vec<u8>) {
        debug_assert!(self.context.can_write(), "nothing follows a close frame");
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let written = header.format(length as u64, output);
        debug_assert!(written.is_ok(), "a vector takes everything: {written:?}");
    }
}

/// The longest beginning of `text` that has at most `most` bytes: a control frame carries no more.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
