//! What a connection waits for, and what happens when it waited too long.

use super::{Connection, Counted, Phase, Shared};
use crate::http::{Fault, Framing, Refusal, Status};
use crate::limits;
use crate::time::SECOND;
use crate::ws::{CloseCode, WsTimer};

/// The waits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnTimer {
    /// The rest of a head (408).
    Head,
    /// The rest of a body, or its rate (408).
    Body,
    /// The next request.
    Idle,
    /// A client that takes nothing of its answers.
    Output,
    /// A share of the buffer budget (503, or close 1013; a lenient agent's body goes on to wait).
    Memory,
    /// A client that has been refused and still sends.
    Linger,
    /// A silent WebSocket is sent a ping.
    Heartbeat,
    /// A WebSocket that does not answer our ping (close 1011).
    Pong,
    /// The peer's close frame.
    Close,
}

const SLOW_HEAD: Fault = Fault::fatal(
    Status::REQUEST_TIMEOUT,
    "head",
    "the request head did not come within its time",
    "send the whole head at once",
);
const SLOW_BODY: Fault = Fault::fatal(
    Status::REQUEST_TIMEOUT,
    "body",
    "the body comes slower than the least rate, or took longer than its time",
    "send the body at once, or in smaller batches",
);
const NO_MEMORY: Fault = Fault {
    refusal: Refusal::new(
        Status::SERVICE_UNAVAILABLE,
        "body",
        "other requests hold all the memory set aside for incomplete ones",
        "send it again later",
    )
    .with_headers(&[("Retry-After", "1")]),
    fatal: true,
};

impl Connection {
    /// The earliest deadline. It moves with almost every call: arm a timer when none is armed, and when it fires look
    /// here again and arm it anew if the deadline has moved.
    pub fn deadline(&self, shared: &Shared) -> Option<(ConnTimer, u64)> {
        let config = &shared.config;
        // By far the most common: nothing is under way.
        if let Phase::Head { .. } = &self.phase
            && self.receive.is_empty()
            && self.output.is_empty()
            && self.starved.is_none()
        {
            return Some((ConnTimer::Idle, self.phase_ns.saturating_add(config.idle_ns)));
        }
        let since_phase =
            |timer, wait_ns: u64| Some((timer, self.phase_ns.saturating_add(wait_ns)));
        let phase = match &self.phase {
            Phase::Head { .. } if self.receive.is_empty() => {
                since_phase(ConnTimer::Idle, config.idle_ns)
            }
            Phase::Head { .. } if self.output.len() < self.output_high => {
                since_phase(ConnTimer::Head, config.head_ns)
            }
            Phase::Body { reader, .. } => {
                let earned =
                    reader.total().saturating_mul(SECOND) / config.body_bytes_per_second.max(1);
                // Who waited for us was not slow meanwhile.
                let wait_ns = config
                    .body_grace_ns
                    .saturating_add(earned)
                    .saturating_add(self.starved_before_ns)
                    .min(config.body_ns);
                since_phase(ConnTimer::Body, wait_ns)
            }
            Phase::Linger if self.output.is_empty() => {
                let silence = self.heard_ns.max(self.phase_ns) + limits::LINGER_SILENCE_NS;
                Some((ConnTimer::Linger, silence.min(self.phase_ns + limits::LINGER_NS)))
            }
            Phase::WebSocket(machine) => {
                let reading = self.phase_reads() && self.starved.is_none();
                machine.deadline(&config.ws, reading).map(|(timer, at)| (timer.into(), at))
            }
            _ => None,
        };
        let output = (!self.output.is_empty())
            .then(|| (ConnTimer::Output, self.output.stalled_ns() + config.output_stall_ns));
        let memory = self.starved.map(|starved| (ConnTimer::Memory, starved.due_ns));
        // While reading waits for memory the client can't be slow. Who waits without end has the time of the longest body.
        let phase = match memory {
            None => phase,
            Some(_) if self.is_lenient_body() => since_phase(ConnTimer::Body, config.body_ns),
            Some(_) => None,
        };
        [phase, output, memory].into_iter().flatten().min_by_key(|&(_, at)| at)
    }

    /// A timer fired. Does nothing unless it is the one that is due. Call [`Connection::next`] then.
    pub fn on_timer(&mut self, timer: ConnTimer, shared: &mut Shared, now_ns: u64) {
        match self.deadline(shared) {
            Some((due, at)) if due == timer && at <= now_ns => {}
            _ => return,
        }
        match timer {
            ConnTimer::Head => self.answer_headless(shared, SLOW_HEAD, now_ns),
            ConnTimer::Body => self.answer_fault(shared, SLOW_BODY, now_ns),
            ConnTimer::Idle => {
                shared.tally.add(Counted::ClosedIdle);
                self.end(Phase::Finish, now_ns);
            }
            ConnTimer::Output => {
                shared.tally.add(Counted::ClosedOutputStalled);
                // What it sent whole is still handed out; nobody is there for the answers.
                self.peer_reset();
            }
            ConnTimer::Memory if self.is_websocket() => {
                let reason = "other messages hold all the memory set aside for incomplete ones";
                self.fail_websocket(shared, CloseCode::TryAgain, reason, now_ns);
            }
            ConnTimer::Memory if self.is_lenient_body() => self.overdraw(shared, now_ns),
            ConnTimer::Memory => self.answer_headless(shared, NO_MEMORY, now_ns),
            ConnTimer::Linger => self.end(Phase::Finish, now_ns),
            ConnTimer::Heartbeat => {
                if let Phase::WebSocket(machine) = &mut self.phase {
                    shared.tally.add(Counted::PingsSent);
                    self.output.write(&mut shared.pool, now_ns, |out, _| {
                        machine.ping(out, now_ns);
                    });
                }
            }
            ConnTimer::Pong => {
                let reason = "keepalive: nothing was heard after a ping";
                self.fail_websocket(shared, CloseCode::Internal, reason, now_ns);
            }
            ConnTimer::Close => self.end(Phase::Finish, now_ns),
        }
    }

    /// Whether a lenient agent's body is on its way. To the mod any refusal is an outage, after which it throws away most
    /// of what it holds; so its body waits for memory as long as a body may take at all, and TCP makes the mod wait.
    const fn is_lenient_body(&self) -> bool {
        self.lenient && matches!(self.phase, Phase::Body { .. })
    }

    /// A body that may not be refused has waited long. All the others may wait for memory as it does, each with a part of
    /// its body, so that none of it ever comes back: one at a time is given what it lacks beyond the budget.
    fn overdraw(&mut self, shared: &mut Shared, now_ns: u64) {
        let (missing, most) = self.room_to_make(shared);
        let whole = match self.head.framing {
            Framing::Fixed(_) if missing > 0 => self.receive.len() + missing,
            _ => most,
        };
        if self.receive.overdraw(&mut shared.pool, whole) {
            self.fed(now_ns);
        } else if let Some(starved) = &mut self.starved {
            starved.due_ns = now_ns.saturating_add(shared.config.memory_wait_ns);
        }
    }

    /// Closes a WebSocket without waiting for the peer's consent.
    fn fail_websocket(&mut self, shared: &mut Shared, code: CloseCode, reason: &str, now_ns: u64) {
        self.close(shared, code, reason, now_ns);
        self.end(Phase::Linger, now_ns);
    }
}

impl From<WsTimer> for ConnTimer {
    fn from(timer: WsTimer) -> ConnTimer {
        match timer {
            WsTimer::Heartbeat => ConnTimer::Heartbeat,
            WsTimer::Pong => ConnTimer::Pong,
            WsTimer::Close => ConnTimer::Close,
        }
    }
}
