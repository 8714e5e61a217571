//! Bodies that wait because the memory for incomplete ones is used up.

use jimbot_core::conn::ConnConfig;
use jimbot_core::limits;
use jimbot_core::log::{MemoryLog, MemoryLogOptions};
use jimbot_core::service::{ConnId, ServiceConfig};
use jimbot_core::time::{MILLISECOND, SECOND};

use crate::harness::{Harness, batch, config, event, mod_post, parse, post};

/// Memory for three bodies of 30 KB and no more.
fn little_memory() -> Harness {
    let connections = ConnConfig { buffer_bytes: 200 * 1024, ..ConnConfig::default() };
    let config = ServiceConfig { connections, ..config() };
    Harness::with(config, MemoryLog::new(MemoryLogOptions::default()))
}

/// A batch of about so many bytes.
fn body(name: &str, bytes: usize) -> String {
    let events: Vec<String> =
        (0..bytes / 140).map(|at| event(&format!("{name}-{at}"), 1.0)).collect();
    batch(&events)
}

/// A client in the middle of its body.
struct Sender {
    id: ConnId,
    bytes: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
}

impl Sender {
    /// Sends the first `length` bytes, or as many as are taken.
    fn begin(harness: &mut Harness, bytes: Vec<u8>, length: usize) -> Sender {
        let mut sender = Sender { id: harness.connect(), bytes, sent: 0, received: Vec::new() };
        sender.go_on(harness, length);
        sender
    }

    /// Sends up to `length` bytes more, as far as they are taken, and takes what is answered.
    fn go_on(&mut self, harness: &mut Harness, length: usize) {
        let end = self.bytes.len().min(self.sent.saturating_add(length));
        // As a shell does: who is paused is not read from.
        if harness.service.wants(self.id).read {
            self.sent += harness.send(self.id, &self.bytes[self.sent..end]);
        }
        harness.turn();
        self.received.extend(harness.receive(self.id));
    }

    fn is_paused(&self, harness: &mut Harness) -> bool {
        let wants = harness.service.wants(self.id);
        wants.memory && !wants.read
    }

    fn statuses(&self) -> Vec<u16> {
        if self.received.is_empty() { Vec::new() } else { vec![parse(&self.received).status] }
    }
}

/// Clients that keep all the memory, and send nothing more.
fn use_up(harness: &mut Harness) -> Vec<Sender> {
    let whole = |number| post("/api/v1/events/batch", "", body(&format!("slow-{number}"), 60_000));
    (0..3).map(|number| Sender::begin(harness, whole(number), 30_000)).collect()
}

fn leave(harness: &mut Harness, senders: Vec<Sender>) {
    for sender in senders {
        harness.hang_up(sender.id);
    }
}

#[test]
fn a_body_is_paused_and_stored_when_memory_is_back() {
    let mut harness = little_memory();
    let slow = use_up(&mut harness);
    let path = "/api/v1/events/batch";
    let mut game = Sender::begin(&mut harness, mod_post(path, body("mod", 30_000)), 30_000);
    let mut other = Sender::begin(&mut harness, post(path, "", body("other", 30_000)), 30_000);
    assert!(game.is_paused(&mut harness) && other.is_paused(&mut harness));
    harness.wait_ms(limits::MEMORY_WAIT_NS / MILLISECOND - 1);
    leave(&mut harness, slow);
    assert!(!game.is_paused(&mut harness), "it is read on when memory is back");
    game.go_on(&mut harness, usize::MAX);
    other.go_on(&mut harness, usize::MAX);
    assert_eq!((game.statuses(), other.statuses()), (vec![200], vec![200]));
    assert_eq!(parse(&game.received).json()["stored"], 30_000 / 140);
}

#[test]
fn where_no_memory_comes_back_the_mods_body_overdraws_it_and_others_are_refused() {
    let mut harness = little_memory();
    let slow = use_up(&mut harness);
    let path = "/api/v1/events/batch";
    let mut other = Sender::begin(&mut harness, post(path, "", body("other", 30_000)), 30_000);
    let mut first = Sender::begin(&mut harness, mod_post(path, body("first", 300_000)), 30_000);
    let mut second = Sender::begin(&mut harness, mod_post(path, body("second", 30_000)), 30_000);
    harness.wait_ms(limits::MEMORY_WAIT_NS / MILLISECOND);
    other.go_on(&mut harness, 0);
    assert_eq!(other.statuses(), [503]);
    // One of them at a time.
    assert!(!first.is_paused(&mut harness) && second.is_paused(&mut harness));
    first.go_on(&mut harness, 100_000);
    harness.wait_ms(limits::MEMORY_WAIT_NS / MILLISECOND);
    assert!(second.is_paused(&mut harness), "it goes on to wait");
    first.go_on(&mut harness, usize::MAX);
    assert_eq!(first.statuses(), [200], "it never had to wait again");
    harness.wait_ms(limits::MEMORY_WAIT_NS / MILLISECOND);
    second.go_on(&mut harness, usize::MAX);
    assert_eq!(second.statuses(), [200]);
    leave(&mut harness, slow);
}

#[test]
fn bodies_of_the_mod_that_all_wait_for_each_other_come_through_one_by_one() {
    let mut harness = little_memory();
    let mut games: Vec<Sender> = (0..8)
        .map(|number| {
            let body = body(&format!("game-{number}"), 150_000);
            Sender::begin(&mut harness, mod_post("/api/v1/events/batch", body), 100_000)
        })
        .collect();
    assert!(games.iter().all(|game| game.is_paused(&mut harness)), "each holds a part");
    let mut seconds = 0;
    while games.iter().any(|game| game.received.is_empty()) {
        seconds += 1;
        assert!(seconds < limits::BODY_NS / SECOND, "they wait for ever");
        harness.wait_ms(1000);
        for game in &mut games {
            game.go_on(&mut harness, usize::MAX);
        }
    }
    for game in &games {
        assert_eq!(game.statuses(), [200]);
    }
    assert_eq!(harness.stored().len(), 8 * (150_000 / 140));
}
