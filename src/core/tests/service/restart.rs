//! What a restart must not forget.

use jimbot_core::log::{MemoryLog, flags};

use crate::harness::{Harness, batch, config, event, mod_post, state};

/// Kills the service and starts another one on what it left.
fn restart(harness: Harness) -> Harness {
    let now = harness.now;
    let log: MemoryLog = harness.service.into_log().killed_and_reopened(now);
    let mut next = Harness::with(config(), log);
    next.now = now.plus(1_000_000_000);
    next
}

#[test]
fn repeats_are_recognised_and_stored_events_are_there() {
    let mut harness = Harness::new();
    let numbered = r#"{"type":"MONEY_CHANGED","timestamp":9,"event_id":"n","producer":"mod-1","producer_sequence":7,"payload":{}}"#;
    let unknown = r#"{"type":"NEVER_SEEN","timestamp":9,"event_id":"u","payload":{}}"#;
    let body = batch(&[event("a", 1.0), event("b", 2.0), numbered.into(), unknown.into()]);
    let id = harness.connect();
    assert_eq!(harness.request(id, mod_post("/api/v1/events/batch", &body)).json()["stored"], 4);
    assert_eq!(harness.service.log().frames().count(), 0, "acknowledged and not yet committed");

    let mut harness = restart(harness);
    let stored = harness.stored();
    assert_eq!(stored.len(), 4);
    assert!(stored.iter().all(|(entry, _)| entry.flags & flags::RECOVERED != 0));
    let id = harness.connect();
    let answer = harness.request(id, mod_post("/api/v1/events/batch", &body)).json();
    assert_eq!((&answer["stored"], &answer["repeated"]), (&0.into(), &4.into()));
}

#[test]
fn a_session_goes_on_with_its_game_and_its_clock() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let body = batch(&[state("a", 500_000.0, "7LB2WVPK"), event("b", 500_001.0)]);
    harness.request(id, mod_post("/api/v1/events/batch", body));
    let before = harness.stored()[1].0;

    let mut harness = restart(harness);
    let id = harness.connect();
    let late = batch(&[event("c", 499_000.0), event("d", 500_002.0)]);
    harness.request(id, mod_post("/api/v1/events/batch", late));
    harness.request(id, mod_post("/api/v1/events/batch", batch(&[event("e", 10.0)])));
    let stored = harness.stored();
    assert_eq!((stored[3].0.session, stored[3].0.game_key), (before.session, before.game_key));
    assert_eq!(stored[2].0.flags & flags::OUT_OF_ORDER, flags::OUT_OF_ORDER);
    assert_ne!(stored[4].0.session, before.session, "a game that was started anew");
}

#[test]
fn sequences_go_on() {
    let mut harness = Harness::new();
    harness.post("/api/v1/events", event("a", 1.0));
    let mut harness = restart(harness);
    harness.post("/api/v1/events", event("b", 2.0));
    let sequences: Vec<u64> = harness.stored().iter().map(|(entry, _)| entry.sequence).collect();
    assert_eq!(sequences, [1, 2]);
}
