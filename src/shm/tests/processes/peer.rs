//! The other process: what each role does, and how a test starts it.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use jimbot_shm::{
    Guarantee, LogOptions, LogReader, LogWriter, Now, ReadError, ReaderOptions, Start, Waited,
    arm_crash,
};

use crate::common::{check, store, tiny};

/// A peer that is running. It is killed when the test lets go of it.
pub struct Peer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start(role: &str, directory: &Path, arguments: &[&str]) -> Peer {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--peer", role])
            .arg(directory)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the peer");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Peer { child, lines }
    }

    /// The next line that it prints; `None` at its end. A line that it was killed in does not count.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("read from the peer");
        line.strip_suffix('\n').map(str::to_owned)
    }

    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.line().as_deref(), Some(line));
    }

    /// The numbers that it prints until its end.
    pub fn numbers(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.line()).map(|line| line.parse().expect("a number")).collect()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a plain system call; the child has not been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end: the signal that ended it, or its exit code.
    pub fn end(mut self) -> (Option<i32>, Option<i32>) {
        let status = self.child.wait().expect("wait for the peer");
        (std::os::unix::process::ExitStatusExt::signal(&status), status.code())
    }

    pub fn kill(self) {
        self.signal(libc::SIGKILL);
        assert_eq!(self.end().0, Some(libc::SIGKILL));
    }
}

/// Prints a line at once, with one system call: what is printed was true before.
fn say(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let line = format!("{text}\n");
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).expect("the test listens");
}

/// What a peer's options are: those of the tests, with a seed of its own.
pub fn options() -> LogOptions {
    LogOptions { reader_lease_ns: 200_000_000, ..tiny() }
}

pub fn reliable(directory: &Path, name: &str) -> LogReader {
    let options = ReaderOptions {
        name: name.into(),
        guarantee: Guarantee::Reliable,
        start: Start::Earliest,
        patience: Duration::from_secs(20),
        ..ReaderOptions::default()
    };
    LogReader::open(directory, &options).expect("join")
}

pub fn run(arguments: &[String]) -> ExitCode {
    let [role, directory, rest @ ..] = arguments else { return ExitCode::from(2) };
    let directory = Path::new(directory);
    match role.as_str() {
        "write" => write(directory, &rest[0], rest[1].parse().expect("a number")),
        "rotate" => rotate(directory, &rest[0]),
        "flood" => flood(directory, rest[0].parse().expect("a number")),
        "serve" => serve(directory),
        "serve-forked" => serve_forked(directory),
        "hold" => hold(directory),
        "follow" => follow(directory),
        "fork" => return fork(directory),
        "interrupt" => interrupt(directory),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Opens a frame, waiting for room.
fn begin(writer: &mut LogWriter) {
    while writer.begin(Now::read()).is_err() {
        std::thread::sleep(Duration::from_micros(200));
        writer.check_readers(Now::read());
    }
}

/// Stores events in frames of three, says each one's sequence, and dies at `point` when it comes there the `passes`-th time.
fn write(directory: &Path, point: &str, passes: u32) {
    let mut writer = LogWriter::open(directory, &options()).expect("open");
    arm_crash(point, passes);
    loop {
        begin(&mut writer);
        for _ in 0..3 {
            let length = 1 + (writer.next_sequence() * 37 % 900) as usize;
            say(store(&mut writer, length));
        }
        writer.commit(Now::read());
    }
}

/// Rotates the log that is there, and dies at `point`.
fn rotate(directory: &Path, point: &str) {
    arm_crash(point, 1);
    let rotated = LogWriter::open(directory, &LogOptions { rotate: true, ..options() });
    panic!("the rotation came to an end: {rotated:?}");
}

/// Stores events as fast as it can, in frames of any size, and says what is stored.
fn flood(directory: &Path, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut writer = LogWriter::open(directory, &options()).expect("open");
    loop {
        begin(&mut writer);
        for _ in 0..random.u32(1..=writer.events_left()) {
            let length = random.usize(0..220);
            say(store(&mut writer, length));
        }
        // Now and then a frame stays open over the turn, as far as it has room for as many again.
        if random.u8(..) < 250 || writer.events_left() == 0 || writer.open_bytes() > 512 {
            writer.commit(Now::read());
        }
        if random.u8(..) < 4 {
            writer.check_readers(Now::read());
        }
    }
}

/// Is a service that commits an event every few milliseconds.
fn serve(directory: &Path) {
    let mut writer = LogWriter::open(directory, &options()).expect("open");
    say("ready");
    loop {
        std::thread::sleep(Duration::from_millis(5));
        begin(&mut writer);
        store(&mut writer, 10);
        writer.commit(Now::read());
        writer.check_readers(Now::read());
    }
}

/// Takes one frame in hand as the reliable reader "victim", and waits to be killed.
fn hold(directory: &Path) {
    let mut reader = reliable(directory, "victim");
    let frame = reader.next(Duration::from_secs(20)).expect("read").expect("a frame");
    check(&frame.copy().expect("whole"));
    say(frame.header().first_sequence);
    std::thread::sleep(Duration::from_secs(600));
}

/// Reads as the reliable reader "victim", and says the range of each frame after it has been released.
fn follow(directory: &Path) {
    let mut reader = reliable(directory, "victim");
    loop {
        let Some(frame) = reader.next(Duration::from_millis(100)).expect("read") else { continue };
        let copy = frame.copy().expect("whole");
        check(&copy);
        say(format!("{} {}", copy.header.first_sequence, copy.header.end_sequence()));
        frame.release().expect("whole");
    }
}

/// Forks; the child must be told that the reader is not its own, and outlives the parent.
fn fork(directory: &Path) -> ExitCode {
    let mut reader = reliable(directory, "victim");
    let frame = reader.next(Duration::from_secs(20)).expect("read").expect("a frame");
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        assert!(matches!(reader.try_next(), Err(ReadError::Forked)));
        assert!(matches!(reader.wait(Duration::from_millis(1)), Err(ReadError::Forked)));
        // Nothing of the parent's is released or given back by the child.
        frame.release().expect("nothing to do");
        say("refused");
        outlive_parent();
        return ExitCode::SUCCESS;
    }
    std::thread::sleep(Duration::from_secs(600));
    ExitCode::SUCCESS
}

/// In a forked child, which has copies of its parent's mappings: stays until well after the parent has gone.
fn outlive_parent() {
    // SAFETY: a plain system call.
    let parent = || unsafe { libc::getppid() };
    let (born_of, end) = (parent(), Instant::now() + Duration::from_secs(60));
    while parent() == born_of && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_secs(2));
}

/// Is a service that has forked.
fn serve_forked(directory: &Path) {
    let mut writer = LogWriter::open(directory, &options()).expect("open");
    begin(&mut writer);
    store(&mut writer, 10);
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        say("forked");
        outlive_parent();
        // Its end commits nothing: the log is not its own.
        return;
    }
    std::thread::sleep(Duration::from_secs(600));
}

extern "C" fn nothing(_: i32) {}

/// Waits with an alarm set, and says how the wait ended.
fn interrupt(directory: &Path) {
    let reader = reliable(directory, "victim");
    // SAFETY: an all-zero `sigaction` is a valid one (no flags, so waits are not restarted), `nothing` may run at any time,
    // and the timer's value lives through the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()), 0);
        let soon = libc::timeval { tv_sec: 0, tv_usec: 30_000 };
        let timer = libc::itimerval { it_interval: soon, it_value: soon };
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()), 0);
    }
    let waited = reader.wait(Duration::from_millis(240)).expect("wait");
    say(match waited {
        Waited::Interrupted => "interrupted",
        Waited::Ready => "ready",
        Waited::TimedOut => "timed out",
    });
}
