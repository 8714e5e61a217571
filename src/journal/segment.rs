//! One file of a journal: a header and records behind each other. Written by one thread at its end, read by any.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::format::{ALIGN, Kind, RECORD_HEADER, RecordHeader, SEGMENT_HEADER};

/// Distance of entries in the sparse index: a look-up reads at most this much beside what it wants.
const INDEX_STEP: u64 = 256 * 1024;
/// Bytes read at once while looking through headers.
const WINDOW: usize = 64 * 1024;

/// A run of events as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position of the first event.
    pub first: u64,
    /// Events.
    pub count: u32,
    /// When they were stored, in nanoseconds since 1970.
    pub time_unix_ns: u64,
    /// What the owner gave to be stored.
    pub body: Bytes,
}

impl Record {
    /// Position after the last event.
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// What stands at a place in a segment.
#[derive(Debug)]
pub(super) enum Step {
    /// An intact record; the next place is `offset + header.span()`.
    Record(RecordHeader, Bytes),
    /// No intact record; the next one starts at `resume`, if there is another.
    Damage { resume: Option<u64> },
    /// Nothing more.
    End,
}

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    first: u64,
    time_unix_ns: u64,
    offset: u64,
}

#[derive(Debug, Default)]
struct Index {
    entries: Vec<IndexEntry>,
    covered: u64,
}

/// A segment file that is open.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) created_unix_ns: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes that may be read: published by the writer (Release) after the bytes are in the file.
    end: AtomicU64,
    /// Position after the last event; published after `end`, so that who sees it sees the bytes too.
    next: AtomicU64,
    /// Time on the monotonic clock from which the segment ages, in ns; negative before the clock's start.
    pub(super) aged_from_mono_ns: Mutex<i128>,
    index: Mutex<Index>,
}

impl Segment {
    pub(super) fn new(
        first: u64,
        created_unix_ns: u64,
        path: PathBuf,
        file: File,
        end: u64,
    ) -> Segment {
        Segment {
            first,
            created_unix_ns,
            path,
            file,
            end: AtomicU64::new(end),
            next: AtomicU64::new(first),
            aged_from_mono_ns: Mutex::new(0),
            index: Mutex::new(Index { entries: Vec::new(), covered: SEGMENT_HEADER as u64 }),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Makes what lies before `end` readable.
    pub(super) fn publish(&self, end: u64, next: u64) {
        self.end.store(end, Ordering::Release);
        self.next.store(next, Ordering::Release);
    }

    /// What stands at `offset`.
    pub(super) fn step(&self, offset: u64, window: &mut Window) -> io::Result<Step> {
        let end = self.end();
        if offset >= end {
            return Ok(Step::End);
        }
        match self.record_at(offset, end, window)? {
            Some((header, body)) => Ok(Step::Record(header, body)),
            None => Ok(Step::Damage { resume: self.search(offset, end, window)? }),
        }
    }

    fn record_at(
        &self,
        offset: u64,
        end: u64,
        window: &mut Window,
    ) -> io::Result<Option<(RecordHeader, Bytes)>> {
        if end - offset < RECORD_HEADER as u64 {
            return Ok(None);
        }
        let Some(header) =
            RecordHeader::decode(window.get(&self.file, end, offset, RECORD_HEADER)?)
        else {
            return Ok(None);
        };
        if header.span() > end - offset {
            return Ok(None);
        }
        let at = offset + RECORD_HEADER as u64;
        let body = window.get(&self.file, end, at, header.body as usize)?;
        if crc32c::crc32c(body) != header.body_sum {
            return Ok(None);
        }
        Ok(Some((header, Bytes::copy_from_slice(body))))
    }

    fn search(&self, from: u64, end: u64, window: &mut Window) -> io::Result<Option<u64>> {
        let mut offset = from + ALIGN as u64;
        while offset + RECORD_HEADER as u64 <= end {
            if self.record_at(offset, end, window)?.is_some() {
                return Ok(Some(offset));
            }
            offset += ALIGN as u64;
        }
        Ok(None)
    }

    /// Where to start reading for `position`: the offset of the last indexed record that starts at or before it.
    pub(super) fn locate(&self, position: u64, window: &mut Window) -> io::Result<u64> {
        self.seek(window, |entry| entry.first <= position)
    }

    /// Where to start reading for what was stored at `time_unix_ns` or later.
    pub(super) fn locate_time(&self, time_unix_ns: u64, window: &mut Window) -> io::Result<u64> {
        self.seek(window, |entry| entry.time_unix_ns < time_unix_ns)
    }

    fn seek(&self, window: &mut Window, before: impl Fn(&IndexEntry) -> bool) -> io::Result<u64> {
        let mut index = self.index.lock().expect("no holder panics");
        self.extend_index(&mut index, window)?;
        let at = index.entries.partition_point(before);
        Ok(match at.checked_sub(1) {
            Some(at) => index.entries[at].offset,
            None => SEGMENT_HEADER as u64,
        })
    }

    /// Looks at headers only. Stops at damage: what lies behind it is found from the last entry before it.
    fn extend_index(&self, index: &mut Index, window: &mut Window) -> io::Result<()> {
        let end = self.end();
        while index.covered + RECORD_HEADER as u64 <= end {
            let bytes = window.get(&self.file, end, index.covered, RECORD_HEADER)?;
            let Some(header) = RecordHeader::decode(bytes) else { return Ok(()) };
            let far =
                index.entries.last().is_none_or(|last| index.covered - last.offset >= INDEX_STEP);
            if header.kind == Kind::Events && far {
                index.entries.push(IndexEntry {
                    first: header.first,
                    time_unix_ns: header.time_unix_ns,
                    offset: index.covered,
                });
            }
            index.covered += header.span();
        }
        Ok(())
    }
}

/// A piece of a file held in memory, so that small records do not cost a system call each.
#[derive(Debug, Default)]
pub(super) struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `len` bytes at `offset`; the caller has checked that they lie before `end`.
    fn get(&mut self, file: &File, end: u64, offset: u64, len: usize) -> io::Result<&[u8]> {
        let held = self.at..self.at + self.bytes.len() as u64;
        if offset < held.start || offset + len as u64 > held.end {
            let wanted = (len.max(WINDOW) as u64).min(end - offset) as usize;
            self.bytes.resize(wanted, 0);
            self.at = offset;
            if let Err(error) = file.read_exact_at(&mut self.bytes, offset) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let start = (offset - self.at) as usize;
        Ok(&self.bytes[start..start + len])
    }

    /// Gives the memory back, and forgets what was read: there is one of these for each subscription.
    pub(super) fn reset(&mut self) {
        self.bytes = Vec::new();
    }
}
