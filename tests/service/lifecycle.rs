//! Start, second start, shutdown, and what others are told of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;

use rustix::process::Signal;

use crate::support::{Service, ShmDir, connect, jimbot, read_answer, run, text, wait_for};

#[test]
fn endpoints_json_names_what_is_bound_and_goes_with_the_service() {
    let shm_dir = Arc::new(ShmDir::new());
    let socket = format!("{}.sock", shm_dir.text());
    let unix = format!("unix:{socket}");
    let service = Service::start_in(
        Arc::clone(&shm_dir),
        &["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", &unix],
    );
    let file = shm_dir.path().join("endpoints.json");
    let endpoints: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let listen: Vec<&str> =
        endpoints["listen"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(listen.len(), 3);
    assert!(listen[0].starts_with("127.0.0.1:") && !listen[0].ends_with(":0"));
    assert!(listen[1].starts_with("[::1]:"));
    assert_eq!(listen[2], unix);
    assert_eq!(endpoints["pid"], service.pid());

    for address in &listen[..2] {
        let answer = crate::support::post(
            address,
            "/api/v1/events",
            "application/json",
            br#"{"type":"HEARTBEAT"}"#,
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    service.stop();
    assert!(!file.exists());
}

#[test]
fn a_second_service_on_the_same_directory_is_told_who_has_it() {
    let mut first = Service::start(&[]);
    let shm_dir = first.shm_dir();
    let second = run(&["serve", "--shm-dir", shm_dir.text(), "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains(&first.pid().to_string()), "{said}");
    first.assert_well();
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let first = Service::start(&[]);
    let shm_dir = ShmDir::new();
    // Who has the same port on another address is not who is in the way.
    let port = first.address.rsplit_once(':').unwrap().1;
    let beside = format!("127.0.0.2:{port}");
    let _listener = std::net::TcpListener::bind(&beside).unwrap();
    let own_name = fs::read_to_string("/proc/self/comm").unwrap();
    for (address, holder) in [
        (&first.address, format!("jimbot-mcp (pid {})", first.pid())),
        (&beside, format!("{} (pid {})", own_name.trim(), std::process::id())),
    ] {
        let second = run(&["serve", "--shm-dir", shm_dir.text(), "--listen", address]);
        let told = format!(
            "jimbot-mcp: can't listen on {address}: Address already in use (os error 98): it is \
             held by {holder}; stop what holds it, or choose other addresses with --listen (the mod \
             in the field reaches only port 8080)\n"
        );
        assert_eq!((second.status.code(), text(&second.stderr)), (Some(1), told));
    }
    assert!(!shm_dir.path().exists(), "it has left a log behind");
}

#[test]
fn a_directory_that_others_may_enter_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let shm_dir = ShmDir::new();
    let target = ShmDir::new();
    fs::create_dir(target.path()).unwrap();
    fs::set_permissions(target.path(), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(target.path(), shm_dir.path()).unwrap();
    let output = run(&["serve", "--shm-dir", shm_dir.text(), "--listen", "127.0.0.1:0"]);
    fs::remove_file(shm_dir.path()).unwrap();
    assert_eq!(output.status.code(), Some(1), "a symlink is not followed");
    assert!(text(&output.stderr).contains(shm_dir.text()), "{}", text(&output.stderr));
}

#[test]
fn sigterm_answers_what_was_received_and_closes_with_a_reason() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = Service::start(&[]);
        let mut socket = {
            let url = format!("ws://{}/ws?ack=1", service.address);
            tungstenite::client(url, connect(&service.address)).unwrap().0
        };
        socket.send(tungstenite::Message::text(r#"{"type":"HEARTBEAT","event_id":"a"}"#)).unwrap();
        assert!(socket.read().unwrap().to_text().unwrap().contains("\"ack\":1"));

        let mut kept = connect(&service.address);
        let body = br#"{"type":"HEARTBEAT","event_id":"b"}"#;
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // Half of a request is on its way when the signal comes.
        kept.write_all(head.as_bytes()).unwrap();
        kept.write_all(&body[..10]).unwrap();
        wait_for("the head to be read", || {
            (service.metric("jimbot_mcp_connections") >= 2.0).then_some(())
        });
        service.signal(signal);
        kept.write_all(&body[10..]).unwrap();
        let answer = read_answer(&mut kept);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        let closed = loop {
            match socket.read() {
                Ok(tungstenite::Message::Close(frame)) => break frame.expect("a reason"),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(u16::from(closed.code), 1001);
        // The library answers the close when it is asked to go on.
        let _ = socket.flush();
        assert!(service.wait().success());
        let ids: Vec<_> = service.events().iter().map(|it| it["eventId"].clone()).collect();
        assert_eq!(ids, ["a", "b"]);
    }
}

#[test]
fn a_peer_that_does_not_end_cannot_hold_a_shutdown_past_its_deadline() {
    let mut service = Service::start(&["--drain-seconds", "3"]);
    let mut half = connect(&service.address);
    half.write_all(
        b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
    )
    .unwrap();
    wait_for("the head to be read", || {
        (service.metric("jimbot_mcp_connections") >= 1.0).then_some(())
    });
    service.signal(Signal::TERM);
    assert!(service.wait().success());
}

#[test]
fn systemd_is_told_ready_and_stopping_and_fed_its_watchdog() {
    let shm_dir = Arc::new(ShmDir::new());
    let path = format!("{}.notify", shm_dir.text());
    let notify = UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut service = Service::start_command(shm_dir, &[], |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    });
    let wait_for_state = |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let length =
                notify.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            if text(&buffer[..length]).lines().any(|line| line == wanted) {
                break;
            }
        }
    };
    wait_for_state("READY=1");
    wait_for_state("WATCHDOG=1");
    wait_for_state("WATCHDOG=1");
    service.signal(Signal::TERM);
    wait_for_state("STOPPING=1");
    assert!(service.wait().success());
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_restart_goes_on_where_the_log_ended() {
    let service = Service::start(&[]);
    let body = br#"{"type":"HEARTBEAT","event_id":"1","timestamp":5,"payload":{"uptime":5}}"#;
    crate::support::post(&service.address, "/api/v1/events", "application/json", body);
    let before = service.events();
    let service = Service::start_in(service.stop(), &[]);
    // The same event again is a repeat, although another process stored it.
    let answer = crate::support::post(&service.address, "/api/v1/events", "application/json", body);
    assert!(answer.contains("\"repeated\":1"), "{answer}");
    assert_eq!(service.events(), before);
}

#[test]
fn serve_says_where_it_listens_and_which_game_came() {
    let service = Service::start(&[]);
    assert!(service.messages().contains(&service.address), "{}", service.messages());
    let to = ["simulate", "--to", &service.address, "--events", "60", "--flat-out"];
    assert!(jimbot(&to).output().unwrap().status.success());
    wait_for("the game's name", || {
        service.messages().contains(" connected (BalatroMCP").then_some(())
    });
}
