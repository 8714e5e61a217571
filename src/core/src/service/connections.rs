//! Connections in the service: admission, driving each one's machine, its timer, its end.

use crate::conn::{Connection, Incoming, Peer, Shared, Wants};
use crate::http::{Refusal, Status};
use crate::limits;
use crate::log::EventLog;
use crate::metrics::names;
use crate::service::budget::Budget;
use crate::service::intake::Task;
use crate::service::slots::ConnId;
use crate::service::{Notice, Service, Timer};
use crate::session::SessionRef;
use crate::time::Now;
use crate::wheel::{TimerKey, Wheel};

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaccepted {
    /// As many are open as may be.
    Limit,
    /// The service shuts down.
    Draining,
}

/// One connection and what the service keeps of it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) machine: Connection,
    /// The session its events go to.
    pub(super) session: Option<SessionRef>,
    /// Hash of the peer's address.
    pub(super) address: u64,
    /// Requests that were read.
    pub(super) requests: u64,
    /// Whether it was upgraded.
    pub(super) is_websocket: bool,
    /// The User-Agent of the upgrade; requests bring theirs along.
    pub(super) agent: String,
    /// Whether its messages get the mod's treatment, as that User-Agent tells.
    pub(super) is_lenient: bool,
    /// The body in hand, while it waits to be read on.
    pub(super) task: Option<Task>,
    /// When its body began to wait for room in a full log.
    pub(super) held_since: Option<u64>,
    /// Whether its WebSocket was closed because the log stayed full: what still comes would stand before what was
    /// turned away, so it is dropped, and never acknowledged.
    pub(super) is_turned_away: bool,
    timer: Option<(TimerKey, u64)>,
    is_changed: bool,
    is_ready: bool,
    is_starved: bool,
}

impl Conn {
    /// Sees to it that a timer fires no later than the connection's next deadline. Deadlines move on with almost every
    /// call, so a timer that is early is left alone and set anew when it fires.
    fn rearm(&mut self, id: ConnId, wheel: &mut Wheel<Timer>, shared: &Shared) {
        let Some((_, at)) = self.machine.deadline(shared) else { return };
        if let Some((key, armed)) = self.timer {
            if armed <= at {
                return;
            }
            wheel.cancel(key);
        }
        self.timer = Some((wheel.insert(at, Timer::Connection(id)), at));
    }
}

/// Whether a connection has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// It waits for its peer.
    Idle,
    /// Its body goes on when others have had their turn.
    Suspended,
    /// Its body goes on when the log has room.
    Held,
}

impl<L: EventLog> Service<L> {
    /// Takes a connection.
    ///
    /// # Errors
    /// [`Unaccepted`]
    pub fn accept(&mut self, peer: Peer, now: Now) -> Result<ConnId, Unaccepted> {
        let cells = self.intake.log.counters();
        if self.is_draining {
            names::CONNECTIONS_REFUSED.add(cells, 1, 1);
            return Err(Unaccepted::Draining);
        }
        if self.conns.len() >= self.config.max_connections {
            names::CONNECTIONS_REFUSED.add(cells, 0, 1);
            return Err(Unaccepted::Limit);
        }
        names::CONNECTIONS_ACCEPTED.add(cells, 0, 1);
        let address = match peer {
            Peer::Address(std::net::IpAddr::V4(address)) => {
                self.intake.sessions.hash(&[b"ip", &address.octets()])
            }
            Peer::Address(std::net::IpAddr::V6(address)) => {
                self.intake.sessions.hash(&[b"ip", &address.octets()])
            }
            Peer::Local => self.intake.sessions.hash(&[b"local"]),
        };
        let machine = Connection::new(peer, &self.shared.config, now.mono_ns);
        let id = self.conns.insert(Conn {
            machine,
            session: None,
            address,
            requests: 0,
            is_websocket: false,
            agent: String::new(),
            is_lenient: false,
            task: None,
            held_since: None,
            is_turned_away: false,
            timer: None,
            is_changed: false,
            is_ready: false,
            is_starved: false,
        });
        if self.conns.len() >= self.config.max_connections {
            self.saturation.start(now);
            let limit = self.config.max_connections;
            self.intake.notice(Notice::ConnectionLimit { limit });
        }
        self.rearm(id);
        Ok(id)
    }

    /// Whether further connections are taken. After the limit was reached, not before some places are free.
    #[must_use]
    pub fn accepting(&self) -> bool {
        !self.is_draining && !self.saturation.is_running()
    }

    /// The system had no descriptor or memory for a connection that waits.
    pub fn accept_failed(&mut self, _now: Now) {
        names::CONNECTIONS_REFUSED.add(self.intake.log.counters(), 2, 1);
    }

    /// Where to read a connection's bytes into; empty when nothing may be read from it now.
    pub fn read_space(&mut self, id: ConnId, now: Now) -> &mut [u8] {
        match self.conns.get_mut(id) {
            Some(conn) => conn.machine.read_space(&mut self.shared, now.mono_ns),
            None => &mut [],
        }
    }

    /// `length` bytes were read into the space. What they complete is done at once, as far as the turn's allowance
    /// goes; the rest in [`Service::work`].
    pub fn filled(&mut self, id: ConnId, length: usize, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.machine.filled(length, now.mono_ns);
        self.drive_directly(id, now);
    }

    /// The peer sends nothing any more.
    pub fn peer_closed(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.machine.peer_closed();
        self.drive_directly(id, now);
    }

    /// The peer has reset the connection, or its socket failed.
    pub fn peer_reset(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.machine.peer_reset();
        self.drive_directly(id, now);
    }

    /// Bytes to send.
    #[must_use]
    pub fn output(&self, id: ConnId) -> &[u8] {
        self.conns.get(id).map_or(&[], |conn| conn.machine.output())
    }

    /// The first `length` bytes of the output were sent.
    pub fn output_sent(&mut self, id: ConnId, length: usize, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let was_high = conn.machine.output().len() >= self.shared.config.output_high_bytes;
        conn.machine.output_sent(length, now.mono_ns);
        if was_high {
            // Requests that were read already waited for their answers to be taken.
            self.drive_directly(id, now);
        }
    }

    /// What a connection wants of the shell. Ask once a turn for each one that changed, after its output was sent as far
    /// as it goes: what it does not need while it waits is given back here, and its timer is set.
    pub fn wants(&mut self, id: ConnId) -> Wants {
        let Some(conn) = self.conns.get_mut(id) else { return Wants::default() };
        conn.rearm(id, &mut self.wheel, &self.shared);
        conn.machine.settle(&mut self.shared);
        let mut wants = conn.machine.wants();
        if wants.memory {
            let needs = conn.machine.memory_needed();
            if self.shared.pool.available() >= needs {
                wants.read = true;
            } else {
                self.starved_least = self.starved_least.min(needs);
                if !conn.is_starved {
                    conn.is_starved = true;
                    self.starved.push(id);
                }
            }
        }
        wants
    }

    /// The shell has closed the socket: nothing is left of the connection.
    pub fn release(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.remove(id) else { return };
        if let Some((key, _)) = conn.timer {
            self.wheel.cancel(key);
        }
        if let Some(session) = conn.session {
            self.intake.sessions.connection_closed(session, id.to_bits());
        }
        self.websockets -= usize::from(conn.is_websocket);
        conn.machine.release(&mut self.shared);
        let low = self.config.max_connections.saturating_sub(limits::CONNECTIONS_HYSTERESIS);
        if self.saturation.is_running() && self.conns.len() <= low {
            self.saturation.stop(self.intake.log.counters(), now);
        }
    }

    /// Adds the connections that may have output or wants to what the shell looks at.
    pub fn take_changed(&mut self, to: &mut Vec<ConnId>) {
        for &id in &self.changed {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_changed = false;
            }
        }
        to.append(&mut self.changed);
    }

    /// Whether there is memory for one of the connections whose reading waits for some.
    pub(super) fn can_feed(&self) -> bool {
        !self.starved.is_empty() && self.shared.pool.available() >= self.starved_least
    }

    /// Looks again at connections whose reading waited for memory, when there is some.
    pub(super) fn feed_starved(&mut self) {
        if !self.can_feed() {
            return;
        }
        self.starved_least = usize::MAX;
        for id in std::mem::take(&mut self.starved) {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_starved = false;
                self.change(id);
            }
        }
    }

    /// Drives a connection within what is left of the turn's direct allowance.
    pub(super) fn drive_directly(&mut self, id: ConnId, now: Now) {
        let mut budget = Budget::of_bytes(self.direct_bytes.min(limits::DIRECT_BODY_BYTES));
        let before = budget.left();
        self.drive(id, &mut budget, now);
        self.direct_bytes -= before - budget.left();
    }

    /// Lets a connection do what it can, and puts it where it waits.
    pub(super) fn drive(&mut self, id: ConnId, budget: &mut Budget<'_>, now: Now) {
        match self.run(id, budget, now) {
            Driven::Idle => {}
            Driven::Suspended => self.make_ready(id),
            Driven::Held => self.hold(id, now),
        }
        self.change(id);
    }

    fn run(&mut self, id: ConnId, budget: &mut Budget<'_>, now: Now) -> Driven {
        loop {
            let Some(conn) = self.conns.get_mut(id) else { return Driven::Idle };
            let stopped = if conn.task.is_some() {
                self.read_on(id, budget, now)
            } else {
                match conn.machine.next(&mut self.shared, now.mono_ns) {
                    None => return Driven::Idle,
                    Some(Incoming::Request) => {
                        conn.requests += 1;
                        self.request(id, budget, now)
                    }
                    Some(Incoming::Upgrade) => {
                        self.upgrade(id, now);
                        None
                    }
                    Some(Incoming::Message { .. }) if conn.is_turned_away => {
                        conn.machine.done(now.mono_ns);
                        None
                    }
                    Some(Incoming::Message { binary }) => self.message(id, binary, budget, now),
                }
            };
            if let Some(stopped) = stopped {
                return stopped;
            }
        }
    }

    fn upgrade(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        names::HTTP_REQUESTS.add(self.intake.log.counters(), names::endpoint::WEBSOCKET, 1);
        if self.is_draining {
            const REFUSAL: Refusal<'static> = Refusal::new(
                Status::SERVICE_UNAVAILABLE,
                "Upgrade",
                "the service shuts down",
                "connect again in a moment",
            )
            .with_headers(&[("Retry-After", "1")]);
            conn.machine.refuse(&mut self.shared, &REFUSAL, now.mono_ns);
            self.count_response(Status::SERVICE_UNAVAILABLE);
            return;
        }
        conn.agent = conn.machine.request().user_agent().chars().take(128).collect();
        conn.machine.upgrade(&mut self.shared, now.mono_ns);
        conn.is_websocket = true;
        conn.is_lenient = self.shared.config.is_lenient(&conn.agent);
        // What it said over HTTP was another session.
        conn.session = None;
        self.websockets += 1;
        names::HTTP_RESPONSES.add(self.intake.log.counters(), 0, 1);
    }

    /// Puts a connection at the end of those that go on in [`Service::work`].
    pub(super) fn make_ready(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !conn.is_ready {
            conn.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Takes the first connection that is ready to go on.
    pub(super) fn next_ready(&mut self) -> Option<ConnId> {
        loop {
            let id = self.ready.pop_front()?;
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_ready = false;
                return Some(id);
            }
        }
    }

    /// Tells the shell to look at a connection.
    pub(super) fn change(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !conn.is_changed {
            conn.is_changed = true;
            self.changed.push(id);
        }
    }

    /// Sets a connection's timer.
    fn rearm(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.rearm(id, &mut self.wheel, &self.shared);
        }
    }

    /// A connection's timer fired.
    pub(super) fn connection_timer(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.timer = None;
        match conn.machine.deadline(&self.shared) {
            Some((timer, at)) if at <= now.mono_ns => {
                conn.machine.on_timer(timer, &mut self.shared, now.mono_ns);
                self.drive_directly(id, now);
            }
            _ => self.rearm(id),
        }
    }
}
