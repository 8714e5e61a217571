//! From a sealed log to its successor.

use std::sync::atomic::Ordering;

use super::{
    LogReader, ReaderOptions, Start,
    join::{self, Arrival, Joined},
};
use crate::{
    directory::{self, Directory, archived},
    error::{OpenError, ReadError},
    file::{Constants, LogFile},
    slots::Table,
};

/// The log that a reader goes on with after the sealed one: its successor or, when that has been rotated and removed, the
/// oldest of the same line that is still there. `None`: the successor does not have its name yet.
fn find(
    directory: &Directory,
    sealed: &Constants,
    successor: u64,
) -> Result<Option<(LogFile, Table)>, OpenError> {
    let (log, table) = match join::open_files(directory) {
        Ok(files) => files,
        Err(OpenError::Missing { .. } | OpenError::NotInitialised { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = &log.constants;
    if found.log_epoch == sealed.log_epoch {
        return Ok(None);
    }
    if found.log_epoch == successor {
        return Ok(Some((log, table)));
    }
    // The successor was put aside, and with it the count of what was in it.
    if found.origin != sealed.origin {
        return Err(OpenError::Missing {
            path: directory.path_of(&archived(directory::LOG, successor)),
        });
    }
    let before = join::open_archived(directory, found.predecessor)?;
    Ok(Some(before.unwrap_or((log, table))))
}

impl LogReader {
    /// Joins the successor, or the log that goes on for it; false when it is not there yet.
    pub(super) fn follow(&mut self, successor: u64) -> Result<bool, ReadError> {
        let failed = |error| ReadError::Successor(Box::new(error));
        let directory = Directory::open(&self.directory).map_err(failed)?;
        let sealed = &self.shared.log;
        let Some((log, table)) = find(&directory, &sealed.constants, successor).map_err(failed)?
        else {
            self.successor_missing = true;
            return Ok(false);
        };
        // Sealed: nothing comes after it any more.
        let end = sealed.control().committed.sequence_before.load(Ordering::Relaxed);
        let left_before = sealed.constants.events_before + end - 1;
        // Events of logs between the two, which are gone.
        let skipped = log.constants.events_before.saturating_sub(left_before);
        // A lossy reader begins with the first event that there ever was; what is gone of it is its gap.
        let options = ReaderOptions { start: Start::Sequence(1), ..self.options.clone() };
        let (shared, joined) =
            join::join(log, table, &options, &self.directory, Arrival::Follows).map_err(failed)?;
        let Joined { position, sequence, gap, .. } = joined;
        // One that was lapped up to the very end has not counted that yet.
        self.missed_until(end);
        // The old slot goes when the last frame of the old log has been let go.
        self.shared.leaving.store(1, Ordering::Relaxed);
        self.shared = shared;
        self.successor_missing = false;
        self.position = position;
        self.expected = sequence;
        self.missed += skipped + gap;
        self.shared.slot().progress.missed.store(self.missed, Ordering::Relaxed);
        if options.guarantee == crate::Guarantee::Lossy {
            return Ok(true);
        }
        // One that was detached is told, a log at a time: sequences are those of one log.
        let told = (gap > 0).then_some((sequence - gap, gap));
        if skipped > 0 {
            self.resume_gap = told;
            return Err(ReadError::Detached { first_missed: 1, missed: skipped });
        }
        match told {
            Some((first_missed, missed)) => Err(ReadError::Detached { first_missed, missed }),
            None => Ok(true),
        }
    }
}
