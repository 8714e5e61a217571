//! One WebSocket after its upgrade.

use super::CloseCode;
use super::boundary::Boundary;
use super::lying::{self, Found};
use super::pipe::Pipe;
use super::rate::Rate;
use crate::limits;
use tungstenite::Message;
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::{self, Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, FrameHeader};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

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

impl WsConfig {
    /// Bytes of the longest frame that is taken.
    const fn longest_frame(&self) -> usize {
        if self.max_frame_bytes < self.max_message_bytes {
            self.max_frame_bytes
        } else {
            self.max_message_bytes
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
    /// The codec is empty, and bytes are left: a message may lie in them.
    Again,
    /// The output is over its high mark: nothing more is read before it is sent.
    Blocked,
    /// The closing handshake is complete, or the peer is gone: close once the output is sent.
    Ended,
    /// A close frame with this code is in the output: whatever comes now is dropped.
    Failed(CloseCode),
}

/// What lies at the beginning of the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lying {
    /// A message, behind so many bytes of header: it is in hand, and stays where it is until [`Machine::done`].
    Message {
        /// Binary, or text.
        binary: bool,
        /// Bytes of the frame's header.
        header: usize,
    },
    /// Nothing, or a part of a message that will lie there.
    More,
    /// A text message that is not UTF-8: [`Machine::invalid`] closes.
    Invalid,
    /// Something for [`Machine::next`].
    Other,
}

/// The message in hand.
#[derive(Debug)]
enum InHand {
    None,
    /// It lies at the beginning of the received bytes, and has this length.
    Lying(usize),
    /// The codec gave it.
    Codec(Message),
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
}

/// What is said to who sends a text message that is not UTF-8.
const NOT_UTF8: &str = "text that is not UTF-8";

/// The state of one WebSocket. See `conn/LIFECYCLE.md`.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Judges what is no whole data frame: made when something of that kind comes, gone when nothing of it is left. Most
    /// connections have none most of the time, and its buffer is as large as all else that they own.
    codec: Option<Box<WebSocketContext>>,
    boundary: Boundary,
    frames: Rate,
    control_frames: Rate,
    message: InHand,
    /// The peer asked for acknowledgements.
    acks: bool,
    over_rate: bool,
    /// The codec has nothing to hand out, or to send, of what it was given.
    drained: bool,
    /// The received bytes hold no further message, nor anything else that could be acted on.
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

fn codec(config: &WsConfig) -> Box<WebSocketContext> {
    // The pipe always takes what is written, so the codec's own output holds one control frame at most.
    let limits = WebSocketConfig::default()
        .read_buffer_size(limits::IDLE_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(limits::IDLE_BUFFER_BYTES)
        .max_message_size(Some(config.max_message_bytes))
        .max_frame_size(Some(config.longest_frame()));
    Box::new(WebSocketContext::new(Role::Server, Some(limits)))
}

impl Machine {
    pub(crate) fn new(config: &WsConfig, acks: bool, now_ns: u64) -> Machine {
        Machine {
            codec: None,
            boundary: Boundary::default(),
            frames: Rate::new(config.frames_per_second),
            control_frames: Rate::new(config.control_frames_per_second),
            message: InHand::None,
            acks,
            over_rate: false,
            drained: true,
            settled: true,
            heard_ns: now_ns,
            pinged_ns: None,
            closing_ns: None,
        }
    }

    /// Takes a message that lies whole at the beginning of `input`, if nothing has to be judged about it. A frame that
    /// will be as long as `room` at most may come in pieces. `blocked` while nothing more is read before output is sent.
    pub(crate) fn take_lying(
        &mut self,
        input: &mut [u8],
        room: usize,
        blocked: bool,
        peer_closed: bool,
        config: &WsConfig,
        now_ns: u64,
    ) -> Lying {
        debug_assert!(matches!(self.message, InHand::None), "one message is in hand at a time");
        self.settled = false;
        let is_codecs = !self.drained || !self.boundary.is_clean() || !self.can_send();
        if is_codecs || self.over_rate || blocked {
            return Lying::Other;
        }
        match lying::find(input, config.longest_frame()) {
            Found::Whole(frame) => {
                self.over_rate = !self.frames.allows(1, now_ns);
                if !frame.unmask(&mut input[frame.header..frame.header + frame.length]) {
                    return Lying::Invalid;
                }
                self.message = InHand::Lying(frame.length);
                Lying::Message { binary: frame.binary, header: frame.header }
            }
            Found::Part(total) if !peer_closed && total.is_none_or(|total| total <= room) => {
                self.settled = true;
                Lying::More
            }
            Found::Part(_) | Found::Other => Lying::Other,
        }
    }

    /// Closes after a text message that is not UTF-8.
    pub(crate) fn invalid(&mut self, output: &mut Vec<u8>, config: &WsConfig) -> Step {
        self.send_close(CloseCode::Invalid, NOT_UTF8, output, config);
        Step::Failed(CloseCode::Invalid)
    }

    /// Gives bytes of `wires.input` to the codec until a message is complete, or the next may be taken where it lies; says
    /// how many were used.
    pub(crate) fn next(
        &mut self,
        mut wires: Wires<'_>,
        config: &WsConfig,
        now_ns: u64,
    ) -> (Step, usize) {
        debug_assert!(matches!(self.message, InHand::None), "one message is in hand at a time");
        let mut used = 0;
        self.settled = false;
        let step = loop {
            if self.over_rate {
                break self.fail(
                    CloseCode::Policy,
                    "more frames a second than allowed",
                    config,
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
                may_begin: self.drained,
                peer_closed: wires.peer_closed,
            };
            let context = self.codec.get_or_insert_with(|| codec(config));
            let result = context.read(&mut pipe);
            let taken = pipe.taken;
            if taken > 0 {
                used += taken;
                let (frames, control) = self.boundary.take_frames();
                self.over_rate = !self.frames.allows(frames, now_ns)
                    || !self.control_frames.allows(control, now_ns);
            }
            self.drained = false;
            match result {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    let binary = message.is_binary();
                    self.message = InHand::Codec(message);
                    break Step::Message { binary };
                }
                // Answers to pings and closes leave with the next read.
                Ok(_) => {}
                Err(error) => match self.outcome(error, config, &mut wires) {
                    Step::More => {
                        self.drained = true;
                        if self.boundary.is_clean() && self.can_send() {
                            self.codec = None;
                        }
                        if used == wires.input.len() {
                            self.settled = true;
                            break Step::More;
                        }
                        if self.boundary.is_clean() {
                            break Step::Again;
                        }
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
                self.fail(CloseCode::Protocol, &violation.to_string(), config, wires)
            }
            Error::Utf8(_) => self.fail(CloseCode::Invalid, NOT_UTF8, config, wires),
            Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
                let most = max_size.min(config.max_message_bytes);
                self.fail(
                    CloseCode::TooLarge,
                    &format!("a message of more than {most} bytes: send smaller batches"),
                    config,
                    wires,
                )
            }
            other => self.fail(CloseCode::Internal, &other.to_string(), config, wires),
        }
    }

    fn fail(
        &mut self,
        code: CloseCode,
        reason: &str,
        config: &WsConfig,
        wires: &mut Wires<'_>,
    ) -> Step {
        self.send_close(code, reason, wires.output, config);
        Step::Failed(code)
    }

    /// Begins the closing handshake, or does nothing when a close frame has been sent.
    pub(crate) fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
        output: &mut Vec<u8>,
        config: &WsConfig,
        now_ns: u64,
    ) {
        if self.closing_ns.is_none() {
            self.send_close(code, reason, output, config);
            self.closing_ns = Some(now_ns);
        }
    }

    /// The codec stays from here on: it knows that nothing follows but the peer's consent.
    fn send_close(
        &mut self,
        code: CloseCode,
        reason: &str,
        output: &mut Vec<u8>,
        config: &WsConfig,
    ) {
        if !self.can_send() {
            return;
        }
        let context = self.codec.get_or_insert_with(|| codec(config));
        let mut pipe = Pipe::of_output(output, &mut self.boundary);
        let frame = CloseFrame {
            code: coding::CloseCode::from(code.code()),
            reason: cut(reason, 123).to_owned().into(),
        };
        // A pong that is due goes first: the codec would send it behind the close frame.
        let sent = context.flush(&mut pipe).and_then(|()| context.close(&mut pipe, Some(frame)));
        debug_assert!(sent.is_ok(), "the pipe takes everything: {sent:?}");
    }

    /// The content of the message in hand. `received` is what [`Machine::take_lying`] was given, without the header.
    pub(crate) fn body<'a>(&'a self, received: &'a [u8]) -> &'a [u8] {
        match &self.message {
            InHand::Lying(length) => &received[..*length],
            InHand::Codec(message) => content(message),
            InHand::None => &[],
        }
    }

    /// The message in hand is finished with. Says how many of the received bytes it took.
    pub(crate) fn done(&mut self, now_ns: u64) -> usize {
        // While a message was in hand nothing was read: a pong may lie unread, so its time begins anew.
        if let Some(pinged_ns) = &mut self.pinged_ns {
            *pinged_ns = now_ns;
        }
        match std::mem::replace(&mut self.message, InHand::None) {
            InHand::Lying(length) => length,
            InHand::Codec(_) | InHand::None => 0,
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
        self.codec.as_ref().is_none_or(|context| context.can_write())
    }

    /// Whether we began the closing handshake.
    pub(crate) const fn is_closing(&self) -> bool {
        self.closing_ns.is_some()
    }

    /// Whether further bytes are of use: what was received holds nothing more that could be acted on.
    pub(crate) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Bytes the codec holds of messages that are incomplete or in hand.
    pub(crate) fn held_bytes(&self) -> usize {
        let in_hand = match &self.message {
            InHand::Codec(message) => content(message).len(),
            InHand::Lying(_) | InHand::None => 0,
        };
        self.boundary.message_bytes() as usize + in_hand
    }

    /// The next deadline. `reading` is false while we do not read: the peer's silence is then our own doing.
    pub(crate) fn deadline(&self, config: &WsConfig, reading: bool) -> Option<(WsTimer, u64)> {
        if let Some(since_ns) = self.closing_ns {
            // A message in hand is finished first: the service still reads it.
            return matches!(self.message, InHand::None)
                .then(|| (WsTimer::Close, since_ns + config.close_within_ns));
        }
        if !reading {
            return None;
        }
        Some(match self.pinged_ns {
            Some(pinged_ns) => (WsTimer::Pong, pinged_ns + config.pong_within_ns),
            None => {
                let due_ns = self.heard_ns + config.ping_after_ns;
                (WsTimer::Heartbeat, due_ns.next_multiple_of(limits::PING_STEP_NS))
            }
        })
    }

    /// Sends a ping.
    pub(crate) fn ping(&mut self, output: &mut Vec<u8>, now_ns: u64) {
        if self.can_send() {
            begin_frame(OpCode::Control(Control::Ping), 0, output);
            self.pinged_ns = Some(now_ns);
        }
    }

    /// Begins a text message of `length` bytes, which the caller appends.
    pub(crate) fn begin_text(&self, length: usize, output: &mut Vec<u8>) {
        debug_assert!(self.can_send(), "nothing follows a close frame");
        begin_frame(OpCode::Data(Data::Text), length, output);
    }
}

/// Writes the header of a frame of its own. The codec would copy the content into a buffer of its own first.
fn begin_frame(opcode: OpCode, length: usize, output: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let written = header.format(length as u64, output);
    debug_assert!(written.is_ok(), "a vector takes everything: {written:?}");
}

fn content(message: &Message) -> &[u8] {
    match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => &[],
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
