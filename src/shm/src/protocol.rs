//! The lock-free steps between the writer and its readers, and the words they share.
//!
//! Each function is one step of the protocol and says which step of the other side it pairs with. They run on words that
//! lie in the mapped files, and under loom on words of its own.

#[cfg(not(loom))]
use crate::crash::point as crash_point;
use crate::{
    layout::READER_SLOTS,
    sync::{AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(loom)]
fn crash_point(_: &'static str) {}

/// A word on a cache line of its own.
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) AtomicU64);

/// End of the last committed frame, and the sequence that follows it, stored before the position and again after it.
#[repr(C, align(64))]
pub(crate) struct Committed {
    pub(crate) position: AtomicU64,
    pub(crate) sequence_before: AtomicU64,
    pub(crate) sequence_after: AtomicU64,
}

/// The futex word.
#[repr(C, align(64))]
pub(crate) struct Wake(pub(crate) AtomicU32);

/// What a service tells about itself when it starts.
#[repr(C, align(64))]
pub(crate) struct ServiceLine {
    pub(crate) generation: AtomicU64,
    pub(crate) started_unix_ns: AtomicU64,
    pub(crate) reader_lease_ns: AtomicU64,
    pub(crate) pid: AtomicU32,
    pub(crate) full_policy: AtomicU32,
}

/// Whether the log has ended, and which one goes on.
#[repr(C, align(64))]
pub(crate) struct Seal {
    pub(crate) successor: AtomicU64,
    pub(crate) sealed: AtomicU32,
}

/// The control page.
#[repr(C)]
pub(crate) struct Control {
    pub(crate) committed: Committed,
    pub(crate) reserved: Line,
    pub(crate) intent: Line,
    pub(crate) oldest: Line,
    pub(crate) open_pos: Line,
    pub(crate) open_state: Line,
    pub(crate) wake: Wake,
    pub(crate) service: ServiceLine,
    pub(crate) seal: Seal,
}

/// A reader's slot.
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) claim: AtomicU64,
    pub(crate) pid: AtomicU32,
    pub(crate) options: AtomicU32,
    pub(crate) joined_unix_ns: AtomicU64,
    pub(crate) detached_unix_ns: AtomicU64,
    pub(crate) progress: Progress,
    pub(crate) name: [AtomicU64; 8],
    pub(crate) reserved: [AtomicU64; 8],
}

/// What a reader stores as it reads.
#[repr(C, align(64))]
pub(crate) struct Progress {
    pub(crate) cursor: AtomicU64,
    pub(crate) next_sequence: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) pinned_bytes: AtomicU64,
    pub(crate) pinned_since_unix_ns: AtomicU64,
    pub(crate) beat_unix_ns: AtomicU64,
}

/// `readers`, without its slots.
#[repr(C)]
pub(crate) struct TableHead {
    pub(crate) magic: AtomicU64,
    pub(crate) version_and_slots: AtomicU64,
    pub(crate) log_epoch: AtomicU64,
    pub(crate) waiting: Line,
    pub(crate) occupied: Line,
}

#[cfg(not(loom))]
const _: () = {
    use crate::layout::{PAGE_BYTES, control, readers, slot};
    use std::mem::{offset_of, size_of};
    const fn at(offset: usize, documented: u64, base: u64) {
        assert!(offset as u64 + base == documented);
    }
    at(offset_of!(Control, committed.position), control::COMMITTED, PAGE_BYTES);
    at(offset_of!(Control, committed.sequence_before), control::SEQUENCE_BEFORE, PAGE_BYTES);
    at(offset_of!(Control, committed.sequence_after), control::SEQUENCE_AFTER, PAGE_BYTES);
    at(offset_of!(Control, reserved), control::RESERVED, PAGE_BYTES);
    at(offset_of!(Control, intent), control::INTENT, PAGE_BYTES);
    at(offset_of!(Control, oldest), control::OLDEST, PAGE_BYTES);
    at(offset_of!(Control, open_pos), control::OPEN_POS, PAGE_BYTES);
    at(offset_of!(Control, open_state), control::OPEN_STATE, PAGE_BYTES);
    at(offset_of!(Control, wake), control::WAKE, PAGE_BYTES);
    at(offset_of!(Control, service.generation), control::GENERATION, PAGE_BYTES);
    at(offset_of!(Control, service.started_unix_ns), control::STARTED_UNIX_NS, PAGE_BYTES);
    at(offset_of!(Control, service.reader_lease_ns), control::READER_LEASE_NS, PAGE_BYTES);
    at(offset_of!(Control, service.pid), control::WRITER_PID, PAGE_BYTES);
    at(offset_of!(Control, service.full_policy), control::FULL_POLICY, PAGE_BYTES);
    at(offset_of!(Control, seal.successor), control::SUCCESSOR, PAGE_BYTES);
    at(offset_of!(Control, seal.sealed), control::SEAL, PAGE_BYTES);
    at(offset_of!(TableHead, magic), readers::MAGIC, 0);
    at(offset_of!(TableHead, version_and_slots), readers::LAYOUT_VERSION, 0);
    at(offset_of!(TableHead, log_epoch), readers::LOG_EPOCH, 0);
    at(offset_of!(TableHead, waiting), readers::WAITING, 0);
    at(offset_of!(TableHead, occupied), readers::OCCUPIED, 0);
    at(offset_of!(Slot, claim), slot::CLAIM, 0);
    at(offset_of!(Slot, pid), slot::PID, 0);
    at(offset_of!(Slot, options), slot::OPTIONS, 0);
    at(offset_of!(Slot, joined_unix_ns), slot::JOINED_UNIX_NS, 0);
    at(offset_of!(Slot, detached_unix_ns), slot::DETACHED_UNIX_NS, 0);
    at(offset_of!(Slot, progress.cursor), slot::CURSOR, 0);
    at(offset_of!(Slot, progress.next_sequence), slot::NEXT_SEQUENCE, 0);
    at(offset_of!(Slot, progress.missed), slot::MISSED, 0);
    at(offset_of!(Slot, progress.pinned_bytes), slot::PINNED_BYTES, 0);
    at(offset_of!(Slot, progress.pinned_since_unix_ns), slot::PINNED_SINCE_UNIX_NS, 0);
    at(offset_of!(Slot, progress.beat_unix_ns), slot::BEAT_UNIX_NS, 0);
    at(offset_of!(Slot, name), slot::NAME, 0);
    at(size_of::<Slot>(), slot::BYTES, 0);
    assert!(size_of::<Control>() as u64 <= PAGE_BYTES);
    assert!(size_of::<TableHead>() as u64 <= readers::FIRST_SLOT);
};

/// State of a slot, the low byte of its claim.
pub(crate) const STATE_FREE: u64 = 0;
/// The slot's reader holds its name, and the writer too when it is reliable.
pub(crate) const STATE_ACTIVE: u64 = 1;
/// The writer has stopped waiting for the slot's reader; name and cursor are kept.
pub(crate) const STATE_DETACHED: u64 = 2;

/// A slot's claim taken apart. One word, so that whoever compares and swaps it compares all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) generation: u64,
    pub(crate) reliable: bool,
    pub(crate) state: u64,
}

impl Claim {
    pub(crate) const fn from_word(word: u64) -> Claim {
        Claim { generation: word >> 16, reliable: word >> 8 & 0xff == 1, state: word & 0xff }
    }

    pub(crate) const fn word(self) -> u64 {
        self.generation << 16 | (self.reliable as u64) << 8 | self.state
    }

    pub(crate) const fn with_state(self, state: u64) -> Claim {
        Claim { state, ..self }
    }

    const fn holds(self) -> bool {
        self.reliable && self.state == STATE_ACTIVE
    }
}

/// Writer, open: says how far it wants to go, then looks for a reliable reader in the way. Gives the first such slot, and
/// takes its word back.
///
/// The fence pairs with the one in [`join`]: of a writer that says `limit` and a reader that says its cursor, at least one
/// sees the other. The acquire load of a cursor pairs with [`advance`]'s release: what the reader read, it read before it
/// is overwritten.
pub(crate) fn claim_room(
    control: &Control,
    head: &TableHead,
    slots: &[Slot],
    limit: u64,
    capacity: u64,
) -> Result<(), usize> {
    control.intent.0.store(limit, Ordering::Relaxed);
    crash_point("open:intent");
    fence(Ordering::SeqCst);
    match first_holder(head, slots, limit.saturating_sub(capacity)) {
        None => Ok(()),
        Some(slot) => {
            abandon_intent(control);
            Err(slot)
        }
    }
}

/// The first slot whose reader is reliable, ACTIVE, and has its cursor below `floor`.
///
/// Bit and claim are ordered by the fences of [`claim_room`] and [`join`]; elsewhere a late look is good enough.
pub(crate) fn first_holder(head: &TableHead, slots: &[Slot], floor: u64) -> Option<usize> {
    let mut bits = head.occupied.0.load(Ordering::Relaxed);
    while bits != 0 {
        let index = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        let Some(slot) = slots.get(index) else { break };
        let claim = Claim::from_word(slot.claim.load(Ordering::Acquire));
        if claim.holds() && slot.progress.cursor.load(Ordering::Acquire) < floor {
            return Some(index);
        }
    }
    None
}

/// Writer: `intent` falls back to what is really reserved.
pub(crate) fn abandon_intent(control: &Control) {
    control.intent.0.store(control.reserved.0.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Writer, open: from here on everything a capacity below `limit` may be overwritten.
///
/// The fence pairs with the one in [`intact`]: a reader that has seen any byte written after it sees this `reserved`.
pub(crate) fn publish_reserved(control: &Control, limit: u64) {
    control.reserved.0.store(limit, Ordering::Relaxed);
    fence(Ordering::Release);
}

/// Reader: whether the frame at `position` was whole all the while until now, so that what was read of it is right.
pub(crate) fn intact(control: &Control, position: u64, capacity: u64) -> bool {
    fence(Ordering::Acquire);
    position >= control.reserved.0.load(Ordering::Relaxed).saturating_sub(capacity)
}

/// Writer, append: the moment of "stored". Everything of the event was written before.
pub(crate) fn publish_open(control: &Control, open_state: u64) {
    control.open_state.0.store(open_state, Ordering::Release);
}

/// Writer, commit: the frame that ends at `end` can be read. Pairs with [`committed`].
pub(crate) fn publish_committed(control: &Control, end: u64, next_sequence: u64) {
    control.committed.sequence_before.store(next_sequence, Ordering::Relaxed);
    crash_point("commit:sequence");
    control.committed.position.store(end, Ordering::Release);
    crash_point("commit:committed");
    control.committed.sequence_after.store(next_sequence, Ordering::Release);
}

/// Reader: end of what can be read, with the sequence that follows it; `None` when a commit came between (or its writer
/// died in between), and the caller tries again or walks the frames.
///
/// `sequence_after` is read first: the position is then at least its. `sequence_before` is read last: the position is then
/// at most its. Where they are the same, so is the position's.
pub(crate) fn committed_with_sequence(control: &Control) -> Option<(u64, u64)> {
    let after = control.committed.sequence_after.load(Ordering::Acquire);
    let position = control.committed.position.load(Ordering::Acquire);
    let before = control.committed.sequence_before.load(Ordering::Relaxed);
    (before == after).then_some((position, after))
}

/// Reader: end of what can be read. Pairs with [`publish_committed`].
pub(crate) fn committed(control: &Control) -> u64 {
    control.committed.position.load(Ordering::Acquire)
}

/// Reader: takes the slot with the cursor at `candidate`. False when the writer may not have seen it in time; the caller
/// tries again further on.
///
/// Pairs with [`claim_room`].
pub(crate) fn join(
    control: &Control,
    head: &TableHead,
    slot: &Slot,
    index: usize,
    claim: Claim,
    candidate: u64,
    capacity: u64,
) -> bool {
    slot.progress.cursor.store(candidate, Ordering::Relaxed);
    slot.claim.store(claim.word(), Ordering::Release);
    head.occupied.0.fetch_or(1 << index, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    candidate >= control.intent.0.load(Ordering::Relaxed).saturating_sub(capacity)
}

/// Reader: everything below `cursor` is done with. Pairs with the acquire load in [`first_holder`]. The sequence goes
/// first: a reader that dies between the two comes back to frames it has already released, never past ones it has not.
pub(crate) fn advance(slot: &Slot, cursor: u64, next_sequence: u64) {
    slot.progress.next_sequence.store(next_sequence, Ordering::Relaxed);
    slot.progress.cursor.store(cursor, Ordering::Release);
}

/// Writer: stops waiting for a reader, unless the slot has changed hands since its claim was looked at.
pub(crate) fn detach(slot: &Slot, seen: Claim) -> bool {
    slot.claim
        .compare_exchange(
            seen.word(),
            seen.with_state(STATE_DETACHED).word(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        )
        .is_ok()
}

/// Reader: takes over the slot of a dead reader whose cursor has held the writer until now, and so goes on holding it.
/// False when the slot has been detached meanwhile: [`join`] then. Pairs with [`detach`].
pub(crate) fn take_over(slot: &Slot, seen: Claim, claim: Claim) -> bool {
    slot.claim
        .compare_exchange(seen.word(), claim.word(), Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
}

/// Reader, about to sleep: the value to sleep on. After this it looks at `committed` once more.
///
/// `wake` is loaded before the bit is set, so that a wake which takes the bit away is also one that changes `wake`.
pub(crate) fn prepare_wait(control: &Control, head: &TableHead, index: usize) -> u32 {
    let wake = control.wake.0.load(Ordering::Acquire);
    head.waiting.0.fetch_or(1 << index, Ordering::AcqRel);
    fence(Ordering::SeqCst);
    wake
}

/// Reader, awake again.
pub(crate) fn finish_wait(head: &TableHead, index: usize) {
    head.waiting.0.fetch_and(!(1 << index), Ordering::AcqRel);
}

/// Writer, after a commit: whether anyone is about to sleep or asleep. The fence pairs with [`prepare_wait`]'s.
pub(crate) fn sleepers(head: &TableHead) -> bool {
    fence(Ordering::SeqCst);
    head.waiting.0.load(Ordering::Relaxed) != 0
}

/// Writer: changes the futex word; the caller then wakes all who sleep on it.
///
/// All bits go, since all are woken: a reader killed in its sleep costs one wake and no more. They go *before* the word
/// changes. A reader that has the new word has also seen the commit, and a bit it sets after that stays.
pub(crate) fn ring(control: &Control, head: &TableHead) {
    head.waiting.0.swap(0, Ordering::AcqRel);
    control.wake.0.fetch_add(1, Ordering::Release);
}

/// Writer: nothing more will be committed here; `successor` goes on.
pub(crate) fn seal(control: &Control, successor: u64) {
    control.seal.successor.store(successor, Ordering::Relaxed);
    control.seal.sealed.store(1, Ordering::Release);
}

/// Reader: the successor's epoch when the log is sealed.
pub(crate) fn sealed(control: &Control) -> Option<u64> {
    (control.seal.sealed.load(Ordering::Acquire) == 1)
        .then(|| control.seal.successor.load(Ordering::Relaxed))
}

const _: () = assert!(READER_SLOTS <= 64);
