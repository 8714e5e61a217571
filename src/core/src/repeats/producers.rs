//! Which numbers of each producer were stored: the highest, and the gaps below it.
//!
//! A producer numbers its events from 0 or 1 upwards and sends late ones again, so what was stored is one run with a
//! few gaps; the gaps are kept, and bounded. When there are too many, the lowest are forgotten: below that mark it can
//! no longer be told what was stored, and an event there is stored again rather than lost. The same holds for a producer
//! that was forgotten altogether.
//!
//! What is known outlives the process in a [`checkpoint`] beside the log.

mod checkpoint;

use std::collections::HashMap;

use crate::limits;

pub use checkpoint::{CHECKPOINT_BYTES_MAX, Unusable};

/// What is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was stored.
    Before,
    /// It was not, as far as is known.
    Never,
}

/// Numbers from `from` to `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    from: u64,
    to: u64,
}

#[derive(Debug, Default)]
struct Producer {
    highest: u64,
    /// Below this it is not known what was stored.
    unknown_below: u64,
    /// In rising order.
    gaps: Vec<Gap>,
    /// When it was last heard of, counted in events.
    used: u64,
}

/// The producers that number their events.
#[derive(Debug, Default)]
pub struct Producers {
    known: HashMap<u64, Producer>,
    uses: u64,
    /// `uses` of the last checkpoint.
    saved: u64,
    gaps_forgotten: u64,
}

impl Producers {
    /// Whether this number of this producer was stored.
    #[must_use]
    pub fn seen(&self, producer: u64, sequence: u64) -> Seen {
        let Some(known) = self.known.get(&producer) else { return Seen::Never };
        let is_gap = known.gaps.iter().any(|gap| (gap.from..=gap.to).contains(&sequence));
        if sequence > known.highest || sequence < known.unknown_below || is_gap {
            Seen::Never
        } else {
            Seen::Before
        }
    }

    /// Remembers that this number was stored.
    pub fn remember(&mut self, producer: u64, sequence: u64) {
        self.uses += 1;
        if !self.known.contains_key(&producer) {
            self.make_room();
            let mut fresh = Producer {
                gaps: Vec::with_capacity(limits::PRODUCER_GAPS_MAX + 1),
                ..Producer::default()
            };
            // Numbers before the first one seen may still be on their way.
            fresh.highest = sequence;
            if let Some(to) = sequence.checked_sub(1) {
                fresh.gaps.push(Gap { from: 0, to });
            }
            self.known.insert(producer, fresh);
        }
        let Some(known) = self.known.get_mut(&producer) else { return };
        known.used = self.uses;
        if sequence > known.highest {
            if sequence - known.highest > 1 {
                known.gaps.push(Gap { from: known.highest + 1, to: sequence - 1 });
            }
            known.highest = sequence;
        } else if let Some(at) =
            known.gaps.iter().position(|gap| (gap.from..=gap.to).contains(&sequence))
        {
            let gap = known.gaps[at];
            let below = (sequence > gap.from).then(|| Gap { from: gap.from, to: sequence - 1 });
            let above = (sequence < gap.to).then(|| Gap { from: sequence + 1, to: gap.to });
            match (below, above) {
                (Some(below), Some(above)) => {
                    known.gaps[at] = below;
                    known.gaps.insert(at + 1, above);
                }
                (Some(rest), None) | (None, Some(rest)) => known.gaps[at] = rest,
                (None, None) => {
                    known.gaps.remove(at);
                }
            }
        }
        if known.gaps.len() > limits::PRODUCER_GAPS_MAX {
            let lowest = known.gaps.remove(0);
            known.unknown_below = lowest.to + 1;
            self.gaps_forgotten += 1;
        }
    }

    /// Gaps forgotten because there were too many.
    #[must_use]
    pub fn gaps_forgotten(&self) -> u64 {
        self.gaps_forgotten
    }

    /// Whether anything was learnt since the last checkpoint.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.uses != self.saved
    }

    /// A checkpoint has everything that is known now.
    pub fn mark_saved(&mut self) {
        self.saved = self.uses;
    }

    fn make_room(&mut self) {
        if self.known.len() >= limits::PRODUCERS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used).map(|(&key, _)| key);
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_stored_number_is_stored_again_while_the_gaps_are_few(
            numbers in prop::collection::vec(0_u64..30, 1..100),
        ) {
            let mut producers = Producers::default();
            let mut stored = BTreeSet::new();
            for number in numbers {
                let expected = if stored.contains(&number) { Seen::Before } else { Seen::Never };
                prop_assert_eq!(producers.seen(1, number), expected);
                producers.remember(1, number);
                stored.insert(number);
            }
            prop_assert_eq!(producers.gaps_forgotten(), 0);
        }

        #[test]
        fn no_new_number_is_ever_taken_for_a_repeat(
            numbers in prop::collection::vec(any::<u64>(), 1..200),
        ) {
            let mut producers = Producers::default();
            let mut stored = BTreeSet::new();
            for number in numbers {
                if !stored.contains(&number) {
                    prop_assert_eq!(producers.seen(1, number), Seen::Never);
                }
                producers.remember(1, number);
                stored.insert(number);
            }
        }
    }

    #[test]
    fn producers_are_told_apart_and_bounded() {
        let mut producers = Producers::default();
        for producer in 0..=limits::PRODUCERS_MAX as u64 {
            producers.remember(producer, 1);
        }
        assert_eq!(producers.seen(0, 1), Seen::Never, "the least recently heard of was forgotten");
        assert_eq!(producers.seen(1, 1), Seen::Before);
        assert_eq!(producers.seen(1, 2), Seen::Never);
    }
}
