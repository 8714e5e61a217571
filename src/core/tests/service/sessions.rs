//! Who is speaking, as it stands in the stored events.

use std::collections::BTreeSet;

use jimbot_core::log::flags;

use crate::harness::{Harness, batch, event, mod_post, state, text};

fn connection_test(time: u64) -> String {
    format!(
        r#"{{"type":"connection_test","timestamp":{time},"source":"BalatroMCP","data":{{"message":"hi"}}}}"#
    )
}

/// Sends a body on a connection of its own, as curl below the mod does.
fn on_a_new_connection(harness: &mut Harness, path: &str, body: &str) {
    let id = harness.connect();
    assert_eq!(harness.request(id, mod_post(path, body)).status, 200);
    harness.hang_up(id);
}

fn sessions(harness: &Harness) -> Vec<u64> {
    harness.stored().iter().map(|(entry, _)| entry.session).collect()
}

#[test]
fn a_connection_for_each_request_is_one_session() {
    let mut harness = Harness::new();
    for n in 0..5 {
        on_a_new_connection(&mut harness, "/api/v1/events", &event(&format!("e{n}"), f64::from(n)));
    }
    assert_eq!(sessions(&harness).into_iter().collect::<BTreeSet<_>>().len(), 1);
}

#[test]
fn a_connection_test_begins_a_session_and_again_is_no_other() {
    let mut harness = Harness::new();
    on_a_new_connection(&mut harness, "/api/v1/events", &event("old", 9.0e6));
    for _ in 0..3 {
        on_a_new_connection(&mut harness, "/api/v1/events", &connection_test(1_780_000_000_000));
    }
    on_a_new_connection(&mut harness, "/api/v1/events/batch", &batch(&[event("new", 10.0)]));
    let sessions = sessions(&harness);
    assert_ne!(sessions[0], sessions[1]);
    assert!(sessions[1..].iter().all(|session| *session == sessions[1]), "{sessions:x?}");
}

#[test]
fn the_newest_clock_of_a_batch_decides_about_a_new_session() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let mut say = |events: &[String]| {
        assert_eq!(
            harness.request(id, mod_post("/api/v1/events/batch", batch(events))).status,
            200
        );
    };
    say(&[event("a", 500_000.0)]);
    // One straggler among events of now: still the same game.
    say(&[event("b", 1_000.0), event("c", 500_100.0)]);
    // All of it near 0: started anew.
    say(&[event("d", 1_000.0), event("e", 2_000.0)]);
    let stored = harness.stored();
    let of = |n: usize| stored[n].0.session;
    assert_eq!((of(0), of(0)), (of(1), of(2)));
    assert_eq!(stored[1].0.flags & flags::OUT_OF_ORDER, flags::OUT_OF_ORDER);
    assert_ne!(of(0), of(3));
    assert_eq!(of(3), of(4));
    assert_eq!(stored[3].0.flags & flags::OUT_OF_ORDER, 0);
}

#[test]
fn the_game_key_changes_with_the_game_and_a_notice_names_it() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let heartbeat = r#"{"type":"HEARTBEAT","source":"BalatroMCP","timestamp":2,"event_id":"h","version":1,"payload":{"version":"0.1.0","uptime":2,"headless":false,"game_state":"1"}}"#;
    let body =
        batch(&[event("a", 1.0), heartbeat.into(), state("b", 3.0, "7LB2WVPK"), event("c", 4.0)]);
    harness.request(id, mod_post("/api/v1/events/batch", body));
    let stored = harness.stored();
    let keys: Vec<u64> = stored.iter().map(|(entry, _)| entry.game_key).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    assert_eq!(keys[2], keys[3]);
    let notices: Vec<String> = harness.notices.iter().map(ToString::to_string).collect();
    assert_eq!(notices, ["game 7LB2WVPK connected (BalatroMCP 0.1.0)"]);
}

#[test]
fn two_games_in_one_are_found_out_and_said_once() {
    let mut harness = Harness::new();
    for n in 0..12 {
        let game = ["AAAA", "BBBB"][n % 2];
        on_a_new_connection(
            &mut harness,
            "/api/v1/events/batch",
            &batch(&[state(&format!("e{n}"), n as f64, game)]),
        );
    }
    let ambiguous = harness
        .stored()
        .iter()
        .filter(|(entry, _)| entry.flags & flags::SESSION_AMBIGUOUS != 0)
        .count();
    assert_eq!(ambiguous, 8, "from the third return on");
    assert_eq!(harness.stored().len(), 12, "no event is lost");
    let said = harness.notices.iter().filter(|n| n.to_string().contains("two games send as one"));
    assert_eq!(said.count(), 1);
    let connected = harness.notices.iter().filter(|n| n.to_string().contains("connected"));
    assert!(connected.count() <= 5, "turns taken after that are not told one by one");
    assert!(harness.get("/metrics").body.contains("jimbot_mcp_sessions_ambiguous_total 1\n"));
}

#[test]
fn producers_are_told_by_their_id_whatever_they_come_through() {
    let mut harness = Harness::new();
    let numbered = |producer: &str, sequence: u32| {
        format!(
            r#"{{"type":"MONEY_CHANGED","timestamp":1,"event_id":"same","producer":"{producer}","producer_sequence":{sequence},"payload":{{}}}}"#
        )
    };
    let id = harness.connect();
    let body = batch(&[numbered("mod-1", 1), numbered("mod-2", 1), numbered("mod-1", 2)]);
    harness.request(id, mod_post("/api/v1/events/batch", &body));
    let socket = harness.websocket("/ws");
    harness.say(socket, text(numbered("mod-1", 2)));
    harness.say(socket, text(numbered("mod-1", 3)));
    let sessions = sessions(&harness);
    assert_eq!(sessions.len(), 4, "a number that came before is a repeat, everything else is new");
    assert_ne!(sessions[0], sessions[1]);
    assert_eq!((sessions[0], sessions[0]), (sessions[2], sessions[3]));
}
