//! Creating a log, or taking one over.

use std::{fs::File, path::Path, sync::atomic::Ordering};

use super::{
    LogWriter, Recovery,
    readers::Watch,
    recovery,
    rotate::{self, Predecessor, Rotated},
};
use crate::{
    directory::{self, Directory},
    error::OpenError,
    file::{Constants, LogFile},
    fork::LockFile,
    layout::{self, MIN_FRAMES, PAGE_BYTES, control},
    lock, protocol,
    slots::Table,
    time::Now,
    wake::WakeBudget,
};

/// What is done about a living reliable reader that fills the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FullPolicy {
    /// It holds the writer; producers are told to wait.
    #[default]
    Hold,
    /// It is detached, and told exactly what it lost.
    Detach,
}

/// How to open a log for writing.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes of the ring, a multiple of 4096. `None`: as large as the existing log, or
    /// [`default_capacity`](LogOptions::default_capacity) for a new one.
    pub capacity: Option<u64>,
    /// Most payload bytes of a frame.
    pub max_batch_bytes: u32,
    /// Most events of a frame.
    pub max_batch_events: u32,
    /// How long a dead reliable reader goes on holding the writer, in nanoseconds.
    pub reader_lease_ns: u64,
    /// What is done about a living one that fills the log.
    pub full_policy: FullPolicy,
    /// Seal the existing log and begin another.
    pub rotate: bool,
    /// 64 random bits: the epoch of a log that is created. Not zero.
    pub epoch_seed: [u8; 8],
    /// 128 random bits: key of the index entries' `id_hash` in a log that is created.
    pub id_key: [u8; 16],
    /// The time.
    pub now: Now,
}

impl Default for LogOptions {
    /// Limits as the service has them by default. The seeds are left to be filled in.
    fn default() -> LogOptions {
        LogOptions {
            capacity: None,
            max_batch_bytes: 1 << 20,
            max_batch_events: 4096,
            reader_lease_ns: 30_000_000_000,
            full_policy: FullPolicy::Hold,
            rotate: false,
            epoch_seed: [0; 8],
            id_key: [0; 16],
            now: Now::default(),
        }
    }
}

impl LogOptions {
    /// The capacity that a new log gets when none is asked for: 256 MiB, at most a quarter of `free_bytes`, at least eight
    /// frames of the largest size.
    pub fn default_capacity(&self, free_bytes: u64) -> u64 {
        let least = MIN_FRAMES * layout::max_frame(self.max_batch_bytes, self.max_batch_events);
        let most = layout::DEFAULT_CAPACITY.min(free_bytes / 4) / PAGE_BYTES * PAGE_BYTES;
        most.max(least.next_multiple_of(PAGE_BYTES))
    }

    /// Constants of a log that is the first of its line.
    pub(super) fn constants(&self, capacity: u64) -> Constants {
        let log_epoch = u64::from_le_bytes(self.epoch_seed);
        Constants {
            log_epoch,
            created_unix_ns: self.now.unix_ns,
            capacity,
            max_batch_bytes: self.max_batch_bytes,
            max_batch_events: self.max_batch_events,
            id_key: self.id_key,
            predecessor: 0,
            origin: log_epoch,
            events_before: 0,
        }
    }
}

impl LogWriter {
    /// Creates the log in `directory`, or takes over the one that is there and recovers what its service left.
    ///
    /// # Errors
    /// When the directory cannot be trusted, another service writes the log, its files are of another size or version or
    /// damaged, or the file system is too full. The message says what to do.
    pub fn open(directory: &Path, options: &LogOptions) -> Result<LogWriter, OpenError> {
        if options.epoch_seed == [0; 8] {
            return Err(OpenError::invalid("epoch_seed is zero; fill it with random bytes"));
        }
        let directory = Directory::create(directory)?;
        let mut aside = None;
        loop {
            let (file, lock) = lock_log(&directory)?;
            let found = LogFile::open(&directory, directory::LOG, &file, true).and_then(|log| {
                recovery::check(&directory, &log).map(|next_sequence| (log, next_sequence))
            });
            let (log, next_sequence) = match found {
                Ok(found) => found,
                Err(OpenError::NotInitialised { .. }) => {
                    return create(directory, &file, lock, options, aside);
                }
                Err(
                    OpenError::WrongVersion { .. }
                    | OpenError::Truncated { .. }
                    | OpenError::Damaged { .. },
                ) if options.rotate && aside.is_none() => {
                    aside = Some(rotate::put_aside(&directory, options.now)?);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(successor) = protocol::sealed(log.control()) {
                // The service that sealed it was killed before the successor had its name.
                drop(rotate::complete(&directory, &log, successor)?);
                continue;
            }
            directory.remove(rotate::LOG_NEW)?;
            directory.remove(rotate::READERS_NEW)?;
            return take_over(directory, lock, log, next_sequence, options);
        }
    }
}

/// Opens `log`, making an empty file when there is none, and takes the write lock on it.
fn lock_log(directory: &Directory) -> Result<(File, LockFile), OpenError> {
    let path = directory.path_of(directory::LOG);
    loop {
        let file = directory.open_or_create(directory::LOG)?;
        let lock = LockFile::reopen(&file).map_err(|error| OpenError::io("open", &path, error))?;
        let locks = lock.file().expect("opened in this process");
        if !lock::try_lock(locks, 0).map_err(|error| OpenError::io("lock", &path, error))? {
            return Err(OpenError::InUse { path, pid: holder(&file) });
        }
        // Between opening and locking, another service may have put a new file in its place.
        if directory.is_current(directory::LOG, &file)? {
            return Ok((file, lock));
        }
    }
}

/// Process id that the holder of the lock has written; zero when it has not come to that.
fn holder(file: &File) -> u32 {
    let mut pid = [0; 4];
    match std::os::unix::fs::FileExt::read_exact_at(file, &mut pid, control::WRITER_PID) {
        Ok(()) => u32::from_le_bytes(pid),
        Err(_) => 0,
    }
}

/// Makes a log in the empty file that is locked.
fn create(
    directory: Directory,
    file: &File,
    lock: LockFile,
    options: &LogOptions,
    aside: Option<String>,
) -> Result<LogWriter, OpenError> {
    let capacity = match options.capacity {
        Some(capacity) => capacity,
        None => options.default_capacity(directory.free_bytes()?),
    };
    let constants = options.constants(capacity);
    let built =
        Table::create(&directory, directory::READERS, constants.log_epoch).and_then(|table| {
            Ok((table, LogFile::build(&directory, directory::LOG, file, constants)?))
        });
    let (table, log) = match built {
        Ok(built) => built,
        Err(error) => {
            // Nothing was promised yet: leave nothing behind that takes memory or looks like a log.
            directory.remove(directory::LOG)?;
            directory.remove(directory::READERS)?;
            return Err(error);
        }
    };
    log.publish();
    let mut writer = start(directory, lock, log, table, None, options);
    writer.recovery.put_aside = aside;
    Ok(writer)
}

/// Goes on with the log that is there, or rotates it.
fn take_over(
    directory: Directory,
    lock: LockFile,
    log: LogFile,
    next_sequence: u64,
    options: &LogOptions,
) -> Result<LogWriter, OpenError> {
    let table = match Table::open(&directory, directory::READERS) {
        Ok(table) if table.log_epoch() == log.constants.log_epoch => table,
        Ok(_) | Err(OpenError::Missing { .. } | OpenError::NotInitialised { .. }) => {
            Table::create(&directory, directory::READERS, log.constants.log_epoch)?
        }
        Err(error) => return Err(error),
    };
    let predecessor = Predecessor::find(&directory, log.constants.predecessor)?;
    let least = options.default_capacity(0);
    let capacity = options.capacity.unwrap_or(log.constants.capacity.max(least));
    let wanted = options.constants(capacity);
    let found = log.constants.describe_size();
    let resized = wanted.describe_size() != found;
    if resized && let Some(reason) = wanted.fault() {
        return Err(OpenError::invalid(reason));
    }
    let mut writer = start(directory, lock, log, table, predecessor, options);
    writer.next_sequence = next_sequence;
    writer.recover(options.now);
    if !resized && !options.rotate {
        return Ok(writer);
    }
    let readers = rotate::unread_names(&writer.log, &writer.table);
    if !options.rotate && !readers.is_empty() {
        let path = writer.directory.path_of(directory::LOG);
        return Err(OpenError::SizeChanged {
            path,
            found,
            wanted: wanted.describe_size(),
            readers,
        });
    }
    writer.rotate(wanted)
}

impl LogWriter {
    /// Goes on in a new log, after everything that is stored has been committed to this one.
    fn rotate(mut self, constants: Constants) -> Result<LogWriter, OpenError> {
        self.finish_predecessor()?;
        let before = &self.log.constants;
        let constants = Constants {
            predecessor: before.log_epoch,
            origin: before.origin,
            events_before: before.events_before + self.next_sequence - 1,
            ..constants
        };
        let Rotated { lock, log, table } = rotate::rotate(&self, constants)?;
        let old_log = std::mem::replace(&mut self.log, log);
        let old_table = std::mem::replace(&mut self.table, table);
        self.lock = lock;
        self.predecessor = Some(Predecessor { log: old_log, table: old_table });
        self.recovery.rotated = true;
        self.generation = announce(&self.log, &self.options);
        self.committed = 0;
        self.next_sequence = 1;
        self.frame = None;
        self.watch = Watch::default();
        Ok(self)
    }
}

/// Writes into the control page who writes the log now; gives the generation.
fn announce(log: &LogFile, options: &LogOptions) -> u64 {
    let service = &log.control().service;
    let generation = service.generation.load(Ordering::Relaxed) + 1;
    service.generation.store(generation, Ordering::Relaxed);
    service.started_unix_ns.store(options.now.unix_ns, Ordering::Relaxed);
    service.reader_lease_ns.store(options.reader_lease_ns, Ordering::Relaxed);
    service.full_policy.store(options.full_policy as u32, Ordering::Relaxed);
    service.pid.store(std::process::id(), Ordering::Relaxed);
    generation
}

/// The writer over files that are ready.
fn start(
    directory: Directory,
    lock: LockFile,
    log: LogFile,
    table: Table,
    predecessor: Option<Predecessor>,
    options: &LogOptions,
) -> LogWriter {
    log.mapping.prefault();
    let generation = announce(&log, options);
    let committed = log.control().committed.position.load(Ordering::Acquire);
    LogWriter {
        directory,
        log,
        table,
        lock,
        predecessor,
        options: options.clone(),
        generation,
        recovery: Recovery::default(),
        committed,
        next_sequence: 1,
        frame: None,
        budget: WakeBudget::default(),
        watch: Watch::default(),
    }
}
