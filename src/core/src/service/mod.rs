//! The whole service as one machine without I/O: bytes and a clock go in, bytes and deadlines come out.
//!
//! The shell owns sockets and clocks and turns in a fixed order; everything else is decided here.
//!
//! ```text
//!  shell                                   service
//!  accept ───────── accept ───────────────▶ a slot and a connection machine
//!  readable ─────── read_space, filled ───▶ parse, convert, store in the open batch, queue the answer
//!                   work ─────────────────▶ bodies that go on over several turns
//!                   on_time ──────────────▶ timers: connections, full log, commands, readers
//!  writable ◀────── output, output_sent       (an answer leaves before the wake; what is urgent or came alone was committed before)
//!                   commit_due / idle ────▶ make the batch visible, wake readers
//!  sleep until ◀─── next_deadline, has_work, commits_when_idle
//! ```
//!
//! Invariants: an answer that acknowledges is queued after the append of everything it acknowledges; a body in hand is
//! never dropped without an answer; one connection has at most one body in hand; a connection is in at most one of the
//! lists ready, held and starved for one reason; nobody's body keeps the others waiting for longer than a turn's budget.

mod answers;
mod budget;
mod commands;
mod config;
mod connections;
mod full;
mod intake;
mod notice;
mod own_events;
mod purpose;
mod rebuild;
mod requests;
mod routes;
mod slots;
mod status;

use std::collections::VecDeque;

use crate::batching::{Batching, Cause};
use crate::conn::Shared;
use crate::http::{Refusal, Status};
use crate::limits;
use crate::log::EventLog;
use crate::mailbox::Mailbox;
use crate::metrics::names;
use crate::repeats::Repeats;
use crate::session::Sessions;
use crate::time::Now;
use crate::wheel::Wheel;
use crate::ws::CloseCode;

use answers::Answers;
use budget::Budget;
use connections::Conn;
use full::{FullLog, Stopwatch};
use intake::Intake;
use purpose::Purposes;
use slots::Slots;

pub use config::ServiceConfig;
pub use connections::Unaccepted;
pub use notice::Notice;
pub use slots::ConnId;
pub use status::NotReady;

/// Everything that waits for a time, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// A deadline of a connection.
    Connection(ConnId),
    /// The full log is looked at again.
    FullLog,
    /// Readers' liveness is looked at.
    Readers,
    /// A command may have grown too old.
    Mailbox,
}

/// The service. See the module's comment for how to drive it.
#[derive(Debug)]
pub struct Service<L: EventLog> {
    config: ServiceConfig,
    started: Now,
    shared: Shared,
    purposes: Purposes,
    intake: Intake<L>,
    mailbox: Mailbox,
    conns: Slots<Conn>,
    websockets: usize,
    wheel: Wheel<Timer>,
    /// Connections whose body goes on when others have had their turn.
    ready: VecDeque<ConnId>,
    /// Connections that the shell is to look at.
    changed: Vec<ConnId>,
    /// Connections whose reading waits for memory.
    starved: Vec<ConnId>,
    /// The least that one of them needs.
    starved_least: usize,
    full: FullLog,
    saturation: Stopwatch,
    answers: Answers,
    /// Bytes of events that may still be converted straight after reads in this turn.
    direct_bytes: usize,
    /// When the mailbox's timer fires, if it is set.
    mailbox_timer: Option<u64>,
    is_draining: bool,
    is_spill_full: bool,
}

impl<L: EventLog> Service<L> {
    /// A service that writes into this log. What must outlive a process (repeats, sessions) is learnt from it and from
    /// what is kept beside it first.
    #[must_use]
    pub fn new(config: ServiceConfig, log: L, now: Now) -> Service<L> {
        let repeats = Repeats::new(log.id_key(), config.repeats_events);
        Service::with_repeats(config, log, repeats, now)
    }

    /// The same with its largest table in memory that the shell lends: `Repeats::words(config.repeats_events)` of
    /// zeros.
    #[must_use]
    pub fn with_memory(
        config: ServiceConfig,
        log: L,
        memory: &'static mut [u64],
        now: Now,
    ) -> Service<L> {
        let repeats = Repeats::in_memory(log.id_key(), config.repeats_events, memory);
        Service::with_repeats(config, log, repeats, now)
    }

    fn with_repeats(config: ServiceConfig, log: L, repeats: Repeats, now: Now) -> Service<L> {
        let sessions = Sessions::new(log.id_key(), log.generation(), config.sessions);
        let batching = Batching::new(config.batching, config.window_ns);
        let mut wheel = Wheel::new(now.mono_ns, limits::TIMER_TICK_NS);
        wheel.insert(now.mono_ns + limits::READER_CHECK_NS, Timer::Readers);
        // Commands of one generation count up from its own number, so that ids differ between runs.
        let mailbox = Mailbox::new(config.command_age_ns, log.generation() << 40 | 1);
        Service {
            purposes: Purposes::new(),
            shared: Shared::new(config.connections.clone(), config.access.clone()),
            intake: Intake::new(log, batching, sessions, repeats, config.span_bytes, now),
            config,
            started: now,
            mailbox,
            conns: Slots::new(),
            websockets: 0,
            wheel,
            ready: VecDeque::new(),
            changed: Vec::new(),
            starved: Vec::new(),
            starved_least: usize::MAX,
            full: FullLog::new(),
            saturation: Stopwatch::new(names::CONNECTIONS_SATURATED),
            answers: Answers::new(),
            direct_bytes: limits::DIRECT_TURN_BYTES,
            mailbox_timer: None,
            is_draining: false,
            is_spill_full: false,
        }
    }

    /// Goes on with bodies that others had to wait for, for as long as the turn's budget lasts; true when more remains.
    pub fn work(&mut self, mut clock: impl FnMut() -> Now) -> bool {
        self.direct_bytes = limits::DIRECT_TURN_BYTES;
        self.feed_starved();
        if !self.ready.is_empty() {
            let mut now = clock();
            let until = now.mono_ns + limits::TURN_BUDGET_NS;
            while now.mono_ns < until {
                let Some(id) = self.next_ready() else { break };
                let mut budget = Budget::of_time(limits::DIRECT_BODY_BYTES, &mut clock, until);
                self.drive(id, &mut budget, now);
                now = clock();
            }
        }
        self.has_work()
    }

    /// Whether bodies wait only for their turn, or for memory that is there: then the shell must not sleep.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty() || self.can_feed()
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Now) {
        while let Some(timer) = self.wheel.poll(now.mono_ns) {
            match timer {
                Timer::Connection(id) => self.connection_timer(id, now),
                Timer::FullLog => self.look_at_full_log(now),
                Timer::Readers => {
                    self.intake.log.check_readers(now);
                    self.update_gauges(now);
                    self.wheel.insert(now.mono_ns + limits::READER_CHECK_NS, Timer::Readers);
                }
                Timer::Mailbox => {
                    self.mailbox_timer = None;
                    self.expire_commands(now);
                }
            }
        }
        if self.intake.log.wake_due().is_some_and(|at| at <= now.mono_ns) {
            self.intake.log.service_wake(now);
        }
    }

    /// When [`Service::on_time`] or [`Service::commit_due`] has something to do next, on the monotonic clock.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let waits = [
            self.wheel.next_deadline(),
            self.intake.batching.deadline(),
            self.intake.log.wake_due(),
        ];
        waits.into_iter().flatten().min()
    }

    /// Whether the open batch is committed by a poll that finds nothing: then the next poll must not sleep.
    #[must_use]
    pub fn commits_when_idle(&self) -> bool {
        self.intake.batching.commits_when_idle()
    }

    /// Commits the open batch if its time has come. Call at the end of each turn, after answers were sent.
    pub fn commit_due(&mut self, now: Now) {
        if let Some(cause) = self.intake.batching.due(now) {
            self.intake.commit(cause, now);
        }
    }

    /// The same, after a poll that found nothing to do.
    pub fn idle(&mut self, now: Now) {
        if let Some(cause) = self.intake.batching.due_when_idle(now) {
            self.intake.commit(cause, now);
        }
    }

    /// Wakes readers for an event that is about to come, unless it would wait in its batch anyway.
    pub fn alert(&mut self, now: Now) {
        if self.intake.batching.is_adaptive() {
            self.intake.log.alert(now);
        }
    }

    /// The next stored event's sequence: it tells whether a call has stored any.
    pub fn next_sequence(&self) -> u64 {
        self.intake.log.next_sequence()
    }

    /// Commits whatever is open, and puts beside the log what must outlive it. Call before the process ends.
    pub fn commit_all(&mut self, now: Now) {
        self.intake.commit(Cause::Drain, now);
        self.intake.keep_producers();
    }

    /// Begins the shutdown: what was received is finished and answered, WebSockets are closed with 1001, and
    /// connections end. Read what sockets hold before.
    pub fn begin_drain(&mut self, now: Now) {
        self.is_draining = true;
        let ids: Vec<ConnId> = self.conns.ids().collect();
        for id in ids {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.machine.begin_drain();
                self.drive_directly(id, now);
            }
        }
    }

    /// Whether the shutdown is complete: every connection has ended.
    #[must_use]
    pub fn drained(&self) -> bool {
        self.is_draining && self.conns.len() == 0
    }

    /// Adds what people should be told to a list.
    pub fn take_notices(&mut self, to: &mut Vec<Notice>) {
        self.intake.take_notices(to);
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &L {
        &self.intake.log
    }

    /// The log, for what the shell or a test does to it beside the service.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.intake.log
    }

    /// Gives the log back, as a killed process would leave it.
    #[must_use]
    pub fn into_log(self) -> L {
        self.intake.log
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// A body found the log full: it waits for room.
    fn hold(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let cells = self.intake.log.counters();
        if conn.held_since.is_none() {
            conn.held_since = Some(now.mono_ns);
            names::FULL_HELD.add(cells, 0, 1);
        }
        self.full.held.push_back(id);
        if self.full.begin(cells, now) {
            self.wheel.insert(now.mono_ns + limits::FULL_RECHECK_NS, Timer::FullLog);
            let mut readers = self.intake.log.readers();
            readers.retain(crate::log::ReaderStatus::holds);
            readers.sort_by_key(|reader| std::cmp::Reverse(reader.lag_bytes));
            let readers = readers.into_iter().map(|reader| reader.name).collect();
            self.intake.notice(Notice::LogFull { readers });
        }
    }

    fn look_at_full_log(&mut self, now: Now) {
        if self.intake.log.check_readers(now) {
            let ns = self.full.end(self.intake.log.counters(), now);
            self.intake.notice(Notice::LogHasRoom { after_ms: ns / crate::time::MILLISECOND });
            while let Some(id) = self.full.held.pop_front() {
                self.make_ready(id);
            }
            self.expire_commands(now);
            return;
        }
        let held_ns = self.config.full_hold_ns;
        for _ in 0..self.full.held.len() {
            let Some(id) = self.full.held.pop_front() else { break };
            let Some(conn) = self.conns.get(id) else { continue };
            let since = conn.held_since.unwrap_or(now.mono_ns);
            if now.mono_ns.saturating_sub(since) >= held_ns {
                self.turn_away(id, now);
            } else {
                self.full.held.push_back(id);
            }
        }
        self.wheel.insert(now.mono_ns + limits::FULL_RECHECK_NS, Timer::FullLog);
    }

    /// The log stayed full for as long as a body is held: its sender is told to come again.
    fn turn_away(&mut self, id: ConnId, now: Now) {
        const REFUSAL: Refusal<'static> = Refusal::new(
            Status::SERVICE_UNAVAILABLE,
            "body",
            "the log is full, because a reader does not read on",
            "send the same again later; events that were stored are recognised",
        )
        .with_headers(&[("Retry-After", limits::RETRY_AFTER)]);
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.task = None;
        conn.held_since = None;
        let cells = self.intake.log.counters();
        names::FULL_REFUSED.add(cells, 0, 1);
        if conn.is_websocket {
            names::WEBSOCKET_CLOSES.add(cells, 0, 1);
            conn.is_turned_away = true;
            conn.machine.done(now.mono_ns);
            let reason = "the log is full; send what was not acknowledged again later";
            conn.machine.close(&mut self.shared, CloseCode::TryAgain, reason, now.mono_ns);
        } else {
            conn.machine.refuse(&mut self.shared, &REFUSAL, now.mono_ns);
            self.count_response(Status::SERVICE_UNAVAILABLE);
        }
        self.drive_directly(id, now);
    }

    fn count_response(&self, status: Status) {
        let code = names::RESPONSE_CODES.iter().position(|&code| code == status.code());
        debug_assert!(code.is_some(), "{} is not counted", status.code());
        if let Some(label) = code {
            names::HTTP_RESPONSES.add(self.intake.log.counters(), label, 1);
        }
    }
}
