//! From a body to the log: convert, recognise repeats, find the session, store.
//!
//! One event at a time goes straight into the open batch's room; what is refused or repeated is left behind by not
//! advancing. The append is the moment of *stored*; whatever is remembered of an event is remembered after it. When the
//! batch has no room it is committed and the event converted again; when the log is full the body stays where it is and
//! goes on when there is room.

use std::collections::VecDeque;

use crate::batching::{Batching, Cause};
use crate::convert::{
    BinaryCursor, BodyCursor, BodyForm, Context, Converted, Converter, Refusal, Step,
};
use crate::limits;
use crate::log::{EventLog, Full, flags};
use crate::metrics::names::{self, checkpoint, mark, refused};
use crate::repeats::{Identity, Numbered, Repeats};
use crate::service::Notice;
use crate::service::budget::Budget;
use crate::service::rebuild;
use crate::session::{self, Clock, Facts, SessionRef, Sessions, Speaker};
use crate::time::Now;

/// `EventType` numbers that mean something to the service itself.
const TYPE_UNKNOWN: u16 = 1;
const TYPE_HEARTBEAT: u16 = 19;
const TYPE_DECISION_REQUEST: u16 = 20;
const TYPE_ERROR: u16 = 22;
/// `PRIORITY_HIGH`.
const PRIORITY_HIGH: u8 = 3;

/// Where a body stands.
#[derive(Debug)]
pub(super) enum Cursor {
    /// JSON, in the form its endpoint takes.
    Json(BodyCursor, BodyForm),
    /// A serialised `Event` or `EventBatch`.
    Binary(BinaryCursor),
}

impl Cursor {
    /// For a body of which `kept` of `length` bytes are there.
    pub(super) fn json(form: BodyForm, kept: usize, length: u64) -> Cursor {
        let cursor = BodyCursor::new(form);
        let is_whole = kept as u64 == length;
        Cursor::Json(if is_whole { cursor } else { cursor.cut(length) }, form)
    }

    /// The same for a serialised one.
    pub(super) fn binary(kept: usize, length: u64) -> Cursor {
        let cursor = BinaryCursor::new();
        Cursor::Binary(if kept as u64 == length { cursor } else { cursor.cut(length) })
    }
}

/// What came of a body so far.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Events stored, those that carry unreadable parts included.
    pub(super) stored: u64,
    /// Events recognised as sent before.
    pub(super) repeated: u64,
    /// Events refused.
    pub(super) refused: u64,
    /// Of the stored ones, those that carry unreadable parts.
    pub(super) unreadable: u64,
    /// Sequence of the last one stored.
    pub(super) last_sequence: u64,
    /// The first refusals, one by one.
    pub(super) refusals: Vec<Refusal>,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) cursor: Cursor,
    /// The mod's treatment.
    pub(super) is_lenient: bool,
    /// Label of the transport in the metrics.
    pub(super) transport: usize,
    /// Who sent it.
    pub(super) speaker: Speaker,
    /// Where its events go, once that is known.
    pub(super) session: Option<SessionRef>,
    pub(super) totals: Totals,
    /// Whether it was decided if this body's clocks begin a new session.
    pub(super) is_clock_judged: bool,
    /// Whether it was counted as read over more than one turn.
    pub(super) was_deferred: bool,
}

/// What the connection knows of the body, for events that stand for unreadable ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) path: &'a [u8],
    pub(super) content_type: &'a [u8],
    pub(super) user_agent: &'a [u8],
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The body is at its end.
    Done,
    /// Others have their turn.
    Suspended,
    /// The log is full.
    Full,
}

/// Everything between a body and the log.
#[derive(Debug)]
pub(super) struct Intake<L> {
    pub(super) log: L,
    pub(super) batching: Batching,
    pub(super) sessions: Sessions,
    pub(super) repeats: Repeats,
    pub(super) converter: Converter,
    notices: VecDeque<Notice>,
    event_bytes_max: usize,
    /// Where a body is read ahead whose clocks raise a question.
    ahead: Vec<u8>,
    /// Where a checkpoint is written before it goes beside the log.
    checkpoint: Vec<u8>,
    /// The last checkpoint could not be kept.
    is_unkept: bool,
}

impl<L: EventLog> Intake<L> {
    /// What must outlive a process (repeats, sessions) is learnt from the log first.
    pub(super) fn new(
        log: L,
        batching: Batching,
        sessions: Sessions,
        repeats: Repeats,
        span_bytes: usize,
        now: Now,
    ) -> Intake<L> {
        let mut intake = Intake {
            log,
            batching,
            sessions,
            repeats,
            converter: Converter::with_span_bytes(span_bytes),
            notices: VecDeque::with_capacity(limits::NOTICES_MAX),
            event_bytes_max: limits::BATCH_BYTES_MIN as usize,
            ahead: Vec::new(),
            checkpoint: Vec::new(),
            is_unkept: false,
        };
        // Before a batch is opened, which may overwrite the oldest one.
        intake.learn(now);
        // A fresh batch shows how large an event may be; a full log shows nothing and the default will do until then.
        if intake.log.begin(now) == Ok(()) {
            intake.event_bytes_max = intake.log.room().len();
        }
        intake
    }

    /// Learns what the log knows from before: what is beside it first, then every event in it. What the events add is
    /// put beside the log at once, since what a rotation has put aside may be gone at the next start.
    fn learn(&mut self, now: Now) {
        let found = self.log.read_checkpoint().and_then(|bytes| {
            let Some(bytes) = bytes else { return Ok(()) };
            let restored = self.repeats.restore_producers(&bytes, self.log.origin());
            restored.map_err(|unusable| unusable.to_string())
        });
        if let Err(reason) = found {
            names::PRODUCER_CHECKPOINTS.add(self.log.counters(), checkpoint::IGNORED, 1);
            self.notice(Notice::ProducersUnknown { reason });
        }
        rebuild::rebuild(&self.log, &mut self.repeats, &mut self.sessions, now);
        self.keep_producers();
    }

    /// Puts what is known of the producers beside the log, if there is anything new.
    pub(super) fn keep_producers(&mut self) {
        if !self.repeats.write_producers(self.log.origin(), &mut self.checkpoint) {
            return;
        }
        match self.log.write_checkpoint(&self.checkpoint) {
            Ok(()) => {
                self.repeats.producers_saved();
                self.is_unkept = false;
                names::PRODUCER_CHECKPOINTS.add(self.log.counters(), checkpoint::WRITTEN, 1);
            }
            Err(reason) => {
                names::PRODUCER_CHECKPOINTS.add(self.log.counters(), checkpoint::FAILED, 1);
                // Said once: it is tried again and again.
                if !std::mem::replace(&mut self.is_unkept, true) {
                    self.notice(Notice::ProducersNotKept { reason });
                }
            }
        }
    }

    /// Says something to people, unless too much waits to be said already.
    pub(super) fn notice(&mut self, notice: Notice) {
        if self.notices.len() < limits::NOTICES_MAX {
            self.notices.push_back(notice);
        } else {
            names::NOTICES_DROPPED.add(self.log.counters(), 0, 1);
        }
    }

    pub(super) fn take_notices(&mut self, to: &mut Vec<Notice>) {
        to.extend(self.notices.drain(..));
    }

    /// Sees to it that the open batch takes at least one more event.
    ///
    /// # Errors
    /// [`Full`]
    pub(super) fn open_batch(&mut self, now: Now) -> Result<(), Full> {
        if self.log.events_left() == 0 {
            self.commit(Cause::BatchFull, now);
            self.log.begin(now)?;
            if self.log.open_events() == 0 {
                self.event_bytes_max = self.log.room().len();
            }
        }
        Ok(())
    }

    /// Makes the open batch visible.
    pub(super) fn commit(&mut self, cause: Cause, now: Now) {
        if self.log.open_events() == 0 {
            return;
        }
        let waited_ns = self.batching.committed(now);
        let Some(commit) = self.log.commit(now) else { return };
        let cells = self.log.counters();
        names::BATCHES_COMMITTED.add(cells, cause as usize, 1);
        names::BATCH_BYTES.add(cells, 0, u64::from(commit.bytes));
        names::BATCH_EVENTS.observe(cells, u64::from(commit.events));
        names::BATCH_LATENCY.observe(cells, waited_ns);
        names::QUEUE_EVENTS.set(cells, 0, 0);
        names::LOG_SEQUENCE.set(cells, 0, commit.first_sequence + u64::from(commit.events));
        // Here and not at the turn's end, since a long turn may take a small log further than a quarter.
        if self.log.checkpoint_due() {
            self.keep_producers();
        }
    }

    /// Reads on in a body until it ends, the budget is spent or the log is full.
    pub(super) fn read(
        &mut self,
        task: &mut Task,
        body: &[u8],
        origin: Origin<'_>,
        budget: &mut Budget<'_>,
        now: Now,
    ) -> Progress {
        let mut context = Context {
            log_epoch: self.log.epoch(),
            sequence: 0,
            receive_time_unix_ns: now.unix_ns,
            session: 0,
            game_key: 0,
            sender: 0,
            lenient: task.is_lenient,
            event_bytes_max: self.event_bytes_max,
            nesting_max: limits::NESTING_MAX as u32,
            path: origin.path,
            content_type: origin.content_type,
            user_agent: origin.user_agent,
        };
        loop {
            if budget.is_spent() {
                return Progress::Suspended;
            }
            if self.open_batch(now).is_err() {
                return Progress::Full;
            }
            context.event_bytes_max = self.event_bytes_max;
            context.sequence = self.log.next_sequence();
            (context.session, context.game_key) = task
                .session
                .and_then(|known| self.sessions.get(known))
                .map_or((0, 0), |session| (session.id, session.game_key));
            // Before a connection has its session, what finds that session will do.
            context.sender = match context.session {
                0 => task.speaker.address ^ task.speaker.agent,
                session => session,
            };
            let room = self.log.room();
            let mut step = match &mut task.cursor {
                Cursor::Json(cursor, _) => self.converter.next(cursor, body, &context, room),
                Cursor::Binary(cursor) => self.converter.next_binary(cursor, body, &context, room),
            };
            if let Step::Event(event) = &mut step {
                budget.spend(event.element_len);
                self.take(task, event, body, origin, now);
                continue;
            }
            match step {
                Step::Event(_) => {}
                Step::Refused(refusal) => {
                    budget.spend(1);
                    let reason = match &task.cursor {
                        _ if !refusal.field.is_empty() => refused::FIELD,
                        Cursor::Binary(_) => refused::NOT_PROTOBUF,
                        Cursor::Json(..) => refused::UNREADABLE,
                    };
                    names::EVENTS_REFUSED.add(self.log.counters(), reason, 1);
                    task.totals.refused += 1;
                    if task.totals.refusals.len() < limits::REFUSALS_LISTED_MAX {
                        task.totals.refusals.push(refusal);
                    }
                }
                Step::NoRoom => {
                    assert!(self.log.open_events() > 0, "an empty batch takes the largest event");
                    self.commit(Cause::BatchFull, now);
                }
                Step::Done(_) => return Progress::Done,
            }
        }
    }

    /// Stores a converted event, unless it was stored before.
    fn take(
        &mut self,
        task: &mut Task,
        event: &mut Converted,
        body: &[u8],
        origin: Origin<'_>,
        now: Now,
    ) {
        let room = self.log.room();
        let time = event.entry.producer_time;
        let has_time = event.producer_clock != 0;
        let numbered =
            event.producer_sequence.filter(|_| !event.producer.is_empty()).map(|sequence| {
                Numbered {
                    producer: self.repeats.hash_producer(&room[event.producer.clone()]),
                    sequence,
                }
            });
        if !event.event_id.is_empty() && has_time {
            let type_name = match event.entry.event_type {
                TYPE_UNKNOWN => rebuild::type_name(&room[event.event_offset..event.element_len]),
                _ => &[],
            };
            event.entry.id_hash = self.repeats.hash(&Identity {
                event_id: &room[event.event_id.clone()],
                producer_time: time,
                event_type: event.entry.event_type,
                type_name,
            });
            self.repeats.expect(event.entry.id_hash);
        }
        // A repeat is heard from its sender as well; and what tells a repeat is on its way from memory meanwhile.
        let session = self.session_of(task, event, origin, now);
        let (id_hash, event_type) = (event.entry.id_hash, event.entry.event_type);
        if self.repeats.is_repeat(id_hash, time, event_type, numbered, now) {
            task.session = Some(session);
            task.totals.repeated += 1;
            names::EVENTS_REPEATED.add(self.log.counters(), 0, 1);
            return;
        }
        self.place(task, event, session, body, now);
        let is_urgent = event.entry.priority == PRIORITY_HIGH
            || matches!(event_type, TYPE_DECISION_REQUEST | TYPE_ERROR);
        let sequence = self.log.append(event.element_len, event.event_offset, &event.entry);
        self.batching.stored(now, is_urgent);
        self.repeats.remember(id_hash, time, event_type, numbered, now.unix_ns);
        task.totals.stored += 1;
        task.totals.last_sequence = sequence;
        task.totals.unreadable += u64::from(event.entry.flags & flags::UNREADABLE != 0);
        self.count(task.transport, event.entry.flags);
    }

    /// Finds the event's game, and whether it begins another session than its sender's; writes both into it.
    fn place(
        &mut self,
        task: &mut Task,
        event: &mut Converted,
        mut session: SessionRef,
        body: &[u8],
        now: Now,
    ) {
        let clock = rebuild::clock(u64::from(event.producer_clock), event.entry.producer_time);
        if event.is_connection_test {
            let (next, cause) =
                self.sessions.connection_test(session, event.entry.producer_time, now);
            self.count_session(cause);
            session = next;
        } else if let Some(clock) = clock
            && !task.is_clock_judged
            && self.sessions.is_far_behind(session, clock)
        {
            session = self.judge_clock(task, session, clock, body, now);
        }
        task.session = Some(session);
        let room = self.log.room();
        let facts = Facts {
            clock,
            game_id: (!event.game_id.is_empty()).then(|| &room[event.game_id.clone()]),
        };
        let placed = self.sessions.place(session, &facts, now);
        if placed.session != event.entry.session {
            event.patch_session(room, placed.session);
        }
        if placed.game_key != event.entry.game_key {
            event.patch_game_key(room, placed.game_key);
        }
        event.entry.flags |= placed.flags;
        if event.entry.event_type == TYPE_HEARTBEAT
            && self.sessions.get(session).is_some_and(|session| !session.has_version)
            && let Some(name) =
                rebuild::name_and_version(&room[event.event_offset..event.element_len])
        {
            self.sessions.name_version(session, name.as_bytes());
        }
        if placed.is_new_game || placed.became_ambiguous {
            self.tell(session, placed.is_new_game, placed.became_ambiguous);
        }
    }

    fn session_of(
        &mut self,
        task: &mut Task,
        event: &Converted,
        origin: Origin<'_>,
        now: Now,
    ) -> SessionRef {
        let (session, cause) = if event.producer.is_empty() {
            match task.session {
                // Looked up once for a body; a session may be forgotten while its body waits.
                Some(known) if self.sessions.get(known).is_some() && task.totals.stored > 0 => {
                    return known;
                }
                bound => self.sessions.of_speaker(&task.speaker, bound, now),
            }
        } else {
            let producer = &self.log.room()[event.producer.clone()];
            self.sessions.of_producer(producer, &task.speaker, now)
        };
        if cause.is_some() {
            self.count_session(cause);
            self.sessions.name_agent(session, origin.user_agent);
        }
        session
    }

    /// An event's clock lies far behind its session's. The newest clock of the whole body decides whether the game was
    /// started anew, so the body is read once more, into memory that nobody sees.
    #[cold]
    fn judge_clock(
        &mut self,
        task: &mut Task,
        session: SessionRef,
        clock: Clock,
        body: &[u8],
        now: Now,
    ) -> SessionRef {
        task.is_clock_judged = true;
        let mut newest = match clock {
            Clock::Monotonic(time) => time,
            Clock::Unix(_) => return session,
        };
        self.ahead.resize(self.event_bytes_max, 0);
        let context = Context {
            lenient: task.is_lenient,
            event_bytes_max: self.event_bytes_max,
            ..Context::default()
        };
        if let Cursor::Json(_, form) = &task.cursor {
            let mut cursor = BodyCursor::new(*form);
            loop {
                match self.converter.next(&mut cursor, body, &context, &mut self.ahead) {
                    Step::Event(event) => {
                        let time = event.entry.producer_time;
                        if let Some(Clock::Monotonic(time)) =
                            rebuild::clock(u64::from(event.producer_clock), time)
                        {
                            newest = newest.max(time);
                        }
                    }
                    Step::Refused(_) => {}
                    Step::NoRoom | Step::Done(_) => break,
                }
            }
        }
        if !self.sessions.is_far_behind(session, Clock::Monotonic(newest)) {
            return session;
        }
        let (next, cause, became_ambiguous) = self.sessions.clock_began_anew(session, now);
        self.count_session(cause);
        if became_ambiguous {
            self.tell(next, false, true);
        }
        next
    }

    #[cold]
    fn tell(&mut self, reference: SessionRef, is_new_game: bool, became_ambiguous: bool) {
        let Some(session) = self.sessions.get(reference) else { return };
        let (agent, id, game_id) = (session.agent.clone(), session.id, session.game_id.clone());
        // Two games in one session take turns for ever: that is said once, below.
        if is_new_game && (became_ambiguous || !session.is_ambiguous) {
            self.notice(Notice::GameConnected { game_id, agent: agent.clone(), session: id });
        }
        if became_ambiguous {
            names::SESSIONS_AMBIGUOUS.add(self.log.counters(), 0, 1);
            self.notice(Notice::SessionAmbiguous { agent, session: id });
        }
    }

    fn count_session(&self, cause: Option<session::Cause>) {
        if let Some(cause) = cause {
            names::SESSIONS_STARTED.add(self.log.counters(), cause as usize, 1);
        }
    }

    fn count(&self, transport: usize, bits: u16) {
        let cells = self.log.counters();
        names::EVENTS_STORED.add(cells, transport, 1);
        if bits == 0 {
            return;
        }
        for (bit, label) in [
            (flags::SALVAGED, mark::SALVAGED),
            (flags::FLAGGED, mark::FLAGGED),
            (flags::RAW_TEXT, mark::RAW_TEXT),
            (flags::UNREADABLE, mark::UNREADABLE),
            (flags::SESSION_AMBIGUOUS, mark::SESSION_AMBIGUOUS),
            (flags::UNKNOWN_TYPE, mark::UNKNOWN_TYPE),
            (flags::OUT_OF_ORDER, mark::OUT_OF_ORDER),
        ] {
            names::EVENTS_MARKED.add(cells, label, u64::from(bits & bit != 0));
        }
    }
}
