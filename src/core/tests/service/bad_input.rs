//! Bad input of every kind: the exact answer, and the service goes on.

use jimbot_core::log::{IndexEntry, flags};
use jimbot_core::service::ConnId;
use jimbot_proto::FILE_DESCRIPTOR_SET;
use jimbot_proto::events::v1::Event;
use jimbot_proto::events::v1::event::Payload;
use jimbot_traffic::{Dialect, KeyOrder, samples};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::json;

use crate::harness::{
    Answer, Harness, batch, close_code, event, frame, mod_post, parse, post, text,
};

/// Sends a body of any length as a client does: what the service does not take yet waits.
fn send_all(harness: &mut Harness, id: ConnId, bytes: &[u8]) -> Answer {
    assert_eq!(harness.send(id, bytes), bytes.len(), "everything is read");
    harness.turn();
    parse(&harness.receive(id))
}

/// That an ordinary event is stored and acknowledged.
fn goes_on(harness: &mut Harness, id: ConnId, name: &str) {
    let answer = harness.request(id, post("/api/v1/events", "", event(name, 1.0)));
    assert_eq!((answer.status, answer.json()["stored"].as_u64()), (200, Some(1)));
}

fn last(harness: &Harness) -> (IndexEntry, Event) {
    harness.stored().pop().expect("something was stored")
}

/// A whole state from the middle of a run, as the mod sends it.
fn whole_state() -> Vec<u8> {
    let events = samples::every_event(Dialect::Mod, 1, KeyOrder::Listed);
    let states = events.into_iter().filter(|event| event.type_name == "GAME_STATE");
    states.map(|event| event.json).max_by_key(Vec::len).expect("the mod tells its state")
}

#[test]
fn a_state_cut_at_any_byte_is_refused_with_the_place() {
    let mut harness = Harness::new();
    let whole = whole_state();
    assert!(whole.len() > 7_000, "{}", whole.len());
    let id = harness.connect();
    for end in 1..whole.len() {
        let answer = harness.request(id, post("/api/v1/events", "", &whole[..end]));
        let json = answer.json();
        let (field, reason) = (&json["errors"][0]["field"], &json["errors"][0]["reason"]);
        let exact = format!(
            "{{\"status\":\"refused\",\"stored\":0,\"repeated\":0,\"refused\":1,\
             \"errors\":[{{\"index\":0,\"field\":{field},\"reason\":{reason}}}]}}\n"
        );
        assert_eq!((answer.status, &answer.body), (400, &exact), "{end}");
        let (what, place) = reason.as_str().unwrap().rsplit_once(" at byte ").expect("a place");
        let known = [
            "the text ends inside a value",
            "a string without its closing quote",
            "not a literal: expected true, false or null",
            "not a number",
        ];
        assert!(known.contains(&what), "{end}: {what}");
        // A string is told of where it begins or where the text ends, all else where the text ends.
        assert!(place.parse::<usize>().unwrap() <= end, "{end}: {place}");
    }
    assert_eq!(harness.stored().len(), 0);
    goes_on(&mut harness, id, "after");
}

#[test]
fn a_state_cut_at_any_byte_is_kept_for_the_mod_as_it_came() {
    let mut harness = Harness::new();
    let whole = whole_state();
    let id = harness.connect();
    let note = "what could not be read is stored as it came, as an event of its own";
    let expected = format!(
        "{{\"status\":\"ok\",\"stored\":1,\"repeated\":0,\"unreadable\":1,\"note\":\"{note}\"}}\n"
    );
    for end in 1..whole.len() {
        let answer = harness.request(id, mod_post("/api/v1/events", &whole[..end]));
        assert_eq!((answer.status, &answer.body), (200, &expected), "{end}");
    }
    goes_on(&mut harness, id, "after");
    let mut end = 0;
    harness.service.log().for_each_event(|entry, bytes| {
        end += 1;
        if end == whole.len() {
            return;
        }
        assert!(entry.flags & flags::UNREADABLE != 0, "{end}");
        let event = Event::decode(bytes).expect("stored events parse");
        let Some(Payload::Unreadable(unreadable)) = event.payload else { panic!("{end}") };
        assert_eq!(unreadable.raw, &whole[..end], "the bytes are there");
    });
    assert_eq!(end, whole.len());
}

/// An event as JSON, without what the service adds.
fn shown(event: &Event) -> serde_json::Value {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptor is whole");
    let descriptor = pool.get_message_by_name("jimbot.events.v1.Event").expect("it is there");
    let message = DynamicMessage::decode(descriptor, &event.encode_to_vec()[..]).unwrap();
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut json = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
    for name in ["log_epoch", "sequence", "receive_time_unix_ns", "session", "game_key", "findings"]
    {
        json.as_object_mut().unwrap().remove(name);
    }
    json
}

/// Where a value stands that its field has a place for; all others stand as they came in `extra`.
fn place_of(field: &str, value: &str) -> Option<(&'static str, serde_json::Value)> {
    let place = match (field, value) {
        ("type", r#""text""#) => "/type_name",
        ("source", r#""text""#) => "/source",
        ("event_id", r#""text""#) => "/event_id",
        ("subtype", r#""text""#) => "/subtype",
        ("game_id", r#""text""#) => "/game_id",
        ("timestamp", "-7.5") => "/producer_time",
        ("version", "-7.5") => "/version",
        ("payload", "{}") => return Some(("/money_changed", json!({}))),
        ("payload", r#"{"a":{}}"#) => {
            return Some(("/money_changed", json!({"extra": {"a": "{}"}})));
        }
        // An empty list, in JSON and as Lua's encoders write it: nothing was said.
        ("changes", "[]" | "{}") => return Some(("/changes", serde_json::Value::Null)),
        _ => return None,
    };
    Some((place, serde_json::from_str(value).expect("JSON")))
}

#[test]
fn every_field_may_be_of_another_type_and_nothing_is_lost() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let first =
        [("type", r#""MONEY_CHANGED""#), ("timestamp", "1.5"), ("payload", r#"{"old_value":1}"#)];
    let members: Vec<String> =
        first.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    for field in [
        "type",
        "source",
        "timestamp",
        "event_id",
        "version",
        "payload",
        "subtype",
        "priority",
        "game_id",
        "changes",
    ] {
        for value in ["null", "true", "-7.5", "\"text\"", "[]", "{}", "[1,\"x\"]", "{\"a\":{}}"] {
            let what = format!("{field} {value}");
            let body = format!("{{{},\"{field}\":{value}}}", members.join(","));
            let answer = harness.request(id, mod_post("/api/v1/events/batch", batch(&[body])));
            let stored = "{\"status\":\"ok\",\"stored\":1,\"repeated\":0}\n";
            assert_eq!((answer.status, answer.body.as_str()), (200, stored), "{what}");
            let event = shown(&last(&harness).1);
            match place_of(field, value) {
                Some((place, expected)) => {
                    let found = event.pointer(place).cloned().unwrap_or_default();
                    assert_eq!(found, expected, "{what}: {event}");
                }
                None => assert_eq!(event["extra"][field], value, "{what}: {event}"),
            }
            // What the others said is there too, and so is what the field said at first.
            for (key, value) in first {
                let place = if key == field { format!("{key}#1") } else { key.to_owned() };
                let whole = match key {
                    _ if key == field => event["extra"][&place] == value,
                    "type" => event["type"] == "EVENT_TYPE_MONEY_CHANGED",
                    "timestamp" => event["producer_time"] == 1.5,
                    _ => {
                        event["money_changed"] == json!({"old_value": 1.0})
                            || event["extra"][key] == value
                    }
                };
                assert!(whole, "{what}: {key} is lost: {event}");
            }
        }
    }
    goes_on(&mut harness, id, "after");
}

#[test]
fn an_empty_body_is_no_event() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let answer = harness.request(id, post("/api/v1/events", "", ""));
    assert_eq!(answer.status, 400, "{}", answer.body);
    let answer = harness.request(id, mod_post("/api/v1/events/batch", ""));
    assert_eq!(answer.status, 200, "{}", answer.body);
    goes_on(&mut harness, id, "after");
}

#[test]
fn ten_megabytes_are_too_many_for_others_and_cut_for_the_mod() {
    let mut harness = Harness::new();
    let mut events = Vec::new();
    let mut length = 0;
    while length < 10_000_000 {
        events.push(format!(
            r#"{{"type":"ERROR","timestamp":{},"event_id":"e{}","payload":{{"message":"{}"}}}}"#,
            events.len(),
            events.len(),
            "x".repeat(50_000)
        ));
        length += 50_100;
    }
    let body = batch(&events);
    let strict = harness.connect();
    // A client that is refused before it has sent everything is read no further.
    harness.send(strict, &post("/api/v1/events/batch", "", &body));
    let answer = parse(&harness.receive(strict));
    assert_eq!((answer.status, &answer.json()["field"]), (413, &"body".into()));
    assert_eq!(answer.header("Connection"), Some("close"));
    assert_eq!(harness.stored().len(), 0);

    let id = harness.connect();
    let answer = send_all(&mut harness, id, &mod_post("/api/v1/events/batch", &body));
    assert_eq!(answer.status, 200);
    let stored = harness.stored();
    assert_eq!(answer.json()["stored"].as_u64(), Some(stored.len() as u64));
    assert_eq!(
        stored.len(),
        8 * 1024 * 1024 / events[100].len() + 1,
        "the whole ones, and one that tells"
    );
    let (entry, told) = stored.last().unwrap();
    assert!(entry.flags & flags::UNREADABLE != 0);
    let Some(Payload::Unreadable(unreadable)) = &told.payload else { panic!("{told:?}") };
    assert_eq!(unreadable.length, Some(body.len() as u64));
    assert!(unreadable.raw.len() <= 64 * 1024);
    goes_on(&mut harness, id, "after");
}

#[test]
fn a_hundred_megabytes_from_the_mod_are_read_and_dropped() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let length = 100_000_000;
    let head = format!(
        "POST /api/v1/events/batch HTTP/1.1\r\nHost: localhost\r\nUser-Agent: BalatroMCP/1.0\r\nContent-Length: {length}\r\n\r\n"
    );
    harness.send(id, head.as_bytes());
    let piece = vec![b'['; 1_000_000];
    for _ in 0..100 {
        assert_eq!(harness.send(id, &piece), piece.len());
    }
    harness.turn();
    let answer = parse(&harness.receive(id));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (_, told) = last(&harness);
    let Some(Payload::Unreadable(unreadable)) = &told.payload else { panic!("{told:?}") };
    assert_eq!(unreadable.length, Some(length));
    goes_on(&mut harness, id, "after");
}

#[test]
fn a_thousand_levels_are_too_deep() {
    let mut harness = Harness::new();
    let id = harness.connect();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(1_000), close.repeat(1_000));
        let body = event("deep", 1.0).replace("\"old_value\":1", &format!("\"old_value\":{deep}"));
        let answer = harness.request(id, post("/api/v1/events", "", &body));
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(
            answer.json()["errors"][0]["reason"].as_str().unwrap().contains("deep"),
            "{}",
            answer.body
        );
        let answer = harness.request(id, mod_post("/api/v1/events", &body));
        assert_eq!((answer.status, &answer.json()["unreadable"]), (200, &1.into()));
    }
    goes_on(&mut harness, id, "after");
}

#[test]
fn text_that_is_not_utf8_is_repaired_and_kept_beside() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let with = |text: &[u8]| {
        let body = event("text", 1.0);
        let (before, after) = body.split_once("BalatroMCP").unwrap();
        [before.as_bytes(), text, after.as_bytes()].concat()
    };
    for (n, text) in
        [b"\xff\xfe".as_slice(), b"\xc3", b"\xed\xa0\x80", b"\\ud800"].iter().enumerate()
    {
        let body = String::from_utf8_lossy(&with(text)).len();
        assert!(body > 0);
        let bytes: Vec<u8> = with(text);
        let bytes = replace(&bytes, b"\"text\"", format!("\"text{n}\"").as_bytes());
        let answer = harness.request(id, post("/api/v1/events", "", &bytes));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (entry, event) = last(&harness);
        assert!(entry.flags & flags::RAW_TEXT != 0, "{text:?}");
        assert_eq!(event.raw_text[0].field, "source");
        assert!(event.source.unwrap().contains('\u{fffd}'));
    }
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let at = bytes.windows(what.len()).position(|window| window == what).unwrap();
    [&bytes[..at], with, &bytes[at + what.len()..]].concat()
}

#[test]
fn numbers_of_every_kind_are_numbers() {
    let mut harness = Harness::new();
    let id = harness.connect();
    for (n, (token, value)) in [
        ("nan", f64::NAN),
        ("-nan", f64::NAN),
        ("NaN", f64::NAN),
        ("inf", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        ("1e999", f64::INFINITY),
        ("-1e999", f64::NEG_INFINITY),
        ("4.9406564584125e-324", 5e-324),
    ]
    .into_iter()
    .enumerate()
    {
        let body = event(&format!("n{n}"), 1.0)
            .replace("\"old_value\":1", &format!("\"old_value\":{token}"));
        let answer = harness.request(id, mod_post("/api/v1/events", &body));
        assert_eq!((answer.status, &answer.json()["stored"]), (200, &1.into()), "{token}");
        let (_, event) = last(&harness);
        let Some(Payload::MoneyChanged(money)) = event.payload else { panic!("{token}") };
        let got = money.old_value.unwrap();
        assert!(got == value || (got.is_nan() && value.is_nan()), "{token}: {got}");
    }
}

#[test]
fn a_key_that_comes_twice_loses_neither_value() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let whole = event("twice", 1.0);
    for (n, (from, to, place, value, kept)) in [
        (
            "\"old_value\":1",
            "\"old_value\":1,\"old_value\":2",
            "/money_changed/old_value",
            json!(2.0),
            ("/money_changed/extra/old_value#1", "1"),
        ),
        (
            "\"old_value\":1",
            "\"odd\":1,\"odd\":[2]",
            "/money_changed/extra/odd",
            json!("[2]"),
            ("/money_changed/extra/odd#1", "1"),
        ),
        (
            "\"timestamp\":1",
            "\"timestamp\":1,\"timestamp\":7",
            "/producer_time",
            json!(7.0),
            ("/extra/timestamp#1", "1"),
        ),
        (
            "\"source\"",
            "\"source\":\"another\",\"source\"",
            "/source",
            json!("BalatroMCP"),
            ("/extra/source#1", "\"another\""),
        ),
        (
            "\"version\":1",
            "\"version\":1,\"odd\":1,\"odd\":2,\"odd\":3",
            "/extra/odd",
            json!("3"),
            ("/extra/odd#1", "1"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let body = whole.replace(from, to).replace("\"twice\"", &format!("\"twice{n}\""));
        let answer = harness.request(id, post("/api/v1/events", "", &body));
        let stored = "{\"status\":\"ok\",\"stored\":1,\"repeated\":0}\n";
        assert_eq!((answer.status, answer.body.as_str()), (200, stored), "{to}");
        let event = shown(&last(&harness).1);
        assert_eq!(event.pointer(place), Some(&value), "{to}: {event}");
        assert_eq!(event.pointer(kept.0), Some(&json!(kept.1)), "{to}: {event}");
    }
    let event = shown(&last(&harness).1);
    assert_eq!(event["extra"]["odd#2"], "2", "{event}");
    goes_on(&mut harness, id, "after");
}

#[test]
fn half_open_sockets_are_let_go() {
    let mut harness = Harness::new();
    // A peer that vanished in the middle of a body, and one that closed its direction after a whole request.
    let vanished = harness.connect();
    let request = post("/api/v1/events", "", event("a", 1.0));
    harness.send(vanished, &request[..request.len() - 5]);
    let polite = harness.connect();
    harness.send(polite, &request);
    harness.service.peer_closed(polite, harness.now);
    assert_eq!(parse(&harness.receive(polite)).status, 200, "it still gets its answer");
    let reset = harness.connect();
    harness.send(reset, &request[..50]);
    harness.service.peer_reset(reset, harness.now);
    // Its 408 waits for half a minute to be taken.
    harness.wait_ms(60_000);
    assert_eq!(harness.service.connections(), 0);
    assert_eq!(harness.stored().len(), 1);
}

#[test]
fn violations_of_the_websocket_protocol_end_that_connection_alone() {
    let mut harness = Harness::new();
    let bystander = harness.websocket("/ws?ack=1");
    let unmasked = vec![0x81, 2, b'{', b'}'];
    let reserved_bits = {
        let mut f = text("{}");
        f[0] |= 0x40;
        f
    };
    let bad_opcode = frame(3, b"");
    let long_ping = frame(9, &[0; 126]);
    let continuation = frame(0, b"{}");
    let not_utf8 = frame(1, b"\xff\xff");
    let bad_close = frame(8, &[3]);
    for (violation, code) in [
        (unmasked, 1002),
        (reserved_bits, 1002),
        (bad_opcode, 1002),
        (long_ping, 1002),
        (continuation, 1002),
        (not_utf8, 1007),
        (bad_close, 1002),
    ] {
        let id = harness.websocket("/ws");
        let received = harness.say(id, &violation);
        assert_eq!(close_code(&received), Some(code), "{violation:?}");
        harness.hang_up(id);
    }
    harness.say(bystander, text(event("a", 1.0)));
    assert_eq!(harness.stored().len(), 1);
}

#[test]
fn a_message_past_the_limit_closes_with_too_large() {
    let mut harness = Harness::new();
    let id = harness.websocket("/ws");
    let mut head = vec![0x81, 0x80 | 127];
    head.extend((9_000_000_u64).to_be_bytes());
    head.extend([0; 4]);
    assert_eq!(close_code(&harness.say(id, head)), Some(1009));
}

#[test]
fn web_pages_do_not_reach_a_game() {
    let mut harness = Harness::new();
    for headers in
        ["Sec-Fetch-Site: cross-site\r\n", "Origin: https://evil.example\r\n", "Origin: null\r\n"]
    {
        for path in ["/api/v1/events", "/api/v1/commands", "/metrics", "/healthz"] {
            let id = harness.connect();
            let answer = harness.request(id, post(path, headers, "{}"));
            assert_eq!(answer.status, 403, "{headers}{path}");
            harness.hang_up(id);
        }
    }
    let id = harness.connect();
    let rebound = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(harness.request(id, rebound).status, 403);
}
