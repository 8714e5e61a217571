//! Connections: how many, and what becomes of those that do nothing.

use jimbot_core::conn::Peer;
use jimbot_core::log::{MemoryLog, MemoryLogOptions};
use jimbot_core::service::{ServiceConfig, Unaccepted};

use crate::harness::{Harness, config, event, parse, post};

#[test]
fn past_the_limit_accepting_stops_until_some_places_are_free() {
    let limited = ServiceConfig { max_connections: 100, ..config() };
    let mut harness = Harness::with(limited, MemoryLog::new(MemoryLogOptions::default()));
    let ids: Vec<_> = (0..100).map(|_| harness.connect()).collect();
    assert!(!harness.service.accepting());
    assert_eq!(harness.service.accept(Peer::Local, harness.now), Err(Unaccepted::Limit));
    let now = harness.now;
    for id in &ids[..63] {
        harness.service.release(*id, now);
    }
    assert!(!harness.service.accepting());
    harness.service.release(ids[63], now);
    assert!(harness.service.accepting());
    harness.turn();
    let said = harness.notices.iter().filter(|n| n.to_string().contains("--max-connections"));
    assert_eq!(said.count(), 1);
}

#[test]
fn ten_thousand_idle_connections_keep_nobody_from_being_served() {
    let mut harness = Harness::new();
    let idle: Vec<_> = (0..10_000).map(|_| harness.connect()).collect();
    assert_eq!(harness.post("/api/v1/events", event("a", 1.0)).status, 200);
    harness.wait_ms(1_000);
    assert_eq!(harness.service.connections(), 10_000);
    // Silent connections are closed in the end.
    harness.wait_ms(130_000);
    assert_eq!(harness.service.connections(), 0);
    assert!(idle.iter().all(|id| harness.service.output(*id).is_empty()));
}

#[test]
fn slow_heads_and_bodies_are_given_up() {
    let mut harness = Harness::new();
    let head = harness.connect();
    harness.send(head, b"POST /api/v1/events HTTP/1.1\r\nHost: loc");
    let body = harness.connect();
    let request = post("/api/v1/events", "", event("a", 1.0));
    harness.send(body, &request[..request.len() - 1]);
    harness.wait_ms(9_000);
    assert_eq!((harness.receive(head).len(), harness.receive(body).len()), (0, 0));
    harness.wait_ms(2_000);
    assert_eq!(parse(&harness.receive(head)).status, 408);
    assert_eq!(parse(&harness.receive(body)).status, 408);
    harness.wait_ms(15_000);
    assert_eq!(harness.service.connections(), 0);
}

#[test]
fn a_client_that_takes_no_answers_is_read_no_further_and_then_closed() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let one = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice();
    let mut taken = 0;
    for _ in 0..10_000 {
        let sent = harness.send(id, one);
        taken += usize::from(sent == one.len());
        if sent < one.len() {
            break;
        }
    }
    assert!(taken < 10_000, "reading stops");
    assert!(harness.service.output(id).len() < 256 * 1024);
    assert!(!harness.service.wants(id).read);
    harness.wait_ms(31_000);
    assert_eq!(harness.service.connections(), 0);
}

#[test]
fn an_event_for_a_released_slot_is_dropped() {
    let mut harness = Harness::new();
    let old = harness.connect();
    let now = harness.now;
    harness.service.release(old, now);
    let new = harness.connect();
    assert_eq!(old.slot(), new.slot());
    assert!(harness.service.read_space(old, now).is_empty());
    harness.service.filled(old, 10, now);
    harness.service.peer_reset(old, now);
    harness.service.release(old, now);
    assert_eq!(harness.service.connections(), 1);
    assert_eq!(
        harness.request(new, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status,
        200
    );
}
