//! Metrics: every figure is a 64-bit cell that the log keeps in shared memory, so that watching costs the service nothing.
//!
//! [`names`] lists the families; each is a `Metric` constant that knows where its cells are. One thread writes the cells
//! (plain loads and stores, no locked instruction), anyone may read them by name. [`render`] gives Prometheus' text.
//! No label ever comes from input.

pub mod names;
mod render;

use std::sync::atomic::{AtomicU64, Ordering};

pub use names::FAMILIES;
pub use render::render;

/// What a family's cells mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// One cell for each bound, one above the last, and one for the sum.
    Histogram(&'static [u64]),
}

/// A label and its values; the name is empty, and the value too, for a family without labels.
#[derive(Clone, Copy, Debug)]
pub struct Labels {
    /// Name of the label.
    pub name: &'static str,
    /// Its values, by the number that code gives to [`Metric::add`].
    pub values: &'static [&'static str],
}

/// One family: a name, what it says, and its cells.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Name as Prometheus shows it.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// What the cells mean.
    pub kind: Kind,
    /// A shown value is the cell's value divided by this: cells hold nanoseconds where seconds are shown.
    pub divisor: u64,
    /// The label and its values, one cell each.
    pub labels: Labels,
    /// An older name under which the same cells are shown too, with its divisor.
    pub older: Option<(&'static str, u64)>,
}

impl Family {
    const fn cells(&self) -> usize {
        match self.kind {
            Kind::Counter | Kind::Gauge => self.labels.values.len(),
            Kind::Histogram(bounds) => bounds.len() + 2,
        }
    }
}

/// Where a family's cells begin.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    first: usize,
    family: usize,
}

impl Metric {
    const fn of(families: &[Family], family: usize) -> Metric {
        let mut first = 0;
        let mut i = 0;
        while i < family {
            first += families[i].cells();
            i += 1;
        }
        Metric { first, family }
    }

    /// The family's description.
    #[must_use]
    pub fn family(self) -> &'static Family {
        &FAMILIES[self.family]
    }

    fn cell(self, cells: &[AtomicU64], label: usize) -> Option<&AtomicU64> {
        debug_assert!(label < self.family().cells(), "{} has no label {label}", self.family().name);
        cells.get(self.first + label)
    }

    /// Adds to the cell of a label set (0 for a family without labels).
    pub fn add(self, cells: &[AtomicU64], label: usize, amount: u64) {
        if let Some(cell) = self.cell(cells, label) {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// Sets the cell of a label set.
    pub fn set(self, cells: &[AtomicU64], label: usize, value: u64) {
        if let Some(cell) = self.cell(cells, label) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// The cell of a label set.
    #[must_use]
    pub fn get(self, cells: &[AtomicU64], label: usize) -> u64 {
        self.cell(cells, label).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Records a value in a histogram.
    pub fn observe(self, cells: &[AtomicU64], value: u64) {
        let Kind::Histogram(bounds) = self.family().kind else {
            debug_assert!(false, "{} is no histogram", self.family().name);
            return;
        };
        self.add(cells, bounds.partition_point(|&bound| bound < value), 1);
        self.add(cells, bounds.len() + 1, value);
    }
}

/// The name of every cell, in the order of the cells: what the log's counters are created with.
#[must_use]
pub fn cell_names() -> Vec<String> {
    let mut names = Vec::new();
    for family in FAMILIES {
        match family.kind {
            Kind::Counter | Kind::Gauge => {
                names.extend(
                    family
                        .labels
                        .values
                        .iter()
                        .map(|value| render::series(family.name, family.labels.name, value)),
                );
            }
            Kind::Histogram(bounds) => {
                let bucket = |le: String| format!("{}_bucket{{le=\"{le}\"}}", family.name);
                names.extend(bounds.iter().map(|&b| bucket(render::scaled(b, family.divisor))));
                names.push(bucket("+Inf".into()));
                names.push(format!("{}_sum", family.name));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Vec<AtomicU64> {
        cell_names().iter().map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn every_cell_has_a_name_of_its_own() {
        let names = cell_names();
        let count: usize = FAMILIES.iter().map(Family::cells).sum();
        assert_eq!(names.len(), count);
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), count);
    }

    #[test]
    fn names_follow_the_conventions() {
        for family in FAMILIES {
            assert!(family.name.starts_with("jimbot_mcp_"), "{}", family.name);
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == Kind::Counter,
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.'), "{}", family.name);
            assert!(
                !family.name.contains("_ms") && !family.name.contains("_ns"),
                "{}",
                family.name
            );
        }
    }

    #[test]
    fn families_do_not_share_cells() {
        let cells = cells();
        names::EVENTS_STORED.add(&cells, 1, 5);
        names::EVENTS_REPEATED.add(&cells, 0, 7);
        assert_eq!(names::EVENTS_STORED.get(&cells, 0), 0);
        assert_eq!(names::EVENTS_STORED.get(&cells, 1), 5);
        assert_eq!(names::EVENTS_REPEATED.get(&cells, 0), 7);
    }

    #[test]
    fn histograms_put_a_value_on_a_bound_below_it() {
        let cells = cells();
        names::BATCH_EVENTS.observe(&cells, 1);
        names::BATCH_EVENTS.observe(&cells, 2);
        names::BATCH_EVENTS.observe(&cells, u64::from(u32::MAX));
        let text = render(&cells, "0.1.0");
        assert!(text.contains("jimbot_mcp_batch_events_bucket{le=\"1\"} 1\n"), "{text}");
        assert!(text.contains("jimbot_mcp_batch_events_bucket{le=\"2\"} 2\n"), "{text}");
        assert!(text.contains("jimbot_mcp_batch_events_bucket{le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("mcp_events_per_batch_count 3\n"), "{text}");
    }
}
