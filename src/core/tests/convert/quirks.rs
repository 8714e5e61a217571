//! The oddities of real games, one by one (what they send is in the wire contract).

use jimbot_core::convert::BodyForm;
use jimbot_core::log::flags;
use jimbot_proto::events::v1::{Event, card, event::Payload, joker_properties};

use crate::harness::{convert, mod_events, one};

fn payload(event: &Event) -> &Payload {
    event.payload.as_ref().expect("the event has a payload")
}

macro_rules! payload {
    ($event:expr, $kind:ident) => {
        match payload(&$event) {
            Payload::$kind(payload) => payload,
            other => panic!("{other:?}"),
        }
    };
}

fn state(members: &str) -> jimbot_proto::events::v1::BalatroGameStateEvent {
    let got = one(format!(r#"{{"type":"GAME_STATE","payload":{{{members}}}}}"#).as_bytes());
    payload!(got.event, GameState).clone()
}

#[test]
fn an_empty_list_is_a_brace_pair_in_every_list_and_map() {
    let got = state(
        r#""jokers":{},"hand":{},"consumables":{},"shop_items":{},"score_history":{},"deck":{"cards_remaining":{},"full_deck":{}},"triggers":{}"#,
    );
    assert!(got.extra.is_empty() && got.jokers.is_empty() && got.shop_items.is_empty());
    assert!(got.deck.expect("a deck").extra.is_empty());
    let got = one(br#"{"type":"ERROR","changes":{},"payload":{"context":{},"message":"m"}}"#);
    assert!(got.event.extra.is_empty() && payload!(got.event, Error).extra.is_empty());
}

#[test]
fn a_list_in_an_object_with_numbers_as_keys_is_a_list_in_their_order() {
    let got = state(r#""hand":{"2":{"rank":"3"},"1":{"rank":"2"},"3":{"rank":"4"}}"#);
    let ranks: Vec<_> = got.hand.iter().map(|card| card.rank.as_deref()).collect();
    assert_eq!(ranks, [Some("2"), Some("3"), Some("4")]);
    let got = state(r#""hand":{"1":{"rank":"2"},"3":{"rank":"4"}}"#);
    assert!(got.hand.is_empty());
    assert_eq!(got.extra["hand"], r#"{"1":{"rank":"2"},"3":{"rank":"4"}}"#);
}

#[test]
fn an_element_of_another_type_carries_the_list_whole() {
    let got = state(r#""hand":[{"rank":"2"},"x"],"ante":1"#);
    assert!(got.hand.is_empty());
    assert_eq!(got.extra["hand"], r#"[{"rank":"2"},"x"]"#);
    assert_eq!(got.base.expect("a base").ante, Some(1.0));
}

#[test]
fn bare_words_for_what_is_no_number_are_numbers() {
    let got = one(br#"{"type":"SCORE_CHANGED","timestamp":1.5,"payload":{"old_chips":nan,"new_chips":-nan,"old_mult":inf,"new_mult":-inf}}"#);
    let score = payload!(got.event, ScoreChanged);
    assert!(score.old_chips.unwrap().is_nan() && score.new_chips.unwrap().is_nan());
    assert!(score.new_chips.unwrap().is_sign_negative());
    assert_eq!((score.old_mult, score.new_mult), (Some(f64::INFINITY), Some(f64::NEG_INFINITY)));
    // Flagged (they must be finite), kept, and each with its place.
    assert_eq!(got.facts.entry.flags & flags::FLAGGED, flags::FLAGGED);
    let fields: Vec<_> = got.event.findings.iter().map(|found| found.field.as_str()).collect();
    assert_eq!(
        fields,
        ["payload.old_chips", "payload.new_chips", "payload.old_mult", "payload.new_mult"]
    );
}

#[test]
fn numbers_are_rounded_once_and_kept_as_text_when_that_loses_something() {
    for (token, kept) in [
        ("300", false),
        ("0.3", false),
        ("-0", false),
        ("1e+14", false),
        ("1.2345678901235e+17", false),
        ("1e+308", false),
        ("1e-07", false),
        ("4.9406564584125e-324", false),
        ("86400516.669667", false),
        ("9007199254740992", false),
        ("9007199254740993", true),
        ("9223372036854775808", false),
        ("9223372036854775809", true),
        ("123456789012345678901234567890", true),
        ("1e999", true),
        ("-1e999", true),
        ("1e-999", true),
        ("0.30000000000000004", false),
        ("0.1234567890123456789", true),
        ("0e999", false),
        ("2.2250738585072011e-308", true),
        ("1795327244.1234567", false),
        ("100000000000000000000000000000", false),
        ("-5", false),
        ("12345678", false),
        ("1234567.1234567", false),
    ] {
        let body = format!(
            r#"{{"type":"MONEY_CHANGED","payload":{{"new_value":{token},"old_value":1}}}}"#
        );
        let got = one(body.as_bytes());
        let money = payload!(got.event, MoneyChanged);
        let expected: f64 = token.parse().expect("a number");
        assert_eq!(money.new_value.unwrap().to_bits(), expected.to_bits(), "{token}");
        assert_eq!(money.old_value, Some(1.0), "{token}");
        assert_eq!(
            money.extra.get("new_value").map(String::as_str),
            kept.then_some(token),
            "{token}"
        );
    }
}

#[test]
fn what_is_no_number_is_no_json() {
    for token in
        ["01", "1.", ".5", "+1", "1e", "0x10", "-", "--1", "1.e5", "1e+", "tru", "nul", "infx"]
    {
        let body = format!(
            r#"{{"type":"MONEY_CHANGED","timestamp":1,"payload":{{"new_value":{token}}}}}"#
        );
        assert_eq!(one(body.as_bytes()).facts.entry.event_type, 65, "{token}");
        let strict = convert(BodyForm::Events, false, body.as_bytes());
        assert_eq!(strict.refusals[0].field, "payload.new_value", "{token}: {strict:?}");
    }
}

#[test]
fn raw_control_characters_are_text() {
    let got = one(b"{\"type\":\"ERROR\",\"payload\":{\"message\":\"a\x00b\x1b\tc\nd\x7f\"}}");
    assert_eq!(payload!(got.event, Error).message.as_deref(), Some("a\0b\x1b\tc\nd\x7f"));
    assert!(got.event.raw_text.is_empty());
}

#[test]
fn text_that_is_not_utf8_is_repaired_with_its_bytes_beside_it() {
    let got = one(b"{\"type\":\"GAME_STATE\",\"payload\":{\"jokers\":[{\"name\":\"ok\"},{\"name\":\"Caf\xe9 \\n\xff\"}],\"odd\":\"\xfe\"}}");
    let state = payload!(got.event, GameState);
    assert_eq!(state.jokers[1].name.as_deref(), Some("Caf\u{FFFD} \n\u{FFFD}"));
    assert_eq!(state.extra["odd"], "\"\u{FFFD}\"");
    let raw: Vec<_> =
        got.event.raw_text.iter().map(|raw| (raw.field.as_str(), raw.raw.as_slice())).collect();
    assert_eq!(
        raw,
        [
            ("payload.jokers[1].name", b"Caf\xe9 \n\xff".as_slice()),
            ("payload.odd", b"\"\xfe\"".as_slice())
        ]
    );
    assert_eq!(got.facts.entry.flags, flags::RAW_TEXT);
}

#[test]
fn surrogates_make_a_character_in_pairs_only() {
    let got =
        one(br#"{"type":"ERROR","payload":{"message":"\ud83c\udccf \ud800 \udc00x\u00e9\/"}}"#);
    assert_eq!(
        payload!(got.event, Error).message.as_deref(),
        Some("\u{1F0CF} \u{FFFD} \u{FFFD}x\u{e9}/")
    );
    assert_eq!(got.event.raw_text[0].raw, b"\xf0\x9f\x83\x8f \xed\xa0\x80 \xed\xb0\x80x\xc3\xa9/");
}

#[test]
fn a_quote_inside_a_text_of_a_list_or_a_key_is_salvaged() {
    let body = br#"{"type":"DIAGNOSTIC","timestamp":5,"payload":{"available_functions":["say "hi" now","b","C:\dir"],"od"d":1,"g_exists":true}}"#;
    let got = one(body);
    let diagnostic = payload!(got.event, Diagnostic);
    assert_eq!(diagnostic.available_functions, ["say \"hi\" now", "b", "C:\\dir"]);
    assert_eq!(diagnostic.extra["od\"d"], "1");
    assert_eq!(diagnostic.g_exists, Some(true));
    assert_eq!(got.facts.entry.flags & flags::SALVAGED, flags::SALVAGED);
    // How it was read may not be how it was meant.
    assert_eq!(got.event.raw_text[0].raw, body);
}

#[test]
fn of_equal_keys_the_last_wins_and_the_earlier_are_carried() {
    let got = one(br#"{"type":"GAME_STATE","version":1,"payload":{"ante":1,"hand":[{"rank":"2"}],"x":1,"ante":2,"x":2,"hand":[{"rank":"3"}],"ante":3},"version":2,"changes":{}}"#);
    let state = payload!(got.event, GameState);
    assert_eq!(state.base.as_ref().unwrap().ante, Some(3.0));
    assert_eq!(state.hand.len(), 1);
    assert_eq!(state.hand[0].rank.as_deref(), Some("3"));
    let mut extra: Vec<_> =
        state.extra.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    extra.sort_unstable();
    assert_eq!(
        extra,
        [
            ("ante#1", "1"),
            ("ante#2", "2"),
            ("hand#1", r#"[{"rank":"2"}]"#),
            ("x", "2"),
            ("x#1", "1")
        ]
    );
    assert_eq!((got.event.version, got.event.extra["version#1"].as_str()), (Some(2.0), "1"));
    let got = one(br#"{"type":"ERROR","metadata":{"a":"1","a":"2"}}"#);
    assert_eq!(got.event.metadata["a"], "2");
    assert_eq!(got.event.extra["metadata"], r#"{"a":"1","a":"2"}"#);
    let escaped = one(br#"{"type":"MONEY_CHANGED","payload":{"new_value":1,"new_v\u0061lue":2}}"#);
    assert_eq!(payload!(escaped.event, MoneyChanged).new_value, Some(2.0));
    assert_eq!(payload!(escaped.event, MoneyChanged).extra["new_value#1"], "1");
}

#[test]
fn a_payload_may_come_before_its_type() {
    for body in [
        r#"{"payload":{"old_value":1,"new_value":2},"type":"MONEY_CHANGED","timestamp":1}"#,
        r#"{"payload":{"old_chips":1,"ante":2,"difference":4,"jokers":[{"name":"\ud800"}]},"type":"MONEY_CHANGED"}"#,
        r#"{"payload":{"joker":{"id":3}},"subtype":"JOKER_TRIGGER","type":"SCORING"}"#,
        r#"{"subtype":"RESPONSE","payload":{"request_id":"R","action":"x"},"type":"LEARNING_DECISION"}"#,
        r#"{"payload":{"action":"x"},"type":"LEARNING_DECISION","subtype":"RESPONSE"}"#,
        r#"{"payload":{"b":[1,{}]},"type":"NEVER_SEEN"}"#,
        r#"{"payload":[1],"type":"MONEY_CHANGED"}"#,
        r#"{"payload":{"a":1}}"#,
    ] {
        // Against the same members with the payload last, the usual order.
        let members: Vec<(String, Box<serde_json::value::RawValue>)> = {
            let map: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
                serde_json::from_str(body).unwrap();
            map.into_iter().collect()
        };
        let last = |(key, _): &(String, Box<serde_json::value::RawValue>)| key == "payload";
        let mut ordered: Vec<_> = members.iter().filter(|member| !last(member)).collect();
        ordered.extend(members.iter().filter(|member| last(member)));
        let text: Vec<String> =
            ordered.iter().map(|(key, raw)| format!("\"{key}\":{raw}")).collect();
        let usual = one(format!("{{{}}}", text.join(",")).as_bytes());
        let got = one(body.as_bytes());
        assert_eq!(got.event, usual.event, "{body}");
    }
}

#[test]
fn unknown_types_and_fields_are_carried() {
    let got = one(br#"{"type":"BRAND_NEW","subtype":"S","timestamp":5,"odd":{"a":[1,2]},"payload":{"x":[1,{"y":null}]}}"#);
    assert_eq!(got.event.type_name.as_deref(), Some("BRAND_NEW"));
    assert_eq!(got.event.subtype.as_deref(), Some("S"));
    assert_eq!(got.event.extra["payload"], r#"{"x":[1,{"y":null}]}"#);
    assert_eq!(got.event.extra["odd"], r#"{"a":[1,2]}"#);
    assert_eq!((got.event.r#type, got.facts.entry.flags), (1, flags::UNKNOWN_TYPE));
    let internal = one(br#"{"type":"unreadable_body","payload":{"raw":"x"}}"#);
    assert_eq!(
        (internal.event.r#type, internal.event.type_name.as_deref()),
        (1, Some("unreadable_body"))
    );
}

#[test]
fn ids_are_what_they_came_as() {
    let got = state(
        r#""hand":[{"id":7},{"id":"card_1"},{"id":true},{"id":[1]},{"id":null}],"jokers":[{"properties":{"mult":"x","chips":{"e":1}}}]"#,
    );
    assert_eq!(got.hand[0].id, Some(card::Id::IdNumber(7.0)));
    assert_eq!(got.hand[1].id, Some(card::Id::IdText("card_1".to_owned())));
    assert_eq!(got.hand[2].id, Some(card::Id::IdFlag(true)));
    assert_eq!((got.hand[3].id.clone(), got.hand[3].extra["id"].as_str()), (None, "[1]"));
    assert_eq!((got.hand[4].id.clone(), got.hand[4].extra["id"].as_str()), (None, "null"));
    let properties = got.jokers[0].properties.as_ref().unwrap();
    assert_eq!(properties.mult, Some(joker_properties::Mult::MultText("x".to_owned())));
    assert_eq!(properties.extra["chips"], r#"{"e":1}"#);
}

#[test]
fn the_clock_follows_the_dialect() {
    let clock = |body: &str| {
        let got = one(body.as_bytes());
        (got.event.producer_time, got.event.producer_clock, got.facts.entry.dialect)
    };
    assert_eq!(
        clock(r#"{"type":"HEARTBEAT","timestamp":86400516.669667}"#),
        (86_400_516.669_667, 1, 1)
    );
    assert_eq!(
        clock(r#"{"type":"connection_test","timestamp":1772000000000,"data":{"message":"m"}}"#),
        (1_772_000_000_000.0, 2, 1)
    );
    assert_eq!(
        clock(r#"{"type":"hand_played","timestamp":1772000000.25,"game_id":"g","data":{}}"#),
        (1_772_000_000.25, 3, 2)
    );
    assert_eq!(
        clock(r#"{"event_type":"hand_played","timestamp":"2026-02-25T06:13:20Z"}"#),
        (1_772_000_000_000.0, 2, 3)
    );
}

#[test]
fn every_top_level_member_of_any_type_is_carried_or_converted() {
    let keys = [
        "type",
        "event_type",
        "source",
        "timestamp",
        "event_id",
        "version",
        "payload",
        "data",
        "game_state",
        "subtype",
        "priority",
        "debug",
        "initial",
        "changes",
        "game_id",
        "correlation_id",
        "traceparent",
        "metadata",
        "producer",
        "producer_sequence",
        "trace_id",
        "events",
        "extra",
        "findings",
        "log_epoch",
        "raw_text",
        "batch",
    ];
    let values = [
        "null",
        "true",
        "-1.5",
        "\"text\"",
        "[]",
        "{}",
        "[1,\"a\"]",
        "{\"a\":1}",
        "18446744073709551615",
        "\"\"",
        "nan",
    ];
    for key in keys {
        for value in values {
            let body = format!(r#"{{"{key}":{value}}}"#);
            if key == "events" && value.starts_with(['[', '{']) && value.len() < 8 {
                // A batch, and an empty or broken one.
                continue;
            }
            let got = one(body.as_bytes());
            let shown = format!("{:?}", got.event);
            let empty =
                format!("{:?}", one(b"{\"zzz\":1}").event).replace("{\"zzz\": \"1\"}", "{}");
            let quiet = matches!((key, value), ("changes" | "metadata", "[]" | "{}"));
            assert!(quiet || shown != empty, "{body}: {shown}");
            assert_ne!(got.facts.entry.event_type, 65, "{body}");
        }
    }
}

#[test]
fn nesting_past_the_limit_is_kept_as_it_came() {
    for depth in [10, 60, 70, 1_000, 100_000] {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"[{{"type":"ERROR","odd":{deep}}},{{"type":"HEARTBEAT"}}]"#);
        let got = mod_events(body.as_bytes());
        assert_eq!(got.events.len(), 2, "{depth}");
        assert_eq!(got.events[1].event.r#type, 19);
        if depth < 62 {
            assert_eq!(got.events[0].event.extra["odd"], deep);
        } else {
            assert_eq!(got.events[0].facts.entry.event_type, 65, "{depth}");
        }
        let strict = convert(BodyForm::Events, false, body.as_bytes());
        assert_eq!(strict.refusals.len(), usize::from(depth >= 62), "{depth}");
        assert_eq!(strict.events.len(), 2 - strict.refusals.len());
    }
    let changes = (0..30).fold(r#"{"type":"ERROR"}"#.to_owned(), |inner, _| {
        format!(r#"{{"type":"ERROR","changes":[{inner}]}}"#)
    });
    assert_eq!(mod_events(changes.as_bytes()).events.len(), 1);
}
