//! Open against a reader that holds nobody: what it took for intact was intact.

use loom::{sync::Arc, thread};

use super::{FRAME, Shared};
use crate::protocol;

/// Needs the release fence of `publish_reserved` and the acquire fence of `intact`.
#[test]
fn a_copy_that_is_found_intact_has_no_byte_of_the_next_lap() {
    loom::model(|| {
        let shared = Arc::new(Shared::new());
        let writer = shared.clone();
        let writing = thread::spawn(move || writer.write_second_frame().expect("nobody holds"));
        let copy = shared.copy();
        if protocol::intact(&shared.control, 0, FRAME) {
            assert_eq!(copy, [1, 1]);
        }
        writing.join().expect("the writer is done");
    });
}

/// Needs the same, and that a detached reader looks whether its frame is intact before it believes what it has read.
#[test]
fn a_reader_that_is_detached_while_it_copies_finds_out() {
    loom::model(|| {
        let shared = Arc::new(Shared::new().held());
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            if let Err(slot) = writer.write_second_frame() {
                let seen = protocol::Claim::from_word(
                    writer.slots[slot].claim.load(loom::sync::atomic::Ordering::Acquire),
                );
                assert!(protocol::detach(&writer.slots[slot], seen));
                writer.write_second_frame().expect("nobody holds any more");
            }
        });
        let copy = shared.copy();
        if protocol::intact(&shared.control, 0, FRAME) {
            assert_eq!(copy, [1, 1]);
        }
        writing.join().expect("the writer is done");
    });
}
