//! Settings of `serve` that show in nothing but behaviour: for each, what is different with it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use jimbot_shm::{Guarantee, LogReader, ReaderOptions, Start};

use crate::bad_input_table::{frame, upgrade};
use crate::support::{Service, connect, post, read_answer, run, text, wait_for};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const TEXT: u8 = 0x81;

/// A WebSocket whose other side is bytes: nothing is answered that the test does not answer.
fn web_socket(service: &Service) -> TcpStream {
    let mut stream = connect(&service.address);
    stream.write_all(&upgrade("/ws?ack=1")).expect("it is asked for");
    let answer = read_answer(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream
}

/// The next frame of the service: first byte and payload, all shorter than 126 bytes.
fn next_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame");
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).expect("its payload");
    (head[0], payload)
}

/// A close frame's payload.
fn close(code: u16, reason: &str) -> (u8, Vec<u8>) {
    (0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn assert_ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it ends in order");
    assert_eq!(rest, b"", "nothing follows");
}

fn one_event(service: &Service) {
    let answer =
        post(&service.address, "/api/v1/events", "application/json", br#"{"type":"HEARTBEAT"}"#);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Lone events are a batch each; in window mode those of one window are one batch.
fn window_collects_lone_events(service: &mut Service) {
    let mut sent = 0.0;
    wait_for("two events in one batch", || {
        for _ in 0..5 {
            one_event(service);
            sent += 1.0;
        }
        // A window that is open has none of its events committed yet.
        let batches = service.metric("jimbot_mcp_batches_committed_total");
        let committed = service.metric("mcp_events_per_batch_sum");
        (committed > batches).then_some(())
    });
}

fn a_half_open_web_socket_is_pinged_and_closed(service: &mut Service) {
    // The peer is there no more: it answers nothing, and its system says nothing for it.
    let mut half_open = web_socket(service);
    assert_eq!(next_frame(&mut half_open).0, 0x89, "a ping");
    assert_eq!(
        next_frame(&mut half_open),
        close(1011, "keepalive: nothing was heard after a ping")
    );
    assert_ended(&mut half_open);
    wait_for("its place to be free", || {
        (service.metric("mcp_websocket_connections") == 0.0).then_some(())
    });
}

fn who_answers_pings_stays(service: &mut Service) {
    let mut stream = web_socket(service);
    for _ in 0..4 {
        let (first, payload) = next_frame(&mut stream);
        assert_eq!(first, 0x89, "a ping");
        stream.write_all(&frame(0x8a, &payload)).expect("a pong");
    }
    stream.write_all(&frame(TEXT, br#"{"type":"HEARTBEAT"}"#)).expect("it is open");
    assert!(String::from_utf8_lossy(&next_frame(&mut stream).1).starts_with("{\"ack\":1,"));
}

fn a_longer_message_is_closed_1009(service: &mut Service) {
    let event =
        |pad: usize| format!(r#"{{"type":"HEARTBEAT","payload":{{"p":"{}"}}}}"#, "x".repeat(pad));
    let mut stream = web_socket(service);
    stream.write_all(&frame(TEXT, event(900).as_bytes())).expect("it is open");
    assert!(String::from_utf8_lossy(&next_frame(&mut stream).1).starts_with("{\"ack\":1,"));
    stream.write_all(&frame(TEXT, event(1024).as_bytes())).expect("it is open");
    let said = "a message of more than 1024 bytes: send smaller batches";
    assert_eq!(next_frame(&mut stream), close(1009, said));
}

fn more_frames_a_second_are_closed_1008(service: &mut Service) {
    let mut stream = web_socket(service);
    let many = frame(TEXT, br#"{"type":"HEARTBEAT"}"#).repeat(500);
    stream.write_all(&many).expect("it is open");
    let closed = loop {
        let (first, payload) = next_frame(&mut stream);
        if first == 0x88 {
            break (first, payload);
        }
    };
    assert_eq!(closed, close(1008, "more frames a second than allowed"));
}

fn an_idle_connection_is_closed(service: &mut Service) {
    let mut stream = connect(&service.address);
    stream.write_all(HEALTH).expect("it is open");
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
    assert_ended(&mut stream);
}

/// An idle service that sleeps takes no time; one that polls takes all there is.
fn an_idle_service_is_busy(service: &mut Service) {
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", service.pid())).expect("it runs");
        let fields: Vec<&str> =
            stat.rsplit_once(") ").expect("its name ends").1.split(' ').collect();
        fields[11..13].iter().map(|it| it.parse::<u64>().expect("a number")).sum()
    };
    let before = ticks();
    wait_for("a second of its CPU", || (ticks() > before + 100).then_some(()));
}

#[test]
fn each_setting_shows_in_what_the_service_does() {
    type Effect = fn(&mut Service);
    let table: [(&[&str], Effect); 8] = [
        (&["--mode", "window", "--window-ms", "1000"], window_collects_lone_events),
        (
            &["--ping-seconds", "1", "--silence-seconds", "2"],
            a_half_open_web_socket_is_pinged_and_closed,
        ),
        (&["--ping-seconds", "1", "--silence-seconds", "60"], who_answers_pings_stays),
        (
            &["--max-message-bytes", "1KiB", "--max-frame-bytes", "1KiB"],
            a_longer_message_is_closed_1009,
        ),
        (&["--max-messages-per-second", "20"], more_frames_a_second_are_closed_1008),
        (&["--idle-timeout-seconds", "1"], an_idle_connection_is_closed),
        (&["--busy-poll"], an_idle_service_is_busy),
        (&["--mode", "adaptive"], |service| {
            for _ in 0..20 {
                one_event(service);
            }
            wait_for("a batch for each", || {
                (service.metric("jimbot_mcp_batches_committed_total") == 20.0).then_some(())
            });
        }),
    ];
    for (settings, effect) in table {
        println!("{settings:?}");
        let mut service = Service::start(settings);
        effect(&mut service);
        service.assert_well();
        service.stop();
    }
}

#[test]
fn rotate_log_begins_a_log_of_another_size_behind_a_reader_that_has_not_read_all() {
    let service = Service::start(&[]);
    let shm_dir = service.shm_dir();
    let options = ReaderOptions {
        name: "slow".into(),
        guarantee: Guarantee::Reliable,
        start: Start::Earliest,
        patience: Duration::ZERO,
        ..ReaderOptions::default()
    };
    let mut reader = LogReader::open(shm_dir.path(), &options).expect("a reader");
    one_event(&service);
    service.stop();

    let other = ["--log-bytes", "4MiB", "--max-batch-bytes", "128KiB", "--max-batch-events", "256"];
    let arguments = ["serve", "--shm-dir", shm_dir.text(), "--listen", "127.0.0.1:0"];
    let refused = run(&[&arguments[..], &other].concat());
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    for part in ["4194304", "slow", "--rotate-log"] {
        assert!(said.contains(part), "{part} in {said}");
    }

    let service = Service::start_in(shm_dir, &[&other[..], &["--rotate-log"]].concat());
    let sealed = "the log before was sealed; readers finish it and follow";
    assert!(service.messages().contains(sealed), "{}", service.messages());
    one_event(&service);
    let mut read = 0;
    while read < 2 {
        let frame = reader.next(Duration::from_secs(60)).expect("it follows").expect("in time");
        read += frame.header().event_count;
    }
    assert_eq!(read, 2, "one of each log");
}
