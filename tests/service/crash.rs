//! The service killed under load: what was acknowledged is there after the restart, once.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Stdio};
use std::sync::Arc;

use crate::support::{Service, ShmDir, jimbot, text, wait_for};

/// Room for every event of one test, twice over; the tests run beside each other, and a container's shared memory may
/// have no more than 64 MiB.
const LOG: [&str; 2] = ["--log-bytes", "12MiB"];
/// Times the service is killed in one test.
const KILLS: u32 = 5;

fn lines(path: &str) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// Games that never give up, killed services, and at the end every acknowledged event once.
fn survive(transport: &[&str]) {
    let shm_dir = Arc::new(ShmDir::new());
    let acknowledged = format!("{}.acknowledged", shm_dir.text());
    let mut service = Service::start_in(Arc::clone(&shm_dir), &LOG);
    let address = service.address.clone();
    let base = ["simulate", "--to", &address, "--resend", "--games", "3", "--events", "12000"];
    let options = ["--rate", "4000", "--json", "--acknowledged", &acknowledged];
    let mut games: Child = jimbot(&[&base[..], &options, transport].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..KILLS {
        let stored = service.metric("jimbot_mcp_events_stored_total");
        wait_for("events since the restart", || {
            let ended = games.try_wait().unwrap().is_some();
            (ended || service.metric("jimbot_mcp_events_stored_total") > stored + 200.0)
                .then_some(())
        });
        service.kill();
        let again = [&LOG[..], &["--listen", &address]].concat();
        service = Service::start_in(Arc::clone(&shm_dir), &again);
    }
    let output = games.wait_with_output().unwrap();
    assert!(output.status.success(), "{} {}", text(&output.stdout), text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(summary["failures"].as_u64().unwrap() > 0, "nobody noticed the kills: {summary}");

    let mut stored = HashMap::<String, u32>::new();
    for event in service.events() {
        if let Some(id) = event["eventId"].as_str() {
            *stored.entry(id.to_owned()).or_default() += 1;
        }
    }
    let ids = fs::read_to_string(&acknowledged).unwrap();
    assert_eq!(
        lines(&acknowledged) as u64 + tests_without_id(&summary),
        summary["events_accepted"]
    );
    for id in ids.lines() {
        assert_eq!(stored.get(id), Some(&1), "event {id} was acknowledged");
    }
    assert!(stored.values().all(|&times| times == 1), "an event is there twice");
    fs::remove_file(acknowledged).unwrap();
}

/// Connection tests have no id; over HTTP and WebSocket alike each game sends one.
fn tests_without_id(summary: &serde_json::Value) -> u64 {
    summary["games"].as_u64().unwrap()
}

#[test]
fn acknowledged_events_survive_sigkill_over_http() {
    survive(&["--connections", "kept-alive"]);
}

#[test]
fn acknowledged_events_survive_sigkill_over_new_connections() {
    survive(&["--connections", "new"]);
}

#[test]
fn acknowledged_events_survive_sigkill_over_websocket() {
    survive(&["--over", "websocket", "--dialect", "mod"]);
}
