//! Mapped files, and the only ways to reach into them.
//!
//! Other processes write these bytes, so nothing here is ever a plain reference: words are atomics, bytes are copied with
//! relaxed atomic loads. The exceptions are the writer's own open frame and stage (see `writer`).

use std::{fs::File, io, sync::atomic::Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::{
    layout::{PAGE_BYTES, READER_SLOTS, readers},
    protocol::{Control, Slot, TableHead},
    sync::{AtomicU32, AtomicU64},
};

/// A file mapped whole and shared. Its pages were all allocated when it was made, and processes of our uid are trusted not
/// to cut it short, so an access inside `len` cannot fault.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: MmapRaw,
    len: u64,
}

impl Mapping {
    /// Maps `len` bytes for reading and writing.
    pub(crate) fn writable(file: &File, len: u64) -> io::Result<Mapping> {
        Ok(Mapping { map: MmapOptions::new().len(length(len)?).map_raw(file)?, len })
    }

    /// Maps `len` bytes for reading.
    pub(crate) fn read_only(file: &File, len: u64) -> io::Result<Mapping> {
        Ok(Mapping { map: MmapOptions::new().len(length(len)?).map_raw_read_only(file)?, len })
    }

    /// Enters every page into this process's page tables, so that the hot thread meets no fault when it first comes to
    /// one: 2 µs on a virtual machine. A system that can't (before Linux 5.14) leaves them to be entered one by one.
    pub(crate) fn prefault(&self) {
        let _ = self.map.advise(Advice::PopulateWrite);
    }

    /// Pointer to the byte at `offset`, which has `bytes` bytes of the mapping from there on.
    pub(crate) fn pointer(&self, offset: u64, bytes: u64) -> *mut u8 {
        assert!(offset <= self.len && bytes <= self.len - offset, "access outside the mapping");
        // `wrapping_add` keeps the provenance of the mapping; the assertion keeps it inside.
        self.map.as_mut_ptr().wrapping_add(offset as usize)
    }

    /// The 64-bit word at `offset`, which is a multiple of eight.
    pub(crate) fn word(&self, offset: u64) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        // SAFETY: the assertions and the mapping's page alignment make the pointer valid and aligned for as long as `self`
        // lives; other processes and threads reach the word through atomics too. Of a read-only mapping words are only
        // loaded: no function of the reader stores through its view of the log.
        unsafe { AtomicU64::from_ptr(self.pointer(offset, 8).cast()) }
    }

    /// The 32-bit word at `offset`, which is a multiple of four.
    pub(crate) fn half_word(&self, offset: u64) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4));
        // SAFETY: as for `word`.
        unsafe { AtomicU32::from_ptr(self.pointer(offset, 4).cast()) }
    }

    /// The control page of `log`.
    pub(crate) fn control(&self) -> &Control {
        // SAFETY: `pointer` asserts the range, a page is aligned enough, and `Control` consists of atomics only, for which
        // every bit pattern is valid and which others may change at any time.
        unsafe { &*self.pointer(PAGE_BYTES, size_of::<Control>() as u64).cast() }
    }

    /// The head of `readers`.
    pub(crate) fn table_head(&self) -> &TableHead {
        // SAFETY: as for `control`.
        unsafe { &*self.pointer(0, size_of::<TableHead>() as u64).cast() }
    }

    /// The slots of `readers`.
    pub(crate) fn slots(&self) -> &[Slot] {
        let pointer = self.pointer(readers::FIRST_SLOT, (READER_SLOTS * size_of::<Slot>()) as u64);
        // SAFETY: as for `control`; the range asserted is that of the slice.
        unsafe { std::slice::from_raw_parts(pointer.cast(), READER_SLOTS) }
    }

    /// Copies `out.len()` words from `offset` on, each with a relaxed load. What was overwritten meanwhile is the caller's
    /// to find out.
    pub(crate) fn copy_words(&self, offset: u64, out: &mut [u64]) {
        for (index, word) in out.iter_mut().enumerate() {
            *word = self.word(offset + 8 * index as u64).load(Ordering::Relaxed);
        }
    }

    /// Appends the `bytes` bytes from `offset` (a multiple of eight) on to `out`, read as relaxed words.
    pub(crate) fn copy_bytes(&self, offset: u64, bytes: u64, out: &mut Vec<u8>) {
        assert!(offset.is_multiple_of(8));
        let words = bytes / 8;
        self.pointer(offset, bytes.next_multiple_of(8));
        out.reserve(bytes.next_multiple_of(8) as usize);
        // A block at a time on the stack keeps the loop free of the vector's length checks.
        let mut block = [0u8; 512];
        let mut done = 0;
        while done < words {
            let count = (words - done).min(64);
            for index in 0..count {
                let word = self.word(offset + 8 * (done + index)).load(Ordering::Relaxed);
                block[8 * index as usize..][..8].copy_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&block[..8 * count as usize]);
            done += count;
        }
        let rest = (bytes % 8) as usize;
        if rest > 0 {
            let word = self.word(offset + 8 * words).load(Ordering::Relaxed);
            out.extend_from_slice(&word.to_le_bytes()[..rest]);
        }
    }
}

fn length(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))
}
