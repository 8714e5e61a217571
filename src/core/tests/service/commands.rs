//! Commands from senders to games.

use jimbot_proto::events::v1::event::Payload;
use jimbot_proto::events::v1::{CommandEvent, EventType};

use crate::harness::{Answer, Harness, batch, event, mod_post, text, texts};

const SELECT: &str = r#"{"type": "select_card", "payload": {"position": 3}}"#;

/// A game with the mod: it has sent something and keeps its connection.
fn game(harness: &mut Harness) -> jimbot_core::service::ConnId {
    let id = harness.connect();
    let body = batch(&[event("game", 1.0)]);
    assert_eq!(harness.request(id, mod_post("/api/v1/events/batch", body)).status, 200);
    id
}

fn poll(harness: &mut Harness) -> Answer {
    harness.get("/api/v1/commands/poll")
}

fn command_events(harness: &Harness) -> Vec<(EventType, CommandEvent)> {
    harness
        .stored()
        .into_iter()
        .filter_map(|(_, event)| match event.payload {
            Some(Payload::Command(ref command)) => Some((event.r#type(), command.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_command_is_fetched_by_the_second_poll() {
    let mut harness = Harness::new();
    game(&mut harness);
    let answer = harness.post("/api/v1/commands", SELECT);
    assert_eq!((answer.status, &answer.json()["status"]), (200, &"queued".into()));
    let form = r#"{"type":"COMMAND","source":"agent","action":"play_hand","params":{}}"#;
    assert_eq!(harness.post("/api/v1/commands", form).status, 200);
    let first = poll(&mut harness);
    assert_eq!((first.status, first.body.as_str()), (200, ""), "the mod throws this one away");
    let second = poll(&mut harness);
    assert_eq!(second.body, "select_card:3\nplay_hand");
    assert_eq!(second.header("Content-Type"), Some("text/plain"));
    assert_eq!(second.header("Content-Length"), Some("23"));
    assert_eq!(poll(&mut harness).body, "");
    let events = command_events(&harness);
    let kinds: Vec<EventType> = events.iter().map(|(kind, _)| *kind).collect();
    use EventType::{CommandAccepted, CommandDelivered};
    assert_eq!(kinds, [CommandAccepted, CommandAccepted, CommandDelivered, CommandDelivered]);
    assert_eq!(events[0].1.line.as_deref(), Some("select_card:3"));
    assert_eq!(events[0].1.command_id, events[2].1.command_id);
    assert_eq!(events[1].1.source.as_deref(), Some("agent"));
    assert_eq!(answer.json()["command_id"], events[0].1.command_id.as_deref().unwrap());
}

#[test]
fn a_head_request_takes_no_command_away() {
    let mut harness = Harness::new();
    game(&mut harness);
    poll(&mut harness);
    harness.post("/api/v1/commands", SELECT);
    let id = harness.connect();
    harness.request(id, "HEAD /api/v1/commands/poll HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(poll(&mut harness).body, "select_card:3");
}

#[test]
fn games_behind_one_address_poll_by_the_producer_they_name() {
    let mut harness = Harness::new();
    let says = |producer: &str| {
        format!(
            r#"{{"type":"HEARTBEAT","timestamp":1,"producer":"{producer}","producer_sequence":1}}"#
        )
    };
    // New connections all the time, as some HTTP libraries do it.
    for producer in ["table-a", "table-b"] {
        let answer = harness.post("/api/v1/events", says(producer));
        assert_eq!(answer.json()["stored"], 1, "{}", answer.body);
    }
    let asked = harness.post("/api/v1/commands", SELECT);
    assert_eq!(asked.status, 409, "two games, and none is named: {}", asked.body);
    let sessions = asked.json()["sessions"].clone();
    let session_of = |producer: &str| {
        let sessions = sessions.as_array().expect("they are listed");
        let found = sessions.iter().find(|it| it["agent"] == producer).expect("it is listed");
        assert_eq!(found["kind"], "producer");
        found["session"].as_str().expect("hexadecimal").to_owned()
    };
    let command = format!(
        r#"{{"type":"select_card","payload":{{"position":3}},"session":"{}"}}"#,
        session_of("table-a")
    );
    assert_eq!(harness.post("/api/v1/commands", command).status, 200);

    let mut poll =
        |producer: &str| harness.get(&format!("/api/v1/commands/poll?producer={producer}"));
    for producer in ["table-a", "table-b", "table-b", "nobody", "nobody"] {
        let answer = poll(producer);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{producer}");
    }
    assert_eq!(poll("table-a").body, "select_card:3", "its second poll");
    assert_eq!(poll("table-a").body, "");
}

#[test]
fn a_command_expires_and_the_log_says_so() {
    let mut harness = Harness::new();
    game(&mut harness);
    poll(&mut harness);
    harness.post("/api/v1/commands", SELECT);
    harness.wait_ms(10_100);
    assert_eq!(poll(&mut harness).body, "");
    let (kind, command) = command_events(&harness).pop().unwrap();
    assert_eq!(kind, EventType::CommandExpired);
    assert!(command.waited_ms.unwrap() >= 10_000.0);
    assert!(harness.get("/metrics").body.contains("jimbot_mcp_commands_expired_total 1\n"));
}

#[test]
fn without_a_game_there_is_nobody_to_command() {
    let mut harness = Harness::new();
    let answer = harness.post("/api/v1/commands", SELECT);
    assert_eq!((answer.status, &answer.json()["field"]), (404, &"session".into()));
    assert_eq!(poll(&mut harness).body, "");
    assert_eq!(harness.stored().len(), 0);
}

#[test]
fn with_several_games_the_command_must_name_one() {
    let mut harness = Harness::new();
    game(&mut harness);
    let socket = harness.websocket("/ws");
    harness.say(socket, text(event("ws", 5.0)));
    let answer = harness.post("/api/v1/commands", SELECT);
    assert_eq!(answer.status, 409);
    let json = answer.json();
    let sessions = json["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let of = |kind: &str| {
        let session = sessions.iter().find(|session| session["kind"] == kind).unwrap();
        session["session"].as_str().unwrap().to_owned()
    };
    let named = |session: &str| {
        format!(r#"{{"type":"select_card","payload":{{"position":3}},"session":"{session}"}}"#)
    };
    let answer = harness.post("/api/v1/commands", named(&of("http")));
    assert_eq!(answer.json()["status"], "queued");
    let answer = harness.post("/api/v1/commands", named(&of("websocket")));
    assert_eq!(answer.json()["status"], "delivered", "a WebSocket gets it at once");
    let pushed: serde_json::Value =
        serde_json::from_str(&texts(&harness.receive(socket))[0]).unwrap();
    assert_eq!(pushed["type"], "COMMAND");
    assert_eq!(pushed["action"], "select_card");
    assert_eq!(pushed["params"]["position"], 3);
    let answer = harness.post("/api/v1/commands", named("00000000000000ff"));
    assert_eq!((answer.status, answer.json()["sessions"].as_array().unwrap().len()), (404, 2));
    assert_eq!(harness.post("/api/v1/commands", named("not a number")).status, 404);
}

#[test]
fn a_wrong_command_is_told_which_field_is_wrong() {
    let mut harness = Harness::new();
    game(&mut harness);
    for (body, field) in [
        ("{", ""),
        ("{}", "type"),
        (r#"{"type":"explode"}"#, "type"),
        (r#"{"type":"select_card"}"#, "payload.position"),
        (
            r#"{"type":"COMMAND","action":"select_card","params":{"position":-1}}"#,
            "params.position",
        ),
    ] {
        let answer = harness.post("/api/v1/commands", body);
        assert_eq!((answer.status, &answer.json()["field"]), (400, &field.into()), "{body}");
    }
    let answer = harness.post("/api/v1/commands", " ".repeat(20_000));
    assert_eq!(answer.status, 413);
    assert_eq!(command_events(&harness).len(), 0);
}

#[test]
fn the_mailbox_of_a_game_is_bounded() {
    let mut harness = Harness::new();
    game(&mut harness);
    for _ in 0..64 {
        assert_eq!(harness.post("/api/v1/commands", SELECT).status, 200);
    }
    let answer = harness.post("/api/v1/commands", SELECT);
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
}

#[test]
fn while_the_log_is_full_commands_stay_where_they_are() {
    let mut harness = Harness::new();
    game(&mut harness);
    poll(&mut harness);
    harness.post("/api/v1/commands", SELECT);
    let now = harness.now;
    harness.service.commit_all(now);
    harness.service.log_mut().set_full(true);
    assert_eq!(harness.post("/api/v1/commands", SELECT).status, 503);
    assert_eq!(poll(&mut harness).body, "", "its delivery could not be written down");
    harness.service.log_mut().set_full(false);
    assert_eq!(poll(&mut harness).body, "select_card:3");
}
