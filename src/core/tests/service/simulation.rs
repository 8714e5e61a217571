//! Clients of three dialects against the real service on a made-up clock and network: they split, stall, send again,
//! take no answers and die; the log fills up; the service is killed and started anew.
//!
//! Whatever happens: what was acknowledged is in the log, exactly once; what a client sent stands there in its order; and
//! the mod is never refused. A failure prints its seed; `JIMBOT_SEED=N` plays that one alone, `JIMBOT_SEEDS=N` plays more.

use std::collections::{HashMap, VecDeque};

use fastrand::Rng;
use jimbot_core::batching::Mode;
use jimbot_core::log::{MemoryLog, MemoryLogOptions};
use jimbot_core::service::{ConnId, ServiceConfig};
use jimbot_core::time::{MILLISECOND, SECOND};

use crate::harness::{self, Harness, batch, event, frames, mod_post, post, text, upgrade};

const SEEDS: u64 = 24;
const EVENTS_PER_CLIENT: u32 = 120;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Dialect {
    /// Batches over HTTP, on one connection or on a new one for each.
    Mod { keeps: bool },
    /// Single events, arrays and lines over HTTP, as strict senders do.
    Script,
    /// Messages over a WebSocket, several on their way at once.
    WebSocket,
}

struct Client {
    name: usize,
    dialect: Dialect,
    connection: Option<ConnId>,
    /// Bytes on their way to the service.
    outgoing: VecDeque<u8>,
    incoming: Vec<u8>,
    /// Numbers of the events of the bodies that wait for their answer, oldest first.
    waiting: VecDeque<Vec<u32>>,
    made: u32,
    acknowledged: u32,
    is_upgraded: bool,
    /// Does nothing before this moment.
    rests_until: u64,
}

impl Client {
    fn new(name: usize, dialect: Dialect) -> Client {
        Client {
            name,
            dialect,
            connection: None,
            outgoing: VecDeque::new(),
            incoming: Vec::new(),
            waiting: VecDeque::new(),
            made: 0,
            acknowledged: 0,
            is_upgraded: false,
            rests_until: 0,
        }
    }

    fn is_done(&self) -> bool {
        self.acknowledged == EVENTS_PER_CLIENT
    }

    fn event(&self, number: u32) -> String {
        let id = format!("c{}-{number}", self.name);
        let time = 1_000.0 + f64::from(number);
        match self.dialect {
            Dialect::Mod { .. } => event(&id, time),
            Dialect::Script => format!(
                r#"{{"event_type":"HAND_PLAYED","timestamp":"2026-11-22T06:00:{:02}Z","event_id":"{id}","game_id":"g{}","game_state":{{"hand_number":{number}}}}}"#,
                number % 60,
                self.name,
            ),
            Dialect::WebSocket => format!(
                r#"{{"type":"hand_played","timestamp":{},"event_id":"{id}","game_id":"g{}","data":{{"score":{number}}}}}"#,
                1_780_000_000.0 + f64::from(number) / 4.0,
                self.name,
            ),
        }
    }

    /// The bytes of one body with these events.
    fn body(&self, numbers: &[u32], rng: &mut Rng) -> Vec<u8> {
        let events: Vec<String> = numbers.iter().map(|&number| self.event(number)).collect();
        match self.dialect {
            Dialect::Mod { .. } => mod_post("/api/v1/events/batch", batch(&events)),
            Dialect::Script if events.len() == 1 => post("/api/v1/events", "", &events[0]),
            Dialect::Script if rng.bool() => post("/api/v1/events", "", events.join("\n")),
            Dialect::Script => post("/api/v1/events", "", format!("[{}]", events.join(","))),
            Dialect::WebSocket => text(format!("[{}]", events.join(","))),
        }
    }

    /// Queues new bodies, as many as its dialect lets be on their way.
    fn make(&mut self, rng: &mut Rng) {
        let most = if self.dialect == Dialect::WebSocket { 4 } else { 1 };
        while self.waiting.len() < most && self.made < EVENTS_PER_CLIENT {
            let count = rng.u32(1..=12).min(EVENTS_PER_CLIENT - self.made);
            let numbers: Vec<u32> = (self.made..self.made + count).collect();
            self.made += count;
            let bytes = self.body(&numbers, rng);
            self.outgoing.extend(bytes);
            self.waiting.push_back(numbers);
        }
    }

    /// Connects and sends everything again that was not acknowledged.
    fn connect(&mut self, harness: &mut Harness, rng: &mut Rng) {
        self.connection = Some(harness.connect());
        self.incoming.clear();
        self.outgoing.clear();
        self.is_upgraded = false;
        if self.dialect == Dialect::WebSocket {
            self.outgoing.extend(upgrade("/ws?ack=1", "").as_bytes());
        }
        for numbers in &self.waiting {
            self.outgoing.extend(self.body(numbers, rng));
        }
    }

    fn lose_connection(&mut self, harness: &mut Harness, rng: &mut Rng) {
        if let Some(id) = self.connection.take() {
            if rng.bool() {
                harness.service.peer_reset(id, harness.now);
            } else {
                harness.service.peer_closed(id, harness.now);
            }
            harness.receive(id);
        }
        self.rests_until = harness.now.mono_ns + rng.u64(0..1_000) * MILLISECOND;
    }

    fn acknowledge(&mut self, count: usize) {
        let numbers = self.waiting.pop_front().expect("only what was sent is acknowledged");
        assert_eq!(numbers.len(), count, "all of a body is acknowledged");
        self.acknowledged += count as u32;
    }

    /// Reads what has come; true when the connection goes on.
    fn understand(&mut self) -> bool {
        if self.dialect == Dialect::WebSocket && self.is_upgraded {
            return self.understand_frames();
        }
        while let Some(head) = find(&self.incoming, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&self.incoming[..head]).into_owned();
            let length = text
                .split("Content-Length: ")
                .nth(1)
                .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
            if self.incoming.len() < head + 4 + length {
                break;
            }
            let answer = harness::parse(&self.incoming[..head + 4 + length]);
            self.incoming.drain(..head + 4 + length);
            match (self.dialect, answer.status) {
                (Dialect::WebSocket, 101) => {
                    self.is_upgraded = true;
                    return self.understand_frames();
                }
                (_, 200) => {
                    let json = answer.json();
                    assert_eq!(json["status"], "ok", "{answer:?}");
                    let count =
                        json["stored"].as_u64().unwrap() + json["repeated"].as_u64().unwrap();
                    self.acknowledge(count as usize);
                    let keeps = !matches!(self.dialect, Dialect::Mod { keeps: false });
                    if !keeps || answer.header("Connection") == Some("close") {
                        return false;
                    }
                }
                // A full log, and the timeouts of a client that stalls, are reasons to come again; refusals are none.
                (_, 503 | 408) => return false,
                _ => panic!("client {} is refused: {answer:?}", self.name),
            }
        }
        true
    }

    fn understand_frames(&mut self) -> bool {
        // Only whole frames.
        let mut whole = 0;
        while let [_, short, rest @ ..] = &self.incoming[whole..] {
            let frame = match (short, rest) {
                (126, [high, low, ..]) => 4 + usize::from(u16::from_be_bytes([*high, *low])),
                (126, _) => break,
                _ => 2 + usize::from(*short),
            };
            if self.incoming.len() < whole + frame {
                break;
            }
            whole += frame;
        }
        let taken: Vec<u8> = self.incoming.drain(..whole).collect();
        for (opcode, payload) in frames(&taken) {
            match opcode {
                1 => {
                    let ack: serde_json::Value = serde_json::from_slice(&payload).unwrap();
                    let count = ack["ack"].as_u64().unwrap_or_else(|| panic!("{ack}"));
                    self.acknowledge(count as usize);
                }
                8 => return false,
                9 => {}
                other => panic!("opcode {other}"),
            }
        }
        true
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

struct World {
    rng: Rng,
    harness: Harness,
    clients: Vec<Client>,
    config: ServiceConfig,
    /// When the log will have room again.
    full_until: Option<u64>,
    kills: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let options = MemoryLogOptions {
            max_batch_events: rng.u32(1..40),
            max_batch_bytes: 192 * 1024,
            ..MemoryLogOptions::default()
        };
        let config = ServiceConfig {
            batching: if rng.bool() { Mode::Adaptive } else { Mode::Window },
            ..harness::config()
        };
        let clients = (0..rng.usize(3..9))
            .map(|name| {
                let dialect = match rng.u8(0..4) {
                    0 => Dialect::Mod { keeps: true },
                    1 => Dialect::Mod { keeps: false },
                    2 => Dialect::Script,
                    _ => Dialect::WebSocket,
                };
                Client::new(name, dialect)
            })
            .collect();
        let harness = Harness::with(config.clone(), MemoryLog::new(options));
        World { rng, harness, clients, config, full_until: None, kills: 0 }
    }

    fn step(&mut self) {
        let World { rng, harness, clients, .. } = self;
        harness.now = harness.now.plus(rng.u64(0..4 * MILLISECOND));
        let now = harness.now;
        let client = rng.usize(..clients.len());
        let client = &mut clients[client];
        if client.rests_until <= now.mono_ns && !client.is_done() {
            match client.connection {
                None => client.connect(harness, rng),
                Some(_) if rng.u32(..400) == 0 => client.lose_connection(harness, rng),
                Some(_) if rng.u32(..300) == 0 => {
                    client.rests_until = now.mono_ns + rng.u64(0..15 * SECOND);
                }
                Some(id) => {
                    client.make(rng);
                    let space = harness.service.read_space(id, now);
                    let most = if rng.bool() { 5_000 } else { rng.usize(1..200) };
                    let length = client.outgoing.len().min(space.len()).min(most);
                    for (to, byte) in space.iter_mut().zip(client.outgoing.drain(..length)) {
                        *to = byte;
                    }
                    harness.service.filled(id, length, now);
                    let output = harness.service.output(id);
                    let length = rng.usize(..=output.len());
                    client.incoming.extend_from_slice(&output[..length]);
                    harness.service.output_sent(id, length, now);
                    let goes_on = client.understand();
                    let wants = harness.service.wants(id);
                    if wants.close {
                        harness.service.release(id, now);
                        client.connection = None;
                    } else if !goes_on {
                        client.lose_connection(harness, rng);
                    }
                }
            }
        }
        self.turn();
        if self.full_until.is_some_and(|until| until <= self.harness.now.mono_ns) {
            self.full_until = None;
            self.harness.service.log_mut().set_full(false);
        } else if self.full_until.is_none() && self.rng.u32(..2_000) == 0 {
            let lasts = self.rng.u64(1..4_000) * MILLISECOND;
            self.full_until = Some(self.harness.now.mono_ns + lasts);
            self.harness.service.log_mut().set_full(true);
        }
        if self.rng.u32(..3_000) == 0 {
            self.kill();
        }
    }

    /// A turn of the shell whose clock goes on with every look, so that budgets end in the middle of bodies.
    fn turn(&mut self) {
        let harness = &mut self.harness;
        let mut time = harness.now;
        let mut clock = || {
            time = time.plus(60_000);
            time
        };
        harness.service.work(&mut clock);
        let now = harness.now;
        harness.service.on_time(now);
        let mut changed = Vec::new();
        harness.service.take_changed(&mut changed);
        for id in changed {
            if harness.service.wants(id).close {
                harness.service.release(id, now);
                for client in &mut self.clients {
                    client.connection = client.connection.filter(|&connection| connection != id);
                }
            }
        }
        if self.rng.bool() {
            harness.service.idle(now);
        } else {
            harness.service.commit_due(now);
        }
    }

    fn kill(&mut self) {
        self.kills += 1;
        self.full_until = None;
        self.check();
        let now = self.harness.now;
        let fresh = Harness::with(self.config.clone(), MemoryLog::new(MemoryLogOptions::default()));
        let dead = std::mem::replace(&mut self.harness, fresh);
        let log = dead.service.into_log().killed_and_reopened(now);
        self.harness = Harness::with(self.config.clone(), log);
        self.harness.now = now;
        for client in &mut self.clients {
            client.connection = None;
            client.rests_until = now.mono_ns + self.rng.u64(0..2_000) * MILLISECOND;
        }
        self.check();
    }

    /// What was acknowledged is there once, and each client's events stand in its order.
    fn check(&self) {
        let mut next: HashMap<usize, u32> = HashMap::new();
        for (_, event) in self.harness.stored() {
            let id = event.event_id.expect("every client gives ids");
            let (name, number) = id[1..].split_once('-').unwrap();
            let (name, number): (usize, u32) = (name.parse().unwrap(), number.parse().unwrap());
            let expected = next.entry(name).or_default();
            assert_eq!(number, *expected, "client {name}: twice, lost or out of order");
            *expected += 1;
        }
        for client in &self.clients {
            let stored = next.get(&client.name).copied().unwrap_or(0);
            assert!(
                client.acknowledged <= stored && stored <= client.made,
                "client {} ({:?}): {} acknowledged, {stored} stored, {} made",
                client.name,
                client.dialect,
                client.acknowledged,
                client.made
            );
        }
    }
}

fn play(seed: u64) -> (u32, u32) {
    let mut world = World::new(seed);
    let mut steps = 0;
    while !world.clients.iter().all(Client::is_done) {
        world.step();
        steps += 1;
        assert!(steps < 400_000, "somebody never gets through");
    }
    world.check();
    let mut unseen = 0;
    world.harness.service.commit_all(world.harness.now);
    world.harness.service.log().for_each_event(|_, _| unseen += 1);
    let visible: usize = world.harness.service.log().frames().map(|f| f.index.len()).sum();
    assert_eq!(visible, unseen, "everything stored is visible in the end");
    (steps, world.kills)
}

#[test]
fn every_acknowledged_event_is_in_the_log_once_and_in_order() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seeds = match number("JIMBOT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("JIMBOT_SEEDS").unwrap_or(SEEDS),
    };
    let (mut steps, mut kills) = (0, 0);
    for seed in seeds.clone() {
        let played = std::panic::catch_unwind(|| play(seed));
        let (s, k) =
            played.unwrap_or_else(|_| panic!("failed: play it again with JIMBOT_SEED={seed}"));
        steps += s;
        kills += k;
    }
    println!("{} seeds, {steps} steps, {kills} kills", seeds.count());
    assert!(steps > 1_000);
}
