//! A log that is full because a reader does not read on: games wait, are told to come again, and
//! nothing is lost or stored twice.
//!
//! The reader is `jimbot-mcp tail` with its output unread: it stands still with a batch in hand.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tungstenite::Message;

use crate::support::{Service, connect, jimbot, read_answer, request, wait_for};

/// The smallest log that there is for 16 events a batch.
const SMALLEST: [&str; 6] =
    ["--log-bytes", "1057280", "--max-batch-bytes", "128KiB", "--max-batch-events", "16"];
/// Ten events of this size fill it, and the first one fills a pipe.
const EVENT_BYTES: usize = 90_000;
const READER: &str = "trainer-0";

const STORED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Content-Length: 40\r\n\r\n{\"status\":\"ok\",\"stored\":1,\"repeated\":0}\n";
const REPEATED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Content-Length: 40\r\n\r\n{\"status\":\"ok\",\"stored\":0,\"repeated\":1}\n";
const COME_AGAIN: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 186\r\nRetry-After: 1\r\n\r\n{\"error\":\"Service Unavailable\",\
    \"field\":\"body\",\"reason\":\"the log is full, because a reader does not read on\",\
    \"remedy\":\"send the same again later; events that were stored are recognised\"}\n";

/// A reliable reader in a process of its own, killed with the value.
struct Tail {
    child: Child,
    /// Until somebody reads it.
    output: Option<ChildStdout>,
    shown: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    fn start(service: &Service) -> Tail {
        let shm_dir = service.shm_dir();
        let base = ["tail", "--shm-dir", shm_dir.text(), "--reliable", READER, "--from-start"];
        let mut child =
            jimbot(&base).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let output = child.stdout.take();
        let said = Arc::new(Mutex::new(Vec::new()));
        collect(child.stderr.take().expect("piped"), &said, str::to_owned);
        let tail = Tail { child, output, shown: Arc::default(), said };
        wait_for("the reader to join", || {
            let status = status(service)?;
            (status["alive"] == true && status["pid"] == tail.child.id()).then_some(())
        });
        tail
    }

    /// Waits until it shows something: from then on it has a copy of a batch, and stands still.
    fn wait_until_stuck(&self) {
        let output = self.output.as_ref().expect("nobody reads it yet");
        wait_for("output", || (ioctl_fionread(output).expect("a pipe tells") > 0).then_some(()));
    }

    /// Takes what it shows from now on, which lets it read on.
    fn read_on(&mut self) {
        let output = self.output.take().expect("nobody reads it yet");
        collect(output, &self.shown, |line| {
            let event: Value = serde_json::from_str(line).expect("a line of JSON");
            event["eventId"].as_str().unwrap_or_default().to_owned()
        });
    }

    /// Ids of the events that it has shown.
    fn shown(&self) -> Vec<String> {
        self.shown.lock().expect("no collector panics").clone()
    }

    fn wait_until_shown(&self, id: &str) -> Vec<String> {
        wait_for(id, || self.shown().iter().any(|shown| shown == id).then(|| self.shown()))
    }

    fn kill(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Ends it in order, and gives what it told people.
    fn end(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("our own child");
        let status = wait_for("its end", || self.child.try_wait().expect("our own child"));
        assert!(status.success(), "{status}");
        self.said.lock().expect("no collector panics").clone()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect<T: Send + 'static>(
    from: impl std::io::Read + Send + 'static,
    to: &Arc<Mutex<Vec<T>>>,
    of: fn(&str) -> T,
) {
    let to = Arc::clone(to);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            to.lock().expect("no reader of it panics").push(of(&line));
        }
    });
}

fn get(service: &Service, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    request(&service.address, head.as_bytes())
}

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

/// The reader's line in `/api/v1/readers`.
fn status(service: &Service) -> Option<Value> {
    let answer: Value = serde_json::from_str(body_of(&get(service, "/api/v1/readers"))).ok()?;
    answer["readers"].as_array()?.iter().find(|reader| reader["name"] == READER).cloned()
}

/// A large event; the same one whenever it is sent.
fn event(id: &str) -> String {
    json!({"type": "SCORE_CHANGED", "event_id": id, "timestamp": 1000.5,
        "payload": {"old_score": 1, "new_score": 2, "note": "x".repeat(EVENT_BYTES)}})
    .to_string()
}

fn send(service: &Service, id: &str) -> TcpStream {
    let mut stream = connect(&service.address);
    send_on(&mut stream, id);
    stream
}

fn send_on(stream: &mut TcpStream, id: &str) {
    let body = event(id);
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("it is taken");
}

/// Sends until there is room, as games do.
fn send_until_stored(service: &Service, id: &str) -> String {
    wait_for("room", || {
        let answer = read_answer(&mut send(service, id));
        (answer != COME_AGAIN).then_some(answer)
    })
}

fn is_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it is ours");
    let waits =
        matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).expect("it is ours");
    !waits
}

/// A body that waits for room.
struct Held {
    stream: TcpStream,
    id: String,
}

/// Sends events `0`, `1` … until one is held; gives it, and those that were stored before.
fn fill(service: &Service) -> (Held, Vec<String>) {
    let mut stored = Vec::new();
    for id in (0..).map(|number: u32| number.to_string()) {
        let mut stream = send(service, &id);
        let is_held = wait_for("an answer, or a body that is held", || {
            // In this order: what was turned away meanwhile is then not taken for held.
            let held = service.metric("jimbot_mcp_log_full_held_total");
            let turned_away = service.metric("jimbot_mcp_log_full_refused_total");
            if held > turned_away {
                return Some(true);
            }
            is_answered(&stream).then_some(false)
        });
        if is_held {
            return (Held { stream, id }, stored);
        }
        let answer = read_answer(&mut stream);
        // Who looks too late finds a held one turned away.
        assert!(answer == STORED || answer == COME_AGAIN, "{answer}");
        if answer == STORED {
            stored.push(id);
        }
    }
    unreachable!("there are enough numbers")
}

fn assert_full(service: &Service) {
    assert_eq!(
        get(service, "/readyz"),
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\
         Connection: close\r\n\r\nlog full\n"
    );
    let health: Value = serde_json::from_str(body_of(&get(service, "/health"))).unwrap();
    assert_eq!(health["status"], "log full");
    assert!(get(service, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"), "it is alive");
}

fn wait_until_ready(service: &Service) {
    wait_for("the service to be ready", || {
        (body_of(&get(service, "/readyz")) == "ready\n").then_some(())
    });
}

#[test]
fn games_are_told_to_come_again_and_then_nothing_is_lost_or_stored_twice() {
    let mut service = Service::start(&SMALLEST);
    let mut tail = Tail::start(&service);
    let url = format!("ws://{}/ws?ack=1", service.address);
    let mut socket = tungstenite::client(&url, connect(&service.address)).unwrap().0;
    socket.send(Message::text(event("socket-0"))).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text(r#"{"ack":1,"seq":1}"#));

    let (mut held, stored) = fill(&service);
    assert_full(&service);
    assert_eq!(read_answer(&mut held.stream), COME_AGAIN);
    let told = format!(
        "the log is full because {READER} did not read on; games are held back until it does (or \
         until its lease ends, when it is dead)\n"
    );
    wait_for("a word to people", || service.messages().contains(&told).then_some(()));

    socket.send(Message::text(event("socket-1"))).unwrap();
    let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("not closed") };
    assert_eq!(
        (u16::from(frame.code), frame.reason.as_str()),
        (1013, "the log is full; send what was not acknowledged again later")
    );
    assert_full(&service);

    tail.read_on();
    wait_until_ready(&service);
    wait_for("a word about the end", || {
        service.messages().contains("the log has room again after ").then_some(())
    });
    for id in &stored {
        assert_eq!(send_until_stored(&service, id), REPEATED, "{id}");
    }
    // The connection that was turned away goes on.
    send_on(&mut held.stream, &held.id);
    assert_eq!(read_answer(&mut held.stream), STORED);
    let mut socket = tungstenite::client(&url, connect(&service.address)).unwrap().0;
    for id in ["socket-0", "socket-1"] {
        socket.send(Message::text(event(id))).unwrap();
        let ack = socket.read().unwrap();
        assert!(ack.to_text().unwrap().starts_with("{\"ack\":1,"), "{ack}");
    }
    service.assert_well();

    let shown = tail.wait_until_shown("socket-1");
    let expected: Vec<&str> = ["socket-0"]
        .into_iter()
        .chain(stored.iter().map(String::as_str))
        .chain([held.id.as_str(), "socket-1"])
        .collect();
    assert_eq!(shown[..expected.len()], expected);
    assert!(tail.end().is_empty(), "a reliable reader misses nothing");
}

/// Whether a body that was held is stored without being sent again: the reader has two seconds.
fn held_body_is_stored() -> bool {
    let service = Service::start(&SMALLEST);
    let mut tail = Tail::start(&service);
    let (mut held, mut expected) = fill(&service);
    tail.read_on();
    let answer = read_answer(&mut held.stream);
    if answer == COME_AGAIN {
        return false;
    }
    assert_eq!(answer, STORED);
    let shown = tail.wait_until_shown(&held.id);
    expected.push(held.id);
    assert_eq!(shown, expected);
    wait_until_ready(&service);
    true
}

#[test]
fn a_body_that_is_held_is_stored_when_the_reader_reads_on_in_time() {
    // A machine that is busy with other things may be too late now and then.
    assert!((0..5).any(|_| held_body_is_stored()), "it was turned away each time");
}

#[test]
fn a_killed_reader_holds_until_its_lease_ends_and_is_then_told_its_gap() {
    let settings = [&SMALLEST[..], &["--reader-lease", "1"]].concat();
    let service = Service::start(&settings);
    let tail = Tail::start(&service);
    let (mut held, mut stored) = fill(&service);
    tail.kill();
    wait_until_ready(&service);
    let status = status(&service).expect("its name is kept");
    assert_eq!((&status["alive"], &status["detached"]), (&json!(false), &json!(true)));
    // Held or sent again, it is stored now.
    if read_answer(&mut held.stream) == COME_AGAIN {
        assert_eq!(send_until_stored(&service, &held.id), STORED);
    }
    stored.push(held.id);
    // Over the ring once more, with nobody in the way.
    for id in (0..20).map(|number| format!("later-{number}")) {
        assert_eq!(read_answer(&mut send(&service, &id)), STORED);
        stored.push(id);
    }

    let mut heir = Tail::start(&service);
    heir.read_on();
    let shown = heir.wait_until_shown("later-19");
    let missed = stored.len() - shown.len();
    assert!(missed > 0);
    assert_eq!(shown, stored[missed..], "everything that is still there, in order");
    assert_eq!(
        heir.end(),
        [format!("jimbot-mcp: detached for being too slow; {missed} events missed")]
    );
}

#[test]
fn within_its_lease_a_killed_reader_goes_on_holding_and_its_heir_gets_everything() {
    let settings = [&SMALLEST[..], &["--reader-lease", "86400"]].concat();
    let service = Service::start(&settings);
    let tail = Tail::start(&service);
    let (mut held, mut stored) = fill(&service);
    tail.kill();
    assert_eq!(read_answer(&mut held.stream), COME_AGAIN);
    assert_full(&service);
    let status = status(&service).expect("it is there");
    assert_eq!((&status["alive"], &status["detached"]), (&json!(false), &json!(false)));
    assert_eq!(service.metric("jimbot_mcp_readers"), 0.0);
    assert_eq!(service.metric("jimbot_mcp_reader_lag_events_max"), stored.len() as f64);

    let mut heir = Tail::start(&service);
    heir.read_on();
    assert_eq!(send_until_stored(&service, &held.id), STORED);
    stored.push(held.id);
    assert_eq!(heir.wait_until_shown(stored.last().unwrap()), stored);
    assert!(heir.end().is_empty(), "nothing was missed");
}

#[test]
fn by_option_a_living_reader_that_fills_the_log_is_detached_and_told_its_gap() {
    let settings = [&SMALLEST[..], &["--full-policy", "detach"]].concat();
    let service = Service::start(&settings);
    let mut tail = Tail::start(&service);
    let sent: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    for id in &sent {
        assert_eq!(read_answer(&mut send(&service, id)), STORED, "{id}");
        if id == "0" {
            tail.wait_until_stuck();
        }
    }
    let status = status(&service).expect("its name is kept");
    assert_eq!((&status["alive"], &status["detached"]), (&json!(true), &json!(true)));
    wait_until_ready(&service);

    tail.read_on();
    let shown = tail.wait_until_shown("59");
    let missed = sent.len() - shown.len();
    assert!(missed > 0, "{shown:?}");
    assert_eq!(shown[0], sent[0], "what it had in hand");
    assert_eq!(shown[1..], sent[1 + missed..], "after the gap everything that is still there");
    let said = tail.end();
    let gap = format!("jimbot-mcp: detached for being too slow; {missed} events missed");
    assert!(said.contains(&gap), "{said:?}");
}
