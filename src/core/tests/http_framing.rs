//! Requests whose framing is open to argument: each has one exact answer, the connection ends with it, and the bytes
//! behind it never become a request.

mod wire;

use wire::Driver;

/// A request line and a Host, so that a case shows only what is wrong with it.
const POST: &str = "POST /e HTTP/1.1\r\nHost: localhost\r\n";
const GET: &str = "GET /e HTTP/1.1\r\nHost: localhost\r\n";
/// What an attacker wants to be taken for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What a case is refused with: status, and the field its answer names.
type Refused = (u16, &'static str);

fn cases() -> Vec<(&'static str, String, Refused)> {
    let length = "Content-Length";
    let coding = "Transfer-Encoding";
    let mut cases: Vec<(&'static str, String, Refused)> = Vec::new();
    let mut case = |name, bytes: String, refused| cases.push((name, bytes, refused));

    // Two lengths.
    case(
        "CL.TE",
        format!("{POST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
        (400, length),
    );
    case(
        "TE.CL",
        format!("{POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n"),
        (400, length),
    );
    case(
        "CL.CL differing",
        format!("{POST}Content-Length: 8\r\nContent-Length: 7\r\n\r\n"),
        (400, length),
    );
    case(
        "CL.CL equal",
        format!("{POST}Content-Length: 7\r\nContent-Length: 7\r\n\r\n"),
        (400, length),
    );
    case("CL list", format!("{POST}Content-Length: 7, 7\r\n\r\n"), (400, length));
    case(
        "TE.TE",
        format!("{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, coding),
    );
    case(
        "TE.TE identity",
        format!("{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"),
        (400, coding),
    );
    case(
        "TE.TE cow",
        format!("{POST}Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, coding),
    );

    // Lengths that parsers read differently.
    for value in [
        "",
        "+7",
        "-7",
        "0x7",
        "7 7",
        "7;",
        "7,",
        "7.0",
        "7e0",
        "\"7\"",
        "seven",
        "\u{a0}7",
        "٧",
        "1_0",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        case("CL value", format!("{POST}Content-Length: {value}\r\n\r\n"), (400, length));
    }

    // Codings that parsers read differently.
    for value in [
        "",
        "xchunked",
        "chunkedx",
        "chunked,",
        ",chunked",
        "chunked, chunked",
        "chunked;q=1",
        "\"chunked\"",
        "identity",
        "chunked, identity",
        "identity, chunked",
        "chunked gzip",
        "gzip",
        "chunked, gzip",
        "ch\u{17f}nked",
    ] {
        case(
            "TE value",
            format!("{POST}Transfer-Encoding: {value}\r\n\r\n0\r\n\r\n"),
            (400, coding),
        );
    }
    for value in ["gzip, chunked", "deflate,chunked", "x-gzip , Chunked"] {
        case(
            "TE coding",
            format!("{POST}Transfer-Encoding: {value}\r\n\r\n0\r\n\r\n"),
            (501, coding),
        );
    }
    case(
        "TE in 1.0",
        "POST /e HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        (400, coding),
    );

    // Header names that parsers read differently.
    for line in [
        "Content-Length : 7",
        "Content-Length\t: 7",
        "Content-Length 7",
        ": 7",
        "Content Length: 7",
        "Content-Length\u{b}: 7",
        "Transfer-Encoding : chunked",
        "Transfer\u{0}Encoding: chunked",
        "X(: 1",
        "X\u{e9}: 1",
        "\"X\": 1",
    ] {
        case("name", format!("{POST}{line}\r\nContent-Length: 0\r\n\r\n"), (400, "header name"));
    }
    for line in [
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{0}",
        "X: a\u{1}b",
        "X: \u{7f}",
    ] {
        case("value", format!("{POST}{line}\r\nContent-Length: 0\r\n\r\n"), (400, "header value"));
    }

    // Line ends and folds.
    for bytes in [
        "GET /e HTTP/1.1\nHost: localhost\n\n",
        "GET /e HTTP/1.1\r\nHost: localhost\n\r\n",
        "GET /e HTTP/1.1\r\nHost: localhost\r\n\n",
        "GET /e HTTP/1.1\nHost: localhost\r\n\r\n",
        "\nGET /e HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /e HTTP/1.1\r\nHost: localhost\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n",
        "GET /e HTTP/1.1\r\r\nHost: localhost\r\n\r\n",
        "GET /e HTTP/1.1\r\nHost: localhost\r\n\rX\r\n\r\n",
    ] {
        case("line end", bytes.to_owned(), (400, "line end"));
    }
    for line in [" folded", "\tfolded", " Content-Length: 7", "  ", "\t"] {
        case("fold", format!("{GET}X: y\r\n{line}\r\n\r\n"), (400, "header line"));
    }
    case(
        "fold first",
        "GET /e HTTP/1.1\r\n Host: localhost\r\n\r\n".to_owned(),
        (400, "header line"),
    );

    // Request lines.
    for line in [
        "GET  /e HTTP/1.1",
        "GET /e  HTTP/1.1",
        "GET\t/e HTTP/1.1",
        "GET /e HTTP/1.1 ",
        "GET /e",
        "GET",
        "GET /e HTTP/1.1x",
        "GET /e http/1.1",
        "GET /e HTTP/1",
        "GET /e HTTP/11",
        "GET /e HTTP/1.",
        "GET /e HTTPS/1.1",
        "GET /a b HTTP/1.1",
        "G(T /e HTTP/1.1",
        "GET /e HTTP/ 1.1",
        "GET /e\u{0} HTTP/1.1",
    ] {
        case("request line", format!("{line}\r\nHost: localhost\r\n\r\n"), (400, "request line"));
    }
    for target in [
        "e",
        "*",
        "/e#f",
        "/\u{e9}",
        "https://localhost/",
        "http:///",
        "http://u@localhost/",
        "localhost:80",
        "//",
    ] {
        if target != "//" {
            case(
                "target",
                format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                (400, "request target"),
            );
        }
    }
    for method in ["get", "BREW", "CONNECT", "TRACE", "POS", "PROPFIND"] {
        case(
            "method",
            format!("{method} /e HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (501, "request line"),
        );
    }
    for version in ["2.0", "0.9", "1.2", "3.0", "9.9"] {
        case(
            "version",
            format!("GET /e HTTP/{version}\r\nHost: localhost\r\n\r\n"),
            (505, "request line"),
        );
    }
    case("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), (505, "request line"));

    // Hosts.
    case("no Host", "GET /e HTTP/1.1\r\n\r\n".to_owned(), (400, "Host"));
    case("two Hosts", format!("{GET}Host: localhost\r\n\r\n"), (400, "Host"));
    case("two Hosts, one empty", format!("{GET}Host:\r\n\r\n"), (400, "Host"));
    case(
        "another Host in the target",
        "GET http://a.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        (400, "Host"),
    );
    case(
        "two tokens",
        format!("{GET}Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"),
        (400, "Authorization"),
    );
    case(
        "two origins",
        format!("{GET}Origin: http://localhost\r\nOrigin: null\r\n\r\n"),
        (400, "Origin"),
    );

    // Expectations.
    case("Expect", format!("{POST}Content-Length: 7\r\nExpect: 200-ok\r\n\r\n"), (417, "Expect"));
    case(
        "Expect twice",
        format!("{POST}Content-Length: 7\r\nExpect: x\r\nExpect: 100-continue\r\n\r\n"),
        (417, "Expect"),
    );

    // Sizes.
    case(
        "long target",
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(8192)),
        (414, "request line"),
    );
    case("endless target", format!("GET /{}", "a".repeat(9000)), (414, "request line"));
    case("long head", format!("{GET}X: {}\r\n\r\n", "a".repeat(16_384)), (431, "head"));
    case("endless head", format!("{GET}{}", "X: y\r\n".repeat(3_000)), (431, "head"));
    case("many fields", format!("{GET}{}\r\n", "X: y\r\n".repeat(64)), (431, "head"));

    // Chunks.
    let chunked = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    for body in [
        "\r\n",
        ";x\r\n",
        " 3\r\nabc\r\n",
        "-3\r\nabc\r\n",
        "+3\r\nabc\r\n",
        "0x3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        "3 ;x\r\nabc\r\n",
        "3\nabc\r\n",
        "3\rabc\r\n",
        "g\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3;a\nb\r\nabc\r\n",
        "3;a\u{0}\r\nabc\r\n",
        "3;a\rb\r\nabc\r\n",
        "00000000000000003\r\nabc\r\n",
        "10000000000000000\r\n",
        "3,\r\nabc\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\r\n folded\r\n\r\n",
        "0\r\nX: \u{0}\r\n\r\n",
        "0\r\n\rX",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\nX: y\r\r\n\r\n",
        "3\r\nabc\r\n\r\n",
    ] {
        case("chunk", format!("{chunked}{body}"), (400, coding));
    }
    case("huge chunk", format!("{chunked}ffffffffffffffff\r\n{}", "a".repeat(100)), (413, "body"));
    case("many extensions", format!("{chunked}1;{}\r\n", "a".repeat(4_097)), (400, coding));
    case(
        "many small extensions",
        format!("{chunked}{}", format!("1;{}\r\na\r\n", "b".repeat(99)).repeat(42)),
        (400, coding),
    );
    case("long trailer", format!("{chunked}0\r\nX: {}", "a".repeat(8_200)), (431, "trailer"));

    // Upgrades.
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    case(
        "upgrade with POST",
        format!("{POST}{upgrade}Content-Length: 0\r\n\r\n"),
        (400, "request line"),
    );
    case(
        "upgrade with a body",
        format!("{GET}{upgrade}Content-Length: 45\r\n\r\n"),
        (400, "Content-Length"),
    );
    case(
        "upgrade with two keys",
        format!("{GET}{upgrade}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
        (400, "Sec-WebSocket-Key"),
    );
    cases
}

#[test]
fn every_ambiguity_is_refused_and_ends_the_connection() {
    let mut wrong = Vec::new();
    for (name, bytes, (status, field)) in cases() {
        let mut driver = Driver::new();
        driver.send(bytes.as_bytes());
        driver.send(SMUGGLED.as_bytes());
        let text = String::from_utf8_lossy(&driver.sent).into_owned();
        let wants = driver.conn.wants();
        let as_expected = driver.seen.is_empty()
            && driver.statuses() == [status]
            && text.contains("\r\nConnection: close\r\n")
            && text.contains(&format!("\"field\":\"{field}\""))
            // It lingers, so that the answer is read.
            && wants.shut_down
            && !wants.close;
        driver.eof();
        if !as_expected || !driver.conn.wants().close {
            wrong.push(format!(
                "{name}: {bytes:.120?}\n  expected {status} {field}, seen {:?}, answer {text}",
                driver.seen
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refusal_comes_after_the_answers_to_what_was_right() {
    let mut driver = Driver::new();
    driver.send(format!("{GET}\r\n{POST}Content-Length: x\r\n\r\n{SMUGGLED}").as_bytes());
    assert_eq!(driver.statuses(), [200, 400]);
    assert_eq!(driver.seen.len(), 1);
}

#[test]
fn what_is_odd_and_clear_is_taken() {
    for (bytes, body) in [
        (format!("{POST}Content-Length: 0007\r\n\r\n1234567"), "1234567"),
        (format!("{POST}Content-Length: \t 7 \t\r\n\r\n1234567"), "1234567"),
        (format!("{POST}CONTENT-length:7\r\n\r\n1234567"), "1234567"),
        (format!("{POST}Content_Length: 3\r\nContent-Length: 7\r\n\r\n1234567"), "1234567"),
        (format!("{POST}Transfer-Encoding:CHUNKED\r\n\r\n7\r\n1234567\r\n0\r\n\r\n"), "1234567"),
        (
            format!(
                "{POST}Transfer-Encoding: chunked\r\n\r\n0000000000000007\r\n1234567\r\n000\r\n\r\n"
            ),
            "1234567",
        ),
        (
            format!("{POST}Transfer-Encoding: chunked\r\n\r\nA\r\n1234567890\r\n0\r\nX:\r\n\r\n"),
            "1234567890",
        ),
        (format!("{POST}X-Empty:\r\nX-Obs: \u{e9}\r\nContent-Length: 1\r\n\r\n1"), "1"),
        (format!("{GET}Content-Length: 3\r\n\r\nabc"), "abc"),
        (format!("{GET}Connection: close, x\r\nConnection: keep-alive\r\n\r\n"), ""),
        (format!("{GET}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n"), ""),
        (format!("{GET}Upgrade: websocket\r\n\r\n"), ""),
        ("GET /e HTTP/1.0\r\n\r\n".to_owned(), ""),
        (
            "GET /e HTTP/1.0\r\nExpect: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                .to_owned(),
            "",
        ),
    ] {
        let mut driver = Driver::new();
        driver.send(bytes.as_bytes());
        assert_eq!(driver.statuses(), [200], "{bytes:?}");
        match driver.seen.as_slice() {
            [wire::Seen::Request { body: seen, .. }] => {
                assert_eq!(seen, body.as_bytes(), "{bytes:?}")
            }
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
}

#[test]
fn mild_handshake_faults_leave_the_connection_open() {
    for (lines, status, says) in [
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 426, "Sec-WebSocket-Version: 13\r\n"),
        (
            "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            426,
            "Upgrade: websocket\r\n",
        ),
        (
            "Sec-WebSocket-Version: 13, 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            426,
            "Sec-WebSocket-Version: 13\r\n",
        ),
        ("Sec-WebSocket-Version: 13\r\n", 400, "\"field\":\"Sec-WebSocket-Key\""),
        (
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n",
            400,
            "\"field\":\"Sec-WebSocket-Key\"",
        ),
    ] {
        let mut driver = Driver::new();
        driver.send(
            format!("{GET}Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n{lines}\r\n")
                .as_bytes(),
        );
        driver.send(format!("{GET}\r\n").as_bytes());
        assert_eq!(driver.statuses(), [status, 200], "{lines}");
        assert!(driver.take_sent().contains(says), "{lines}");
    }
}
