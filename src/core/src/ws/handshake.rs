//! The server's half of the opening handshake (RFC 6455, section 4.2).

use crate::http::{Fault, Field, Framing, Head, Method, Refusal, Status};
use tungstenite::handshake::derive_accept_key;

const BAD_METHOD: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "request line",
    "a WebSocket is opened with GET",
    "send the upgrade as a GET request",
);
const WITH_BODY: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "Content-Length",
    "a WebSocket upgrade has no body",
    "send the upgrade without a body",
);
const BAD_VERSION: Fault = Fault::mild(
    Refusal::new(
        Status::UPGRADE_REQUIRED,
        "Sec-WebSocket-Version",
        "this service speaks version 13 of the WebSocket protocol",
        "send Sec-WebSocket-Version: 13",
    )
    .with_headers(&[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]),
);
const BAD_KEY: Fault = Fault::mild(Refusal::new(
    Status::BAD_REQUEST,
    "Sec-WebSocket-Key",
    "the key is not 16 bytes in base64",
    "send a random key of 16 bytes in base64",
));

/// Checks an upgrade request.
pub(crate) fn validate(head: &Head, bytes: &[u8]) -> Result<(), Fault> {
    if head.method != Method::Get {
        return Err(BAD_METHOD);
    }
    if head.framing != Framing::None {
        return Err(WITH_BODY);
    }
    if head.field(bytes, Field::WebSocketVersion) != Some(b"13") {
        return Err(BAD_VERSION);
    }
    match head.field(bytes, Field::WebSocketKey) {
        Some(key) if is_key(key) => Ok(()),
        _ => Err(BAD_KEY),
    }
}

/// Whether `key` is base64 of 16 bytes: 22 characters, the last of which carries 4 bits, and two `=`.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key[..21].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        && matches!(key[21], b'A' | b'Q' | b'g' | b'w')
        && key[22..] == *b"=="
}

/// Appends the 101 answer.
pub(crate) fn accept(head: &Head, bytes: &[u8], out: &mut Vec<u8>) {
    let key = head.field(bytes, Field::WebSocketKey).unwrap_or_default();
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(derive_accept_key(key).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_16_bytes_of_base64() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for key in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZR==",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBs!SBub25jZQ==",
            b"dGhlIHNhbXBsZSBub25jZQAA",
        ] {
            assert!(!is_key(key), "{}", String::from_utf8_lossy(key));
        }
    }
}
