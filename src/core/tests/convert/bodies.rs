//! Bodies of every form, whole and broken, for the mod and for senders that are told.

use jimbot_core::convert::{BodyCursor, BodyForm, Converter};
use jimbot_core::log::flags;
use jimbot_proto::events::v1::{EventBatch, event::Payload};
use prost::Message as _;

use crate::harness::{Outcome, context, convert, convert_binary, convert_with};

const GOOD: &str = r#"{"type":"HEARTBEAT","timestamp":1,"payload":{"uptime":5}}"#;

fn types(outcome: &Outcome) -> Vec<i32> {
    outcome.events.iter().map(|got| got.event.r#type).collect()
}

fn reasons(outcome: &Outcome) -> Vec<(u32, &str, &str)> {
    let refusals = outcome.refusals.iter();
    refusals.map(|told| (told.index, told.field.as_str(), told.reason.as_str())).collect()
}

#[test]
fn one_event_an_array_and_lines_are_read_wherever_they_come() {
    let bodies = [
        (GOOD.to_owned(), 1),
        (format!("  [{GOOD}, {GOOD} ]\n"), 2),
        ("[]".to_owned(), 0),
        (format!("{GOOD}\n{GOOD}\r\n\n{GOOD}\n"), 3),
        (format!("\u{FEFF}{GOOD}"), 1),
        (format!(r#"{{"events":[{GOOD},{GOOD}],"batch_id":"b"}}"#), 2),
        (r#"{"batch_id":"b","events":{}}"#.to_owned(), 0),
        (format!(r#"{{"events":{{"1":{GOOD},"2":{GOOD}}}}}"#), 2),
    ];
    for (body, events) in bodies {
        for form in [BodyForm::Events, BodyForm::Batch] {
            for lenient in [false, true] {
                let got = convert(form, lenient, body.as_bytes());
                let lines = body.matches('\n').count() > 2 && form == BodyForm::Batch && !lenient;
                if !lines {
                    assert_eq!(
                        (got.events.len(), got.refusals.len()),
                        (events, 0),
                        "{form:?} {body}: {got:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_last_event_of_a_batch_carries_the_batch() {
    for body in [
        format!(
            r#"{{"batch_id":"b-1","source":"BalatroMCP","timestamp":1772000000000,"odd":[1],"events":[{GOOD},{GOOD}]}}"#
        ),
        format!(
            r#"{{"events":[{GOOD},{GOOD}],"odd":[1],"source":"BalatroMCP","timestamp":1772000000000,"batch_id":"b-1"}}"#
        ),
        format!(
            r#"{{"odd":[1],"batch_id":"b-1","events":[{GOOD},{GOOD}],"timestamp":1772000000000,"source":"BalatroMCP"}}"#
        ),
    ] {
        let got = convert(BodyForm::Batch, false, body.as_bytes());
        assert_eq!(got.events[0].event.batch, None);
        let batch = got.events[1].event.batch.as_ref().expect("on the last event");
        assert_eq!(batch.batch_id.as_deref(), Some("b-1"));
        assert_eq!(batch.source.as_deref(), Some("BalatroMCP"));
        assert_eq!(batch.timestamp, Some(1_772_000_000_000.0));
        assert_eq!(batch.extra["odd"], "[1]");
        assert_eq!(got.summary.batch_time_unix_ms, Some(1_772_000_000_000.0));
    }
}

#[test]
fn a_broken_event_is_kept_as_it_came_and_its_neighbours_as_events() {
    let broken = r#"{"type":"ERROR","payload":{"message":}}"#;
    let body = format!(r#"{{"batch_id":"b","events":[{GOOD},{broken},{GOOD}]}}"#);
    let got = convert(BodyForm::Batch, true, body.as_bytes());
    assert_eq!(types(&got), [19, 65, 19]);
    assert_eq!((got.summary.events, got.summary.unreadable), (3, 1));
    let Some(Payload::Unreadable(unreadable)) = &got.events[1].event.payload else { panic!() };
    assert_eq!(unreadable.raw, broken.as_bytes());
    assert!(unreadable.error.as_deref().unwrap().starts_with("expected a value at byte"));
    assert_eq!(got.events[1].facts.entry.flags, flags::UNREADABLE);
    let strict = convert(BodyForm::Batch, false, body.as_bytes());
    assert_eq!(types(&strict), [19, 19]);
    assert_eq!(strict.refusals[0].index, 1);
    assert_eq!(strict.refusals[0].field, "payload.message");
}

#[test]
fn whatever_breaks_a_batch_nothing_of_it_is_lost() {
    let whole = format!(r#"{{"batch_id":"b","events":[{GOOD},{GOOD},{GOOD}],"source":"s"}}"#);
    for at in 0..whole.len() {
        for change in ["cut", "}", "\"", "x"] {
            let body = match change {
                "cut" => whole[..at].to_owned(),
                _ => format!("{}{change}{}", &whole[..at], &whole[at + 1..]),
            };
            let got = convert(BodyForm::Batch, true, body.as_bytes());
            assert!(got.refusals.is_empty());
            let kept = types(&got).iter().filter(|number| **number != 65).count();
            // Unreadable, or read as one event of no known type with all of it in `extra`.
            let raw = types(&got).iter().any(|number| matches!(number, 65 | 1));
            if change == "cut" {
                let complete = whole[..at].matches(GOOD).count();
                assert!(kept >= complete, "{body}: {:?}", types(&got));
                assert!(raw || at == 0, "{body}");
            } else {
                assert!(kept >= 2 || raw, "{body}: {:?}", types(&got));
            }
        }
    }
}

#[test]
fn events_without_commas_between_them_are_events() {
    for between in ["", " ", "\n", " , "] {
        let list = format!("[{GOOD}{between}{GOOD}{between}{GOOD}]");
        let batch = format!(r#"{{"batch_id":"b","events":{list},"source":"s"}}"#);
        for (form, body) in [(BodyForm::Events, &list), (BodyForm::Batch, &batch)] {
            let got = convert(form, true, body.as_bytes());
            assert_eq!(types(&got), [19, 19, 19], "{body}");
            let strict = convert(form, false, body.as_bytes());
            if between.contains(',') {
                assert_eq!(types(&strict), [19, 19, 19], "{body}");
            } else {
                // Each that has no comma before it, by itself.
                let told: Vec<u32> = strict.refusals.iter().map(|told| told.index).collect();
                assert_eq!((types(&strict), told), (vec![19], vec![1, 2]), "{body}");
            }
        }
    }
}

#[test]
fn whatever_byte_is_missing_each_event_is_there_once() {
    let ids = ["first-event", "second-event", "third-event", "fourth-event"];
    let event = |id: &str| {
        format!(
            r#"{{"type":"HEARTBEAT","timestamp":1.5,"event_id":"{id}","payload":{{"uptime":5}}}}"#
        )
    };
    let list = format!("[{}]", ids.map(event).join(","));
    for whole in [format!(r#"{{"batch_id":"b","events":{list},"source":"s"}}"#), list] {
        for at in 0..whole.len() {
            let body = format!("{}{}", &whole[..at], &whole[at + 1..]);
            let got = convert(BodyForm::Events, true, body.as_bytes());
            for id in ids.iter().filter(|id| body.contains(**id)) {
                let holds = |bytes: &[u8]| bytes.windows(id.len()).any(|at| at == id.as_bytes());
                let count = got.events.iter().filter(|got| holds(got.bytes())).count();
                assert_eq!(count, 1, "{id} of {body}: {:?}", types(&got));
            }
            let read = types(&got).iter().filter(|number| **number == 19).count();
            let around = &whole[at.saturating_sub(1)..whole.len().min(at + 2)];
            if around == "},{" {
                assert_eq!(read, ids.len(), "{body}");
            }
        }
    }
}

#[test]
fn what_a_strict_sender_did_wrong_is_named() {
    let told = |form, body: &str| {
        let got = convert(form, false, body.as_bytes());
        reasons(&got)
            .into_iter()
            .map(|(index, field, reason)| format!("{index} {field}: {reason}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(BodyForm::Events, ""), ["0 : the body is empty: expected an event"]);
    assert_eq!(told(BodyForm::Events, "[5]"), ["0 : expected an object at byte 1"]);
    assert_eq!(
        told(BodyForm::Batch, r#"{"batch_id":"x"}"#),
        ["0 events: missing: expected a list of events"]
    );
    assert_eq!(
        told(BodyForm::Message, r#"{"type":"hand_played","timestamp":1.5,"data":{}}"#),
        ["0 game_id: missing"]
    );
    assert_eq!(
        told(BodyForm::Message, r#"{"type":"hand_played","game_id":"g","data":{}}"#),
        ["0 timestamp: missing"]
    );
    assert_eq!(
        told(BodyForm::Message, r#"{"timestamp":1,"game_id":"g","data":{}}"#),
        ["0 type: missing"]
    );
    for (value, reason) in [
        ("7", "type: not a string"),
        ("[]", "type: not a string"),
        (r#"{"a":[1,"}"]}"#, "type: not a string"),
        ("true", "type: not a string"),
        ("null", "type: missing"),
    ] {
        for body in [
            format!(r#"{{"type":{value},"timestamp":1,"data":{{}}}}"#),
            format!(r#" {{ "data" : {{"type":"X"}} , "type" : {value} }} "#),
        ] {
            assert_eq!(told(BodyForm::Events, &body), [format!("0 {reason}")], "{body}");
        }
    }
    assert_eq!(told(BodyForm::Events, r#"{"event_type":7}"#), ["0 event_type: not a string"]);
    assert_eq!(
        told(BodyForm::Message, r#"{"type":"hand_played","game_id":["g"],"timestamp":1}"#),
        ["0 game_id: not a string"]
    );
    for time in [r#""soon""#, "{}", "false"] {
        let body = format!(r#"{{"type":"hand_played","game_id":"g","timestamp":{time}}}"#);
        assert_eq!(
            told(BodyForm::Message, &body),
            ["0 timestamp: neither a number nor an ISO 8601 time"]
        );
    }
    assert_eq!(
        told(
            BodyForm::Message,
            r#"{"type":"hand_played","timestamp":1.5,"game_id":"g","data":{}}"#
        ),
        [""; 0]
    );
    assert_eq!(
        told(BodyForm::Message, &format!("{GOOD} x")),
        ["1 : text after the end of the value at byte 58"]
    );
    assert_eq!(told(BodyForm::Message, r#"{"type":"HEARTBEAT","payload":{}}"#), [""; 0]);
}

#[test]
fn an_event_that_fits_no_batch_leaves_its_length_and_its_start() {
    let big = format!(r#"{{"type":"ERROR","payload":{{"message":"{}"}}}}"#, "x".repeat(300_000));
    let body = format!("[{GOOD},{big},{GOOD}]");
    let small = jimbot_core::convert::Context { event_bytes_max: 150_000, ..context(true) };
    let got = convert_with(
        &mut Converter::new(),
        BodyCursor::new(BodyForm::Events),
        &small,
        body.as_bytes(),
    );
    assert_eq!(types(&got), [19, 66, 19]);
    let Some(Payload::Unreadable(told)) = &got.events[1].event.payload else { panic!() };
    assert_eq!((told.length, told.raw.len()), (Some(big.len() as u64), 64 * 1024));
    assert!(big.as_bytes().starts_with(&told.raw));
    let strict = jimbot_core::convert::Context { lenient: false, ..small };
    let got = convert_with(
        &mut Converter::new(),
        BodyCursor::new(BodyForm::Events),
        &strict,
        body.as_bytes(),
    );
    assert_eq!((types(&got), got.refusals.len()), (vec![19, 19], 1));
}

#[test]
fn an_unreadable_body_longer_than_a_batch_is_kept_in_pieces() {
    let body = "x".repeat(400_000);
    let small = jimbot_core::convert::Context { event_bytes_max: 150_000, ..context(true) };
    let got = convert_with(
        &mut Converter::new(),
        BodyCursor::new(BodyForm::Batch),
        &small,
        body.as_bytes(),
    );
    let mut whole = Vec::new();
    for got in &got.events {
        let Some(Payload::Unreadable(piece)) = &got.event.payload else { panic!() };
        assert_eq!(piece.offset, Some(whole.len() as u64));
        assert_eq!(piece.length, Some(400_000));
        whole.extend_from_slice(&piece.raw);
    }
    assert_eq!(whole, body.as_bytes());
}

#[test]
fn of_a_body_past_the_limit_the_whole_events_are_kept() {
    let whole = format!(r#"{{"batch_id":"b","events":[{GOOD},{GOOD},{GOOD}]}}"#);
    for at in 0..whole.len() {
        let cursor = BodyCursor::new(BodyForm::Batch).cut(9_999_999);
        let got =
            convert_with(&mut Converter::new(), cursor, &context(true), &whole.as_bytes()[..at]);
        let complete = whole[..at].matches(GOOD).count();
        assert_eq!(types(&got).iter().filter(|number| **number == 19).count(), complete, "{at}");
        let last = got.events.last().expect("one event says so");
        assert_eq!(last.event.r#type, 66, "{at}");
        let Some(Payload::Unreadable(told)) = &last.event.payload else { panic!() };
        assert_eq!(told.length, Some(9_999_999));
    }
}

#[test]
fn a_batch_of_binary_events_gets_its_identity_from_the_log() {
    let body = format!(
        r#"[{GOOD},{{"type":"GAME_STATE","event_id":"e","producer":"p","producer_sequence":9,"payload":{{"game_id":"SEED","jokers":[{{"name":"J"}}]}}}}]"#
    );
    let first = convert(BodyForm::Events, true, body.as_bytes());
    let mut events: Vec<_> = first.events.iter().map(|got| got.event.clone()).collect();
    for event in &mut events {
        (event.log_epoch, event.sequence, event.session, event.game_key) = (1, 2, 3, 4);
    }
    let message = EventBatch { events: events.clone() }.encode_to_vec();
    let again = convert_binary(&message);
    let kept: Vec<_> = again.events.iter().map(|got| got.event.clone()).collect();
    for (kept, first) in kept.iter().zip(&first.events) {
        let mut first = first.event.clone();
        first.sequence = kept.sequence;
        assert_eq!(*kept, first);
    }
    assert_eq!(again.events[1].text(&again.events[1].facts.game_id), "SEED");
    assert_eq!(again.events[1].facts.producer_sequence, Some(9));
    let single = convert_binary(&events[1].encode_to_vec());
    assert_eq!(types(&single), [2]);
    let mut wrong = events[1].encode_to_vec();
    wrong.truncate(wrong.len() - 1);
    assert_eq!(convert_binary(&wrong).refusals.len(), 1);
}
