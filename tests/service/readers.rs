//! What people are told of readers: `/api/v1/readers` with real ones.

use std::time::Duration;

use jimbot_shm::{Guarantee, LogReader, ReaderOptions, Start};
use serde_json::{Value, json};

use crate::support::{Service, post, request, wait_for};

/// The smallest log: ten of the events below fill it.
const SMALLEST: [&str; 6] =
    ["--log-bytes", "1057280", "--max-batch-bytes", "128KiB", "--max-batch-events", "16"];
const SOON: Duration = Duration::from_secs(60);

fn join(service: &Service, name: &str, guarantee: Guarantee) -> LogReader {
    let name = name.to_owned();
    let start = Start::Earliest;
    let options = ReaderOptions { name, guarantee, start, ..ReaderOptions::default() };
    LogReader::open(service.shm_dir().path(), &options).expect("it joins")
}

fn store(service: &Service, id: u32, bytes: usize) {
    let event = json!({"type": "HEARTBEAT", "event_id": id.to_string(), "timestamp": 5,
        "payload": {"note": "x".repeat(bytes)}});
    let body = event.to_string();
    let answer = post(&service.address, "/api/v1/events", "application/json", body.as_bytes());
    assert!(answer.ends_with("{\"status\":\"ok\",\"stored\":1,\"repeated\":0}\n"), "{answer}");
}

fn readers(service: &Service) -> Value {
    let answer = request(
        &service.address,
        b"GET /api/v1/readers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close",
            body.len()
        )
    );
    serde_json::from_str(body).expect("JSON")
}

/// Takes a time out of a reader's line, since tests measure none; it has to be one.
fn take_seconds(line: &mut Value, of: &str) -> f64 {
    let seconds = line.pointer_mut(of).expect(of).take().as_f64().expect(of);
    assert!((0.0..600.0).contains(&seconds), "{of} is {seconds}");
    seconds
}

#[test]
fn a_view_that_is_kept_is_told_with_its_size_and_age() {
    let service = Service::start(&[]);
    let mut trainer = join(&service, "trainer-0", Guarantee::Reliable);
    let _viewer = join(&service, "viewer", Guarantee::Lossy);
    store(&service, 1, 10);
    let view = trainer.next(SOON).unwrap().expect("an event");
    store(&service, 2, 10);
    let bytes = view.header().end() - view.header().position;

    let mut told = readers(&service);
    let lag = take_seconds(&mut told, "/readers/0/lag/seconds");
    let pinned = take_seconds(&mut told, "/readers/0/pinned_seconds");
    take_seconds(&mut told, "/readers/0/quiet_seconds");
    take_seconds(&mut told, "/readers/1/lag/seconds");
    take_seconds(&mut told, "/readers/1/quiet_seconds");
    assert!(lag > 0.0 && pinned > 0.0, "{lag} {pinned}");
    let pid = std::process::id();
    assert_eq!(
        told,
        json!({"readers": [
            {"name": "trainer-0", "guarantee": "reliable", "alive": true, "detached": false,
             "generation": 1, "pid": pid, "lag": {"events": 2, "bytes": 2 * bytes, "seconds": null},
             "missed": 0, "quiet_seconds": null, "pinned_bytes": bytes, "pinned_seconds": null,
             "pins_too_much": pinned > 5.0},
            {"name": "viewer", "guarantee": "lossy", "alive": true, "detached": false,
             "generation": 1, "pid": pid, "lag": {"events": 2, "bytes": 2 * bytes, "seconds": null},
             "missed": 0, "quiet_seconds": null, "pinned_bytes": 0, "pinned_seconds": 0.0,
             "pins_too_much": false},
        ]})
    );

    let named = wait_for("the reader to be named", || {
        let told = readers(&service)["readers"][0].clone();
        (told["pins_too_much"] == true).then_some(told)
    });
    assert!(named["pinned_seconds"].as_f64().unwrap() > 5.0, "{named}");
    view.release().unwrap();
    let told = readers(&service)["readers"][0].clone();
    assert_eq!(
        [&told["pinned_bytes"], &told["pinned_seconds"], &told["pins_too_much"]],
        [&json!(0), &json!(0.0), &json!(false)]
    );
    assert_eq!(told["lag"]["events"], 1);
}

#[test]
fn views_of_much_of_the_log_are_named_and_gaps_are_counted() {
    let service = Service::start(&SMALLEST);
    let mut trainer = join(&service, "trainer-0", Guarantee::Reliable);
    let mut viewer = join(&service, "viewer", Guarantee::Lossy);
    let mut views = Vec::new();
    for id in 0..3 {
        store(&service, id, 90_000);
        views.push(trainer.next(SOON).unwrap().expect("an event"));
    }
    let told = readers(&service)["readers"][0].clone();
    let bytes = views[2].header().end() - views[0].header().position;
    assert_eq!((&told["pinned_bytes"], &told["pins_too_much"]), (&json!(bytes), &json!(true)));
    views.into_iter().for_each(|view| view.release().unwrap());
    assert_eq!(readers(&service)["readers"][0]["pins_too_much"], false);

    for id in 3..30 {
        store(&service, id, 90_000);
        trainer.next(SOON).unwrap().expect("an event").release().unwrap();
    }
    let after_gap = viewer.next(SOON).unwrap().expect("an event");
    let told = readers(&service)["readers"].clone();
    assert_eq!(told[0]["missed"], 0);
    assert_eq!(told[1]["missed"], after_gap.header().first_sequence - 1);
    assert!(viewer.missed() > 0);
}
