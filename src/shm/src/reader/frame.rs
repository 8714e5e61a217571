//! A frame in a reader's hands.

use std::{collections::VecDeque, sync::Arc, sync::atomic::Ordering};

use super::Shared;
use crate::{
    error::Overrun,
    frame::{FrameHeader, IndexEntry},
    layout, protocol,
    slots::Guarantee,
    time::Now,
};

/// A committed frame: a copy of its header, and where its bytes are.
///
/// The bytes stay mapped as long as any clone of the frame lives. Those of a *reliable* reader stay as they are until the
/// frame is [released](Frame::release); those of a *lossy* or detached one may be overwritten at any time, which
/// [`check`](Frame::check) finds out afterwards. Dropping a frame releases nothing: what was not released was not
/// processed, and is handed out again to the next reader of the name.
#[derive(Clone, Debug)]
pub struct Frame {
    shared: Arc<Shared>,
    header: FrameHeader,
}

impl Frame {
    pub(super) fn new(shared: Arc<Shared>, header: FrameHeader) -> Frame {
        Frame { shared, header }
    }

    /// The header.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// Epoch of the log it is in.
    pub fn log_epoch(&self) -> u64 {
        self.shared.log.constants.log_epoch
    }

    /// Address of the payload, `header().payload_bytes` long: the bytes of an `EventBatch`. It is a multiple of 64.
    ///
    /// Valid as long as a clone of this frame lives; the bytes may change under it, see [`Frame`].
    pub fn payload_pointer(&self) -> *const u8 {
        self.pointer(self.header.payload_position(), u64::from(self.header.payload_bytes))
    }

    /// Address of the index, `header().event_count` entries long. It is a multiple of 64.
    ///
    /// Valid as long as a clone of this frame lives; the bytes may change under it, see [`Frame`].
    pub fn index_pointer(&self) -> *const IndexEntry {
        let bytes = layout::entry::BYTES * u64::from(self.header.event_count);
        self.pointer(self.header.index_position(), bytes).cast()
    }

    fn pointer(&self, position: u64, bytes: u64) -> *const u8 {
        let log = &self.shared.log;
        log.mapping.pointer(log.offset_of(position), bytes)
    }

    /// Whether everything read of the frame until now was right.
    ///
    /// # Errors
    /// When it has been overwritten, or may have been.
    pub fn check(&self) -> Result<(), Overrun> {
        let log = &self.shared.log;
        if protocol::intact(log.control(), self.header.position, log.constants.capacity) {
            Ok(())
        } else {
            Err(Overrun {
                first_sequence: self.header.first_sequence,
                events: self.header.event_count,
            })
        }
    }

    /// Copies payload and index into `copy`, and checks that they are right.
    ///
    /// # Errors
    /// When the frame has been overwritten; `copy` then holds rubbish.
    pub fn copy_into(&self, copy: &mut FrameCopy) -> Result<(), Overrun> {
        let log = &self.shared.log;
        copy.header = self.header;
        copy.payload.clear();
        let payload_bytes = u64::from(self.header.payload_bytes);
        log.mapping.copy_bytes(
            log.offset_of(self.header.payload_position()),
            payload_bytes,
            &mut copy.payload,
        );
        self.copy_index_into(&mut copy.index)
    }

    /// Copies the index into `index`, and checks that everything read of the frame until now was right.
    ///
    /// # Errors
    /// When the frame has been overwritten; `index` then holds rubbish.
    pub fn copy_index_into(&self, index: &mut Vec<IndexEntry>) -> Result<(), Overrun> {
        let log = &self.shared.log;
        index.clear();
        let mut offset = log.offset_of(self.header.index_position());
        for _ in 0..self.header.event_count {
            let mut words = [0; 8];
            log.mapping.copy_words(offset, &mut words);
            index.push(IndexEntry::from_words(words));
            offset += layout::entry::BYTES;
        }
        self.check()
    }

    /// The frame's payload and index, copied.
    ///
    /// # Errors
    /// When the frame has been overwritten.
    pub fn copy(&self) -> Result<FrameCopy, Overrun> {
        let mut copy = FrameCopy::default();
        self.copy_into(&mut copy)?;
        Ok(copy)
    }

    /// Says that the frame has been processed: a reliable reader's cursor moves to the lowest frame that has not been.
    /// Releasing again, or a lossy reader's frame, does nothing.
    ///
    /// # Errors
    /// When the reader was detached and the frame overwritten before it was released.
    pub fn release(&self) -> Result<(), Overrun> {
        if self.shared.guarantee == Guarantee::Lossy || !self.shared.is_ours() {
            return Ok(());
        }
        let whole = self.check();
        let mut pins = self.shared.pins();
        pins.release(self.header.position);
        self.shared.publish(&pins);
        whole
    }
}

/// A frame's payload and index, copied out of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameCopy {
    /// The header.
    pub header: FrameHeader,
    /// The bytes of an `EventBatch`.
    pub payload: Vec<u8>,
    /// An entry an event.
    pub index: Vec<IndexEntry>,
}

impl FrameCopy {
    /// The events with their bytes.
    ///
    /// # Panics
    /// When an entry points outside the payload, which the writer never lets happen.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&IndexEntry, &[u8])> {
        self.index
            .iter()
            .map(|entry| (entry, &self.payload[entry.offset as usize..entry.end() as usize]))
    }
}

/// The frames handed out and not released, oldest first, and where the reader reads.
#[derive(Debug, Default)]
pub(super) struct Pins {
    out: VecDeque<Pin>,
    bytes: u64,
    /// Position and sequence at which the reader goes on: the cursor, when nothing is out.
    pub(super) position: u64,
    pub(super) sequence: u64,
}

#[derive(Debug)]
struct Pin {
    position: u64,
    bytes: u32,
    first_sequence: u64,
    since_unix_ns: u64,
    released: bool,
}

impl Pins {
    /// Nothing handed out, reading from `position` on.
    pub(super) fn at(position: u64, sequence: u64) -> Pins {
        Pins { position, sequence, ..Pins::default() }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn oldest_since(&self) -> Option<u64> {
        self.out.front().map(|pin| pin.since_unix_ns)
    }

    /// Where a reader of the name would go on: the lowest frame that has not been released.
    pub(super) fn cursor(&self) -> (u64, u64) {
        self.out
            .front()
            .map_or((self.position, self.sequence), |pin| (pin.position, pin.first_sequence))
    }

    pub(super) fn push(&mut self, header: &FrameHeader, now: Now) {
        self.bytes += u64::from(header.frame_bytes);
        self.out.push_back(Pin {
            position: header.position,
            bytes: header.frame_bytes,
            first_sequence: header.first_sequence,
            since_unix_ns: now.unix_ns,
            released: false,
        });
    }

    fn release(&mut self, position: u64) {
        let Ok(index) = self.out.binary_search_by_key(&position, |pin| pin.position) else {
            return;
        };
        let pin = &mut self.out[index];
        if !std::mem::replace(&mut pin.released, true) {
            self.bytes -= u64::from(pin.bytes);
        }
        while self.out.front().is_some_and(|pin| pin.released) {
            self.out.pop_front();
        }
    }

    /// Forgets frames that are gone.
    pub(super) fn forget_below(&mut self, position: u64) {
        while self.out.front().is_some_and(|pin| pin.position < position) {
            if let Some(Pin { bytes, released: false, .. }) = self.out.pop_front() {
                self.bytes -= u64::from(bytes);
            }
        }
    }
}

impl Shared {
    /// Stores what the pins amount to in the slot.
    pub(super) fn publish(&self, pins: &Pins) {
        let slot = self.slot();
        slot.progress.pinned_bytes.store(pins.bytes, Ordering::Relaxed);
        slot.progress
            .pinned_since_unix_ns
            .store(pins.oldest_since().unwrap_or(0), Ordering::Relaxed);
        let (cursor, sequence) = pins.cursor();
        protocol::advance(slot, cursor, sequence);
    }
}
