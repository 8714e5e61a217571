//! Rotation: a new log takes the place of one that is sealed, and every reliable reader finishes the old one first.
//!
//! | step | files | killed after it |
//! |---|---|---|
//! | 1 | `log.new`, `readers.new` are made whole, with the reliable readers' names, and `log.new` is locked | the next start removes them |
//! | 2 | `log` is sealed and names the successor | the next start goes on with step 3 |
//! | 3 | `log.EPOCH` and `readers.EPOCH` are second names of the old files | the same |
//! | 4 | `readers.new` becomes `readers`, then `log.new` becomes `log` | done |
//!
//! A reader that opens the directory in between finds a log and a table of different epochs, and tries again. There is at
//! most one predecessor: it is removed when its last reliable reader has joined the log after it or been detached. A lossy
//! reader is not waited for: it goes on in the oldest log that is still there, and counts what was in those between.

use std::sync::atomic::Ordering;

use super::LogWriter;
use crate::{
    crash,
    directory::{self, Directory, archived},
    error::OpenError,
    file::{Constants, LogFile},
    fork::LockFile,
    lock,
    protocol::{self, STATE_ACTIVE, STATE_FREE},
    slots::Table,
    time::Now,
    wake,
};

/// Name of the log that is being made.
pub(super) const LOG_NEW: &str = "log.new";
/// Name of its table of readers.
pub(super) const READERS_NEW: &str = "readers.new";

/// The log before this one, while reliable readers are still reading it.
#[derive(Debug)]
pub(super) struct Predecessor {
    pub(super) log: LogFile,
    pub(super) table: Table,
}

impl Predecessor {
    /// The predecessor's files, if they are still there.
    pub(super) fn find(
        directory: &Directory,
        epoch: u64,
    ) -> Result<Option<Predecessor>, OpenError> {
        if epoch == 0 {
            return Ok(None);
        }
        let name = archived(directory::LOG, epoch);
        let Some(file) = directory.open_file(&name, true)? else { return Ok(None) };
        let log = LogFile::open(directory, &name, &file, true)?;
        match Table::open(directory, &archived(directory::READERS, epoch)) {
            Ok(table) => Ok(Some(Predecessor { log, table })),
            // Without its table nobody can be reading it by name.
            Err(OpenError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Slots of the reliable readers that have not finished it.
    fn unfinished(&self) -> impl Iterator<Item = usize> {
        unread(&self.log, &self.table)
    }

    /// Slots of the readers that are waited for before it is removed. `current` is the table of the log after it.
    ///
    /// They are those that have not finished it, and those that have and live, but have not joined the log after it: there
    /// their cursors hold what they are to read next, and from nowhere but here is it known that they live.
    fn waited_for(&self, current: &Table) -> Vec<usize> {
        let committed = protocol::committed(self.log.control());
        let waited_for = |index: &usize| {
            let (old, new) = (self.table.slot(*index), current.slot(*index));
            let (before, claim) = (old.claim(), new.claim());
            let promised = before.state != STATE_FREE
                && before.reliable
                && claim.reliable
                && claim.state == STATE_ACTIVE
                && new.name() == old.name();
            promised
                && (old.progress.cursor.load(Ordering::Acquire) < committed
                    || self.table.is_alive(*index) && !current.is_alive(*index))
        };
        (0..self.table.slots().len()).filter(waited_for).collect()
    }

    /// Removes the files.
    fn remove(&self, directory: &Directory) -> Result<(), OpenError> {
        let epoch = self.log.constants.log_epoch;
        directory.remove(&archived(directory::LOG, epoch))?;
        directory.remove(&archived(directory::READERS, epoch))
    }
}

/// Slots of reliable readers, detached ones too, that have not released all that is committed.
pub(super) fn unread(log: &LogFile, table: &Table) -> impl Iterator<Item = usize> {
    let committed = protocol::committed(log.control());
    table.slots().iter().enumerate().filter_map(move |(index, slot)| {
        let claim = slot.claim();
        let behind = slot.progress.cursor.load(Ordering::Acquire) < committed;
        (claim.state != STATE_FREE && claim.reliable && behind).then_some(index)
    })
}

fn names(table: &Table, slots: impl IntoIterator<Item = usize>) -> Vec<String> {
    slots.into_iter().map(|index| table.slot(index).name()).collect()
}

/// Names of the readers that have not read everything.
pub(super) fn unread_names(log: &LogFile, table: &Table) -> Vec<String> {
    names(table, unread(log, table))
}

/// A new log in the old one's place: its lock, its files.
pub(super) struct Rotated {
    pub(super) lock: LockFile,
    pub(super) log: LogFile,
    pub(super) table: Table,
}

/// Makes the successor of the log that `old` has open, and gives it the old one's name.
pub(super) fn rotate(old: &LogWriter, constants: Constants) -> Result<Rotated, OpenError> {
    let directory = &old.directory;
    let path = directory.path_of(LOG_NEW);
    // Nobody joins or leaves the old log between the copy of its names and the seal.
    let registration =
        old.table.register().map_err(|error| OpenError::io("lock the readers of", &path, error))?;
    let table = Table::create(directory, READERS_NEW, constants.log_epoch)?;
    copy_names(&old.table, &table);
    let file = directory.create_fresh(LOG_NEW)?;
    let lock = LockFile::reopen(&file).map_err(|error| OpenError::io("open", &path, error))?;
    let locks = lock.file().expect("opened in this process");
    if !lock::try_lock(locks, 0).map_err(|error| OpenError::io("lock", &path, error))? {
        return Err(OpenError::InUse { path, pid: 0 });
    }
    let log = LogFile::build(directory, LOG_NEW, &file, constants)?;
    log.publish();
    crash::point("rotate:built");
    protocol::seal(old.log.control(), log.constants.log_epoch);
    crash::point("rotate:sealed");
    rename(directory, old.log.constants.log_epoch)?;
    drop(registration);
    wake::wake_always(old.log.control(), old.table.head());
    Ok(Rotated { lock, log, table })
}

/// The reliable readers' slots, index for index, with their cursors at the new log's beginning.
fn copy_names(from: &Table, to: &Table) {
    let mut occupied = 0;
    for (index, (old, new)) in from.slots().iter().zip(to.slots()).enumerate() {
        let claim = old.claim();
        if claim.state == STATE_FREE || !claim.reliable {
            continue;
        }
        let copy = |from: &crate::sync::AtomicU64, to: &crate::sync::AtomicU64| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        for (old, new) in old.name.iter().zip(&new.name) {
            copy(old, new);
        }
        new.pid.store(old.pid.load(Ordering::Relaxed), Ordering::Relaxed);
        new.options.store(old.options.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&old.joined_unix_ns, &new.joined_unix_ns);
        copy(&old.detached_unix_ns, &new.detached_unix_ns);
        copy(&old.progress.missed, &new.progress.missed);
        copy(&old.progress.beat_unix_ns, &new.progress.beat_unix_ns);
        new.progress.next_sequence.store(1, Ordering::Relaxed);
        new.claim.store(claim.word(), Ordering::Release);
        occupied |= 1 << index;
    }
    to.head().occupied.0.store(occupied, Ordering::Release);
}

/// Steps 3 and 4; may be done again from the beginning.
fn rename(directory: &Directory, epoch: u64) -> Result<(), OpenError> {
    directory.link(directory::LOG, &archived(directory::LOG, epoch))?;
    crash::point("rotate:log-archived");
    let current = Table::open(directory, directory::READERS);
    if current.is_ok_and(|table| table.log_epoch() == epoch) {
        directory.link(directory::READERS, &archived(directory::READERS, epoch))?;
        crash::point("rotate:readers-archived");
        directory.rename(READERS_NEW, directory::READERS)?;
    }
    crash::point("rotate:readers-renamed");
    directory.rename(LOG_NEW, directory::LOG)
}

/// Goes on with a rotation whose service was killed after it had sealed `old`; gives the lock of the successor.
pub(super) fn complete(
    directory: &Directory,
    old: &LogFile,
    successor: u64,
) -> Result<LockFile, OpenError> {
    let path = directory.path_of(LOG_NEW);
    let file = directory.open_file(LOG_NEW, true)?.ok_or_else(|| {
        OpenError::damaged(
            &directory.path_of(directory::LOG),
            "it is sealed and its successor is gone",
        )
    })?;
    let lock = LockFile::reopen(&file).map_err(|error| OpenError::io("open", &path, error))?;
    let locks = lock.file().expect("opened in this process");
    if !lock::try_lock(locks, 0).map_err(|error| OpenError::io("lock", &path, error))? {
        return Err(OpenError::InUse { path, pid: 0 });
    }
    let log = LogFile::open(directory, LOG_NEW, &file, true)?;
    if log.constants.log_epoch != successor {
        return Err(OpenError::damaged(&path, "it is not the successor that the sealed log names"));
    }
    rename(directory, old.constants.log_epoch)?;
    Ok(lock)
}

/// Puts files that cannot be read aside, out of the way of a new log.
pub(super) fn put_aside(directory: &Directory, now: Now) -> Result<String, OpenError> {
    let aside = format!("aside-{}", now.unix_ns);
    let name = format!("{}.{aside}", directory::LOG);
    directory.rename(directory::LOG, &name)?;
    match directory.rename(directory::READERS, &format!("{}.{aside}", directory::READERS)) {
        Ok(()) => {}
        Err(OpenError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(name)
}

impl LogWriter {
    /// Whether the reader of a slot is alive in the log before this one, where it may still be reading.
    pub(super) fn is_alive_in_predecessor(&self, index: usize) -> bool {
        let Some(before) = &self.predecessor else { return false };
        before.table.slot(index).claim().state != STATE_FREE
            && before.table.slot(index).name() == self.table.slot(index).name()
            && before.table.is_alive(index)
    }

    /// Removes the log before this one when nobody who counts is reading it any more: each of its reliable readers has
    /// followed, or is past its lease.
    pub(super) fn check_predecessor(&mut self) {
        // What cannot be removed now is removed at the next look.
        let _still_read_or_stuck = self.finish_predecessor();
    }

    /// Removes the log before this one.
    ///
    /// # Errors
    /// When readers of it are waited for, or its files cannot be removed.
    pub(super) fn finish_predecessor(&mut self) -> Result<(), OpenError> {
        let Some(before) = &self.predecessor else { return Ok(()) };
        let waited_for = before.waited_for(&self.table);
        if !waited_for.is_empty() {
            let name = archived(directory::LOG, before.log.constants.log_epoch);
            let readers = names(&before.table, waited_for);
            return Err(OpenError::PredecessorInUse {
                path: self.directory.path_of(&name),
                readers,
            });
        }
        before.remove(&self.directory)?;
        // What they lose with it is counted where they find it when they come back.
        let end = before.log.control().committed.sequence_before.load(Ordering::Relaxed);
        for index in before.unfinished() {
            let (old, new) = (before.table.slot(index), self.table.slot(index));
            if old.name() == new.name() && !before.table.is_alive(index) {
                let lost = end.saturating_sub(old.progress.next_sequence.load(Ordering::Relaxed));
                new.progress.missed.fetch_add(lost, Ordering::Relaxed);
            }
        }
        self.predecessor = None;
        Ok(())
    }
}
