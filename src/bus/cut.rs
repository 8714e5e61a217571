//! Cuts stored runs into deliveries: what a filter wants, within bounds, as slices of what is stored.

use std::collections::VecDeque;

use bytes::Bytes;

use super::filter::Filter;
use super::scan;
use super::store::Run;
use super::topic;

/// Events to be delivered together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Their elements of an `EventBatch`, joined.
    pub batch: Bytes,
    /// Position of each.
    pub positions: Vec<u64>,
}

/// Bounds of a cut.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events at most.
    pub events: usize,
    /// Bytes at most; an event that is longer comes alone.
    pub bytes: usize,
}

/// Runs that were read and are not delivered yet.
#[derive(Debug, Default)]
pub struct Cutter {
    runs: VecDeque<Run>,
    /// Where the first run goes on, in bytes and in positions.
    offset: usize,
    position: u64,
}

impl Cutter {
    /// Takes runs that were read for `from`; the first may start before it.
    pub fn feed(&mut self, runs: Vec<Run>, from: u64) {
        debug_assert!(self.is_empty());
        self.runs = runs.into();
        self.offset = 0;
        let Some(first) = self.runs.front() else { return };
        self.position = first.first;
        while self.position < from && self.skip_one() {}
    }

    /// Whether all that was fed is cut.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Position of the next event.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn skip_one(&mut self) -> bool {
        let Some(run) = self.runs.front() else { return false };
        match scan::elements(&run.elements[self.offset..]).next() {
            Some(Ok(element)) => {
                self.offset += element.span.end;
                self.position += 1;
                self.advance();
                true
            }
            _ => false,
        }
    }

    /// Goes to the next run when the first is used up.
    fn advance(&mut self) {
        while self.runs.front().is_some_and(|run| self.position >= run.next()) {
            let done = self.runs.pop_front().expect("there is one");
            self.offset = 0;
            self.position = self.runs.front().map_or(done.next(), |run| run.first);
        }
    }

    /// The next events that `filter` wants. May be empty though runs are left, when none in a stretch is wanted.
    pub fn cut(&mut self, filter: &Filter, bounds: Bounds) -> Cut {
        let mut cut = Cut::default();
        let mut pieces = Pieces::default();
        while let Some(run) = self.runs.front().cloned() {
            let rest = run.elements.len() - self.offset;
            let left = (run.next() - self.position) as usize;
            let fits =
                cut.positions.len() + left <= bounds.events && pieces.len + rest <= bounds.bytes;
            let whole = filter.wants_all() && run.topic.is_none();
            if whole && fits {
                pieces.push(&run.elements, self.offset, run.elements.len());
                cut.positions.extend(self.position..run.next());
                self.position = run.next();
                self.advance();
                continue;
            }
            if !self.cut_run(&run, filter, bounds, &mut cut, &mut pieces) {
                break;
            }
        }
        cut.batch = pieces.join();
        cut
    }

    /// Event by event; `false` when the bounds are reached.
    fn cut_run(
        &mut self,
        run: &Run,
        filter: &Filter,
        bounds: Bounds,
        cut: &mut Cut,
        pieces: &mut Pieces,
    ) -> bool {
        let base = self.offset;
        for element in scan::elements(&run.elements[base..]) {
            // What is stored was walked through when it came.
            let Ok(element) = element else { break };
            let fields = scan::fields(element.event).unwrap_or_default();
            let topic = run.topic.as_deref().or_else(|| topic::of_type(fields.event_type));
            if topic.is_some_and(|topic| filter.wants(topic, &fields)) {
                let full = cut.positions.len() >= bounds.events
                    || pieces.len + element.span.len() > bounds.bytes && !cut.positions.is_empty();
                if full {
                    return false;
                }
                pieces.push(&run.elements, base + element.span.start, base + element.span.end);
                cut.positions.push(self.position);
            }
            self.offset = base + element.span.end;
            self.position += 1;
        }
        self.position = run.next();
        self.advance();
        true
    }
}

/// Slices of runs; those that touch become one.
#[derive(Debug, Default)]
struct Pieces {
    done: Vec<Bytes>,
    open: Option<(Bytes, usize, usize)>,
    len: usize,
    /// Bytes of the run that the newest piece lies in.
    read: usize,
}

impl Pieces {
    fn push(&mut self, elements: &Bytes, start: usize, end: usize) {
        self.len += end - start;
        if let Some((held, _, held_end)) = &mut self.open
            && held.as_ptr() == elements.as_ptr()
            && *held_end == start
        {
            *held_end = end;
            return;
        }
        self.close();
        self.read = elements.len();
        self.open = Some((elements.clone(), start, end));
    }

    fn close(&mut self) {
        if let Some((elements, start, end)) = self.open.take() {
            self.done.push(elements.slice(start..end));
        }
    }

    fn join(mut self) -> Bytes {
        self.close();
        match self.done.len() {
            0 => Bytes::new(),
            1 => {
                let piece = self.done.pop().expect("there is one");
                // A small part would keep the whole of what was read in memory until the last subscriber has it.
                if self.read > 2 * piece.len() { Bytes::copy_from_slice(&piece) } else { piece }
            }
            _ => self.done.concat().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jimbot_proto::events::v1::{Event, EventBatch, EventFilter, EventType};
    use prost::Message;

    fn run(first: u64, types: &[EventType]) -> Run {
        let events = types.iter().zip(first..).map(|(kind, sequence)| Event {
            log_epoch: 1,
            sequence,
            r#type: *kind as i32,
            ..Default::default()
        });
        let elements = EventBatch { events: events.collect() }.encode_to_vec().into();
        Run { first, count: types.len() as u32, time_unix_ns: 0, topic: None, elements }
    }

    fn sequences(cut: &Cut) -> Vec<u64> {
        let batch = EventBatch::decode(cut.batch.as_ref()).unwrap();
        batch.events.iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn every_bound_gives_the_same_events_in_order() {
        use EventType::{GameState, Heartbeat};
        let runs = vec![
            run(1, &[Heartbeat, GameState, GameState, Heartbeat]),
            run(5, &[GameState]),
            run(9, &[Heartbeat, Heartbeat, GameState]),
        ];
        let topics = EventFilter { topics: vec!["game.>".into()], ..Default::default() };
        for (filter, wanted) in [
            (Filter::default(), vec![2, 3, 4, 5, 9, 10, 11]),
            (Filter::new(&topics).unwrap(), vec![2, 3, 5, 11]),
        ] {
            for events in 1..9 {
                for bytes in [1, 40, 10_000] {
                    let mut cutter = Cutter::default();
                    cutter.feed(runs.clone(), 2);
                    let mut found = Vec::new();
                    while !cutter.is_empty() {
                        let cut = cutter.cut(&filter, Bounds { events, bytes });
                        assert!(cut.positions.len() <= events);
                        assert_eq!(sequences(&cut), cut.positions);
                        found.extend(cut.positions);
                    }
                    assert_eq!((found, cutter.position()), (wanted.clone(), 12));
                }
            }
        }
    }

    #[test]
    fn what_is_wanted_whole_is_not_copied() {
        let runs = vec![run(1, &[EventType::Heartbeat; 50])];
        let elements = runs[0].elements.clone();
        let mut cutter = Cutter::default();
        cutter.feed(runs, 1);
        let cut = cutter.cut(&Filter::default(), Bounds { events: 100, bytes: 1 << 20 });
        assert_eq!(cut.batch.as_ptr(), elements.as_ptr());
    }
}
