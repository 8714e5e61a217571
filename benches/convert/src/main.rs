//! Conversion against its floor: the fastest general parser building its own tree of the same
//! bytes, and a copy of them. All rows run in turns within one process, and ratios are taken turn
//! by turn, so that a machine that slows down slows all of them down.
//!
//! ```text
//! cargo run --release -p jimbot-bench-convert                  the table
//! cargo run --release -p jimbot-bench-convert -- --turns 5     a short one
//! cargo run --release -p jimbot-bench-convert -- --count state 1000
//!                                                              only that, for instruction counts
//! ```

mod inputs;
mod rows;

use std::time::{Duration, Instant};

use inputs::Input;
use rows::{Converting, Copying, Row, Tree};

/// How long each row runs in each turn: short, so that whatever else the machine does seldom falls
/// into a turn and is left out by the median.
const SLICE: Duration = Duration::from_micros(150);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => table(2001),
        ["--turns", turns] => table(turns.parse().expect("a number of turns")),
        ["--count", name, events] => {
            count(name, events.parse().expect("how many events"));
        }
        _ => {
            eprintln!("usage: jimbot-bench-convert [--turns N | --count INPUT N]");
            std::process::exit(2);
        }
    }
}

/// Converts so many events of one input (the last body to its end) and nothing else.
fn count(name: &str, events: u64) {
    let input = Input::all().into_iter().find(|input| input.name == name);
    let input = input.unwrap_or_else(|| panic!("no input {name}"));
    let mut row = Converting::new();
    let mut bodies = input.bodies.iter().cycle();
    while row.events() < events
        && let Some(body) = bodies.next()
    {
        row.run(body, input.form);
    }
    println!("{}", row.hash());
}

fn table(turns: usize) {
    println!("{turns} turns; ns a body (median), ratio to the parser's tree (median, middle half)");
    println!(
        "{:<16} {:>7} {:>10} {:>10} {:>10} {:>8} {:>16}",
        "input", "bytes", "convert", "tree", "copy", "ratio", "middle half"
    );
    for input in Input::all() {
        let mut convert = Converting::new();
        let mut tree = Tree;
        let mut copy = Copying::default();
        let mut times: [Vec<f64>; 3] = Default::default();
        let mut ratios = Vec::new();
        for turn in 0..turns + 1 {
            let spent =
                [time(&mut convert, &input), time(&mut tree, &input), time(&mut copy, &input)];
            // The first turn warms up.
            if turn > 0 {
                for (times, spent) in times.iter_mut().zip(spent) {
                    times.push(spent);
                }
                ratios.push(spent[0] / spent[1]);
            }
        }
        let bytes = input.bodies.iter().map(Vec::len).sum::<usize>() / input.bodies.len();
        let [convert_ns, tree_ns, copy_ns] = times.map(|mut times| quantile(&mut times, 0.5));
        println!(
            "{:<16} {:>7} {:>10.1} {:>10.1} {:>10.1} {:>8.3} {:>7.3} – {:<6.3} {:.0} MB/s, outputs {:016x}",
            input.name,
            bytes,
            convert_ns,
            tree_ns,
            copy_ns,
            quantile(&mut ratios, 0.5),
            quantile(&mut ratios, 0.25),
            quantile(&mut ratios, 0.75),
            bytes as f64 * 1e3 / convert_ns,
            convert.hash(),
        );
    }
}

/// Nanoseconds a body.
fn time(row: &mut dyn Row, input: &Input) -> f64 {
    let start = Instant::now();
    let mut runs = 0;
    loop {
        for body in &input.bodies {
            row.run(body, input.form);
        }
        runs += input.bodies.len();
        let spent = start.elapsed();
        if spent >= SLICE {
            return spent.as_nanos() as f64 / runs as f64;
        }
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
