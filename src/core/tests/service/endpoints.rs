//! Every path and what it answers.

use jimbot_core::log::{Guarantee, ReaderStatus};

use crate::harness::{Harness, event, parse, post};

#[test]
fn unknown_paths_and_wrong_methods_say_what_to_do() {
    let mut harness = Harness::new();
    let answer = harness.get("/nowhere");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["field"], "path");
    let answer = harness.get("/api/v1/events");
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST")));
    let answer = harness.post("/metrics", "");
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")));
    assert_eq!(harness.get("/ws").status, 426);
    assert_eq!(harness.get("/events").status, 426);
}

#[test]
fn health_is_told_in_four_places() {
    let mut harness = Harness::new();
    assert_eq!(harness.get("/health").json()["status"], "ok");
    assert_eq!(harness.post("/api/v1/events/health", "{}").json()["status"], "ok");
    assert_eq!(harness.get("/healthz").body, "ok\n");
    assert_eq!(harness.get("/readyz").body, "ready\n");
}

#[test]
fn a_head_request_is_answered_without_the_body() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let answer = harness.request(id, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(
        (answer.status, answer.header("Content-Length"), &*answer.body),
        (200, Some("3"), "")
    );
}

#[test]
fn metrics_count_what_happened() {
    let mut harness = Harness::new();
    harness.post("/api/v1/events", event("a", 1.0));
    harness.post("/api/v1/events", event("a", 1.0));
    harness.post("/api/v1/events", "nonsense");
    let answer = harness.get("/metrics");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "jimbot_mcp_events_stored_total{transport=\"http\"} 1",
        "jimbot_mcp_events_repeated_total 1",
        "jimbot_mcp_events_refused_total{reason=\"unreadable\"} 1",
        "jimbot_mcp_http_requests_total{endpoint=\"events\"} 3",
        "jimbot_mcp_http_responses_total{code=\"200\"} 2",
        "jimbot_mcp_http_responses_total{code=\"400\"} 1",
        "jimbot_mcp_sessions_started_total{cause=\"first_event\"} 1",
        "mcp_queue_size 1",
        "mcp_websocket_connections 0",
        "jimbot_mcp_connections 1",
    ] {
        assert!(answer.body.lines().any(|l| l == line), "{line} is not in\n{}", answer.body);
    }
}

fn reader() -> ReaderStatus {
    ReaderStatus {
        name: "trainer-0".into(),
        guarantee: Guarantee::Reliable,
        alive: true,
        detached: false,
        generation: 2,
        pid: 77,
        lag_events: 5,
        lag_bytes: 4096,
        lag_seconds: 1.5,
        missed: 3,
        quiet_seconds: 0.25,
        pinned_bytes: 64,
        pinned_share: 0.01,
        pinned_seconds: 2.5,
    }
}

#[test]
fn readers_are_listed_with_their_lag() {
    let mut harness = Harness::new();
    assert_eq!(harness.get("/api/v1/readers").json(), serde_json::json!({"readers": []}));
    harness.service.log_mut().set_readers(vec![reader()]);
    assert_eq!(
        harness.get("/api/v1/readers").json(),
        serde_json::json!({"readers": [{
            "name": "trainer-0", "guarantee": "reliable", "alive": true, "detached": false, "generation": 2,
            "pid": 77, "lag": {"events": 5, "bytes": 4096, "seconds": 1.5}, "missed": 3, "quiet_seconds": 0.25,
            "pinned_bytes": 64, "pinned_seconds": 2.5, "pins_too_much": false,
        }]})
    );
    let metrics = harness.get("/metrics").body;
    assert!(metrics.contains("jimbot_mcp_reader_lag_events_max 5\n"));
    assert!(metrics.contains("jimbot_mcp_reader_lag_seconds_max 1.5\n"));
    assert!(metrics.contains("jimbot_mcp_readers{guarantee=\"reliable\"} 1\n"));
}

#[test]
fn who_pins_the_log_for_long_or_much_of_it_is_named() {
    let mut harness = Harness::new();
    for (expected, reader) in [
        (false, ReaderStatus { pinned_seconds: 5.0, pinned_share: 0.25, ..reader() }),
        (true, ReaderStatus { pinned_seconds: 5.1, ..reader() }),
        (true, ReaderStatus { pinned_share: 0.26, ..reader() }),
        // Nothing waits for these.
        (false, ReaderStatus { pinned_seconds: 5.1, detached: true, ..reader() }),
        (false, ReaderStatus { pinned_seconds: 5.1, alive: false, ..reader() }),
        (false, ReaderStatus { pinned_seconds: 5.1, guarantee: Guarantee::Lossy, ..reader() }),
    ] {
        harness.service.log_mut().set_readers(vec![reader.clone()]);
        let told = harness.get("/api/v1/readers").json();
        assert_eq!(told["readers"][0]["pins_too_much"], expected, "{reader:?}");
    }
}

#[test]
fn a_dead_reader_that_holds_the_log_shows_in_the_lag() {
    let mut harness = Harness::new();
    let dead = ReaderStatus { alive: false, ..reader() };
    for (lag, reader) in [
        ("5", dead.clone()),
        ("0", ReaderStatus { detached: true, ..dead.clone() }),
        ("0", ReaderStatus { guarantee: Guarantee::Lossy, ..dead }),
        ("5", ReaderStatus { guarantee: Guarantee::Lossy, ..reader() }),
    ] {
        harness.service.log_mut().set_readers(vec![reader.clone()]);
        let metrics = harness.get("/metrics").body;
        for line in [
            format!("jimbot_mcp_reader_lag_events_max {lag}"),
            "jimbot_mcp_readers{guarantee=\"reliable\"} 0".to_owned(),
        ] {
            assert!(metrics.lines().any(|told| told == line), "{line} of {reader:?}");
        }
    }
}

#[test]
fn media_types_that_are_no_events_are_refused_unless_the_mod_sends_them() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let picture = "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n";
    let body = event("a", 1.0);
    let length = body.len();
    let answer = harness.request(id, format!("{picture}Content-Length: {length}\r\n\r\n{body}"));
    assert_eq!((answer.status, &answer.json()["field"]), (415, &"Content-Type".into()));
    let answer = harness.request(
        id,
        format!("{picture}User-Agent: BalatroMCP/1.0\r\nContent-Length: {length}\r\n\r\n{body}"),
    );
    assert_eq!(answer.status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let mut bytes = Vec::new();
    for n in 0..100 {
        bytes.extend(post("/api/v1/events", "", event(&format!("e{n}"), f64::from(n))));
    }
    bytes.extend(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(harness.send(id, &bytes), bytes.len());
    harness.turn();
    let received = String::from_utf8(harness.receive(id)).unwrap();
    assert_eq!(received.matches("\"stored\":1").count(), 100);
    assert_eq!(parse(received.rsplit_once("HTTP/1.1").unwrap().1.as_bytes()).body, "ok\n");
    let ids: Vec<_> = harness.stored().into_iter().map(|(_, e)| e.event_id.unwrap()).collect();
    assert_eq!(ids, (0..100).map(|n| format!("e{n}")).collect::<Vec<_>>());
}
