//! The event loop: one thread, one mio poll, every socket of the service.
//!
//! The reactor moves bytes between sockets and the [`Service`], which holds all state and decides
//! everything; it alone performs I/O and reads the clock. A turn has one fixed order:
//!
//! 1. poll: sleep until a socket is ready or the next deadline
//! 2. accept what waits, up to the cap
//! 3. by groups of sockets: read what is ready, hand it to the service, send the answers (before the
//!    wake of readers; what is of high priority, and what came alone, is committed and its readers
//!    woken before)
//! 4. resume suspended bodies, within the turn's budget
//! 5. timers
//! 6. send what 4 and 5 have queued
//! 7. commit what is due: at once when the poll found nothing, else by count, bytes or window
//!
//! Readiness is edge-triggered. Two rules keep an edge from being lost: a socket that was not read
//! dry stays on the `ready` list, and whatever has output is flushed in the same turn, or when the
//! kernel reports room.

mod alarm;
mod clock;
mod listener;
mod signals;
mod stream;
mod supervisor;

use std::io::{self, Read, Write};
use std::time::Duration;

use jimbot_core::conn::Peer;
use jimbot_core::log::EventLog;
use jimbot_core::service::{ConnId, Service};
use jimbot_core::time::Now;
use mio::event::Event;
use mio::{Events, Poll, Token};

pub use clock::now;
pub use listener::Listener;

use alarm::Alarm;
use signals::Signals;
use stream::Stream;
use supervisor::Supervisor;

const ALARM: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
/// Listeners count down from here.
const FIRST_LISTENER: usize = usize::MAX - 2;

/// Readiness events taken from the kernel a turn.
const EVENTS_PER_POLL: usize = 1024;
/// Connections accepted a turn, so that a flood of them does not delay those that are in.
const ACCEPTS_PER_TURN: usize = 64;
/// Sockets of which each is read before the first one's request is looked at.
const GROUP_SOCKETS: usize = 16;
/// Bytes read from which on a group is complete: what lies in the caches.
const GROUP_BYTES: usize = 8 * 1024;
/// How long accepting rests when the process has no descriptor or memory left for a connection.
const ACCEPT_REST_NS: u64 = 50_000_000;
/// A deadline nearer than this is kept by the alarm: `epoll_wait` counts whole milliseconds.
const ALARM_BELOW_NS: u64 = 2_000_000;

/// How the loop is run.
#[derive(Clone, Copy, Debug)]
pub struct ReactorOptions {
    /// Never sleep: poll again at once. Halves the latency for a whole core.
    pub busy_poll: bool,
    /// The most an orderly end may take, nanoseconds.
    pub drain_deadline_ns: u64,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything received was stored and answered.
    Drained,
    /// The deadline or a second signal cut the drain short. All that was stored is committed.
    CutShort,
}

struct Socket {
    stream: Stream,
    id: ConnId,
    /// The kernel may hold bytes for us: set by an edge, cleared by reading dry.
    readable: bool,
    /// The kernel takes bytes: cleared by `WouldBlock`, set by an edge.
    writable: bool,
    /// The peer has ended its direction: no more edges come, so only a read of nothing ends it.
    ended: bool,
    /// Our direction was ended.
    shut_down: bool,
    /// Stands on the ready list.
    listed: bool,
    /// What it sent last, alone, was an event, so the next is likely one too.
    brings_events: bool,
}

/// The loop and its sockets.
pub struct Reactor<L: EventLog> {
    poll: Poll,
    alarm: Alarm,
    signals: Signals,
    supervisor: Supervisor,
    options: ReactorOptions,
    listeners: Vec<Listener>,
    /// Listeners that may have connections waiting.
    accept_ready: Vec<bool>,
    accept_rests_until: Option<u64>,
    /// By the slot of their `ConnId`.
    sockets: Vec<Option<Socket>>,
    ready: Vec<ConnId>,
    /// The list that is filled while the other is read.
    spare: Vec<ConnId>,
    changed: Vec<ConnId>,
    /// What came from sockets whose turn to be handed over is next; empty between turns.
    group: Vec<(ConnId, io::Result<usize>)>,
    service: Service<L>,
    drain_until: Option<u64>,
}

impl<L: EventLog> Reactor<L> {
    /// Takes bound listeners and the service, and registers what wakes the loop.
    ///
    /// # Errors
    /// When the kernel gives no poll, timer or signal descriptor.
    pub fn new(
        listeners: Vec<Listener>,
        service: Service<L>,
        options: ReactorOptions,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        let alarm = Alarm::new(registry, ALARM)?;
        let signals = Signals::new(registry, SIGNALS)?;
        let mut listeners = listeners;
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(registry, Token(FIRST_LISTENER - index))?;
        }
        Ok(Self {
            alarm,
            signals,
            supervisor: Supervisor::from_environment(now().mono_ns),
            options,
            accept_ready: vec![true; listeners.len()],
            accept_rests_until: None,
            listeners,
            sockets: Vec::new(),
            ready: Vec::new(),
            spare: Vec::new(),
            changed: Vec::new(),
            group: Vec::with_capacity(GROUP_SOCKETS),
            service,
            drain_until: None,
            poll,
        })
    }

    /// Runs until a signal has ended it in order.
    ///
    /// # Errors
    /// Only what the poll itself can't recover from.
    pub fn run(
        &mut self,
        status: &str,
        mut notice: impl FnMut(Now, &mut Service<L>),
    ) -> io::Result<Ended> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        self.supervisor.ready(status);
        let mut next_beat = self.supervisor.beat(now().mono_ns);
        loop {
            let timeout = self.sleep_time(next_beat)?;
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let now = now();
            // A poll that did not even have to wait for sockets we know to be ready says nothing
            // about quiet.
            let quiet = events.is_empty() && self.ready.is_empty() && !self.service.has_work();
            next_beat = self.supervisor.beat(now.mono_ns);
            for event in &events {
                match event.token() {
                    ALARM => self.alarm.rang(),
                    SIGNALS => {
                        if self.on_signal(now) {
                            return Ok(self.end(now, Ended::CutShort));
                        }
                    }
                    Token(token) if token > FIRST_LISTENER - self.listeners.len() => {
                        self.accept_ready[FIRST_LISTENER - token] = true;
                    }
                    Token(token) => self.on_edge(ConnId::from_bits(token as u64), event),
                }
            }
            self.accept(now);
            self.read(now);
            self.service.work(clock::now);
            self.service.on_time(now);
            self.flush(now);
            if quiet {
                self.service.idle(now);
            } else {
                self.service.commit_due(now);
            }
            notice(now, &mut self.service);
            if let Some(deadline) = self.drain_until {
                if self.service.drained() && self.sockets.iter().all(Option::is_none) {
                    return Ok(self.end(now, Ended::Drained));
                }
                if now.mono_ns >= deadline {
                    return Ok(self.end(now, Ended::CutShort));
                }
            }
        }
    }
    /// How long the poll may sleep: not at all while work is left or a batch is open that only
    /// waits for a quiet poll, else until the next deadline.
    fn sleep_time(&mut self, next_beat: Option<u64>) -> io::Result<Option<Duration>> {
        if self.options.busy_poll
            || !self.ready.is_empty()
            || self.service.has_work()
            || self.service.commits_when_idle()
        {
            return Ok(Some(Duration::ZERO));
        }
        let now = now();
        if self.may_accept(now) {
            return Ok(Some(Duration::ZERO));
        }
        let deadline = [
            self.service.next_deadline(),
            next_beat,
            self.accept_rests_until.filter(|_| self.accept_ready.contains(&true)),
            self.drain_until,
        ];
        let Some(deadline) = deadline.into_iter().flatten().min() else { return Ok(None) };
        let left_ns = deadline.saturating_sub(now.mono_ns);
        if left_ns == 0 {
            return Ok(Some(Duration::ZERO));
        }
        if left_ns < ALARM_BELOW_NS {
            self.alarm.arm(deadline)?;
            return Ok(None);
        }
        Ok(Some(Duration::from_nanos(left_ns)))
    }

    /// True when a signal asks to end at once.
    fn on_signal(&mut self, now: Now) -> bool {
        let mut count = self.signals.take();
        if count > 0 && self.drain_until.is_none() {
            count -= 1;
            log::info!("draining: no new connections, what was received is stored and answered");
            self.supervisor.stopping();
            // Closing the listeners also resets what still waits in their backlog: nothing of it
            // was read, so nothing of it was acknowledged.
            self.listeners.clear();
            self.accept_ready.clear();
            // What games have sent until now is stored and answered, so read it all first.
            for socket in self.sockets.iter_mut().flatten() {
                list(&mut self.ready, socket);
            }
            self.read(now);
            self.drain_until = Some(now.mono_ns.saturating_add(self.options.drain_deadline_ns));
            self.service.begin_drain(now);
        }
        count > 0
    }

    fn on_edge(&mut self, id: ConnId, event: &Event) {
        // An event for a slot that was given up or reused names another generation.
        let Some(Some(socket)) = self.sockets.get_mut(id.slot()) else { return };
        if socket.id != id {
            return;
        }
        socket.ended |= event.is_read_closed() || event.is_error();
        if event.is_readable() || socket.ended {
            socket.readable = true;
            list(&mut self.ready, socket);
        }
        if (event.is_writable() || event.is_error()) && !socket.writable {
            socket.writable = true;
            self.changed.push(id);
        }
    }

    fn may_accept(&self, now: Now) -> bool {
        self.accept_ready.contains(&true)
            && self.service.accepting()
            && self.accept_rests_until.is_none_or(|until| now.mono_ns >= until)
    }

    fn accept(&mut self, now: Now) {
        if !self.may_accept(now) {
            return;
        }
        self.accept_rests_until = None;
        let mut budget = ACCEPTS_PER_TURN;
        for index in 0..self.listeners.len() {
            while self.accept_ready[index] && budget > 0 && self.service.accepting() {
                budget -= 1;
                match self.listeners[index].accept() {
                    Ok((stream, address)) => self.admit(stream, address, now),
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => self.accept_ready[index] = false,
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                        _ => {
                            // Out of descriptors or memory. The connection stays in the backlog;
                            // trying again at once would spin.
                            self.service.accept_failed(now);
                            self.accept_rests_until = Some(now.mono_ns + ACCEPT_REST_NS);
                            return;
                        }
                    },
                }
            }
        }
    }

    fn admit(&mut self, mut stream: Stream, address: Option<std::net::SocketAddr>, now: Now) {
        let peer = address.map_or(Peer::Local, |address| Peer::Address(address.ip()));
        let Ok(id) = self.service.accept(peer, now) else { return };
        if let Err(error) = stream.register(self.poll.registry(), Token(id.to_bits() as usize)) {
            log::warn!("a connection could not be registered with the poll: {error}");
            self.service.peer_reset(id, now);
            self.service.release(id, now);
            return;
        }
        if self.sockets.len() <= id.slot() {
            self.sockets.resize_with(id.slot() + 1, || None);
        }
        // Most clients have sent their request by the time they are accepted, so read at once
        // instead of waiting for the edge.
        let socket = Socket {
            stream,
            id,
            readable: true,
            writable: true,
            ended: false,
            shut_down: false,
            listed: true,
            brings_events: false,
        };
        self.sockets[id.slot()] = Some(socket);
        self.ready.push(id);
    }

    /// One read for each ready socket: whoever has more comes again next turn. Sockets are taken in groups, and each
    /// group's reads, requests and answers one after the other, so that the kernel's code and ours do not push each
    /// other out of the processor's caches with every request.
    fn read(&mut self, now: Now) {
        let mut reading = std::mem::replace(&mut self.ready, std::mem::take(&mut self.spare));
        if let [id] = reading[..] {
            self.read_lone(id, now);
        } else {
            let mut group = std::mem::take(&mut self.group);
            let mut bytes = 0;
            for &id in &reading {
                let Some(came) = self.receive(id, now) else { continue };
                bytes += came.as_ref().map_or(0, |&length| length);
                group.push((id, came));
                if group.len() == GROUP_SOCKETS || bytes >= GROUP_BYTES {
                    self.take_group(&mut group, now);
                    bytes = 0;
                }
            }
            self.take_group(&mut group, now);
            self.group = group;
        }
        reading.clear();
        self.spare = reading;
    }

    /// Hands over what came of a group, then answers it.
    fn take_group(&mut self, group: &mut Vec<(ConnId, io::Result<usize>)>, now: Now) {
        for (id, came) in group.drain(..) {
            self.hand_over(id, came, now);
        }
        self.flush(now);
    }

    /// Nobody else has anything: readers are woken before the sender is answered, which spares the poll that would find
    /// nothing; the sender waits for their wake-up.
    fn read_lone(&mut self, id: ConnId, now: Now) {
        let next = self.service.next_sequence();
        if self.brings_events(id) {
            // Readers come to themselves while their event is read and converted: after a sleep both take some 20 µs.
            self.service.alert(now);
        }
        let Some(came) = self.receive(id, now) else { return };
        self.hand_over(id, came, now);
        if !self.has_more(id) && !self.service.has_work() {
            self.service.idle(now);
        }
        if let Some(Some(socket)) = self.sockets.get_mut(id.slot()) {
            socket.brings_events = self.service.next_sequence() != next;
        }
        self.flush(now);
    }

    fn brings_events(&self, id: ConnId) -> bool {
        matches!(self.sockets.get(id.slot()), Some(Some(socket)) if socket.brings_events && socket.id == id)
    }

    /// Whether the kernel may hold more bytes of this connection.
    fn has_more(&self, id: ConnId) -> bool {
        matches!(self.sockets.get(id.slot()), Some(Some(socket)) if socket.readable)
    }

    /// Reads once into the service's memory; `None` when there is nobody to read for, or nothing may be read now. What
    /// came has to be handed over.
    fn receive(&mut self, id: ConnId, now: Now) -> Option<io::Result<usize>> {
        let Some(Some(socket)) = self.sockets.get_mut(id.slot()) else { return None };
        if socket.id != id {
            return None;
        }
        socket.listed = false;
        let space = self.service.read_space(id, now);
        if space.is_empty() {
            // Paused by the service; `flush` lists it again when it wants to read, also when that is at once.
            self.changed.push(id);
            return None;
        }
        let room = space.len();
        let came = loop {
            match socket.stream.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                came => break came,
            }
        };
        // A short read has emptied the socket; what comes later makes a new edge.
        socket.readable =
            matches!(came, Ok(length) if length > 0 && (length == room || socket.ended));
        Some(came)
    }

    fn hand_over(&mut self, id: ConnId, came: io::Result<usize>, now: Now) {
        match came {
            Ok(0) => self.service.peer_closed(id, now),
            Ok(length) => self.service.filled(id, length, now),
            // Its buffer is given back by `flush`: who connects and says nothing holds none.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.changed.push(id),
            Err(_) => self.service.peer_reset(id, now),
        }
    }

    /// Writes what the service has queued, and does what its connections want next.
    fn flush(&mut self, now: Now) {
        self.service.take_changed(&mut self.changed);
        while let Some(id) = self.changed.pop() {
            self.attend(id, now);
        }
    }

    fn attend(&mut self, id: ConnId, now: Now) {
        let Some(Some(socket)) = self.sockets.get_mut(id.slot()) else { return };
        if socket.id != id {
            return;
        }
        while socket.writable {
            let output = self.service.output(id);
            if output.is_empty() {
                break;
            }
            match socket.stream.write(output) {
                Ok(written) => self.service.output_sent(id, written, now),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => socket.writable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        self.service.peer_reset(id, now);
                        break;
                    }
                },
            }
        }
        let wants = self.service.wants(id);
        if wants.close {
            self.sockets[id.slot()] = None;
            self.service.release(id, now);
            return;
        }
        if wants.shut_down && !socket.shut_down {
            socket.shut_down = true;
            socket.stream.shutdown_write();
        }
        if wants.read && socket.readable {
            list(&mut self.ready, socket);
        }
    }

    fn end(&mut self, now: Now, ended: Ended) -> Ended {
        self.service.commit_all(now);
        ended
    }
}

/// Puts a socket on the ready list once.
fn list(ready: &mut Vec<ConnId>, socket: &mut Socket) {
    if !socket.listed {
        socket.listed = true;
        ready.push(socket.id);
    }
}
