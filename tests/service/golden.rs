//! The table of bad input on real sockets: the answers of the core, to the byte, and the service goes on after each.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::bad_input_table::{
    Row, answers, answers_file, bytes_of, frame, good_event, post, rows, transcript,
};
use crate::support::{Service, connect, read_answer};

/// Reads until there is as much as `expected`, or the end.
fn read_as_much(stream: &mut TcpStream, expected: usize) -> Vec<u8> {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while received.len() < expected {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => received.extend_from_slice(&buffer[..length]),
            Ok(0) | Err(_) => break,
        }
    }
    received
}

/// Sends a row, compares what comes back, and sees that the service goes on.
fn play(service: &Service, row: &Row, expected: &str, number: usize) {
    let (bytes, ends) = bytes_of(expected);
    let mut stream = connect(&service.address);
    // Who is refused before its end is not read on for ever.
    let sent = stream.write_all(&row.sent);
    let mut received = read_as_much(&mut stream, bytes.len());
    assert!(sent.is_ok() || ends, "{}: {sent:?}", row.name);
    let event = good_event(&format!("after-{number}"));
    if !ends {
        assert_eq!(transcript(&received, false), expected, "{}", row.name);
        if row.name.starts_with("message: ") {
            stream.write_all(&frame(0x81, event.as_bytes())).expect("it goes on");
            let ack = read_as_much(&mut stream, 3);
            assert!(ack.windows(7).any(|it| it == b"\"ack\":1"), "after {}: {ack:?}", row.name);
            return;
        }
    } else {
        if row.name.starts_with("WebSocket: ") {
            // The other half of the closing handshake; the connection may have ended without.
            let _ = stream.write_all(&frame(0x88, &1000_u16.to_be_bytes()));
        }
        received.extend(read_as_much(&mut stream, usize::MAX));
        assert_eq!(transcript(&received, true), expected, "{}", row.name);
        stream = connect(&service.address);
    }
    stream.write_all(&post("/api/v1/events", "", event)).expect("it goes on");
    let answer = read_answer(&mut stream);
    let stored = "{\"status\":\"ok\",\"stored\":1,\"repeated\":0}\n";
    assert_eq!(answer.split_once("\r\n\r\n").map(|it| it.1), Some(stored), "after {}", row.name);
}

fn play_all(settings: &[&str], late: bool) {
    let file = answers_file(Path::new(env!("CARGO_MANIFEST_DIR")));
    let text = std::fs::read_to_string(&file).expect("the answers are in the tree");
    let answers = answers(&text);
    let mut service = Service::start(settings);
    let mut played = 0;
    for (number, row) in rows().iter().enumerate().filter(|(_, row)| row.late == late) {
        let (name, expected) = answers[number];
        assert_eq!(name, row.name, "rows and answers are in one order");
        play(&service, row, expected, number);
        played += 1;
    }
    assert!(played > 0);
    service.assert_well();
}

#[test]
fn every_row_is_answered_to_the_byte_by_the_real_service_too() {
    play_all(&[], false);
}

#[test]
fn what_does_not_come_whole_is_answered_408_to_the_byte() {
    play_all(&["--head-timeout-ms", "200", "--body-timeout-ms", "200"], true);
}
