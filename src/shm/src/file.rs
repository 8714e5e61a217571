//! The file `log`: how it is made, and the states in which it can be found.

use std::{fs::File, os::unix::fs::FileExt, path::Path, sync::atomic::Ordering};

use crate::{
    directory::{self, Directory},
    error::OpenError,
    frame::{FrameHeader, FrameLimits},
    layout::{self, LAYOUT_VERSION, LOG_MAGIC, MIN_FRAMES, PAGE_BYTES, constants},
    map::Mapping,
    protocol::{self, Control},
};

/// What the constants page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constants {
    pub(crate) log_epoch: u64,
    pub(crate) created_unix_ns: u64,
    pub(crate) capacity: u64,
    pub(crate) max_batch_bytes: u32,
    pub(crate) max_batch_events: u32,
    pub(crate) id_key: [u8; 16],
    pub(crate) predecessor: u64,
    pub(crate) origin: u64,
    pub(crate) events_before: u64,
}

impl Constants {
    pub(crate) fn ring_offset(&self) -> u64 {
        layout::ring_offset(self.max_batch_events)
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.ring_offset() + self.capacity
    }

    pub(crate) fn max_frame(&self) -> u64 {
        layout::max_frame(self.max_batch_bytes, self.max_batch_events)
    }

    pub(crate) fn frame_limits(&self) -> FrameLimits {
        FrameLimits {
            capacity: self.capacity,
            max_batch_bytes: self.max_batch_bytes,
            max_batch_events: self.max_batch_events,
            max_frame: self.max_frame(),
        }
    }

    /// Size and limits, for people.
    pub(crate) fn describe_size(&self) -> String {
        format!(
            "{} bytes with batches of at most {} bytes and {} events",
            self.capacity, self.max_batch_bytes, self.max_batch_events
        )
    }

    /// What is wrong with the limits or the capacity.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.max_batch_bytes == 0 || self.max_batch_bytes > layout::MAX_BATCH_BYTES_LIMIT {
            let limit = layout::MAX_BATCH_BYTES_LIMIT;
            return Some(format!(
                "max_batch_bytes is {}, must be 1 to {limit}",
                self.max_batch_bytes
            ));
        }
        if self.max_batch_events == 0 || self.max_batch_events > layout::MAX_BATCH_EVENTS_LIMIT {
            let limit = layout::MAX_BATCH_EVENTS_LIMIT;
            return Some(format!(
                "max_batch_events is {}, must be 1 to {limit}",
                self.max_batch_events
            ));
        }
        let least = MIN_FRAMES * self.max_frame();
        if self.capacity < least || self.capacity > layout::CAPACITY_LIMIT {
            let limit = layout::CAPACITY_LIMIT;
            return Some(format!(
                "the capacity is {} bytes, must be {least} to {limit}",
                self.capacity
            ));
        }
        (!self.capacity.is_multiple_of(PAGE_BYTES)).then(|| {
            format!("the capacity is {} bytes, must be a multiple of {PAGE_BYTES}", self.capacity)
        })
    }
}

/// A mapped log, ready.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) mapping: Mapping,
    pub(crate) constants: Constants,
    pub(crate) limits: FrameLimits,
    ring_offset: u64,
}

impl LogFile {
    /// Allocates and fills a new file. Its magic is still missing: see [`publish`](LogFile::publish).
    pub(crate) fn build(
        directory: &Directory,
        name: &str,
        file: &File,
        constants: Constants,
    ) -> Result<LogFile, OpenError> {
        let path = directory.path_of(name);
        if let Some(reason) = constants.fault() {
            return Err(OpenError::invalid(reason));
        }
        let bytes = constants.file_bytes();
        directory.allocate(name, file, bytes)?;
        // One that was begun with other sizes may be longer. Nobody has mapped more of it than its magic.
        file.set_len(bytes).map_err(|error| OpenError::io("cut", &path, error))?;
        let mapping =
            Mapping::writable(file, bytes).map_err(|error| OpenError::io("map", &path, error))?;
        let word = |offset, value| mapping.word(offset).store(value, Ordering::Relaxed);
        let half = |offset, value| mapping.half_word(offset).store(value, Ordering::Relaxed);
        half(constants::LAYOUT_VERSION, LAYOUT_VERSION);
        half(constants::HEADER_BYTES, layout::header::BYTES as u32);
        word(constants::LOG_EPOCH, constants.log_epoch);
        word(constants::CREATED_UNIX_NS, constants.created_unix_ns);
        word(constants::CAPACITY, constants.capacity);
        word(constants::RING_OFFSET, constants.ring_offset());
        word(constants::STAGE_OFFSET, layout::STAGE_OFFSET);
        word(constants::FILE_BYTES, bytes);
        half(constants::MAX_BATCH_BYTES, constants.max_batch_bytes);
        half(constants::MAX_BATCH_EVENTS, constants.max_batch_events);
        word(constants::MAX_FRAME, constants.max_frame());
        let key = u128::from_le_bytes(constants.id_key);
        word(constants::ID_KEY, key as u64);
        word(constants::ID_KEY + 8, (key >> 64) as u64);
        word(constants::PREDECESSOR, constants.predecessor);
        word(constants::ORIGIN, constants.origin);
        word(constants::EVENTS_BEFORE, constants.events_before);
        let log = LogFile::over(mapping, constants);
        // The first event has sequence 1, so that 0 can mean "none".
        log.control().committed.sequence_before.store(1, Ordering::Relaxed);
        log.control().committed.sequence_after.store(1, Ordering::Relaxed);
        // No frame starts at u64::MAX, so nothing is taken for an open frame.
        log.control().open_pos.0.store(u64::MAX, Ordering::Relaxed);
        Ok(log)
    }

    /// Stores the magic: from now on the file is a log.
    pub(crate) fn publish(&self) {
        self.mapping.word(constants::MAGIC).store(LOG_MAGIC, Ordering::Release);
    }

    /// Maps a file that was found.
    pub(crate) fn open(
        directory: &Directory,
        name: &str,
        file: &File,
        write: bool,
    ) -> Result<LogFile, OpenError> {
        let path = directory.path_of(name);
        let size = directory::size(file).map_err(|error| OpenError::io("look at", &path, error))?;
        if size < 3 * PAGE_BYTES {
            return Err(short_file(&path, file, size));
        }
        let map =
            if write { Mapping::writable(file, size) } else { Mapping::read_only(file, size) };
        let mapping = map.map_err(|error| OpenError::io("map", &path, error))?;
        let magic = mapping.word(constants::MAGIC).load(Ordering::Acquire);
        check_magic(&path, magic)?;
        let word = |offset| mapping.word(offset).load(Ordering::Relaxed);
        let half = |offset| mapping.half_word(offset).load(Ordering::Relaxed);
        let found = half(constants::LAYOUT_VERSION);
        if found != LAYOUT_VERSION {
            return Err(OpenError::WrongVersion { path, found, expected: LAYOUT_VERSION });
        }
        let expected = word(constants::FILE_BYTES);
        if size < expected {
            return Err(OpenError::Truncated { path, found: size, expected });
        }
        let id_key =
            u128::from(word(constants::ID_KEY + 8)) << 64 | u128::from(word(constants::ID_KEY));
        let constants = Constants {
            log_epoch: word(constants::LOG_EPOCH),
            created_unix_ns: word(constants::CREATED_UNIX_NS),
            capacity: word(constants::CAPACITY),
            max_batch_bytes: half(constants::MAX_BATCH_BYTES),
            max_batch_events: half(constants::MAX_BATCH_EVENTS),
            id_key: id_key.to_le_bytes(),
            predecessor: word(constants::PREDECESSOR),
            origin: word(constants::ORIGIN),
            events_before: word(constants::EVENTS_BEFORE),
        };
        let same = [
            (u64::from(half(constants::HEADER_BYTES)), layout::header::BYTES),
            (word(constants::STAGE_OFFSET), layout::STAGE_OFFSET),
        ];
        if same.iter().any(|(found, expected)| found != expected) {
            return Err(OpenError::damaged(
                &path,
                "the constants page has offsets of no known layout",
            ));
        }
        if let Some(reason) = constants.fault() {
            return Err(OpenError::damaged(&path, reason));
        }
        let sizes = [
            (word(constants::RING_OFFSET), constants.ring_offset()),
            (word(constants::MAX_FRAME), constants.max_frame()),
            (expected, constants.file_bytes()),
            (size, expected),
        ];
        if let Some((found, expected)) = sizes.iter().find(|(found, expected)| found != expected) {
            return Err(OpenError::damaged(
                &path,
                format!("a size is {found} that should be {expected}"),
            ));
        }
        Ok(LogFile::over(mapping, constants))
    }

    fn over(mapping: Mapping, constants: Constants) -> LogFile {
        let limits = constants.frame_limits();
        let ring_offset = constants.ring_offset();
        LogFile { mapping, constants, limits, ring_offset }
    }

    pub(crate) fn control(&self) -> &Control {
        self.mapping.control()
    }

    /// Offset in the file of the byte at `position`.
    pub(crate) fn offset_of(&self, position: u64) -> u64 {
        self.ring_offset + position % self.constants.capacity
    }

    /// Offset in the file of the payload of the frame at `position`, which lies in one piece.
    pub(crate) fn payload_offset(&self, position: u64) -> u64 {
        self.offset_of(position) + layout::header::BYTES
    }

    /// Start of the lap after the one `position` is in.
    pub(crate) fn next_lap(&self, position: u64) -> u64 {
        (position / self.constants.capacity + 1) * self.constants.capacity
    }

    /// The header at `position`, which is a multiple of 64, copied and checked. `Ok(None)`: it was overwritten.
    pub(crate) fn header(&self, position: u64) -> Result<Option<FrameHeader>, String> {
        let mut words = [0; 8];
        self.mapping.copy_words(self.offset_of(position), &mut words);
        if !protocol::intact(self.control(), position, self.constants.capacity) {
            return Ok(None);
        }
        FrameHeader::from_words(&words, position, &self.limits).map(Some)
    }
}

fn check_magic(path: &Path, magic: u64) -> Result<(), OpenError> {
    match magic {
        LOG_MAGIC => Ok(()),
        0 => Err(OpenError::NotInitialised { path: path.into() }),
        _ => Err(OpenError::foreign(path, "it does not begin with the log's magic")),
    }
}

fn short_file(path: &Path, file: &File, size: u64) -> OpenError {
    let mut head = [0; 8];
    if size < head.len() as u64 {
        return match size {
            0 => OpenError::NotInitialised { path: path.into() },
            _ => OpenError::foreign(path, "it is shorter than the log's magic"),
        };
    }
    if let Err(error) = file.read_exact_at(&mut head, 0) {
        return OpenError::io("read", path, error);
    }
    match check_magic(path, u64::from_le_bytes(head)) {
        Err(error) => error,
        Ok(()) => OpenError::Truncated { path: path.into(), found: size, expected: 3 * PAGE_BYTES },
    }
}

/// What a log says about itself to one who only looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// The log's epoch.
    pub log_epoch: u64,
    /// Bytes of its ring.
    pub capacity: u64,
    /// Most payload bytes of a frame.
    pub max_batch_bytes: u32,
    /// Most events of a frame.
    pub max_batch_events: u32,
    /// When it was created, nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// Services that have written it.
    pub generation: u64,
    /// Process id of the last of them, as it told it.
    pub writer_pid: u32,
    /// Whether a service has it open now.
    pub writer_alive: bool,
    /// Position behind the last committed frame.
    pub committed: u64,
    /// Position of the oldest intact frame.
    pub oldest: u64,
    /// Sequence the next commit starts with, as far as it is known.
    pub next_sequence: u64,
    /// Epoch of the log that goes on, once this one is sealed.
    pub successor: Option<u64>,
}

/// Looks at the log in `directory` without joining it.
///
/// # Errors
/// When there is no log, or it is not ready, or not ours.
pub fn inspect(directory: &Path) -> Result<LogInfo, OpenError> {
    let directory = Directory::open(directory)?;
    let path = directory.path_of(directory::LOG);
    let file = directory
        .open_file(directory::LOG, false)?
        .ok_or_else(|| OpenError::Missing { path: path.clone() })?;
    let log = LogFile::open(&directory, directory::LOG, &file, false)?;
    let writer_alive =
        crate::lock::is_locked(&file, 0).map_err(|error| OpenError::io("look at", &path, error))?;
    let control = log.control();
    Ok(LogInfo {
        log_epoch: log.constants.log_epoch,
        capacity: log.constants.capacity,
        max_batch_bytes: log.constants.max_batch_bytes,
        max_batch_events: log.constants.max_batch_events,
        created_unix_ns: log.constants.created_unix_ns,
        generation: control.service.generation.load(Ordering::Relaxed),
        writer_pid: control.service.pid.load(Ordering::Relaxed),
        writer_alive,
        committed: protocol::committed(control),
        oldest: control.oldest.0.load(Ordering::Acquire),
        next_sequence: control.committed.sequence_before.load(Ordering::Relaxed),
        successor: protocol::sealed(control),
    })
}
