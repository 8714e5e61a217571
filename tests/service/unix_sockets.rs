//! Listening on a path: what is taken over, what is refused, and games that come that way.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::support::{Service, ShmDir, run, text};

/// A folder of its own, and the path of a socket in it.
fn place() -> (ShmDir, PathBuf, String) {
    let folder = ShmDir::new();
    fs::create_dir(folder.path()).unwrap();
    let path = folder.path().join("jimbot.sock");
    let listen = format!("unix:{}", path.display());
    (folder, path, listen)
}

fn is_alive(path: &PathBuf) -> bool {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    std::io::read_to_string(stream).unwrap().ends_with("\r\n\r\nok\n")
}

/// What a start on this address says when it fails.
fn refused(listen: &str) -> String {
    let shm_dir = ShmDir::new();
    let output = run(&["serve", "--shm-dir", shm_dir.text(), "--listen", listen]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!shm_dir.path().exists(), "it has left a log behind");
    text(&output.stderr)
}

#[test]
fn a_path_that_a_killed_service_left_is_taken_over_and_only_ours() {
    let (_folder, path, listen) = place();
    let shm_dir = Arc::new(ShmDir::new());
    let service = Service::start_in(Arc::clone(&shm_dir), &["--listen", &listen]);
    assert!(is_alive(&path));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    service.kill();
    assert!(fs::metadata(&path).unwrap().file_type().is_socket(), "nobody was left to remove it");
    assert!(UnixStream::connect(&path).is_err());

    let service = Service::start_in(shm_dir, &["--listen", &listen]);
    assert!(is_alive(&path));
    service.stop();
    assert!(!path.exists(), "an orderly end leaves nothing");
}

#[test]
fn a_path_that_is_no_socket_is_left_alone() {
    let (folder, path, listen) = place();
    let told = format!(
        "jimbot-mcp: can't listen on {listen}: the path exists and is not a socket; free the path, \
         or choose another with --listen\n"
    );
    fs::write(&path, "precious").unwrap();
    assert_eq!(refused(&listen), told);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    // Not even through a link to an abandoned socket.
    fs::remove_file(&path).unwrap();
    let target = folder.path().join("target");
    drop(std::os::unix::net::UnixListener::bind(&target).unwrap());
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert_eq!(refused(&listen), told);
    assert!(target.exists());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(refused(&listen), told);
}

#[test]
fn a_path_that_is_in_use_and_one_that_cannot_be_are_told_apart() {
    let (folder, path, listen) = place();
    let service = Service::start(&["--listen", &listen]);
    assert_eq!(
        refused(&listen),
        format!(
            "jimbot-mcp: can't listen on {listen}: another process listens there; free the path, \
             or choose another with --listen\n"
        )
    );
    assert!(is_alive(&path), "who was there goes on");
    service.stop();
    let nowhere = format!("unix:{}/missing/socket", folder.text());
    assert_eq!(
        refused(&nowhere),
        format!(
            "jimbot-mcp: can't listen on {nowhere}: No such file or directory (os error 2); make \
             its directory, or choose another with --listen\n"
        )
    );
}

#[test]
fn games_come_through_a_socket_as_they_come_over_tcp() {
    let (_folder, _path, listen) = place();
    let service = Service::start(&["--listen", &listen]);
    let shm_dir = service.shm_dir();
    let by_name = ["--to", listen.as_str()];
    // The only address there is, so that it is found without a name, too.
    let by_log = ["--shm-dir", shm_dir.text()];
    let mut sent = 0;
    for (seed, (place, how)) in [
        (by_name, &["--connections", "kept-alive"][..]),
        (by_name, &["--connections", "new"]),
        (by_name, &["--connections", "close"]),
        (by_name, &["--over", "websocket"]),
        (by_log, &[]),
        (by_log, &["--over", "websocket"]),
    ]
    .into_iter()
    .enumerate()
    {
        let seed = seed.to_string();
        let play = ["simulate", "--json", "--events", "50", "--flat-out", "--seed", &seed];
        let output = run(&[&play[..], &place, how].concat());
        assert!(output.status.success(), "{how:?}: {}", text(&output.stdout));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(summary["target"].as_str().unwrap().ends_with(&listen), "{summary}");
        sent += 50;
    }
    let events = service.events();
    assert_eq!(events.len(), sent, "each once");
}
