//! Behaviour of sessions, by what games do.

use super::*;
use crate::time::SECOND;

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, unix_ns: (1_700_000_000 + seconds) * SECOND }
}

fn sessions() -> Sessions {
    Sessions::new([3; 16], 1, 64)
}

fn http(connection: u64, requests_before: u64) -> Speaker {
    Speaker { connection, is_websocket: false, address: 10, agent: 20, requests_before }
}

fn ms(time: f64) -> Facts<'static> {
    Facts { clock: Some(Clock::Monotonic(time)), game_id: None }
}

fn state(time: f64, game_id: &'static str) -> Facts<'static> {
    Facts { game_id: Some(game_id.as_bytes()), ..ms(time) }
}

#[test]
fn a_sender_with_a_connection_for_each_request_has_one_session() {
    let mut sessions = sessions();
    let (first, cause) = sessions.of_speaker(&http(1, 0), None, at(0));
    assert_eq!(cause, Some(Cause::FirstEvent));
    sessions.connection_closed(first, 1);
    let (second, cause) = sessions.of_speaker(&http(2, 0), None, at(1));
    assert_eq!((second, cause), (first, None));
    let (third, _) = sessions.of_speaker(&http(3, 0), None, at(1));
    assert_eq!(third, first, "a connection that brought one request may be followed by another");
}

#[test]
fn kept_alive_connections_are_sessions_of_their_own() {
    let mut sessions = sessions();
    let (first, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    let (again, _) = sessions.of_speaker(&http(1, 1), Some(first), at(0));
    assert_eq!(again, first);
    let (second, cause) = sessions.of_speaker(&http(2, 0), None, at(1));
    assert_ne!(second, first);
    assert_eq!(cause, Some(Cause::FirstEvent));
    // After a reconnect the sender gets back the session whose connection is gone.
    sessions.connection_closed(first, 1);
    let (back, _) = sessions.of_speaker(&http(3, 0), None, at(2));
    assert_eq!(back, second, "the newest that is not kept");
    sessions.of_speaker(&http(2, 1), Some(second), at(2));
    sessions.of_speaker(&http(3, 1), Some(back), at(2));
}

#[test]
fn games_that_start_at_the_same_moment_part_when_their_connections_are_kept() {
    let mut sessions = sessions();
    let (shared, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    for connection in 2..=4 {
        let (joined, _) = sessions.of_speaker(&http(connection, 0), None, at(0));
        assert_eq!(joined, shared, "nothing tells them apart yet");
    }
    let own: Vec<_> =
        (1..=4).map(|it| sessions.of_speaker(&http(it, 1), Some(shared), at(1)).0).collect();
    assert_eq!(own[0], shared);
    for (at_place, session) in own.iter().enumerate() {
        assert!(!own[..at_place].contains(session), "two kept connections share a session");
        let connection = at_place as u64 + 1;
        let (again, cause) = sessions.of_speaker(&http(connection, 2), Some(*session), at(2));
        assert_eq!((again, cause), (*session, None));
    }
}

#[test]
fn a_websocket_is_a_session_and_is_over_when_it_closes() {
    let mut sessions = sessions();
    let speaker = |connection| Speaker { is_websocket: true, ..http(connection, 0) };
    let (first, _) = sessions.of_speaker(&speaker(1), None, at(0));
    let (second, _) = sessions.of_speaker(&speaker(2), None, at(0));
    assert_ne!(first, second);
    assert_eq!(sessions.connected(at(0)).count(), 2);
    sessions.connection_closed(first, 1);
    assert_eq!(sessions.connected(at(0)).count(), 1);
}

#[test]
fn a_producer_id_goes_before_everything_else() {
    let mut sessions = sessions();
    let (first, _) = sessions.of_producer(b"mod-1", &http(1, 0), at(0));
    let (again, cause) = sessions.of_producer(b"mod-1", &http(9, 5), at(0));
    assert_eq!((again, cause), (first, None));
    assert_ne!(sessions.of_producer(b"mod-2", &http(1, 0), at(0)).0, first);
}

#[test]
fn a_connection_test_begins_a_session_once() {
    let mut sessions = sessions();
    let (first, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    let (same, cause) = sessions.connection_test(first, 5.0, at(0));
    assert_eq!((same, cause), (first, None), "the session had not begun with anything else");
    sessions.place(first, &Facts::default(), at(0));
    assert_eq!(sessions.connection_test(first, 5.0, at(1)).0, first, "the test sent again");
    let (second, cause) = sessions.connection_test(first, 9.0, at(60));
    assert_eq!(cause, Some(Cause::ConnectionTest));
    assert_ne!(second, first);
    let (next, _) = sessions.of_speaker(&http(1, 3), Some(first), at(61));
    assert_eq!(next, second, "the connection follows to the new session");
    assert!(sessions.get(first).unwrap().is_over);
}

#[test]
fn a_clock_far_behind_begins_a_session_and_a_little_late_does_not() {
    let mut sessions = sessions();
    let (first, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    sessions.place(first, &ms(500_000.0), at(0));
    assert!(!sessions.is_far_behind(first, Clock::Monotonic(380_000.0)));
    assert!(sessions.is_far_behind(first, Clock::Monotonic(379_999.0)));
    assert!(!sessions.is_far_behind(first, Clock::Unix(0.0)));
    assert!(!sessions.is_far_behind(first, Clock::Monotonic(f64::NAN)));
    let (second, cause, ambiguous) = sessions.clock_began_anew(first, at(1));
    assert_eq!((cause, ambiguous), (Some(Cause::Clock), false));
    assert_ne!(sessions.get(first).unwrap().id, sessions.get(second).unwrap().id);
}

#[test]
fn clocks_that_jump_again_and_again_show_two_games() {
    let mut sessions = sessions();
    let (mut current, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    let mut became = 0;
    for turn in 0..10 {
        sessions.place(current, &ms(900_000.0 + turn as f64), at(turn));
        if sessions.is_far_behind(current, Clock::Monotonic(turn as f64)) {
            let (next, _, ambiguous) = sessions.clock_began_anew(current, at(turn));
            current = next;
            became += u32::from(ambiguous);
        }
        sessions.place(current, &ms(turn as f64), at(turn));
    }
    assert_eq!(became, 1, "said once");
    assert!(sessions.get(current).unwrap().is_ambiguous);
    assert_eq!(sessions.len(), 3, "no session for every batch");
}

#[test]
fn late_events_are_marked_and_do_not_bring_an_earlier_game_back() {
    let mut sessions = sessions();
    let (session, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    let unknown = sessions.place(session, &ms(1.0), at(0));
    let first = sessions.place(session, &state(10.0, "AAAA"), at(0));
    assert!(first.is_new_game && first.game_key != unknown.game_key);
    let second = sessions.place(session, &state(20.0, "BBBB"), at(1));
    let late = sessions.place(session, &state(15.0, "AAAA"), at(2));
    assert_eq!(late.flags, flags::OUT_OF_ORDER);
    assert_eq!(late.game_key, first.game_key, "it says itself which game it is of");
    assert!(!late.is_new_game);
    let next = sessions.place(session, &ms(21.0), at(2));
    assert_eq!((next.game_key, next.flags), (second.game_key, 0));
    assert_eq!(sessions.place(session, &state(22.0, "unknown"), at(2)).game_key, second.game_key);
}

#[test]
fn game_ids_that_alternate_show_two_games() {
    let mut sessions = sessions();
    let (session, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    let mut became = Vec::new();
    for turn in 0..10 {
        let placed = sessions.place(
            session,
            &state(turn as f64, ["AAAA", "BBBB"][turn % 2]),
            at(turn as u64),
        );
        if placed.became_ambiguous {
            became.push(turn);
        }
        assert_eq!(placed.flags & flags::SESSION_AMBIGUOUS != 0, !became.is_empty());
    }
    assert_eq!(became, [4], "A B A B A");
}

#[test]
fn one_run_after_another_is_no_alternation() {
    let mut sessions = sessions();
    let (session, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    for turn in 0..20_u64 {
        let game = ["AAAA", "BBBB"][turn as usize % 2];
        let placed = sessions.place(session, &state(turn as f64, game), at(turn * 90));
        assert_eq!(placed.flags, 0);
    }
}

#[test]
fn after_a_restart_the_sender_has_its_session_again() {
    let mut before = sessions();
    let (session, _) = before.of_speaker(&http(1, 0), None, at(0));
    before.place(session, &state(500_000.0, "AAAA"), at(0));
    let (session, ..) = before.clock_began_anew(session, at(1));
    let placed = before.place(session, &state(200_000.0, "BBBB"), at(1));

    let mut after = Sessions::new([3; 16], 2, 64);
    for (id, time) in [(placed.session - 1, 500_000.0), (placed.session, 200_000.0)] {
        let entry = IndexEntry { session: id, game_key: placed.game_key, ..IndexEntry::default() };
        after.restore(&entry, Some(Clock::Monotonic(time)), at(100));
    }
    assert_eq!(after.connected(at(100)).count(), 0);
    let (known, cause) = after.of_speaker(&http(77, 0), None, at(100));
    assert_eq!(cause, None);
    assert_eq!(after.get(known).unwrap().id, placed.session);
    assert_eq!(after.place(known, &ms(200_001.0), at(100)).game_key, placed.game_key);
    assert!(after.is_far_behind(known, Clock::Monotonic(1.0)));
}

#[test]
fn sessions_are_bounded_and_the_least_recently_heard_of_goes() {
    let mut sessions = Sessions::new([3; 16], 1, 2);
    let speaker = |agent| Speaker { agent, ..http(agent, 0) };
    let (first, _) = sessions.of_speaker(&speaker(1), None, at(0));
    let (second, _) = sessions.of_speaker(&speaker(2), None, at(0));
    sessions.of_speaker(&speaker(1), Some(first), at(1));
    sessions.of_speaker(&speaker(3), None, at(2));
    assert!(sessions.get(first).is_some() && sessions.get(second).is_none());
    assert_eq!((sessions.len(), sessions.forgotten()), (2, 1));
    let (anew, cause) = sessions.of_speaker(&speaker(2), Some(second), at(3));
    assert_eq!(cause, Some(Cause::FirstEvent));
    assert!(sessions.get(anew).is_some());
}

#[test]
fn polls_are_those_of_the_address() {
    let mut sessions = sessions();
    assert_eq!(sessions.of_poll(10, None, None, at(0)), None);
    let (session, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    assert_eq!(sessions.of_poll(10, None, None, at(0)), Some(session));
    assert_eq!(sessions.of_poll(11, None, None, at(0)), None);
    sessions.place(session, &Facts::default(), at(0));
    let (next, _) = sessions.connection_test(session, 1.0, at(1));
    assert_eq!(sessions.of_poll(10, None, None, at(1)), Some(next), "the run that is on");
    assert_eq!(sessions.get(next).unwrap().polls, 1);
    assert_eq!(sessions.of_poll(10, None, Some(b"nobody"), at(1)), None);
}

#[test]
fn what_people_are_shown_is_bounded_and_plain() {
    let mut sessions = sessions();
    let (session, _) = sessions.of_speaker(&http(1, 0), None, at(0));
    let long = [b"\x1b[31m\xff".as_slice(), &[b'x'; 500]].concat();
    sessions.place(session, &Facts { clock: None, game_id: Some(&long) }, at(0));
    let shown = &sessions.get(session).unwrap().game_id;
    assert!(shown.len() < 80 && shown.starts_with("?[31m\u{fffd}x"), "{shown}");
}
