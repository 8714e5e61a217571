//! Buffers that connections borrow while they hold bytes.
//!
//! Reading goes straight into a buffer of [`limits::READ_BYTES`] that the last connection gave back a moment ago, so
//! it is warm in the cache and nothing is copied. A connection that waits for its peer with a piece of a request keeps
//! at most [`limits::IDLE_BUFFER_BYTES`]; what it keeps beyond that counts towards one budget for all.

use crate::limits;

/// The buffers of one service.
#[derive(Debug)]
pub struct BufferPool {
    read: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
    output: Vec<Vec<u8>>,
    budget: usize,
    used: usize,
}

impl BufferPool {
    /// A pool with a budget of `budget` bytes. Takes its read buffer and its lists at once.
    pub fn new(budget: usize) -> BufferPool {
        let mut read = Vec::with_capacity(limits::READ_BUFFERS_KEPT);
        read.push(vec![0; limits::READ_BYTES]);
        BufferPool {
            read,
            small: Vec::with_capacity(limits::SMALL_BUFFERS_KEPT),
            output: Vec::with_capacity(limits::SMALL_BUFFERS_KEPT),
            budget: budget.max(limits::READ_BYTES),
            used: 0,
        }
    }

    /// Bytes lent beyond the small buffers.
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Bytes that can still be lent beyond the small buffers.
    pub const fn available(&self) -> usize {
        self.budget.saturating_sub(self.used)
    }

    /// Takes a share of the budget without a buffer.
    pub(super) const fn claim(&mut self, bytes: usize) -> bool {
        let granted = bytes <= self.available();
        if granted {
            self.used += bytes;
        }
        granted
    }

    /// Gives a share back.
    pub(super) const fn unclaim(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "what is given back was claimed");
        self.used -= bytes;
    }

    /// A read buffer, unless the budget is used up.
    pub(super) fn take_read(&mut self) -> Option<Vec<u8>> {
        self.claim(limits::READ_BYTES)
            .then(|| self.read.pop().unwrap_or_else(|| vec![0; limits::READ_BYTES]))
    }

    /// A small buffer: every connection may have one.
    pub(super) fn take_small(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_else(|| vec![0; limits::IDLE_BUFFER_BYTES])
    }

    /// A buffer of `bytes`, more than a read buffer, unless the budget is used up.
    pub(super) fn take_large(&mut self, bytes: usize) -> Option<Vec<u8>> {
        debug_assert!(bytes > limits::READ_BYTES, "smaller ones are pooled");
        self.claim(bytes).then(|| vec![0; bytes])
    }

    /// A buffer of `bytes`, at least a read buffer, beyond the budget; `None` while something is lent beyond it.
    pub(super) fn overdraw(&mut self, bytes: usize) -> Option<Vec<u8>> {
        debug_assert!(bytes >= limits::READ_BYTES, "smaller ones are pooled");
        (self.used <= self.budget).then(|| {
            self.used += bytes;
            vec![0; bytes]
        })
    }

    /// Takes any of these buffers back.
    pub(super) fn give(&mut self, buffer: Vec<u8>) {
        match buffer.len() {
            0 => {}
            limits::IDLE_BUFFER_BYTES => {
                if self.small.len() < limits::SMALL_BUFFERS_KEPT {
                    self.small.push(buffer);
                }
            }
            limits::READ_BYTES => {
                self.unclaim(limits::READ_BYTES);
                if self.read.len() < limits::READ_BUFFERS_KEPT {
                    self.read.push(buffer);
                }
            }
            large => self.unclaim(large),
        }
    }

    /// An empty buffer for answers.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        self.output.pop().unwrap_or_else(|| Vec::with_capacity(limits::IDLE_BUFFER_BYTES))
    }

    /// Takes a buffer for answers back. One that a long answer made large is not kept.
    pub(super) fn give_output(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() >= limits::IDLE_BUFFER_BYTES
            && buffer.capacity() <= limits::OUTPUT_HIGH_BYTES
            && self.output.len() < limits::SMALL_BUFFERS_KEPT
        {
            buffer.clear();
            self.output.push(buffer);
        }
    }
}
