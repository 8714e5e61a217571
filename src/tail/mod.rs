//! `jimbot-mcp tail`: the log's events as lines of JSON, as they come.
//!
//! A reader like any other: it costs the service nothing, and a slow terminal loses only its own
//! place. Events go to standard output, everything else to standard error.

mod filter;
pub(crate) mod json;

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jimbot_shm::{FrameCopy, Guarantee, LogReader, OpenError, ReadError, ReaderOptions, Start};

pub use filter::{TypeFilter, UnknownType};

use filter::Games;
use json::Decoder;
use prost_reflect::prost::DecodeError;

/// The longest sleep, so that the end is noticed.
const NAP: Duration = Duration::from_millis(200);

/// What to show.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the log.
    pub shm_dir: PathBuf,
    /// Where to begin.
    pub start: Start,
    /// Name to join under; none joins as a lossy reader under a name that is made up.
    pub reliable: Option<String>,
    /// How long to wait for a log that is not there yet.
    pub patience: Duration,
    /// Types to show; empty for all.
    pub types: Vec<TypeFilter>,
    /// Games to show, by id (the run's seed) or by key; empty for all.
    pub games: Vec<String>,
    /// End after this many shown events.
    pub count: Option<u64>,
    /// End when no event came for this long.
    pub until_idle: Option<Duration>,
}

/// Why it could not go on.
#[derive(Debug)]
pub enum TailError {
    /// The log could not be joined.
    Open(OpenError),
    /// The log could not be read on.
    Read(ReadError),
    /// An event that the schema can't read: the log is from a newer version, or damaged.
    Decode(u64, DecodeError),
    /// Standard output took no more, other than by being closed.
    Output(io::Error),
}

impl fmt::Display for TailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TailError::Open(error) => error.fmt(f),
            TailError::Read(error) => error.fmt(f),
            TailError::Decode(sequence, error) => {
                write!(f, "event {sequence} can't be read with this version's schema: {error}")
            }
            TailError::Output(error) => write!(f, "the output can't be written: {error}"),
        }
    }
}

impl std::error::Error for TailError {}

/// What was shown, and what could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Events shown.
    pub events: u64,
    /// Events that were overwritten before they were read.
    pub missed: u64,
}

/// Writes events to `output` until an end that the options name, until `stop` is set, or until
/// `output` is closed. `tell` gets what people should know.
///
/// # Errors
/// See [`TailError`]. A closed output is a normal end.
pub fn run(
    options: &Options,
    output: impl Write,
    stop: &AtomicBool,
    mut tell: impl FnMut(&str),
) -> Result<Shown, TailError> {
    let mut reader = join(options).map_err(TailError::Open)?;
    let mut tail = Tail {
        options,
        decoder: Decoder::new(),
        games: Games::new(&options.games),
        output: BufWriter::new(output),
        line: String::new(),
        shown: Shown::default(),
    };
    let mut copy = FrameCopy::default();
    let mut last_event = Instant::now();
    while !stop.load(Ordering::Relaxed) && !tail.is_done() {
        let nap = options.until_idle.map_or(NAP, |idle| {
            idle.saturating_sub(last_event.elapsed()).clamp(Duration::from_millis(1), NAP)
        });
        let frame = match reader.next(nap) {
            Ok(frame) => frame,
            Err(ReadError::Detached { missed, .. }) => {
                tell(&format!("detached for being too slow; {missed} events missed"));
                // The reader counts them too, and they are told of once.
                tail.shown.missed += missed;
                continue;
            }
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(TailError::Read(error)),
        };
        tail.count_missed(reader.missed(), &mut tell);
        let Some(frame) = frame else {
            if options.until_idle.is_some_and(|idle| last_event.elapsed() >= idle) {
                break;
            }
            continue;
        };
        last_event = Instant::now();
        if frame.copy_into(&mut copy).is_err() {
            // Overwritten meanwhile: the reader's next frame tells how much is missing.
            let events = u64::from(frame.header().event_count);
            tail.shown.missed += events;
            tell(&format!("{events} events missed: they were overwritten while they were read"));
            continue;
        }
        let written =
            tail.show(&copy).and_then(|()| tail.output.flush().map_err(TailError::Output));
        match written {
            Err(TailError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => break,
            other => other?,
        }
        // Only what is written counts as read: a reliable reader that dies here sees it again.
        if frame.release().is_err() {
            tell("detached for being too slow");
        }
    }
    let shown = tail.shown;
    // Whatever the buffer still holds was meant for an output that is closed.
    drop(tail.output.into_parts());
    Ok(shown)
}

fn join(options: &Options) -> Result<LogReader, OpenError> {
    LogReader::open(
        &options.shm_dir,
        &ReaderOptions {
            name: options.reliable.clone().unwrap_or_default(),
            guarantee: if options.reliable.is_some() {
                Guarantee::Reliable
            } else {
                Guarantee::Lossy
            },
            start: options.start,
            patience: options.patience,
            ..ReaderOptions::default()
        },
    )
}

struct Tail<'a, W: Write> {
    options: &'a Options,
    decoder: Decoder,
    games: Games,
    output: BufWriter<W>,
    line: String,
    shown: Shown,
}

impl<W: Write> Tail<'_, W> {
    fn is_done(&self) -> bool {
        self.options.count.is_some_and(|count| self.shown.events >= count)
    }

    fn count_missed(&mut self, missed: u64, tell: &mut impl FnMut(&str)) {
        if missed > self.shown.missed {
            let new = missed - self.shown.missed;
            tell(&format!("{new} events missed: they were overwritten before they were read"));
            self.shown.missed = missed;
        }
    }

    fn show(&mut self, copy: &FrameCopy) -> Result<(), TailError> {
        let types = &self.options.types;
        // The log begins with the frame that holds the event asked for.
        let first = match self.options.start {
            Start::Sequence(sequence) => sequence,
            Start::Earliest | Start::Latest => 0,
        };
        for (entry, bytes) in copy.events().filter(|(entry, _)| entry.sequence >= first) {
            if self.is_done() {
                break;
            }
            let wanted_type =
                types.is_empty() || types.iter().any(|filter| filter.takes(entry.event_type));
            if !wanted_type && !self.games.learns() {
                continue;
            }
            let event = self
                .decoder
                .decode(bytes)
                .map_err(|error| TailError::Decode(entry.sequence, error))?;
            // Every event teaches which key belongs to which id, also one that is not shown.
            if self.games.takes(entry.game_key, &event) && wanted_type {
                self.line.clear();
                json::write(&mut self.line, &event);
                self.output.write_all(self.line.as_bytes()).map_err(TailError::Output)?;
                self.shown.events += 1;
            }
        }
        Ok(())
    }
}
