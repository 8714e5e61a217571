//! Frame headers and index entries: their bytes, and what makes them believable.

use crate::layout::{self, FRAME_PAD, FRAME_RECOVERED, align_line};

/// Header of a committed frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameHeader {
    /// Sequence of the frame's first event; in a PAD frame, of the event that follows.
    pub first_sequence: u64,
    /// Bytes of payload.
    pub payload_bytes: u32,
    /// Events, and so entries of the index.
    pub event_count: u32,
    /// When the frame's window opened, nanoseconds since 1970.
    pub open_unix_ns: u64,
    /// When it was committed, nanoseconds since 1970.
    pub commit_unix_ns: u64,
    /// [`FRAME_PAD`], [`FRAME_RECOVERED`].
    pub flags: u32,
    /// Bytes to the next frame.
    pub frame_bytes: u32,
    /// Position of this frame.
    pub position: u64,
    /// Generation of the service that committed it.
    pub generation: u64,
}

/// What a header must agree with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    pub(crate) capacity: u64,
    pub(crate) max_batch_bytes: u32,
    pub(crate) max_batch_events: u32,
    pub(crate) max_frame: u64,
}

impl FrameHeader {
    /// Whether the frame fills the end of a lap and has no events.
    pub fn is_pad(&self) -> bool {
        self.flags & FRAME_PAD != 0
    }

    /// Whether the frame was open when its service died.
    pub fn is_recovered(&self) -> bool {
        self.flags & FRAME_RECOVERED != 0
    }

    /// Sequence that follows the frame's last event.
    pub fn end_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.event_count)
    }

    /// Position of the next frame.
    pub fn end(&self) -> u64 {
        self.position + u64::from(self.frame_bytes)
    }

    /// Position of the payload.
    pub(crate) fn payload_position(&self) -> u64 {
        self.position + layout::header::BYTES
    }

    /// Position of the index.
    pub(crate) fn index_position(&self) -> u64 {
        self.position + align_line(layout::header::BYTES + u64::from(self.payload_bytes))
    }

    pub(crate) fn to_words(self) -> [u64; 8] {
        let mut words = [
            self.first_sequence,
            pair(self.payload_bytes, self.event_count),
            self.open_unix_ns,
            self.commit_unix_ns,
            pair(self.flags, self.frame_bytes),
            self.position,
            self.generation,
            0,
        ];
        words[7] = checksum(&words);
        words
    }

    /// The header in `words`, read at `position`, if it can be one. Everything a reader computes with is bounded here.
    pub(crate) fn from_words(
        words: &[u64; 8],
        position: u64,
        limits: &FrameLimits,
    ) -> Result<FrameHeader, String> {
        if words[7] != checksum(words) {
            return Err(format!("the frame at position {position} has a wrong checksum"));
        }
        let header = FrameHeader {
            first_sequence: words[0],
            payload_bytes: words[1] as u32,
            event_count: (words[1] >> 32) as u32,
            open_unix_ns: words[2],
            commit_unix_ns: words[3],
            flags: words[4] as u32,
            frame_bytes: (words[4] >> 32) as u32,
            position: words[5],
            generation: words[6],
        };
        let in_lap = position % limits.capacity + u64::from(header.frame_bytes) <= limits.capacity;
        let content = if header.is_pad() {
            header.event_count == 0
                && header.payload_bytes == 0
                && u64::from(header.frame_bytes) < limits.max_frame
                && header.frame_bytes >= layout::header::BYTES as u32
                && header.frame_bytes.is_multiple_of(layout::LINE_BYTES as u32)
        } else {
            header.event_count >= 1
                && header.event_count <= limits.max_batch_events
                && header.payload_bytes <= limits.max_batch_bytes
                && u64::from(header.frame_bytes)
                    == frame_bytes(header.payload_bytes, header.event_count)
        };
        if header.position == position && in_lap && content {
            Ok(header)
        } else {
            Err(format!("the frame at position {position} contradicts itself: {header:?}"))
        }
    }
}

/// Bytes of a frame with this payload and that many events.
pub(crate) fn frame_bytes(payload_bytes: u32, event_count: u32) -> u64 {
    align_line(layout::header::BYTES + u64::from(payload_bytes))
        + layout::entry::BYTES * u64::from(event_count)
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// FNV-1a over the seven words before the checksum, a word at a time, with the high half folded in after each. It tells a
/// header from what is none; it is no protection against those who may write the file.
fn checksum(words: &[u64; 8]) -> u64 {
    words[..7].iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        let hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        hash ^ hash >> 32
    })
}

/// Bits of an index entry's flags.
pub struct EntryFlags;

impl EntryFlags {
    /// Salvaged from a body that could not be read whole.
    pub const SALVAGED: u16 = 1 << 0;
    /// Has findings.
    pub const FLAGGED: u16 = 1 << 1;
    /// Some text was not UTF-8; its raw bytes are beside it.
    pub const RAW_TEXT: u16 = 1 << 2;
    /// Nothing of it could be read; it is stored as it came.
    pub const UNREADABLE: u16 = 1 << 3;
    /// Which session it belongs to is a guess.
    pub const SESSION_AMBIGUOUS: u16 = 1 << 4;
    /// Was in a frame that a later service committed.
    pub const RECOVERED: u16 = 1 << 5;
    /// Of a type the schema does not know.
    pub const UNKNOWN_TYPE: u16 = 1 << 6;
    /// Older than the newest of its session by the game's own clock.
    pub const OUT_OF_ORDER: u16 = 1 << 7;
}

/// One event's entry in its frame's index, as it lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct IndexEntry {
    /// The event's sequence.
    pub sequence: u64,
    /// Offset of the event's first byte (after tag and length) from the start of the payload.
    pub offset: u32,
    /// Bytes of the event.
    pub length: u32,
    /// Number of the event's type in the schema.
    pub event_type: u16,
    /// Bits of [`EntryFlags`].
    pub flags: u16,
    /// Priority, as in the schema.
    pub priority: u8,
    /// Dialect of the producer.
    pub dialect: u8,
    /// Zero.
    pub reserved: u16,
    /// Key of the game.
    pub game_key: u64,
    /// Session: one run of one game process.
    pub session: u64,
    /// Keyed hash of the event's id; zero when it had none.
    pub id_hash: u64,
    /// The producer's time, in the unit of its clock.
    pub producer_time: f64,
    /// When its last byte was read, nanoseconds since 1970.
    pub receive_time_unix_ns: u64,
}

impl IndexEntry {
    pub(crate) fn from_words(words: [u64; 8]) -> IndexEntry {
        let [
            sequence,
            place,
            kind,
            game_key,
            session,
            id_hash,
            producer_time,
            receive_time_unix_ns,
        ] = words;
        IndexEntry {
            sequence,
            offset: place as u32,
            length: (place >> 32) as u32,
            event_type: kind as u16,
            flags: (kind >> 16) as u16,
            priority: (kind >> 32) as u8,
            dialect: (kind >> 40) as u8,
            reserved: (kind >> 48) as u16,
            game_key,
            session,
            id_hash,
            producer_time: f64::from_bits(producer_time),
            receive_time_unix_ns,
        }
    }

    /// Offset behind the event's last byte.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }
}

const _: () = {
    use layout::entry;
    use std::mem::{offset_of, size_of};
    const fn at(offset: usize, documented: u64) {
        assert!(offset as u64 == documented);
    }
    at(offset_of!(IndexEntry, sequence), entry::SEQUENCE);
    at(offset_of!(IndexEntry, offset), entry::OFFSET);
    at(offset_of!(IndexEntry, length), entry::LENGTH);
    at(offset_of!(IndexEntry, event_type), entry::EVENT_TYPE);
    at(offset_of!(IndexEntry, flags), entry::FLAGS);
    at(offset_of!(IndexEntry, priority), entry::PRIORITY);
    at(offset_of!(IndexEntry, dialect), entry::DIALECT);
    at(offset_of!(IndexEntry, reserved), entry::RESERVED);
    at(offset_of!(IndexEntry, game_key), entry::GAME_KEY);
    at(offset_of!(IndexEntry, session), entry::SESSION);
    at(offset_of!(IndexEntry, id_hash), entry::ID_HASH);
    at(offset_of!(IndexEntry, producer_time), entry::PRODUCER_TIME);
    at(offset_of!(IndexEntry, receive_time_unix_ns), entry::RECEIVE_UNIX_NS);
    at(size_of::<IndexEntry>(), entry::BYTES);
};
