//! What the service allocates in its steady state: nothing for an event over HTTP, at most once for a buffer fill on a
//! WebSocket.

use allocation_counter::measure;
use jimbot_core::limits;
use jimbot_core::log::{MemoryLog, MemoryLogOptions};
use jimbot_core::service::ConnId;
use jimbot_core::time::MILLISECOND;

use crate::harness::{Harness, batch, config, event, mod_post, state, text};

/// One turn as a shell does it: read, send the answers, commit. Returns how many bytes were answered.
fn turn(harness: &mut Harness, id: ConnId, bytes: &[u8], changed: &mut Vec<ConnId>) -> usize {
    harness.now = harness.now.plus(MILLISECOND);
    let now = harness.now;
    let mut rest = bytes;
    let mut answered = 0;
    while !rest.is_empty() {
        let space = harness.service.read_space(id, now);
        let length = space.len().min(rest.len());
        space[..length].copy_from_slice(&rest[..length]);
        harness.service.filled(id, length, now);
        rest = &rest[length..];
        while harness.service.work(|| now) {}
        harness.service.on_time(now);
        harness.service.take_changed(changed);
        for id in changed.drain(..) {
            let length = harness.service.output(id).len();
            harness.service.output_sent(id, length, now);
            harness.service.wants(id);
            answered += length;
        }
    }
    harness.service.idle(now);
    answered
}

fn harness() -> Harness {
    let options = MemoryLogOptions { frames_kept: 2, ..MemoryLogOptions::default() };
    Harness::with(config(), MemoryLog::new(options))
}

/// Requests of each kind, with events that were not there before.
fn requests(round: u32) -> Vec<Vec<u8>> {
    let id = |n: u32| format!("{round}-{n}");
    let time = |n: u32| f64::from(round) * 1_000.0 + f64::from(n);
    let events: Vec<String> = (0..50)
        .map(|n| match n % 10 {
            0 => state(&id(n), time(n), "7LB2WVPK"),
            _ => event(&id(n), time(n)),
        })
        .collect();
    vec![
        mod_post("/api/v1/events", event(&id(100), time(100))),
        mod_post("/api/v1/events/batch", batch(&events)),
        // The same once more: repeats.
        mod_post("/api/v1/events/batch", batch(&events)),
        mod_post(
            "/api/v1/events",
            format!("[{},{}]", event(&id(101), time(101)), event(&id(102), time(102))),
        ),
        b"GET /api/v1/commands/poll HTTP/1.1\r\nHost: localhost:8080\r\n\r\n".to_vec(),
    ]
}

#[test]
fn an_event_over_http_allocates_nothing() {
    let mut harness = harness();
    let mut changed = Vec::with_capacity(16);
    let kept = harness.connect();
    let rounds: Vec<Vec<Vec<u8>>> = (0..120).map(requests).collect();
    for request in rounds[..20].iter().flatten() {
        assert!(turn(&mut harness, kept, request, &mut changed) > 0);
    }
    let before = harness.get("/metrics").body;
    let stored = |text: &str| -> u64 {
        let name = "jimbot_mcp_events_stored_total{transport=\"http\"} ";
        text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap()
    };
    let allocations = measure(|| {
        for request in rounds[20..].iter().flatten() {
            turn(&mut harness, kept, request, &mut changed);
        }
    });
    assert_eq!(allocations.count_total, 0);
    let after = harness.get("/metrics").body;
    assert_eq!(stored(&after) - stored(&before), 100 * 53, "and it all was stored");
}

#[test]
fn a_connection_for_each_request_allocates_nothing_for_its_events() {
    let mut harness = harness();
    let mut changed = Vec::with_capacity(16);
    let rounds: Vec<Vec<Vec<u8>>> = (0..60).map(requests).collect();
    let mut once = |harness: &mut Harness, request: &[u8]| {
        let id = harness.connect();
        turn(harness, id, request, &mut changed);
        let now = harness.now;
        harness.service.peer_closed(id, now);
        harness.service.release(id, now);
    };
    for request in rounds[..20].iter().flatten() {
        once(&mut harness, request);
    }
    let allocations = measure(|| {
        for request in rounds[20..].iter().flatten() {
            once(&mut harness, request);
        }
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn a_websocket_allocates_at_most_once_for_a_buffer_fill() {
    let mut harness = harness();
    let mut changed = Vec::with_capacity(16);
    let id = harness.websocket("/ws");
    let fills: Vec<Vec<u8>> = (0..60_u32)
        .map(|round| {
            (0..200)
                .flat_map(|n| text(event(&format!("{round}-{n}"), f64::from(round * 200 + n))))
                .collect()
        })
        .collect();
    for fill in &fills[..20] {
        turn(&mut harness, id, fill, &mut changed);
    }
    let allocations = measure(|| {
        for fill in &fills[20..] {
            turn(&mut harness, id, fill, &mut changed);
        }
    });
    // The codec takes what was read in steps of its own buffer.
    let steps: usize =
        fills[20..].iter().map(|fill| fill.len().div_ceil(limits::IDLE_BUFFER_BYTES)).sum();
    assert!(allocations.count_total <= steps as u64, "{} > {steps}", allocations.count_total);
}
