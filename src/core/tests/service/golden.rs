//! The table of bad input through the core: each answer to the byte, and the service goes on after each.

use std::fs;
use std::path::Path;

use jimbot_core::service::ConnId;

use crate::bad_input_table::{
    Row, answers, answers_file, frame, good_event, post, rows, transcript,
};
use crate::harness::{Harness, parse};

/// Longer than any half of a request is waited for.
const PATIENCE_MS: u64 = 400_000;

/// Sends a row on a connection of its own: what came back, and the connection if it goes on.
fn play(harness: &mut Harness, row: &Row) -> (String, Option<ConnId>) {
    let id = harness.connect();
    harness.send(id, &row.sent);
    harness.turn();
    let mut received = take(harness, id);
    if row.late {
        assert_eq!(received, b"", "{}: nothing is whole yet", row.name);
        let mut waited = 0;
        while received.is_empty() && waited < PATIENCE_MS {
            harness.wait_ms(1_000);
            waited += 1_000;
            received = take(harness, id);
        }
    }
    let wants = harness.service.wants(id);
    let ended = wants.shut_down || wants.close || !wants.read || is_close(&received);
    (transcript(&received, ended), (!ended).then_some(id))
}

/// Takes the output and leaves the rest as it is.
fn take(harness: &mut Harness, id: ConnId) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        let output = harness.service.output(id).to_vec();
        if output.is_empty() {
            return received;
        }
        let now = harness.now;
        harness.service.output_sent(id, output.len(), now);
        received.extend(output);
    }
}

/// The last thing that came is a close frame.
fn is_close(received: &[u8]) -> bool {
    let body = received.windows(4).position(|it| it == b"\r\n\r\n").map_or(0, |at| at + 4);
    received.starts_with(b"HTTP/1.1 101") && received.get(body) == Some(&0x88)
}

/// A good event is stored and acknowledged, on the same connection where that goes on.
fn assert_goes_on(harness: &mut Harness, row: &Row, same: Option<ConnId>, number: usize) {
    let event = good_event(&format!("after-{number}"));
    if let Some(id) = same
        && row.name.starts_with("message: ")
    {
        let before = harness.stored().len();
        let received = harness.say(id, frame(0x81, event.as_bytes()));
        assert!(received.windows(7).any(|it| it == b"\"ack\":1"), "{}: {received:?}", row.name);
        assert_eq!(harness.stored().len(), before + 1, "{}", row.name);
        harness.hang_up(id);
        return;
    }
    let id = same.unwrap_or_else(|| harness.connect());
    harness.send(id, &post("/api/v1/events", "", event));
    harness.turn();
    let answer = parse(&take(harness, id));
    let stored = (answer.status, answer.body.as_str());
    let expected = (200, "{\"status\":\"ok\",\"stored\":1,\"repeated\":0}\n");
    assert_eq!(stored, expected, "after {}", row.name);
    harness.hang_up(id);
}

#[test]
fn every_row_is_answered_to_the_byte_and_the_service_goes_on() {
    let file = answers_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let mut harness = Harness::new();
    let mut found = String::from(
        "What each row of table.rs is answered; table.rs says how this file is written.\n",
    );
    for (number, row) in rows().iter().enumerate() {
        let (shown, same) = play(&mut harness, row);
        found.push_str(&format!("\n== {}\n{shown}", row.name));
        assert_goes_on(&mut harness, row, same, number);
    }
    if std::env::var_os("JIMBOT_WRITE_ANSWERS").is_some() {
        fs::write(&file, &found).expect("the tree can be written");
    }
    let expected = fs::read_to_string(&file).expect("the answers are in the tree");
    let (found, expected) = (answers(&found), answers(&expected));
    let names =
        |list: &[(&str, &str)]| -> Vec<String> { list.iter().map(|it| it.0.to_owned()).collect() };
    assert_eq!(
        names(&found),
        names(&expected),
        "rows, and rows with an answer in {}",
        file.display()
    );
    let differing: Vec<String> = found
        .iter()
        .zip(&expected)
        .filter(|(found, expected)| found != expected)
        .map(|(found, expected)| {
            format!("{}\nfound\n{}\nexpected\n{}", found.0, found.1, expected.1)
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}
