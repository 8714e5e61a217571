//! From a sealed log to its successor.

use std::sync::atomic::Ordering;

use super::{
    LogReader, ReaderOptions, Start,
    join::{self, Joined},
};
use crate::{
    directory::{self, Directory, archived},
    error::{OpenError, ReadError},
    file::LogFile,
    slots::Table,
};

/// The files of the log `epoch`, under the current names or, when it has itself been rotated, under those it has now.
/// `None`: the successor does not have its name yet.
fn find(
    directory: &Directory,
    epoch: u64,
    sealed_epoch: u64,
) -> Result<Option<(LogFile, Table)>, OpenError> {
    let (log, table) = match join::open_files(directory) {
        Ok(files) => files,
        Err(OpenError::Missing { .. } | OpenError::NotInitialised { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    match log.constants.log_epoch {
        found if found == epoch => Ok(Some((log, table))),
        found if found == sealed_epoch => Ok(None),
        _ => match join::open_archived(directory, epoch)? {
            Some(files) => Ok(Some(files)),
            None => Err(OpenError::Missing {
                path: directory.path_of(&archived(directory::LOG, epoch)),
            }),
        },
    }
}

impl LogReader {
    /// Joins the successor; false when it is not there yet.
    pub(super) fn follow(&mut self, successor: u64) -> Result<bool, ReadError> {
        let failed = |error| ReadError::Successor(Box::new(error));
        let directory = Directory::open(&self.directory).map_err(failed)?;
        let Some((log, table)) = find(&directory, successor, self.log_epoch()).map_err(failed)?
        else {
            self.successor_missing = true;
            return Ok(false);
        };
        // A lossy reader begins with the first event that there ever was; what is gone of it is its gap.
        let options = ReaderOptions { start: Start::Sequence(1), ..self.options.clone() };
        let (shared, joined) = join::join(log, table, &options, &self.directory).map_err(failed)?;
        let Joined { position, sequence, gap, .. } = joined;
        // The old slot goes when the last frame of the old log has been let go.
        self.shared.leaving.store(1, Ordering::Relaxed);
        self.shared = shared;
        self.successor_missing = false;
        self.position = position;
        self.expected = sequence;
        self.missed += gap;
        self.shared.slot().progress.missed.store(self.missed, Ordering::Relaxed);
        if gap > 0 && options.guarantee == crate::Guarantee::Reliable {
            return Err(ReadError::Detached { first_missed: sequence - gap, missed: gap });
        }
        Ok(true)
    }
}
