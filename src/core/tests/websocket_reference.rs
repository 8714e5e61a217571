//! However a client's frames are cut into reads, and whichever of them are taken where they lie: messages, answers and
//! close codes are those of tungstenite alone, given the whole stream.

mod wire;

use std::io::{self, Read, Write};

use jimbot_core::access::AccessConfig;
use jimbot_core::conn::{ConnConfig, Connection};
use jimbot_core::limits;
use jimbot_core::ws::WsConfig;
use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};
use wire::{Driver, LOOPBACK, Seen, server_frames, upgrade};

/// Longest message and longest frame.
type Limits = (usize, usize);

/// What came of a stream: messages, frames sent (of a close frame the code), whether it is over.
type Outcome = (Vec<Seen>, Vec<(u8, Vec<u8>)>, bool);

/// A stream that ends where the client waits.
struct Client<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl Read for Client<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.input.read(space) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            result => result,
        }
    }
}

impl Write for Client<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reference(stream: &[u8], (message, frame): Limits) -> Outcome {
    let config =
        WebSocketConfig::default().max_message_size(Some(message)).max_frame_size(Some(frame));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut client = Client { input: stream, output: Vec::new() };
    let mut seen = Vec::new();
    let code = loop {
        match context.read(&mut client) {
            Ok(Message::Text(text)) => seen.push(Seen::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => seen.push(Seen::Binary(bytes.to_vec())),
            Ok(_) => {}
            Err(Error::Io(_)) => break None,
            Err(Error::ConnectionClosed) => break Some(0),
            Err(Error::Utf8(_)) => break Some(1007_u16),
            Err(Error::Capacity(_)) => break Some(1009),
            Err(_) => break Some(1002),
        }
    };
    let mut frames = short(&client.output);
    if let Some(code @ 1..) = code {
        frames.push((0x88, code.to_be_bytes().to_vec()));
    }
    (seen, frames, code.is_some())
}

/// Frames, of a close frame only the code.
fn short(sent: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = server_frames(sent);
    frames.iter_mut().filter(|(first, _)| *first == 0x88).for_each(|(_, text)| text.truncate(2));
    frames
}

fn outcome(
    stream: &[u8],
    cuts: &[usize],
    (message, frame): Limits,
    is_tight: bool,
    hold: bool,
) -> Outcome {
    let ws = WsConfig { max_message_bytes: message, max_frame_bytes: frame, ..WsConfig::default() };
    let buffer_bytes = if is_tight { limits::READ_BYTES } else { limits::BUFFER_BYTES };
    let config = ConnConfig { ws, buffer_bytes, ..ConnConfig::default() };
    let mut driver = Driver::with(config, AccessConfig::default(), LOOPBACK);
    // Somebody else has all the memory there is to share: small buffers must do.
    let mut other = Connection::new(LOOPBACK, &driver.shared.config, driver.now_ns);
    if is_tight {
        other.read_space(&mut driver.shared, driver.now_ns);
        assert_eq!(driver.shared.pool.available(), 0);
    }
    driver.send(&upgrade("/ws"));
    driver.seen.clear();
    driver.sent.clear();
    driver.hold = hold;
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() && !driver.conn.wants().close && !driver.conn.wants().shut_down {
        let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
        let mut taken = driver.send(piece);
        // With messages in hand over turns, buffers move about in between.
        while driver.conn.is_in_hand() {
            driver.settle();
            let (body, last) = (driver.conn.body().to_vec(), driver.seen.last());
            assert!(matches!(last, Some(Seen::Text(seen) | Seen::Binary(seen)) if *seen == body));
            driver.answer();
            driver.turn();
            driver.settle();
            taken += driver.send(&piece[taken..]);
        }
        assert!(taken == piece.len() || !driver.conn.wants().read, "{:?}", driver.conn);
        rest = after;
    }
    let wants = driver.conn.wants();
    let over = wants.close || wants.shut_down;
    let outcome = (std::mem::take(&mut driver.seen), short(&driver.sent), over);
    driver.conn.release(&mut driver.shared);
    other.release(&mut driver.shared);
    assert_eq!(driver.shared.pool.used(), 0, "everything is given back");
    outcome
}

/// A frame with any first byte, any mask or none, and its length in as many bytes as it takes, or more.
fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>, longer: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match (payload.len(), longer) {
        (length @ 0..=125, 0) => bytes.push(masked | length as u8),
        (length @ 0..=0xFFFF, 0..=1) => {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        (length, _) => {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| bytes.extend_from_slice(mask)).unwrap_or_default();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// One frame or a few, mostly as a game sends them.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        6 => "[ -~]{0,300}".prop_map(String::into_bytes),
        3 => "\\PC{0,60}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 3_900..4_300),
        1 => (0_usize..120_000).prop_map(|length| vec![b'x'; length]),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    let first = prop_oneof![
        20 => Just(0x81),
        8 => Just(0x82),
        3 => Just(0x89),
        2 => Just(0x8A),
        1 => Just(0x01),
        2 => Just(0x80),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let mask = prop_oneof![30 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
    let longer = prop_oneof![20 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    (first, text, mask, longer).prop_map(|(first, mut text, mask, longer)| {
        match first {
            // A fragmented message, with a ping inside.
            0x01 => {
                let (one, other) = text.split_at(text.len() / 2);
                return [
                    frame(0x01, one, mask, longer),
                    frame(0x89, b"there?", mask, 0),
                    frame(0x80, other, mask, longer),
                ]
                .concat();
            }
            0x88..=0x8A => text.truncate(100),
            _ => {}
        }
        frame(first, &text, mask, longer)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn as_tungstenite_alone(
        frames in prop::collection::vec(frames(), 1..25),
        cut in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(
            prop_oneof![1_usize..20, 1_usize..1_000, Just(4_096), Just(65_536), Just(200_000)],
            1..8,
        ),
        is_tight in any::<bool>(),
        hold in any::<bool>(),
    ) {
        let stream = frames.concat();
        // Half of the streams end somewhere.
        let end = if hold { stream.len() } else { cut.index(stream.len()) + 1 };
        let stream = &stream[..end];
        // What the codec holds of one message must not need a share of the memory there is none of.
        let limits = if is_tight { (50_000, 28_000) } else { (150_000, 100_000) };
        let expected = reference(stream, limits);
        prop_assert_eq!(outcome(stream, &cuts, limits, is_tight, hold), expected);
    }
}
