//! Creating a log, or taking one over.

use std::{path::Path, sync::atomic::Ordering};

use super::{LogWriter, Recovery, readers::Watch, recovery};
use crate::{
    directory::{self, Directory},
    error::OpenError,
    file::{Constants, LogFile},
    fork::LockFile,
    layout::{self, MIN_FRAMES, PAGE_BYTES, control},
    lock,
    slots::Table,
    time::Now,
    wake::{self, WakeBudget},
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

    fn constants(&self, capacity: u64, predecessor: u64) -> Constants {
        Constants {
            log_epoch: u64::from_le_bytes(self.epoch_seed),
            created_unix_ns: self.now.unix_ns,
            capacity,
            max_batch_bytes: self.max_batch_bytes,
            max_batch_events: self.max_batch_events,
            id_key: self.id_key,
            predecessor,
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
        let lock = lock_log(&directory)?;
        let path = directory.path_of(directory::LOG);
        let file = lock.file().expect("locked in this process");
        match LogFile::open(&directory, directory::LOG, file, true) {
            Ok(log) => take_over(directory, lock, log, options),
            Err(OpenError::NotInitialised { .. }) => create(directory, lock, options),
            Err(error) => {
                debug_assert!(path.is_absolute() || !path.as_os_str().is_empty());
                Err(error)
            }
        }
    }
}

/// Opens `log`, making an empty file when there is none, and takes the write lock on it.
fn lock_log(directory: &Directory) -> Result<LockFile, OpenError> {
    let path = directory.path_of(directory::LOG);
    loop {
        let file = directory.open_or_create(directory::LOG)?;
        let lock = LockFile::new(file).map_err(|error| OpenError::io("open", &path, error))?;
        let file = lock.file().expect("opened in this process");
        if !lock::try_lock(file, 0).map_err(|error| OpenError::io("lock", &path, error))? {
            return Err(OpenError::InUse { path, pid: holder(file) });
        }
        // Between opening and locking, another service may have put a new file in its place.
        if directory.is_current(directory::LOG, file)? {
            return Ok(lock);
        }
    }
}

/// Process id that the holder of the lock has written; zero when it has not come to that.
fn holder(file: &std::fs::File) -> u32 {
    let mut pid = [0; 4];
    match std::os::unix::fs::FileExt::read_exact_at(file, &mut pid, control::WRITER_PID) {
        Ok(()) => u32::from_le_bytes(pid),
        Err(_) => 0,
    }
}

/// Makes a log in the empty file that is locked.
fn create(
    directory: Directory,
    lock: LockFile,
    options: &LogOptions,
) -> Result<LogWriter, OpenError> {
    let capacity = match options.capacity {
        Some(capacity) => capacity,
        None => options.default_capacity(directory.free_bytes()?),
    };
    let constants = options.constants(capacity, 0);
    let table = Table::create(&directory, directory::READERS, constants.log_epoch)?;
    let file = lock.file().expect("locked in this process");
    let log = LogFile::build(&directory, directory::LOG, file, constants)?;
    log.publish();
    Ok(start(directory, lock, log, table, options))
}

/// Goes on with the log that is there.
fn take_over(
    directory: Directory,
    lock: LockFile,
    log: LogFile,
    options: &LogOptions,
) -> Result<LogWriter, OpenError> {
    let wanted = options.constants(options.capacity.unwrap_or(log.constants.capacity), 0);
    let table = match Table::open(&directory, directory::READERS) {
        Ok(table) if table.log_epoch() == log.constants.log_epoch => table,
        Ok(_) | Err(OpenError::Missing { .. } | OpenError::NotInitialised { .. }) => {
            Table::create(&directory, directory::READERS, log.constants.log_epoch)?
        }
        Err(error) => return Err(error),
    };
    if wanted.describe_size() != log.constants.describe_size() || options.rotate {
        return Err(OpenError::SizeChanged {
            path: directory.path_of(directory::LOG),
            found: log.constants.describe_size(),
            wanted: wanted.describe_size(),
            readers: Vec::new(),
        });
    }
    let next_sequence = recovery::check(&directory, &log)?;
    let mut writer = start(directory, lock, log, table, options);
    writer.next_sequence = next_sequence;
    writer.recover(options.now);
    Ok(writer)
}

/// The writer over files that are ready.
fn start(
    directory: Directory,
    lock: LockFile,
    log: LogFile,
    table: Table,
    options: &LogOptions,
) -> LogWriter {
    let service = &log.control().service;
    let generation = service.generation.load(Ordering::Relaxed) + 1;
    service.generation.store(generation, Ordering::Relaxed);
    service.started_unix_ns.store(options.now.unix_ns, Ordering::Relaxed);
    service.reader_lease_ns.store(options.reader_lease_ns, Ordering::Relaxed);
    service.full_policy.store(options.full_policy as u32, Ordering::Relaxed);
    service.pid.store(std::process::id(), Ordering::Relaxed);
    let committed = log.control().committed.position.load(Ordering::Acquire);
    wake::wake_always(log.control(), table.head());
    LogWriter {
        directory,
        log,
        table,
        lock,
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
