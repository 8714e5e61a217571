//! Loom models of the protocol: every interleaving, and every value that a relaxed load may see.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p jimbot-shm --lib`
//!
//! Each model fails when one of the orderings it is about is weakened; which ones is said with it. The ring is two words:
//! a frame of 64 bytes, and a capacity of one frame, so that the second frame overwrites the first.

mod holding;
mod validity;
mod visibility;
mod waking;

use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::protocol::{
    Claim, Committed, Control, Line, Progress, STATE_ACTIVE, STATE_FREE, Seal, ServiceLine, Slot,
    TableHead, Wake,
};

/// Bytes of a frame, and of the ring.
pub(crate) const FRAME: u64 = 64;

/// The words both sides share, with one frame committed at position 0.
pub(crate) struct Shared {
    pub(crate) control: Control,
    pub(crate) head: TableHead,
    pub(crate) slots: [Slot; 1],
    pub(crate) ring: [AtomicU64; 2],
}

fn word(value: u64) -> AtomicU64 {
    AtomicU64::new(value)
}

fn slot() -> Slot {
    Slot {
        claim: word(FREE.word()),
        pid: AtomicU32::new(0),
        options: AtomicU32::new(0),
        joined_unix_ns: word(0),
        detached_unix_ns: word(0),
        progress: Progress {
            cursor: word(0),
            next_sequence: word(1),
            missed: word(0),
            pinned_bytes: word(0),
            pinned_since_unix_ns: word(0),
            beat_unix_ns: word(0),
        },
        name: std::array::from_fn(|_| word(0)),
        reserved: std::array::from_fn(|_| word(0)),
    }
}

pub(crate) const FREE: Claim = Claim { generation: 0, reliable: true, state: STATE_FREE };
pub(crate) const ACTIVE: Claim = Claim { generation: 1, reliable: true, state: STATE_ACTIVE };

impl Shared {
    pub(crate) fn new() -> Shared {
        Shared {
            control: Control {
                committed: Committed {
                    position: word(FRAME),
                    sequence_before: word(2),
                    sequence_after: word(2),
                },
                reserved: Line(word(FRAME)),
                intent: Line(word(FRAME)),
                oldest: Line(word(0)),
                open_pos: Line(word(u64::MAX)),
                open_state: Line(word(0)),
                wake: Wake(AtomicU32::new(0)),
                service: ServiceLine {
                    generation: word(1),
                    started_unix_ns: word(0),
                    reader_lease_ns: word(0),
                    pid: AtomicU32::new(0),
                    full_policy: AtomicU32::new(0),
                },
                seal: Seal { successor: word(0), sealed: AtomicU32::new(0) },
            },
            head: TableHead {
                magic: word(0),
                version_and_slots: word(0),
                log_epoch: word(0),
                waiting: Line(word(0)),
                occupied: Line(word(0)),
            },
            slots: [slot()],
            ring: [word(1), word(1)],
        }
    }

    /// The slot is taken by a reliable reader with its cursor at the first frame.
    pub(crate) fn held(self) -> Shared {
        self.slots[0].claim.store(ACTIVE.word(), Ordering::Relaxed);
        self.head.occupied.0.store(1, Ordering::Relaxed);
        self
    }

    /// The writer overwrites the first frame, if it may.
    pub(crate) fn write_second_frame(&self) -> Result<(), usize> {
        crate::protocol::claim_room(&self.control, &self.head, &self.slots, 2 * FRAME, FRAME)?;
        crate::protocol::publish_reserved(&self.control, 2 * FRAME);
        for word in &self.ring {
            word.store(2, Ordering::Relaxed);
        }
        crate::protocol::publish_committed(&self.control, 2 * FRAME, 3);
        Ok(())
    }

    /// The reader copies the frame at position 0.
    pub(crate) fn copy(&self) -> [u64; 2] {
        [self.ring[0].load(Ordering::Relaxed), self.ring[1].load(Ordering::Relaxed)]
    }
}
