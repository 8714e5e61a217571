//! One connection: HTTP/1.1 until an upgrade, WebSocket from then on. No socket, no clock.
//!
//! The shell owns a socket and this machine; every call is one mutation, after which the shell drains the outputs.
//!
//! ```text
//!            shell (sockets)                       machine                        service (meaning)
//!   readable ── read_space ──▶ a slice to read into
//!               filled(n) ───▶                ── next() ──▶ Incoming::Request ──▶ request(), body()
//!   EOF ─────── peer_closed ─▶                                Upgrade         ◀── respond / refuse / upgrade
//!   RST ─────── peer_reset ──▶                                Message{binary} ──▶ body() … done(), ack()
//!   writable ◀─ output()                                                      ◀── send_text, close, begin_drain
//!               output_sent(n)▶
//!   timer ◀──── deadline() ──▶ on_timer(..)
//!               wants(), settle()
//! ```
//!
//! - [`Connection::next`] is called until it gives nothing; it gives nothing while something is in hand. So answers are
//!   in the order of their requests, and what waits is bounded by one buffer: while a request is in hand, or answers
//!   wait unsent, nothing more is read.
//! - After `filled`, `respond`, `done`, `output_sent`, `peer_closed`, `begin_drain` and `on_timer` there may be more to
//!   hand out: call `next`.
//! - Whatever the protocol forbids, and whoever may not come in, is answered inside, before a body is read.
//! - The body or message in hand lies in the receive buffer as it came from the socket: nothing is copied before it is
//!   converted. Only of a WebSocket's fragments, and of frames longer than the buffer, the codec makes messages of its own.
//! - [`Connection::settle`], once a turn, gives back what is not needed while the connection waits; afterwards it owns
//!   at most [`limits::IDLE_BUFFER_BYTES`], unless a body or an answer is incomplete.
//!
//! `LIFECYCLE.md` beside this file draws the states.

mod buffers;
mod config;
mod http1;
mod pool;
mod tally;
mod timers;
mod websocket;

pub use config::{ConnConfig, Peer, Shared};
pub use pool::BufferPool;
pub use tally::{Counted, Tally};
pub use timers::ConnTimer;

use crate::http::{BodyReader, Head, HeadScan, KnownHead, Prepared, Refusal, Request, Response};
use crate::limits;
use crate::ws::{CloseCode, Machine};
use buffers::{Output, Receive};

/// What [`Connection::next`] hands out. The content stays in the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole request. Answer it with [`Connection::respond`] or its kin.
    Request,
    /// A valid WebSocket upgrade. Take it with [`Connection::upgrade`], or answer it like a request.
    Upgrade,
    /// A whole WebSocket message. Finish it with [`Connection::done`].
    Message {
        /// Binary, or text (which is UTF-8).
        binary: bool,
    },
}

/// What the shell is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Read into [`Connection::read_space`].
    pub read: bool,
    /// Send [`Connection::output`].
    pub write: bool,
    /// The output is sent and nothing will follow: half-close our side (`shutdown(SHUT_WR)`), go on reading.
    pub shut_down: bool,
    /// Close the socket and [`Connection::release`] the machine.
    pub close: bool,
    /// Reading waits for the budget of all connections: call [`Connection::read_space`] again when
    /// [`BufferPool::available`] has grown to [`Connection::memory_needed`].
    pub memory: bool,
}

/// The states. `LIFECYCLE.md` draws them.
#[derive(Debug)]
enum Phase {
    /// Waiting for a request head, or in the middle of one.
    Head { scan: HeadScan, empty_lines: u8 },
    /// In the middle of a body. `cursor` counts from the first byte of the head.
    Body { reader: BodyReader, cursor: usize },
    /// A request is in hand. `body` bytes lie behind the head, the next request begins at `after`.
    InHand { body: usize, total: u64, after: usize },
    /// An upgrade is in hand.
    Upgrade,
    /// A WebSocket.
    WebSocket(Box<Machine>),
    /// The last answer was given: what still comes is dropped, so that the client gets to read the answer.
    Linger,
    /// Closed as soon as the output is sent.
    Finish,
}

impl Phase {
    const HEAD: Phase = Phase::Head { scan: HeadScan::NEW, empty_lines: 0 };
}

/// A wait for the budget of all connections.
#[derive(Clone, Copy, Debug)]
struct Starved {
    since_ns: u64,
    /// When it has taken too long, or the budget may be overdrawn.
    due_ns: u64,
    /// Bytes that the budget must have free.
    needs: usize,
}

/// One connection. See the module's comment for how to drive it.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    phase: Phase,
    receive: Receive,
    output: Output,
    /// The head of the request in progress or in hand; its bytes are the first ones of `receive`.
    head: Head,
    /// Content of the request in hand is never answered with 4xx.
    lenient: bool,
    /// The head's name, if it is a known one.
    known: Option<KnownHead>,
    /// Where the last known head was.
    known_hint: u8,
    /// The message of the WebSocket is in hand.
    message_in_hand: bool,
    peer_closed: bool,
    draining: bool,
    /// Unsent bytes from which on nothing more is read.
    output_high: usize,
    /// When the phase began; in the middle of a head, when its first byte came.
    phase_ns: u64,
    /// When bytes last came.
    heard_ns: u64,
    /// Reading waits for the budget.
    starved: Option<Starved>,
    /// How long it has waited so in the body in progress.
    starved_before_ns: u64,
    /// The WebSocket codec's share of the budget.
    claimed: usize,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(peer: Peer, config: &ConnConfig, now_ns: u64) -> Connection {
        Connection {
            peer,
            phase: Phase::HEAD,
            receive: Receive::default(),
            output: Output::default(),
            head: Head::EMPTY,
            lenient: false,
            known: None,
            known_hint: 0,
            message_in_hand: false,
            peer_closed: false,
            draining: false,
            output_high: config.output_high_bytes,
            phase_ns: now_ns,
            heard_ns: now_ns,
            starved: None,
            starved_before_ns: 0,
            claimed: 0,
        }
    }

    // Bytes in ---------------------------------------------------------------------------------------------------

    /// Where to read into. Empty when nothing may be read now, see [`Connection::wants`].
    pub fn read_space<'a>(&'a mut self, shared: &'a mut Shared, now_ns: u64) -> &'a mut [u8] {
        if self.peer_closed || !self.phase_reads() {
            return &mut [];
        }
        let (missing, most) = self.room_to_make(shared);
        let room = self
            .claim_codec(&mut shared.pool)
            .and_then(|()| self.receive.make_room(&mut shared.pool, missing, most));
        match room {
            Ok(()) => {
                self.fed(now_ns);
                self.receive.space()
            }
            Err(needs) => {
                match &mut self.starved {
                    Some(starved) => starved.needs = needs,
                    None => {
                        shared.tally.add(Counted::WaitedForMemory);
                        let due_ns = now_ns.saturating_add(shared.config.memory_wait_ns);
                        self.starved = Some(Starved { since_ns: now_ns, due_ns, needs });
                    }
                }
                &mut []
            }
        }
    }

    /// How many bytes the message in progress is known to lack, and how large the receive buffer may become.
    fn room_to_make(&mut self, shared: &Shared) -> (usize, usize) {
        match &mut self.phase {
            Phase::Body { reader, cursor } => {
                let kept = self.head.length + reader.kept();
                if kept < *cursor {
                    // Chunk framing, or bytes past the limit, leave a gap behind the body.
                    self.receive.close_gap(kept, *cursor);
                    *cursor = kept;
                }
                let missing = reader.announced().saturating_sub(self.receive.len() - *cursor);
                let most =
                    limits::HEAD_BYTES_MAX + shared.config.max_body_bytes + limits::READ_BYTES;
                (missing, most)
            }
            Phase::Linger => {
                self.receive.clear();
                (0, limits::READ_BYTES)
            }
            _ => (0, limits::READ_BYTES),
        }
    }

    /// Reading waits for memory no longer.
    fn fed(&mut self, now_ns: u64) {
        if let Some(Starved { since_ns, .. }) = self.starved.take() {
            self.starved_before_ns += now_ns.saturating_sub(since_ns);
        }
    }

    /// `length` bytes were read into the space. Call [`Connection::next`] then.
    pub fn filled(&mut self, length: usize, now_ns: u64) {
        if length == 0 {
            return;
        }
        if matches!(self.phase, Phase::Head { .. }) && self.receive.is_empty() {
            self.phase_ns = now_ns;
        }
        self.receive.filled(length);
        self.heard_ns = now_ns;
        match &mut self.phase {
            Phase::WebSocket(machine) => machine.heard(now_ns),
            Phase::Linger => self.receive.clear(),
            _ => {}
        }
    }

    /// The peer sends nothing any more. What it sent whole is still handed out, and answered.
    pub fn peer_closed(&mut self) {
        self.peer_closed = true;
        self.starved = None;
    }

    /// The peer has reset the connection. What it sent whole is still handed out; answers are dropped.
    pub fn peer_reset(&mut self) {
        self.peer_closed();
        self.output.drop_all();
    }

    // What came --------------------------------------------------------------------------------------------------

    /// The next whole request, upgrade or message; `None` while one is in hand, while answers wait unsent past the
    /// high mark, and when nothing whole is left.
    pub fn next(&mut self, shared: &mut Shared, now_ns: u64) -> Option<Incoming> {
        if let Phase::Head { .. } = &self.phase
            && self.receive.is_empty()
            && !self.peer_closed
            && !self.draining
        {
            return None;
        }
        loop {
            let go_on = match &self.phase {
                Phase::Head { .. } => self.next_head(shared, now_ns),
                Phase::Body { .. } => self.next_body(shared, now_ns),
                Phase::WebSocket(_) => return self.next_message(shared, now_ns),
                Phase::InHand { .. } | Phase::Upgrade => return None,
                Phase::Linger | Phase::Finish => {
                    self.receive.clear();
                    return None;
                }
            };
            match &self.phase {
                Phase::InHand { .. } => return Some(Incoming::Request),
                Phase::Upgrade => return Some(Incoming::Upgrade),
                _ if go_on => {}
                _ => return None,
            }
        }
    }

    /// The head of the request or upgrade in hand.
    ///
    /// # Panics
    /// When none is in hand.
    pub fn request(&self) -> Request<'_> {
        assert!(
            matches!(self.phase, Phase::InHand { .. } | Phase::Upgrade),
            "a request is in hand"
        );
        Request::new(&self.head, &self.receive.bytes()[..self.head.length], self.lenient)
    }

    /// The name of the head in hand, if its very bytes may come again: whatever was found out from them holds for all
    /// requests whose head has this name.
    pub fn known_head(&self) -> Option<KnownHead> {
        self.known
    }

    /// The body of the request in hand, or the content of the message in hand; empty when there is none.
    #[inline]
    pub fn body(&self) -> &[u8] {
        match &self.phase {
            Phase::InHand { body, .. } => {
                &self.receive.bytes()[self.head.length..self.head.length + body]
            }
            Phase::WebSocket(machine) => machine.body(self.receive.bytes()),
            _ => &[],
        }
    }

    /// The true length of the body in hand. Longer than [`Connection::body`] only for lenient agents past the limit:
    /// the rest was read and dropped.
    pub fn body_length(&self) -> u64 {
        match &self.phase {
            Phase::InHand { total, .. } => *total,
            _ => self.body().len() as u64,
        }
    }

    // Answers ----------------------------------------------------------------------------------------------------

    /// Answers the request (or upgrade) in hand.
    ///
    /// # Panics
    /// When none is in hand.
    pub fn respond(&mut self, shared: &mut Shared, response: &Response<'_>, now_ns: u64) {
        let (persistence, without_body) = self.answer_form(response.close);
        self.output.write(&mut shared.pool, now_ns, |out, _| {
            response.write(out, persistence, without_body)
        });
        self.after_answer(persistence, now_ns);
    }

    /// Answers the request in hand with precomputed bytes.
    ///
    /// # Panics
    /// When none is in hand.
    pub fn respond_prepared(&mut self, shared: &mut Shared, prepared: &Prepared, now_ns: u64) {
        let (persistence, without_body) = self.answer_form(prepared.closes());
        self.output.write(&mut shared.pool, now_ns, |out, _| {
            prepared.write(out, persistence, without_body);
        });
        self.after_answer(persistence, now_ns);
    }

    /// Answers the request in hand with a refusal as JSON. The connection goes on.
    ///
    /// # Panics
    /// When none is in hand.
    pub fn refuse(&mut self, shared: &mut Shared, refusal: &Refusal<'_>, now_ns: u64) {
        let mut body = Vec::new();
        refusal.write_body(&mut body);
        let response = Response {
            headers: refusal.headers,
            ..Response::new(refusal.status, "application/json", &body)
        };
        self.respond(shared, &response, now_ns);
    }

    // Endings ----------------------------------------------------------------------------------------------------

    /// Begins to end the connection because the service shuts down: what was received is handed out and answered, the
    /// last answer says `Connection: close`, a WebSocket is closed with 1001 behind the last message. Read what the
    /// socket holds before this call, and call [`Connection::next`] after it.
    pub fn begin_drain(&mut self) {
        self.draining = true;
    }

    /// Ends the connection: a WebSocket with this code and reason, HTTP after the answer to what is in hand.
    pub fn close(&mut self, shared: &mut Shared, code: CloseCode, reason: &str, now_ns: u64) {
        match &mut self.phase {
            Phase::WebSocket(machine) => {
                if !machine.is_closing() {
                    shared.tally.add(Counted::closed(code));
                }
                let config = &shared.config.ws;
                self.output.write(&mut shared.pool, now_ns, |out, _| {
                    machine.close(code, reason, out, config, now_ns);
                });
            }
            Phase::InHand { .. } | Phase::Upgrade => self.head.keep_alive = false,
            Phase::Head { .. } | Phase::Body { .. } => self.end(Phase::Finish, now_ns),
            Phase::Linger | Phase::Finish => {}
        }
    }

    // Bytes out --------------------------------------------------------------------------------------------------

    /// Bytes to send.
    pub fn output(&self) -> &[u8] {
        self.output.pending()
    }

    /// The first `length` bytes of the output were sent.
    pub fn output_sent(&mut self, length: usize, now_ns: u64) {
        self.output.sent(length, now_ns);
        if self.output.is_empty() && matches!(self.phase, Phase::Linger) {
            // The peer's time to understand begins when it has the whole answer.
            self.phase_ns = now_ns;
        }
    }

    // Between turns ----------------------------------------------------------------------------------------------

    /// Gives back what is not needed while the connection waits. Call it once a turn for each connection that was
    /// touched, after its output was sent as far as it goes.
    pub fn settle(&mut self, shared: &mut Shared) {
        match &self.phase {
            // The next request may lie behind the one in hand, and a body may be half done: they stay where they are.
            Phase::InHand { .. } | Phase::Upgrade => {}
            _ => self.receive.settle(&mut shared.pool),
        }
        self.output.settle(&mut shared.pool);
        // What is not granted now is asked for again when there is more to read.
        let _granted_or_not = self.claim_codec(&mut shared.pool);
    }

    /// Gives everything back. The connection is over.
    pub fn release(mut self, shared: &mut Shared) {
        self.receive.clear();
        self.receive.settle(&mut shared.pool);
        self.output.drop_all();
        self.output.settle(&mut shared.pool);
        shared.pool.unclaim(self.claimed);
    }

    /// What the shell is asked to do.
    pub fn wants(&self) -> Wants {
        let pending = !self.output.is_empty();
        Wants {
            read: !self.peer_closed && self.starved.is_none() && self.phase_reads(),
            write: pending,
            shut_down: matches!(self.phase, Phase::Linger) && !pending,
            close: !pending
                && match self.phase {
                    Phase::Finish => true,
                    Phase::Linger => self.peer_closed,
                    _ => false,
                },
            memory: self.starved.is_some(),
        }
    }

    /// Bytes that the budget must have free for reading to go on; 0 when it does not wait for that.
    pub fn memory_needed(&self) -> usize {
        self.starved.map_or(0, |starved| starved.needs)
    }

    /// Who is on the other end.
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether the connection was upgraded.
    pub const fn is_websocket(&self) -> bool {
        matches!(self.phase, Phase::WebSocket(_))
    }

    /// Whether a request, an upgrade or a message is in hand.
    pub const fn is_in_hand(&self) -> bool {
        self.message_in_hand || matches!(self.phase, Phase::InHand { .. } | Phase::Upgrade)
    }

    /// Whether the connection waits with nothing received, nothing in hand and nothing to send.
    pub fn is_idle(&self) -> bool {
        self.receive.is_empty()
            && self.output.is_empty()
            && !self.message_in_hand
            && matches!(self.phase, Phase::Head { .. } | Phase::WebSocket(_))
    }

    /// Bytes of buffers this connection owns, beside the codec of a WebSocket.
    pub fn owned_bytes(&self) -> usize {
        self.receive.owned() + self.output.owned()
    }

    // Inside -----------------------------------------------------------------------------------------------------

    /// Whether the phase has a use for further bytes.
    fn phase_reads(&self) -> bool {
        match &self.phase {
            Phase::Head { .. } => self.output.len() < self.output_high,
            Phase::Body { .. } | Phase::Linger => true,
            Phase::WebSocket(machine) => {
                !self.message_in_hand
                    && machine.is_settled()
                    && self.output.len() < self.output_high
            }
            Phase::InHand { .. } | Phase::Upgrade | Phase::Finish => false,
        }
    }

    /// Enters one of the two last phases.
    fn end(&mut self, phase: Phase, now_ns: u64) {
        debug_assert!(matches!(phase, Phase::Linger | Phase::Finish), "an ending");
        self.phase = phase;
        self.message_in_hand = false;
        self.starved = None;
        self.receive.clear();
        self.phase_ns = now_ns;
    }
}
