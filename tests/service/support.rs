//! The real binary in tests: a service in a directory of its own, and the other subcommands.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Conditions are waited for this long before a test gives up; no test measures time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The binary, free of the environment's settings.
pub(crate) fn jimbot(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jimbot-mcp"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("JIMBOT_MCP_") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
    command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    jimbot(arguments).output().expect("the binary runs")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A directory in shared memory that goes with the value.
pub(crate) struct ShmDir(PathBuf);

impl ShmDir {
    pub(crate) fn new() -> ShmDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/jimbot-test-{}-{number}", std::process::id()));
        ShmDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().expect("the path is ours")
    }
}

impl Drop for ShmDir {
    fn drop(&mut self) {
        // A test that failed early has not made it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running service.
pub(crate) struct Service {
    child: Child,
    shm_dir: Arc<ShmDir>,
    /// `HOST:PORT` of its TCP listener.
    pub(crate) address: String,
    messages: Arc<Mutex<String>>,
}

/// A small log: 3 MiB holds twenty of its largest frames.
const SMALL: [&str; 6] =
    ["--log-bytes", "3MiB", "--max-batch-bytes", "128KiB", "--max-batch-events", "256"];

impl Service {
    /// Starts one on a free port and a small log of its own.
    pub(crate) fn start(settings: &[&str]) -> Service {
        Service::start_in(Arc::new(ShmDir::new()), settings)
    }

    /// Starts one on the log of another, which may have ended or been killed.
    pub(crate) fn start_in(shm_dir: Arc<ShmDir>, settings: &[&str]) -> Service {
        Service::start_command(shm_dir, settings, |_| {})
    }

    /// As [`Service::start_in`], with a hand on the command.
    pub(crate) fn start_command(
        shm_dir: Arc<ShmDir>,
        settings: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Service {
        let mut arguments = vec!["serve", "--shm-dir", shm_dir.text()];
        let names: Vec<&str> = settings.iter().filter(|it| it.starts_with("--")).copied().collect();
        for pair in SMALL.chunks(2) {
            if !names.contains(&pair[0]) {
                arguments.extend(pair);
            }
        }
        if !names.contains(&"--listen") {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        arguments.extend(settings);
        // A killed service leaves its file behind, and that must not be taken for the new one.
        let endpoints = shm_dir.path().join("endpoints.json");
        let _ = fs::remove_file(&endpoints);
        let mut command = jimbot(&arguments);
        prepare(&mut command);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let messages = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().expect("piped"), Arc::clone(&messages));
        collect(child.stderr.take().expect("piped"), Arc::clone(&messages));
        let listen = wait_for("endpoints.json", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the service ended with {status}: {}", messages.lock().unwrap());
            }
            let text = fs::read(&endpoints).ok()?;
            let endpoints: serde_json::Value = serde_json::from_slice(&text).ok()?;
            let listen = endpoints["listen"].as_array()?;
            Some(listen.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect::<Vec<_>>())
        });
        let address = listen.into_iter().find(|it| !it.starts_with("unix:")).unwrap_or_default();
        Service { child, shm_dir, address, messages }
    }

    pub(crate) fn shm_dir(&self) -> Arc<ShmDir> {
        Arc::clone(&self.shm_dir)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub(crate) fn messages(&self) -> String {
        self.messages.lock().expect("no collector panics").clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("our own child can be signalled");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the service's end", || self.child.try_wait().expect("our own child"))
    }

    /// Ends it in order; its log stays as long as its directory is held.
    pub(crate) fn stop(mut self) -> Arc<ShmDir> {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.messages());
        self.shm_dir()
    }

    /// Kills it without a word.
    pub(crate) fn kill(mut self) -> Arc<ShmDir> {
        self.signal(Signal::KILL);
        self.wait();
        self.shm_dir()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// `name value` of `/metrics`, summed over labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let answer = request(
            &self.address,
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        let lines = answer.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(key, _)| key.split('{').next() == Some(name))
            .filter_map(|(_, value)| value.trim().parse::<f64>().ok())
            .sum()
    }

    /// The service answers a health check and takes an event.
    pub(crate) fn assert_well(&mut self) {
        assert!(self.is_running(), "the service has ended: {}", self.messages());
        let answer =
            post(&self.address, "/api/v1/events", "application/json", br#"{"type":"HEARTBEAT"}"#);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Every event in its log, as `tail` shows them.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        events_in(&self.shm_dir)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // It may end by itself just now.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn collect(from: impl Read + Send + 'static, to: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut to = to.lock().expect("no reader of it panics");
            to.push_str(&line);
            to.push('\n');
        }
    });
}

/// Every event in a log, as `tail` shows them.
pub(crate) fn events_in(shm_dir: &ShmDir) -> Vec<serde_json::Value> {
    let output = run(&["tail", "--shm-dir", shm_dir.text(), "--from-start", "--until-idle", "0.3"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Sends bytes on a new connection and reads until it is closed.
pub(crate) fn request(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("the request is taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer comes");
    text(&answer)
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the service listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// One POST on a connection of its own; the whole answer.
pub(crate) fn post(address: &str, path: &str, media_type: &str, body: &[u8]) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {media_type}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    request(address, &[head.as_bytes(), body].concat())
}

/// Reads one answer off a connection that stays open.
pub(crate) fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer's head");
        answer.push(byte[0]);
    }
    let head = text(&answer).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("an answer's body");
    answer.extend(body);
    text(&answer)
}
