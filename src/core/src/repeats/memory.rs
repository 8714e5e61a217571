//! Memory for the tables: their own, or some that is lent for as long as the process lives.
//!
//! What costs in tables far larger than the caches is finding the page as much as fetching the line, so the shell lends
//! memory in huge pages. The core, which makes no system calls, takes it as a slice.

use std::ops::{Deref, DerefMut};

/// A list of fixed length.
#[derive(Debug)]
pub(super) enum Memory<T: 'static> {
    Own(Vec<T>),
    Lent(&'static mut [T]),
}

impl<T> Deref for Memory<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        match self {
            Memory::Own(list) => list,
            Memory::Lent(list) => list,
        }
    }
}

impl<T> DerefMut for Memory<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Memory::Own(list) => list,
            Memory::Lent(list) => list,
        }
    }
}
