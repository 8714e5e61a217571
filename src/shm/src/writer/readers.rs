//! The writer's view of its readers: who is dead and for how long, who is behind and how far.
//!
//! From the table the writer only copies and compares values: no index, length or loop bound comes from there.

use std::{collections::VecDeque, sync::atomic::Ordering};

use super::{FullPolicy, LogWriter, holder_at};
use crate::{
    frame::FrameHeader,
    layout::READER_SLOTS,
    protocol::{self, Claim, STATE_ACTIVE, STATE_FREE},
    slots::{Guarantee, OPTION_NEVER_DETACH},
    time::Now,
};

/// All slots' locks are tested this often; those of slots in the way whenever they are looked at.
const CHECK_INTERVAL_NS: u64 = 1_000_000_000;
/// Marks of commit times kept, and how far apart they are at least.
const MARKS_MAX: usize = 1024;
const MARK_INTERVAL_NS: u64 = 20_000_000;

/// What is remembered from one look at the readers to the next.
#[derive(Debug)]
pub(super) struct Watch {
    /// Claim under which a slot was last seen dead, and since when.
    dead: [Option<(u64, u64)>; READER_SLOTS],
    last_check_ns: u64,
    /// (position, when its frame opened): tells how old a cursor is without a look at what it points to.
    marks: VecDeque<(u64, u64)>,
    pub(super) detached: u64,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch {
            dead: [None; READER_SLOTS],
            last_check_ns: 0,
            marks: VecDeque::with_capacity(MARKS_MAX),
            detached: 0,
        }
    }
}

impl Watch {
    /// Remembers when a frame opened, if the last one remembered is long enough ago.
    pub(super) fn mark(&mut self, header: &FrameHeader) {
        if self.marks.back().is_some_and(|(_, at)| header.open_unix_ns < at + MARK_INTERVAL_NS) {
            return;
        }
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back((header.position, header.open_unix_ns));
    }

    /// When, at the earliest, the frame at `position` opened.
    fn opened_at(&self, position: u64) -> Option<u64> {
        let after = self.marks.partition_point(|(marked, _)| *marked <= position);
        self.marks.get(after.saturating_sub(1)).map(|(_, at)| *at)
    }
}

/// One reader, as shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderStatus {
    /// Its slot in the table.
    pub slot: usize,
    /// Its name.
    pub name: String,
    /// What it is promised.
    pub guarantee: Guarantee,
    /// Whether its process lives.
    pub alive: bool,
    /// Whether the writer has stopped waiting for it.
    pub detached: bool,
    /// How many readers have had its slot, this one included.
    pub generation: u64,
    /// Its process id, as it told it.
    pub pid: u32,
    /// When it joined, nanoseconds since 1970.
    pub joined_unix_ns: u64,
    /// Its last call, nanoseconds since 1970.
    pub beat_unix_ns: u64,
    /// Committed events that it has not released.
    pub lag_events: u64,
    /// Bytes of the log from its cursor to the end.
    pub lag_bytes: u64,
    /// Age of the oldest event that it has not released, to within a few hundredths of a second.
    pub lag_ns: u64,
    /// Events it was too late for.
    pub missed: u64,
    /// Bytes of frames handed out and not released.
    pub pinned_bytes: u64,
    /// How long the oldest of them has been out.
    pub pinned_ns: u64,
}

impl LogWriter {
    /// Looks at the readers: detaches those that have been dead for longer than their lease or, by option, fill the log.
    /// True when a frame can be opened. Call it every millisecond while the log is full, else once a second.
    pub fn check_readers(&mut self, now: Now) -> bool {
        if now.mono_ns.saturating_sub(self.watch.last_check_ns) >= CHECK_INTERVAL_NS {
            self.watch.last_check_ns = now.mono_ns;
            for slot in 0..READER_SLOTS {
                self.check_reader(slot, now, false);
            }
            self.check_predecessor();
        }
        if self.frame.is_some() {
            return true;
        }
        // Each pass detaches one reader or ends.
        for _ in 0..=READER_SLOTS {
            match holder_at(&self.log, &self.table, self.committed) {
                None => return true,
                Some(slot) if self.check_reader(slot, now, true) => continue,
                Some(_) => return false,
            }
        }
        false
    }

    /// Looks at one slot; true when it was detached.
    fn check_reader(&mut self, index: usize, now: Now, in_the_way: bool) -> bool {
        let slot = self.table.slot(index);
        let claim = slot.claim();
        if claim.state != STATE_ACTIVE || !claim.reliable {
            self.watch.dead[index] = None;
            return false;
        }
        let detach = if self.is_alive(index) {
            self.watch.dead[index] = None;
            let exempt = slot.options.load(Ordering::Relaxed) & OPTION_NEVER_DETACH != 0;
            in_the_way && self.options.full_policy == FullPolicy::Detach && !exempt
        } else {
            let since = match self.watch.dead[index] {
                Some((seen, since)) if seen == claim.word() => since,
                _ => now.mono_ns,
            };
            self.watch.dead[index] = Some((claim.word(), since));
            now.mono_ns.saturating_sub(since) >= self.options.reader_lease_ns
        };
        if !detach || !protocol::detach(slot, claim) {
            return false;
        }
        slot.detached_unix_ns.store(now.unix_ns, Ordering::Relaxed);
        self.watch.detached += 1;
        self.watch.dead[index] = None;
        true
    }

    /// Readers detached since the start.
    pub fn detached(&self) -> u64 {
        self.watch.detached
    }

    /// Every reader in the table.
    pub fn readers(&self, now: Now) -> Vec<ReaderStatus> {
        let occupied = |(index, slot): (usize, &protocol::Slot)| {
            let claim = slot.claim();
            (claim.state != STATE_FREE).then(|| self.status(index, claim, now))
        };
        self.table.slots().iter().enumerate().filter_map(occupied).collect()
    }

    fn status(&self, index: usize, claim: Claim, now: Now) -> ReaderStatus {
        let slot = self.table.slot(index);
        let progress = &slot.progress;
        let load = |word: &crate::sync::AtomicU64| word.load(Ordering::Relaxed);
        let cursor = progress.cursor.load(Ordering::Acquire).min(self.committed);
        let committed_sequence =
            self.log.control().committed.sequence_before.load(Ordering::Relaxed);
        let lag_bytes = self.committed - cursor;
        let since = |at: u64| if at == 0 { 0 } else { now.unix_ns.saturating_sub(at) };
        let lag_ns = match self.watch.opened_at(cursor) {
            Some(at) if lag_bytes > 0 => since(at),
            _ => 0,
        };
        ReaderStatus {
            slot: index,
            name: slot.name(),
            guarantee: if claim.reliable { Guarantee::Reliable } else { Guarantee::Lossy },
            alive: self.is_alive(index),
            detached: claim.state != STATE_ACTIVE,
            generation: claim.generation,
            pid: slot.pid.load(Ordering::Relaxed),
            joined_unix_ns: load(&slot.joined_unix_ns),
            beat_unix_ns: load(&progress.beat_unix_ns),
            lag_events: if lag_bytes == 0 {
                0
            } else {
                committed_sequence.saturating_sub(load(&progress.next_sequence))
            },
            lag_bytes,
            lag_ns,
            missed: load(&progress.missed),
            pinned_bytes: load(&progress.pinned_bytes),
            pinned_ns: since(load(&progress.pinned_since_unix_ns)),
        }
    }

    fn is_alive(&self, index: usize) -> bool {
        self.table.is_alive(index) || self.is_alive_in_predecessor(index)
    }
}
