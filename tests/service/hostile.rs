//! Clients that flood, dribble, stall and exaggerate, on real sockets: each gets its exact answer,
//! and the service goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::support::{Service, connect, post, read_answer, request, wait_for};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Raises the number of descriptors this process and its children may have; tells how many.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
        .expect("a process may use what it is allowed");
    most
}

#[test]
fn ten_thousand_idle_connections_do_not_keep_others_out() {
    let allowed = raise_descriptors();
    // Other tests run beside this one, in the same process.
    let count = 10_000.min(allowed.saturating_sub(512)) as usize;
    assert!(count >= 256, "{allowed} descriptors are too few to tell anything");
    let mut service = Service::start(&["--max-connections", "12000"]);
    let idle: Vec<TcpStream> = (0..count).map(|_| connect(&service.address)).collect();
    wait_for("all of them to be accepted", || {
        (service.metric("jimbot_mcp_connections") >= count as f64).then_some(())
    });
    service.assert_well();
    drop(idle);
    wait_for("all of them to be gone", || {
        (service.metric("jimbot_mcp_connections") < 100.0).then_some(())
    });
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

#[test]
fn half_a_head_is_answered_408_and_closed() {
    let mut service = Service::start(&["--head-timeout-ms", "200"]);
    let answer = request(&service.address, b"GET /healthz HTTP/1.1\r\nHost: loc");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut slow = connect(&service.address);
    let mut answer = Vec::new();
    for byte in b"GET /healthz HTTP/1.1\r\n".iter().cycle() {
        // A byte now and then does not prolong it.
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        slow.set_nonblocking(true).unwrap();
        let mut buffer = [0; 512];
        let read = slow.read(&mut buffer);
        slow.set_nonblocking(false).unwrap();
        match read {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        if !answer.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Either the answer came, or the end overtook it.
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
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

#[test]
fn huge_bodies_get_413_and_the_mod_200_with_one_event_that_says_so() {
    let mut service = Service::start(&[]);
    let event = br#"{"type":"HEARTBEAT","payload":{"uptime":1}},"#;
    for (megabytes, path) in [(10, "/api/v1/events/batch"), (100, "/api/v1/events/batch")] {
        let mut body = b"{\"batch_id\":\"b\",\"events\":[".to_vec();
        while body.len() < megabytes << 20 {
            body.extend_from_slice(event);
        }
        body.pop();
        body.extend_from_slice(b"]}");
        for (agent, status) in [("curl/8", 413), ("BalatroMCP/1.0", 200)] {
            let (answer, _) = send_large(&service.address, path, agent, &body);
            let expected = format!("HTTP/1.1 {status}");
            assert!(answer.starts_with(&expected), "{megabytes} MB from {agent}: {answer}");
        }
        service.assert_well();
    }
}

/// Sends a body as far as it is taken, and returns the answer with the bytes that were taken.
fn send_large(address: &str, path: &str, agent: &str, body: &[u8]) -> (String, usize) {
    let mut stream = connect(address);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut taken = 0;
    for chunk in body.chunks(64 << 10) {
        match stream.write_all(chunk) {
            Ok(()) => taken += chunk.len(),
            // Refused before its end: the answer is there.
            Err(_) => break,
        }
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..length]);
    }
    (String::from_utf8_lossy(&answer).into_owned(), taken)
}

#[test]
fn an_empty_body_is_refused_with_a_reason() {
    let mut service = Service::start(&[]);
    let answer = post(&service.address, "/api/v1/events", "application/json", b"");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    service.assert_well();
}
