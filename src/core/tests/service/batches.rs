//! When events become visible.

use jimbot_core::batching::Mode;
use jimbot_core::log::{MemoryLog, MemoryLogOptions};
use jimbot_core::service::ServiceConfig;
use jimbot_core::time::MILLISECOND;

use crate::harness::{Harness, config, event, post};

fn visible(harness: &Harness) -> usize {
    harness.service.log().frames().map(|frame| frame.index.len()).sum()
}

#[test]
fn adaptive_shows_an_event_at_the_first_quiet_poll() {
    let mut harness = Harness::new();
    harness.post("/api/v1/events", event("a", 1.0));
    assert_eq!(visible(&harness), 0);
    assert!(harness.service.commits_when_idle());
    let now = harness.now;
    harness.service.idle(now);
    assert_eq!(visible(&harness), 1);
    assert!(!harness.service.commits_when_idle());
}

#[test]
fn under_load_an_event_is_visible_within_the_window() {
    for batching in [Mode::Adaptive, Mode::Window] {
        let config = ServiceConfig { batching, ..config() };
        let mut harness = Harness::with(config, MemoryLog::new(MemoryLogOptions::default()));
        harness.post("/api/v1/events", event("a", 1.0));
        let stored_at = harness.now.mono_ns;
        harness.wait_ms(89);
        assert_eq!(visible(&harness), 0);
        harness.wait_ms(1);
        assert_eq!(visible(&harness), 1);
        let frame = harness.service.log().frames().next().unwrap();
        assert!(frame.committed_mono_ns - stored_at <= 90 * MILLISECOND);
    }
}

#[test]
fn what_must_not_wait_is_visible_before_it_is_answered() {
    let urgent = [
        r#"{"type":"MONEY_CHANGED","timestamp":1,"event_id":"a","priority":"high","payload":{}}"#,
        r#"{"type":"ERROR","timestamp":1,"event_id":"b","payload":{"message":"oh"}}"#,
        r#"{"type":"LEARNING_DECISION","subtype":"REQUEST","timestamp":1,"event_id":"c","payload":{"request_id":"REQ-1-0001"}}"#,
    ];
    for body in urgent {
        let config = ServiceConfig { batching: Mode::Window, ..config() };
        let mut harness = Harness::with(config, MemoryLog::new(MemoryLogOptions::default()));
        let id = harness.connect();
        harness.send(id, &post("/api/v1/events", "", body));
        assert_eq!(visible(&harness), 1, "{body}");
        assert!(!harness.service.output(id).is_empty());
    }
}

#[test]
fn a_batch_is_cut_where_its_limits_are() {
    let options = MemoryLogOptions {
        max_batch_events: 10,
        max_batch_bytes: 128 * 1024,
        ..Default::default()
    };
    let mut harness = Harness::with(config(), MemoryLog::new(options));
    let events: Vec<String> = (0..25).map(|n| event(&format!("e{n}"), f64::from(n))).collect();
    harness.post("/api/v1/events", format!("[{}]", events.join(",")));
    let sizes: Vec<usize> = harness.service.log().frames().map(|f| f.index.len()).collect();
    assert_eq!(sizes, [10, 10]);
    assert_eq!(harness.stored().len(), 25);
}

#[test]
fn a_long_body_does_not_keep_others_waiting() {
    let mut harness = Harness::new();
    let events: Vec<String> = (0..4_000).map(|n| event(&format!("e{n}"), f64::from(n))).collect();
    let long = post("/api/v1/events", "", format!("[{}]", events.join(",")));
    let slow = harness.connect();
    let mut rest = &long[..];
    while !rest.is_empty() {
        let now = harness.now;
        let space = harness.service.read_space(slow, now);
        let length = space.len().min(rest.len());
        space[..length].copy_from_slice(&rest[..length]);
        harness.service.filled(slow, length, now);
        rest = &rest[length..];
    }
    assert!(harness.service.has_work(), "it goes on in turns");
    assert!(harness.stored().len() < 4_000);
    let quick = harness.connect();
    let body = post("/api/v1/events", "", event("quick", 1.0));
    let now = harness.now;
    let space = harness.service.read_space(quick, now);
    space[..body.len()].copy_from_slice(&body);
    harness.service.filled(quick, body.len(), now);
    assert!(!harness.service.output(quick).is_empty(), "answered in between");
    // A clock on which each look costs 100 µs: a turn is over after five events.
    let before = harness.stored().len();
    let mut time = now;
    let more = harness.service.work(|| {
        time = time.plus(100_000);
        time
    });
    assert!(more && harness.stored().len() - before <= 5);
    harness.turn();
    assert_eq!(harness.stored().len(), 4_001);
}
