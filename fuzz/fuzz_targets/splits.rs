//! However a client's bytes are cut into pieces, HTTP or WebSocket: the same comes of them.
//!
//! The first byte chooses what the bytes stand behind, and how long the pieces are.
#![no_main]

#[path = "../../src/core/tests/wire/mod.rs"]
mod wire;

const CHUNKED: &[u8] = b"POST /c HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let mut stream = match choice & 3 {
        0 => Vec::new(),
        1 => CHUNKED.to_vec(),
        _ => wire::upgrade("/events?ack=1"),
    };
    stream.extend_from_slice(bytes);
    let piece = 1 + usize::from(choice >> 2);
    assert_eq!(wire::outcome(stream.chunks(piece)), wire::outcome([&stream[..]]));
});
