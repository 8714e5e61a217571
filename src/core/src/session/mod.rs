//! Sessions: who is speaking.
//!
//! A session is one run of one game process. The mod in the field says nothing about itself, and some of its HTTP
//! libraries open a connection for each request, so a session is told by, in this order: the `producer` id in its
//! events; its WebSocket; its kept-alive connection; its address and User-Agent. A new one begins with a connection
//! test, or when the newest clock of a batch lies more than 120 s behind the session's: a game that was started anew
//! counts from near 0.
//!
//! The id of a session is the keyed hash of what its sender is known by (48 bits) and a count (16 bits), so that the
//! sender of a session found in the log after a restart is recognised when it speaks again.
//!
//! Two games behind one address and User-Agent cannot be told apart. Game ids that alternate, or clocks that jump back
//! again and again, show it: the session is then *ambiguous*, its events say so, and clocks no longer split it.

mod addresses;
mod hashed;
mod record;

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::log::{IndexEntry, flags};
use crate::time::Now;
use crate::{limits, lru::Lru, session::addresses::Addresses, session::hashed::HashedMap};

pub use record::{Cause, Clock, Kind, Session};

/// Who sends a body, as far as the connection tells.
#[derive(Clone, Copy, Debug)]
pub struct Speaker {
    /// Number of the connection, never used twice in one run of the service.
    pub connection: u64,
    /// Whether it is a WebSocket.
    pub is_websocket: bool,
    /// [`Sessions::hash`] of the peer's address, without the port.
    pub address: u64,
    /// [`Sessions::hash`] of the User-Agent.
    pub agent: u64,
    /// Requests that the connection has brought before this one.
    pub requests_before: u64,
}

/// What an event says about its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Its time on the clock that orders its session.
    pub clock: Option<Clock>,
    /// The game id in it.
    pub game_id: Option<&'a [u8]>,
}

/// Where an event belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The session's id.
    pub session: u64,
    /// The game's key.
    pub game_key: u64,
    /// [`flags::OUT_OF_ORDER`] and [`flags::SESSION_AMBIGUOUS`].
    pub flags: u16,
    /// Whether the game id is new in this session: somebody may want to say that a game connected.
    pub is_new_game: bool,
    /// Whether this event showed that the session is ambiguous.
    pub became_ambiguous: bool,
}

/// Names a session while it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRef {
    place: u32,
    generation: u32,
}

#[derive(Debug, Default)]
struct Sender {
    count: u16,
    /// Places of its sessions, newest last.
    places: Vec<u32>,
    /// When clocks last jumped back, and how often in a row.
    jumps: u32,
    first_jump_mono_ns: u64,
}

/// The sessions that are remembered.
#[derive(Debug)]
pub struct Sessions {
    key: [u8; 16],
    /// Distinguishes this run's connections from those of earlier runs of the service.
    run: u64,
    max: usize,
    sessions: Vec<Session>,
    lru: Lru,
    senders: HashedMap<Sender>,
    addresses: Addresses,
    forgotten: u64,
}

impl Sessions {
    /// No sessions yet; hashes under the log's key, `run` a number that differs with each start of the service.
    #[must_use]
    pub fn new(key: [u8; 16], run: u64, max: usize) -> Sessions {
        Sessions {
            key,
            run,
            max,
            sessions: Vec::new(),
            lru: Lru::new(),
            senders: HashedMap::default(),
            addresses: Addresses::default(),
            forgotten: 0,
        }
    }

    /// Keyed hash of anything a sender is known by.
    #[must_use]
    pub fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        for part in parts {
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }
        hasher.finish()
    }

    /// The session that a body's events go to, as far as the connection tells; `bound` is what the connection had
    /// before. Begins one when the sender is not known.
    pub fn of_speaker(
        &mut self,
        speaker: &Speaker,
        bound: Option<SessionRef>,
        now: Now,
    ) -> (SessionRef, Option<Cause>) {
        if let Some(known) = bound.filter(|&bound| self.get(bound).is_some_and(|s| !s.is_over)) {
            let session = &mut self.sessions[known.place as usize];
            let is_own = session.connection == Some(speaker.connection);
            // Games that start at the same moment share a session until their connections prove to be kept: then the
            // first to prove it keeps the session, and the others get their own.
            if is_own || speaker.requests_before == 0 || !session.is_connection_kept {
                if speaker.requests_before > 0 {
                    session.connection = Some(speaker.connection);
                    session.is_connection_kept = true;
                }
                self.hear(known, Some(speaker.address), now);
                return (known, None);
            }
        }
        let sender = self.sender_of(speaker);
        let kind = if speaker.is_websocket { Kind::WebSocket } else { Kind::Http };
        let places = self.senders.get(&sender).map_or(&[][..], |sender| &sender.places);
        // A connection that is kept alive has its session to itself; any other may be this very sender's last one.
        let free = places.iter().rev().copied().find(|&place| {
            let session = &self.sessions[place as usize];
            let is_anothers = session.is_connection_kept
                && session.connection.is_some_and(|connection| connection != speaker.connection);
            !session.is_over && !is_anothers
        });
        let (known, cause) = match free {
            Some(place) => (self.reference(place), None),
            None => (self.begin(sender, kind, now), Some(Cause::FirstEvent)),
        };
        self.sessions[known.place as usize].connection = Some(speaker.connection);
        self.sessions[known.place as usize].is_connection_kept =
            speaker.is_websocket || speaker.requests_before > 0;
        self.hear(known, Some(speaker.address), now);
        (known, cause)
    }

    /// The session of the producer with this id.
    pub fn of_producer(
        &mut self,
        producer: &[u8],
        speaker: &Speaker,
        now: Now,
    ) -> (SessionRef, Option<Cause>) {
        let sender = self.hash(&[b"producer", producer]) >> 16;
        let newest = self.senders.get(&sender).and_then(|sender| sender.places.last().copied());
        let (known, cause) = match newest {
            Some(place) => (self.reference(place), None),
            None => {
                let fresh = self.begin(sender, Kind::Producer, now);
                shown(&mut self.sessions[fresh.place as usize].agent, producer);
                (fresh, Some(Cause::FirstEvent))
            }
        };
        self.sessions[known.place as usize].connection = Some(speaker.connection);
        self.hear(known, Some(speaker.address), now);
        (known, cause)
    }

    /// The session that polls for commands through this connection, if its sender is known: the connection's own, else
    /// the one that was last heard of at its address.
    pub fn of_poll(
        &mut self,
        address: u64,
        bound: Option<SessionRef>,
        producer: Option<&[u8]>,
        now: Now,
    ) -> Option<SessionRef> {
        let place = match producer {
            Some(producer) => {
                let sender = self.hash(&[b"producer", producer]) >> 16;
                self.senders.get(&sender).and_then(|sender| sender.places.last().copied())?
            }
            None => match bound.filter(|&bound| self.get(bound).is_some_and(|s| !s.is_over)) {
                Some(bound) => bound.place,
                None => self.addresses.newest(address)?,
            },
        };
        let known = self.reference(place);
        self.sessions[place as usize].polls += 1;
        self.hear(known, None, now);
        Some(known)
    }

    /// A session, while it is remembered.
    #[must_use]
    pub fn get(&self, reference: SessionRef) -> Option<&Session> {
        self.sessions
            .get(reference.place as usize)
            .filter(|session| session.generation == reference.generation)
    }

    /// The session with this id, while it is remembered.
    #[must_use]
    pub fn by_id(&self, id: u64) -> Option<(SessionRef, &Session)> {
        let sender = self.senders.get(&(id >> 16))?;
        let place = sender.places.iter().copied().find(|&p| self.sessions[p as usize].id == id)?;
        Some((self.reference(place), &self.sessions[place as usize]))
    }

    /// The sessions that can be reached now.
    pub fn connected(&self, now: Now) -> impl Iterator<Item = (SessionRef, &Session)> {
        self.sessions
            .iter()
            .enumerate()
            .filter(move |(_, session)| session.is_connected(now))
            .map(|(place, session)| (self.reference(place as u32), session))
    }

    /// Notes what a session's sender calls itself.
    pub fn name_agent(&mut self, reference: SessionRef, agent: &[u8]) {
        if let Some(session) = self.get_mut(reference)
            && session.agent.is_empty()
        {
            shown(&mut session.agent, agent);
        }
    }

    /// Notes the name and version that a session's heartbeat tells.
    pub fn name_version(&mut self, reference: SessionRef, name: &[u8]) {
        if let Some(session) = self.get_mut(reference) {
            session.has_version = true;
            session.agent.clear();
            shown(&mut session.agent, name);
        }
    }

    /// A connection test came: a new session of the same sender, unless this very test was sent before.
    pub fn connection_test(
        &mut self,
        reference: SessionRef,
        time: f64,
        now: Now,
    ) -> (SessionRef, Option<Cause>) {
        let Some(session) = self.get(reference) else { return (reference, None) };
        let is_again = session.test_time_bits == Some(time.to_bits());
        let is_fresh = session.events == 0 && session.test_time_bits.is_none();
        let (known, cause) = if is_again || is_fresh {
            (reference, None)
        } else {
            (self.succeed(reference, now), Some(Cause::ConnectionTest))
        };
        self.sessions[known.place as usize].test_time_bits = Some(time.to_bits());
        (known, cause)
    }

    /// Whether an event's clock raises the question if its game was started anew; the newest clock of its batch decides.
    #[must_use]
    pub fn is_far_behind(&self, reference: SessionRef, clock: Clock) -> bool {
        self.get(reference)
            .is_some_and(|session| !session.is_ambiguous && session.is_far_behind(clock))
    }

    /// The newest clock of a batch lies far behind: a new session of the same sender. When that happens again and again
    /// there are two games, and the session becomes ambiguous instead; the last value says that it just did.
    pub fn clock_began_anew(
        &mut self,
        reference: SessionRef,
        now: Now,
    ) -> (SessionRef, Option<Cause>, bool) {
        let Some(session) = self.get(reference) else { return (reference, None, false) };
        let sender = self.senders.entry(session.id >> 16).or_default();
        if sender.jumps == 0
            || now.mono_ns.saturating_sub(sender.first_jump_mono_ns)
                > limits::SESSION_ALTERNATION_NS
        {
            sender.jumps = 0;
            sender.first_jump_mono_ns = now.mono_ns;
        }
        sender.jumps += 1;
        if sender.jumps >= limits::SESSION_ALTERNATIONS {
            self.sessions[reference.place as usize].is_ambiguous = true;
            return (reference, None, true);
        }
        (self.succeed(reference, now), Some(Cause::Clock), false)
    }

    /// Places an event that is about to be stored, and learns from it.
    pub fn place(&mut self, reference: SessionRef, facts: &Facts<'_>, now: Now) -> Placed {
        let game_key = match facts.game_id {
            Some(game_id) if !game_id.is_empty() && game_id != b"unknown" => {
                self.get(reference).map(|session| game_key(&self.key, session.id, game_id))
            }
            _ => None,
        };
        let Some(session) = self.get_mut(reference) else {
            debug_assert!(false, "an event is placed in a session that was looked up for it");
            return Placed {
                session: 0,
                game_key: 0,
                flags: 0,
                is_new_game: false,
                became_ambiguous: false,
            };
        };
        session.events += 1;
        let is_late = session.advance(facts.clock);
        let was_ambiguous = session.is_ambiguous;
        let mut is_new_game = false;
        if let (Some(key), Some(game_id)) = (game_key, facts.game_id) {
            // A late state must not bring an earlier game back; that games alternate shows in late ones too.
            let current = session.game_key;
            session.is_ambiguous |= session.change_game(key, now);
            if is_late && !session.is_ambiguous {
                session.game_key = current;
            } else if session.game_key != current || session.game_id.is_empty() {
                is_new_game = true;
                session.game_id.clear();
                shown(&mut session.game_id, game_id);
            }
        }
        let mut bits = if is_late { flags::OUT_OF_ORDER } else { 0 };
        if session.is_ambiguous {
            bits |= flags::SESSION_AMBIGUOUS;
        }
        Placed {
            session: session.id,
            // The event belongs to the game that it names itself, also when it is late.
            game_key: game_key.unwrap_or(session.game_key),
            flags: bits,
            is_new_game,
            became_ambiguous: session.is_ambiguous && !was_ambiguous,
        }
    }

    /// A connection has closed: its session is open to another one of the same sender.
    pub fn connection_closed(&mut self, reference: SessionRef, connection: u64) {
        if let Some(session) = self.get_mut(reference)
            && session.connection == Some(connection)
        {
            session.connection = None;
            session.is_connection_kept = false;
            // No other connection can be the same WebSocket.
            session.is_over |= session.kind == Kind::WebSocket;
        }
    }

    /// Learns from an event that an earlier run of the service stored, in the log's order.
    pub fn restore(&mut self, entry: &IndexEntry, clock: Option<Clock>, now: Now) {
        if entry.session == 0 {
            return;
        }
        let known = match self.by_id(entry.session) {
            Some((known, _)) => known,
            None => {
                let sender = entry.session >> 16;
                if let Some(&before) = self.senders.get(&sender).and_then(|s| s.places.last()) {
                    self.sessions[before as usize].is_over = true;
                }
                // What it was known by is hashed into the id; a WebSocket's is of no use to anyone who speaks now.
                let place = self.take_place(entry.session, Kind::Http, now);
                let sender = self.senders.entry(sender).or_default();
                sender.count = entry.session as u16;
                sender.places.push(place);
                self.reference(place)
            }
        };
        self.lru.touch(known.place as usize);
        let session = &mut self.sessions[known.place as usize];
        session.events += 1;
        session.is_ambiguous |= entry.flags & flags::SESSION_AMBIGUOUS != 0;
        // Nobody has spoken in this run yet: it counts as connected from its first word on.
        session.heard = Now { mono_ns: 0, unix_ns: entry.receive_time_unix_ns };
        if !session.advance(clock) {
            session.game_key = entry.game_key;
        }
    }

    /// Sessions that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sessions forgotten to make room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn get_mut(&mut self, reference: SessionRef) -> Option<&mut Session> {
        self.sessions
            .get_mut(reference.place as usize)
            .filter(|session| session.generation == reference.generation)
    }

    fn reference(&self, place: u32) -> SessionRef {
        SessionRef { place, generation: self.sessions[place as usize].generation }
    }

    fn sender_of(&self, speaker: &Speaker) -> u64 {
        let whole = if speaker.is_websocket {
            self.hash(&[b"websocket", &self.run.to_le_bytes(), &speaker.connection.to_le_bytes()])
        } else {
            self.hash(&[b"http", &speaker.address.to_le_bytes(), &speaker.agent.to_le_bytes()])
        };
        whole >> 16
    }

    fn hear(&mut self, reference: SessionRef, address: Option<u64>, now: Now) {
        let session = &mut self.sessions[reference.place as usize];
        session.heard = now;
        self.lru.touch(reference.place as usize);
        let Some(address) = address else { return };
        if let Some((at, place)) = session.address
            && at == address
        {
            self.addresses.hear(place, reference.place);
            return;
        }
        if let Some((_, before)) = session.address {
            self.addresses.leave(before, reference.place);
        }
        let place = self.addresses.join(address);
        session.address = Some((address, place));
        self.addresses.hear(place, reference.place);
    }

    /// Begins the session that follows another of the same sender, on the same connection.
    fn succeed(&mut self, reference: SessionRef, now: Now) -> SessionRef {
        let before = &mut self.sessions[reference.place as usize];
        before.is_over = true;
        let (kind, sender, address) = (before.kind, before.id >> 16, before.address);
        let connection = before.connection.take();
        let is_kept = before.is_connection_kept;
        let agent = before.agent.clone();
        let known = self.begin(sender, kind, now);
        let session = &mut self.sessions[known.place as usize];
        session.connection = connection;
        session.is_connection_kept = is_kept;
        session.agent = agent;
        self.hear(known, address.map(|(address, _)| address), now);
        known
    }

    fn begin(&mut self, sender: u64, kind: Kind, now: Now) -> SessionRef {
        // The count starts at 1, so that no id is 0.
        let count =
            self.senders.get(&sender).map_or(1, |sender| sender.count.wrapping_add(1).max(1));
        let place = self.take_place(sender << 16 | u64::from(count), kind, now);
        let sender = self.senders.entry(sender).or_default();
        sender.count = count;
        sender.places.push(place);
        self.reference(place)
    }

    fn take_place(&mut self, id: u64, kind: Kind, now: Now) -> u32 {
        let key = game_key(&self.key, id, b"unknown");
        if self.sessions.len() < self.max {
            self.sessions.push(Session::new(id, kind, key, 0, now));
            self.lru.grow();
            return self.sessions.len() as u32 - 1;
        }
        let place = self.lru.oldest().expect("at least one session is remembered");
        let old = &self.sessions[place];
        let (sender, address) = (old.id >> 16, old.address);
        if let Some(entry) = self.senders.get_mut(&sender) {
            entry.places.retain(|&p| p as usize != place);
            if entry.places.is_empty() {
                self.senders.remove(&sender);
            }
        }
        if let Some((_, at)) = address {
            self.addresses.leave(at, place as u32);
        }
        let generation = old.generation.wrapping_add(1);
        self.sessions[place] = Session::new(id, kind, key, generation, now);
        self.lru.touch(place);
        self.forgotten += 1;
        place as u32
    }
}

/// The key that stands for a game: hash of session and game id, under the log's key.
#[must_use]
pub fn game_key(key: &[u8; 16], session: u64, game_id: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write_u64(session);
    hasher.write(game_id);
    hasher.finish()
}

/// Appends what people may be shown of input: bounded, without control characters.
fn shown(to: &mut String, text: &[u8]) {
    let text = &text[..text.len().min(limits::GAME_ID_SHOWN_MAX)];
    to.extend(String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { '?' } else { c }));
}

#[cfg(test)]
mod tests;
