//! Batches that the bus could not take yet, on disk: in order, bounded in bytes, checksummed, there after a SIGKILL.

use std::io;
use std::path::Path;

use bytes::Bytes;
use jimbot_core::time::Now;

use crate::journal::{
    Append, AppendError, Journal, Kind, OpenError, Options, Place, Reader, Retention, Syncer,
};

/// Bytes before the payload of each record: epoch and first sequence.
const HEAD: usize = 16;

/// A batch of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Instance of the log.
    pub log_epoch: u64,
    /// Sequence of the first event.
    pub first_sequence: u64,
    /// Events.
    pub events: u32,
    /// The payload as it lay in the log.
    pub payload: Bytes,
}

impl Batch {
    /// Sequence of the last event.
    pub fn last_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.events) - 1
    }
}

/// Why a batch was not taken.
#[derive(Debug)]
pub enum SpillError {
    /// The spill has as many bytes as it may have, or the disk has no room.
    Full,
    /// The disk failed.
    Failed(String),
}

/// The spill of one forwarder.
#[derive(Debug)]
pub struct Spill {
    journal: Journal,
    reader: Reader,
    place: Place,
    bytes_max: u64,
    /// Position of the first event that was not handed out.
    read: u64,
    /// Position of the first event that the bus has not acknowledged.
    done: u64,
    noted: u64,
}

impl Spill {
    /// Opens or creates the spill in `dir`. What is in it has not been delivered, but for the last second before a kill.
    pub fn open(dir: &Path, bytes_max: u64, now: Now) -> Result<Spill, OpenError> {
        let mut done = 0;
        let options = Options {
            segment_bytes: (bytes_max / 16).clamp(64 << 10, 64 << 20),
            // What is intact is delivered; that something is missing is in the messages, and the bus tells the gap.
            accept_loss: true,
        };
        let journal = Journal::open(dir, options, now, &mut |kind, record| {
            if matches!(kind, Kind::Snapshot | Kind::Change) && record.body.len() == 8 {
                done = u64::from_le_bytes(record.body[..].try_into().expect("eight bytes"));
            }
        })?;
        let reader = journal.reader();
        let done = done.max(reader.earliest());
        Ok(Spill {
            journal,
            reader,
            place: Place::default(),
            bytes_max,
            read: done,
            done,
            noted: done,
        })
    }

    /// Events in it that the bus has not acknowledged.
    pub fn events(&self) -> u64 {
        self.journal.next() - self.done
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.reader.bytes()
    }

    /// What flushes it, from another thread.
    pub fn syncer(&self) -> Syncer {
        self.journal.syncer()
    }

    /// Takes a batch behind all others. When it returns, the batch survives the process.
    pub fn push(&mut self, batch: &Batch, now: Now) -> Result<(), SpillError> {
        if self.bytes() + batch.payload.len() as u64 > self.bytes_max {
            return Err(SpillError::Full);
        }
        let keep = Retention { bytes: u64::MAX, events: u64::MAX, age_ns: u64::MAX };
        if self.journal.wants_roll(now, &keep) {
            self.journal.roll(&self.done.to_le_bytes(), now).map_err(spill_error)?;
        }
        let epoch = batch.log_epoch.to_le_bytes();
        let first = batch.first_sequence.to_le_bytes();
        let body: [&[u8]; 3] = [&epoch, &first, &batch.payload];
        let item = Append { kind: Kind::Events, count: batch.events, body: &body };
        self.journal.append(&[item], now).map(|_| ()).map_err(spill_error)
    }

    /// The next batch that was not handed out, with the position behind it.
    pub fn take(&mut self) -> io::Result<Option<(Batch, u64)>> {
        loop {
            if self.read >= self.journal.next() {
                return Ok(None);
            }
            let found = self.reader.read(&mut self.place, self.read, 1)?;
            if let Some(lost) = found.lost {
                log::error!(
                    "{} spilled events are damaged and can't be delivered",
                    lost.next - lost.first
                );
            }
            let Some(record) = found.records.into_iter().next() else {
                if found.next <= self.read {
                    return Ok(None);
                }
                self.read = found.next;
                continue;
            };
            self.read = record.next();
            if record.body.len() < HEAD {
                continue;
            }
            let number = |at: usize| {
                u64::from_le_bytes(record.body[at..at + 8].try_into().expect("eight bytes"))
            };
            let batch = Batch {
                log_epoch: number(0),
                first_sequence: number(8),
                events: record.count,
                payload: record.body.slice(HEAD..),
            };
            return Ok(Some((batch, record.next())));
        }
    }

    /// Hands out again what was handed out and not acknowledged.
    pub fn rewind(&mut self) {
        self.read = self.done;
    }

    /// The bus has everything before `position`.
    pub fn acknowledge(&mut self, position: u64) {
        self.done = self.done.max(position);
    }

    /// Notes on disk what was acknowledged, and removes what is no longer needed. To be called about once a second.
    pub fn tidy(&mut self, now: Now) {
        if self.noted == self.done {
            return;
        }
        self.noted = self.done;
        let drained = self.done == self.journal.next();
        let done = self.done.to_le_bytes();
        // Without the note delivered events go out again, and the bus knows them.
        let noted = if drained && self.bytes() > 64 << 10 {
            self.journal.roll(&done, now).map(|()| 0)
        } else {
            self.journal.append(&[Append { kind: Kind::Change, count: 0, body: &[&done] }], now)
        };
        if let Err(error) = noted {
            log::warn!("the spill could not note what was delivered: {error}");
        }
        if let Err(error) = self.journal.trim_before(self.done) {
            log::warn!("the spill could not remove what was delivered: {error}");
        }
    }
}

fn spill_error(error: AppendError) -> SpillError {
    match error {
        AppendError::Full(_) => SpillError::Full,
        AppendError::Failed(reason) => SpillError::Failed(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { mono_ns: 1, unix_ns: 1 };

    fn batch(first_sequence: u64) -> Batch {
        Batch {
            log_epoch: 7,
            first_sequence,
            events: 10,
            payload: vec![first_sequence as u8; 1000].into(),
        }
    }

    #[test]
    fn batches_come_out_in_order_and_again_until_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = Spill::open(dir.path(), 1 << 20, NOW).unwrap();
        for first in [1, 11, 21] {
            spill.push(&batch(first), NOW).unwrap();
        }
        let (first, end) = spill.take().unwrap().unwrap();
        assert_eq!(first, batch(1));
        assert_eq!(spill.take().unwrap().unwrap().0, batch(11));
        spill.acknowledge(end);
        spill.rewind();
        assert_eq!(spill.take().unwrap().unwrap().0, batch(11));
        spill.tidy(NOW);
        drop(spill);
        let mut spill = Spill::open(dir.path(), 1 << 20, NOW).unwrap();
        assert_eq!(spill.events(), 20);
        assert_eq!(spill.take().unwrap().unwrap().0, batch(11));
        assert_eq!(spill.take().unwrap().unwrap().0, batch(21));
        assert_eq!(spill.take().unwrap(), None);
    }

    #[test]
    fn it_is_bounded_and_drained_room_is_room_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = Spill::open(dir.path(), 300 << 10, NOW).unwrap();
        let mut pushed = 0;
        for round in 0..5 {
            while spill.push(&batch(pushed * 10 + 1), NOW).is_ok() {
                pushed += 1;
            }
            assert!(spill.bytes() <= 300 << 10, "round {round}");
            while let Some((_, end)) = spill.take().unwrap() {
                spill.acknowledge(end);
            }
            spill.tidy(NOW);
            assert_eq!(spill.events(), 0);
            assert!(spill.bytes() < 70 << 10, "round {round}: {}", spill.bytes());
        }
        assert!(pushed > 1000);
    }
}
