//! In the steady state neither side allocates.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use common::{Home, frame, reliable, tiny};
use jimbot_shm::LogWriter;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

// SAFETY: every call is handed on unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn events_are_stored_and_read_without_allocating() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    let mut reader = reliable(&home, "r");
    let mut copy = jimbot_shm::FrameCopy::default();
    let mut rounds = |count: u32| {
        let mut counted = 0;
        for _ in 0..count {
            let before = ALLOCATIONS.with(Cell::get);
            writer.begin(jimbot_shm::Now::read()).expect("room");
            let middle = ALLOCATIONS.with(Cell::get);
            for _ in 0..10 {
                // The tests' own events are made on the heap, so only the log's calls are counted.
                common::store(&mut writer, 100);
            }
            let stored = ALLOCATIONS.with(Cell::get);
            writer.commit(jimbot_shm::Now::read()).expect("events");
            let frame = reader.try_next().expect("read").expect("a frame");
            frame.copy_into(&mut copy).expect("whole");
            frame.release().expect("whole");
            counted += ALLOCATIONS.with(Cell::get) - stored + middle - before;
            // `event_bytes` makes one vector an event.
            counted += stored - middle - 10;
        }
        counted
    };
    rounds(10);
    assert_eq!(rounds(1000), 0);
    frame(&mut writer, 1, 1);
}
