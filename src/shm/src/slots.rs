//! The file `readers`: who reads, under which name, from where on.

use std::{fs::File, sync::atomic::Ordering, time::Duration};

use crate::{
    directory::{self, Directory},
    error::OpenError,
    fork::LockFile,
    layout::{LAYOUT_VERSION, NAME_BYTES, READER_SLOTS, READERS_MAGIC, REGISTRATION_BYTE, readers},
    lock,
    map::Mapping,
    protocol::{Claim, STATE_ACTIVE, STATE_DETACHED, STATE_FREE, Slot, TableHead},
};

/// How long a claim waits for another one to finish.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(5);

/// Slot option: not detached while its reader lives.
pub(crate) const OPTION_NEVER_DETACH: u32 = 1;

/// What a reader is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Guarantee {
    /// Never holds the writer; on being lapped learns the exact gap.
    #[default]
    Lossy,
    /// Holds the writer, resumes at its cursor: every event at least once.
    Reliable,
}

/// The table, mapped for writing, with the descriptor that carries this reader's or writer's locks.
#[derive(Debug)]
pub(crate) struct Table {
    mapping: Mapping,
    pub(crate) locks: LockFile,
}

impl Table {
    /// Makes an empty table for the log `log_epoch`, replacing what had the name.
    pub(crate) fn create(
        directory: &Directory,
        name: &str,
        log_epoch: u64,
    ) -> Result<Table, OpenError> {
        let path = directory.path_of(name);
        let file = directory.create_fresh(name)?;
        directory.allocate(name, &file, readers::FILE_BYTES)?;
        let mapping = Mapping::writable(&file, readers::FILE_BYTES)
            .map_err(|error| OpenError::io("map", &path, error))?;
        let head = mapping.table_head();
        let version_and_slots = (READER_SLOTS as u64) << 32 | u64::from(LAYOUT_VERSION);
        head.version_and_slots.store(version_and_slots, Ordering::Relaxed);
        head.log_epoch.store(log_epoch, Ordering::Relaxed);
        head.magic.store(READERS_MAGIC, Ordering::Release);
        Table::over(mapping, file).map_err(|error| OpenError::io("open", &path, error))
    }

    /// Opens a table that exists.
    pub(crate) fn open(directory: &Directory, name: &str) -> Result<Table, OpenError> {
        let path = directory.path_of(name);
        let file = directory
            .open_file(name, true)?
            .ok_or_else(|| OpenError::Missing { path: path.clone() })?;
        let size =
            directory::size(&file).map_err(|error| OpenError::io("look at", &path, error))?;
        if size == 0 {
            return Err(OpenError::NotInitialised { path });
        }
        if size < readers::FILE_BYTES {
            return Err(OpenError::Truncated { path, found: size, expected: readers::FILE_BYTES });
        }
        let mapping = Mapping::writable(&file, readers::FILE_BYTES)
            .map_err(|error| OpenError::io("map", &path, error))?;
        match mapping.table_head().magic.load(Ordering::Acquire) {
            READERS_MAGIC => {}
            0 => return Err(OpenError::NotInitialised { path }),
            _ => {
                return Err(OpenError::foreign(
                    &path,
                    "it does not begin with the magic of a table of readers",
                ));
            }
        }
        let found = mapping.table_head().version_and_slots.load(Ordering::Relaxed) as u32;
        if found != LAYOUT_VERSION {
            return Err(OpenError::WrongVersion { path, found, expected: LAYOUT_VERSION });
        }
        Table::over(mapping, file).map_err(|error| OpenError::io("open", &path, error))
    }

    fn over(mapping: Mapping, file: File) -> std::io::Result<Table> {
        Ok(Table { mapping, locks: LockFile::reopen(&file)? })
    }

    pub(crate) fn head(&self) -> &TableHead {
        self.mapping.table_head()
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        self.mapping.slots()
    }

    pub(crate) fn slot(&self, index: usize) -> &Slot {
        &self.slots()[index]
    }

    pub(crate) fn log_epoch(&self) -> u64 {
        self.head().log_epoch.load(Ordering::Relaxed)
    }

    /// Takes the lock under which slots are claimed and given back.
    pub(crate) fn register(&self) -> std::io::Result<Registration<'_>> {
        let file = self.file()?;
        if lock::lock_within(file, REGISTRATION_BYTE, REGISTRATION_PATIENCE)? {
            Ok(Registration { file })
        } else {
            Err(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "another reader has been joining for 5 s; it may be stopped: continue or end it",
            ))
        }
    }

    /// Tries to become the living owner of a slot.
    pub(crate) fn try_own(&self, index: usize) -> std::io::Result<bool> {
        lock::try_lock(self.file()?, slot_byte(index))
    }

    /// Whether a slot's reader lives (another open file than this one's has it locked).
    pub(crate) fn is_alive(&self, index: usize) -> bool {
        // A lock that cannot be looked at counts as held: nobody is declared dead by mistake.
        self.file().and_then(|file| lock::is_locked(file, slot_byte(index))).unwrap_or(true)
    }

    fn file(&self) -> std::io::Result<&File> {
        self.locks.file().ok_or_else(|| std::io::Error::other("opened in another process"))
    }
}

/// The registration lock, held.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    file: &'a File,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let unlocked = lock::unlock(self.file, REGISTRATION_BYTE);
        debug_assert!(unlocked.is_ok());
    }
}

fn slot_byte(index: usize) -> u64 {
    REGISTRATION_BYTE + 1 + index as u64
}

impl Slot {
    pub(crate) fn claim(&self) -> Claim {
        Claim::from_word(self.claim.load(Ordering::Acquire))
    }

    /// The name, with what is not UTF-8 replaced: others may have written it.
    pub(crate) fn name(&self) -> String {
        let mut bytes = [0; NAME_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&self.name) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    pub(crate) fn set_name(&self, name: &str) {
        let mut bytes = [0; NAME_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        for (chunk, word) in bytes.chunks_exact(8).zip(&self.name) {
            word.store(
                u64::from_le_bytes(chunk.try_into().expect("eight bytes")),
                Ordering::Relaxed,
            );
        }
    }
}

/// Checks a reader's name.
pub(crate) fn check_name(name: &str) -> Result<(), OpenError> {
    let fault = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_BYTES {
        "has more than 64 bytes"
    } else if name.chars().any(char::is_control) {
        "has control characters"
    } else {
        return Ok(());
    };
    Err(OpenError::invalid(format!("the reader name {name:?} {fault}; choose another")))
}

/// The slot of the reader `name`, free ones aside. Call it under the registration lock.
pub(crate) fn find(table: &Table, name: &str) -> Option<usize> {
    table.slots().iter().position(|slot| slot.claim().state != STATE_FREE && slot.name() == name)
}

/// Finds a slot for a new name and becomes its living owner: a free one; else that of the dead lossy reader heard of
/// longest ago; else the longest detached one. Call it under the registration lock.
pub(crate) fn take_any(table: &Table) -> Result<Option<usize>, std::io::Error> {
    let rank = |slot: &Slot| {
        let claim = slot.claim();
        match claim.state {
            STATE_FREE => Some((0, 0)),
            STATE_ACTIVE if !claim.reliable => {
                Some((1, slot.progress.beat_unix_ns.load(Ordering::Relaxed)))
            }
            STATE_DETACHED => Some((2, slot.detached_unix_ns.load(Ordering::Relaxed))),
            _ => None,
        }
    };
    let mut candidates: Vec<_> = table
        .slots()
        .iter()
        .enumerate()
        .filter_map(|(index, slot)| Some((rank(slot)?, index)))
        .collect();
    candidates.sort_unstable();
    for (_, index) in candidates {
        if table.try_own(index)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}
