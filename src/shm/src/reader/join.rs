//! Opening a reader: finding the log, claiming a slot, choosing where to begin.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{LogReader, ReaderOptions, Shared, Start, frame::Pins};
use crate::{
    directory::{self, Directory, archived},
    error::OpenError,
    file::LogFile,
    frame::FrameHeader,
    layout::LINE_BYTES,
    protocol::{self, Claim, STATE_ACTIVE, STATE_DETACHED},
    slots::{self, Guarantee, OPTION_NEVER_DETACH, Table},
    sync::AtomicU32,
    time::Now,
};

/// A join is tried again from further on this often; then it starts at the end.
const JOIN_TRIES: u32 = 256;
/// Pause between looks at a log that is not ready.
const PATIENCE_STEP: Duration = Duration::from_millis(2);

/// A rotation is over sooner than this; meanwhile the files do not fit each other.
const ROTATION_PATIENCE: Duration = Duration::from_secs(1);

/// How a reader comes to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// By the log's current name.
    Opens,
    /// From the log before it, or one before that.
    Follows,
}

/// A slot taken, and where its reader goes on.
pub(super) struct Joined {
    index: usize,
    claim: Claim,
    pub(super) position: u64,
    pub(super) sequence: u64,
    /// Events that were lost to the reader between its cursor, or where it was to start, and where it goes on.
    pub(super) gap: u64,
    /// Events that were lost to earlier readers of the name.
    missed_earlier: u64,
    /// Whether a reader of the name had a cursor.
    resumed: bool,
}

impl LogReader {
    /// Joins the log in `directory`.
    ///
    /// # Errors
    /// When there is no log that is ready within the options' patience, it is not ours, the name is in use, or every slot
    /// is taken. The message says what to do.
    pub fn open(directory: &Path, options: &ReaderOptions) -> Result<LogReader, OpenError> {
        let mut options = options.clone();
        if options.name.is_empty() {
            options.name = made_up_name();
        }
        slots::check_name(&options.name)?;
        let begin = Instant::now();
        loop {
            let patience = match open_now(directory, &options) {
                Err(OpenError::Missing { .. } | OpenError::ReaderNameInUse { .. }) => {
                    options.patience
                }
                Err(OpenError::NotInitialised { .. }) => options.patience.max(ROTATION_PATIENCE),
                result => return result,
            };
            if begin.elapsed() >= patience {
                return open_now(directory, &options);
            }
            std::thread::sleep(PATIENCE_STEP);
        }
    }
}

fn made_up_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("reader-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn open_now(path: &Path, options: &ReaderOptions) -> Result<LogReader, OpenError> {
    let directory = Directory::open(path)?;
    let (mut log, mut table) = open_files(&directory)?;
    // A reliable reader that has not finished the log before this one finishes it first.
    if options.guarantee == Guarantee::Reliable
        && log.constants.predecessor != 0
        && let Some((old_log, old_table)) = open_archived(&directory, log.constants.predecessor)?
        && slots::find(&old_table, &options.name)
            .is_some_and(|slot| old_table.slot(slot).claim().reliable)
    {
        (log, table) = (old_log, old_table);
    }
    let (shared, joined) = join(log, table, options, path, Arrival::Opens)?;
    let told = joined.resumed && joined.gap > 0;
    Ok(LogReader {
        shared,
        options: options.clone(),
        directory: path.into(),
        position: joined.position,
        expected: joined.sequence,
        missed: joined.missed_earlier + joined.gap,
        missed_earlier: joined.missed_earlier,
        resume_gap: told.then_some((joined.sequence - joined.gap, joined.gap)),
        closed: false,
        successor_missing: false,
    })
}

/// The log and its table. A rotation in between shows in their epochs: then they are not ready.
pub(super) fn open_files(directory: &Directory) -> Result<(LogFile, Table), OpenError> {
    let path = directory.path_of(directory::LOG);
    let file = directory
        .open_file(directory::LOG, false)?
        .ok_or_else(|| OpenError::Missing { path: path.clone() })?;
    let log = LogFile::open(directory, directory::LOG, &file, false)?;
    let table = Table::open(directory, directory::READERS)?;
    if table.log_epoch() != log.constants.log_epoch {
        return Err(OpenError::NotInitialised { path });
    }
    Ok((log, table))
}

/// A log that was rotated, and its table, as long as they are there.
pub(super) fn open_archived(
    directory: &Directory,
    epoch: u64,
) -> Result<Option<(LogFile, Table)>, OpenError> {
    let name = archived(directory::LOG, epoch);
    let Some(file) = directory.open_file(&name, false)? else { return Ok(None) };
    let log = LogFile::open(directory, &name, &file, false)?;
    match Table::open(directory, &archived(directory::READERS, epoch)) {
        Ok(table) => Ok(Some((log, table))),
        Err(OpenError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Claims a slot of the log and begins there.
pub(super) fn join(
    log: LogFile,
    table: Table,
    options: &ReaderOptions,
    path: &Path,
    arrival: Arrival,
) -> Result<(Arc<Shared>, Joined), OpenError> {
    let joined = claim(&log, &table, options, path, arrival)?;
    let shared = Shared {
        log,
        table,
        index: joined.index,
        claim: joined.claim,
        guarantee: options.guarantee,
        pins: Mutex::new(Pins::at(joined.position, joined.sequence)),
        leaving: AtomicU32::new(0),
    };
    Ok((Arc::new(shared), joined))
}

fn claim(
    log: &LogFile,
    table: &Table,
    options: &ReaderOptions,
    path: &Path,
    arrival: Arrival,
) -> Result<Joined, OpenError> {
    let io = |error| OpenError::io("join as a reader of", path, error);
    let _registration = table.register().map_err(io)?;
    let reliable = options.guarantee == Guarantee::Reliable;
    let known = slots::find(table, &options.name);
    let index = match known {
        Some(index) if table.try_own(index).map_err(io)? => index,
        Some(index) => {
            let pid = table.slot(index).pid.load(Ordering::Relaxed);
            return Err(OpenError::ReaderNameInUse { name: options.name.clone(), pid });
        }
        // A sealed log is read by those who have begun it or the one before it; others begin with its successor.
        None if arrival == Arrival::Opens && protocol::sealed(log.control()).is_some() => {
            return Err(OpenError::NotInitialised { path: path.join(directory::LOG) });
        }
        None => slots::take_any(table)
            .map_err(io)?
            .ok_or(OpenError::TableFull { slots: table.slots().len() })?,
    };
    let slot = table.slot(index);
    let before = slot.claim();
    // It never goes back, so that a claim that was seen before is never mistaken for one that came later.
    let claim = Claim { generation: before.generation + 1, reliable, state: STATE_ACTIVE };
    slot.pid.store(std::process::id(), Ordering::Relaxed);
    slot.options.store(u32::from(options.never_detach) * OPTION_NEVER_DETACH, Ordering::Relaxed);
    let progress = &slot.progress;
    let resumes = known.is_some() && before.reliable && reliable;
    let missed_earlier = if known.is_some() { progress.missed.load(Ordering::Relaxed) } else { 0 };
    let (position, sequence);
    let mut gap = 0;
    if resumes {
        let cursor = progress.cursor.load(Ordering::Acquire);
        let expected = progress.next_sequence.load(Ordering::Relaxed);
        (position, sequence) = resume(log, table, index, before, claim, (cursor, expected))
            .map_err(|reason| OpenError::damaged(path, reason))?;
        gap = sequence.saturating_sub(expected);
    } else {
        if known.is_none() {
            // Out of the writer's sight while it changes owners.
            slot.claim.store(before.with_state(STATE_DETACHED).word(), Ordering::Release);
            slot.set_name(&options.name);
        }
        (position, sequence) = begin(log, table, index, claim, options.start)
            .map_err(|reason| OpenError::damaged(path, reason))?;
        if let Start::Sequence(first) = options.start {
            gap = sequence.saturating_sub(first);
        }
    }
    protocol::advance(slot, position, sequence);
    let now = Now::read();
    slot.joined_unix_ns.store(now.unix_ns, Ordering::Relaxed);
    progress.missed.store(missed_earlier + gap, Ordering::Relaxed);
    progress.pinned_bytes.store(0, Ordering::Relaxed);
    progress.pinned_since_unix_ns.store(0, Ordering::Relaxed);
    progress.beat_unix_ns.store(now.unix_ns, Ordering::Relaxed);
    Ok(Joined { index, claim, position, sequence, gap, missed_earlier, resumed: resumes })
}

/// Goes on at the cursor of the reader that had the name before.
fn resume(
    log: &LogFile,
    table: &Table,
    index: usize,
    before: Claim,
    claim: Claim,
    (cursor, expected): (u64, u64),
) -> Result<(u64, u64), String> {
    let slot = table.slot(index);
    let held = before.state == STATE_ACTIVE && protocol::take_over(slot, before, claim);
    if !held {
        let position = enter(log, table, index, claim, Some(cursor));
        let sequence = sequence_at(log, position)?;
        return Ok((position, sequence));
    }
    // What the slot says was written by a reader, maybe of another program: it must lead to a frame.
    let committed = protocol::committed(log.control());
    if cursor > committed || !cursor.is_multiple_of(LINE_BYTES) {
        return Err(format!("the cursor {cursor} of the reader leads nowhere"));
    }
    if cursor == committed {
        return Ok((cursor, expected));
    }
    Ok((cursor, sequence_at(log, cursor)?))
}

/// Begins where `start` says.
fn begin(
    log: &LogFile,
    table: &Table,
    index: usize,
    claim: Claim,
    start: Start,
) -> Result<(u64, u64), String> {
    match start {
        Start::Latest => {
            let position = protocol::committed(log.control());
            let position = enter(log, table, index, claim, Some(position));
            Ok((position, sequence_at(log, position)?))
        }
        Start::Earliest => {
            let position = enter(log, table, index, claim, None);
            Ok((position, sequence_at(log, position)?))
        }
        Start::Sequence(first) => loop {
            let mut position = enter(log, table, index, claim, None);
            let committed = protocol::committed(log.control());
            let mut lapped = false;
            while position < committed {
                match log.header(position)? {
                    Some(header) if header.end_sequence() <= first || header.is_pad() => {
                        position = header.end()
                    }
                    Some(_) => break,
                    None => {
                        lapped = true;
                        break;
                    }
                }
            }
            if !lapped {
                return Ok((position, sequence_at(log, position)?));
            }
        },
    }
}

/// Makes the slot ACTIVE with its cursor at `wanted`, or at the oldest frame when that is gone, in such a way that the
/// writer sees it before it overwrites what is there. Gives the cursor.
fn enter(log: &LogFile, table: &Table, index: usize, claim: Claim, wanted: Option<u64>) -> u64 {
    let control = log.control();
    for _ in 0..JOIN_TRIES {
        let oldest = control.oldest.0.load(Ordering::Acquire);
        let candidate = wanted.unwrap_or(0).max(oldest);
        if protocol::join(
            control,
            table.head(),
            table.slot(index),
            index,
            claim,
            candidate,
            log.constants.capacity,
        ) {
            return candidate;
        }
        std::hint::spin_loop();
    }
    // The end is at most two frames behind `intent`, and so always within a capacity of it.
    let candidate = protocol::committed(control);
    protocol::join(
        control,
        table.head(),
        table.slot(index),
        index,
        claim,
        candidate,
        log.constants.capacity,
    );
    candidate
}

/// The sequence of the first event at `position`.
fn sequence_at(log: &LogFile, position: u64) -> Result<u64, String> {
    let control = log.control();
    loop {
        let committed = protocol::committed(control);
        if position < committed {
            match log.header(position)? {
                Some(FrameHeader { first_sequence, .. }) => return Ok(first_sequence),
                // Only a lossy reader can be lapped here; it finds its place when it reads.
                None => return sequence_of_oldest(log),
            }
        }
        // Nothing is there yet: the sequence that follows the end.
        match protocol::committed_with_sequence(control) {
            Some((end, sequence)) if end == position => return Ok(sequence),
            Some(_) => {}
            None if protocol::committed(control) == position => {
                return sequence_by_walk(log, position);
            }
            None => {}
        }
    }
}

/// The sequence of the oldest frame.
fn sequence_of_oldest(log: &LogFile) -> Result<u64, String> {
    loop {
        let oldest = log.control().oldest.0.load(Ordering::Acquire);
        if let Some(header) = log.header(oldest)? {
            return Ok(header.first_sequence);
        }
    }
}

/// The sequence that follows the frames before `end`, where a writer died between the stores of its commit.
fn sequence_by_walk(log: &LogFile, end: u64) -> Result<u64, String> {
    'again: loop {
        let mut position = log.control().oldest.0.load(Ordering::Acquire);
        let mut sequence = 1;
        while position < end {
            let Some(header) = log.header(position)? else { continue 'again };
            position = header.end();
            sequence = header.end_sequence();
        }
        return Ok(sequence);
    }
}
