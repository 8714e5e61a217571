//! Opening a journal: who may, what is there, what is the tail of a write that never ended, and what is damage.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use jimbot_core::time::Now;

use super::format::{BadHeader, Kind, MARK, Mark, SEGMENT_HEADER, SegmentHeader};
use super::segment::{Record, Segment, Step, Window};
use super::{FIRST_POSITION, Journal, OpenError, Options, Shared, Unsynced, create_segment};

type Replay<'a> = &'a mut dyn FnMut(Kind, &Record);

pub(super) fn open(
    dir: &Path,
    options: Options,
    now: Now,
    replay: Replay<'_>,
) -> Result<Journal, OpenError> {
    let io = |error| OpenError::Io(dir.to_owned(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    let lock = lock(dir)?;
    let mark_path = dir.join("synced");
    let mark_file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&mark_path)
        .map_err(|error| OpenError::Io(mark_path, error))?;
    let mark = read_mark(&mark_file);

    let mut segments = list(dir, &mark, &options)?;
    let loss = |path: &Path, offset, reason: String| {
        if options.accept_loss {
            log::error!("{} at byte {offset}: {reason}; going on without", path.display());
            return Ok(());
        }
        Err(OpenError::Damaged { path: path.to_owned(), offset, reason })
    };
    let newest = segments.back().map_or(0, |segment| segment.first);
    if newest < mark.segment {
        let reason = "the segment that was written last is missing".to_owned();
        loss(&super::segment_path(dir, mark.segment), 0, reason)?;
    }

    let mut next = segments.front().map_or(FIRST_POSITION, |segment| segment.first);
    let mut last_time_unix_ns = 0;
    let mut offset = SEGMENT_HEADER as u64;
    let from = replay_start(&segments).map_err(io)?;
    for (at, segment) in segments.iter().enumerate() {
        if let Some(successor) = segments.get(at + 1) {
            segment.publish(segment.end(), successor.first);
        }
        // A segment's newest event is about as old as the next segment.
        let newest_ns = segments.get(at + 1).map_or(now.unix_ns, |next| next.created_unix_ns);
        let age_ns = now.unix_ns.saturating_sub(newest_ns);
        *segment.aged_from_mono_ns.lock().expect("no holder panics") =
            i128::from(now.mono_ns) - i128::from(age_ns);
        if at < from {
            continue;
        }
        let last = at + 1 == segments.len();
        let scanned = scan(segment, replay).map_err(io)?;
        last_time_unix_ns = scanned.last_time_unix_ns.max(segment.created_unix_ns);
        next = next.max(segment.first).max(scanned.next);
        let durable = if last && segment.first == mark.segment { mark.offset } else { 0 };
        if let Some(bad) = scanned.damage.filter(|bad| !last || *bad < durable) {
            loss(&segment.path, bad, "a record that was durable is not intact".to_owned())?;
        }
        if last && scanned.end < durable {
            let reason = format!("{} durable bytes are missing", durable - scanned.end);
            loss(&segment.path, scanned.end, reason)?;
        }
        if last {
            offset = scanned.end;
            if offset < segment.end() {
                log::warn!(
                    "{}: cutting off {} bytes of a write that did not end",
                    segment.path.display(),
                    segment.end() - offset
                );
                segment.file.set_len(offset).map_err(io)?;
            }
            // Positions that were handed out durably are not given to other events.
            next = next.max(mark.next);
            segment.publish(offset, next);
        }
    }

    let mut dirty_directory = false;
    if segments.is_empty() {
        next = next.max(mark.next);
        let (segment, end) = create_segment(dir, next, now.unix_ns, &[]).map_err(io)?;
        segment.publish(end, next);
        *segment.aged_from_mono_ns.lock().expect("no holder panics") = i128::from(now.mono_ns);
        offset = end;
        dirty_directory = true;
        segments.push_back(Arc::new(segment));
    }
    let active = Arc::clone(segments.back().expect("one was created"));
    // What was read here may still be in the page cache only: the first flush covers it.
    let unsynced = Unsynced {
        segments: vec![Arc::clone(&active)],
        directory: dirty_directory,
        mark: Mark { next, segment: active.first, offset },
    };
    Ok(Journal {
        shared: Arc::new(Shared {
            dir: dir.to_owned(),
            segments: RwLock::new(segments),
            next: AtomicU64::new(next),
            synced: AtomicU64::new(mark.next.max(FIRST_POSITION)),
            failed: AtomicBool::new(false),
            unsynced: Mutex::new(unsynced),
            mark: mark_file,
        }),
        options,
        active,
        offset,
        last_time_unix_ns,
        buffer: Vec::new(),
        _lock: lock,
    })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| OpenError::Io(path.clone(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(path, error)),
    }
}

fn read_mark(file: &File) -> Mark {
    let mut bytes = [0; MARK];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Mark::decode(&bytes).unwrap_or_default(),
        Err(_) => Mark::default(),
    }
}

/// The segments that are there, oldest first.
fn list(dir: &Path, mark: &Mark, options: &Options) -> Result<VecDeque<Arc<Segment>>, OpenError> {
    let io = |error| OpenError::Io(dir.to_owned(), error);
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("seg") => paths.push(path),
            // Left by a start of a segment that did not end.
            Some("new") => fs::remove_file(&path).map_err(io)?,
            _ => {}
        }
    }
    // Names are numbers of fixed width, so this is their order.
    paths.sort();
    let newest = paths.last().cloned();
    let mut segments = VecDeque::new();
    for path in paths {
        let at = |error| OpenError::Io(path.clone(), error);
        let file = File::options().read(true).write(true).open(&path).map_err(at)?;
        let end = file.metadata().map_err(at)?.len();
        let mut bytes = vec![0; SEGMENT_HEADER.min(end as usize)];
        file.read_exact_at(&mut bytes, 0).map_err(at)?;
        match SegmentHeader::decode(&bytes) {
            Ok(header) => {
                let SegmentHeader { first, created_unix_ns } = header;
                segments.push_back(Arc::new(Segment::new(first, created_unix_ns, path, file, end)));
            }
            Err(BadHeader::Newer(version)) => return Err(OpenError::Newer { path, version }),
            Err(BadHeader::Damaged) => {
                let durable = path == super::segment_path(dir, mark.segment);
                let unfinished = Some(&path) == newest.as_ref() && !durable;
                if !unfinished && !options.accept_loss {
                    let reason = "its header is not intact".to_owned();
                    return Err(OpenError::Damaged { path, offset: 0, reason });
                }
                log::warn!("{}: set aside, its header is not intact", path.display());
                fs::rename(&path, path.with_extension("damaged")).map_err(at)?;
            }
        }
    }
    Ok(segments)
}

/// The newest segment that starts with a snapshot: all segments do, unless a disk was damaged.
fn replay_start(segments: &VecDeque<Arc<Segment>>) -> io::Result<usize> {
    let mut window = Window::default();
    for (at, segment) in segments.iter().enumerate().rev() {
        let step = segment.step(SEGMENT_HEADER as u64, &mut window)?;
        window.reset();
        if matches!(step, Step::Record(header, _) if header.kind == Kind::Snapshot) {
            return Ok(at);
        }
    }
    Ok(0)
}

struct Scanned {
    /// Offset after the last intact record.
    end: u64,
    /// Offset of the first damage that intact records follow, or that ends a closed segment.
    damage: Option<u64>,
    /// Position after the last event.
    next: u64,
    last_time_unix_ns: u64,
}

fn scan(segment: &Segment, replay: Replay<'_>) -> io::Result<Scanned> {
    let mut window = Window::default();
    let mut scanned = Scanned {
        end: SEGMENT_HEADER as u64,
        damage: None,
        next: segment.first,
        last_time_unix_ns: 0,
    };
    let mut offset = scanned.end;
    loop {
        match segment.step(offset, &mut window)? {
            Step::Record(header, body) => {
                let record = Record {
                    first: header.first,
                    count: header.count,
                    time_unix_ns: header.time_unix_ns,
                    body,
                };
                replay(header.kind, &record);
                scanned.next = scanned.next.max(record.next());
                scanned.last_time_unix_ns = scanned.last_time_unix_ns.max(header.time_unix_ns);
                offset += header.span();
                scanned.end = offset;
            }
            Step::Damage { resume } => {
                if resume.is_some() || offset < scanned.end {
                    scanned.damage.get_or_insert(offset);
                }
                match resume {
                    Some(resume) => offset = resume,
                    None => return Ok(scanned),
                }
            }
            Step::End => return Ok(scanned),
        }
    }
}
