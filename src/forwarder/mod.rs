//! The forwarder: a reliable reader of the log that publishes every batch to an Event Bus, as it lies.
//!
//! One epoch goes out in order: batches are sent in the order of the log, many under way, and after any failure the first
//! one that was not acknowledged is the first to go out again. A batch is let go of in the log when the bus has
//! acknowledged it, or when it is in the spill on disk; what is spilled goes out before what is newer. So neither an outage
//! of the bus nor the death of this process loses an event, and the log is held up only when the spill is full.

mod link;
pub mod spill;
mod status;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jimbot_core::breaker::Terms;
use tokio::sync::watch;

use crate::bus::access::Token;
use crate::bus::store::system_clock;
use crate::journal::OpenError;
use link::Forwarder;
pub use status::{Snapshot, Status};

/// Name of the forwarder among the log's readers.
pub const READER_NAME: &str = "forwarder";

/// How a forwarder is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the log.
    pub shm_dir: PathBuf,
    /// URL of the bus.
    pub url: String,
    /// What the bus asks for.
    pub token: Option<Token>,
    /// Directory of the spill.
    pub spill_dir: PathBuf,
    /// Bytes that the spill may take.
    pub spill_bytes: u64,
    /// When to leave the bus alone.
    pub breaker: Terms,
    /// How long a call may take, and an acknowledgement.
    pub deadline: Duration,
    /// How long what can't be delivered stays in the log before it is spilled.
    pub spill_after: Duration,
}

impl Config {
    /// Publishes the log in `shm_dir` to the bus at `url`; spills 1 GiB at most into `spill_dir`.
    pub fn new(
        shm_dir: impl Into<PathBuf>,
        url: impl Into<String>,
        spill_dir: impl Into<PathBuf>,
    ) -> Config {
        Config {
            shm_dir: shm_dir.into(),
            url: url.into(),
            token: None,
            spill_dir: spill_dir.into(),
            spill_bytes: 1 << 30,
            breaker: Terms::default(),
            deadline: Duration::from_secs(10),
            spill_after: Duration::from_secs(1),
        }
    }
}

/// Why a forwarder did not start.
#[derive(Debug)]
pub enum StartError {
    /// The log can't be read.
    Log(jimbot_shm::OpenError),
    /// The spill can't be opened.
    Spill(OpenError),
    /// The URL is none.
    Url(String),
    /// The thread can't be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Log(error) => write!(f, "the forwarder can't read the log: {error}"),
            StartError::Spill(error) => write!(f, "the forwarder's spill: {error}"),
            StartError::Url(reason) => write!(f, "the bus's URL: {reason}"),
            StartError::Thread(error) => {
                write!(f, "the forwarder's thread can't be started: {error}")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// A forwarder that runs.
#[derive(Debug)]
pub struct Handle {
    status: Arc<Status>,
    stop: watch::Sender<Option<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// What it is doing, for readiness and metrics.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Ends it. What is in the log by now is delivered when the bus takes it within `patience`, spilled otherwise.
    pub fn stop(mut self, patience: Duration) {
        self.end(patience);
    }

    fn end(&mut self, patience: Duration) {
        self.stop.send_replace(Some(patience));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the forwarder's thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// Starts a forwarder in a thread named `forwarder`. The log has to be there; the bus need not be.
pub fn start(config: Config) -> Result<Handle, StartError> {
    let status = Arc::new(Status::default());
    let (stop, stopping) = watch::channel(None);
    let clock = system_clock();
    let forwarder = Forwarder::new(config, Arc::clone(&status), clock, stopping)?;
    let thread = std::thread::Builder::new()
        .name("forwarder".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .thread_name("forwarder-io")
                // One waits for the log, one flushes the spill.
                .max_blocking_threads(3)
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(forwarder.run()),
                Err(error) => log::error!("the forwarder can't run: {error}"),
            }
        })
        .map_err(StartError::Thread)?;
    Ok(Handle { status, stop, thread: Some(thread) })
}
