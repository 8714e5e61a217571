//! The floor under every wake-up of a reader: a bare futex in a shared file, and nothing else.
//!
//! `wake_floor FILE COUNT PAUSE_US`: `COUNT` times, with a pause before each, writes the time (nanoseconds of the
//! monotonic clock, u64 at offset 8), counts the word at offset 0 up and wakes who sleeps on it. `perf/latency` sleeps
//! on it from Python and compares.

use std::{
    fs::OpenOptions,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use jimbot_shm::Now;
use memmap2::MmapMut;
use rustix::thread::futex;

/// Bytes of the file.
const LENGTH: u64 = 4096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(count), Some(pause_us)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: wake_floor FILE COUNT PAUSE_US".into());
    };
    let (count, pause_us): (u32, u64) = (count.parse()?, pause_us.parse()?);
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    file.set_len(LENGTH)?;
    // SAFETY: the file is made for this run by the program that started this one; it neither shrinks nor is it a file
    // that others write, and both words in it are only ever used as atomics.
    let map = unsafe { MmapMut::map_mut(&file)? };
    // SAFETY: the mapping is page-aligned, longer than both words, and lives until the end of `main`.
    let (word, stamp) =
        unsafe { (&*map.as_ptr().cast::<AtomicU32>(), &*map.as_ptr().add(8).cast::<AtomicU64>()) };
    for _ in 0..count {
        std::thread::sleep(Duration::from_micros(pause_us));
        stamp.store(Now::read().mono_ns, Ordering::Relaxed);
        word.fetch_add(1, Ordering::Release);
        futex::wake(word, futex::Flags::empty(), 1)?;
    }
    Ok(())
}
