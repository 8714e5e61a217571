//! The two buffers of a connection: what was received and not used, and what is to be sent.

use super::BufferPool;
use crate::limits;

/// Received bytes. Owns nothing while there are none.
#[derive(Debug, Default)]
pub(super) struct Receive {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Receive {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The first `length` bytes are finished with.
    pub(super) fn consume(&mut self, length: usize) {
        self.start += length;
        debug_assert!(self.start <= self.end, "no more is used than was received");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// `length` bytes were read into the space.
    pub(super) fn filled(&mut self, length: usize) {
        assert!(length <= self.buffer.len() - self.end, "no more is read than there was room for");
        self.end += length;
    }

    /// Closes a gap: the bytes from `from` on move down to `to` (both counted from the first byte).
    pub(super) fn close_gap(&mut self, to: usize, from: usize) {
        debug_assert!(to <= from, "bytes move down");
        self.buffer.copy_within(self.start + from..self.end, self.start + to);
        self.end -= from - to;
    }

    /// Makes room to read into. `missing` is how many bytes the message in progress is known to lack, `most` the
    /// longest this buffer may become.
    ///
    /// # Errors
    /// How many bytes the budget of all connections must have free for it, when it has fewer.
    pub(super) fn make_room(
        &mut self,
        pool: &mut BufferPool,
        missing: usize,
        most: usize,
    ) -> Result<(), usize> {
        self.move_to_front();
        let owned = self.buffer.len();
        let mut needs = 0;
        if owned == 0 {
            self.buffer = match pool.take_read() {
                Some(buffer) => buffer,
                None => pool.take_small(),
            };
        } else if owned <= limits::IDLE_BUFFER_BYTES {
            needs = limits::READ_BYTES;
            if let Some(buffer) = pool.take_read() {
                self.move_to(buffer, pool);
            }
        } else if self.end == owned {
            // Grow with what has come, not with what was announced: a length alone costs a client nothing.
            let wanted = if missing > 0 { owned + missing } else { owned * 4 };
            needs = wanted.min(owned * 4).min(most).max(owned + limits::IDLE_BUFFER_BYTES);
            if let Some(buffer) = pool.take_large(needs) {
                self.move_to(buffer, pool);
            }
        }
        if self.end < self.buffer.len() { Ok(()) } else { Err(needs) }
    }

    /// Makes room for `whole` bytes in all, beyond the budget. False while somebody else has overdrawn it.
    pub(super) fn overdraw(&mut self, pool: &mut BufferPool, whole: usize) -> bool {
        self.move_to_front();
        let Some(buffer) = pool.overdraw(whole.max(limits::READ_BYTES)) else { return false };
        self.move_to(buffer, pool);
        true
    }

    fn move_to_front(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// The space to read into.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.end..]
    }

    fn move_to(&mut self, mut buffer: Vec<u8>, pool: &mut BufferPool) {
        buffer[..self.end].copy_from_slice(&self.buffer[..self.end]);
        pool.give(std::mem::replace(&mut self.buffer, buffer));
    }

    /// Gives back what is not needed while the connection waits.
    pub(super) fn settle(&mut self, pool: &mut BufferPool) {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            pool.give(std::mem::take(&mut self.buffer));
        } else if self.buffer.len() > limits::IDLE_BUFFER_BYTES
            && self.len() < limits::IDLE_BUFFER_BYTES
        {
            // A small one that is full could not be read into when there is no memory for another.
            let mut small = pool.take_small();
            let length = self.len();
            small[..length].copy_from_slice(self.bytes());
            (self.start, self.end) = (0, length);
            pool.give(std::mem::replace(&mut self.buffer, small));
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// The size of the buffer owned at the moment.
    pub(super) fn owned(&self) -> usize {
        self.buffer.len()
    }
}

/// Bytes to send. Owns nothing while there are none.
#[derive(Debug, Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    sent: usize,
    /// Since when nothing of the pending bytes was taken.
    stalled_ns: u64,
    /// The peer takes nothing any more: whatever is written is dropped.
    dropped: bool,
}

impl Output {
    pub(super) fn pending(&self) -> &[u8] {
        &self.buffer[self.sent..]
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.buffer.len()
    }

    pub(super) const fn stalled_ns(&self) -> u64 {
        self.stalled_ns
    }

    /// Lets `write` append, and says by how much the vector is longer than what is pending.
    pub(super) fn write<R>(
        &mut self,
        pool: &mut BufferPool,
        now_ns: u64,
        write: impl FnOnce(&mut Vec<u8>, usize) -> R,
    ) -> R {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.take_output();
        }
        if self.is_empty() {
            self.buffer.clear();
            self.sent = 0;
            self.stalled_ns = now_ns;
        }
        let result = write(&mut self.buffer, self.sent);
        if self.dropped {
            self.buffer.clear();
        }
        result
    }

    /// The peer took `length` bytes.
    pub(super) fn sent(&mut self, length: usize, now_ns: u64) {
        assert!(length <= self.len(), "no more is sent than was pending");
        self.sent += length;
        self.stalled_ns = now_ns;
        if self.is_empty() {
            self.buffer.clear();
            self.sent = 0;
        } else if self.sent >= limits::OUTPUT_HIGH_BYTES {
            // Bounds the vector for a client that always leaves a rest.
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// The peer takes nothing any more.
    pub(super) fn drop_all(&mut self) {
        self.buffer.clear();
        self.sent = 0;
        self.dropped = true;
    }

    pub(super) fn settle(&mut self, pool: &mut BufferPool) {
        if self.is_empty() && self.buffer.capacity() > 0 {
            self.sent = 0;
            pool.give_output(std::mem::take(&mut self.buffer));
        }
    }

    /// The size of the buffer owned at the moment.
    pub(super) fn owned(&self) -> usize {
        self.buffer.capacity()
    }
}
