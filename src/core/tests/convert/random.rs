//! Generated events of all dialects and key orders, against the reference.

use std::collections::HashSet;

use jimbot_core::convert::{BodyCursor, BodyForm, Converter};
use jimbot_traffic::{Clock, Dialect, Game, GameOptions, KeyOrder, VirtualClock, samples};
use prost::Message as _;
use prost_reflect::DynamicMessage;

use crate::harness::{Got, context, convert_with};
use crate::reference;

const DIALECTS: [Dialect; 3] = [Dialect::Mod, Dialect::WebSocket, Dialect::Script];

/// The event without what the service adds, for comparison with the reference.
pub(crate) fn plain(got: &Got) -> DynamicMessage {
    let mut message = DynamicMessage::decode(reference::event_descriptor(), got.bytes())
        .expect("an event parses whole");
    for name in [
        "log_epoch",
        "sequence",
        "receive_time_unix_ns",
        "session",
        "game_key",
        "findings",
        "raw_text",
    ] {
        message.clear_field_by_name(name);
    }
    message
}

/// Converts with and without what was remembered, and compares with the reference.
pub(crate) fn compare(converter: &mut Converter, text: &[u8], what: &str) {
    let Ok(text) = std::str::from_utf8(text) else { panic!("{what}: not UTF-8") };
    // Through bytes, so that what was set to nothing is not there.
    let expected = reference::convert(text).encode_to_vec();
    let expected = DynamicMessage::decode(reference::event_descriptor(), expected.as_slice())
        .expect("the reference writes an event");
    let mut fresh = Converter::new();
    for converter in [converter, &mut fresh] {
        let cursor = BodyCursor::new(BodyForm::Events);
        let outcome = convert_with(converter, cursor, &context(true), text.as_bytes());
        assert_eq!(outcome.events.len(), 1, "{what}: {text}");
        let got = plain(&outcome.events[0]);
        if got != expected {
            let json = |message: &DynamicMessage| {
                serde_json::to_string_pretty(message).unwrap_or_else(|error| error.to_string())
            };
            let (got, expected) = (json(&got), json(&expected));
            let only = |one: &str, other: &str| -> Vec<String> {
                let other: HashSet<&str> = other.lines().collect();
                one.lines().filter(|line| !other.contains(line)).map(str::to_owned).collect()
            };
            panic!(
                "{what}: {text}\nonly got: {:#?}\nonly expected: {:#?}",
                only(&got, &expected),
                only(&expected, &got)
            );
        }
        assert_eq!(outcome.events[0].facts.entry.flags & 0b1101, 0, "{what}: {text}");
    }
}

#[test]
fn every_kind_of_event_in_every_dialect_and_order_is_as_the_reference_has_it() {
    let mut converter = Converter::new();
    for dialect in DIALECTS {
        for seed in 1..4 {
            for order in [KeyOrder::Listed, KeyOrder::Constant(seed), KeyOrder::Random] {
                for event in samples::every_event(dialect, seed, order) {
                    compare(&mut converter, &event.json, &format!("{dialect:?} {seed} {order:?}"));
                }
            }
        }
    }
}

#[test]
fn whole_games_are_as_the_reference_has_them() {
    let mut converter = Converter::new();
    for (seed, dialect) in (10..).zip(DIALECTS) {
        let mut game = Game::new(&GameOptions {
            seed,
            dialect,
            key_order: KeyOrder::Random,
            ..GameOptions::default()
        });
        let mut time = VirtualClock::starting_at(Clock::EXAMPLE);
        for _ in 0..150 {
            let event = game.next_event(time.now());
            compare(&mut converter, &event.json, &format!("{dialect:?} {seed}"));
            time.advance(game.pause_ms());
        }
    }
}

/// The same text with a space behind each comma and colon outside of texts, as Python's `json.dumps` prints.
fn spaced(text: &[u8]) -> Vec<u8> {
    let (mut spaced, mut in_text, mut is_escaped) = (Vec::new(), false, false);
    for byte in text {
        spaced.push(*byte);
        match byte {
            b'"' if !is_escaped => in_text = !in_text,
            b',' | b':' if !in_text => spaced.push(b' '),
            _ => {}
        }
        is_escaped = *byte == b'\\' && !is_escaped;
    }
    spaced
}

#[test]
fn events_with_spaces_are_as_the_reference_has_them() {
    let mut converter = Converter::new();
    for dialect in DIALECTS {
        for order in [KeyOrder::Listed, KeyOrder::Random] {
            for event in samples::every_event(dialect, 1, order) {
                compare(&mut converter, &spaced(&event.json), &format!("{dialect:?} {order:?}"));
            }
        }
    }
}

#[test]
fn white_space_and_commas_are_taken_where_json_has_them() {
    let event = br#"{"type":"HEARTBEAT","timestamp":1.5,"version":1,"source":"s","payload":{"uptime":5,"mod_version":"x"}}"#;
    let mut converter = Converter::new();
    for whole in [event.to_vec(), spaced(event)] {
        for at in 0..whole.len() {
            for odd in [" ", "  ", ",", ", ", " ,", ""] {
                // Put in, and put in place of the byte there.
                for from in [at, at + 1] {
                    let body = [&whole[..at], odd.as_bytes(), &whole[from..]].concat();
                    let text = String::from_utf8_lossy(&body);
                    let cursor = BodyCursor::new(BodyForm::Message);
                    let got = convert_with(&mut converter, cursor, &context(false), &body);
                    let value = serde_json::from_slice::<serde_json::Value>(&body);
                    if value.is_err() {
                        assert_eq!(
                            (got.events.len(), !got.refusals.is_empty()),
                            (0, true),
                            "{text}"
                        );
                    } else if value.is_ok_and(|value| value.get("type").is_some()) {
                        assert_eq!((got.events.len(), got.refusals.len()), (1, 0), "{text}");
                        compare(&mut converter, &body, "with white space");
                    }
                }
            }
        }
    }
}
