//! The orderly end.

use crate::harness::{Harness, close_code, event, frame, parse, post, text, upgrade};

#[test]
fn idle_connections_end_and_nothing_new_comes_in() {
    let mut harness = Harness::new();
    let idle = harness.connect();
    harness.request(idle, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let now = harness.now;
    harness.service.begin_drain(now);
    harness.turn();
    assert!(harness.service.drained());
    assert!(!harness.service.accepting());
    assert!(harness.service.accept(jimbot_core::conn::Peer::Local, now).is_err());
}

#[test]
fn what_was_received_is_stored_and_answered() {
    let mut harness = Harness::new();
    let half = harness.connect();
    let request = post("/api/v1/events", "", event("a", 1.0));
    let (first, second) = request.split_at(request.len() - 10);
    harness.send(half, first);
    let now = harness.now;
    harness.service.begin_drain(now);
    harness.turn();
    assert_eq!(harness.service.connections(), 1, "a request is on its way");
    let ready = harness.service.ready();
    assert!(ready.is_err());
    harness.send(half, second);
    let answer = parse(&harness.receive(half));
    assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
    harness.hang_up(half);
    harness.wait_ms(3_000);
    assert!(harness.service.drained());
    harness.service.commit_all(harness.now);
    assert_eq!(harness.service.log().frames().count(), 1);
}

#[test]
fn websockets_are_closed_with_going_away_after_what_they_sent() {
    let mut harness = Harness::new();
    let id = harness.websocket("/ws?ack=1");
    let late = harness.connect();
    harness.send(id, &text(event("a", 1.0)));
    let now = harness.now;
    harness.service.begin_drain(now);
    let received = harness.receive(id);
    assert_eq!(crate::harness::texts(&received), [r#"{"ack":1,"seq":1}"#]);
    assert_eq!(close_code(&received), Some(1001));
    harness.send(id, &frame(8, &1001_u16.to_be_bytes()));
    harness.turn();
    harness.send(late, upgrade("/ws", "").as_bytes());
    harness.hang_up(late);
    harness.hang_up(id);
    harness.wait_ms(3_000);
    assert!(harness.service.drained());
}

#[test]
fn a_websocket_that_does_not_answer_does_not_hold_the_end_up() {
    let mut harness = Harness::new();
    let id = harness.websocket("/ws");
    let now = harness.now;
    harness.service.begin_drain(now);
    assert_eq!(close_code(&harness.receive(id)), Some(1001));
    harness.wait_ms(4_500);
    assert!(harness.service.drained());
}
