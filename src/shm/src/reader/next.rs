//! The next frame, and everything that can be in its way.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{Frame, LogReader};
use crate::{
    error::ReadError,
    frame::FrameHeader,
    protocol::{self, STATE_ACTIVE, STATE_DETACHED},
    slots::Guarantee,
    time::Now,
    wake,
};

/// A reader that was lapped leaves this part of the capacity between itself and the writer, so that it is not lapped again
/// at once.
const LAPPED_MARGIN: u64 = 8;
/// A reader that is lapped this often while it looks for a place starts at the end.
const LAPPED_TRIES: u32 = 16;

impl LogReader {
    /// The next frame if one is there.
    ///
    /// # Errors
    /// See [`ReadError`]. After [`ReadError::Detached`] the reader goes on behind the gap.
    pub fn try_next(&mut self) -> Result<Option<Frame>, ReadError> {
        self.check_claim()?;
        if let Some((first_missed, missed)) = self.resume_gap.take() {
            return Err(ReadError::Detached { first_missed, missed });
        }
        let mut lapped = 0;
        loop {
            let log = &self.shared.log;
            let committed = protocol::committed(log.control());
            if self.position >= committed {
                if self.at_the_end(committed)? {
                    continue;
                }
                return Ok(None);
            }
            let header = match log.header(self.position) {
                Ok(Some(header)) if header.end() <= committed => header,
                Ok(None) if self.options.guarantee == Guarantee::Lossy => {
                    lapped += 1;
                    self.position = self.place_after_lapping(lapped)?;
                    continue;
                }
                // A reliable reader's frames stay, unless it was detached.
                Ok(None) => {
                    self.check_claim()?;
                    return Err(
                        self.fail(format!("the frame at position {} is gone", self.position))
                    );
                }
                Ok(Some(header)) => {
                    return Err(self.fail(format!("a frame ends behind the last one: {header:?}")));
                }
                Err(reason) => return Err(self.fail(reason)),
            };
            self.missed_until(header.first_sequence);
            self.position = header.end();
            self.expected = header.end_sequence();
            self.hand_out(&header);
            if !header.is_pad() {
                return Ok(Some(Frame::new(self.shared.clone(), header)));
            }
        }
    }

    /// The next frame; `None` when none came before the time was up.
    ///
    /// # Errors
    /// As [`try_next`](LogReader::try_next).
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Frame>, ReadError> {
        // A timeout beyond what the clock can tell is forever.
        let end = Instant::now().checked_add(timeout);
        loop {
            if let Some(frame) = self.try_next()? {
                return Ok(Some(frame));
            }
            let left =
                end.map_or(wake::SLEEP_MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left)?;
        }
    }

    /// Looks whether the slot is still this reader's.
    fn check_claim(&mut self) -> Result<(), ReadError> {
        if !self.shared.is_ours() {
            return Err(ReadError::Forked);
        }
        if self.closed {
            return Err(ReadError::Damaged {
                reason: "this reader has failed before and is closed".into(),
            });
        }
        let claim = self.shared.slot().claim();
        if claim == self.shared.claim {
            return Ok(());
        }
        if claim == self.shared.claim.with_state(STATE_DETACHED) {
            return self.rejoin();
        }
        Err(ReadError::TakenOver)
    }

    /// Goes on after having been detached: at the lowest frame that it has not released, or behind what is gone.
    fn rejoin(&mut self) -> Result<(), ReadError> {
        let log = &self.shared.log;
        let control = log.control();
        let (head, slot) = (self.shared.table.head(), self.shared.slot());
        debug_assert_eq!(self.shared.claim.state, STATE_ACTIVE);
        let mut pins = self.shared.pins();
        let (cursor, _) = pins.cursor();
        let rejoined = loop {
            let candidate = control.oldest.0.load(Ordering::Acquire).max(cursor);
            let claim = self.shared.claim;
            if protocol::join(
                control,
                head,
                slot,
                self.shared.index,
                claim,
                candidate,
                log.constants.capacity,
            ) {
                break candidate;
            }
            std::hint::spin_loop();
        };
        pins.forget_below(rejoined);
        if rejoined <= self.position {
            self.shared.publish(&pins);
            return Ok(());
        }
        let first_missed = self.expected;
        // Protected since the join: the frame at `rejoined` stays until the cursor moves on.
        let header = log.header(rejoined).ok().flatten();
        let Some(header) = header.filter(|_| rejoined < protocol::committed(control)) else {
            drop(pins);
            return Err(self.fail(format!("no frame is at the oldest position {rejoined}")));
        };
        pins.position = rejoined;
        pins.sequence = header.first_sequence;
        self.shared.publish(&pins);
        drop(pins);
        self.position = rejoined;
        self.missed_until(header.first_sequence);
        Err(ReadError::Detached { first_missed, missed: header.first_sequence - first_missed })
    }

    /// Nothing more is committed: whether there is another log to go on with.
    fn at_the_end(&mut self, committed: u64) -> Result<bool, ReadError> {
        if self.position > committed {
            return Err(
                self.fail(format!("position {} is behind the end {committed}", self.position))
            );
        }
        let control = self.shared.log.control();
        let Some(successor) = protocol::sealed(control) else { return Ok(false) };
        // The seal came after the last commit, but maybe after the look at `committed`.
        if protocol::committed(control) != committed {
            return Ok(true);
        }
        self.follow(successor)
    }

    /// Where to go on after having been lapped.
    fn place_after_lapping(&mut self, tries: u32) -> Result<u64, ReadError> {
        let log = &self.shared.log;
        let control = log.control();
        let committed = protocol::committed(control);
        if tries > LAPPED_TRIES {
            return Ok(committed);
        }
        let capacity = log.constants.capacity;
        let mut position = control.oldest.0.load(Ordering::Acquire);
        while position < committed
            && position
                < control
                    .reserved
                    .0
                    .load(Ordering::Relaxed)
                    .saturating_sub(capacity - capacity / LAPPED_MARGIN)
        {
            match log.header(position) {
                Ok(Some(header)) => position = header.end(),
                Ok(None) => position = control.oldest.0.load(Ordering::Acquire).max(position),
                Err(reason) => return Err(self.fail(reason)),
            }
        }
        Ok(position)
    }

    /// Counts the events between the one that was expected and `sequence`.
    pub(super) fn missed_until(&mut self, sequence: u64) {
        let gap = sequence.saturating_sub(self.expected);
        if gap > 0 {
            self.missed += gap;
            self.expected = sequence;
            self.shared.slot().progress.missed.store(self.missed, Ordering::Relaxed);
        }
    }

    /// Notes that the frame is in the caller's hands now.
    fn hand_out(&mut self, header: &FrameHeader) {
        if self.options.guarantee == Guarantee::Lossy {
            protocol::advance(self.shared.slot(), self.position, self.expected);
            return;
        }
        let mut pins = self.shared.pins();
        pins.position = self.position;
        pins.sequence = self.expected;
        if !header.is_pad() {
            let now = Now::read();
            pins.push(header, now);
            self.shared.slot().progress.beat_unix_ns.store(now.unix_ns, Ordering::Relaxed);
        }
        self.shared.publish(&pins);
    }

    /// Closes the reader: what it reads makes no sense.
    fn fail(&mut self, reason: String) -> ReadError {
        self.closed = true;
        ReadError::Damaged { reason }
    }
}
