//! A whole turn of the service, without the kernel: what 64 connections have sent is read, stored in a
//! shared-memory log and answered. Beside it the copy of the same bytes, in turns within one process.
//!
//! ```text
//! cargo run --release -p jimbot-bench-turn                     the table
//! cargo run --release -p jimbot-bench-turn -- --turns 5        a short one
//! cargo run --release -p jimbot-bench-turn -- --count http-small 64000
//!                                                              at least so many events, for instruction counts
//! ```

mod copying;
mod turn;

use std::time::Instant;

use copying::Copying;
use jimbot_traffic::workload::Workload;
use turn::{Turn, Wire};

/// Name, how events come, what they are.
const INPUTS: [(&str, Wire, Workload); 3] = [
    ("http-small", Wire::Http, Workload::Small),
    ("http-batch", Wire::Http, Workload::Batch50),
    ("ws-small", Wire::WebSocket, Workload::Small),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => table(1001),
        ["--turns", turns] => table(turns.parse().expect("a number of turns")),
        ["--count", name, events] => count(name, events.parse().expect("how many events")),
        _ => {
            eprintln!("usage: jimbot-bench-turn [--turns N | --count INPUT EVENTS]");
            std::process::exit(2);
        }
    }
}

/// Does nothing but turns until so many events were stored.
fn count(name: &str, events: u64) {
    let input = INPUTS.iter().find(|(known, ..)| *known == name);
    let &(_, wire, workload) = input.unwrap_or_else(|| panic!("no input {name}"));
    let mut turn = Turn::new(wire, workload);
    while turn.sent() < events {
        turn.run();
    }
    turn.check();
    println!("{}", turn.sent());
    turn.abandon();
}

fn table(turns: usize) {
    println!("{turns} turns of 64 connections; ns an event (median, middle half)");
    println!("{:<12} {:>10} {:>20} {:>8}", "input", "turn", "middle half", "copy");
    for (name, wire, workload) in INPUTS {
        let mut turn = Turn::new(wire, workload);
        let mut copy = Copying::new(turn.bytes());
        let (mut spent, mut floor) = (Vec::new(), Vec::new());
        for round in 0..turns + 1 {
            let before = turn.sent();
            let turned = nanoseconds(|| turn.run());
            let events = (turn.sent() - before) as f64;
            let copied = nanoseconds(|| copy.run());
            // The first one warms up.
            if round > 0 {
                spent.push(turned / events);
                floor.push(copied / events);
            }
        }
        turn.check();
        println!(
            "{name:<12} {:>10.1} {:>9.1} – {:<8.1} {:>8.2}",
            quantile(&mut spent, 0.5),
            quantile(&mut spent, 0.25),
            quantile(&mut spent, 0.75),
            quantile(&mut floor, 0.5),
        );
    }
}

fn nanoseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
