//! WebSockets: messages, acknowledgements, refusals.

use jimbot_proto::events::v1::event::Payload;
use jimbot_proto::events::v1::{Event, EventBatch, EventType};
use prost::Message;

use crate::harness::{Harness, batch, close_code, event, frame, text, texts, upgrade};

const OLD_CLIENT: &str = r#"{"type":"hand_played","timestamp":1780000000.25,"game_id":"g1","data":{"hand_type":"Flush","score":300}}"#;

#[test]
fn any_path_may_be_upgraded() {
    let mut harness = Harness::new();
    for path in ["/", "/ws", "/events", "/some/where"] {
        let id = harness.websocket(path);
        assert_eq!(harness.say(id, text(OLD_CLIENT)), b"", "nobody asked for an acknowledgement");
    }
    assert_eq!(harness.stored().len(), 4);
}

#[test]
fn each_message_is_acknowledged_when_asked_for() {
    let mut harness = Harness::new();
    let id = harness.websocket("/ws?ack=1");
    let mut bytes = text(event("a", 1.0));
    bytes.extend(text(format!("[{},{}]", event("b", 2.0), event("c", 3.0))));
    bytes.extend(text(batch(&[event("d", 4.0)])));
    bytes.extend(text(event("a", 1.0)));
    let received = harness.say(id, bytes);
    assert_eq!(
        texts(&received),
        [
            r#"{"ack":1,"seq":1}"#,
            r#"{"ack":2,"seq":3}"#,
            r#"{"ack":1,"seq":4}"#,
            r#"{"ack":1,"seq":4}"#
        ],
        "a repeat is acknowledged too, with the newest sequence"
    );
    assert_eq!(harness.stored().len(), 4);
}

#[test]
fn binary_messages_are_events_of_the_schema() {
    let mut harness = Harness::new();
    let id = harness.websocket("/ws?ack=1");
    let event = |id: &str| Event {
        r#type: EventType::MoneyChanged as i32,
        event_id: Some(id.to_owned()),
        ..Event::default()
    };
    let received = harness.say(id, frame(2, &event("a").encode_to_vec()));
    assert_eq!(texts(&received), [r#"{"ack":1,"seq":1}"#]);
    let both = EventBatch { events: vec![event("b"), event("c")] };
    harness.say(id, frame(2, &both.encode_to_vec()));
    let received = harness.say(id, frame(2, b"\xff\xff\xff"));
    assert!(texts(&received)[0].starts_with(r#"{"refused":[{"index":0,"#), "{received:?}");
    assert_eq!(harness.stored().len(), 3);
}

#[test]
fn a_binary_message_of_the_mod_that_cannot_be_read_is_stored_as_it_came() {
    let mut harness = Harness::new();
    let id = harness.connect();
    harness.say(id, upgrade("/ws?ack=1", "User-Agent: BalatroMCP/1\r\n"));
    let received = harness.say(id, frame(2, b"\xff\xff\xff"));
    assert_eq!(texts(&received), [r#"{"ack":1,"seq":1}"#]);
    let stored = harness.stored();
    let Some(Payload::Unreadable(told)) = &stored[0].1.payload else { panic!("{stored:?}") };
    assert_eq!(told.raw, b"\xff\xff\xff");
    let metrics = harness.get("/metrics").body;
    let counted = "jimbot_mcp_events_marked_total{mark=\"unreadable\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn what_breaks_a_rule_is_refused_by_its_name_in_binary_messages_too() {
    let mut harness = Harness::new();
    let id = harness.websocket("/ws");
    let good = Event { r#type: EventType::MoneyChanged as i32, ..Event::default() };
    let long = Event { game_id: Some("x".repeat(300)), ..good.clone() };
    for (event, field, reason) in
        [(long, "game_id", "longer than allowed"), (Event::default(), "type", "missing")]
    {
        let both = EventBatch { events: vec![event, good.clone()] };
        let received = harness.say(id, frame(2, &both.encode_to_vec()));
        let answer: serde_json::Value = serde_json::from_str(&texts(&received)[0]).unwrap();
        assert_eq!(answer["refused"][0]["field"], field);
        assert_eq!(answer["refused"][0]["reason"], reason);
    }
    assert_eq!(harness.stored().len(), 2, "the others of a batch are stored");
}

#[test]
fn what_lacks_a_field_is_refused_by_its_name() {
    let mut harness = Harness::new();
    let id = harness.websocket("/ws");
    for (message, field) in [
        (r#"{"timestamp":1.5,"game_id":"g","data":{}}"#, "type"),
        (r#"{"type":"hand_played","game_id":"g","data":{}}"#, "timestamp"),
        (r#"{"type":"hand_played","timestamp":1.5,"data":{}}"#, "game_id"),
    ] {
        let received = harness.say(id, text(message));
        let answer: serde_json::Value = serde_json::from_str(&texts(&received)[0]).unwrap();
        assert_eq!(answer["refused"][0]["field"], field);
    }
    let received = harness.say(id, text("{broken"));
    assert_eq!(texts(&received).len(), 1);
    assert_eq!(harness.stored().len(), 0);
    harness.say(id, text(OLD_CLIENT));
    assert_eq!(harness.stored().len(), 1, "the connection goes on");
}

#[test]
fn a_session_ends_with_its_websocket() {
    let mut harness = Harness::new();
    let first = harness.websocket("/ws");
    harness.say(first, text(OLD_CLIENT));
    let received = harness.say(first, frame(8, &1000_u16.to_be_bytes()));
    assert_eq!(close_code(&received), Some(1000));
    harness.hang_up(first);
    let second = harness.websocket("/ws");
    harness.say(second, text(OLD_CLIENT.replace("0.25", "1.25")));
    let stored = harness.stored();
    assert_ne!(stored[0].0.session, stored[1].0.session);
    assert_eq!(harness.service.connections(), 1);
}

#[test]
fn a_silent_websocket_is_pinged_and_then_closed() {
    let mut harness = Harness::new();
    let id = harness.websocket("/ws");
    harness.wait_ms(20_500);
    let received = harness.receive(id);
    assert_eq!(crate::harness::frames(&received)[0].0, 9, "a ping");
    harness.wait_ms(20_500);
    assert_eq!(close_code(&harness.receive(id)), Some(1011));
    harness.wait_ms(15_000);
    assert_eq!(harness.service.connections(), 0);
}
