//! The floor: a copy of the same bytes. Nothing that keeps an event does less.

use std::hint::black_box;

/// Copies the same bytes over and over.
pub(crate) struct Copying {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copying {
    pub(crate) fn new(from: Vec<u8>) -> Self {
        Self { to: vec![0; from.len()], from }
    }

    pub(crate) fn run(&mut self) {
        self.to.copy_from_slice(black_box(&self.from));
        black_box(&self.to);
    }
}
