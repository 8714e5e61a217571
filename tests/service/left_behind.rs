//! What a service finds in its directory and can't go on with: it ends with 1, says what is wrong and what to do, and
//! touches nothing.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use jimbot_shm::layout::{LAYOUT_VERSION, constants};

use crate::support::{Service, ShmDir, post, run, text};

/// The log of a service that ended in order, with one event.
fn left_behind() -> Arc<ShmDir> {
    let service = Service::start(&[]);
    let event = br#"{"type":"HEARTBEAT","event_id":"before"}"#;
    let answer = post(&service.address, "/api/v1/events", "application/json", event);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    service.stop()
}

/// Starts a service that can't: its exit code and what it says.
fn refused(shm_dir: &ShmDir, settings: &[&str]) -> (Option<i32>, String) {
    let log = shm_dir.path().join("log");
    let before = fs::read(&log).expect("the log");
    let arguments = ["serve", "--shm-dir", shm_dir.text(), "--listen", "127.0.0.1:0"];
    let output = run(&[&arguments[..], settings].concat());
    assert_eq!(fs::read(&log).expect("the log"), before, "it was touched");
    assert!(!shm_dir.path().join("endpoints.json").exists());
    (output.status.code(), text(&output.stderr))
}

/// With `--rotate-log` it is put aside, and a new log is begun.
fn assert_put_aside(shm_dir: Arc<ShmDir>) {
    let mut service = Service::start_in(Arc::clone(&shm_dir), &["--rotate-log"]);
    service.assert_well();
    let said = service.messages();
    let aside = said
        .lines()
        .find_map(|line| line.split_once("a log that could not be read was put aside as "))
        .unwrap_or_else(|| panic!("{said}"))
        .1;
    assert!(shm_dir.path().join(aside.trim()).exists(), "{aside}");
    assert_eq!(service.events().len(), 1, "the event of the check alone");
}

#[test]
fn a_foreign_file_is_left_alone_whatever_is_asked_for() {
    let shm_dir = left_behind();
    let log = shm_dir.path().join("log");
    fs::write(&log, "a letter to somebody\n".repeat(1_000)).unwrap();
    for settings in [&[][..], &["--rotate-log"]] {
        let (code, said) = refused(&shm_dir, settings);
        let expected = format!(
            "jimbot-mcp: {}: not ours: it does not begin with the log's magic; move it away or name another --shm-dir\n",
            log.display()
        );
        assert_eq!((code, said), (Some(1), expected));
    }
}

#[test]
fn a_truncated_file_is_named_and_can_be_put_aside() {
    let shm_dir = left_behind();
    let log = shm_dir.path().join("log");
    let whole = fs::metadata(&log).unwrap().len();
    fs::File::options().write(true).open(&log).unwrap().set_len(whole / 2).unwrap();
    let expected = format!(
        "jimbot-mcp: {}: {} bytes long instead of {whole}; something has cut it short: stop every \
         reader and start the service with --rotate-log\n",
        log.display(),
        whole / 2
    );
    assert_eq!(refused(&shm_dir, &[]), (Some(1), expected));
    assert_put_aside(shm_dir);
}

#[test]
fn a_file_of_another_version_is_named_and_can_be_put_aside() {
    for version in [LAYOUT_VERSION - 1, LAYOUT_VERSION + 1] {
        let shm_dir = left_behind();
        let log = shm_dir.path().join("log");
        let file = fs::File::options().write(true).open(&log).unwrap();
        file.write_all_at(&version.to_le_bytes(), constants::LAYOUT_VERSION).unwrap();
        let expected = format!(
            "jimbot-mcp: {}: layout version {version}, this build has {LAYOUT_VERSION}; use programs \
             of one version, or start the service with --rotate-log to put the old log aside\n",
            log.display()
        );
        assert_eq!(refused(&shm_dir, &[]), (Some(1), expected));
        assert_put_aside(shm_dir);
    }
}
