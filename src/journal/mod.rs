//! A journal on disk: runs of events appended in order, read from any position, trimmed at its old end.
//!
//! The embedded store of the Event Bus and the forwarder's spill are both one of these. It is a directory of segment
//! files (`format.rs`), one of which is being written. Every record carries a checksum; every segment starts with a
//! snapshot of what its owner knows beside the events (cursors, publishers' sequences), so that removing old segments
//! removes nothing but events, and start reads one segment and not all.
//!
//! Why not a library: the stores that were tried either lose or damage what was written but not flushed when the process
//! is killed (redb has no such level, LMDB without sync may corrupt), or hold the writer while they flush, hold
//! a multiple of the memory that the bus may take, and cut off damaged journals without a word (fjall). See
//! `docs/event-bus.md`.
//!
//! Durability has two steps. [`Journal::append`] returns when the bytes are in the file: they survive the process.
//! [`Syncer::sync`] flushes from another thread, without holding the writer up, and then notes in the *mark* how far
//! the disk is sure to have everything. At the next start, an incomplete record behind the mark is the tail that was being
//! written, and is cut off; one before it is damage, and opening fails unless loss is accepted.

mod format;
mod open;
mod segment;

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use jimbot_core::time::Now;

pub use format::{Kind, VERSION};
use format::{Mark, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader};
pub use segment::Record;
use segment::{Segment, Step, Window};

/// Position of the first event of a new journal.
pub const FIRST_POSITION: u64 = 1;

/// How a journal is laid out.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed when it has this many bytes.
    pub segment_bytes: u64,
    /// Open although events are missing or damaged.
    pub accept_loss: bool,
}

/// How much is kept. Whole segments go, so up to one segment less than the limit is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bytes on disk.
    pub bytes: u64,
    /// Events.
    pub events: u64,
    /// Time since events were stored, in nanoseconds.
    pub age_ns: u64,
}

/// Why a journal can't be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    InUse(PathBuf),
    /// Written by a newer program.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout version.
        version: u32,
    },
    /// Durable events are missing or damaged.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The file system failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse(path) => {
                write!(f, "{} is in use by another process", path.display())
            }
            OpenError::Newer { path, version } => write!(
                f,
                "{} has layout version {version}, this program reads up to {VERSION}: start the newer program, or name another directory",
                path.display()
            ),
            OpenError::Damaged { path, offset, reason } => write!(
                f,
                "{} is damaged at byte {offset}: {reason}. Restore the directory from a copy, or start once with --accept-loss to go on with what is intact",
                path.display()
            ),
            OpenError::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

/// Why nothing was appended.
#[derive(Debug)]
pub enum AppendError {
    /// No room on the disk. Room may come; nothing else is wrong.
    Full(io::Error),
    /// Writing or flushing failed in another way: nothing more is taken until the journal is opened again, because what the
    /// disk holds is no longer known.
    Failed(String),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Full(error) => write!(f, "no room on the disk: {error}"),
            AppendError::Failed(reason) => write!(f, "the disk failed, restart to go on: {reason}"),
        }
    }
}

impl std::error::Error for AppendError {}

/// Something to append.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// What it is.
    pub kind: Kind,
    /// Events in it.
    pub count: u32,
    /// Its bytes, in pieces that are stored behind each other.
    pub body: &'a [&'a [u8]],
}

/// What readers and the syncer share with the writer.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Oldest first, the one being written last; never empty.
    segments: RwLock<VecDeque<Arc<Segment>>>,
    next: AtomicU64,
    synced: AtomicU64,
    failed: AtomicBool,
    unsynced: Mutex<Unsynced>,
    mark: File,
}

#[derive(Debug, Default)]
struct Unsynced {
    segments: Vec<Arc<Segment>>,
    directory: bool,
    mark: Mark,
}

/// The writing end. There is one.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    options: Options,
    active: Arc<Segment>,
    offset: u64,
    last_time_unix_ns: u64,
    buffer: Vec<u8>,
    _lock: File,
}

impl Journal {
    /// Opens or creates the journal in `dir`, which is created when missing. `replay` gets the newest snapshot and every
    /// record behind it, in order: what the owner needs to know what it knew.
    pub fn open(
        dir: &Path,
        options: Options,
        now: Now,
        replay: &mut dyn FnMut(Kind, &Record),
    ) -> Result<Journal, OpenError> {
        open::open(dir, options, now, replay)
    }

    /// Position that the next event gets.
    pub fn next(&self) -> u64 {
        self.shared.next.load(Ordering::Relaxed)
    }

    /// A reading end.
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// A flushing end, for another thread.
    pub fn syncer(&self) -> Syncer {
        Syncer { shared: Arc::clone(&self.shared) }
    }

    /// Appends all or nothing, in one write. Returns the position of the first event.
    pub fn append(&mut self, items: &[Append<'_>], now: Now) -> Result<u64, AppendError> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(AppendError::Failed("an earlier write or flush failed".to_owned()));
        }
        let first = self.next();
        let mut next = first;
        // A clock that was set back must not bring times out of order: looking up by time relies on it.
        let time = now.unix_ns.max(self.last_time_unix_ns);
        self.buffer.clear();
        for item in items {
            encode(&mut self.buffer, item, next, time);
            next += u64::from(item.count);
        }
        if let Err(error) = self.active.file.write_all_at(&self.buffer, self.offset) {
            return Err(self.take_back(error));
        }
        self.offset += self.buffer.len() as u64;
        self.last_time_unix_ns = time;
        self.active.publish(self.offset, next);
        self.shared.next.store(next, Ordering::Release);
        self.note_unsynced(false);
        Ok(first)
    }

    /// A write that failed in the middle leaves nothing behind, so that a later one does not follow half a record.
    fn take_back(&mut self, error: io::Error) -> AppendError {
        let cut = self.active.file.set_len(self.offset);
        match (is_full(&error), cut) {
            (true, Ok(())) => AppendError::Full(error),
            _ => {
                self.shared.failed.store(true, Ordering::Release);
                AppendError::Failed(error.to_string())
            }
        }
    }

    /// Whether the active segment should be closed: it is full, or so old that removing by age would come late.
    pub fn wants_roll(&self, now: Now, retention: &Retention) -> bool {
        let empty = self.active.next() == self.active.first;
        let age = now.unix_ns.saturating_sub(self.active.created_unix_ns);
        self.offset >= self.options.segment_bytes || (!empty && age >= retention.age_ns / 8)
    }

    /// Closes the active segment and starts the next one with `snapshot`.
    pub fn roll(&mut self, snapshot: &[u8], now: Now) -> Result<(), AppendError> {
        let created = now.unix_ns.max(self.last_time_unix_ns);
        match create_segment(&self.shared.dir, self.next(), created, snapshot) {
            Ok((segment, end)) => {
                *self.active.aged_from_mono_ns.lock().expect("no holder panics") =
                    i128::from(now.mono_ns);
                let segment = Arc::new(segment);
                self.shared
                    .segments
                    .write()
                    .expect("no holder panics")
                    .push_back(Arc::clone(&segment));
                self.active = segment;
                self.offset = end;
                self.note_unsynced(true);
                Ok(())
            }
            Err(error) if is_full(&error) => Err(AppendError::Full(error)),
            Err(error) => Err(AppendError::Failed(error.to_string())),
        }
    }

    fn note_unsynced(&self, directory: bool) {
        let mut unsynced = self.shared.unsynced.lock().expect("no holder panics");
        if unsynced.segments.last().is_none_or(|last| last.first != self.active.first) {
            unsynced.segments.push(Arc::clone(&self.active));
        }
        unsynced.directory |= directory;
        unsynced.mark = Mark { next: self.next(), segment: self.active.first, offset: self.offset };
    }

    /// Removes the oldest segments until the rest is within `retention`; the active one stays. Returns how many events went.
    pub fn trim(&mut self, retention: &Retention, now: Now) -> io::Result<u64> {
        let mut removed = 0;
        loop {
            let mut segments = self.shared.segments.write().expect("no holder panics");
            if segments.len() < 2 {
                return Ok(removed);
            }
            let bytes: u64 = segments.iter().map(|segment| segment.end()).sum();
            let oldest = Arc::clone(&segments[0]);
            let after = segments[1].first;
            let events = self.shared.next.load(Ordering::Relaxed) - oldest.first;
            let aged_from = *oldest.aged_from_mono_ns.lock().expect("no holder panics");
            let age = i128::from(now.mono_ns) - aged_from;
            if bytes <= retention.bytes
                && events <= retention.events
                && age <= i128::from(retention.age_ns)
            {
                return Ok(removed);
            }
            segments.pop_front();
            drop(segments);
            removed += after - oldest.first;
            fs::remove_file(&oldest.path)?;
        }
    }

    /// Removes closed segments that hold nothing at or after `position`: for an owner that reads each event once.
    pub fn trim_before(&mut self, position: u64) -> io::Result<()> {
        loop {
            let mut segments = self.shared.segments.write().expect("no holder panics");
            if segments.len() < 2 || segments[1].first > position {
                return Ok(());
            }
            let oldest = segments.pop_front().expect("two segments");
            drop(segments);
            fs::remove_file(&oldest.path)?;
        }
    }
}

fn encode(buffer: &mut Vec<u8>, item: &Append<'_>, first: u64, time_unix_ns: u64) {
    let body: usize = item.body.iter().map(|piece| piece.len()).sum();
    let body_sum = item.body.iter().fold(0, |sum, piece| crc32c::crc32c_append(sum, piece));
    let header = RecordHeader {
        kind: item.kind,
        body: u32::try_from(body).expect("records are far below 4 GiB"),
        first,
        count: item.count,
        time_unix_ns,
        body_sum,
    };
    let end = buffer.len() + header.span() as usize;
    buffer.reserve(header.span() as usize);
    buffer.extend_from_slice(&header.encode());
    for piece in item.body {
        buffer.extend_from_slice(piece);
    }
    buffer.resize(end, 0);
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// A segment comes into being whole, with its snapshot: it is written under another name first.
fn create_segment(
    dir: &Path,
    first: u64,
    created_unix_ns: u64,
    snapshot: &[u8],
) -> io::Result<(Segment, u64)> {
    let path = segment_path(dir, first);
    let unfinished = path.with_extension("new");
    let file =
        File::options().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
    let mut bytes = SegmentHeader { first, created_unix_ns }.encode().to_vec();
    let item = Append { kind: Kind::Snapshot, count: 0, body: &[snapshot] };
    encode(&mut bytes, &item, first, created_unix_ns);
    let written = file.write_all_at(&bytes, 0).and_then(|()| fs::rename(&unfinished, &path));
    if let Err(error) = written {
        // What could not be finished would take room that may be what is missing.
        fs::remove_file(&unfinished).ok();
        return Err(error);
    }
    let end = bytes.len() as u64;
    Ok((Segment::new(first, created_unix_ns, path, file, end), end))
}

/// The flushing end of a journal.
#[derive(Clone, Debug)]
pub struct Syncer {
    shared: Arc<Shared>,
}

impl Syncer {
    /// Flushes what has been appended, and returns the position up to which everything is durable now. After a failure
    /// the journal takes nothing more: what the kernel dropped can't be flushed again.
    pub fn sync(&self) -> Result<u64, String> {
        let Unsynced { segments, directory, mark } =
            std::mem::take(&mut *self.shared.unsynced.lock().expect("no holder panics"));
        if segments.is_empty() {
            return Ok(self.synced());
        }
        match self.flush(&segments, directory, &mark) {
            Ok(()) => {
                self.shared.synced.fetch_max(mark.next, Ordering::AcqRel);
                Ok(self.synced())
            }
            Err(error) => {
                self.shared.failed.store(true, Ordering::Release);
                Err(error.to_string())
            }
        }
    }

    fn flush(&self, segments: &[Arc<Segment>], directory: bool, mark: &Mark) -> io::Result<()> {
        for segment in segments {
            segment.file.sync_data()?;
        }
        if directory {
            File::open(&self.shared.dir)?.sync_all()?;
        }
        self.shared.mark.write_all_at(&mark.encode(), 0)
    }

    /// Position up to which everything is durable.
    pub fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }
}

/// A reading end of a journal. Reads block on the disk.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// What a read found.
#[derive(Debug, Default)]
pub struct Found {
    /// Runs of events, in order; the first may start before the position asked for.
    pub records: Vec<Record>,
    /// Positions before the records that were asked for and are gone.
    pub lost: Option<Lost>,
    /// Position to go on from.
    pub next: u64,
}

/// Events that can't be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// First position.
    pub first: u64,
    /// Position after the last one.
    pub next: u64,
    /// Removed by retention, or damaged on the disk.
    pub damaged: bool,
}

/// Where a reader stands, so that it need not be searched for.
#[derive(Debug, Default)]
pub struct Place {
    segment: Option<Arc<Segment>>,
    offset: u64,
    next: u64,
    window: Window,
}

impl Reader {
    /// Position of the oldest event, or of the next one when there is none.
    pub fn earliest(&self) -> u64 {
        self.shared.segments.read().expect("no holder panics")[0].first
    }

    /// Position that the next event gets.
    pub fn next(&self) -> u64 {
        self.shared.next.load(Ordering::Acquire)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.shared.segments.read().expect("no holder panics").iter().map(|s| s.end()).sum()
    }

    /// Reads events from `from` on: whole records of together about `max_bytes`, one at least, nothing at the end.
    pub fn read(&self, place: &mut Place, from: u64, max_bytes: usize) -> io::Result<Found> {
        let mut found = Found { next: from, ..Found::default() };
        let mut bytes = 0;
        while found.next < self.next() && bytes < max_bytes {
            let segment = self.segment_of(&mut found);
            // Before the step: an append between the two would look like events that are missing.
            let segment_next = segment.next();
            if place.segment.as_ref().is_none_or(|held| !Arc::ptr_eq(held, &segment))
                || place.next != found.next
            {
                place.window.reset();
                place.offset = segment.locate(found.next, &mut place.window)?;
                place.segment = Some(Arc::clone(&segment));
            }
            match segment.step(place.offset, &mut place.window)? {
                Step::Record(header, body) => {
                    if header.kind == Kind::Events && header.next() > found.next {
                        if header.first > found.next && !lose(&mut found, header.first, true) {
                            break;
                        }
                        bytes += body.len();
                        found.next = header.next();
                        found.records.push(Record {
                            first: header.first,
                            count: header.count,
                            time_unix_ns: header.time_unix_ns,
                            body,
                        });
                    }
                    place.offset += header.span();
                }
                Step::Damage { resume: Some(offset) } => place.offset = offset,
                Step::Damage { resume: None } | Step::End => {
                    if found.next < segment_next && !lose(&mut found, segment_next, true) {
                        break;
                    }
                    place.segment = None;
                }
            }
            place.next = found.next;
        }
        place.window.reset();
        Ok(found)
    }

    /// The segment that holds `found.next`, which moves to the oldest event when it is gone.
    fn segment_of(&self, found: &mut Found) -> Arc<Segment> {
        let segments = self.shared.segments.read().expect("no holder panics");
        if found.next < segments[0].first {
            lose(found, segments[0].first, false);
        }
        let after = segments.partition_point(|segment| segment.first <= found.next);
        Arc::clone(&segments[after.saturating_sub(1)])
    }

    /// Position of the first event that was stored at `time_unix_ns` or later.
    pub fn position_at(&self, time_unix_ns: u64) -> io::Result<u64> {
        let segments: Vec<_> =
            self.shared.segments.read().expect("no holder panics").iter().cloned().collect();
        // A segment whose successor was created before the time holds nothing that late.
        let at = segments.partition_point(|segment| segment.created_unix_ns < time_unix_ns);
        let mut window = Window::default();
        for segment in &segments[at.saturating_sub(1)..] {
            let mut offset = segment.locate_time(time_unix_ns, &mut window)?;
            loop {
                match segment.step(offset, &mut window)? {
                    Step::Record(header, _) => {
                        if header.kind == Kind::Events && header.time_unix_ns >= time_unix_ns {
                            return Ok(header.first);
                        }
                        offset += header.span();
                    }
                    Step::Damage { resume: Some(resume) } => offset = resume,
                    Step::Damage { resume: None } | Step::End => break,
                }
            }
        }
        Ok(self.next())
    }
}

/// Notes a loss in front of the records. `false` when there are records already: they go out first.
fn lose(found: &mut Found, next: u64, damaged: bool) -> bool {
    if !found.records.is_empty() {
        return false;
    }
    let first = found.lost.map_or(found.next, |lost| lost.first);
    let damaged = damaged || found.lost.is_some_and(|lost| lost.damaged);
    found.lost = Some(Lost { first, next, damaged });
    found.next = next;
    true
}

/// Bytes of a journal that holds nothing but an empty snapshot; no limit can be below it.
pub const EMPTY_BYTES: u64 = (SEGMENT_HEADER + RECORD_HEADER) as u64;
