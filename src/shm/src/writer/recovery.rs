//! What a service that was killed has left, and how the next one goes on from there.
//!
//! A killed writer has done all stores up to some point of its program and none behind it. Whatever that point is, the
//! words say which: `open_pos` equals `committed` exactly while a frame is open, and `open_state` then tells how much of it
//! is stored.

use std::sync::atomic::Ordering;

use super::{LogWriter, append::OpenFrame};
use crate::{
    directory::{self, Directory},
    error::OpenError,
    file::LogFile,
    frame::{FrameHeader, IndexEntry},
    layout::{self, FRAME_RECOVERED, LINE_BYTES, OPEN_STATE_BYTES_BITS},
    protocol,
    time::Now,
    wake,
};

/// Most bytes of tag and length before an event in its element.
const ELEMENT_HEAD_MAX: u64 = 16;

/// What was found at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the log was there before.
    pub taken_over: bool,
    /// Stored events that were not yet visible, and are now.
    pub events: u32,
    /// Sequence of the first of them.
    pub first_sequence: u64,
    /// Events of the open frame whose stage did not fit its count: lost to a fault outside the program.
    pub damaged: u32,
    /// Whether a new log was begun; [`scan`](LogWriter::scan) then gives the old one's events.
    pub rotated: bool,
    /// Name of the file under which a log that could not be read was put aside.
    pub put_aside: Option<String>,
}

/// Checks the words and frames of a log that was found; gives the sequence that follows its last committed event.
pub(super) fn check(directory: &Directory, log: &LogFile) -> Result<u64, OpenError> {
    let damaged = |reason: String| OpenError::damaged(&directory.path_of(directory::LOG), reason);
    let control = log.control();
    let committed = control.committed.position.load(Ordering::Acquire);
    let reserved = control.reserved.0.load(Ordering::Relaxed);
    let oldest = control.oldest.0.load(Ordering::Relaxed);
    let in_order = oldest <= committed
        && committed <= reserved
        && reserved - oldest <= log.constants.capacity
        && reserved < u64::MAX / 2
        && committed.is_multiple_of(LINE_BYTES)
        && oldest.is_multiple_of(LINE_BYTES);
    if !in_order {
        return Err(damaged(format!(
            "oldest {oldest}, committed {committed}, reserved {reserved} do not follow"
        )));
    }
    let mut next_sequence = None;
    for_each_frame(log, oldest, committed, |header| {
        if next_sequence.is_some_and(|next| next != header.first_sequence) {
            return Err(format!(
                "the frame at position {} does not follow the one before it",
                header.position
            ));
        }
        next_sequence = Some(header.end_sequence());
        Ok(())
    })
    .map_err(damaged)?;
    match next_sequence {
        Some(next) => Ok(next),
        None if committed == 0 => Ok(1),
        None => Err(damaged(format!("no frame is left before position {committed}"))),
    }
}

/// Hands the headers from `from` to `to` to `visit`.
fn for_each_frame(
    log: &LogFile,
    from: u64,
    to: u64,
    mut visit: impl FnMut(&FrameHeader) -> Result<(), String>,
) -> Result<(), String> {
    let mut position = from;
    while position < to {
        let header = log
            .header(position)?
            .ok_or_else(|| format!("the frame at {position} was overwritten"))?;
        if header.end() > to {
            return Err(format!("the frame at position {position} ends behind the last one"));
        }
        visit(&header)?;
        position = header.end();
    }
    Ok(())
}

impl LogWriter {
    /// Commits what the last service had stored in an open frame, and puts the words in order.
    pub(super) fn recover(&mut self, now: Now) {
        self.recovery.taken_over = true;
        let control = self.log.control();
        protocol::abandon_intent(control);
        let open_state = control.open_state.0.load(Ordering::Acquire);
        let count = (open_state >> OPEN_STATE_BYTES_BITS) as u32;
        let used = open_state & ((1 << OPEN_STATE_BYTES_BITS) - 1);
        let open = control.open_pos.0.load(Ordering::Acquire) == self.committed && count > 0;
        if open {
            let (count_whole, used_whole) = self.contiguous(count, used);
            self.recovery.damaged = count - count_whole;
            let open_unix_ns = self
                .log
                .mapping
                .word(self.log.offset_of(self.committed) + layout::header::OPEN_UNIX_NS)
                .load(Ordering::Relaxed);
            self.frame = Some(OpenFrame {
                position: self.committed,
                payload_offset: self.log.payload_offset(self.committed),
                first_sequence: self.next_sequence,
                count: count_whole,
                used: used_whole,
                open_unix_ns,
            });
            self.next_sequence += u64::from(count_whole);
            if let Some(commit) = self.commit_frame(now.unix_ns, FRAME_RECOVERED) {
                self.recovery.events = commit.events;
                self.recovery.first_sequence = commit.first_sequence;
            } else {
                self.frame = None;
            }
        }
        // A service killed between the stores of its commit leaves the sequences behind the position or before it.
        let control = self.log.control();
        control.committed.sequence_before.store(self.next_sequence, Ordering::Relaxed);
        control.committed.sequence_after.store(self.next_sequence, Ordering::Release);
        wake::wake_always(control, self.table.head());
    }

    /// How many entries of the stage follow one another from payload byte 0 on without a gap, and up to which byte. That
    /// is all of `count` and `used`, unless something outside the program has changed the memory.
    fn contiguous(&self, count: u32, used: u64) -> (u32, u32) {
        let mut end = 0;
        for index in 0..count.min(self.log.constants.max_batch_events) {
            let entry = self.stage_entry(index);
            let offset = u64::from(entry.offset);
            let follows = entry.sequence == self.next_sequence + u64::from(index)
                && offset >= end
                && offset - end <= ELEMENT_HEAD_MAX
                && entry.end() <= used.min(u64::from(self.log.constants.max_batch_bytes));
            if !follows {
                return (index, end as u32);
            }
            end = entry.end();
        }
        (count.min(self.log.constants.max_batch_events), end as u32)
    }

    fn stage_entry(&self, index: u32) -> IndexEntry {
        let mut words = [0; 8];
        let offset = layout::STAGE_OFFSET + layout::entry::BYTES * u64::from(index);
        self.log.mapping.copy_words(offset, &mut words);
        IndexEntry::from_words(words)
    }

    /// Hands every event of the intact frames to `visit`, oldest first, with its bytes: the history from which the service
    /// rebuilds what must outlive it. The log before this one comes first, as long as it is there. Events of the open frame are not among them.
    pub fn scan(&self, mut visit: impl FnMut(&IndexEntry, &[u8])) {
        if let Some(before) = &self.predecessor {
            scan(&before.log, &mut visit);
        }
        scan(&self.log, &mut visit);
    }
}

fn scan(log: &LogFile, visit: &mut impl FnMut(&IndexEntry, &[u8])) {
    let oldest = log.control().oldest.0.load(Ordering::Relaxed);
    let committed = protocol::committed(log.control());
    let mut payload = Vec::new();
    let mut index = Vec::new();
    let scanned = for_each_frame(log, oldest, committed, |header| {
        payload.clear();
        index.clear();
        log.mapping.copy_bytes(
            log.offset_of(header.payload_position()),
            u64::from(header.payload_bytes),
            &mut payload,
        );
        for entry in 0..header.event_count {
            let mut words = [0; 8];
            let position = header.index_position() + layout::entry::BYTES * u64::from(entry);
            log.mapping.copy_words(log.offset_of(position), &mut words);
            index.push(IndexEntry::from_words(words));
        }
        for entry in &index {
            let bytes = payload.get(entry.offset as usize..entry.end() as usize);
            visit(entry, bytes.ok_or("an entry points outside its payload")?);
        }
        Ok(())
    });
    // The frames were checked when the log was opened, and since then only this writer has written.
    scanned.expect("the writer's own frames are whole");
}
