//! Opening a frame, storing events in it, committing it.

use std::sync::atomic::Ordering;

use super::{LogWriter, place};
use crate::{
    crash,
    frame::{FrameHeader, IndexEntry, frame_bytes},
    layout::{self, FRAME_PAD, OPEN_STATE_BYTES_BITS},
    protocol,
    time::Now,
};

/// A reliable reader stands where the next frame has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Its slot in the table of readers.
    pub slot: usize,
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the log is full: the reader in slot {} has not read its oldest events",
            self.slot
        )
    }
}

impl std::error::Error for Full {}

/// What a commit made visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Sequence of the first event.
    pub first_sequence: u64,
    /// How many there are.
    pub events: u32,
    /// Bytes of their payload.
    pub bytes: u32,
}

/// The frame being filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFrame {
    pub(super) position: u64,
    /// Where its payload begins in the file. A frame never reaches past the ring's end.
    pub(super) payload_offset: u64,
    pub(super) first_sequence: u64,
    pub(super) count: u32,
    pub(super) used: u32,
    pub(super) open_unix_ns: u64,
}

impl LogWriter {
    /// Opens a frame, unless one is open.
    ///
    /// # Errors
    /// [`Full`] when a reliable reader stands in the way. Readers never wake the writer: call
    /// [`check_readers`](LogWriter::check_readers) every millisecond until there is room.
    pub fn begin(&mut self, now: Now) -> Result<(), Full> {
        if let Some(frame) = &mut self.frame {
            if frame.count == 0 {
                frame.open_unix_ns = now.unix_ns;
            }
            return Ok(());
        }
        assert!(self.lock.is_ours(), "the log was opened in another process");
        self.open_frame(now)
    }

    fn open_frame(&mut self, now: Now) -> Result<(), Full> {
        let (log, control) = (&self.log, self.log.control());
        let position = self.committed;
        let (start, limit) = place(log, position);
        crash::point("open:begin");
        protocol::claim_room(
            control,
            self.table.head(),
            self.table.slots(),
            limit,
            log.constants.capacity,
        )
        .map_err(|slot| Full { slot })?;
        self.pass_oldest(limit.saturating_sub(log.constants.capacity));
        crash::point("open:oldest");
        protocol::publish_reserved(control, limit);
        crash::point("open:reserved");
        if start != position {
            let header = FrameHeader {
                first_sequence: self.next_sequence,
                open_unix_ns: now.unix_ns,
                commit_unix_ns: now.unix_ns,
                flags: FRAME_PAD,
                frame_bytes: (start - position) as u32,
                position,
                generation: self.generation,
                ..FrameHeader::default()
            };
            self.store_header(&header);
            crash::point("open:pad-header");
            protocol::publish_committed(control, start, self.next_sequence);
            self.committed = start;
            crash::point("open:pad-committed");
        }
        let word = |field| log.mapping.word(log.offset_of(start) + field);
        word(layout::header::FIRST_SEQUENCE).store(self.next_sequence, Ordering::Relaxed);
        word(layout::header::OPEN_UNIX_NS).store(now.unix_ns, Ordering::Relaxed);
        crash::point("open:header");
        // The old open record is void, since `open_pos` is below `committed`; so the count may go before the place.
        control.open_state.0.store(0, Ordering::Relaxed);
        crash::point("open:open-state");
        control.open_pos.0.store(start, Ordering::Release);
        crash::point("open:open-pos");
        self.frame = Some(OpenFrame {
            position: start,
            payload_offset: log.payload_offset(start),
            first_sequence: self.next_sequence,
            count: 0,
            used: 0,
            open_unix_ns: now.unix_ns,
        });
        Ok(())
    }

    /// Moves `oldest` past every frame that starts below `floor`: they are about to be overwritten.
    fn pass_oldest(&self, floor: u64) {
        let word = &self.log.control().oldest.0;
        let mut oldest = word.load(Ordering::Relaxed);
        if oldest >= floor {
            return;
        }
        while oldest < floor {
            // Written and checked by this program; a frame that is none now means that memory is not what it was.
            let header = self.log.header(oldest).expect("the writer's own frames are whole");
            oldest = header.expect("a frame is intact until `reserved` passes it").end();
        }
        word.store(oldest, Ordering::Release);
    }

    fn store_header(&self, header: &FrameHeader) {
        let offset = self.log.offset_of(header.position);
        for (index, word) in header.to_words().into_iter().enumerate() {
            self.log.mapping.word(offset + 8 * index as u64).store(word, Ordering::Relaxed);
        }
    }

    /// The unused payload bytes of the open frame. Write an event with its tag and length at the beginning, then
    /// [`append`](LogWriter::append) it; what is not appended is left behind.
    ///
    /// # Panics
    /// When no frame is open.
    pub fn room(&mut self) -> &mut [u8] {
        let frame = self.frame.expect("begin() before room()");
        let left = self.log.constants.max_batch_bytes - frame.used;
        let offset = frame.payload_offset + u64::from(frame.used);
        let pointer = self.log.mapping.pointer(offset, u64::from(left));
        // SAFETY: `pointer` asserts that the bytes are mapped. They lie between the open frame's header and its limit,
        // which `reserved` covers: no reader takes what was there for intact, and none looks beyond `committed`. Those who
        // still copy from there do so in mappings of their own, as relaxed words, and find out afterwards. In this mapping
        // only `LogWriter` reaches the ring, and it is borrowed mutably for as long as the slice lives. Any byte is a
        // valid `u8`.
        unsafe { std::slice::from_raw_parts_mut(pointer, left as usize) }
    }

    /// How many more events the open frame takes; zero when none is open.
    pub fn events_left(&self) -> u32 {
        self.frame.map_or(0, |frame| self.log.constants.max_batch_events - frame.count)
    }

    /// Events in the open frame.
    pub fn open_events(&self) -> u32 {
        self.frame.map_or(0, |frame| frame.count)
    }

    /// Payload bytes in the open frame.
    pub fn open_bytes(&self) -> u32 {
        self.frame.map_or(0, |frame| frame.used)
    }

    /// Stores the event whose `element_len` bytes (tag and length included) are at the beginning of
    /// [`room`](LogWriter::room), and gives its sequence. When this returns, the event survives the death of this process.
    ///
    /// `event_offset` is where the event itself begins in the element. The entry's sequence, offset and length are filled
    /// in here.
    ///
    /// # Panics
    /// When no frame is open, or the element or its entry do not fit into it.
    pub fn append(&mut self, element_len: usize, event_offset: usize, entry: &IndexEntry) -> u64 {
        let frame = self.frame.as_mut().expect("begin() before append()");
        let left = self.log.constants.max_batch_bytes - frame.used;
        assert!(
            element_len <= left as usize && event_offset <= element_len,
            "the element does not fit"
        );
        assert!(frame.count < self.log.constants.max_batch_events, "the frame has its most events");
        crash::point("append:bytes");
        let sequence = self.next_sequence;
        let entry = IndexEntry {
            sequence,
            offset: frame.used + event_offset as u32,
            length: (element_len - event_offset) as u32,
            reserved: 0,
            ..*entry
        };
        let offset = layout::STAGE_OFFSET + layout::entry::BYTES * u64::from(frame.count);
        let pointer = self.log.mapping.pointer(offset, layout::entry::BYTES);
        // SAFETY: `pointer` asserts that the bytes are mapped; the stage starts on a page and entries are as large as a
        // line, so it is aligned. Only the writer touches the stage, and `self` is borrowed mutably.
        unsafe { pointer.cast::<IndexEntry>().write(entry) };
        crash::point("append:stage");
        frame.count += 1;
        frame.used += element_len as u32;
        let open_state = u64::from(frame.count) << OPEN_STATE_BYTES_BITS | u64::from(frame.used);
        protocol::publish_open(self.log.control(), open_state);
        crash::point("append:open-state");
        self.next_sequence += 1;
        sequence
    }

    /// Makes the open frame's events visible and wakes who waits for them; `None` when there are none. A frame without
    /// events stays open.
    pub fn commit(&mut self, now: Now) -> Option<Commit> {
        let commit = self.commit_frame(now.unix_ns, 0)?;
        self.budget.wake(self.log.control(), self.table.head(), now);
        crash::point("commit:woken");
        Some(commit)
    }

    /// Commit without the wake.
    pub(super) fn commit_frame(&mut self, commit_unix_ns: u64, flags: u32) -> Option<Commit> {
        let frame = self.frame.take_if(|frame| frame.count > 0)?;
        let header = FrameHeader {
            first_sequence: frame.first_sequence,
            payload_bytes: frame.used,
            event_count: frame.count,
            open_unix_ns: frame.open_unix_ns,
            commit_unix_ns,
            flags,
            frame_bytes: frame_bytes(frame.used, frame.count) as u32,
            position: frame.position,
            generation: self.generation,
        };
        let index_bytes = layout::entry::BYTES * u64::from(frame.count);
        let stage = self.log.mapping.pointer(layout::STAGE_OFFSET, index_bytes);
        let index =
            self.log.mapping.pointer(self.log.offset_of(header.index_position()), index_bytes);
        // SAFETY: both ranges are asserted to be mapped, and do not overlap: the stage ends where the ring begins. The
        // index lies in the open frame, which is the writer's alone as in `room`; the frame was placed so that the largest
        // one ends before the ring does.
        unsafe { std::ptr::copy_nonoverlapping(stage, index, index_bytes as usize) };
        crash::point("commit:index");
        self.store_header(&header);
        crash::point("commit:header");
        protocol::publish_committed(self.log.control(), header.end(), header.end_sequence());
        self.committed = header.end();
        self.watch.mark(&header);
        Some(Commit {
            first_sequence: frame.first_sequence,
            events: frame.count,
            bytes: frame.used,
        })
    }
}
