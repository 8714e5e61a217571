//! Bytes of a journal on disk: the header of a segment file, the header of a record, the mark of what is durable.
//! All numbers are little-endian. `docs/event-bus.md` describes the same for people.

/// Layout version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// Bytes of a segment's header; records start behind it.
pub(super) const SEGMENT_HEADER: usize = 64;
/// Bytes of a record's header; its body follows, padded to [`ALIGN`].
pub(super) const RECORD_HEADER: usize = 40;
/// Records start at multiples of this: a search for the next intact record after damage tries no other place.
pub(super) const ALIGN: usize = 8;
/// Bytes of the durable mark.
pub(super) const MARK: usize = 40;

const SEGMENT_MAGIC: [u8; 8] = *b"JBJOURNL";
const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"JBRC");
const MARK_MAGIC: [u8; 8] = *b"JBSYNCED";

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Events.
    Events = 1,
    /// Everything the owner knows beside the events; first record of each segment.
    Snapshot = 2,
    /// A change of what the owner knows, since the snapshot.
    Change = 3,
}

impl Kind {
    fn from_number(number: u16) -> Option<Kind> {
        match number {
            1 => Some(Kind::Events),
            2 => Some(Kind::Snapshot),
            3 => Some(Kind::Change),
            _ => None,
        }
    }
}

/// Header of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Position of the first event that the segment can hold.
    pub(super) first: u64,
    /// When it was created, in nanoseconds since 1970.
    pub(super) created_unix_ns: u64,
}

/// Why a header can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Written by a newer program, in this version.
    Newer(u32),
    /// Not what was written.
    Damaged,
}

impl SegmentHeader {
    /// The header's bytes: magic 0, version 8, header length 12, first 16, created 24, checksum 60.
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(SEGMENT_HEADER as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.created_unix_ns.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header. The version is looked at before the checksum: a newer layout may place that elsewhere.
    pub(super) fn decode(bytes: &[u8]) -> Result<SegmentHeader, BadHeader> {
        if bytes.len() < SEGMENT_HEADER || bytes[..8] != SEGMENT_MAGIC {
            return Err(BadHeader::Damaged);
        }
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(BadHeader::Newer(version));
        }
        if version == 0 || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(BadHeader::Damaged);
        }
        Ok(SegmentHeader { first: u64_at(bytes, 16), created_unix_ns: u64_at(bytes, 24) })
    }
}

/// Header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// What the body is.
    pub(super) kind: Kind,
    /// Bytes of the body, without padding.
    pub(super) body: u32,
    /// Position of the first event; of the next one for records without events.
    pub(super) first: u64,
    /// Events in the body.
    pub(super) count: u32,
    /// When it was stored, in nanoseconds since 1970; never less than in the record before.
    pub(super) time_unix_ns: u64,
    /// CRC-32C of the body.
    pub(super) body_sum: u32,
}

impl RecordHeader {
    /// The header's bytes: magic 0, body length 4, first 8, count 16, kind 20, zero 22, time 24, body's sum 32, header's sum 36.
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[..4].copy_from_slice(&RECORD_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.body.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20..22].copy_from_slice(&(self.kind as u16).to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_unix_ns.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_sum.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when the bytes are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<RecordHeader> {
        if bytes.len() < RECORD_HEADER
            || u32_at(bytes, 0) != RECORD_MAGIC
            || u32_at(bytes, 36) != crc32c::crc32c(&bytes[..36])
        {
            return None;
        }
        Some(RecordHeader {
            kind: Kind::from_number(u16::from_le_bytes([bytes[20], bytes[21]]))?,
            body: u32_at(bytes, 4),
            first: u64_at(bytes, 8),
            count: u32_at(bytes, 16),
            time_unix_ns: u64_at(bytes, 24),
            body_sum: u32_at(bytes, 32),
        })
    }

    /// Bytes from this record's start to the next one's.
    pub(super) fn span(&self) -> u64 {
        (RECORD_HEADER as u64 + u64::from(self.body)).next_multiple_of(ALIGN as u64)
    }

    /// Position after the record's last event.
    pub(super) fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// Up to where the journal is known to be on the disk: what is missing before it is damage, and not the tail that a power cut may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Position of the first event that may not be durable yet.
    pub(super) next: u64,
    /// First position of the segment that was being written.
    pub(super) segment: u64,
    /// Bytes of that segment that are durable.
    pub(super) offset: u64,
}

impl Mark {
    /// The mark's bytes: magic 0, next 8, segment 16, offset 24, zero 32, checksum 36.
    pub(super) fn encode(&self) -> [u8; MARK] {
        let mut bytes = [0; MARK];
        bytes[..8].copy_from_slice(&MARK_MAGIC);
        bytes[8..16].copy_from_slice(&self.next.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.offset.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a mark; `None` when it is torn, which means the same as having none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Mark> {
        if bytes.len() != MARK
            || bytes[..8] != MARK_MAGIC
            || u32_at(bytes, 36) != crc32c::crc32c(&bytes[..36])
        {
            return None;
        }
        Some(Mark { next: u64_at(bytes, 8), segment: u64_at(bytes, 16), offset: u64_at(bytes, 24) })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_written_and_notice_every_flipped_bit() {
        let segment = SegmentHeader { first: 77, created_unix_ns: 5 };
        let bytes = segment.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(segment));
        let record = RecordHeader {
            kind: Kind::Events,
            body: 13,
            first: 9,
            count: 2,
            time_unix_ns: 4,
            body_sum: 0xdead_beef,
        };
        let record_bytes = record.encode();
        assert_eq!(RecordHeader::decode(&record_bytes), Some(record));
        for bit in 0..record_bytes.len() * 8 {
            let mut flipped = record_bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = SegmentHeader { first: 1, created_unix_ns: 0 }.encode();
        bytes[8] = 9;
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Newer(9)));
        bytes[8] = 1;
        bytes[20] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Damaged));
    }
}
