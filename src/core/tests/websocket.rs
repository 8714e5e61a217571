//! WebSocket: messages, control frames, acknowledgements, and the exact close code for every violation.

mod wire;

use jimbot_core::access::AccessConfig;
use jimbot_core::conn::{ConnConfig, ConnTimer, Counted};
use jimbot_core::limits;
use jimbot_core::time::SECOND;
use jimbot_core::ws::{CloseCode, WsConfig};
use wire::{Driver, LOOPBACK, Seen, frame, server_frames, upgrade};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// A connection that was upgraded; the upgrade is not among what was seen or sent.
fn open_with(target: &str, ws: WsConfig) -> Driver {
    let config = ConnConfig { ws, ..ConnConfig::default() };
    let mut driver = Driver::with(config, AccessConfig::default(), LOOPBACK);
    driver.send(&upgrade(target));
    assert_eq!(driver.statuses(), [101]);
    assert!(driver.conn.is_websocket());
    driver.seen.clear();
    driver.sent.clear();
    driver
}

fn open() -> Driver {
    open_with("/events", WsConfig::default())
}

/// The frames sent since the last call.
fn frames(driver: &mut Driver) -> Vec<(u8, Vec<u8>)> {
    server_frames(&std::mem::take(&mut driver.sent))
}

/// The code of a close frame.
fn code(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[0], payload[1]])
}

#[test]
fn messages_of_every_length_arrive_whole() {
    let mut driver = open();
    for length in [0, 1, 125, 126, 4_096, 65_535, 65_536, 1_000_000, 8 << 20] {
        let payload: Vec<u8> = (0..length as u32).map(|n| b'a' + (n % 26) as u8).collect();
        for (first, seen) in
            [(TEXT, Seen::Text(payload.clone())), (BINARY, Seen::Binary(payload.clone()))]
        {
            driver.seen.clear();
            driver.send(&frame(first, &payload));
            assert!(driver.seen == [seen], "{length}");
        }
    }
    assert_eq!(driver.sent, b"");
    assert_eq!(driver.shared.pool.used(), 0, "nothing stays claimed");
}

#[test]
fn fragments_become_one_message_with_control_frames_between() {
    let mut driver = open();
    let mut bytes = frame(0x01, "h\u{e9}".as_bytes().split_at(2).0);
    bytes.extend(frame(PING, b"there?"));
    bytes.extend(frame(0x00, "\u{e9}".as_bytes().split_at(1).1));
    bytes.extend(frame(0x80, b"llo"));
    bytes.extend(frame(PONG, b"unasked"));
    for byte in bytes {
        driver.send(&[byte]);
    }
    assert_eq!(driver.seen, [Seen::Text("h\u{e9}llo".as_bytes().to_vec())]);
    assert_eq!(frames(&mut driver), [(PONG, b"there?".to_vec())]);
}

#[test]
fn acknowledgements_are_sent_where_asked_for() {
    let mut driver = open_with("/ws?x=1&ack=1", WsConfig::default());
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend(frame(TEXT, b"{}"));
    }
    driver.send(&bytes);
    let expected: Vec<_> =
        (1..=3).map(|seq| (TEXT, format!("{{\"ack\":1,\"seq\":{seq}}}").into_bytes())).collect();
    assert_eq!(frames(&mut driver), expected);
    for target in ["/ws", "/ws?ack=0", "/ws?ack", "/ws?back=1"] {
        let mut driver = open_with(target, WsConfig::default());
        driver.send(&frame(TEXT, b"{}"));
        assert_eq!(driver.sent, b"", "{target}");
    }
}

#[test]
fn every_violation_has_its_close_code() {
    let unmasked = vec![TEXT, 2, b'{', b'}'];
    let oversized_length = [vec![BINARY, 0xFF], vec![0xFF; 8], vec![0; 4]].concat();
    let limited =
        WsConfig { max_message_bytes: 1_000, max_frame_bytes: 600, ..WsConfig::default() };
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unmasked", unmasked, 1002),
        ("RSV1", frame(TEXT | 0x40, b"{}"), 1002),
        ("RSV2", frame(TEXT | 0x20, b"{}"), 1002),
        ("RSV3", frame(PING | 0x10, b""), 1002),
        ("reserved data opcode", frame(0x83, b""), 1002),
        ("reserved control opcode", frame(0x8B, b""), 1002),
        ("fragmented ping", frame(0x09, b""), 1002),
        ("long ping", frame(PING, &[b'x'; 126]), 1002),
        ("long close", frame(CLOSE, &[b'x'; 126]), 1002),
        ("continuation of nothing", frame(0x80, b"x"), 1002),
        ("text inside a fragmented text", [frame(0x01, b"a"), frame(TEXT, b"b")].concat(), 1002),
        ("close with one byte", frame(CLOSE, &[3]), 1002),
        ("close with a reserved code", frame(CLOSE, &1005u16.to_be_bytes()), 1002),
        ("close with code 999", frame(CLOSE, &999u16.to_be_bytes()), 1002),
        ("close with code 5000", frame(CLOSE, &5000u16.to_be_bytes()), 1002),
        ("close with a reason that is not UTF-8", frame(CLOSE, &[3, 232, 0xFF]), 1007),
        ("text that is not UTF-8", frame(TEXT, b"{\"a\":\"\xFF\"}"), 1007),
        ("text that ends within a character", frame(TEXT, b"\xC3"), 1007),
        ("a surrogate", frame(TEXT, b"\xED\xA0\x80"), 1007),
        (
            "fragments that end within a character",
            [frame(0x01, b"a"), frame(0x80, b"\xE2\x82")].concat(),
            1007,
        ),
        ("a frame past the limit", frame(BINARY, &[0; 601]), 1009),
        ("a length of 2^64", oversized_length, 1009),
        (
            "fragments past the limit",
            [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat(),
            1009,
        ),
    ];
    for (name, bytes, expected) in cases {
        for whole in [true, false] {
            let mut driver = open_with("/", limited);
            if whole {
                driver.send(&bytes);
            } else {
                for byte in &bytes {
                    driver.send(&[*byte]);
                }
            }
            driver.send(&frame(TEXT, b"never seen"));
            let sent = frames(&mut driver);
            assert_eq!(sent.len(), 1, "{name}: {sent:?}");
            assert_eq!(sent[0].0, CLOSE, "{name}");
            assert_eq!(code(&sent[0].1), expected, "{name}");
            assert!(std::str::from_utf8(&sent[0].1[2..]).unwrap().len() > 5, "{name}: it says why");
            assert_eq!(driver.seen, [], "{name}");
            // tungstenite answers a close frame with a bad code itself, and the handshake is over with that.
            let wants = driver.conn.wants();
            assert!(wants.shut_down || wants.close, "{name}");
            driver.eof();
            assert!(driver.conn.wants().close, "{name}");
        }
    }
}

#[test]
fn what_came_before_a_violation_is_kept() {
    let mut driver = open_with("/?ack=1", WsConfig::default());
    driver.send(&[frame(TEXT, b"1"), frame(BINARY, b"2"), frame(0x83, b"")].concat());
    assert_eq!(driver.seen, [Seen::Text(b"1".to_vec()), Seen::Binary(b"2".to_vec())]);
    let sent = frames(&mut driver);
    assert_eq!(sent[1], (TEXT, b"{\"ack\":1,\"seq\":2}".to_vec()));
    assert_eq!((sent[2].0, code(&sent[2].1)), (CLOSE, 1002));
    assert_eq!(driver.shared.tally.get(Counted::WebSocketProtocol), 1);
}

#[test]
fn a_close_is_answered_in_kind_and_the_connection_ends() {
    for (payload, answer) in [
        (&[][..], &[][..]),
        (&[3, 232], &[3, 232]),
        (b"\x03\xE9bye", b"\x03\xE9bye"),
        (b"\x0F\xA0own", b"\x0F\xA0own"),
    ] {
        let mut driver = open();
        driver.send(&[frame(TEXT, b"last"), frame(CLOSE, payload)].concat());
        assert_eq!(driver.seen, [Seen::Text(b"last".to_vec())]);
        assert_eq!(frames(&mut driver), [(CLOSE, answer.to_vec())]);
        assert!(driver.conn.wants().close);
    }
}

#[test]
fn a_drain_hands_out_what_came_and_closes_with_1001() {
    let mut driver = open_with("/?ack=1", WsConfig::default());
    driver.hold = true;
    driver.send(&[frame(TEXT, b"1"), frame(TEXT, b"2"), frame(0x01, b"half")].concat());
    driver.conn.begin_drain();
    driver.hold = false;
    driver.answer();
    driver.turn();
    let sent = frames(&mut driver);
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[1], (TEXT, b"{\"ack\":1,\"seq\":2}".to_vec()));
    assert_eq!((sent[2].0, code(&sent[2].1)), (CLOSE, 1001));
    // What the client had sent before it saw our close frame is still taken.
    driver.send(&frame(0x80, b"way"));
    assert_eq!(driver.seen.last(), Some(&Seen::Text(b"halfway".to_vec())));
    assert!(!driver.conn.wants().close);
    driver.send(&frame(CLOSE, &1001u16.to_be_bytes()));
    assert!(driver.conn.wants().close);
    assert_eq!(driver.sent, b"");
}

#[test]
fn a_peer_that_never_answers_our_close_is_not_waited_for() {
    let mut driver = open();
    driver.conn.close(&mut driver.shared, CloseCode::TryAgain, "the log is full", driver.now_ns);
    driver.turn();
    assert_eq!(frames(&mut driver), [(CLOSE, b"\x03\xF5the log is full".to_vec())]);
    assert_eq!(driver.fire(), ConnTimer::Close);
    assert!(driver.conn.wants().close);
}

#[test]
fn a_message_in_hand_outlasts_the_wait_for_the_peers_close() {
    let mut driver = open();
    driver.hold = true;
    driver.send(&frame(TEXT, b"waits for a full log"));
    driver.conn.close(&mut driver.shared, CloseCode::GoingAway, "drain", driver.now_ns);
    assert_eq!(
        driver.conn.deadline(&driver.shared).map(|(timer, _)| timer),
        Some(ConnTimer::Output)
    );
    driver.flush();
    assert_eq!(driver.conn.deadline(&driver.shared), None);
    driver.now_ns += 3 * limits::CLOSE_WITHIN_NS;
    assert_eq!(driver.conn.body(), b"waits for a full log");
    driver.answer();
    driver.turn();
    assert_eq!(driver.fire(), ConnTimer::Close);
    assert!(driver.conn.wants().close);
}

#[test]
fn a_reason_is_cut_to_what_a_control_frame_carries() {
    let mut driver = open();
    let reason = "é".repeat(100);
    driver.conn.close(&mut driver.shared, CloseCode::Policy, &reason, driver.now_ns);
    driver.turn();
    let sent = frames(&mut driver);
    assert_eq!(sent[0].1[2..], *"é".repeat(61).as_bytes());
}

#[test]
fn the_silent_are_pinged_and_then_closed_with_1011() {
    let mut driver = open();
    for _ in 0..2 {
        assert_eq!(driver.fire(), ConnTimer::Heartbeat);
        assert_eq!(frames(&mut driver), [(PING, vec![])]);
        driver.now_ns += SECOND;
        driver.send(&frame(PONG, b""));
        let (timer, at) = driver.conn.deadline(&driver.shared).unwrap();
        assert_eq!((timer, at), (ConnTimer::Heartbeat, driver.now_ns + limits::PING_AFTER_NS));
    }
    assert_eq!(driver.fire(), ConnTimer::Heartbeat);
    frames(&mut driver);
    assert_eq!(driver.fire(), ConnTimer::Pong);
    let sent = frames(&mut driver);
    assert_eq!((sent[0].0, code(&sent[0].1)), (CLOSE, 1011));
    assert_eq!(driver.fire(), ConnTimer::Linger);
    assert!(driver.conn.wants().close);
    assert_eq!(driver.shared.tally.get(Counted::WebSocketSilent), 1);
}

#[test]
fn silence_of_our_own_doing_is_not_held_against_the_peer() {
    let mut driver = open();
    driver.fire();
    driver.hold = true;
    driver.send(&frame(TEXT, b"{}"));
    // The message stays in hand for an hour (a full log, say): nothing is read, so nothing can be heard.
    assert_eq!(driver.conn.deadline(&driver.shared), None);
    assert!(!driver.conn.wants().read);
    driver.now_ns += 3_600 * SECOND;
    driver.answer();
    driver.turn();
    assert_eq!(driver.fire(), ConnTimer::Heartbeat);
    assert_eq!(frames(&mut driver).last(), Some(&(PING, vec![])));
}

#[test]
fn too_many_frames_a_second_are_closed_with_1008() {
    let ws =
        WsConfig { frames_per_second: 10, control_frames_per_second: 5, ..WsConfig::default() };
    for (first, count, allowed) in [(TEXT, 11, 10), (PING, 6, 5)] {
        let mut driver = open_with("/", ws);
        for _ in 0..3 {
            for _ in 0..allowed {
                driver.send(&frame(first, b"{}"));
            }
            assert!(!frames(&mut driver).iter().any(|(first, _)| *first == CLOSE));
            driver.now_ns += SECOND;
        }
        for _ in 0..count {
            driver.send(&frame(first, b"{}"));
        }
        let sent = frames(&mut driver);
        let (first, payload) = sent.last().unwrap();
        assert_eq!((*first, code(payload)), (CLOSE, 1008));
    }
}

#[test]
fn an_idle_websocket_owns_little_after_a_large_message() {
    let mut driver = open();
    driver.send(&frame(TEXT, &vec![b'x'; 1 << 20]));
    assert_eq!(driver.conn.owned_bytes(), 0);
    assert!(matches!(driver.conn.deadline(&driver.shared), Some((ConnTimer::Heartbeat, _))));
    driver.send(&frame(TEXT, b"after"));
    assert_eq!(driver.seen.last(), Some(&Seen::Text(b"after".to_vec())));
}

#[test]
fn a_codec_is_not_replaced_within_a_message() {
    let mut driver = open();
    driver.send(&frame(0x01, &vec![b'x'; 10_000]));
    assert!(matches!(driver.conn.deadline(&driver.shared), Some((ConnTimer::Heartbeat, _))));
    driver.send(&frame(0x80, b"y"));
    assert!(matches!(&driver.seen[..], [Seen::Text(text)] if text.len() == 10_001));
}

#[test]
fn a_client_that_reads_nothing_is_not_read_from() {
    let mut driver = open();
    driver.deaf = true;
    let ping = frame(PING, &[b'x'; 125]);
    let mut taken = 0;
    while driver.conn.wants().read && taken < 10_000 {
        driver.now_ns += SECOND / 100;
        driver.send(&ping);
        taken += 1;
    }
    assert!(!driver.conn.wants().read);
    assert!(driver.conn.output().len() < limits::OUTPUT_HIGH_BYTES + 8_192);
    let last = driver.now_ns;
    // Some bytes are taken: the time begins anew.
    driver.now_ns += SECOND;
    driver.conn.output_sent(1, driver.now_ns);
    let (timer, at) = driver.conn.deadline(&driver.shared).unwrap();
    assert_eq!(timer, ConnTimer::Output);
    assert_eq!(at, last + SECOND + limits::OUTPUT_STALL_NS);
    driver.now_ns = at;
    driver.conn.on_timer(timer, &mut driver.shared, at);
    driver.turn();
    assert!(driver.conn.wants().close);
    assert_eq!(driver.shared.tally.get(Counted::ClosedOutputStalled), 1);
}

#[test]
fn pushes_past_the_output_bound_are_declined() {
    let mut driver = open();
    driver.deaf = true;
    let text = "x".repeat(1_000);
    let mut pushed = 0;
    while driver.conn.send_text(&mut driver.shared, &text, driver.now_ns) {
        pushed += 1;
        assert!(pushed < 1_000);
    }
    assert!(driver.conn.output().len() <= limits::OUTPUT_BYTES_MAX + 16);
    driver.deaf = false;
    driver.turn();
    assert_eq!(frames(&mut driver).len(), pushed);
}

#[test]
fn the_end_of_a_peer_without_a_close_frame() {
    let mut driver = open();
    driver.send(&frame(TEXT, b"1")[..4]);
    driver.eof();
    assert!(driver.conn.wants().close);
    let mut driver = open();
    driver.hold = true;
    driver.send(&[frame(TEXT, b"1"), frame(TEXT, b"2"), frame(0x01, b"3")].concat());
    driver.conn.peer_reset();
    driver.hold = false;
    driver.answer();
    driver.turn();
    assert_eq!(driver.seen, [Seen::Text(b"1".to_vec()), Seen::Text(b"2".to_vec())]);
    assert!(driver.conn.wants().close);
}

#[test]
fn memory_for_incomplete_messages_is_bounded() {
    let config = ConnConfig { buffer_bytes: 256 * 1024, ..ConnConfig::default() };
    let mut driver = Driver::with(config, AccessConfig::default(), LOOPBACK);
    driver.send(&upgrade("/"));
    driver.sent.clear();
    let large = frame(BINARY, &vec![0; 1 << 20]);
    let taken = driver.send(&large);
    assert!(taken < 512 * 1024, "{taken}");
    assert!(driver.conn.wants().memory && !driver.conn.wants().read);
    assert_eq!(driver.fire(), ConnTimer::Memory);
    let sent = frames(&mut driver);
    assert_eq!((sent[0].0, code(&sent[0].1)), (CLOSE, 1013));
    assert_eq!(driver.shared.pool.used(), 0);
}
