//! What becomes of bodies: stored, recognised, refused, salvaged; and what senders are told.

use jimbot_core::log::{MemoryLog, MemoryLogOptions};
use jimbot_proto::events::v1::event::Payload;
use jimbot_proto::events::v1::{Event, EventBatch, EventType};
use prost::Message as _;

use crate::harness::{Harness, batch, config, event, mod_post, post};

#[test]
fn one_event_is_stored_and_acknowledged() {
    let mut harness = Harness::new();
    let answer = harness.post("/api/v1/events", event("a", 1.5));
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{\"status\":\"ok\",\"stored\":1,\"repeated\":0}\n")
    );
    let stored = harness.stored();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].1.event_id.as_deref(), Some("a"));
    assert_ne!(stored[0].0.session, 0);
    assert_ne!(stored[0].0.game_key, 0);
}

#[test]
fn a_batch_sent_again_is_stored_once() {
    let mut harness = Harness::new();
    let body = batch(&[event("a", 1.0), event("b", 2.0), event("a", 1.0)]);
    let id = harness.connect();
    let answer = harness.request(id, mod_post("/api/v1/events/batch", &body));
    assert_eq!(answer.json(), serde_json::json!({"status": "ok", "stored": 2, "repeated": 1}));
    let answer = harness.request(id, mod_post("/api/v1/events/batch", &body));
    assert_eq!(answer.json(), serde_json::json!({"status": "ok", "stored": 0, "repeated": 3}));
    assert_eq!(harness.stored().len(), 2);
}

#[test]
fn refused_events_are_named_and_the_others_kept() {
    let mut harness = Harness::new();
    let body = format!("[{},{{\"timestamp\":1}},{}]", event("a", 1.0), event("b", 2.0));
    let answer = harness.post("/api/v1/events", &body);
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(
        (&json["status"], &json["stored"], &json["refused"]),
        (&"partial".into(), &2.into(), &1.into())
    );
    assert_eq!(json["errors"][0]["index"], 1);
    assert_eq!(json["errors"][0]["field"], "type");
    assert_eq!(harness.stored().len(), 2);
}

#[test]
fn the_mod_is_never_refused() {
    let mut harness = Harness::new();
    let id = harness.connect();
    for body in ["", "{", "[", "nonsense", "{\"events\":[{\"type\":\"X\"},{]}", "\u{0}\u{1}"] {
        let answer = harness.request(id, mod_post("/api/v1/events/batch", body));
        assert_eq!(answer.status, 200, "{body:?}: {}", answer.body);
    }
    let strict = harness.request(id, post("/api/v1/events/batch", "", "nonsense"));
    assert_eq!(strict.status, 400, "{}", strict.body);
    let asked =
        harness.request(id, post("/api/v1/events", "Prefer: handling=lenient\r\n", "nonsense"));
    assert_eq!(asked.status, 200);
}

#[test]
fn of_a_body_in_protobuf_past_the_limit_the_whole_events_are_kept() {
    let mut small = config();
    small.connections.max_body_bytes = 100_000;
    let mut harness = Harness::with(small, MemoryLog::new(MemoryLogOptions::default()));
    let event = Event {
        r#type: EventType::MoneyChanged as i32,
        source: Some("x".repeat(200)),
        ..Event::default()
    };
    let body = EventBatch { events: vec![event; 1_000] }.encode_to_vec();
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nPrefer: handling=lenient\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let id = harness.connect();
    let answer = harness.request(id, [head.as_bytes(), &body].concat());
    assert_eq!((answer.status, &answer.json()["unreadable"]), (200, &1.into()), "{}", answer.body);
    let stored = harness.stored();
    let whole = 100_000 / (body.len() / 1_000);
    assert_eq!(stored.len(), whole + 1);
    let last = &stored[whole].1;
    assert_eq!(last.r#type, EventType::TruncatedBody as i32);
    let Some(Payload::Unreadable(told)) = &last.payload else { panic!("{last:?}") };
    assert_eq!(told.length, Some(body.len() as u64));
    assert_eq!(told.raw, body[whole * (body.len() / 1_000)..100_000]);
}
