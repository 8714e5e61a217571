//! A log that is full because a reader does not read on.

use jimbot_core::log::{Guarantee, ReaderStatus};

use crate::harness::{Harness, close_code, event, mod_post, parse, post, text, texts};

/// A harness whose log takes nothing from now on.
fn full() -> Harness {
    let mut harness = Harness::new();
    harness.post("/api/v1/events", event("before", 1.0));
    let now = harness.now;
    harness.service.commit_all(now);
    harness.service.log_mut().set_full(true);
    harness.service.log_mut().set_readers(vec![ReaderStatus {
        name: "trainer-0".into(),
        guarantee: Guarantee::Reliable,
        alive: true,
        detached: false,
        generation: 1,
        pid: 1,
        lag_events: 1,
        lag_bytes: 64,
        lag_seconds: 1.0,
        missed: 0,
        quiet_seconds: 1.0,
        pinned_bytes: 0,
        pinned_share: 0.0,
        pinned_seconds: 0.0,
    }]);
    harness
}

#[test]
fn a_request_waits_for_room_and_is_stored() {
    let mut harness = full();
    let id = harness.connect();
    harness.send(id, &mod_post("/api/v1/events", event("a", 2.0)));
    harness.wait_ms(1_500);
    assert_eq!(harness.receive(id), b"", "it is held");
    assert_eq!(harness.get("/readyz").status, 503);
    assert_eq!(harness.get("/healthz").status, 200, "it is alive all the same");
    harness.service.log_mut().set_full(false);
    harness.wait_ms(2);
    assert_eq!(parse(&harness.receive(id)).status, 200);
    assert_eq!(harness.stored().len(), 2);
    assert_eq!(harness.get("/readyz").status, 200);
    let notices: Vec<String> = harness.notices.iter().map(ToString::to_string).collect();
    assert!(notices[0].contains("trainer-0"), "{notices:?}");
    assert!(notices[1].contains("room again after 15"), "{notices:?}");
}

/// What is said then, whole.
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 186\r\nRetry-After: 1\r\n\r\n\
    {\"error\":\"Service Unavailable\",\"field\":\"body\",\
    \"reason\":\"the log is full, because a reader does not read on\",\
    \"remedy\":\"send the same again later; events that were stored are recognised\"}\n";

#[test]
fn after_two_seconds_even_the_mod_is_told_to_come_again() {
    let mut harness = full();
    let id = harness.connect();
    let request = mod_post("/api/v1/events", event("a", 2.0));
    harness.send(id, &request);
    harness.wait_ms(1_990);
    assert_eq!(harness.receive(id), b"");
    harness.wait_ms(20);
    let answer = harness.receive(id);
    assert_eq!(String::from_utf8_lossy(&answer), FULL);
    harness.service.log_mut().set_full(false);
    harness.wait_ms(2);
    assert_eq!(harness.request(id, &request).status, 200, "the connection goes on");
    assert_eq!(harness.stored().len(), 2);
    let metrics = harness.get("/metrics").body;
    for line in [
        "jimbot_mcp_log_full_episodes_total 1",
        "jimbot_mcp_log_full_held_total 1",
        "jimbot_mcp_log_full_refused_total 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}");
    }
}

#[test]
fn what_was_stored_before_the_log_was_full_is_recognised_when_it_comes_again() {
    let mut harness = Harness::new();
    harness.post("/api/v1/events", event("a", 1.0));
    harness.service.log_mut().set_full(true);
    // The open batch still takes events; the first one that needs a new batch meets the full log.
    let many: Vec<String> = (0..5_000).map(|n| event(&format!("e{n}"), f64::from(n))).collect();
    let request = post("/api/v1/events", "", format!("[{}]", many.join(",")));
    let id = harness.connect();
    harness.send(id, &request);
    harness.wait_ms(2_100);
    assert_eq!(parse(&harness.receive(id)).status, 503);
    harness.service.log_mut().set_full(false);
    harness.wait_ms(2);
    harness.send(id, &request);
    harness.wait_ms(10);
    let answer = parse(&harness.receive(id)).json();
    assert_eq!(answer["stored"].as_u64().unwrap() + answer["repeated"].as_u64().unwrap(), 5_000);
    assert!(answer["repeated"].as_u64().unwrap() > 0);
    assert_eq!(harness.stored().len(), 5_001);
}

#[test]
fn a_websocket_is_paused_and_then_closed_with_try_again() {
    let mut harness = full();
    harness.service.log_mut().set_full(false);
    let id = harness.websocket("/ws?ack=1");
    let now = harness.now;
    harness.service.commit_all(now);
    harness.service.log_mut().set_full(true);
    assert_eq!(harness.say(id, text(event("a", 2.0))), b"");
    assert!(!harness.service.wants(id).read, "nothing more is read from it");
    harness.wait_ms(2_010);
    assert_eq!(close_code(&harness.receive(id)), Some(1013));
    assert_eq!(harness.stored().len(), 1);
}

#[test]
fn a_websocket_goes_on_when_there_is_room_in_time() {
    let mut harness = full();
    let id = harness.websocket("/ws?ack=1");
    harness.say(id, text(event("a", 2.0)));
    harness.wait_ms(500);
    harness.service.log_mut().set_full(false);
    harness.wait_ms(2);
    assert_eq!(texts(&harness.receive(id)), [r#"{"ack":1,"seq":2}"#]);
}
