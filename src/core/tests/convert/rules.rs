//! The schema's rules on events that come as protobuf: what a value is found to be is the same as in JSON.

use jimbot_core::convert::{BodyForm, Refusal};
use jimbot_core::log::flags;
use jimbot_proto::events::v1::{BatchInfo, Event, EventBatch, Severity};
use jimbot_traffic::{Dialect, KeyOrder, samples};
use prost::Message as _;

use crate::harness::{Outcome, convert, convert_binary, convert_binary_as};

/// Field, severity and reason of each finding of an event.
fn findings(event: &Event) -> Vec<(String, i32, String)> {
    // An event that comes as protobuf does not say under which key its payload was sent.
    let path = |field: &str| match field.strip_prefix("data.") {
        Some(rest) => format!("payload.{rest}"),
        None => field.to_owned(),
    };
    let mut findings: Vec<_> = event
        .findings
        .iter()
        .map(|found| (path(&found.field), found.severity, found.reason.clone()))
        .collect();
    findings.sort();
    findings
}

/// The event that a lenient sender's JSON becomes, as a producer would send it.
fn as_sent(json: &str) -> Event {
    let got = convert(BodyForm::Events, true, json.as_bytes());
    assert_eq!(got.events.len(), 1, "{json}");
    let mut event = got.events[0].event.clone();
    event.findings.clear();
    event
}

fn told(refusals: &[Refusal]) -> Vec<(&str, &str)> {
    refusals.iter().map(|told| (told.field.as_str(), told.reason.as_str())).collect()
}

/// Sends the same event both ways, to a strict and to a lenient service, and compares what is found.
fn compare(json: &str) -> (Outcome, Outcome) {
    let message = as_sent(json).encode_to_vec();
    for lenient in [true, false] {
        let text = convert(BodyForm::Events, lenient, json.as_bytes());
        let binary = convert_binary_as(lenient, &message);
        assert_eq!(told(&text.refusals), told(&binary.refusals), "{json}");
        assert_eq!(text.events.len(), binary.events.len(), "{json}");
        for (text, binary) in text.events.iter().zip(&binary.events) {
            assert_eq!(findings(&text.event), findings(&binary.event), "{json}");
            assert_eq!(text.facts.findings, binary.facts.findings, "{json}");
            assert_eq!(text.facts.notes, binary.facts.notes, "{json}");
            let flagged = |flags: u16| flags & flags::FLAGGED;
            assert_eq!(flagged(text.facts.entry.flags), flagged(binary.facts.entry.flags));
            // What was found before is not found twice.
            let again = convert_binary_as(lenient, binary.bytes());
            assert_eq!(findings(&again.events[0].event), findings(&binary.event), "{json}");
        }
    }
    (convert(BodyForm::Events, false, json.as_bytes()), convert_binary(&message))
}

#[test]
fn the_same_bad_value_gives_the_same_finding() {
    let long = "x".repeat(300);
    let many = vec![r#"{"name":"J"}"#; 10_001].join(",");
    let labels: Vec<String> = (0..65).map(|at| format!(r#""k{at}":"v""#)).collect();
    let labels = labels.join(",");
    let bad = [
        (r#""event_id":"a b""#.to_owned(), "event_id"),
        (format!(r#""event_id":"{long}""#), "event_id"),
        (format!(r#""source":"{long}""#), "source"),
        (format!(r#""subtype":"{long}""#), "subtype"),
        (r#""traceparent":"00-xyz""#.to_owned(), "traceparent"),
        (format!(r#""metadata":{{{labels}}}"#), "metadata"),
        (format!(r#""payload":{{"phase":"{long}"}}"#), ""),
        (r#""payload":{"phase":"NOWHERE"}"#.to_owned(), ""),
        (
            format!(r#""payload":{{"jokers":[{{"name":"J"}},{{"name":"{long}"}}]}}"#),
            "payload.jokers[1].name",
        ),
        (format!(r#""payload":{{"jokers":[{many}]}}"#), "payload.jokers"),
        (
            r#""payload":{"ante":-5000,"round":-1,"hand":[{"edition":"none at all"}]}"#.to_owned(),
            "",
        ),
        (r#""payload":{"money":nan,"chips":inf}"#.to_owned(), ""),
    ];
    for (member, field) in bad {
        let json = format!(r#"{{"type":"GAME_STATE","timestamp":1.5,{member}}}"#);
        let (text, binary) = compare(&json);
        if !field.is_empty() {
            let found = findings(&binary.events[0].event);
            assert_eq!(found.len(), 1, "{field}: {found:?}");
            assert_eq!(found[0].0, field);
            assert_eq!(found[0].1, Severity::Flag as i32);
            assert_eq!(text.events[0].event.findings[0].reason, found[0].2);
        }
    }
}

#[test]
fn findings_inside_changes_are_told_with_their_path() {
    let long = "x".repeat(300);
    let json = format!(
        r#"{{"type":"HEARTBEAT","timestamp":1,"changes":[{{"type":"ERROR"}},{{"type":"HEARTBEAT","source":"{long}"}}]}}"#
    );
    let (_, binary) = compare(&json);
    assert_eq!(findings(&binary.events[0].event)[0].0, "changes[1].source");
}

#[test]
fn what_refuses_an_event_refuses_it_by_name() {
    let long = "x".repeat(300);
    let (text, binary) =
        compare(&format!(r#"{{"type":"HEARTBEAT","timestamp":1,"game_id":"{long}"}}"#));
    assert_eq!(told(&text.refusals), [("game_id", "longer than allowed")]);
    assert_eq!(told(&binary.refusals), [("game_id", "longer than allowed")]);
    // One of a batch is refused, the others are stored.
    let good = as_sent(r#"{"type":"HEARTBEAT","timestamp":1}"#);
    let bad = Event { game_id: Some(long), ..good.clone() };
    let untyped = Event { r#type: 0, ..good.clone() };
    let batch = EventBatch { events: vec![good.clone(), bad, untyped, good] };
    let got = convert_binary(&batch.encode_to_vec());
    assert_eq!(got.events.len(), 2);
    assert_eq!(told(&got.refusals), [("game_id", "longer than allowed"), ("type", "missing")]);
    assert_eq!(got.refusals.iter().map(|told| told.index).collect::<Vec<_>>(), [1, 2]);
    // A sender that is never refused is told in the events.
    let got = convert_binary_as(true, &batch.encode_to_vec());
    assert_eq!((got.events.len(), got.refusals.len()), (4, 0));
    assert_eq!(findings(&got.events[1].event)[0].1, Severity::Reject as i32);
}

#[test]
fn what_the_service_wrote_itself_is_not_checked() {
    let mut event = as_sent(r#"{"type":"HEARTBEAT","timestamp":1}"#);
    event.batch = Some(BatchInfo { batch_id: Some("x".repeat(300)), ..BatchInfo::default() });
    let got = convert_binary(&event.encode_to_vec());
    assert_eq!(findings(&got.events[0].event), []);
}

/// Numbers and texts of an event that break some rule, put in place of those that are there.
fn spoil(json: &str, random: &mut fastrand::Rng) -> String {
    let mut value: serde_json::Value = serde_json::from_str(json).expect("samples are JSON");
    spoil_value(&mut value, 0, random);
    value.to_string()
}

fn spoil_value(value: &mut serde_json::Value, depth: u32, random: &mut fastrand::Rng) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                // The type decides what the payload is.
                if depth > 0 || !matches!(key.as_str(), "type" | "event_type" | "subtype") {
                    spoil_value(value, depth + 1, random);
                }
            }
        }
        serde_json::Value::Array(elements) => {
            elements.iter_mut().for_each(|value| spoil_value(value, depth + 1, random));
        }
        _ if random.u32(..8) > 0 => {}
        serde_json::Value::Number(_) => {
            *value = random.choice([-1e9, -1.0, 0.5, 1e300]).into();
        }
        serde_json::Value::String(_) => {
            let odd = ["", "not a word", "\u{1}", "NOWHERE"];
            *value = match random.usize(..odd.len() + 2) {
                at if at < odd.len() => odd[at].into(),
                at => "x".repeat([100, 70_000][at - odd.len()]).into(),
            };
        }
        _ => {}
    }
}

#[test]
fn generated_events_are_found_to_be_the_same_either_way() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut found = 0;
    for round in 0..8 {
        for event in samples::every_event(Dialect::Mod, round, KeyOrder::Random) {
            let Ok(json) = std::str::from_utf8(&event.json) else { continue };
            // What is no strict JSON (bare `inf`) stands among the bad values above.
            if serde_json::from_str::<serde_json::Value>(json).is_err() {
                continue;
            }
            let spoiled = spoil(json, &mut random);
            let (_, binary) = compare(&spoiled);
            found += binary.events.iter().map(|got| got.facts.findings).sum::<u32>();
        }
    }
    assert!(found > 50, "{found} findings");
}
