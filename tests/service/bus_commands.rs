//! `jimbot-mcp bus`, `publish` and `tail --bus`: what people type and what they are told.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Service, ShmDir, jimbot, post, run, text, wait_for};

const TOKEN: &str = "0123456789abcdef-and-more";

/// A bus in memory, ended with the value.
struct Bus {
    child: Child,
    url: String,
}

impl Bus {
    fn start(settings: &[&str]) -> Bus {
        let start = ["bus", "--store", "memory", "--listen", "127.0.0.1:0"];
        let mut child =
            jimbot(&[&start, settings].concat()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let mut told = BufReader::new(child.stdout.as_mut().expect("piped"));
        told.read_line(&mut line).expect("it says where it is");
        let url = line.trim().strip_prefix("event bus on ").expect("a line for scripts").to_owned();
        Bus { child, url }
    }

    fn publish(&self, input: &str, more: &[&str]) -> Output {
        let mut child = jimbot(&[&["publish", "--bus", &self.url], more].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        // It may end before it has read everything.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    fn tail(&self, more: &[&str]) -> Output {
        run(&[&["tail", "--bus", &self.url], more].concat())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `tail` that goes on.
struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(bus: &Bus, more: &[&str]) -> Tail {
        let mut child = jimbot(&[&["tail", "--bus", &bus.url], more].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Tail { child, lines }
    }

    fn next(&mut self) -> Value {
        let line = self.lines.next().expect("another line").expect("it can be read");
        serde_json::from_str(&line).expect("a line of JSON")
    }

    fn end(mut self) -> Output {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("our own child");
        wait_for("tail's end", || self.child.try_wait().expect("our own child"));
        self.child.wait_with_output().expect("it has ended")
    }
}

fn lines(kind: &str, count: usize) -> String {
    (0..count).map(|n| format!("{{\"type\":\"{kind}\",\"eventId\":\"{kind}-{n}\"}}\n")).collect()
}

fn ids(output: &Output) -> Vec<String> {
    let ids = text(&output.stdout);
    let id = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("a line of JSON");
        event["eventId"].as_str().expect("they have ids").to_owned()
    };
    ids.lines().map(id).collect()
}

#[test]
fn what_is_published_is_shown_to_who_asked_for_it() {
    let bus = Bus::start(&[]);
    let published = bus.publish(&lines("EVENT_TYPE_HAND_PLAYED", 3), &[]);
    assert!(published.status.success());
    assert_eq!(text(&published.stdout), "3 events published, 0 were there before\n");
    assert!(published.stderr.is_empty());
    bus.publish(&lines("EVENT_TYPE_HEARTBEAT", 600), &["--producer", "beat"]);

    let output = bus.tail(&["--topic", "game.>", "--from-start", "--until-idle", "0.3"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let expected: Vec<String> = (0..3).map(|n| format!("EVENT_TYPE_HAND_PLAYED-{n}")).collect();
    assert_eq!(ids(&output), expected);
    let output = bus.tail(&[
        "--topic",
        "system.*",
        "--topic",
        "game.*.played",
        "--from-start",
        "--count",
        "603",
    ]);
    assert_eq!(ids(&output).len(), 603);
    let output = bus.tail(&["--from-start", "--count", "2"]);
    assert_eq!(ids(&output), expected[..2]);
    let output = bus.tail(&["--topic", "learning.>", "--from-start", "--until-idle", "0.1"]);
    assert!(output.status.success() && output.stdout.is_empty());
}

#[test]
fn tail_shows_events_as_they_come_until_it_is_told_to_end() {
    let bus = Bus::start(&[]);
    bus.publish(&lines("EVENT_TYPE_HEARTBEAT", 1), &[]);
    let mut tail = Tail::start(&bus, &["--topic", "game.>", "--from-start"]);
    for turn in 0..3 {
        bus.publish(&lines("EVENT_TYPE_HAND_PLAYED", 1), &[]);
        assert_eq!(tail.next()["type"], "EVENT_TYPE_HAND_PLAYED", "turn {turn}");
    }
    let ended = tail.end();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", text(&ended.stderr));
}

#[test]
fn what_was_shown_is_published_elsewhere_with_its_identity_and_once() {
    let (bus, archive) = (Bus::start(&[]), Bus::start(&[]));
    bus.publish(&lines("EVENT_TYPE_HAND_PLAYED", 5), &["--producer", "bot"]);
    let shown = text(&bus.tail(&["--from-start", "--count", "5"]).stdout);
    let first = archive.publish(&shown, &[]);
    assert_eq!(text(&first.stdout), "5 events published, 0 were there before\n");
    let again = archive.publish(&shown, &[]);
    assert_eq!(text(&again.stdout), "0 events published, 5 were there before\n");
    // The name goes on with its numbers.
    let more = archive.publish(&lines("EVENT_TYPE_HEARTBEAT", 2), &["--producer", "bot"]);
    assert_eq!(text(&more.stdout), "2 events published, 0 were there before\n");
    assert_eq!(text(&archive.tail(&["--from-start", "--count", "5"]).stdout), shown);
}

#[test]
fn a_durable_goes_on_where_it_stood() {
    let bus = Bus::start(&[]);
    bus.publish(&lines("EVENT_TYPE_HAND_PLAYED", 6), &[]);
    let durable = ["--reliable", "archive", "--from-start"];
    let first = bus.tail(&[&durable[..], &["--count", "4"]].concat());
    let second = bus.tail(&[&durable[..], &["--until-idle", "0.3"]].concat());
    let together = [ids(&first), ids(&second)].concat();
    assert_eq!(together.len(), 6, "{together:?}");
    let mut tail = Tail::start(&bus, &durable);
    bus.publish(&lines("EVENT_TYPE_HEARTBEAT", 1), &[]);
    assert_eq!(tail.next()["eventId"], "EVENT_TYPE_HEARTBEAT-0");
    let refused = bus.tail(&[&durable[..], &["--count", "1"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("`archive` has a subscriber"));
    tail.end();
}

#[test]
fn a_service_publishes_to_a_bus_that_asks_for_a_token() {
    let folder = ShmDir::new();
    fs::create_dir(folder.path()).unwrap();
    let token = folder.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let token = token.to_str().unwrap();
    let home = |command: &mut Command| {
        command.env("XDG_STATE_HOME", folder.path());
    };
    let event = br#"{"type":"HAND_PLAYED","event_id":"from a game","payload":{}}"#;
    let read = ["--topic", "game.>", "--from-start", "--count", "1", "--token-file", token];

    let bus = Bus::start(&["--token-file", token]);
    let settings = ["--bus", &bus.url, "--bus-token-file", token];
    let service = Service::start_command(Arc::new(ShmDir::new()), &settings, home);
    post(&service.address, "/api/v1/events", "application/json", event);
    assert_eq!(ids(&bus.tail(&read)), ["from a game"]);
    service.stop();

    // An embedded bus asks for it.
    let settings = ["--bus", "embedded", "--bus-token-file", token];
    let service = Service::start_command(Arc::new(ShmDir::new()), &settings, home);
    post(&service.address, "/api/v1/events", "application/json", event);
    let places = fs::read(service.shm_dir().path().join("endpoints.json")).unwrap();
    let places: Value = serde_json::from_slice(&places).unwrap();
    let tail = ["tail", "--bus", places["bus"].as_str().expect("there is a bus")];
    let refused = run(&[&tail[..], &["--count", "1"]].concat());
    assert!(text(&refused.stderr).contains("Unauthenticated"), "{}", text(&refused.stderr));
    assert_eq!(ids(&run(&[&tail[..], &read].concat())), ["from a game"]);
    service.stop();

    for (bus, file, expected) in [
        ("none", token, "bus is none"),
        ("embedded", "/nonexistent/token", "bus_token_file /nonexistent/token"),
    ] {
        let shm = ShmDir::new();
        let start = ["serve", "--listen", "127.0.0.1:0", "--shm-dir", shm.text(), "--bus", bus];
        let refused = run(&[
            &start[..],
            &["--log-bytes", "8MiB", "--max-batch-bytes", "128KiB"],
            &["--bus-token-file", file],
        ]
        .concat());
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains(expected), "{}", text(&refused.stderr));
    }
}

#[test]
fn nobody_there_is_answered_with_a_remedy() {
    // Nothing listens on a port of the system that has no service.
    let nobody = "http://127.0.0.1:1";
    let mut gone = Bus::start(&[]);
    gone.url = nobody.to_owned();
    for output in [gone.tail(&[]), gone.publish(&lines("EVENT_TYPE_HEARTBEAT", 1), &[])] {
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let told = text(&output.stderr);
        assert!(told.contains(nobody) && told.contains("Connection refused"), "{told}");
        assert!(
            told.contains("`jimbot-mcp bus` starts one") && told.lines().count() == 1,
            "{told}"
        );
    }
}

#[test]
fn a_bus_that_dies_ends_a_tail_and_is_named() {
    let mut bus = Bus::start(&[]);
    bus.publish(&lines("EVENT_TYPE_HEARTBEAT", 1), &[]);
    let mut tail = Tail::start(&bus, &["--from-start"]);
    tail.next();
    bus.child.kill().unwrap();
    let status = wait_for("tail's end", || tail.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
    let told = text(&tail.child.wait_with_output().unwrap().stderr);
    assert!(told.contains(&bus.url), "{told}");
}

#[test]
fn what_is_wrong_on_the_command_line_ends_with_2() {
    for (arguments, expected) in [
        (&["tail", "--bus", "http://127.0.0.1:1", "--topic", "game..x"][..], "a word between dots"),
        (&["tail", "--bus", "http://127.0.0.1:1", "--topic", "game.>.x"], "only at the end"),
        (&["tail", "--topic", "game.>"], "--bus"),
        (&["tail", "--bus", "127.0.0.1:50051"], "http://127.0.0.1:50051"),
        (&["publish", "--bus", "nats://127.0.0.1:4222"], "http://127.0.0.1:50051"),
        (&["tail", "--bus", "http://127.0.0.1:1", "--count", "few"], "--count"),
        (&["tail", "--bus", "http://127.0.0.1:1", "--until-idle", "soon"], "--until-idle"),
        (&["tail", "--bus", "http://127.0.0.1:1", "--token-file", "/nonexistent"], "/nonexistent"),
        (&["bus", "--store", "punch-cards"], "embedded, memory, or nats://"),
        (&["bus", "--store", "memory", "--token-file", "/nonexistent"], "/nonexistent"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_line_that_is_no_event_is_named() {
    let bus = Bus::start(&[]);
    for (input, expected) in [
        ("{\"type\":\"EVENT_TYPE_HEARTBEAT\"}\nnot json\n", "line 2"),
        ("\n{\"type\":\"EVENT_TYPE_NOT_THERE\"}\n", "line 2"),
        ("{\"types\":\"EVENT_TYPE_HEARTBEAT\"}\n", "line 1"),
    ] {
        let output = bus.publish(input, &[]);
        assert_eq!(output.status.code(), Some(1), "{input}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    let nothing = bus.publish("", &[]);
    assert_eq!(text(&nothing.stdout), "0 events published, 0 were there before\n");
}

#[test]
fn a_token_is_asked_for_and_never_shown() {
    let folder = ShmDir::new();
    fs::create_dir(folder.path()).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (file("right", TOKEN), file("wrong", "fedcba9876543210-or-other"));
    let bus = Bus::start(&["--token-file", &right]);
    let line = lines("EVENT_TYPE_HEARTBEAT", 1);
    assert!(bus.publish(&line, &["--token-file", &right]).status.success());
    let read = ["--from-start", "--count", "1"];
    let shown = bus.tail(&[&read[..], &["--token-file", &right]].concat());
    assert_eq!(ids(&shown), ["EVENT_TYPE_HEARTBEAT-0"]);
    for more in [&[][..], &["--token-file", &wrong]] {
        for refused in [bus.publish(&line, more), bus.tail(&[&read[..], more].concat())] {
            assert_eq!(refused.status.code(), Some(1));
            let told = text(&refused.stderr);
            assert!(told.contains("Unauthenticated") && told.contains("--token-file"), "{told}");
            assert!(!told.contains("fedcba") && refused.stdout.is_empty());
        }
    }
    let short = file("short", "short");
    let output = run(&["bus", "--store", "memory", "--token-file", &short]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("openssl rand -hex 32"));
    let open = run(&["bus", "--store", "memory", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.status.code(), Some(1));
    assert!(text(&open.stderr).contains("--token-file"));
}
