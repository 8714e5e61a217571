//! Which events of which publisher are stored: what makes storing an event twice impossible, however late it comes again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::scan::Fields;

/// Publishers remembered; the one that has published nothing for longest goes first.
pub const PUBLISHERS_MAX: usize = 4096;
/// Gaps remembered in the numbers of one publisher. When there are more the lowest is taken as filled, so a number that
/// comes that late counts as stored. Publishers that number without gaps and send in order never have one.
pub const GAPS_MAX: usize = 1024;

/// Who numbers events.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Publisher {
    /// A log, by its epoch.
    Log(u64),
    /// A producer outside a log, by its name.
    Producer(Arc<str>),
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Publisher::Log(epoch) => write!(f, "{epoch:016x}"),
            Publisher::Producer(name) => f.write_str(name),
        }
    }
}

/// Publisher and number of an event; `None` when it has no identity that the bus can use.
pub fn identity(event: &Fields<'_>) -> Option<(Publisher, u64)> {
    if event.log_epoch != 0 && event.sequence != 0 {
        return Some((Publisher::Log(event.log_epoch), event.sequence));
    }
    let name = std::str::from_utf8(event.producer).ok().filter(|name| is_name(name))?;
    Some((Publisher::Producer(name.into()), event.producer_sequence?))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A set of numbers as ranges that neither overlap nor touch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    ranges: Vec<(u64, u64)>,
}

impl Numbers {
    /// The set of the given ranges, first and last number of each.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u64, u64)>) -> Numbers {
        let mut numbers = Numbers::default();
        for (first, last) in ranges {
            numbers.insert(first, last);
        }
        numbers
    }

    /// The ranges, first and last number of each.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Greatest number.
    pub fn last(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.1)
    }

    /// The number up to which there is no gap after the least one.
    pub fn complete(&self) -> Option<u64> {
        self.ranges.first().map(|range| range.1)
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.1 < number);
        self.ranges.get(at).is_some_and(|range| range.0 <= number)
    }

    /// Whether none of `first..=last` is in the set.
    pub fn is_free(&self, first: u64, last: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.1 < first);
        self.ranges.get(at).is_none_or(|range| range.0 > last)
    }

    /// Adds `first..=last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        // Ranges from `from` to `to` overlap or touch the new one and become one with it.
        let from = self.ranges.partition_point(|range| range.1.saturating_add(1) < first);
        let to = self.ranges.partition_point(|range| range.0 <= last.saturating_add(1));
        let mut merged = (first, last);
        for range in &self.ranges[from..to.max(from)] {
            merged = (merged.0.min(range.0), merged.1.max(range.1));
        }
        self.ranges.splice(from..to.max(from), [merged]);
    }

    /// Takes `first..=last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        let mut kept = Vec::with_capacity(self.ranges.len() + 1);
        for &(low, high) in &self.ranges {
            if high < first || low > last {
                kept.push((low, high));
                continue;
            }
            if low < first {
                kept.push((low, first - 1));
            }
            if high > last {
                kept.push((last + 1, high));
            }
        }
        self.ranges = kept;
    }

    fn close_lowest_gap(&mut self) {
        let low = self.ranges.remove(0);
        self.ranges[0].0 = low.0;
    }
}

#[derive(Clone, Debug)]
struct Known {
    numbers: Numbers,
    used: u64,
}

/// Every publisher's stored numbers.
#[derive(Clone, Debug, Default)]
pub struct Publishers {
    known: HashMap<Publisher, Known>,
    uses: u64,
    forgotten: u64,
}

impl Publishers {
    /// The numbers stored of a publisher.
    pub fn get(&self, publisher: &Publisher) -> Option<&Numbers> {
        self.known.get(publisher).map(|known| &known.numbers)
    }

    /// Notes that `first..=last` are stored.
    pub fn insert(&mut self, publisher: &Publisher, first: u64, last: u64) {
        self.uses += 1;
        if !self.known.contains_key(publisher) {
            self.make_room();
            let known = Known { numbers: Numbers::default(), used: 0 };
            self.known.insert(publisher.clone(), known);
        }
        let known = self.known.get_mut(publisher).expect("it was inserted");
        known.used = self.uses;
        known.numbers.insert(first, last);
        if known.numbers.ranges.len() > GAPS_MAX {
            known.numbers.close_lowest_gap();
        }
    }

    /// Takes back an [`insert`](Publishers::insert) whose events could not be stored.
    pub fn remove(&mut self, publisher: &Publisher, first: u64, last: u64) {
        if let Some(known) = self.known.get_mut(publisher) {
            known.numbers.remove(first, last);
        }
    }

    fn make_room(&mut self) {
        if self.known.len() < PUBLISHERS_MAX {
            return;
        }
        let oldest = self.known.iter().min_by_key(|(_, known)| known.used);
        if let Some(publisher) = oldest.map(|(publisher, _)| publisher.clone()) {
            self.known.remove(&publisher);
            self.forgotten += 1;
        }
    }

    /// Publishers that had to be forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// All publishers with their numbers, the one that published longest ago first.
    pub fn iter(&self) -> impl Iterator<Item = (&Publisher, &Numbers)> {
        let mut all: Vec<_> = self.known.iter().collect();
        all.sort_unstable_by_key(|(_, known)| known.used);
        all.into_iter().map(|(publisher, known)| (publisher, &known.numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_log_goes_before_a_producer_and_neither_is_no_identity() {
        let event = Fields {
            log_epoch: 3,
            sequence: 4,
            producer: b"mod",
            producer_sequence: Some(9),
            ..Fields::default()
        };
        assert_eq!(identity(&event), Some((Publisher::Log(3), 4)));
        let event = Fields { log_epoch: 0, ..event };
        assert_eq!(identity(&event), Some((Publisher::Producer("mod".into()), 9)));
        assert_eq!(identity(&Fields { producer: b"two words", ..event.clone() }), None);
        assert_eq!(identity(&Fields { producer_sequence: None, ..event }), None);
    }

    #[test]
    fn memory_is_bounded_in_gaps_and_publishers() {
        let mut publishers = Publishers::default();
        let sparse = Publisher::Log(1);
        for number in 0..5_000 {
            publishers.insert(&sparse, number * 2, number * 2);
        }
        let numbers = publishers.get(&sparse).unwrap();
        assert_eq!(numbers.ranges().len(), GAPS_MAX);
        assert_eq!(numbers.last(), Some(9_998));
        for epoch in 2..PUBLISHERS_MAX as u64 + 10 {
            publishers.insert(&Publisher::Log(epoch), 1, 1);
        }
        assert_eq!(publishers.iter().count(), PUBLISHERS_MAX);
        assert!(publishers.get(&sparse).is_none() && publishers.forgotten() > 0);
    }

    proptest! {
        #[test]
        fn numbers_are_a_set(steps in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..8), 0..60)) {
            let mut numbers = Numbers::default();
            let mut model = BTreeSet::new();
            for (insert, first, more) in steps {
                let last = first + more;
                prop_assert_eq!(numbers.is_free(first, last), (first..=last).all(|n| !model.contains(&n)));
                if insert {
                    numbers.insert(first, last);
                    model.extend(first..=last);
                } else {
                    numbers.remove(first, last);
                    model.retain(|n| !(first..=last).contains(n));
                }
                for n in 0..70 {
                    prop_assert_eq!(numbers.contains(n), model.contains(&n));
                }
                let ranges = numbers.ranges();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
            }
            prop_assert_eq!(numbers.last(), model.last().copied());
        }
    }
}
