//! What can go wrong, and what to do about it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why a log, a reader or the counters could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// There is no log (yet).
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The file is there and has not been finished; its maker is busy, or died.
    NotInitialised {
        /// The file.
        path: PathBuf,
    },
    /// Another layout version wrote it.
    WrongVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version this build writes and reads.
        expected: u32,
    },
    /// Shorter than its own head says.
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes it has.
        found: u64,
        /// Bytes it should have.
        expected: u64,
    },
    /// Not one of our files.
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that was noticed.
        reason: String,
    },
    /// The log's words contradict each other.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The directory cannot be trusted.
    UnsafeDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another service writes this log.
    InUse {
        /// The log.
        path: PathBuf,
        /// Its process id as that service told it; 0 while it is starting.
        pid: u32,
    },
    /// A living reader has this name.
    ReaderNameInUse {
        /// The name.
        name: String,
        /// Its process id as that reader told it.
        pid: u32,
    },
    /// Every slot has a living reader, or one within its lease.
    TableFull {
        /// Slots there are.
        slots: usize,
    },
    /// A size that differs from the existing log's, whose reliable readers have not read everything.
    SizeChanged {
        /// The log.
        path: PathBuf,
        /// Size and limits of the log that exists.
        found: String,
        /// What was asked for.
        wanted: String,
        /// The readers that would lose events.
        readers: Vec<String>,
    },
    /// The log before this one still has reliable readers; there can be one predecessor, not two.
    PredecessorInUse {
        /// The predecessor.
        path: PathBuf,
        /// Its readers.
        readers: Vec<String>,
    },
    /// The file system is too full.
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// An option that cannot be.
    Invalid {
        /// What is wrong with which option.
        reason: String,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Its answer.
        error: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path, error: impl Into<io::Error>) -> OpenError {
        OpenError::Io { action, path: path.into(), error: error.into() }
    }

    pub(crate) fn unsafe_directory(path: &Path, reason: impl Into<String>) -> OpenError {
        OpenError::UnsafeDirectory { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn foreign(path: &Path, reason: impl Into<String>) -> OpenError {
        OpenError::Foreign { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> OpenError {
        OpenError::Damaged { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> OpenError {
        OpenError::Invalid { reason: reason.into() }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Missing { path } => {
                write!(
                    f,
                    "{}: no log here; start the service (jimbot-mcp serve) or name its --shm-dir",
                    path.display()
                )
            }
            OpenError::NotInitialised { path } => write!(
                f,
                "{}: not finished; its service is still starting, or died doing so: start it again",
                path.display()
            ),
            OpenError::WrongVersion { path, found, expected } => write!(
                f,
                "{}: layout version {found}, this build has {expected}; use programs of one version, or start the service \
                 with --rotate-log to put the old log aside",
                path.display()
            ),
            OpenError::Truncated { path, found, expected } => write!(
                f,
                "{}: {found} bytes long instead of {expected}; something has cut it short: stop every reader and start \
                 the service with --rotate-log",
                path.display()
            ),
            OpenError::Foreign { path, reason } => {
                write!(
                    f,
                    "{}: not ours: {reason}; move it away or name another --shm-dir",
                    path.display()
                )
            }
            OpenError::Damaged { path, reason } => write!(
                f,
                "{}: damaged: {reason}; start the service with --rotate-log to put the log aside",
                path.display()
            ),
            OpenError::UnsafeDirectory { path, reason } => {
                write!(f, "{}: not safe to use: {reason}", path.display())
            }
            OpenError::InUse { path, pid: 0 } => write!(
                f,
                "{}: another service is just starting on this directory; stop it or name another --shm-dir",
                path.display()
            ),
            OpenError::InUse { path, pid } => write!(
                f,
                "{}: process {pid} writes this log; stop it or name another --shm-dir",
                path.display()
            ),
            OpenError::ReaderNameInUse { name, pid } => write!(
                f,
                "reader name {name:?} is in use by process {pid}; choose another name or stop that reader"
            ),
            OpenError::TableFull { slots } => write!(
                f,
                "all {slots} reader slots are taken by living readers or ones within their lease; stop one"
            ),
            OpenError::SizeChanged { path, found, wanted, readers } => write!(
                f,
                "{}: the log has {found}, asked for was {wanted}, and these reliable readers have not read everything: {}; \
                 let them finish, keep the old size, or start with --rotate-log (they then finish the old log and follow)",
                path.display(),
                readers.join(", ")
            ),
            OpenError::PredecessorInUse { path, readers } => write!(
                f,
                "{}: the log before this one is still being read by {}; let them finish before it is rotated again",
                path.display(),
                readers.join(", ")
            ),
            OpenError::NoSpace { path, needed, free } => write!(
                f,
                "{}: {needed} bytes are needed and {free} are free; make room, choose a smaller --log-size, or name \
                 another --shm-dir",
                path.display()
            ),
            OpenError::Invalid { reason } => f.write_str(reason),
            OpenError::Io { action, path, error } => {
                write!(f, "cannot {action} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why a reader could not read on.
#[derive(Debug)]
pub enum ReadError {
    /// The reader was made by a process that has since forked, and this is the child.
    Forked,
    /// A reliable reader was detached (it was dead for longer than its lease, or filled the log) and came too late for
    /// some events. It has rejoined: the next call goes on behind the gap, or tells of another.
    Detached {
        /// Sequence of the first event that was lost to it; 1 when all of the next log is gone, rotated and removed.
        first_missed: u64,
        /// How many it lost.
        missed: u64,
    },
    /// Another reader has taken this one's name over; this one is closed.
    TakenOver,
    /// The log cannot be read on; the reader is closed.
    Damaged {
        /// What does not fit.
        reason: String,
    },
    /// The log was sealed, and its successor could not be joined.
    Successor(Box<OpenError>),
    /// The operating system refused.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Forked => {
                f.write_str("this reader was opened in another process; open a reader of its own after the fork")
            }
            ReadError::Detached { first_missed, missed } => write!(
                f,
                "detached: {missed} events from sequence {first_missed} on were overwritten before they were read; read \
                 on to continue behind them"
            ),
            ReadError::TakenOver => f.write_str("another reader has taken over this name; open one under another name"),
            ReadError::Damaged { reason } => write!(f, "the log is damaged: {reason}"),
            ReadError::Successor(error) => write!(f, "the log was rotated, and the next one cannot be joined: {error}"),
            ReadError::Io(error) => write!(f, "cannot wait for events: {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Successor(error) => Some(error.as_ref()),
            ReadError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// A frame was overwritten while it was in use; what was read of it may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Sequence of the frame's first event.
    pub first_sequence: u64,
    /// Its events.
    pub events: u32,
}

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the batch of {} events from sequence {} on was overwritten while it was in use; copy batches first, read \
             faster, or join as a reliable reader",
            self.events, self.first_sequence
        )
    }
}

impl std::error::Error for Overrun {}
