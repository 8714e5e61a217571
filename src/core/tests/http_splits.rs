//! However bytes are cut into pieces, and whatever they are: the outcome depends on the bytes alone, and is the one a
//! plain parser of the whole input gives.

mod wire;

use proptest::prelude::*;
use wire::{Seen, frame, outcome, upgrade};

fn streams() -> Vec<Vec<u8>> {
    let post = "POST /api/v1/events HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: BalatroMCP/1.0\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
    let chunked = "\r\nPOST /c HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nT: v\r\n\r\n";
    let mut socket = upgrade("/events?ack=1");
    socket.extend(frame(0x81, b"{\"type\":\"heartbeat\"}"));
    socket.extend(frame(0x01, b"\xC3"));
    socket.extend(frame(0x89, b"ping"));
    socket.extend(frame(0x80, b"\xA9"));
    socket.extend(frame(0x82, &[7; 200]));
    socket.extend(frame(0x88, b"\x03\xE8"));
    vec![
        format!("{post}{post}GET /p?q HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n{chunked}{post}").into_bytes(),
        format!("{chunked}HEAD / HTTP/1.0\r\n\r\n{post}").into_bytes(),
        format!("{post}GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{post}").into_bytes(),
        format!("{chunked}POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\n{post}").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: y\nZ: 1\r\n\r\n{post}").into_bytes(),
        format!("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nPOST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n{post}").into_bytes(),
        socket,
    ]
}

#[test]
fn every_split_in_two_gives_the_same_outcome() {
    for stream in streams() {
        let whole = outcome([&stream[..]]);
        assert!(whole.0.len() + whole.1.len() > 1);
        for at in 1..stream.len() {
            let (one, other) = stream.split_at(at);
            assert_eq!(outcome([one, other]), whole, "split at {at}");
        }
        for size in 1..20 {
            assert_eq!(outcome(stream.chunks(size)), whole, "pieces of {size}");
        }
    }
}

#[test]
fn every_truncation_is_harmless() {
    for stream in streams() {
        let whole = outcome([&stream[..]]);
        for at in 0..stream.len() {
            let (seen, _, _) = outcome([&stream[..at]]);
            assert!(whole.0.starts_with(&seen), "cut at {at}");
        }
    }
}

// A plain parser of the whole input ---------------------------------------------------------------------------------

/// What the plain parser makes of one request.
#[derive(Debug, PartialEq, Eq)]
enum Plain {
    /// Method, target, body, and the bytes used.
    Request(String, String, Vec<u8>, usize),
    /// Refused, and the connection goes on behind so many bytes.
    Mild(usize),
    /// Refused, and the connection ends.
    Fatal,
    /// Not complete.
    Partial,
}

fn token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// The grammar of RFC 9112 as this service takes it, by cutting lines from a whole buffer.
fn plain(bytes: &[u8]) -> Plain {
    if bytes.first().is_some_and(|&first| !token(&[first])) {
        return Plain::Fatal;
    }
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        // No whole head: a line end that is not CR LF shows already, and so does a fold.
        let shown = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let lines = String::from_utf8_lossy(shown).replace("\r\n", "\u{1}\u{2}");
        let whole: Vec<&str> = lines.split("\u{1}\u{2}").collect();
        let folded =
            whole[..whole.len() - 1].iter().skip(1).any(|line| line.starts_with([' ', '\t']));
        return if lines.contains(['\r', '\n']) || folded { Plain::Fatal } else { Plain::Partial };
    };
    let head = &bytes[..end];
    let Some(lines) = split_lines(head) else { return Plain::Fatal };
    let words: Vec<&[u8]> = lines[0].split(|&b| b == b' ').collect();
    let [method, target, version] = words[..] else { return Plain::Fatal };
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return Plain::Fatal,
    };
    let known: [&[u8]; 7] = [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"];
    let good_target = target.starts_with(b"/")
        && target.iter().all(|b| b.is_ascii_graphic() && *b != b'#')
        || target == b"*" && method == b"OPTIONS";
    if !known.contains(&method) || !good_target || lines.len() > 65 {
        return Plain::Fatal;
    }
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for line in &lines[1..] {
        let Some(colon) = line.iter().position(|&b| b == b':') else { return Plain::Fatal };
        let value = line[colon + 1..].trim_ascii();
        if !token(&line[..colon]) || value.iter().any(|&b| b < 32 && b != 9 || b == 127) {
            return Plain::Fatal;
        }
        fields.push((String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase(), value.to_vec()));
    }
    let all = |name: &str| {
        fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>()
    };
    let (hosts, lengths, codings) = (all("host"), all("content-length"), all("transfer-encoding"));
    if hosts.len() > 1 || hosts.is_empty() && minor == 1 || lengths.len() > 1 || codings.len() > 1 {
        return Plain::Fatal;
    }
    let body_at = end + 4;
    let host_is_ours = hosts.first().is_none_or(|host| {
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        let (name, port) = host.split_once(':').unwrap_or((&host, "1"));
        let name = name.strip_suffix('.').unwrap_or(name);
        port.parse::<u16>().is_ok()
            && port.bytes().all(|b| b.is_ascii_digit())
            && (name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok())
    });
    let (body, used) = match (lengths.first(), codings.first()) {
        (Some(_), Some(_)) => return Plain::Fatal,
        (None, None) if [&b"POST"[..], b"PUT", b"PATCH"].contains(&method) => {
            return Plain::Mild(body_at);
        }
        (None, None) => (Vec::new(), body_at),
        (Some(length), None) => {
            let Some(length) = std::str::from_utf8(length)
                .ok()
                .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|text| text.parse::<usize>().ok())
            else {
                return Plain::Fatal;
            };
            if length > 8 << 20 {
                return Plain::Fatal;
            }
            if length > 0 && !host_is_ours {
                return Plain::Fatal;
            }
            match bytes.get(body_at..body_at + length) {
                Some(body) => (body.to_vec(), body_at + length),
                None => return Plain::Partial,
            }
        }
        (None, Some(coding)) => {
            if minor == 0 || !coding.eq_ignore_ascii_case(b"chunked") || !host_is_ours {
                return Plain::Fatal;
            }
            match plain_chunks(&bytes[body_at..]) {
                Ok((body, used)) => (body, body_at + used),
                Err(plain) => return plain,
            }
        }
    };
    if !host_is_ours {
        return Plain::Mild(used);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Plain::Request(text(method), text(target), body, used)
}

/// The lines of a head that ends before its empty line; `None` when a line end or a fold makes it ambiguous.
fn split_lines(head: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    let clean = lines.iter().all(|line| !line.contains(&b'\r') && !line.contains(&b'\n'));
    let folded = lines[1..].iter().any(|line| line.starts_with(b" ") || line.starts_with(b"\t"));
    (clean && !folded).then_some(lines)
}

/// A chunked body without extensions and trailers (the generator makes none, and mutations rarely do).
fn plain_chunks(bytes: &[u8]) -> Result<(Vec<u8>, usize), Plain> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if digits == 0 || digits > 8 {
            return Err(if rest.is_empty() { Plain::Partial } else { Plain::Fatal });
        }
        match &rest[digits..] {
            [] | [b'\r'] => return Err(Plain::Partial),
            [b'\r', b'\n', ..] => {}
            _ => return Err(Plain::Fatal),
        }
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..digits]).unwrap(), 16).unwrap();
        if body.len() + size > 8 << 20 {
            return Err(Plain::Fatal);
        }
        at += digits + 2;
        let end = &bytes[(at + size).min(bytes.len())..];
        if size > 0 {
            body.extend_from_slice(bytes.get(at..at + size).ok_or(Plain::Partial)?);
            at += size;
        }
        match end {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Err(Plain::Partial),
            _ => return Err(Plain::Fatal),
        }
        if size == 0 {
            return Ok((body, at));
        }
    }
}

/// What the plain parser makes of a stream: the requests, and whether the connection is over.
fn plain_outcome(stream: &[u8]) -> (Vec<(String, String, Vec<u8>)>, bool) {
    let (mut requests, mut at, mut empty) = (Vec::new(), 0, 0);
    loop {
        let rest = &stream[at..];
        if rest.starts_with(b"\r\n") {
            at += 2;
            empty += 1;
            if empty > 2 {
                return (requests, true);
            }
            continue;
        }
        if rest.is_empty() || rest == b"\r" {
            return (requests, false);
        }
        // HTTP/1.0 has one request a connection.
        let last = find(rest, b"\r\n").is_some_and(|end| rest[..end].ends_with(b"HTTP/1.0"));
        match plain(rest) {
            Plain::Request(method, target, body, used) => {
                requests.push((method, target, body));
                at += used;
                empty = 0;
                if last {
                    return (requests, true);
                }
            }
            Plain::Mild(_) if last => return (requests, true),
            Plain::Mild(used) => {
                at += used;
                empty = 0;
            }
            Plain::Partial => return (requests, false),
            Plain::Fatal => return (requests, true),
        }
    }
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "OPTIONS"]);
    let body = prop::collection::vec(prop::sample::select(b"\r\n 0aGET:/{}\"".to_vec()), 0..40);
    let extra = prop::sample::select(vec![
        "",
        "X: y\r\n",
        "Accept: */*\r\nA-B_c: \t1, 2 \r\n",
        "Empty:\r\n",
    ]);
    (method, "/[a-z]{0,6}", body, extra, 0..4u8).prop_map(|(method, target, body, extra, form)| {
        let mut bytes =
            format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{extra}").into_bytes();
        match form {
            0 if method != "POST" && method != "PUT" => bytes.extend_from_slice(b"\r\n"),
            1 => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in body.chunks(7) {
                    bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    bytes.extend_from_slice(piece);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
            _ => {
                bytes.extend_from_slice(
                    format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
                );
                bytes.extend_from_slice(&body);
            }
        }
        bytes
    })
}

fn compare(stream: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (piece, tail) = rest.split_at(rest.len().min(*cut));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    let (seen, sent, over) = outcome(pieces);
    let requests: Vec<_> = seen
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Request { method, path, query, body, .. } => {
                let target = if query.is_empty() { path } else { format!("{path}?{query}") };
                Some((method.to_owned(), target, body))
            }
            _ => None,
        })
        .collect();
    let (expected, expected_over) = plain_outcome(stream);
    let answer = String::from_utf8_lossy(&sent);
    prop_assert_eq!(requests, expected, "{:?}: {}", String::from_utf8_lossy(stream), answer);
    prop_assert_eq!(over, expected_over, "{:?}: {}", String::from_utf8_lossy(stream), answer);
    Ok(())
}

/// 2,000 cases, or as many as `PROPTEST_CASES` says.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 2_000, ..default },
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn requests_are_cut_as_a_plain_parser_cuts_them(
        requests in prop::collection::vec(request(), 1..5),
        cuts in prop::collection::vec(0..60usize, 0..8),
    ) {
        compare(&requests.concat(), &cuts)?;
    }

    #[test]
    fn so_are_requests_with_a_byte_changed_added_or_left_out(
        requests in prop::collection::vec(request(), 1..4),
        cuts in prop::collection::vec(0..60usize, 0..4),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"\r\n\t :,/0179afxAGP\0\x7f\xff".to_vec()),
        change in 0..3u8,
    ) {
        let mut stream = requests.concat();
        let at = at.index(stream.len());
        match change {
            0 => stream[at] = byte,
            1 => stream.insert(at, byte),
            _ => { stream.remove(at); }
        }
        compare(&stream, &cuts)?;
    }
}
