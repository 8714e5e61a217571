//! A small file beside the log: what the service knows of producers, and the ring may have forgotten.
//!
//! It is written to a new file that then takes the old one's name. A process killed at any store leaves one of the two,
//! whole; what it leaves of a new one is removed with the next. Nobody maps the file, so a full file system is an error
//! of the write. To shared memory nothing waits for a disk, and nothing needs a sync: the file, like the log, is there
//! as long as the host runs.

use std::io::{Read, Write};

use super::LogWriter;
use crate::{
    directory::{self, PRODUCERS},
    error::OpenError,
};

const PRODUCERS_NEW: &str = "producers.new";

impl LogWriter {
    /// The epoch of the first log of this one's line of rotations.
    pub fn origin(&self) -> u64 {
        self.log.constants.origin
    }

    /// Position behind the last committed frame: how many bytes of the ring have been written, all laps together.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// The bytes that [`replace_producers`](LogWriter::replace_producers) kept last; `None` when it never has.
    ///
    /// # Errors
    /// When the file is not ours, has more than `most` bytes, or cannot be read.
    pub fn read_producers(&self, most: u64) -> Result<Option<Vec<u8>>, OpenError> {
        let path = self.directory.path_of(PRODUCERS);
        let Some(file) = self.directory.open_file(PRODUCERS, false)? else { return Ok(None) };
        let size =
            directory::size(&file).map_err(|error| OpenError::io("look at", &path, error))?;
        if size > most {
            return Err(OpenError::foreign(
                &path,
                format!("its {size} bytes are more than {most}"),
            ));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(|error| OpenError::io("read", &path, error))?;
        Ok(Some(bytes))
    }

    /// Keeps these bytes beside the log in place of the last ones.
    ///
    /// # Errors
    /// When the file system is full, or the file cannot be written; the last ones are then still there.
    pub fn replace_producers(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        let mut file = self.directory.create_fresh(PRODUCERS_NEW)?;
        let written = file
            .write_all(bytes)
            .map_err(|error| OpenError::io("write", &self.directory.path_of(PRODUCERS_NEW), error));
        if let Err(error) = written {
            // What was written of it would take the room that it lacks; the failure itself is what the caller learns.
            let _ = self.directory.remove(PRODUCERS_NEW);
            return Err(error);
        }
        self.directory.rename(PRODUCERS_NEW, PRODUCERS)
    }
}
