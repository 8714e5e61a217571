//! The newest events of a store, in memory: subscribers that keep up read from here and not from disk or network.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use jimbot_proto::events::v1::GapReason;

use super::{Lost, Page, Run};

/// Bytes of events held. The newest run stays whatever its size.
pub(super) const TAIL_BYTES: usize = 16 << 20;

/// What a run costs beside its bytes.
const RUN_OVERHEAD: usize = 128;

#[derive(Debug)]
pub(super) struct Tail {
    held: RwLock<Held>,
    capacity: usize,
}

#[derive(Debug)]
struct Held {
    runs: VecDeque<Run>,
    bytes: usize,
    next: u64,
}

impl Tail {
    /// Holds what is stored from `next` on.
    pub(super) fn new(next: u64, capacity: usize) -> Tail {
        Tail { held: RwLock::new(Held { runs: VecDeque::new(), bytes: 0, next }), capacity }
    }

    /// Adds the newest events. Positions may be left out before them, never repeated.
    pub(super) fn push(&self, run: Run) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(run.first >= held.next);
        held.next = run.next();
        held.bytes += run.elements.len() + RUN_OVERHEAD;
        held.runs.push_back(run);
        while held.bytes > self.capacity && held.runs.len() > 1 {
            let oldest = held.runs.pop_front().expect("there are two");
            held.bytes -= oldest.elements.len() + RUN_OVERHEAD;
        }
    }

    /// Reads from `from` on; `None` when that is older than what is held.
    pub(super) fn read(&self, from: u64, max_bytes: usize) -> Option<Page> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if from >= held.next {
            return Some(Page { next: from, ..Page::default() });
        }
        if held.runs.front().is_none_or(|oldest| from < oldest.first) {
            return None;
        }
        let start = held.runs.partition_point(|run| run.next() <= from);
        let mut page = Page { next: from, shared: true, ..Page::default() };
        let mut bytes = 0;
        for run in held.runs.range(start..) {
            if bytes >= max_bytes {
                break;
            }
            if run.first > page.next {
                // A position that the store has nothing at. What stands before it goes first.
                if page.runs.is_empty() {
                    let reason = GapReason::Deleted;
                    page.lost = Some(Lost { first: page.next, next: run.first, reason });
                }
                page.next = if page.runs.is_empty() { run.first } else { page.next };
                break;
            }
            bytes += run.elements.len();
            page.next = run.next();
            page.runs.push(run.clone());
        }
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, count: u32, len: usize) -> Run {
        Run { first, count, time_unix_ns: 0, topic: None, elements: vec![0; len].into() }
    }

    #[test]
    fn reads_what_it_holds_and_says_what_it_does_not() {
        let tail = Tail::new(5, 2 * (100 + RUN_OVERHEAD));
        assert_eq!(tail.read(4, 1), None);
        assert_eq!(tail.read(5, 1).unwrap().runs, []);
        for first in [5, 7, 9] {
            tail.push(run(first, 2, 100));
        }
        assert_eq!(tail.read(6, 1), None, "the oldest went");
        let page = tail.read(8, 1).unwrap();
        assert_eq!((page.runs.len(), page.next), (1, 9));
        let page = tail.read(7, 1000).unwrap();
        assert_eq!((page.runs.len(), page.next), (2, 11));
        tail.push(run(12, 1, 1));
        let page = tail.read(9, 1000).unwrap();
        assert_eq!(
            (page.runs.len(), page.next, page.lost),
            (1, 11, None),
            "what is before the gap"
        );
        let page = tail.read(11, 1000).unwrap();
        let lost = Lost { first: 11, next: 12, reason: GapReason::Deleted };
        assert_eq!((page.runs.len(), page.next, page.lost), (0, 12, Some(lost)));
        tail.push(run(13, 1, 10_000));
        assert_eq!(tail.read(13, 1).unwrap().runs.len(), 1, "the newest stays whatever its size");
        assert_eq!(tail.read(12, 1), None);
    }
}
