//! What a service that is killed must not forget, however small its log is.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Service, ShmDir, post, request, wait_for};

/// The smallest log that there is for 16 events a batch.
const SMALLEST: [&str; 6] =
    ["--log-bytes", "1057280", "--max-batch-bytes", "128KiB", "--max-batch-events", "16"];
const PRODUCER: &str = "trainer-mod";

/// Sends one event; whether it was stored, and not recognised as sent before.
fn is_stored(service: &Service, event: &Value) -> bool {
    let body = event.to_string();
    let answer = post(&service.address, "/api/v1/events", "application/json", body.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let told: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(told["stored"].as_u64().unwrap() + told["repeated"].as_u64().unwrap(), 1, "{told}");
    told["stored"] == 1
}

fn numbered(number: u64) -> Value {
    json!({"type": "SCORE_CHANGED", "event_id": format!("n-{number}"), "timestamp": 1000.5,
        "producer": PRODUCER, "producer_sequence": number, "payload": {}})
}

/// Stores events that nobody numbers until the ring holds nothing of what was there before.
fn lap(service: &Service, name: &str) {
    for number in 0..20 {
        let event = json!({"type": "SCORE_CHANGED", "event_id": format!("{name}-{number}"),
            "timestamp": 1000.5, "payload": {"note": "x".repeat(90_000)}});
        assert!(is_stored(service, &event));
    }
    let from_producer = |event: &Value| event["producer"] == PRODUCER;
    assert!(!service.events().iter().any(from_producer), "the ring has forgotten them");
}

fn assert_numbers_known(service: &Service, numbers: &[u64]) {
    for &number in numbers {
        assert!(!is_stored(service, &numbered(number)), "{number} is stored twice");
    }
}

/// Whether the service has found a checkpoint that it could not use.
fn has_ignored(service: &Service) -> bool {
    let head = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let metrics = request(&service.address, head.as_bytes());
    let counted = |count: u32| {
        let line = format!("jimbot_mcp_producer_checkpoints_total{{result=\"ignored\"}} {count}\n");
        metrics.contains(&line)
    };
    assert!(counted(0) || counted(1), "{metrics}");
    counted(1)
}

#[test]
fn numbers_lapped_in_the_ring_are_recognised_after_a_kill_and_after_a_rotation() {
    let service = Service::start(&SMALLEST);
    for number in [1, 2, 5] {
        assert!(is_stored(&service, &numbered(number)));
    }
    lap(&service, "first");
    assert!(is_stored(&service, &numbered(6)), "this one is in the ring alone");
    let service = Service::start_in(service.kill(), &SMALLEST);
    assert_numbers_known(&service, &[1, 2, 5, 6]);
    assert!(is_stored(&service, &numbered(3)), "a gap is no repeat");

    // Another log with another key, twice, and then killed before anything is sent.
    let rotating = [&SMALLEST[..], &["--rotate-log"]].concat();
    let service = Service::start_in(service.kill(), &rotating);
    let service = Service::start_in(service.kill(), &rotating);
    let service = Service::start_in(service.kill(), &SMALLEST);
    assert_numbers_known(&service, &[1, 2, 3, 5, 6]);
    lap(&service, "last");
    let service = Service::start_in(service.stop(), &SMALLEST);
    assert_numbers_known(&service, &[1, 2, 3, 5, 6]);
    assert!(is_stored(&service, &numbered(4)));
}

/// What a service finds beside its log is of no use: what its ring holds is known, the rest is stored again.
fn ring_alone_counts(reason: &str, spoil: impl Fn(&ShmDir)) {
    let service = Service::start(&SMALLEST);
    assert!(is_stored(&service, &numbered(1)));
    lap(&service, "other");
    assert!(is_stored(&service, &numbered(2)));
    let shm_dir: Arc<ShmDir> = service.kill();
    spoil(&shm_dir);
    let mut service = Service::start_in(shm_dir, &SMALLEST);
    wait_for(reason, || service.messages().contains(reason).then_some(()));
    assert!(has_ignored(&service));
    assert_numbers_known(&service, &[2]);
    assert!(is_stored(&service, &numbered(1)), "stored again rather than lost");
    service.assert_well();
    let service = Service::start_in(service.stop(), &SMALLEST);
    assert!(!has_ignored(&service), "it was replaced");
    assert_numbers_known(&service, &[1, 2]);
}

#[test]
fn a_cut_checkpoint_is_told_and_the_ring_alone_counts() {
    ring_alone_counts("it is damaged", |shm_dir| {
        let file = shm_dir.path().join("producers");
        let bytes = fs::read(&file).unwrap();
        fs::write(file, &bytes[..bytes.len() - 8]).unwrap();
    });
}

#[test]
fn a_foreign_file_in_the_checkpoints_place_is_told_and_the_ring_alone_counts() {
    ring_alone_counts("it is no such file of ours", |shm_dir| {
        fs::write(shm_dir.path().join("producers"), "shopping list").unwrap();
    });
}

#[test]
fn a_log_made_anew_stores_numbers_that_only_the_lost_one_held() {
    let service = Service::start(&SMALLEST);
    assert!(is_stored(&service, &numbered(1)));
    let shm_dir = service.stop();
    for file in ["log", "readers"] {
        fs::remove_file(shm_dir.path().join(file)).unwrap();
    }
    let service = Service::start_in(shm_dir, &SMALLEST);
    assert!(is_stored(&service, &numbered(1)), "nobody can read the other log any more");
}
