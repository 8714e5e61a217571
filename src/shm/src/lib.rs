//! The shared-memory log: one writer, many readers, on one host.
//!
//! The writer stores events into the open frame of a ring; one release store per event is the moment of "stored". Readers
//! map the same file, keep a cursor in a slot, and wait in the kernel. `docs/shared-memory.md` describes the files and the
//! protocol for readers in other languages; [`layout`] is the same in code.
//!
//! * [`LogWriter`]: creates the log or takes it over, recovers what a killed service left, appends, commits, wakes.
//! * [`LogReader`]: joins under a name, lossy (never holds anyone) or reliable (holds the writer, resumes at its cursor).
//! * [`Counters`], [`CountersReader`]: named 64-bit cells that anyone with the directory can watch.
//!
//! The lock-free steps are in `protocol`, over atomics that loom can replace.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "the shared-memory log needs Linux on x86-64 or aarch64: its layout is little-endian and it uses futexes and OFD locks"
);

pub mod layout;
mod protocol;
mod sync;

#[cfg(all(test, loom))]
mod models;

#[cfg(not(loom))]
mod counters;
#[cfg(not(loom))]
mod crash;
#[cfg(not(loom))]
mod directory;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod frame;
#[cfg(not(loom))]
mod lock;
#[cfg(not(loom))]
mod map;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod slots;
#[cfg(not(loom))]
mod time;
#[cfg(not(loom))]
mod wake;
#[cfg(not(loom))]
mod writer;

#[cfg(not(loom))]
pub use {
    counters::{Counters, CountersReader},
    error::{OpenError, Overrun, ReadError},
    file::{LogInfo, inspect},
    frame::{EntryFlags, FrameHeader, IndexEntry},
    reader::{Frame, FrameCopy, Lag, LogReader, ReaderOptions, Start, Waited, Waiter},
    slots::Guarantee,
    time::Now,
    writer::{Commit, Full, FullPolicy, LogOptions, LogWriter, ReaderStatus, Recovery},
};

#[cfg(all(not(loom), feature = "crash-points"))]
pub use crash::{CRASH_POINTS, arm_crash};
