//! One frame as Python's native batch object.

use std::sync::Arc;

use jimbot_shm::{FrameHeader, IndexEntry, layout};
use pyo3::{
    exceptions::{PyIndexError, PyTypeError, PyValueError},
    prelude::*,
    types::PyBytes,
};

use crate::{buffer::FrameBytes, errors, pin::Pin};

const ENTRY_BYTES: usize = layout::entry::BYTES as usize;

/// What is known of a batch beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) log_epoch: u64,
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) open_unix_ns: u64,
    pub(crate) commit_unix_ns: u64,
    pub(crate) recovered: bool,
    pub(crate) missed_before: u64,
}

impl About {
    pub(crate) fn of(header: &FrameHeader, log_epoch: u64, missed_before: u64) -> About {
        About {
            log_epoch,
            first_sequence: header.first_sequence,
            next_sequence: header.end_sequence(),
            open_unix_ns: header.open_unix_ns,
            commit_unix_ns: header.commit_unix_ns,
            recovered: header.is_recovered(),
            missed_before,
        }
    }
}

/// A batch in memory of its own, as it travels between processes: bytes, payload length, epoch, first and next sequence,
/// opened, committed, recovered, missed before.
type Parts<'py> = (Bound<'py, PyBytes>, usize, u64, u64, u64, u64, u64, bool, u64);

/// A batch: payload, padding to 64 bytes, index; in the log or in memory of its own.
#[pyclass(frozen, module = "jimbot.mcp._native")]
pub(crate) struct Batch {
    pin: Arc<Pin>,
    about: About,
    payload_bytes: usize,
    entries: usize,
    /// Positions in the index of the events that the reader's filter has chosen; `None`: all.
    chosen: Option<Box<[u32]>>,
}

impl Batch {
    pub(crate) fn new(
        pin: Arc<Pin>,
        about: About,
        header: &FrameHeader,
        chosen: Option<Box<[u32]>>,
    ) -> Batch {
        let (payload_bytes, entries) = (header.payload_bytes as usize, header.event_count as usize);
        Batch { pin, about, payload_bytes, entries, chosen }
    }

    /// Payload and index of its own, of the chosen events; `None` when they are already.
    fn copied(&self) -> PyResult<Option<Batch>> {
        let Pin::Log(pin) = &*self.pin else { return Ok(None) };
        let copy = pin.frame()?.copy().map_err(errors::overrun)?;
        let (payload, index) = match &self.chosen {
            None => (copy.payload, copy.index),
            Some(chosen) => select(&copy.payload, &copy.index, chosen),
        };
        let mut bytes = payload;
        let payload_bytes = bytes.len();
        bytes
            .reserve_exact(index_offset(payload_bytes) - payload_bytes + ENTRY_BYTES * index.len());
        bytes.resize(index_offset(payload_bytes), 0);
        index.iter().for_each(|entry| write_entry(entry, &mut bytes));
        let pin = Arc::new(Pin::Own(bytes.into_boxed_slice()));
        Ok(Some(Batch {
            pin,
            about: self.about,
            payload_bytes,
            entries: index.len(),
            chosen: None,
        }))
    }
}

/// Where the index begins.
pub(crate) fn index_offset(payload_bytes: usize) -> usize {
    payload_bytes.next_multiple_of(layout::LINE_BYTES as usize)
}

/// Bytes of payload, padding and index.
pub(crate) fn length(header: &FrameHeader) -> usize {
    index_offset(header.payload_bytes as usize) + ENTRY_BYTES * header.event_count as usize
}

/// The chosen events alone: their elements one behind the other, and their entries with offsets into that.
fn select(payload: &[u8], index: &[IndexEntry], chosen: &[u32]) -> (Vec<u8>, Vec<IndexEntry>) {
    let (mut own_payload, mut own_index) = (Vec::new(), Vec::with_capacity(chosen.len()));
    for &position in chosen {
        let entry = index[position as usize];
        // An element begins where the one before it ends.
        let begin = match (position as usize).checked_sub(1) {
            Some(before) => index[before].end() as usize,
            None => 0,
        };
        let offset = (own_payload.len() + entry.offset as usize - begin) as u32;
        own_payload.extend_from_slice(&payload[begin..entry.end() as usize]);
        own_index.push(IndexEntry { offset, ..entry });
    }
    (own_payload, own_index)
}

/// The entry as it lies in the log.
fn write_entry(entry: &IndexEntry, out: &mut Vec<u8>) {
    out.extend_from_slice(&entry.sequence.to_le_bytes());
    out.extend_from_slice(&entry.offset.to_le_bytes());
    out.extend_from_slice(&entry.length.to_le_bytes());
    out.extend_from_slice(&entry.event_type.to_le_bytes());
    out.extend_from_slice(&entry.flags.to_le_bytes());
    out.extend_from_slice(&[entry.priority, entry.dialect]);
    out.extend_from_slice(&entry.reserved.to_le_bytes());
    out.extend_from_slice(&entry.game_key.to_le_bytes());
    out.extend_from_slice(&entry.session.to_le_bytes());
    out.extend_from_slice(&entry.id_hash.to_le_bytes());
    out.extend_from_slice(&entry.producer_time.to_le_bytes());
    out.extend_from_slice(&entry.receive_time_unix_ns.to_le_bytes());
}

/// Offset and length of an event, from its entry in bytes of our own.
fn place_of(entry: &[u8]) -> (usize, usize) {
    let number = |at: u64| {
        let at = at as usize;
        u32::from_le_bytes(entry[at..at + 4].try_into().expect("four bytes")) as usize
    };
    (number(layout::entry::OFFSET), number(layout::entry::LENGTH))
}

#[pymethods]
impl Batch {
    /// Epoch of the log that it is of.
    #[getter]
    fn log_epoch(&self) -> u64 {
        self.about.log_epoch
    }

    /// Sequence of the frame's first event.
    #[getter]
    fn first_sequence(&self) -> u64 {
        self.about.first_sequence
    }

    /// Sequence behind the frame's last event.
    #[getter]
    fn next_sequence(&self) -> u64 {
        self.about.next_sequence
    }

    /// When the frame's window opened, nanoseconds since 1970.
    #[getter]
    fn open_unix_ns(&self) -> u64 {
        self.about.open_unix_ns
    }

    /// When it was committed, nanoseconds since 1970.
    #[getter]
    fn commit_unix_ns(&self) -> u64 {
        self.about.commit_unix_ns
    }

    /// Whether it was open when its service died.
    #[getter]
    fn recovered(&self) -> bool {
        self.about.recovered
    }

    /// Events lost to the reader directly before it.
    #[getter]
    fn missed_before(&self) -> u64 {
        self.about.missed_before
    }

    /// Chosen events.
    #[getter]
    fn count(&self) -> usize {
        self.chosen.as_ref().map_or(self.entries, |chosen| chosen.len())
    }

    /// Entries of the index in `buffer()`.
    #[getter]
    fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes of the payload, which is at the beginning of `buffer()`.
    #[getter]
    fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Where in `buffer()` the index begins.
    #[getter]
    fn index_offset(&self) -> usize {
        index_offset(self.payload_bytes)
    }

    /// Whether its bytes are memory of its own.
    #[getter]
    fn is_own(&self) -> bool {
        matches!(*self.pin, Pin::Own(_))
    }

    /// Payload, padding and index as an object with a buffer.
    fn buffer(&self) -> FrameBytes {
        FrameBytes::new(self.pin.clone())
    }

    /// The entries of the chosen events, copied; `None` when all are chosen. Raises `Overrun`.
    fn chosen_index<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (Some(chosen), Pin::Log(pin)) = (&self.chosen, &*self.pin) else { return Ok(None) };
        let mut index = Vec::new();
        pin.frame()?.copy_index_into(&mut index).map_err(errors::overrun)?;
        let mut bytes = Vec::with_capacity(ENTRY_BYTES * chosen.len());
        chosen.iter().for_each(|&position| write_entry(&index[position as usize], &mut bytes));
        Ok(Some(PyBytes::new(py, &bytes)))
    }

    /// The chosen events in memory of their own. Raises `Overrun`.
    fn copy(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let py = slf.py();
        let batch = slf.get();
        // Other threads run: it may be megabytes.
        match py.detach(|| batch.copied())? {
            Some(own) => Bound::new(py, own),
            None => Ok(slf),
        }
    }

    /// The bytes of an event of a batch in memory of its own.
    fn event<'py>(&self, py: Python<'py>, position: usize) -> PyResult<Bound<'py, PyBytes>> {
        let Pin::Own(bytes) = &*self.pin else {
            return Err(PyTypeError::new_err("events are cut out of copies"));
        };
        if position >= self.entries {
            return Err(PyIndexError::new_err("there are no more events in this batch"));
        }
        let at = self.index_offset() + ENTRY_BYTES * position;
        let (offset, length) = place_of(&bytes[at..at + ENTRY_BYTES]);
        Ok(PyBytes::new(py, &bytes[offset..offset + length]))
    }

    /// Raises `Overrun` when the frame has been overwritten.
    fn check(&self) -> PyResult<()> {
        self.pin.check()
    }

    /// What `from_parts` makes a batch of; of a batch in memory of its own.
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Parts<'py>> {
        let Pin::Own(bytes) = &*self.pin else {
            return Err(PyTypeError::new_err("only copies travel"));
        };
        let about = &self.about;
        Ok((
            PyBytes::new(py, bytes),
            self.payload_bytes,
            about.log_epoch,
            about.first_sequence,
            about.next_sequence,
            about.open_unix_ns,
            about.commit_unix_ns,
            about.recovered,
            about.missed_before,
        ))
    }

    /// A batch in memory of its own, of what `parts` gave. Raises `ValueError` on anything else.
    #[staticmethod]
    fn from_parts(parts: Parts<'_>) -> PyResult<Batch> {
        let (
            bytes,
            payload_bytes,
            log_epoch,
            first_sequence,
            next_sequence,
            open,
            commit,
            recovered,
            missed,
        ) = parts;
        let bytes = bytes.as_bytes();
        let index = payload_bytes
            .checked_next_multiple_of(layout::LINE_BYTES as usize)
            .and_then(|offset| bytes.get(offset..))
            .filter(|index| index.len().is_multiple_of(ENTRY_BYTES))
            .ok_or_else(|| PyValueError::new_err("these are not the parts of a batch"))?;
        let inside = |entry: &[u8]| {
            let (offset, length) = place_of(entry);
            offset + length <= payload_bytes
        };
        if !index.chunks_exact(ENTRY_BYTES).all(inside) {
            return Err(PyValueError::new_err("an index entry points outside its payload"));
        }
        let about = About {
            log_epoch,
            first_sequence,
            next_sequence,
            open_unix_ns: open,
            commit_unix_ns: commit,
            recovered,
            missed_before: missed,
        };
        let entries = index.len() / ENTRY_BYTES;
        Ok(Batch {
            pin: Arc::new(Pin::Own(bytes.into())),
            about,
            payload_bytes,
            entries,
            chosen: None,
        })
    }
}
