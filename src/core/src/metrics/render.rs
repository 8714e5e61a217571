//! Prometheus' text format (version 0.0.4) of the cells.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FAMILIES, Family, Kind};

/// The text of all families, and the older names beside them.
#[must_use]
pub fn render(cells: &[AtomicU64], version: &str) -> String {
    let mut text = String::with_capacity(32 * 1024);
    let _ = write!(
        text,
        "# HELP jimbot_mcp_build_info The version that is running.\n# TYPE jimbot_mcp_build_info gauge\n\
         jimbot_mcp_build_info{{version=\"{version}\"}} 1\n"
    );
    let mut first = 0;
    for family in FAMILIES {
        let count = family.cells();
        // A counters file of another version may be shorter: what it lacks is shown as zero.
        let value = |i: usize| cells.get(first + i).map_or(0, |cell| cell.load(Ordering::Relaxed));
        family_text(&mut text, family, family.name, family.divisor, &value);
        if let Some((older, divisor)) = family.older {
            family_text(&mut text, family, older, divisor, &value);
        }
        first += count;
    }
    text
}

fn family_text(
    text: &mut String,
    family: &Family,
    name: &str,
    divisor: u64,
    value: &dyn Fn(usize) -> u64,
) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
    match family.kind {
        Kind::Counter | Kind::Gauge => {
            for (i, label) in family.labels.values.iter().enumerate() {
                let series = series(name, family.labels.name, label);
                let _ = writeln!(text, "{series} {}", scaled(value(i), divisor));
            }
        }
        Kind::Histogram(bounds) => {
            let mut count = 0_u64;
            for (i, &bound) in bounds.iter().enumerate() {
                count += value(i);
                let _ =
                    writeln!(text, "{name}_bucket{{le=\"{}\"}} {count}", scaled(bound, divisor));
            }
            count += value(bounds.len());
            let sum = scaled(value(bounds.len() + 1), divisor);
            let _ = write!(
                text,
                "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}\n"
            );
        }
    }
}

pub(super) fn series(name: &str, label: &str, value: &str) -> String {
    if label.is_empty() { name.to_owned() } else { format!("{name}{{{label}=\"{value}\"}}") }
}

/// `value / divisor` in the shortest form that reads back as the same number.
pub(super) fn scaled(value: u64, divisor: u64) -> String {
    if divisor == 1 { value.to_string() } else { (value as f64 / divisor as f64).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::names;

    #[test]
    fn the_text_has_help_and_type_once_a_name_and_the_older_names() {
        let cells: Vec<AtomicU64> =
            crate::metrics::cell_names().iter().map(|_| AtomicU64::new(0)).collect();
        names::BATCH_LATENCY.observe(&cells, 1_500_000);
        let text = render(&cells, "0.1.0");
        let mut types = std::collections::BTreeSet::new();
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            assert!(types.insert(line.split(' ').nth(2)), "{line}");
        }
        for older in [
            "mcp_batch_latency_ms",
            "mcp_events_per_batch",
            "mcp_queue_size",
            "mcp_websocket_connections",
        ] {
            assert!(types.contains(&Some(older)), "{older}");
        }
        assert!(text.contains("mcp_batch_latency_ms_sum 1.5\n"), "{text}");
        assert!(text.contains("jimbot_mcp_batch_latency_seconds_sum 0.0015\n"), "{text}");
        assert!(
            text.contains("jimbot_mcp_batch_latency_seconds_bucket{le=\"0.001\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains("jimbot_mcp_batch_latency_seconds_bucket{le=\"0.002\"} 1\n"),
            "{text}"
        );
    }
}
