//! What a fork must not inherit: the descriptors that carry locks.
//!
//! A forked child shares its parent's open files, and with them the locks: a slot whose reader has died would look alive
//! for as long as the child lives. So a child closes those descriptors first thing, and readers and writers made before
//! the fork refuse to work in it.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, IntoRawFd},
    sync::{
        Once,
        atomic::{AtomicI32, AtomicU32, Ordering},
    },
};

/// Locks one process can hold at once, over all directories.
const LOCKS_MAX: usize = 1024;
const UNUSED: i32 = -1;
const TAKEN: i32 = -2;

/// Descriptors to close in a child. A fixed table of atomics, because a child of a threaded process may neither lock nor
/// allocate.
static DESCRIPTORS: [AtomicI32; LOCKS_MAX] = [const { AtomicI32::new(UNUSED) }; LOCKS_MAX];
/// How many forks lie between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);
static REGISTER: Once = Once::new();

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    for cell in &DESCRIPTORS {
        let descriptor = cell.swap(UNUSED, Ordering::Relaxed);
        if descriptor >= 0 {
            // SAFETY: the descriptor is one that a `LockFile` of the parent owns; the child's copy of that `LockFile`
            // knows by `FORKS` that it no longer does. close() is async-signal-safe.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// Which process this is, as far as forks go. Objects keep the value they were made under.
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// An open file whose descriptor carries locks, closed in forked children.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: Option<File>,
    cell: usize,
    forks: u32,
}

impl LockFile {
    /// Opens `file` once more, for locks only. A mapping keeps the open file that it was made from alive, and with it that
    /// one's locks: a forked child that closes the descriptor would go on holding them by its copy of the mapping.
    pub(crate) fn reopen(file: &File) -> io::Result<LockFile> {
        let again = format!("/proc/self/fd/{}", file.as_raw_fd());
        LockFile::new(File::options().read(true).write(true).open(again)?)
    }

    fn new(file: File) -> io::Result<LockFile> {
        let mut result = 0;
        REGISTER.call_once(|| {
            // SAFETY: `in_child` is a function that lives as long as the program, and does only what a forked child of a
            // threaded process may do.
            result = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        for (cell, entry) in DESCRIPTORS.iter().enumerate() {
            if entry.compare_exchange(UNUSED, TAKEN, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                entry.store(file.as_raw_fd(), Ordering::Relaxed);
                return Ok(LockFile { file: Some(file), cell, forks: forks() });
            }
        }
        Err(io::Error::other(format!(
            "this process already has {LOCKS_MAX} readers and writers open"
        )))
    }

    /// Whether this process is the one that opened it.
    pub(crate) fn is_ours(&self) -> bool {
        self.forks == forks()
    }

    /// The file; `None` in a forked child, where it is closed.
    pub(crate) fn file(&self) -> Option<&File> {
        if self.is_ours() { self.file.as_ref() } else { None }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        if self.is_ours() {
            // A child forked between the next two steps keeps a descriptor, but no lock. Unlocking what is open cannot fail.
            let unlocked = crate::lock::unlock_all(&file);
            debug_assert!(unlocked.is_ok());
            DESCRIPTORS[self.cell].store(UNUSED, Ordering::Relaxed);
        } else {
            // The number is closed already, and may by now be another file's.
            let _ = file.into_raw_fd();
        }
    }
}
