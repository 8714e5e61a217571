//! Commands: posted by senders, fetched by games that poll, pushed to games on WebSockets.

use crate::http::{Response, Status};
use crate::limits;
use crate::log::EventLog;
use crate::mailbox::{self, Waiting};
use crate::metrics::names;
use crate::service::own_events::{Fate, command_id};
use crate::service::slots::ConnId;
use crate::service::{Service, Timer};
use crate::session::{Kind, Session, SessionRef};
use crate::time::{Now, SECOND};

/// Labels of [`names::COMMANDS_REFUSED`].
const INVALID: usize = 0;
const NO_SESSION: usize = 1;
const SEVERAL_SESSIONS: usize = 2;
const MAILBOX_FULL: usize = 3;
const LOG_FULL: usize = 4;

/// A session that can be named in an answer or a command.
struct Target {
    reference: SessionRef,
    id: u64,
}

/// Why a command was not taken.
struct Refused {
    label: usize,
    status: Status,
    field: &'static str,
    reason: String,
    remedy: String,
    /// The sessions that could be named, as JSON.
    sessions: Option<serde_json::Value>,
}

impl<L: EventLog> Service<L> {
    /// `POST /api/v1/commands`
    pub(super) fn post_command(&mut self, id: ConnId, now: Now) {
        match self.take_command(id, now) {
            Ok((waiting, target)) => {
                let is_pushed = self.push_to_websocket(&target, now);
                let status = if is_pushed { "delivered" } else { "queued" };
                let text = serde_json::json!({
                    "status": status,
                    "command_id": command_id(waiting.number),
                    "session": session_id(target.id),
                    "line": waiting.command.line,
                    "expires_in_seconds": self.config.command_age_ns as f64 / SECOND as f64,
                });
                let text = format!("{text}\n");
                self.respond(id, &Response::json(text.as_bytes()), now);
                self.set_mailbox_timer();
            }
            Err(refused) => {
                names::COMMANDS_REFUSED.add(self.intake.log.counters(), refused.label, 1);
                let mut text = serde_json::json!({
                    "error": refused.status.reason(),
                    "field": refused.field,
                    "reason": refused.reason,
                    "remedy": refused.remedy,
                });
                if let Some(sessions) = refused.sessions {
                    text["sessions"] = sessions;
                }
                let text = format!("{text}\n");
                let mut response =
                    Response::new(refused.status, "application/json", text.as_bytes());
                if refused.status == Status::SERVICE_UNAVAILABLE {
                    response.headers = &[("Retry-After", limits::RETRY_AFTER)];
                }
                self.respond(id, &response, now);
            }
        }
    }

    fn take_command(&mut self, id: ConnId, now: Now) -> Result<(Waiting, Target), Refused> {
        let refused = |label, status, field, reason: String, remedy: &str| Refused {
            label,
            status,
            field,
            reason,
            remedy: remedy.to_owned(),
            sessions: None,
        };
        let body = self.conns.get(id).map_or(&[][..], |conn| conn.machine.body());
        if body.len() > limits::COMMAND_BODY_BYTES {
            return Err(refused(
                INVALID,
                Status::CONTENT_TOO_LARGE,
                "",
                format!("a command has at most {} bytes", limits::COMMAND_BODY_BYTES),
                "send one command a request",
            ));
        }
        let (command, named) = mailbox::parse(body).map_err(|invalid| {
            refused(
                INVALID,
                Status::BAD_REQUEST,
                invalid.field,
                invalid.reason,
                "send {\"type\": \"select_card\", \"payload\": {\"position\": 3}} or the like",
            )
        })?;
        let target = self.target(named.as_deref(), now)?;
        self.mailbox.check_room(target.id).map_err(|full| {
            let what = if full.is_session { "this game" } else { "all games" };
            refused(
                MAILBOX_FULL,
                Status::SERVICE_UNAVAILABLE,
                "",
                format!("as many commands wait for {what} as may"),
                "wait until the game has fetched some",
            )
        })?;
        let waiting = Waiting {
            number: self.mailbox.next_number(),
            session: target.id,
            command: command.clone(),
            taken: now,
        };
        // What stands in the log happened: so it is written first, and the rest cannot fail.
        if self.intake.store_fate(&waiting, Fate::Accepted, now).is_err() {
            return Err(refused(
                LOG_FULL,
                Status::SERVICE_UNAVAILABLE,
                "",
                "the log is full, because a reader does not read on".to_owned(),
                "send the command again later",
            ));
        }
        let pushed = self.mailbox.push(target.id, command, now);
        debug_assert!(pushed.is_ok(), "there was room");
        names::COMMANDS_QUEUED.add(self.intake.log.counters(), 0, 1);
        Ok((waiting, target))
    }

    /// The session a command is for: the one it names, or the only one there is.
    fn target(&self, named: Option<&str>, now: Now) -> Result<Target, Refused> {
        let sessions = &self.intake.sessions;
        if let Some(named) = named {
            let found = u64::from_str_radix(named, 16)
                .ok()
                .and_then(|id| sessions.by_id(id))
                .filter(|(_, session)| session.is_connected(now));
            return match found {
                Some((reference, session)) => Ok(Target { reference, id: session.id }),
                None => Err(Refused {
                    label: NO_SESSION,
                    status: Status::NOT_FOUND,
                    field: "session",
                    reason: "no such session is connected".to_owned(),
                    remedy: "name one of `sessions`, or none when only one game is connected"
                        .to_owned(),
                    sessions: Some(self.list_sessions(now)),
                }),
            };
        }
        let mut connected = sessions.connected(now).filter(|(_, session)| session.events > 0);
        match (connected.next(), connected.next()) {
            (Some((reference, session)), None) => Ok(Target { reference, id: session.id }),
            (None, _) => Err(Refused {
                label: NO_SESSION,
                status: Status::NOT_FOUND,
                field: "session",
                reason: "no game is connected".to_owned(),
                remedy: "start a game with the mod, and send the command again".to_owned(),
                sessions: Some(serde_json::json!([])),
            }),
            _ => Err(Refused {
                label: SEVERAL_SESSIONS,
                status: Status::CONFLICT,
                field: "session",
                reason: "several games are connected, and the command names none".to_owned(),
                remedy: "name one of `sessions`".to_owned(),
                sessions: Some(self.list_sessions(now)),
            }),
        }
    }

    fn list_sessions(&self, now: Now) -> serde_json::Value {
        let list = |(_, session): (SessionRef, &Session)| {
            let kind = match session.kind {
                Kind::Producer => "producer",
                Kind::WebSocket => "websocket",
                Kind::Http => "http",
            };
            serde_json::json!({
                "session": session_id(session.id),
                "game_id": session.game_id,
                "agent": session.agent,
                "kind": kind,
                "ambiguous": session.is_ambiguous,
            })
        };
        self.intake
            .sessions
            .connected(now)
            .filter(|(_, session)| session.events > 0)
            .take(limits::SESSIONS_LISTED_MAX)
            .map(list)
            .collect()
    }

    /// `GET /api/v1/commands/poll`: all that waits, a line each. Nothing before the second poll of a session.
    pub(super) fn poll(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let request = conn.machine.request();
        if request.method() == crate::http::Method::Head {
            // A look at the headers takes no command away.
            self.respond(id, &Response::text(b""), now);
            return;
        }
        let producer = request.query_value("producer").map(str::as_bytes);
        let session = self.intake.sessions.of_poll(conn.address, conn.session, producer, now);
        let mut lines = String::new();
        if let Some(session) = session.and_then(|known| self.intake.sessions.get(known))
            && session.polls >= limits::POLLS_BEFORE_COMMANDS
        {
            let session = session.id;
            while let Some(waiting) = self.hand_out(session, now) {
                if !lines.is_empty() {
                    lines.push('\n');
                }
                lines.push_str(&waiting.command.line);
                names::COMMANDS_DELIVERED.add(self.intake.log.counters(), 0, 1);
            }
        }
        self.respond(id, &Response::text(lines.as_bytes()), now);
    }

    /// Takes out the next command for a session, once the log says that it was delivered. While the log is full it
    /// stays where it is.
    fn hand_out(&mut self, session: u64, now: Now) -> Option<Waiting> {
        let waiting = self.mailbox.first_for(session)?;
        self.intake.store_fate(waiting, Fate::Delivered, now).ok()?;
        self.mailbox.take_first_for(session)
    }

    /// Sends what waits for a session that has a WebSocket; true when nothing is left.
    fn push_to_websocket(&mut self, target: &Target, now: Now) -> bool {
        let Some(connection) = self
            .intake
            .sessions
            .get(target.reference)
            .and_then(|session| session.connection)
            .map(ConnId::from_bits)
        else {
            return false;
        };
        while let Some(waiting) = self.mailbox.first_for(target.id) {
            let Some(conn) = self.conns.get_mut(connection) else { return false };
            if !conn.is_websocket {
                return false;
            }
            let text = serde_json::json!({
                "type": "COMMAND",
                "source": "jimbot-mcp",
                "command_id": command_id(waiting.number),
                "action": waiting.command.action,
                "params": waiting.command.params,
            })
            .to_string();
            // An event that says a command was delivered must not stand in the log when it was not, nor lack when it was.
            if conn.machine.output().len() + text.len() > limits::OUTPUT_BYTES_MAX / 2
                || self.intake.store_fate(waiting, Fate::Delivered, now).is_err()
            {
                return false;
            }
            conn.machine.send_text(&mut self.shared, &text, now.mono_ns);
            self.mailbox.take_first_for(target.id);
            names::COMMANDS_DELIVERED.add(self.intake.log.counters(), 1, 1);
            self.change(connection);
        }
        true
    }

    /// Gives up commands that have waited too long. While the log is full they wait on: their end must stand in it.
    pub(super) fn expire_commands(&mut self, now: Now) {
        while let Some(waiting) = self.mailbox.first_expired(now) {
            if self.intake.store_fate(waiting, Fate::Expired, now).is_err() {
                return;
            }
            names::COMMANDS_EXPIRED.add(self.intake.log.counters(), 0, 1);
            self.mailbox.take_first_expired(now);
        }
        self.set_mailbox_timer();
    }

    fn set_mailbox_timer(&mut self) {
        if self.mailbox_timer.is_none()
            && let Some(at) = self.mailbox.next_deadline()
        {
            self.mailbox_timer = Some(at);
            self.wheel.insert(at, Timer::Mailbox);
        }
    }
}

/// A session's id as people write it.
fn session_id(id: u64) -> String {
    format!("{id:016x}")
}
