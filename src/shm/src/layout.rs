//! What is where. This file only describes; `docs/shared-memory.md` mirrors it, and a test holds the two together.
//!
//! ```text
//! log                                             readers
//! 0        constants page, never changes          0      head: magic, version, log_epoch
//!          once `magic` is there                  64     waiting   (a bit a slot)
//! 4096     control page, a cache line a word      128    occupied  (a bit a slot)
//! 8192     stage: index of the open frame         4096   64 slots of 256 bytes
//! ring     frames, 64-byte aligned, never wrap
//!
//! frame    header 64 | payload | pad to 64 | index 64 × events
//! ```
//!
//! Everything is little-endian. A *position* counts bytes since the log was created and never goes back; the byte of
//! position `p` is at `ring_offset + p % capacity`. Reserved bytes are zero.

/// Size of the constants page and of the control page; the ring starts on such a boundary.
pub const PAGE_BYTES: u64 = 4096;
/// Frames, index entries and hot words are aligned to a cache line.
pub const LINE_BYTES: u64 = 64;
/// Version of everything described here. Another version is refused.
pub const LAYOUT_VERSION: u32 = 1;

/// First eight bytes of `log`, stored last (release) when the file is ready.
pub const LOG_MAGIC: u64 = u64::from_le_bytes(*b"JIMBTLOG");
/// First eight bytes of `readers`, stored last.
pub const READERS_MAGIC: u64 = u64::from_le_bytes(*b"JIMBTRDR");
/// First eight bytes of `counters`, stored last.
pub const COUNTERS_MAGIC: u64 = u64::from_le_bytes(*b"JIMBTCTR");

/// Offsets of the constants page of `log`. The first 64 bytes keep their meaning in every layout version.
pub mod constants {
    /// u64: [`LOG_MAGIC`](super::LOG_MAGIC); zero while the file is being made.
    pub const MAGIC: u64 = 0;
    /// u32: layout version.
    pub const LAYOUT_VERSION: u64 = 8;
    /// u32: bytes of a frame header.
    pub const HEADER_BYTES: u64 = 12;
    /// u64: 64 random bits that name this log; an event's identity is (`log_epoch`, sequence).
    pub const LOG_EPOCH: u64 = 16;
    /// u64: when the log was created, nanoseconds since 1970.
    pub const CREATED_UNIX_NS: u64 = 24;
    /// u64: bytes of the ring.
    pub const CAPACITY: u64 = 32;
    /// u64: offset of the ring in the file.
    pub const RING_OFFSET: u64 = 40;
    /// u64: offset of the stage in the file.
    pub const STAGE_OFFSET: u64 = 48;
    /// u64: size of the file.
    pub const FILE_BYTES: u64 = 56;
    /// u32: most payload bytes of a frame.
    pub const MAX_BATCH_BYTES: u64 = 64;
    /// u32: most events of a frame.
    pub const MAX_BATCH_EVENTS: u64 = 68;
    /// u64: most bytes of a frame, header and index included.
    pub const MAX_FRAME: u64 = 72;
    /// 16 bytes: key of the index entries' `id_hash`.
    pub const ID_KEY: u64 = 80;
    /// u64: `log_epoch` of the log this one succeeded by rotation, or zero.
    pub const PREDECESSOR: u64 = 96;
    /// u64: `log_epoch` of the first log of the line of rotations that this one is in; its own when it is the first.
    pub const ORIGIN: u64 = 104;
    /// u64: events that were committed to the logs of the line before this one, all together.
    pub const EVENTS_BEFORE: u64 = 112;
    /// End of what is used; reserved from here to the end of the page.
    pub const END: u64 = 120;
}

/// Offsets of the control page from the start of `log`. Each word has a cache line of its own.
pub mod control {
    /// u64 position: end of the last committed frame. Stored with release.
    pub const COMMITTED: u64 = 4096;
    /// u64: sequence that follows the last committed event; stored before `committed`.
    pub const SEQUENCE_BEFORE: u64 = 4104;
    /// u64: the same, stored after `committed` with release. Where both are equal, they belong to the `committed` read in
    /// between.
    pub const SEQUENCE_AFTER: u64 = 4112;
    /// u64 position: the writer may have overwritten everything a capacity below this.
    pub const RESERVED: u64 = 4160;
    /// u64 position: what the writer is about to reserve, before it has looked at the readers.
    pub const INTENT: u64 = 4224;
    /// u64 position: start of the oldest frame that is intact.
    pub const OLDEST: u64 = 4288;
    /// u64 position: start of the open frame; it counts only while it equals `committed`.
    pub const OPEN_POS: u64 = 4352;
    /// u64: events << 40 | payload bytes of the open frame. Its store is the moment of "stored".
    pub const OPEN_STATE: u64 = 4416;
    /// u32: counts wakes; the futex that readers sleep on.
    pub const WAKE: u64 = 4480;
    /// u64: how many services have written this log, the first being 1.
    pub const GENERATION: u64 = 4544;
    /// u64: when this generation started, nanoseconds since 1970.
    pub const STARTED_UNIX_NS: u64 = 4552;
    /// u64: how long a dead reliable reader goes on holding the writer, in nanoseconds.
    pub const READER_LEASE_NS: u64 = 4560;
    /// u32: process id of the writer, shown to people only.
    pub const WRITER_PID: u64 = 4568;
    /// u32: 0 a living reader that fills the log is held, 1 it is detached.
    pub const FULL_POLICY: u64 = 4572;
    /// u64: `log_epoch` of the successor; valid once `seal` is 1.
    pub const SUCCESSOR: u64 = 4608;
    /// u32: 0 in use, 1 SEALED. Stored with release after the last commit.
    pub const SEAL: u64 = 4616;
}

/// Offsets in a frame's header.
pub mod header {
    /// u64: sequence of the frame's first event; in a PAD frame, of the event that follows.
    pub const FIRST_SEQUENCE: u64 = 0;
    /// u32: bytes of payload.
    pub const PAYLOAD_BYTES: u64 = 8;
    /// u32: events, and so entries of the index.
    pub const EVENT_COUNT: u64 = 12;
    /// u64: when the frame's window opened, nanoseconds since 1970.
    pub const OPEN_UNIX_NS: u64 = 16;
    /// u64: when it was committed, nanoseconds since 1970.
    pub const COMMIT_UNIX_NS: u64 = 24;
    /// u32: bit 0 PAD, bit 1 RECOVERED.
    pub const FLAGS: u64 = 32;
    /// u32: bytes to the next frame, a multiple of 64.
    pub const FRAME_BYTES: u64 = 36;
    /// u64: position of this frame.
    pub const POSITION: u64 = 40;
    /// u64: generation of the service that committed it.
    pub const GENERATION: u64 = 48;
    /// u64: checksum of the seven words before it.
    pub const CHECKSUM: u64 = 56;
    /// Size of a header.
    pub const BYTES: u64 = 64;
}

/// Frame flag: fills the end of a lap, has no events.
pub const FRAME_PAD: u32 = 1;
/// Frame flag: was open when its service died, and was committed by the next one.
pub const FRAME_RECOVERED: u32 = 2;

/// Offsets in an index entry.
pub mod entry {
    /// u64: the event's sequence.
    pub const SEQUENCE: u64 = 0;
    /// u32: offset of the event's first byte (after tag and length) from the start of the payload.
    pub const OFFSET: u64 = 8;
    /// u32: bytes of the event.
    pub const LENGTH: u64 = 12;
    /// u16: number of the event's type in the schema.
    pub const EVENT_TYPE: u64 = 16;
    /// u16: see [`EntryFlags`](crate::EntryFlags).
    pub const FLAGS: u64 = 18;
    /// u8: priority.
    pub const PRIORITY: u64 = 20;
    /// u8: dialect of the producer.
    pub const DIALECT: u64 = 21;
    /// u16: zero.
    pub const RESERVED: u64 = 22;
    /// u64: game key.
    pub const GAME_KEY: u64 = 24;
    /// u64: session.
    pub const SESSION: u64 = 32;
    /// u64: keyed hash of the event's id, zero when it had none.
    pub const ID_HASH: u64 = 40;
    /// f64: the producer's time, in the unit of its clock.
    pub const PRODUCER_TIME: u64 = 48;
    /// u64: when its last byte was read, nanoseconds since 1970.
    pub const RECEIVE_UNIX_NS: u64 = 56;
    /// Size of an entry.
    pub const BYTES: u64 = 64;
}

/// Offsets in `readers`.
pub mod readers {
    /// u64: [`READERS_MAGIC`](super::READERS_MAGIC).
    pub const MAGIC: u64 = 0;
    /// u32: layout version.
    pub const LAYOUT_VERSION: u64 = 8;
    /// u32: number of slots.
    pub const SLOTS: u64 = 12;
    /// u64: epoch of the log whose positions the cursors are.
    pub const LOG_EPOCH: u64 = 16;
    /// u64: a bit for each slot whose reader is about to sleep.
    pub const WAITING: u64 = 64;
    /// u64: a bit for each slot that is not free. A slot without its bit is not looked at.
    pub const OCCUPIED: u64 = 128;
    /// First slot.
    pub const FIRST_SLOT: u64 = 4096;
    /// Size of the file.
    pub const FILE_BYTES: u64 = FIRST_SLOT + super::slot::BYTES * super::READER_SLOTS as u64;
}

/// Offsets in a slot of `readers`.
pub mod slot {
    /// u64: generation << 16 | guarantee << 8 | state. State: 0 FREE, 1 ACTIVE, 2 DETACHED. Guarantee: 0 lossy, 1 reliable.
    pub const CLAIM: u64 = 0;
    /// u32: the reader's process id, shown to people only.
    pub const PID: u64 = 8;
    /// u32: bit 0: never detached while it lives.
    pub const OPTIONS: u64 = 12;
    /// u64: when it joined, nanoseconds since 1970.
    pub const JOINED_UNIX_NS: u64 = 16;
    /// u64: when the writer detached it, nanoseconds since 1970; stored by the writer.
    pub const DETACHED_UNIX_NS: u64 = 24;
    /// u64 position: the lowest frame the reader has not released.
    pub const CURSOR: u64 = 64;
    /// u64: sequence of the first event at the cursor; stored before the cursor.
    pub const NEXT_SEQUENCE: u64 = 72;
    /// u64: events the reader was too late for, since it first joined.
    pub const MISSED: u64 = 80;
    /// u64: bytes of the frames handed out and not released.
    pub const PINNED_BYTES: u64 = 88;
    /// u64: since when the oldest of them has been out, nanoseconds since 1970; zero when none is.
    pub const PINNED_SINCE_UNIX_NS: u64 = 96;
    /// u64: the reader's last call, nanoseconds since 1970, shown to people only.
    pub const BEAT_UNIX_NS: u64 = 104;
    /// 64 bytes: name, UTF-8, padded with zeros.
    pub const NAME: u64 = 128;
    /// Size of a slot.
    pub const BYTES: u64 = 256;
}

/// Bytes of a reader's name.
pub const NAME_BYTES: usize = 64;
/// Slots in `readers`; one bit each in `waiting`.
pub const READER_SLOTS: usize = 64;
/// Byte of `readers` that is locked while a slot is claimed or given back; slot `n` is byte `1 + n`.
pub const REGISTRATION_BYTE: u64 = 0;

/// Offsets in `counters`.
pub mod counters {
    /// u64: [`COUNTERS_MAGIC`](super::COUNTERS_MAGIC).
    pub const MAGIC: u64 = 0;
    /// u32: layout version.
    pub const LAYOUT_VERSION: u64 = 8;
    /// u32: number of cells.
    pub const CELLS: u64 = 12;
    /// u32: 1 once a newer file has taken this one's name.
    pub const REPLACED: u64 = 16;
    /// First name; names are [`NAME_BYTES`] each, UTF-8, padded with zeros. The cells (u64) follow the names.
    pub const NAMES: u64 = 64;
    /// Bytes of a name.
    pub const NAME_BYTES: u64 = 128;
}

/// Most payload bytes that may be configured for a frame: what one gRPC message carries with room to spare.
pub const MAX_BATCH_BYTES_LIMIT: u32 = 3 << 20;
/// Most events that may be configured for a frame.
pub const MAX_BATCH_EVENTS_LIMIT: u32 = 1 << 16;
/// Least capacity in frames of the largest size: a reader that keeps up can then never hold the writer.
pub const MIN_FRAMES: u64 = 8;
/// Largest capacity: positions and open frames stay far below what their words can hold.
pub const CAPACITY_LIMIT: u64 = 1 << 40;
/// Capacity when none is asked for, if the file system has four times as much free.
pub const DEFAULT_CAPACITY: u64 = 256 << 20;
/// Bits of `open_state` that hold the payload bytes.
pub const OPEN_STATE_BYTES_BITS: u32 = 40;

/// `bytes` rounded up to a cache line.
pub const fn align_line(bytes: u64) -> u64 {
    bytes.next_multiple_of(LINE_BYTES)
}

/// Bytes of the largest frame with these limits.
pub const fn max_frame(max_batch_bytes: u32, max_batch_events: u32) -> u64 {
    align_line(header::BYTES + max_batch_bytes as u64) + entry::BYTES * max_batch_events as u64
}

/// Offset of the ring: behind the stage, on a page.
pub const fn ring_offset(max_batch_events: u32) -> u64 {
    STAGE_OFFSET + (entry::BYTES * max_batch_events as u64).next_multiple_of(PAGE_BYTES)
}

/// Offset of the stage.
pub const STAGE_OFFSET: u64 = 2 * PAGE_BYTES;

const _: () = {
    assert!(constants::END <= PAGE_BYTES);
    assert!(control::SEAL + 4 <= STAGE_OFFSET);
    assert!(header::CHECKSUM + 8 == header::BYTES && header::BYTES == LINE_BYTES);
    assert!(entry::RECEIVE_UNIX_NS + 8 == entry::BYTES && entry::BYTES == LINE_BYTES);
    assert!(
        slot::NAME + NAME_BYTES as u64 <= slot::BYTES && slot::BYTES.is_multiple_of(LINE_BYTES)
    );
    assert!(readers::OCCUPIED + LINE_BYTES <= readers::FIRST_SLOT);
    assert!(READER_SLOTS == u64::BITS as usize);
    assert!((MAX_BATCH_BYTES_LIMIT as u64) < 1 << OPEN_STATE_BYTES_BITS);
    assert!((MAX_BATCH_EVENTS_LIMIT as u64) < 1 << (u64::BITS - OPEN_STATE_BYTES_BITS));
    // A PAD frame is shorter than a largest frame, and its length is told in 32 bits.
    assert!(max_frame(MAX_BATCH_BYTES_LIMIT, MAX_BATCH_EVENTS_LIMIT) < u32::MAX as u64);
    assert!(
        MIN_FRAMES * max_frame(MAX_BATCH_BYTES_LIMIT, MAX_BATCH_EVENTS_LIMIT) <= CAPACITY_LIMIT
    );
    assert!(max_frame(1, 1).is_multiple_of(LINE_BYTES));
};
