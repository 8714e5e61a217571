//! Events in memory: for trying out, and the shortest statement of what a store does.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jimbot_proto::events::v1::{AckLevel, GapReason};
use tokio::sync::watch;

use super::super::publishers::{Numbers, Publisher, Publishers};
use super::super::topic::Pattern;
use super::{
    Append, Appended, Clock, Cursor, Extent, Fresh, Lost, Page, Retention, Run, Store, StoreError,
    StoreReader, Submitted,
};

/// A store that forgets everything when its process ends.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    next: watch::Sender<u64>,
    retention: Retention,
    clock: Clock,
}

struct State {
    runs: VecDeque<(Run, u64)>,
    bytes: u64,
    next: u64,
    publishers: Publishers,
    cursors: HashMap<String, Cursor>,
    last_time_unix_ns: u64,
}

impl Memory {
    /// An empty store.
    pub fn new(retention: Retention, clock: Clock) -> Memory {
        let state = State {
            runs: VecDeque::new(),
            bytes: 0,
            next: 1,
            publishers: Publishers::default(),
            cursors: HashMap::new(),
            last_time_unix_ns: 0,
        };
        let (next, _) = watch::channel(1);
        Memory { shared: Arc::new(Shared { state: Mutex::new(state), next, retention, clock }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn earliest(&self) -> u64 {
        self.runs.front().map_or(self.next, |(run, _)| run.first)
    }

    fn trim(&mut self, retention: &Retention, mono_ns: u64) {
        while let Some((oldest, stored_mono_ns)) = self.runs.front() {
            let within = self.bytes <= retention.bytes
                && self.next - oldest.first <= retention.events
                && mono_ns.saturating_sub(*stored_mono_ns) <= retention.age_ns;
            if within {
                return;
            }
            self.bytes -= oldest.elements.len() as u64;
            self.runs.pop_front();
        }
    }
}

#[tonic::async_trait]
impl Store for Memory {
    fn describe(&self) -> String {
        "memory (lost when the bus ends)".to_owned()
    }

    fn levels(&self) -> (AckLevel, AckLevel) {
        (AckLevel::Memory, AckLevel::Memory)
    }

    async fn submit(&self, append: Append) -> Result<Submitted, StoreError> {
        if append.level > AckLevel::Memory {
            return Err(StoreError::Level { wanted: append.level, offered: AckLevel::Memory });
        }
        let now = (self.shared.clock)();
        let mut state = self.state();
        let fresh = Fresh::take(&append, &mut state.publishers);
        let first = state.next;
        if fresh.stored > 0 {
            state.last_time_unix_ns = state.last_time_unix_ns.max(now.unix_ns);
            let run = Run {
                first,
                count: fresh.stored,
                time_unix_ns: state.last_time_unix_ns,
                topic: append.topic.clone(),
                elements: fresh.joined(),
            };
            state.next = run.next();
            state.bytes += run.elements.len() as u64;
            state.runs.push_back((run, now.mono_ns));
        }
        state.trim(&self.shared.retention, now.mono_ns);
        let next = state.next;
        drop(state);
        self.shared.next.send_replace(next);
        Ok(Submitted::done(Appended {
            level: AckLevel::Memory,
            stored: fresh.stored,
            duplicates: fresh.duplicates,
            positions: (fresh.stored > 0).then(|| (first, next - 1)),
        }))
    }

    fn reader(&self, _wanted: &[Pattern]) -> Box<dyn StoreReader> {
        Box::new(self.clone())
    }

    fn extent(&self) -> Extent {
        let state = self.state();
        Extent { earliest: state.earliest(), next: state.next, bytes: state.bytes }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.shared.next.subscribe()
    }

    async fn position_at(&self, time_unix_ns: u64) -> Result<u64, StoreError> {
        let state = self.state();
        let at = state.runs.partition_point(|(run, _)| run.time_unix_ns < time_unix_ns);
        Ok(state.runs.get(at).map_or(state.next, |(run, _)| run.first))
    }

    async fn last_sequence(&self, publisher: &Publisher) -> Result<Option<u64>, StoreError> {
        Ok(self.state().publishers.get(publisher).and_then(Numbers::complete))
    }

    async fn cursor(&self, name: &str) -> Result<Option<Cursor>, StoreError> {
        Ok(self.state().cursors.get(name).cloned())
    }

    async fn set_cursor(&self, name: &str, cursor: Option<Cursor>) -> Result<(), StoreError> {
        let mut state = self.state();
        match cursor {
            Some(cursor) => state.cursors.insert(name.to_owned(), cursor),
            None => state.cursors.remove(name),
        };
        Ok(())
    }

    async fn cursors(&self) -> Result<Vec<(String, Cursor)>, StoreError> {
        let state = self.state();
        Ok(state.cursors.iter().map(|(name, cursor)| (name.clone(), cursor.clone())).collect())
    }

    async fn close(&self) {}
}

#[tonic::async_trait]
impl StoreReader for Memory {
    async fn read(&mut self, from: u64, max_bytes: usize) -> Result<Page, StoreError> {
        let now = (self.shared.clock)();
        let mut state = self.state();
        state.trim(&self.shared.retention, now.mono_ns);
        let earliest = state.earliest();
        let lost = (from < earliest).then_some(Lost {
            first: from,
            next: earliest,
            reason: GapReason::Retention,
        });
        let mut page = Page { lost, next: from.max(earliest), shared: true, ..Page::default() };
        let start = state.runs.partition_point(|(run, _)| run.next() <= page.next);
        let mut bytes = 0;
        for (run, _) in state.runs.range(start..) {
            if bytes >= max_bytes {
                break;
            }
            bytes += run.elements.len();
            page.next = run.next();
            page.runs.push(run.clone());
        }
        Ok(page)
    }
}
