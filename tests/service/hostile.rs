//! Clients that flood, dribble, stall and exaggerate, on real sockets: each gets its exact answer,
//! and the service goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::support::{Service, connect, post, read_answer, request, wait_for};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sees to it that this process and its children may have so many descriptors.
fn allow_descriptors(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    // Only root may go past the hard limit.
    let most = limit.maximum.map(|most| most.max(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: most }).is_err() {
        let allowed = limit.maximum.expect("none is no limit");
        panic!(
            "this test needs {wanted} descriptors, and {allowed} are allowed here: raise the hard limit \
             (`ulimit -Hn {wanted}` as root, or `docker run --ulimit nofile={wanted}`)"
        );
    }
}

#[test]
fn ten_thousand_idle_connections_do_not_keep_others_out() {
    const COUNT: usize = 10_000;
    // Other tests run beside this one, in the same process; the service has as many again.
    allow_descriptors(12_500);
    let mut service = Service::start(&["--max-connections", "12000"]);
    let idle: Vec<TcpStream> = (0..COUNT).map(|_| connect(&service.address)).collect();
    wait_for("all of them to be accepted", || {
        (service.metric("jimbot_mcp_connections") >= COUNT as f64).then_some(())
    });
    service.assert_well();
    drop(idle);
    wait_for("all of them to be gone", || {
        (service.metric("jimbot_mcp_connections") < 100.0).then_some(())
    });
    service.assert_well();
}

#[test]
fn who_connects_and_says_nothing_holds_no_memory_for_requests() {
    const COUNT: usize = 300;
    allow_descriptors(12_500);
    let mut service = Service::start(&[]);
    let idle: Vec<TcpStream> = (0..COUNT).map(|_| connect(&service.address)).collect();
    wait_for("all of them to be accepted", || {
        (service.metric("jimbot_mcp_connections") >= COUNT as f64).then_some(())
    });
    // The one that asks has a buffer of 64 KiB in its hands.
    assert_eq!(service.metric("jimbot_mcp_buffer_bytes"), 65_536.0);
    drop(idle);
    service.assert_well();
}

#[test]
fn past_the_limit_connections_wait_until_others_go() {
    let mut service = Service::start(&["--max-connections", "64"]);
    let mut inside: Vec<TcpStream> = (0..64).map(|_| connect(&service.address)).collect();
    for stream in &mut inside {
        stream.write_all(HEALTH).unwrap();
        assert!(read_answer(stream).starts_with("HTTP/1.1 200"));
    }
    // The kernel takes these; nobody answers them yet.
    let mut outside: Vec<TcpStream> = (0..100).map(|_| connect(&service.address)).collect();
    for stream in &mut outside {
        stream.write_all(HEALTH).unwrap();
    }
    // Those inside are served as before.
    for stream in &mut inside {
        stream.write_all(HEALTH).unwrap();
        assert!(read_answer(stream).starts_with("HTTP/1.1 200"));
    }
    drop(inside);
    for mut stream in outside {
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
    }
    service.assert_well();
}

#[test]
fn used_up_descriptors_are_survived() {
    let mut service = Service::start(&[]);
    let pid = Pid::from_raw(service.pid() as i32).unwrap();
    let mut kept = connect(&service.address);
    kept.write_all(HEALTH).unwrap();
    read_answer(&mut kept);
    let few = Rlimit { current: Some(40), maximum: Some(40) };
    prlimit(Some(pid), Resource::Nofile, few).expect("our own child's limit");
    let crowd: Vec<TcpStream> = (0..100).map(|_| connect(&service.address)).collect();
    for _ in 0..20 {
        kept.write_all(HEALTH).unwrap();
        assert!(read_answer(&mut kept).starts_with("HTTP/1.1 200"), "who is inside is served");
    }
    drop(crowd);
    service.assert_well();
}

/// What is said to who is too slow with a head.
const SLOW_HEAD: &str = "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n\
    Content-Length: 139\r\nConnection: close\r\n\r\n\
    {\"error\":\"Request Timeout\",\"field\":\"head\",\
    \"reason\":\"the request head did not come within its time\",\
    \"remedy\":\"send the whole head at once\"}\n";

#[test]
fn half_a_head_is_answered_408_and_closed_however_it_dribbles() {
    let mut service = Service::start(&["--head-timeout-ms", "200"]);
    let answer = request(&service.address, b"GET /healthz HTTP/1.1\r\nHost: loc");
    assert_eq!(answer, SLOW_HEAD);
    service.assert_well();

    let mut slow = connect(&service.address);
    let mut dribbling = slow.try_clone().expect("a second handle");
    let dribble = std::thread::spawn(move || {
        let head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ".iter();
        // A byte now and then does not prolong it; the head never has a fault, nor an end.
        for &byte in head.chain(std::iter::repeat(&b'a')) {
            if dribbling.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
    let mut answer = vec![0; SLOW_HEAD.len()];
    slow.read_exact(&mut answer).expect("the answer comes while it still sends");
    assert_eq!(String::from_utf8_lossy(&answer), SLOW_HEAD);
    assert!(matches!(slow.read(&mut [0]), Ok(0) | Err(_)), "nothing follows");
    slow.shutdown(Shutdown::Write).unwrap_or_default();
    dribble.join().expect("the dribble ends with its connection");
    service.assert_well();
}

#[test]
fn a_body_that_does_not_come_is_answered_408() {
    let mut service = Service::start(&["--body-timeout-ms", "200"]);
    let answer = request(
        &service.address,
        b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"type\":",
    );
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    service.assert_well();
    assert_eq!(service.events().len(), 1, "only the event of the check");
}

#[test]
fn a_half_closed_connection_still_gets_its_answer() {
    let mut service = Service::start(&[]);
    let mut stream = connect(&service.address);
    stream.write_all(HEALTH).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    service.assert_well();
}

#[test]
fn who_never_reads_is_closed_and_nobody_waits_for_it() {
    let mut service = Service::start(&["--write-timeout-ms", "300"]);
    let mut deaf = connect(&service.address);
    deaf.set_nonblocking(true).unwrap();
    let requests = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(64);
    // It asks until nothing more is taken from it: its answers fill every buffer on the way.
    let mut refused = 0;
    let closed = loop {
        match deaf.write(&requests) {
            Ok(_) => refused = 0,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                refused += 1;
                service.assert_well();
                if refused > 10_000 {
                    break false;
                }
            }
            Err(_) => break true,
        }
    };
    assert!(closed, "it was not closed");
    service.assert_well();
}

/// What is said to who sends more than a request may have.
const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\n\
    Content-Length: 168\r\nConnection: close\r\n\r\n\
    {\"error\":\"Content Too Large\",\"field\":\"body\",\
    \"reason\":\"the body is longer than this service takes in one request\",\
    \"remedy\":\"send the events in several smaller batches\"}\n";

#[test]
fn huge_bodies_get_413_and_the_mod_200_with_one_event_that_says_so() {
    const LIMIT: usize = 8 << 20;
    let event = format!(r#"{{"type":"HEARTBEAT","payload":{{"pad":"{}"}}}},"#, "x".repeat(60_000));
    let begin = r#"{"batch_id":"b","events":["#;
    // Those that end within the limit, whole.
    let whole = (LIMIT - begin.len() + 1) / event.len();
    for megabytes in [10, 100] {
        // A log with room for all of it.
        let mut service = Service::start(&["--log-bytes", "12MiB"]);
        let mut body = begin.as_bytes().to_vec();
        while body.len() < megabytes << 20 {
            body.extend_from_slice(event.as_bytes());
        }
        body.pop();
        body.extend_from_slice(b"]}");

        let answer = send_large(&service.address, "/api/v1/events/batch", "curl/8", &body);
        assert_eq!(answer, TOO_LARGE, "{megabytes} MB");
        service.assert_well();
        assert_eq!(service.events().len(), 1, "only the event of the check");

        let answer = send_large(&service.address, "/api/v1/events/batch", "BalatroMCP/1.0", &body);
        let said = format!(
            "{{\"status\":\"ok\",\"stored\":{},\"repeated\":0,\"unreadable\":1,\"note\":\
             \"what could not be read is stored as it came, as an event of its own\"}}\n",
            whole + 1
        );
        let expected = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{said}",
            said.len()
        );
        assert_eq!(answer, expected, "{megabytes} MB");
        let events = service.events();
        let tells: Vec<_> = events.iter().filter(|it| it["unreadable"].is_object()).collect();
        assert_eq!((events.len(), tells.len()), (1 + whole + 1, 1));
        let told = &tells[0];
        assert_eq!(told["type"], "EVENT_TYPE_TRUNCATED_BODY");
        let mut said = told["unreadable"].clone();
        let raw = said["raw"].take();
        // What of the next event lies within the limit, in base64.
        let kept = LIMIT - (begin.len() + whole * event.len());
        assert_eq!(raw.as_str().map(str::len), Some(kept.div_ceil(3) * 4));
        let expected = serde_json::json!({
            "path": "/api/v1/events/batch",
            "contentType": "application/json",
            "userAgent": "BalatroMCP/1.0",
            "error": format!("the body has {} bytes, more than are accepted", body.len()),
            "eventsKept": whole.to_string(),
            "length": body.len().to_string(),
            "offset": (begin.len() + whole * event.len()).to_string(),
            "raw": null,
        });
        assert_eq!(said, expected);
        service.assert_well();
    }
}

/// Sends a body as far as it is taken, and returns the answer.
fn send_large(address: &str, path: &str, agent: &str, body: &[u8]) -> String {
    let mut stream = connect(address);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Who is refused before its end may find the connection gone; the answer is there.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn an_empty_body_is_refused_with_a_reason() {
    let mut service = Service::start(&[]);
    let answer = post(&service.address, "/api/v1/events", "application/json", b"");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    service.assert_well();
}
