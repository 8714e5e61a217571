//! Wait and wake: nobody sleeps while there is something to read. A wake-up that gets lost shows as a deadlock.
//!
//! Out of loom's reach is that one thread's read-modify-writes may be seen in another order than they were made in. That the
//! bits go before the word changes is therefore kept by the release of `ring`'s addition and the acquire of
//! `prepare_wait`'s load, which no model here can miss.

use loom::{
    sync::{Arc, Condvar, Mutex, atomic::Ordering},
    thread,
};

use super::{FRAME, Shared};
use crate::protocol;

/// The kernel's side of a futex: it compares and goes to sleep in one step.
struct Futex {
    queue: Mutex<()>,
    awake: Condvar,
}

impl Futex {
    fn new() -> Futex {
        Futex { queue: Mutex::new(()), awake: Condvar::new() }
    }

    fn wait(&self, shared: &Shared, value: u32) {
        let queue = self.queue.lock().expect("no panic");
        if shared.control.wake.0.load(Ordering::SeqCst) == value {
            drop(self.awake.wait(queue).expect("no panic"));
        }
    }

    fn wake_all(&self) {
        drop(self.queue.lock().expect("no panic"));
        self.awake.notify_all();
    }
}

fn read_until(shared: &Shared, futex: &Futex, index: usize, end: u64) {
    loop {
        let seen = protocol::committed(&shared.control);
        if seen >= end {
            return;
        }
        let wake = protocol::prepare_wait(&shared.control, &shared.head, index);
        if protocol::committed(&shared.control) == seen {
            futex.wait(shared, wake);
        }
        protocol::finish_wait(&shared.head, index);
    }
}

fn commit(shared: &Shared, futex: &Futex, end: u64) {
    protocol::publish_committed(&shared.control, end, end / FRAME + 1);
    alert(shared, futex);
}

fn alert(shared: &Shared, futex: &Futex) {
    if protocol::sleepers(&shared.head) {
        protocol::ring(&shared.control, &shared.head);
        futex.wake_all();
    }
}

/// Needs both SeqCst fences, `prepare_wait`'s and `sleepers`'.
#[test]
fn one_commit_wakes_one_sleeper() {
    loom::model(|| {
        let shared = Arc::new((Shared::new(), Futex::new()));
        let writer = shared.clone();
        let writing = thread::spawn(move || commit(&writer.0, &writer.1, 2 * FRAME));
        read_until(&shared.0, &shared.1, 0, 2 * FRAME);
        writing.join().expect("the writer is done");
    });
}

/// An alert comes before there is anything to read: whoever sleeps again after it is woken by the commit.
#[test]
fn the_commit_wakes_who_slept_again_after_the_alert() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(5);
    model.check(|| {
        let shared = Arc::new((Shared::new(), Futex::new()));
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            alert(&writer.0, &writer.1);
            commit(&writer.0, &writer.1, 2 * FRAME);
        });
        read_until(&shared.0, &shared.1, 0, 2 * FRAME);
        writing.join().expect("the writer is done");
    });
}

/// Needs that `ring` takes the bits away before it changes the word, and that `prepare_wait` loads the word before it sets
/// its bit.
#[test]
fn the_second_commit_wakes_who_slept_again_after_the_first() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(5);
    model.check(|| {
        let shared = Arc::new((Shared::new(), Futex::new()));
        let writer = shared.clone();
        let writing = thread::spawn(move || {
            commit(&writer.0, &writer.1, 2 * FRAME);
            commit(&writer.0, &writer.1, 3 * FRAME);
        });
        read_until(&shared.0, &shared.1, 0, 3 * FRAME);
        writing.join().expect("the writer is done");
    });
}

/// Needs the same with two sleepers: the bits that one wake takes away are of readers that it wakes.
#[test]
fn one_commit_wakes_two_sleepers() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Arc::new((Shared::new(), Futex::new()));
        let (writer, second) = (shared.clone(), shared.clone());
        let writing = thread::spawn(move || commit(&writer.0, &writer.1, 2 * FRAME));
        let reading = thread::spawn(move || read_until(&second.0, &second.1, 1, 2 * FRAME));
        read_until(&shared.0, &shared.1, 0, 2 * FRAME);
        reading.join().expect("the reader is done");
        writing.join().expect("the writer is done");
    });
}
