//! Who may come in, by the settings of the shipped binary: a token for peers that are not trusted,
//! no web page, no foreign name, nobody from beyond this host without a token.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;

use crate::support::{Service, ShmDir, connect, read_answer, run, text};

const TOKEN: &str = "0123456789abcdef-and-more";
/// So that this host's own peers need the token.
const ELSEWHERE: [&str; 2] = ["--trusted-peers", "10.0.0.0/8"];
const HEALTH: [&str; 4] =
    ["GET /health", "POST /api/v1/events/health", "GET /healthz", "GET /readyz"];
const EVENT: &str = r#"{"type":"HEARTBEAT","event_id":"a"}"#;

/// A directory with a file of that text in it.
fn token_file(content: &str) -> (ShmDir, String) {
    let folder = ShmDir::new();
    fs::create_dir(folder.path()).unwrap();
    let path = folder.path().join("token");
    fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// The whole answer to a request with these header fields beside the usual ones; `Host` is usual
/// unless it is given.
fn ask(service: &Service, line: &str, fields: &[&str]) -> String {
    let mut stream = connect(&service.address);
    stream.write_all(head(line, fields, "").as_bytes()).unwrap();
    read_answer(&mut stream)
}

fn post(service: &Service, fields: &[&str]) -> String {
    let mut stream = connect(&service.address);
    let request = head("POST /api/v1/events", fields, EVENT);
    stream.write_all(request.as_bytes()).unwrap();
    read_answer(&mut stream)
}

/// The same for the upgrade to a WebSocket.
fn upgrade(service: &Service, fields: &[&str]) -> String {
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    ask(service, "GET /ws", &[&upgrade, fields].concat())
}

fn head(line: &str, fields: &[&str], body: &str) -> String {
    let mut head = format!("{line} HTTP/1.1\r\n");
    if !fields.iter().any(|field| field.starts_with("Host:")) {
        head.push_str("Host: localhost\r\n");
    }
    for field in fields {
        head.push_str(&format!("{field}\r\n"));
    }
    if line.starts_with("POST") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{head}\r\n{body}")
}

fn refusal(status: &str, challenge: &str, [field, reason, remedy]: [&str; 3]) -> String {
    let error = status.split_once(' ').unwrap().1;
    let body = format!(
        "{{\"error\":\"{error}\",\"field\":\"{field}\",\"reason\":\"{reason}\",\
         \"remedy\":\"{remedy}\"}}\n"
    );
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {challenge}\r\n{body}",
        body.len()
    )
}

fn needs_token() -> String {
    refusal(
        "401 Unauthorized",
        "WWW-Authenticate: Bearer realm=\"jimbot-mcp\"\r\n",
        [
            "Authorization",
            "a client from this address needs the service's token, and the request has none",
            "send `Authorization: Bearer` with the content of the token file",
        ],
    )
}

fn wrong_token() -> String {
    refusal(
        "401 Unauthorized",
        "WWW-Authenticate: Bearer realm=\"jimbot-mcp\", error=\"invalid_token\"\r\n",
        [
            "Authorization",
            "the token is not the service's",
            "send `Authorization: Bearer` with the content of the token file",
        ],
    )
}

fn from_a_page() -> String {
    let who = "use a program that is no web page, or a page this service delivered";
    let why = "a web page of another site sent this request";
    refusal("403 Forbidden", "", ["Sec-Fetch-Site", why, who])
}

fn foreign_origin() -> String {
    let who = "use a program that is no web page, or a page this service delivered";
    let why = "the request comes from a web page this service did not deliver";
    refusal("403 Forbidden", "", ["Origin", why, who])
}

fn foreign_host() -> String {
    refusal(
        "403 Forbidden",
        "",
        [
            "Host",
            "the name is neither an address nor localhost nor one of this service's host names",
            "use the address, or start the service with --host-name NAME",
        ],
    )
}

/// The same answer to a request whose body is then not read.
fn unread(answer: &str) -> String {
    answer.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
}

fn is_ok(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 OK\r\n")
}

fn is_upgraded(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n")
}

#[test]
fn a_peer_that_is_not_trusted_needs_the_token_for_all_but_health() {
    // An editor leaves a line end, and people a second line.
    let (_folder, file) = token_file(&format!("{TOKEN}\nmade in November\n"));
    let service = Service::start(&[&ELSEWHERE[..], &["--token-file", &file]].concat());
    let right = format!("Authorization: Bearer {TOKEN}");
    let wrong = [
        format!("Authorization: Bearer {TOKEN}x"),
        format!("Authorization: Bearer {}", &TOKEN[1..]),
        format!("Authorization: Basic {TOKEN}"),
        "Authorization: Bearer".to_owned(),
    ];
    for path in ["/metrics", "/api/v1/readers", "/api/v1/commands/poll", "/nowhere"] {
        let line = format!("GET {path}");
        assert_eq!(ask(&service, &line, &[]), needs_token(), "{path}");
        for wrong in &wrong {
            assert_eq!(ask(&service, &line, &[wrong]), wrong_token(), "{path} {wrong}");
        }
    }
    assert!(is_ok(&ask(&service, "GET /metrics", &[&right])));
    assert_eq!(upgrade(&service, &[]), needs_token());
    assert_eq!(upgrade(&service, &[&wrong[0]]), wrong_token());
    assert!(is_upgraded(&upgrade(&service, &[&right])));
    assert_eq!(post(&service, &[]), unread(&needs_token()));
    assert_eq!(post(&service, &[&wrong[0]]), unread(&wrong_token()));
    assert!(service.events().is_empty(), "what is refused is not stored");
    assert!(is_ok(&post(&service, &[&right])));
    assert_eq!(service.events().len(), 1);
    for line in HEALTH {
        assert!(is_ok(&ask(&service, line, &[])), "{line}");
        assert!(is_ok(&ask(&service, line, &[&wrong[0]])), "{line}");
    }
}

#[test]
fn trusted_peers_need_no_token_and_the_list_is_all_of_them() {
    let (folder, file) = token_file(TOKEN);
    let socket = folder.path().join("socket");
    let unix = format!("unix:{}", socket.display());
    let listen = ["--listen", "127.0.0.1:0", "--listen", &unix, "--token-file", &file];
    for (trusted, is_trusted) in [
        (&[][..], true),
        (&ELSEWHERE, false),
        (&["--trusted-peers", "10.0.0.0/8", "--trusted-peers", "127.0.0.1"], true),
        (&["--trusted-peers", "10.0.0.0/8,127.0.0.0/8"], true),
        (&["--trusted-peers", ""], false),
    ] {
        let service = Service::start(&[&listen[..], trusted].concat());
        let answer = ask(&service, "GET /metrics", &[]);
        assert_eq!(is_ok(&answer), is_trusted, "{trusted:?}: {answer}");
        // Only this user can open the socket.
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(head("GET /healthz", &[], "").as_bytes()).unwrap();
        stream.write_all(head("GET /metrics", &["Connection: close"], "").as_bytes()).unwrap();
        let answers = std::io::read_to_string(stream).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{trusted:?}: {answers}");
    }
}

#[test]
fn a_token_file_that_gives_no_token_ends_the_start() {
    let empty = |path: &str| {
        format!(
            "jimbot-mcp: token_file {path} is empty; put a token into its first line, such as the \
             output of `openssl rand -hex 32`\n"
        )
    };
    let unreadable = |path: &str, why: &str| {
        format!(
            "jimbot-mcp: token_file {path} can't be read: {why}; name a file that this user may \
             read with --token-file\n"
        )
    };
    let (folder, blank) = token_file(" \n\t\n");
    let (_other, nothing) = token_file("");
    let directory = folder.text().to_owned();
    let missing = format!("{directory}/missing");
    let binary = format!("{directory}/binary");
    fs::write(&binary, b"\xff\xfe").unwrap();
    for (file, expected) in [
        (&nothing, empty(&nothing)),
        (&blank, empty(&blank)),
        (&missing, unreadable(&missing, "No such file or directory (os error 2)")),
        (&directory, unreadable(&directory, "Is a directory (os error 21)")),
        (&binary, unreadable(&binary, "stream did not contain valid UTF-8")),
    ] {
        let shm_dir = ShmDir::new();
        let serve = ["serve", "--shm-dir", shm_dir.text(), "--listen", "127.0.0.1:0"];
        let output = run(&[&serve[..], &["--token-file", file]].concat());
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), expected));
        assert!(!shm_dir.path().exists(), "it has left a log behind");
    }
}

#[test]
fn a_web_page_gets_nothing_from_any_endpoint() {
    let service = Service::start(&[]);
    let port = service.address.rsplit_once(':').unwrap().1;
    let lines = [
        "GET /metrics",
        "GET /api/v1/readers",
        "GET /api/v1/commands/poll",
        "POST /api/v1/commands",
    ];
    for (fields, expected) in [
        (&["Sec-Fetch-Site: cross-site"][..], from_a_page()),
        (&["Sec-Fetch-Site: same-site"], from_a_page()),
        (&["Sec-Fetch-Site: none", "Origin: null"], foreign_origin()),
        (&["Origin: null"], foreign_origin()),
        (&["Origin: https://evil.example"], foreign_origin()),
        (&["Origin: http://localhost.evil.example"], foreign_origin()),
        // Another program of this host may have delivered that page.
        (&["Origin: http://localhost:1"], foreign_origin()),
        // After DNS rebinding a page's own name leads here.
        (&["Host: evil.example", "Origin: http://evil.example"], foreign_origin()),
    ] {
        for line in lines.iter().chain(&HEALTH) {
            assert_eq!(ask(&service, line, fields), expected, "{line} {fields:?}");
        }
        assert_eq!(post(&service, fields), unread(&expected), "{fields:?}");
        assert_eq!(upgrade(&service, fields), expected, "{fields:?}");
    }
    assert!(service.events().is_empty(), "what is refused is not stored");

    let own = format!("Origin: http://127.0.0.1:{port}");
    for fields in [&["Sec-Fetch-Site: same-origin"][..], &["Sec-Fetch-Site: none"], &[&own]] {
        assert!(is_ok(&ask(&service, "GET /metrics", fields)), "{fields:?}");
        assert!(is_upgraded(&upgrade(&service, fields)), "{fields:?}");
    }
}

#[test]
fn a_foreign_host_gets_nothing_but_health_until_it_is_named() {
    let hosts = ["games.example", "GAMES.example.", "games.example:8080"];
    let (unnamed, named) =
        (Service::start(&[]), Service::start(&["--host-name", "other,games.example"]));
    for host in hosts {
        let host = format!("Host: {host}");
        let fields = &[host.as_str()];
        assert_eq!(ask(&unnamed, "GET /metrics", fields), foreign_host(), "{host}");
        assert_eq!(post(&unnamed, fields), unread(&foreign_host()), "{host}");
        assert_eq!(upgrade(&unnamed, fields), foreign_host(), "{host}");
        for line in HEALTH {
            assert!(is_ok(&ask(&unnamed, line, fields)), "{line} {host}");
        }
        assert!(is_ok(&ask(&named, "GET /metrics", fields)), "{host}");
        assert!(is_ok(&post(&named, fields)), "{host}");
        assert!(is_upgraded(&upgrade(&named, fields)), "{host}");
    }
    assert!(unnamed.events().is_empty(), "what is refused is not stored");
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "192.168.1.7", "[::1]:8080"] {
        let answer = ask(&unnamed, "GET /metrics", &[&format!("Host: {host}")]);
        assert!(is_ok(&answer), "{host}: {answer}");
    }
    for host in ["example", "games.example.evil", "evil.games.example", "127.0.0.1.evil.example"] {
        let answer = ask(&named, "GET /metrics", &[&format!("Host: {host}")]);
        assert_eq!(answer, foreign_host(), "{host}");
    }
}

#[test]
fn beyond_this_host_nobody_is_served_without_a_token_unless_that_is_said() {
    let (_folder, file) = token_file(TOKEN);
    for address in ["0.0.0.0:8080", "[::]:8080", "192.168.1.7:8080", "[fe80::1]:8080"] {
        let shm_dir = ShmDir::new();
        let serve = ["serve", "--shm-dir", shm_dir.text(), "--listen", address];
        let refused = run(&serve);
        let expected = format!(
            "jimbot-mcp: listen = \"{address}\" can be reached from other hosts, and there is no \
             token_file; give a --token-file, or --insecure if everyone there may send events and \
             commands\n"
        );
        assert_eq!((refused.status.code(), text(&refused.stderr)), (Some(2), expected));
        assert!(!shm_dir.path().exists());
        // Tests open nothing beyond this host, so the settings alone are looked at.
        for allowed in [&["--insecure"][..], &["--token-file", &file]] {
            let output = run(&[&serve[..], &["--print-config"], allowed].concat());
            assert!(output.status.success(), "{address} {allowed:?}: {}", text(&output.stderr));
        }
    }
    let insecure = Service::start(&[&ELSEWHERE[..], &["--insecure"]].concat());
    assert!(is_ok(&ask(&insecure, "GET /metrics", &[])), "there is no token to ask for");
}
