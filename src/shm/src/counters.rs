//! Named 64-bit cells that a service stores and anyone with the directory can watch, at no cost to the service.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    directory::{self, COUNTERS, Directory},
    error::OpenError,
    layout::{COUNTERS_MAGIC, LAYOUT_VERSION, counters},
    map::Mapping,
};

/// Most cells of a file.
const CELLS_MAX: u64 = 1 << 16;

fn cells_offset(count: u64) -> u64 {
    counters::NAMES + count * counters::NAME_BYTES
}

fn file_bytes(count: u64) -> u64 {
    cells_offset(count) + 8 * count
}

fn cells(mapping: &Mapping, count: u64) -> &[AtomicU64] {
    let pointer = mapping.pointer(cells_offset(count), 8 * count);
    // SAFETY: the range is asserted to be mapped and lives as long as `mapping`; it begins on a multiple of eight; the
    // cells are atomics, which others may load or store at any time.
    unsafe { std::slice::from_raw_parts(pointer.cast(), count as usize) }
}

/// The counters as their service has them.
#[derive(Debug)]
pub struct Counters {
    mapping: Mapping,
    count: u64,
}

impl Counters {
    /// Makes the counters in the log's directory, all zero, and has watchers of older ones open these.
    ///
    /// # Errors
    /// When a name is empty, longer than 128 bytes or there twice, or the file cannot be made.
    pub fn create(directory: &Path, names: &[&str]) -> Result<Counters, OpenError> {
        let directory = Directory::create(directory)?;
        let count = names.len() as u64;
        if count > CELLS_MAX {
            return Err(OpenError::invalid(format!("{count} counters are more than {CELLS_MAX}")));
        }
        for (index, name) in names.iter().enumerate() {
            if name.is_empty()
                || name.len() as u64 > counters::NAME_BYTES
                || names[..index].contains(name)
            {
                return Err(OpenError::invalid(format!(
                    "the counter name {name:?} is empty, too long or used twice"
                )));
            }
        }
        let fresh = format!("{COUNTERS}.new");
        let path = directory.path_of(&fresh);
        let file = directory.create_fresh(&fresh)?;
        directory.allocate(&fresh, &file, file_bytes(count))?;
        let mapping = Mapping::writable(&file, file_bytes(count))
            .map_err(|error| OpenError::io("map", &path, error))?;
        mapping.half_word(counters::LAYOUT_VERSION).store(LAYOUT_VERSION, Ordering::Relaxed);
        mapping.half_word(counters::CELLS).store(count as u32, Ordering::Relaxed);
        for (index, name) in names.iter().enumerate() {
            let mut bytes = [0; counters::NAME_BYTES as usize];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            for (word, chunk) in bytes.chunks_exact(8).enumerate() {
                let offset =
                    counters::NAMES + index as u64 * counters::NAME_BYTES + 8 * word as u64;
                let value = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
                mapping.word(offset).store(value, Ordering::Relaxed);
            }
        }
        mapping.word(counters::MAGIC).store(COUNTERS_MAGIC, Ordering::Release);
        let before = directory.open_file(COUNTERS, true)?;
        directory.rename(&fresh, COUNTERS)?;
        if let Some(file) = before
            && directory::size(&file).is_ok_and(|size| size >= counters::NAMES)
            && let Ok(old) = Mapping::writable(&file, counters::NAMES)
        {
            old.half_word(counters::REPLACED).store(1, Ordering::Release);
        }
        Ok(Counters { mapping, count })
    }

    /// The cells, in the order of the names.
    pub fn cells(&self) -> &[AtomicU64] {
        cells(&self.mapping, self.count)
    }
}

/// The counters as anyone sees them.
#[derive(Debug)]
pub struct CountersReader {
    mapping: Mapping,
    names: Vec<String>,
}

impl CountersReader {
    /// Opens the counters in the log's directory.
    ///
    /// # Errors
    /// When there are none, or they are not ours.
    pub fn open(directory: &Path) -> Result<CountersReader, OpenError> {
        let directory = Directory::open(directory)?;
        let path = directory.path_of(COUNTERS);
        let file = directory
            .open_file(COUNTERS, false)?
            .ok_or_else(|| OpenError::Missing { path: path.clone() })?;
        let size =
            directory::size(&file).map_err(|error| OpenError::io("look at", &path, error))?;
        if size < counters::NAMES {
            return Err(OpenError::foreign(&path, "it is too short for counters"));
        }
        let mapping =
            Mapping::read_only(&file, size).map_err(|error| OpenError::io("map", &path, error))?;
        match mapping.word(counters::MAGIC).load(Ordering::Acquire) {
            COUNTERS_MAGIC => {}
            0 => return Err(OpenError::NotInitialised { path }),
            _ => {
                return Err(OpenError::foreign(
                    &path,
                    "it does not begin with the counters' magic",
                ));
            }
        }
        let found = mapping.half_word(counters::LAYOUT_VERSION).load(Ordering::Relaxed);
        if found != LAYOUT_VERSION {
            return Err(OpenError::WrongVersion { path, found, expected: LAYOUT_VERSION });
        }
        let count = u64::from(mapping.half_word(counters::CELLS).load(Ordering::Relaxed));
        if count > CELLS_MAX || size < file_bytes(count) {
            return Err(OpenError::Truncated {
                path,
                found: size,
                expected: file_bytes(count.min(CELLS_MAX)),
            });
        }
        let name = |index: u64| {
            let mut bytes = Vec::new();
            mapping.copy_bytes(
                counters::NAMES + index * counters::NAME_BYTES,
                counters::NAME_BYTES,
                &mut bytes,
            );
            bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let names = (0..count).map(name).collect();
        Ok(CountersReader { mapping, names })
    }

    /// Whether a newer service has made counters of its own; then open again.
    pub fn is_replaced(&self) -> bool {
        self.mapping.half_word(counters::REPLACED).load(Ordering::Acquire) == 1
    }

    /// The names, in the order of the cells.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The value of a counter; `None` when there is none of this name.
    pub fn get(&self, name: &str) -> Option<u64> {
        let index = self.names.iter().position(|known| known == name)?;
        Some(cells(&self.mapping, self.names.len() as u64)[index].load(Ordering::Relaxed))
    }

    /// All names and values as they are now.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let cells = cells(&self.mapping, self.names.len() as u64);
        self.names
            .iter()
            .zip(cells)
            .map(|(name, cell)| (name.as_str(), cell.load(Ordering::Relaxed)))
    }
}
