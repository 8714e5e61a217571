//! Bad input: what is sent, row by row. What comes back, to the byte, stands in `answers.txt` beside this file.
//!
//! The core is given each row without a socket (`src/core/tests/service/golden.rs`), the real binary on one
//! (`tests/service/golden.rs`); both compare with the same answers. After a deliberate change
//! `JIMBOT_WRITE_ANSWERS=1 cargo test -p jimbot-core --test service golden` writes the answers anew; look at the
//! difference before it is kept.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What one client sends on a connection of its own.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) sent: Vec<u8>,
    /// It sends half of something, and the answer comes when patience ends.
    pub(crate) late: bool,
}

pub(crate) fn answers_file(repository: &Path) -> PathBuf {
    repository.join("tests/bad_input/answers.txt")
}

/// What came back, as the file has it: line ends are shown and taken as line ends, what is no ASCII is escaped.
pub(crate) fn transcript(received: &[u8], ended: bool) -> String {
    let mut text = String::new();
    for &byte in received {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n\n"),
            b'\\' => text.push_str("\\\\"),
            0x20..0x7F => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string takes everything"),
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + if ended { "-- ended\n" } else { "-- goes on\n" }
}

/// The bytes that a transcript shows, and whether the connection ends.
#[allow(dead_code, reason = "the core compares transcripts")]
pub(crate) fn bytes_of(transcript: &str) -> (Vec<u8>, bool) {
    let (shown, end) = transcript.trim_end().rsplit_once("-- ").expect("it says how it ends");
    let mut bytes = Vec::new();
    let mut rest = shown.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\n' => {}
            b'\\' => match rest.next().expect("an escape has an end") {
                b'r' => bytes.push(b'\r'),
                b'n' => bytes.push(b'\n'),
                b'\\' => bytes.push(b'\\'),
                _ => {
                    let digits = [rest.next().expect("hex"), rest.next().expect("hex")];
                    let digits = str::from_utf8(&digits).expect("ASCII");
                    bytes.push(u8::from_str_radix(digits, 16).expect("hex"));
                }
            },
            byte => bytes.push(byte),
        }
    }
    (bytes, end == "ended")
}

/// The transcripts of the file by row.
pub(crate) fn answers(text: &str) -> Vec<(&str, &str)> {
    text.split("\n== ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

/// An event that nobody has sent yet, and that is good.
pub(crate) fn good_event(id: &str) -> String {
    format!(
        r#"{{"type":"MONEY_CHANGED","event_id":"{id}","timestamp":1.5,"payload":{{"old_value":1,"new_value":2}}}}"#
    )
}

/// A post of `body` with these further header lines.
pub(crate) fn post(path: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The request that opens a WebSocket.
pub(crate) fn upgrade(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A client's frame: `first` has the final bit, the reserved ones and the opcode; masked with zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// All rows, in the order of the file.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    bodies(&mut rows);
    framing(&mut rows);
    statuses(&mut rows);
    web_sockets(&mut rows);
    late(&mut rows);
    rows.0
}

struct Rows(Vec<Row>);

impl Rows {
    fn row(&mut self, name: impl Into<String>, sent: impl Into<Vec<u8>>) {
        self.0.push(Row { name: name.into(), sent: sent.into(), late: false });
    }

    fn late(&mut self, name: &str, sent: &str) {
        self.0.push(Row { name: name.into(), sent: sent.into(), late: true });
    }

    /// A body from a sender that is told, and from the mod.
    fn body(&mut self, name: &str, path: &str, body: impl AsRef<[u8]>) {
        let json = "Content-Type: application/json\r\n";
        self.row(format!("body: {name}"), post(path, json, &body));
        let from_the_mod = format!("User-Agent: BalatroMCP/1.0\r\n{json}");
        // An event of its own, and not a repeat of the first.
        let body = replace(body.as_ref(), b"\"event_id\":\"", b"\"event_id\":\"mod's ");
        self.row(format!("body: {name}, from the mod"), post(path, &from_the_mod, &body));
    }
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    match bytes.windows(what.len()).position(|window| window == what) {
        Some(at) => [&bytes[..at], with, &bytes[at + what.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

const ONE: &str = "/api/v1/events";
const MANY: &str = "/api/v1/events/batch";

fn bodies(rows: &mut Rows) {
    let id = |name: &str| format!(r#""event_id":"{name}","timestamp":2.5"#);
    let event = |name: &str, payload: &str| {
        format!(r#"{{"type":"MONEY_CHANGED",{},"payload":{{{payload}}}}}"#, id(name))
    };
    rows.body("empty", ONE, "");
    rows.body("empty batch", MANY, "");
    rows.body("blank", ONE, " \r\n\t ");
    rows.body("text", ONE, "not json");
    rows.body("HTML", ONE, "<html><body>hello</body></html>");
    rows.body("cut behind a colon", ONE, r#"{"type":"#);
    rows.body("cut in text", ONE, r#"{"type":"HEARTB"#);
    rows.body("cut before the last brace", ONE, r#"{"type":"HEARTBEAT","timestamp":3"#);
    rows.body(
        "garbage behind the event",
        ONE,
        format!("{}}} x", event("garbage", "\"old_value\":1")),
    );
    rows.body("quotes of another kind", ONE, "{'type':'HEARTBEAT'}");
    rows.body("null", ONE, "null");
    rows.body("a number", ONE, "7");
    rows.body("text in quotes", ONE, "\"HEARTBEAT\"");
    rows.body("an empty object", ONE, "{}");
    rows.body("an empty array", ONE, "[]");
    rows.body("numbers in an array", ONE, "[1,2]");
    rows.body("a type that is a number", ONE, r#"{"type":7}"#);
    rows.body("a type that is null", ONE, r#"{"type":null}"#);
    rows.body(
        "a payload that is text",
        ONE,
        format!(r#"{{"type":"HEARTBEAT",{},"payload":"x"}}"#, id("p1")),
    );
    rows.body(
        "a payload that is a list",
        ONE,
        format!(r#"{{"type":"HEARTBEAT",{},"payload":[1]}}"#, id("p2")),
    );
    rows.body(
        "a timestamp that is text",
        ONE,
        r#"{"type":"HEARTBEAT","event_id":"t1","timestamp":"soon"}"#,
    );
    rows.body(
        "a timestamp that is an object",
        ONE,
        r#"{"type":"HEARTBEAT","event_id":"t2","timestamp":{}}"#,
    );
    rows.body("a field of another type", ONE, event("f1", r#""old_value":"many""#));
    rows.body(
        "an event_id that is a list",
        ONE,
        r#"{"type":"HEARTBEAT","event_id":[],"timestamp":1}"#,
    );
    rows.body("a batch without events", MANY, r#"{"batch_id":"b"}"#);
    rows.body("a batch whose events are text", MANY, r#"{"batch_id":"b","events":"none"}"#);
    rows.body(
        "a batch with a good and a bad event",
        MANY,
        format!(r#"{{"events":[{},{{"type":}},7]}}"#, event("partly", "\"old_value\":1")),
    );
    rows.body(
        "lines, of which one is bad",
        ONE,
        format!("{}\n{{\"type\":\n", event("line", "\"old_value\":1")),
    );
    for (name, open, close) in [("arrays", "[", "]"), ("objects", "{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(1_000), close.repeat(1_000));
        rows.body(
            &format!("1,000 levels of {name} in a field"),
            ONE,
            event(name, &format!("\"old_value\":{deep}")),
        );
        rows.body(&format!("1,000 levels of {name} and nothing else"), ONE, deep);
    }
    for (name, value) in [
        ("no UTF-8", &b"\"\xff\xfe\""[..]),
        ("half of a character", b"\"\xc3\""),
        ("a surrogate in bytes", b"\"\xed\xa0\x80\""),
        ("a lone surrogate", br#""\ud800""#),
        ("a lone second surrogate", br#""x\udc00""#),
    ] {
        let body = event(name, r#""reason":?"#);
        let (before, after) = body.split_once('?').expect("it is there");
        rows.body(name, ONE, [before.as_bytes(), value, after.as_bytes()].concat());
    }
    for token in [
        "nan", "-nan", "NaN", "inf", "-inf", "Infinity", "1e999", "-1e999", "1e", "--1", "0x10",
        "+1", "01",
    ] {
        rows.body(
            &format!("the number {token}"),
            ONE,
            event(&format!("n{token}"), &format!("\"old_value\":{token}")),
        );
    }
    rows.body(
        "a number of 400 digits",
        ONE,
        event("digits", &format!("\"old_value\":{}", "9".repeat(400))),
    );
    rows.body("a key twice", ONE, event("twice", r#""old_value":1,"old_value":2"#));
    rows.body(
        "the type twice",
        ONE,
        format!(r#"{{"type":"HEARTBEAT","type":"ERROR",{}}}"#, id("types")),
    );
    rows.row(
        "body: protobuf that is none",
        post(ONE, "Content-Type: application/x-protobuf\r\n", b"\xff\xff\xff\xff"),
    );
    rows.row(
        "body: cut protobuf, from the mod",
        post(
            ONE,
            "User-Agent: BalatroMCP/1\r\nContent-Type: application/x-protobuf\r\n",
            b"\x0a\x05a",
        ),
    );
    // Of a batch an event, one with a text that is not UTF-8, and an event again.
    let batch = b"\x0a\x02\x18\x13\x0a\x03\x22\x01\xff\x0a\x02\x18\x13";
    rows.row(
        "body: a batch in protobuf with a bad event",
        post(ONE, "Content-Type: application/x-protobuf\r\n", batch),
    );
    rows.row(
        "body: a batch in protobuf with a bad event, from the mod",
        post(ONE, "User-Agent: BalatroMCP/1\r\nContent-Type: application/x-protobuf\r\n", batch),
    );
    for (name, body) in [
        ("empty", ""),
        ("no JSON", "{"),
        ("without a type", r#"{"payload":{}}"#),
        ("with a type that is a number", r#"{"type":1}"#),
        ("with a payload that is text", r#"{"type":"select_card","payload":"x"}"#),
        (
            "for a session that is a list",
            r#"{"type":"select_card","payload":{"position":1},"session":[]}"#,
        ),
    ] {
        let sent = post("/api/v1/commands", "Content-Type: application/json\r\n", body);
        rows.row(format!("command: {name}"), sent);
    }
}

fn framing(rows: &mut Rows) {
    let post = |rest: &str| format!("POST {ONE} HTTP/1.1\r\nHost: localhost\r\n{rest}");
    for (name, rest) in [
        ("both lengths", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"),
        ("both lengths the other way", "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}"),
        ("a length twice", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        ("a list of lengths", "Content-Length: 2, 2\r\n\r\n{}"),
        ("a length with a sign", "Content-Length: +2\r\n\r\n{}"),
        ("a negative length", "Content-Length: -2\r\n\r\n{}"),
        ("a hexadecimal length", "Content-Length: 0x2\r\n\r\n{}"),
        ("an empty length", "Content-Length:\r\n\r\n{}"),
        ("a length past 64 bits", "Content-Length: 18446744073709551616\r\n\r\n{}"),
        ("a coding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a coding we do not know", "Transfer-Encoding: cow\r\n\r\n"),
        ("a coding before chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        ("a space before the colon", "Content-Length : 2\r\n\r\n{}"),
        ("a folded header", "X-Long: a\r\n b\r\nContent-Length: 2\r\n\r\n{}"),
        ("a bare LF behind a header", "Content-Length: 2\n\r\n{}"),
        ("a bare LF at the end of the head", "Content-Length: 2\r\n\n{}"),
        ("a bare CR in a header", "X-Long: a\rb\r\nContent-Length: 2\r\n\r\n{}"),
        ("a null in a header", "X-Long: a\0b\r\nContent-Length: 2\r\n\r\n{}"),
        ("a header without a colon", "Nothing\r\nContent-Length: 2\r\n\r\n{}"),
        ("a header without a name", ": x\r\nContent-Length: 2\r\n\r\n{}"),
        ("a second Host", "Host: localhost\r\nContent-Length: 2\r\n\r\n{}"),
        ("a chunk size that is none", "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        ("a chunk size with a sign", "Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n"),
        ("a chunk size past 64 bits", "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\n"),
        ("a chunk longer than it says", "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n"),
        ("a bare LF behind a chunk size", "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n"),
        ("a space behind a chunk size", "Transfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n"),
    ] {
        rows.row(format!("framing: {name}"), post(rest));
    }
    for (name, bytes) in [
        ("no HTTP", "hello\r\n\r\n"),
        ("a request line without a version", "GET /health\r\n\r\n"),
        ("two spaces in the request line", "GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a space in the target", "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a fragment in the target", "GET /health#x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a bare LF behind the request line", "GET /health HTTP/1.1\nHost: localhost\r\n\r\n"),
        ("a space before the first header", "GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n"),
        ("three empty lines first", "\r\n\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("no Host", "GET /health HTTP/1.1\r\n\r\n"),
        (
            "another Host than in the target",
            "GET http://localhost/health HTTP/1.1\r\nHost: other\r\n\r\n",
        ),
        (
            "a coding in HTTP/1.0",
            "POST /api/v1/events HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n"),
    ] {
        rows.row(format!("framing: {name}"), bytes);
    }
}

fn statuses(rows: &mut Rows) {
    let request =
        |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    rows.row("404: no such path", request("GET /nothing", ""));
    rows.row("404: a path that is longer", request("GET /api/v1/events/batch/x", ""));
    for path in [ONE, MANY, "/api/v1/commands"] {
        rows.row(format!("405: GET {path}"), request(&format!("GET {path}"), ""));
    }
    for path in
        ["/api/v1/commands/poll", "/health", "/healthz", "/readyz", "/metrics", "/api/v1/readers"]
    {
        rows.row(
            format!("405: POST {path}"),
            request(&format!("POST {path}"), "Content-Length: 0\r\n"),
        );
    }
    rows.row("405: DELETE", request(&format!("DELETE {ONE}"), ""));
    rows.row("411: a post without a length", request(&format!("POST {ONE}"), ""));
    rows.row(
        "413: a body of 10 MB is announced",
        request(&format!("POST {ONE}"), "Content-Length: 10000000\r\n"),
    );
    rows.row(
        "413: a body past what even the mod may send",
        request(
            &format!("POST {MANY}"),
            "User-Agent: BalatroMCP/1.0\r\nContent-Length: 2000000000\r\n",
        ),
    );
    rows.row(
        "413: a command of 20 KB",
        post("/api/v1/commands", "Content-Type: application/json\r\n", " ".repeat(20_000)),
    );
    rows.row("414: a target of 9 KB", request(&format!("GET /{}", "a".repeat(9_000)), ""));
    rows.row("415: another media type", post(ONE, "Content-Type: text/html\r\n", "{}"));
    rows.row(
        "415: a compressed body",
        post(ONE, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", "{}"),
    );
    rows.row(
        "417: an expectation we do not know",
        request(&format!("POST {ONE}"), "Expect: a-miracle\r\nContent-Length: 2\r\n"),
    );
    rows.row("426: no upgrade", request("GET /ws", ""));
    rows.row(
        "431: a head of 17 KB",
        request("GET /health", &format!("X: {}\r\n", "a".repeat(17_000))),
    );
    rows.row("431: 65 header fields", request("GET /health", &"X: a\r\n".repeat(65)));
    rows.row("501: a method we do not know", request("BREW /pot", ""));
    rows.row("501: a method in small letters", request("get /health", ""));
    rows.row("505: HTTP/1.2", "GET /health HTTP/1.2\r\nHost: localhost\r\n\r\n");
    rows.row("505: HTTP/0.9", "GET /health HTTP/0.9\r\n\r\n");
    rows.row(
        "403: a page of another site",
        request("GET /metrics", "Sec-Fetch-Site: cross-site\r\n"),
    );
    rows.row(
        "403: an Origin that is not ours",
        request("GET /metrics", "Origin: https://evil.example\r\n"),
    );
    rows.row("403: an Origin of null", request("GET /metrics", "Origin: null\r\n"));
    rows.row("403: a Host that is not ours", "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
}

/// What stops coming before it is whole.
fn late(rows: &mut Rows) {
    rows.late("408: half a request line", "GET /hea");
    rows.late("408: half a head", "GET /health HTTP/1.1\r\nHost: loc");
    rows.late(
        "408: half a body",
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"type\":",
    );
    rows.late(
        "408: half a body, from the mod",
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nUser-Agent: BalatroMCP/1.0\r\nContent-Length: 100\r\n\r\n{\"type\":",
    );
    rows.late(
        "408: half a chunk",
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"type\":",
    );
}

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

fn web_sockets(rows: &mut Rows) {
    for (name, from, to) in [
        ("version 12", "Version: 13", "Version: 12"),
        ("no version", "Sec-WebSocket-Version: 13\r\n", ""),
        ("no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("a short key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIA=="),
        ("a POST", "GET /ws HTTP/1.1", "POST /ws HTTP/1.1\r\nContent-Length: 0"),
        ("a body", "Upgrade: websocket", "Content-Length: 2\r\nUpgrade: websocket"),
    ] {
        let asked = String::from_utf8(upgrade("/ws")).expect("ASCII").replace(from, to);
        rows.row(format!("upgrade: {name}"), asked);
    }
    let unmasked = vec![TEXT, 2, b'{', b'}'];
    let too_long = {
        let mut head = vec![TEXT, 0x80 | 127];
        head.extend(9_000_000_u64.to_be_bytes());
        head.extend([0; 4]);
        head
    };
    let fragments_too_long = {
        let half = vec![b' '; 5_000_000];
        [frame(0x01, &half), frame(0x80, &half)].concat()
    };
    let length_of_65_bits = [&[TEXT, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    for (name, frames) in [
        ("a frame without a mask", unmasked),
        ("the first reserved bit", frame(TEXT | 0x40, b"{}")),
        ("the second reserved bit", frame(TEXT | 0x20, b"{}")),
        ("the third reserved bit", frame(TEXT | 0x10, b"{}")),
        ("a data opcode nobody knows", frame(0x83, b"")),
        ("a control opcode nobody knows", frame(0x8b, b"")),
        ("a ping of 126 bytes", frame(0x89, &[b'x'; 126])),
        ("a ping in fragments", frame(0x09, b"x")),
        ("a continuation of nothing", frame(0x80, b"{}")),
        ("a message within a message", [frame(0x01, b"{"), frame(TEXT, b"{}")].concat()),
        ("text that is not UTF-8", frame(TEXT, b"\xff\xff")),
        ("fragments that are not UTF-8", [frame(0x01, b"\xc3"), frame(0x80, b"\x28")].concat()),
        ("a close of one byte", frame(CLOSE, &[3])),
        ("a close with a code that is never sent", frame(CLOSE, &1005_u16.to_be_bytes())),
        ("a close with a code of nobody", frame(CLOSE, &999_u16.to_be_bytes())),
        ("a close whose reason is not UTF-8", frame(CLOSE, b"\x03\xe8\xff")),
        ("a frame of 9 MB is announced", too_long),
        ("a message of 10 MB in fragments", fragments_too_long),
        ("a length with its highest bit", length_of_65_bits),
    ] {
        rows.row(format!("WebSocket: {name}"), [upgrade("/ws"), frames].concat());
    }
    for (name, message) in [
        ("an empty message", frame(TEXT, b"")),
        ("text", frame(TEXT, b"not json")),
        ("a cut event", frame(TEXT, br#"{"type":"HEARTBEAT","#)),
        ("a number", frame(TEXT, b"7")),
        ("bytes that are no protobuf", frame(0x82, b"\xff\xff\xff")),
        (
            "a batch with a bad event",
            frame(TEXT, br#"[{"type":"HEARTBEAT","event_id":"ws","timestamp":1},7]"#),
        ),
    ] {
        rows.row(format!("message: {name}"), [upgrade("/ws?ack=1"), message].concat());
    }
}
