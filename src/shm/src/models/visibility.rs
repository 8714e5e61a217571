//! Append and commit: who sees the word sees what it stands for.

use loom::{cell::UnsafeCell, sync::Arc, sync::atomic::Ordering, thread};

use super::{FRAME, Shared};
use crate::{layout::OPEN_STATE_BYTES_BITS, protocol};

/// Needs the release store of `publish_committed` and the acquire load of `committed`.
#[test]
fn who_sees_a_commit_sees_its_frame() {
    loom::model(|| {
        let shared = Arc::new((Shared::new(), UnsafeCell::new(1)));
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            let (shared, frame) = &*writer;
            // SAFETY: loom checks that nobody reads it meanwhile; that is the test.
            frame.with_mut(|frame| unsafe { *frame = 2 });
            protocol::publish_committed(&shared.control, 2 * FRAME, 3);
        });
        let (words, frame) = &*shared;
        if protocol::committed(&words.control) == 2 * FRAME {
            // SAFETY: as above.
            frame.with(|frame| assert_eq!(unsafe { *frame }, 2));
        }
        writing.join().expect("the writer is done");
    });
}

/// Needs the release store of `publish_open`. The one who looks is the next service; the lock, which it gets after the
/// death of the first, is left out, so this holds without it.
#[test]
fn who_sees_an_append_sees_its_event() {
    loom::model(|| {
        let shared = Arc::new((Shared::new(), UnsafeCell::new(0), UnsafeCell::new(0)));
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            let (shared, bytes, stage) = &*writer;
            // SAFETY: loom checks that nobody reads them meanwhile; that is the test.
            bytes.with_mut(|bytes| unsafe { *bytes = 7 });
            // SAFETY: as above.
            stage.with_mut(|stage| unsafe { *stage = 8 });
            protocol::publish_open(&shared.control, 1 << OPEN_STATE_BYTES_BITS | 7);
        });
        let (words, bytes, stage) = &*shared;
        if words.control.open_state.0.load(Ordering::Acquire) != 0 {
            // SAFETY: as above.
            bytes.with(|bytes| assert_eq!(unsafe { *bytes }, 7));
            // SAFETY: as above.
            stage.with(|stage| assert_eq!(unsafe { *stage }, 8));
        }
        writing.join().expect("the writer is done");
    });
}

/// Needs the order of the three stores of `publish_committed` and of the three loads.
#[test]
fn an_end_and_its_sequence_belong_together() {
    loom::model(|| {
        let shared = Arc::new(Shared::new());
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            protocol::publish_committed(&writer.control, 2 * FRAME, 3);
            protocol::publish_committed(&writer.control, 3 * FRAME, 4);
        });
        if let Some((end, sequence)) = protocol::committed_with_sequence(&shared.control) {
            assert_eq!(end / FRAME + 1, sequence);
        }
        writing.join().expect("the writer is done");
    });
}

/// Needs the release store of `seal` and the acquire load of `sealed`.
#[test]
fn who_sees_the_seal_sees_the_successor_and_the_last_commit() {
    loom::model(|| {
        let shared = Arc::new(Shared::new());
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            protocol::publish_committed(&writer.control, 2 * FRAME, 3);
            protocol::seal(&writer.control, 77);
        });
        if let Some(successor) = protocol::sealed(&shared.control) {
            assert_eq!(successor, 77);
            assert_eq!(protocol::committed(&shared.control), 2 * FRAME);
        }
        writing.join().expect("the writer is done");
    });
}
