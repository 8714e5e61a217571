//! The memory for bodies that are not complete is used up: the mod is made to wait, and never told of an outage.

use std::io::Write;
use std::net::TcpStream;

use crate::support::{Service, connect, read_answer, request, wait_for};

const SETTINGS: [&str; 2] = ["--max-buffer-bytes", "1MiB"];
/// So many bodies that are half there take it all.
const HOLDERS: usize = 16;

/// A request with a body of one event of some 60 KB.
fn whole(id: &str, headers: &str) -> Vec<u8> {
    let note = "x".repeat(60_000);
    let body = format!(
        r#"{{"type":"SCORE_CHANGED","event_id":"{id}","timestamp":1.5,"payload":{{"note":"{note}"}}}}"#
    );
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         {headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// A client in the middle of its body.
fn half_sent(service: &Service, id: &str) -> TcpStream {
    let mut stream = connect(&service.address);
    stream.write_all(&whole(id, "")[..30_000]).expect("the kernel takes it");
    stream
}

/// How many connections have had to wait for memory.
fn waited(service: &Service) -> u64 {
    let head = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let metrics = request(&service.address, head.as_bytes());
    let line =
        metrics.lines().find(|line| line.contains("\"waited_for_memory\"")).expect("counted");
    line.rsplit_once(' ').expect("a value").1.parse().expect("a number")
}

#[test]
fn the_mods_body_waits_for_memory_and_is_stored_when_others_have_left() {
    let mut service = Service::start(&SETTINGS);
    let holders: Vec<TcpStream> =
        (0..HOLDERS).map(|number| half_sent(&service, &format!("holder-{number}"))).collect();
    let mut game = connect(&service.address);
    game.write_all(&whole("game", "User-Agent: BalatroMCP/1.0\r\n")).expect("the kernel takes it");
    wait_for("the game to be paused", || (waited(&service) > 0).then_some(()));
    drop(holders);
    let answer = read_answer(&mut game);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let stored: Vec<_> =
        service.events().into_iter().map(|event| event["eventId"].clone()).collect();
    assert_eq!(stored, ["game"]);
    service.assert_well();
}

#[test]
fn the_mods_body_is_stored_even_if_nobody_leaves() {
    let service = Service::start(&SETTINGS);
    let _holders: Vec<TcpStream> =
        (0..HOLDERS).map(|number| half_sent(&service, &format!("holder-{number}"))).collect();
    let mut game = connect(&service.address);
    game.write_all(&whole("game", "User-Agent: BalatroMCP/1.0\r\n")).expect("the kernel takes it");
    let answer = read_answer(&mut game);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(waited(&service) > 0, "there was memory for it");
}
