//! Two ways of doing the same, measured in turns: the ratio is firm where single figures are not.

use std::hint::black_box;
use std::time::Instant;

/// Whether this is a test run, in which everything runs once, so that it never rots.
pub(crate) fn is_quick() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}

/// Nanoseconds an item of `rounds` calls.
fn time(rounds: usize, items: usize, run: &mut dyn FnMut() -> usize, hash: &mut usize) -> f64 {
    let begin = Instant::now();
    for _ in 0..rounds {
        *hash = hash.rotate_left(5) ^ black_box(run());
    }
    begin.elapsed().as_nanos() as f64 / (rounds * items) as f64
}

/// Measures `ours` against `floor`, each of `items` items a call, and prints the median ratio with its quartiles.
pub(crate) fn pair(
    name: &str,
    quick: bool,
    items: usize,
    ours: &mut dyn FnMut() -> usize,
    floor: &mut dyn FnMut() -> usize,
) {
    let (pairs, rounds) = if quick { (1, 1) } else { (41, 200_000 / items) };
    let mut hash = 0;
    let mut rows: Vec<(f64, f64, f64)> = (0..pairs)
        .map(|_| {
            let (ours, floor) =
                (time(rounds, items, ours, &mut hash), time(rounds, items, floor, &mut hash));
            (ours / floor, ours, floor)
        })
        .collect();
    rows.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (ratio, ours, floor) = rows[pairs / 2];
    let (low, high) = (rows[pairs / 4].0, rows[pairs * 3 / 4].0);
    println!(
        "{name:<10} {ours:>8.1} ns  floor {floor:>8.1} ns  ratio {ratio:.2} [{low:.2}, {high:.2}]  result {hash:016x}"
    );
}
