//! Made-up games in, lines of JSON out: nothing missing, nothing twice.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Service, ShmDir, jimbot, run, text, wait_for};

fn simulate(service: &Service, arguments: &[&str]) -> Value {
    let to = ["simulate", "--to", &service.address, "--json"];
    let output = run(&[&to, arguments].concat());
    let summary = text(&output.stdout);
    let summary: Value = serde_json::from_str(&summary)
        .unwrap_or_else(|error| panic!("{error}: {summary} {}", text(&output.stderr)));
    assert!(output.status.success(), "{summary} {}", text(&output.stderr));
    summary
}

/// Asserts that the log holds exactly the events of these runs, each once.
fn assert_all_stored(service: &Service, summaries: &[Value]) -> Vec<Value> {
    let sent: u64 = summaries.iter().map(|summary| summary["events_sent"].as_u64().unwrap()).sum();
    let events = service.events();
    let sequences: Vec<u64> =
        events.iter().map(|event| event["sequence"].as_str().unwrap().parse().unwrap()).collect();
    let first = sequences[0];
    assert!(sequences.iter().copied().eq(first..first + sent), "{} of {sent}", sequences.len());
    let ids: Vec<&str> = events.iter().filter_map(|event| event["eventId"].as_str()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "an id is there twice");
    events
}

#[test]
fn every_event_sent_over_http_is_there_once() {
    let service = Service::start(&[]);
    let runs = ["kept-alive", "new", "close"].map(|habit| {
        let seed = habit.len().to_string();
        let options = ["--connections", habit, "--seed", &seed, "--games", "3", "--events", "700"];
        simulate(&service, &[&options[..], &["--flat-out"]].concat())
    });
    let events = assert_all_stored(&service, &runs);
    assert_eq!(events.len(), 2_100);
    let tests = events.iter().filter(|event| event["type"] == "EVENT_TYPE_CONNECTION_TEST");
    assert_eq!(tests.count(), 9, "each game begins with its connection test");
}

#[test]
fn where_a_token_is_asked_for_games_bring_that_of_a_file_or_of_the_environment() {
    let folder = ShmDir::new();
    fs::create_dir(folder.path()).unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (file("right", "s3cret token\n"), file("wrong", "s3cret"));
    let empty = file("empty", "");
    let service = Service::start(&["--token-file", &right, "--trusted-peers", "10.0.0.0/8"]);
    let play = |arguments: &[&str], variable: Option<&str>| {
        let play = ["simulate", "--to", &service.address, "--json", "--events", "40", "--flat-out"];
        let mut command = jimbot(&[&play[..], arguments].concat());
        command.envs(variable.map(|token| ("JIMBOT_MCP_TOKEN", token))).output().unwrap()
    };
    let by_file = ["--token-file", &right];
    let mut runs = Vec::new();
    for (seed, how) in [
        &["--connections", "kept-alive"][..],
        &["--connections", "new"],
        &["--connections", "close"],
        &["--over", "websocket"],
    ]
    .into_iter()
    .enumerate()
    {
        let seed = (seed * 10).to_string();
        let of_file = play(&[&by_file[..], how, &["--seed", &seed]].concat(), Some("not this"));
        let seed = format!("{seed}1");
        let of_variable = play(&[how, &["--seed", &seed]].concat(), Some("s3cret token"));
        for output in [of_file, of_variable] {
            assert!(output.status.success(), "{how:?}: {}", text(&output.stdout));
            runs.push(serde_json::from_slice(&output.stdout).unwrap());
        }
    }
    assert_all_stored(&service, &runs);

    for (arguments, variable) in
        [(&[][..], None), (&[], Some("")), (&[], Some("s3cret")), (&["--token-file", &wrong], None)]
    {
        let output = play(&[arguments, &["--seconds", "0.1"]].concat(), variable);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {variable:?}");
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["events_accepted"], 0);
        let failure = summary["last_failure"].as_str().unwrap();
        assert!(failure.contains("status 401"), "{failure}");
    }
    let missing = format!("{}/missing", folder.text());
    for (arguments, variable, expected) in [
        (
            &["--token-file", &missing][..],
            None,
            format!("--token-file {missing} can't be read: No such file or directory (os error 2)"),
        ),
        (
            &["--token-file", &empty],
            Some("s3cret token"),
            format!("--token-file {empty} has no token in its first line"),
        ),
        (&[], Some("\n"), "JIMBOT_MCP_TOKEN has no token in its first line".to_owned()),
    ] {
        let output = play(arguments, variable);
        let told = format!("jimbot-mcp: {expected}\n");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), told));
    }
}

#[test]
fn every_event_sent_over_websocket_is_there_once_and_acknowledged() {
    let service = Service::start(&[]);
    let runs = ["mod", "websocket", "script"].map(|dialect| {
        let seed = dialect.len().to_string();
        let options =
            ["--over", "websocket", "--dialect", dialect, "--seed", &seed, "--games", "2"];
        simulate(&service, &[&options[..], &["--events", "500", "--flat-out"]].concat())
    });
    assert_all_stored(&service, &runs);
}

#[test]
fn scripts_and_older_clients_are_understood_over_http_too() {
    let service = Service::start(&[]);
    let options = ["--dialect", "mixed", "--games", "3", "--events", "900", "--flat-out"];
    let events = assert_all_stored(&service, &[simulate(&service, &options)]);
    let unknown = events.iter().filter(|event| event["type"] == "EVENT_TYPE_UNKNOWN").count();
    assert_eq!(unknown, 0);
}

#[test]
fn a_session_with_every_fault_of_the_field_loses_nothing_that_can_be_read() {
    let service = Service::start(&[]);
    let options = ["--odd", "0.2", "--resend", "--games", "2", "--events", "2000", "--flat-out"];
    let events = assert_all_stored(&service, &[simulate(&service, &options)]);
    let odd = events.iter().filter(|event| event["type"] == "EVENT_TYPE_UNKNOWN").count();
    assert!(odd > 10, "odd types are kept as they came: {odd}");
    let raw = events.iter().filter(|event| event["rawText"].is_array()).count();
    assert!(raw > 10, "text that is not UTF-8 is kept beside its repair: {raw}");
}

#[test]
fn events_that_are_no_json_are_answered_200_and_kept_with_their_bytes() {
    let service = Service::start(&[]);
    let options = ["--odd", "0.2", "--games", "2", "--events", "2000", "--flat-out"];
    let summary = simulate(&service, &options);
    assert_eq!(summary["failures"], 0, "{summary}");
    let events = service.events();
    // A text that belongs to no field is the event as it came.
    let whole = |event: &&Value| {
        let texts = event["rawText"].as_array();
        texts.is_some_and(|texts| texts.iter().any(|text| text["field"].is_null()))
    };
    assert!(events.iter().filter(whole).count() > 10);
}

#[test]
fn tail_shows_only_what_was_asked_for() {
    let service = Service::start(&[]);
    simulate(&service, &["--games", "3", "--events", "1500", "--flat-out"]);
    let all = service.events();
    let shm_dir = service.shm_dir();
    let tail = |arguments: &[&str]| -> Vec<Value> {
        let base = ["tail", "--shm-dir", shm_dir.text(), "--from-start", "--until-idle", "0.3"];
        let output = run(&[&base, arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let of_type = |name: &str| all.iter().filter(|event| event["type"] == name).count();
    assert_eq!(tail(&["--type", "GAME_STATE"]).len(), of_type("EVENT_TYPE_GAME_STATE"));
    assert_eq!(
        tail(&["--type", "money_changed", "--type", "game.hand.*"]).len(),
        of_type("EVENT_TYPE_MONEY_CHANGED") + of_type("EVENT_TYPE_HAND_PLAYED")
    );
    assert_eq!(tail(&["--count", "7"]).as_slice(), &all[..7]);
    let first: u64 = all[0]["sequence"].as_str().unwrap().parse().unwrap();
    let from = (first + 40).to_string();
    let base = ["tail", "--shm-dir", shm_dir.text(), "--from", &from, "--until-idle", "0.3"];
    assert_eq!(text(&run(&base).stdout).lines().count(), all.len() - 40);

    let mut games = BTreeMap::<String, usize>::new();
    for event in &all {
        if let Some(id) = event["gameState"]["base"]["gameId"].as_str() {
            *games.entry(id.to_owned()).or_default() += 1;
        }
    }
    let (game, states) = games.iter().next().expect("games have ids");
    let its = tail(&["--game", game]);
    let its_states = its.iter().filter(|event| event["gameState"]["base"]["gameId"] == **game);
    assert_eq!(its_states.count(), *states);
    assert!(its.len() < all.len());
}

#[test]
fn tail_follows_what_comes_and_ends_by_count() {
    let service = Service::start(&[]);
    let shm_dir = service.shm_dir();
    let tail =
        jimbot(&["tail", "--shm-dir", shm_dir.text(), "--reliable", "watcher", "--count", "300"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    wait_for("the reader to join", || (service.metric("jimbot_mcp_readers") >= 1.0).then_some(()));
    simulate(&service, &["--events", "400", "--flat-out"]);
    let output = tail.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout).lines().count(), 300);
}

#[test]
fn tail_ends_quietly_when_its_output_is_closed() {
    let service = Service::start(&[]);
    simulate(&service, &["--events", "1000", "--flat-out"]);
    let shm_dir = service.shm_dir();
    let mut tail = jimbot(&["tail", "--shm-dir", shm_dir.text(), "--from-start"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(tail.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    drop(output);
    // It notices when it writes the next time.
    let status = wait_for("tail to end", || {
        simulate(&service, &["--events", "20", "--flat-out", "--seed", &line.len().to_string()]);
        tail.try_wait().unwrap()
    });
    assert!(status.success(), "{status}");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut tail.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn tail_ends_on_ctrl_c() {
    let service = Service::start(&[]);
    let shm_dir = service.shm_dir();
    let mut tail =
        jimbot(&["tail", "--shm-dir", shm_dir.text()]).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the reader to join", || (service.metric("jimbot_mcp_readers") >= 1.0).then_some(()));
    kill_process(Pid::from_child(&tail), Signal::INT).unwrap();
    assert!(wait_for("tail to end", || tail.try_wait().unwrap()).success());
}

#[test]
fn tail_waits_for_a_log_when_told_to() {
    let shm_dir = Arc::new(ShmDir::new());
    let tail = jimbot(&[
        "tail",
        "--shm-dir",
        shm_dir.text(),
        "--wait",
        "60",
        "--from-start",
        "--count",
        "5",
    ])
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let service = Service::start_in(Arc::clone(&shm_dir), &[]);
    simulate(&service, &["--events", "5", "--flat-out"]);
    let output = tail.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout).lines().count(), 5);
}
