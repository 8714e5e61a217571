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

/// Converts so many events of one input (the last body to its end) and nothing else. The states of games that run on are
/// made before, as many of them for any number of events, so that the difference of two counts leaves it out.
fn count(name: &str, events: u64) {
    const STATES: usize = 1536;
    let input = Input::all().into_iter().find(|input| input.name == name);
    let mut input = input.unwrap_or_else(|| panic!("no input {name}"));
    input.make(STATES);
    let mut row = Converting::new(input.span_bytes);
    let mut bodies = input.bodies.iter().cycle();
    while row.events() < events
        && let Some(body) = bodies.next()
    {
        row.run(body, input.form);
    }
    println!("{}", row.hash());
}

fn table(turns: usize) {
    println!(
        "{turns} turns; ns a body (median), ratios to the parser's tree and to converting without"
    );
    println!(
        "remembered lists (median, middle half); lists that had come before, whole and partly"
    );
    println!(
        "{:<16} {:>7} {:>10} {:>10} {:>10} {:>10} {:>23} {:>23}",
        "input", "bytes", "convert", "without", "tree", "copy", "to tree", "to without"
    );
    for mut input in Input::all() {
        let mut convert = Converting::new(input.span_bytes);
        let mut without = Converting::new(0);
        let mut tree = Tree;
        let mut copy = Copying::default();
        let mut times: [Vec<f64>; 4] = Default::default();
        let mut ratios: [Vec<f64>; 2] = Default::default();
        let (mut bytes, mut bodies) = (0, 0);
        for turn in 0..turns + 1 {
            input.go_on();
            bytes += input.bodies.iter().map(|body| body.bytes.len()).sum::<usize>();
            bodies += input.bodies.len();
            // All rows find the bodies equally near.
            time(&mut copy, &input);
            let mut spent = [f64::NAN; 4];
            // Bodies that come once: what converts them second finds its branches foretold, so they take turns.
            for which in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
                if which == 0 {
                    spent[0] = time(&mut convert, &input);
                } else if input.is_remembered() {
                    spent[1] = time(&mut without, &input);
                }
            }
            spent[2] = time(&mut tree, &input);
            spent[3] = time(&mut copy, &input);
            // The first turn warms up.
            if turn > 0 {
                for (times, spent) in times.iter_mut().zip(spent) {
                    times.push(spent);
                }
                ratios[0].push(spent[0] / spent[2]);
                ratios[1].push(spent[0] / spent[1]);
            }
        }
        let bytes = bytes / bodies;
        let [convert_ns, without_ns, tree_ns, copy_ns] =
            times.map(|mut times| quantile(&mut times, 0.5));
        print!(
            "{:<16} {bytes:>7} {convert_ns:>10.1} {without_ns:>10.1} {tree_ns:>10.1} {copy_ns:>10.1}",
            input.name
        );
        for mut ratios in ratios {
            let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&mut ratios, share));
            if middle.is_nan() {
                print!(" {:>23}", "");
            } else {
                print!(" {middle:>7.3} {low:>7.3} – {high:<5.3}");
            }
        }
        let (whole, partly) = convert.known();
        println!(
            " {:.0} MB/s, known {whole:.3} {partly:.3}, outputs {:016x}",
            bytes as f64 * 1e3 / convert_ns,
            convert.hash(),
        );
    }
}

/// Nanoseconds a body. Bodies of games that run on are converted once: the next time all their lists would be known.
fn time(row: &mut dyn Row, input: &Input) -> f64 {
    let start = Instant::now();
    let mut runs = 0;
    loop {
        for body in &input.bodies {
            row.run(body, input.form);
        }
        runs += input.bodies.len();
        let spent = start.elapsed();
        if spent >= SLICE || input.is_remembered() {
            return spent.as_nanos() as f64 / runs as f64;
        }
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
