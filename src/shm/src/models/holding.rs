//! Open against reliable readers: what they hold is not overwritten.

use loom::{cell::UnsafeCell, sync::Arc, sync::atomic::Ordering, thread};

use super::{ACTIVE, FRAME, Shared};
use crate::protocol::{self, Claim};

/// Needs both SeqCst fences, `claim_room`'s and `join`'s: without one of them neither side sees the other.
#[test]
fn a_reader_that_has_joined_is_seen_by_the_writer_or_sees_where_it_goes() {
    loom::model(|| {
        let shared = Arc::new(Shared::new());
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            let _ = writer.write_second_frame();
        });
        if protocol::join(&shared.control, &shared.head, &shared.slots[0], 0, ACTIVE, 0, FRAME) {
            assert_eq!(shared.copy(), [1, 1]);
        }
        writing.join().expect("the writer is done");
        if protocol::join(&shared.control, &shared.head, &shared.slots[0], 0, ACTIVE, 0, FRAME) {
            assert_eq!(shared.copy(), [1, 1]);
        }
    });
}

/// Needs `advance`'s release and the acquire load of the cursor: the reader is done before the writer begins. The frame is
/// a cell here, whose reading and writing loom wants ordered.
#[test]
fn a_frame_is_overwritten_only_after_it_was_released() {
    loom::model(|| {
        let shared = Arc::new((Shared::new().held(), UnsafeCell::new(1)));
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            let (shared, frame) = &*writer;
            if protocol::claim_room(&shared.control, &shared.head, &shared.slots, 2 * FRAME, FRAME)
                .is_ok()
            {
                // SAFETY: loom checks that nobody reads it meanwhile; that is the test.
                frame.with_mut(|frame| unsafe { *frame = 2 });
            }
        });
        let (words, frame) = &*shared;
        // SAFETY: as above.
        frame.with(|frame| assert_eq!(unsafe { *frame }, 1));
        protocol::advance(&words.slots[0], FRAME, 2);
        writing.join().expect("the writer is done");
    });
}

/// Needs that claim and state are one word, and that both sides exchange it.
#[test]
fn a_slot_is_taken_over_or_detached_and_never_both() {
    loom::model(|| {
        let shared = Arc::new(Shared::new().held());
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            let Err(slot) = writer.write_second_frame() else { return };
            let seen = Claim::from_word(writer.slots[slot].claim.load(Ordering::Acquire));
            // Only the dead are detached: the first generation is, the second is not.
            if seen.generation == 1 && protocol::detach(&writer.slots[slot], seen) {
                writer.write_second_frame().expect("nobody holds any more");
            }
        });
        let heir = Claim { generation: 2, ..ACTIVE };
        let seen = Claim::from_word(shared.slots[0].claim.load(Ordering::Acquire));
        if seen == ACTIVE && protocol::take_over(&shared.slots[0], seen, heir) {
            assert_eq!(shared.copy(), [1, 1]);
        }
        writing.join().expect("the writer is done");
        let last = Claim::from_word(shared.slots[0].claim.load(Ordering::Acquire));
        if last == heir {
            assert_eq!(shared.copy(), [1, 1]);
        }
    });
}
