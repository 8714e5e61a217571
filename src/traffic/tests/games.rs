//! What the made-up games send is what the contract says games send.

use std::collections::{BTreeMap, BTreeSet};

use jimbot_traffic::{
    Clock, Dialect, Event, Game, GameOptions, KeyOrder, Oddity, Quirks, VirtualClock, samples,
};
use serde_json::Value;

fn events(options: &GameOptions, count: usize) -> Vec<Event> {
    let mut game = Game::new(options);
    let mut time = VirtualClock::starting_at(Clock::EXAMPLE);
    (0..count)
        .map(|_| {
            time.advance(game.pause_ms());
            game.next_event(time.now())
        })
        .collect()
}

fn parse(event: &Event) -> Value {
    serde_json::from_slice(&event.json)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&event.json)))
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for dialect in [Dialect::Mod, Dialect::WebSocket, Dialect::Script] {
        let options =
            GameOptions { seed: 11, dialect, quirks: Quirks::field(), ..GameOptions::default() };
        assert_eq!(events(&options, 800), events(&options, 800));
        let other = GameOptions { seed: 12, ..options.clone() };
        assert_ne!(events(&options, 50), events(&other, 50));
    }
}

#[test]
fn a_run_of_the_mod_has_every_event_type_of_normal_play() {
    let mut seen = BTreeMap::<String, u32>::new();
    for seed in 0..6 {
        for event in events(&GameOptions { seed, ..GameOptions::default() }, 3_000) {
            let json = parse(&event);
            let subtype = json["subtype"].as_str().map(|name| format!("/{name}"));
            let name = format!("{}{}", json["type"].as_str().unwrap(), subtype.unwrap_or_default());
            *seen.entry(name).or_default() += 1;
        }
    }
    let expected = [
        "CARDS_DISCARDED",
        "DIAGNOSTIC",
        "ERROR",
        "GAME_STATE",
        "HAND_PLAYED",
        "HEARTBEAT",
        "JOKERS_CHANGED",
        "JOKER_TRIGGER",
        "LEARNING_DECISION/REQUEST",
        "MONEY_CHANGED",
        "PHASE_CHANGED",
        "ROUND_CHANGED",
        "ROUND_COMPLETE",
        "SCORE_CHANGED",
        "SCORING/CHIPS_UPDATE",
        "SCORING/HAND_EVAL_COMPLETE",
        "SCORING/HAND_EVAL_START",
        "SCORING/JOKER_TRIGGER",
        "SCORING/MULT_UPDATE",
        "SCORING/SCORE_UPDATE",
        "connection_test",
    ];
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn a_scored_hand_tells_each_trigger_twice_between_its_start_and_its_end() {
    let options = GameOptions { seed: 3, triggers: (40, 60), ..GameOptions::default() };
    let (mut open, mut scoring, mut echoes, mut hands) = (false, 0, 0, 0);
    for event in events(&options, 6_000) {
        let json = parse(&event);
        match (json["type"].as_str().unwrap(), json["subtype"].as_str()) {
            ("SCORING", Some("HAND_EVAL_START")) => {
                assert!(!open);
                (open, scoring, echoes) = (true, 0, 0);
            }
            ("SCORING", Some("JOKER_TRIGGER")) => scoring += 1,
            ("JOKER_TRIGGER", None) => echoes += 1,
            ("SCORING", Some("HAND_EVAL_COMPLETE")) => {
                assert!(open);
                assert_eq!(
                    (json["payload"]["joker_triggers"].as_u64(), echoes),
                    (Some(scoring), scoring)
                );
                (open, hands) = (false, hands + u32::from(scoring >= 40));
            }
            _ => {}
        }
    }
    assert!(hands > 5, "only {hands} cascades");
}

#[test]
fn ids_are_unique_between_games_unless_they_are_told_to_recur() {
    let ids = |seed, recurring_ids| {
        let options = GameOptions { seed, recurring_ids, ..GameOptions::default() };
        events(&options, 500).into_iter().filter_map(|event| event.id).collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(1, false).intersection(&ids(2, false)).count(), 0);
    assert!(ids(1, true).intersection(&ids(2, true)).count() > 400);
    assert_eq!(ids(1, false).len(), 499, "all but the connection test have one");
}

#[test]
fn the_monotonic_clock_stamps_the_mod_and_the_wall_clock_the_others() {
    let time_of = |dialect| {
        let options = GameOptions { dialect, ..GameOptions::default() };
        let event = events(&options, 3).pop().unwrap();
        parse(&event)["timestamp"].clone()
    };
    assert!((86_400_516.0..86_403_000.0).contains(&time_of(Dialect::Mod).as_f64().unwrap()));
    let seconds = time_of(Dialect::WebSocket).as_f64().unwrap();
    assert!((1_772_000_000.0..1_772_000_010.0).contains(&seconds));
    assert!(time_of(Dialect::Script).as_str().unwrap().starts_with("2026-02-25T06:13:2"));
}

#[test]
fn the_older_clients_send_the_types_of_their_guide() {
    let mut seen = BTreeSet::new();
    for seed in 0..6 {
        let options = GameOptions { seed, dialect: Dialect::WebSocket, ..GameOptions::default() };
        for event in events(&options, 2_000) {
            let json = parse(&event);
            assert!(json["data"].is_object() && json["game_id"].is_string());
            seen.insert(json["type"].as_str().unwrap().to_owned());
        }
    }
    let expected = [
        "action",
        "ante_change",
        "blind_defeated",
        "blind_selected",
        "booster_opened",
        "card_discarded",
        "card_enhanced",
        "card_purchased",
        "card_sold",
        "error",
        "game_over",
        "game_start",
        "hand_played",
        "heartbeat",
        "joker_triggered",
        "round_end",
        "round_start",
        "shop_entered",
        "shop_exited",
        "state_change",
        "state_snapshot",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn the_full_deck_hardly_ever_changes() {
    let (mut states, mut changes, mut last) = (0, 0, Value::Null);
    for event in events(&GameOptions { seed: 5, ..GameOptions::default() }, 4_000) {
        let json = parse(&event);
        let deck = &json["payload"]["deck"]["full_deck"];
        if deck.is_array() {
            states += 1;
            changes += u32::from(*deck != last);
            last = deck.clone();
        }
    }
    assert!(states > 300 && changes * 8 < states, "{changes} changes in {states} states");
}

#[test]
fn samples_have_every_event_of_a_dialect() {
    for (dialect, fewest) in [(Dialect::Mod, 20), (Dialect::WebSocket, 18), (Dialect::Script, 18)] {
        for order in [KeyOrder::Listed, KeyOrder::Constant(3), KeyOrder::Random] {
            let events = samples::every_event(dialect, 9, order);
            events.iter().for_each(|event| drop(parse(event)));
            assert!(events.len() >= fewest, "{} of {dialect:?}", events.len());
        }
    }
}

#[test]
fn oddities_are_as_odd_as_they_say() {
    let strict: Vec<Oddity> = samples::every_oddity(Dialect::Mod, 4)
        .into_iter()
        .filter(|event| serde_json::from_slice::<Value>(&event.json).is_ok())
        .filter_map(|event| event.oddity)
        .collect();
    for broken in [
        Oddity::NotFinite,
        Oddity::ControlCharacter,
        Oddity::BrokenUtf8,
        Oddity::UnescapedQuote,
        Oddity::Truncated,
    ] {
        assert!(!strict.contains(&broken), "{broken:?}");
    }
    assert!(strict.contains(&Oddity::UnknownType) && strict.contains(&Oddity::ScalarArray));
}

#[test]
fn an_odd_session_is_odd_in_the_share_that_was_asked_for() {
    let options = GameOptions { seed: 2, quirks: Quirks::field(), ..GameOptions::default() };
    let odd = events(&options, 5_000).iter().filter(|event| event.oddity.is_some()).count();
    assert!((800..1_200).contains(&odd), "{odd} of 5,000");
}
