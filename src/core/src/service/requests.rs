//! What is done with requests and messages.

use crate::convert::BodyForm;
use crate::http::{Refusal, Response, Status};
use crate::limits;
use crate::log::EventLog;
use crate::metrics::names::{self, endpoint, transport};
use crate::service::answers;
use crate::service::budget::Budget;
use crate::service::connections::Driven;
use crate::service::intake::{Cursor, Origin, Progress, Task, Totals};
use crate::service::purpose::Purpose;
use crate::service::routes::{self, Content, Route};
use crate::service::slots::ConnId;
use crate::service::{NotReady, Service};
use crate::session::Speaker;
use crate::time::Now;

const UNSUPPORTED: Refusal<'static> = Refusal::new(
    Status::UNSUPPORTED_MEDIA_TYPE,
    "Content-Type",
    "events are JSON or Protocol Buffers",
    "send application/json, application/x-ndjson or application/x-protobuf",
);

impl<L: EventLog> Service<L> {
    /// Answers the request in hand, or reads its body.
    pub(super) fn request(
        &mut self,
        id: ConnId,
        budget: &mut Budget<'_>,
        now: Now,
    ) -> Option<Driven> {
        let conn = self.conns.get_mut(id)?;
        let request = conn.machine.request();
        let purpose = self.purposes.of(conn.machine.known_head(), || Purpose::of(&request));
        let route = purpose.route;
        let label = route.map_or(endpoint::OTHER, Route::label);
        names::HTTP_REQUESTS.add(self.intake.log.counters(), label, 1);
        match route {
            Some(Route::Events) => {
                return self.begin_body(id, BodyForm::Events, purpose.content, budget, now);
            }
            Some(Route::Batch) => {
                return self.begin_body(id, BodyForm::Batch, purpose.content, budget, now);
            }
            // Found again, for its words.
            None => {
                if let Err(refusal) = routes::find(request.method(), request.path()) {
                    self.refuse(id, &refusal, now);
                }
            }
            Some(Route::WebSocketOnly) => self.refuse(id, &Refusal::upgrade_required(), now),
            Some(Route::Commands) => self.post_command(id, now),
            Some(Route::Poll) => self.poll(id, now),
            Some(Route::Health) => {
                let text = self.health(now);
                self.respond(id, &Response::json(text.as_bytes()), now);
            }
            Some(Route::Alive) => self.respond(id, &Response::text(b"ok\n"), now),
            Some(Route::Ready) => {
                let (status, text): (_, &[u8]) = match self.ready() {
                    Ok(()) => (Status::OK, b"ready\n"),
                    Err(NotReady::Draining) => (Status::SERVICE_UNAVAILABLE, b"draining\n"),
                    Err(NotReady::LogFull) => (Status::SERVICE_UNAVAILABLE, b"log full\n"),
                    Err(NotReady::SpillFull) => (Status::SERVICE_UNAVAILABLE, b"spill full\n"),
                };
                self.respond(id, &Response::new(status, "text/plain", text), now);
            }
            Some(Route::Metrics) => {
                let text = self.metrics(now);
                const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
                self.respond(id, &Response::new(Status::OK, TYPE, text.as_bytes()), now);
            }
            Some(Route::Readers) => {
                let text = self.readers();
                self.respond(id, &Response::json(text.as_bytes()), now);
            }
        }
        None
    }

    fn begin_body(
        &mut self,
        id: ConnId,
        form: BodyForm,
        content: Content,
        budget: &mut Budget<'_>,
        now: Now,
    ) -> Option<Driven> {
        let conn = self.conns.get_mut(id)?;
        let request = conn.machine.request();
        let is_lenient = request.lenient();
        let kept = conn.machine.body().len();
        let cursor = match content {
            Content::Protobuf => Cursor::binary(kept, conn.machine.body_length()),
            Content::Other if !is_lenient => {
                self.refuse(id, &UNSUPPORTED, now);
                return None;
            }
            _ => Cursor::json(form, kept, conn.machine.body_length()),
        };
        // A connection that has its session needs no other mark of its sender.
        let agent = match conn.session {
            Some(_) => 0,
            None => self.intake.sessions.hash(&[request.user_agent().as_bytes()]),
        };
        let mut task = Task {
            cursor,
            is_lenient,
            transport: transport::HTTP,
            speaker: Speaker {
                connection: id.to_bits(),
                is_websocket: false,
                address: conn.address,
                agent,
                requests_before: conn.requests - 1,
            },
            session: conn.session,
            totals: Totals::default(),
            is_clock_judged: false,
            was_deferred: false,
        };
        names::INPUT_BYTES.add(self.intake.log.counters(), 0, kept as u64);
        let stopped = self.read_body(id, &mut task, budget, now)?;
        self.keep(id, task, stopped);
        Some(stopped)
    }

    /// Reads the message in hand.
    pub(super) fn message(
        &mut self,
        id: ConnId,
        is_binary: bool,
        budget: &mut Budget<'_>,
        now: Now,
    ) -> Option<Driven> {
        let conn = self.conns.get_mut(id)?;
        let length = conn.machine.body().len();
        let cursor = if is_binary {
            Cursor::binary(length, length as u64)
        } else {
            Cursor::json(BodyForm::Message, length, length as u64)
        };
        let mut task = Task {
            cursor,
            is_lenient: conn.is_lenient,
            transport: transport::WEBSOCKET,
            speaker: Speaker {
                connection: id.to_bits(),
                is_websocket: true,
                address: conn.address,
                agent: 0,
                requests_before: conn.requests,
            },
            session: conn.session,
            totals: Totals::default(),
            is_clock_judged: false,
            was_deferred: false,
        };
        let cells = self.intake.log.counters();
        names::WEBSOCKET_MESSAGES.add(cells, usize::from(is_binary), 1);
        names::INPUT_BYTES.add(cells, 0, length as u64);
        let stopped = self.read_body(id, &mut task, budget, now)?;
        self.keep(id, task, stopped);
        Some(stopped)
    }

    /// Goes on with a body that had to wait.
    #[inline(never)]
    pub(super) fn read_on(
        &mut self,
        id: ConnId,
        budget: &mut Budget<'_>,
        now: Now,
    ) -> Option<Driven> {
        let mut task = self.conns.get_mut(id)?.task.take()?;
        let stopped = self.read_body(id, &mut task, budget, now)?;
        self.keep(id, task, stopped);
        Some(stopped)
    }

    /// Reads the body in hand and tells its sender when it was read; says why it was not. Most bodies end in the turn in
    /// which they begin, and their task never moves.
    #[inline]
    fn read_body(
        &mut self,
        id: ConnId,
        task: &mut Task,
        budget: &mut Budget<'_>,
        now: Now,
    ) -> Option<Driven> {
        let conn = self.conns.get_mut(id)?;
        let origin = if conn.is_websocket {
            Origin { path: b"", content_type: b"", user_agent: conn.agent.as_bytes() }
        } else {
            let [path, content_type, user_agent] = conn.machine.request().origin();
            Origin { path, content_type, user_agent }
        };
        match self.intake.read(task, conn.machine.body(), origin, budget, now) {
            Progress::Done => {
                self.finish(id, task, now);
                None
            }
            Progress::Suspended => Some(Driven::Suspended),
            Progress::Full => Some(Driven::Held),
        }
    }

    /// Puts a task that has to wait where it is found again.
    #[cold]
    fn keep(&mut self, id: ConnId, mut task: Task, stopped: Driven) {
        if stopped == Driven::Suspended && !task.was_deferred {
            task.was_deferred = true;
            names::BODIES_DEFERRED.add(self.intake.log.counters(), 0, 1);
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.task = Some(task);
        }
    }

    /// The body in hand was read: its sender is told. What must not wait is made visible first.
    #[inline]
    fn finish(&mut self, id: ConnId, task: &Task, now: Now) {
        if self.intake.batching.has_urgent() {
            self.intake.commit(crate::batching::Cause::Urgent, now);
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.held_since = None;
        conn.session = task.session;
        let totals = &task.totals;
        let text = &mut self.answers.text;
        if conn.is_websocket {
            conn.machine.done(now.mono_ns);
            if totals.refused > 0
                && conn.machine.output().len() < limits::WEBSOCKET_REFUSAL_BACKLOG_BYTES
            {
                text.clear();
                text.extend_from_slice(b"{\"refused\":");
                answers::write_refusals(text, totals);
                text.push(b'}');
                let text = String::from_utf8_lossy(text);
                conn.machine.send_text(&mut self.shared, &text, now.mono_ns);
            }
            let kept = totals.stored + totals.repeated;
            if kept > 0 && conn.machine.acks_wanted() {
                // Where all are repeats, the newest sequence still says that everything sent is stored up to it.
                let sequence = match totals.stored {
                    0 => self.intake.log.next_sequence() - 1,
                    _ => totals.last_sequence,
                };
                conn.machine.ack(&mut self.shared, kept, sequence, now.mono_ns);
            }
            return;
        }
        let is_plain = totals.repeated + totals.refused + totals.unreadable == 0;
        let status = answers::status(totals, task.is_lenient);
        if totals.stored == 1 && is_plain {
            let prepared = &self.answers.one_stored;
            conn.machine.respond_prepared(&mut self.shared, prepared, now.mono_ns);
        } else {
            text.clear();
            answers::write_totals(text, totals);
            let response = Response::new(status, "application/json", text);
            conn.machine.respond(&mut self.shared, &response, now.mono_ns);
        }
        self.count_response(status);
    }

    pub(super) fn respond(&mut self, id: ConnId, response: &Response<'_>, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.machine.respond(&mut self.shared, response, now.mono_ns);
        self.count_response(response.status);
    }

    pub(super) fn refuse(&mut self, id: ConnId, refusal: &Refusal<'_>, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.machine.refuse(&mut self.shared, refusal, now.mono_ns);
        self.count_response(refusal.status);
    }
}
