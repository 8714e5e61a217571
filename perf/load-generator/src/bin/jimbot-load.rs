//! `jimbot-load`: sends events to a running service, at a rate or flat out, and tells what the
//! answers took and what the service paid. `perf/load` builds and runs it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use jimbot_perf::bodies;
use jimbot_perf::client::Wire;
use jimbot_perf::payload::{Ids, Payload};
use jimbot_perf::process::Snapshot;
use jimbot_perf::report::{Report, Setting};
use jimbot_perf::run::{self, Moment, Plan};
use jimbot_traffic::workload::{Body, Workload};

/// Measures a running service from outside.
///
/// Latency counts from the moment at which an event was meant to be sent, so a service that
/// stalls shows in the percentiles (no coordinated omission). Every event has an id of its own.
///
/// What was due and has no answer when the time is up is waited for, and counts with the time that it took, or with that
/// after which it was given up.
#[derive(Parser)]
#[command(
    bin_name = "perf/load",
    after_help = "\
Examples:
  perf/load --target 127.0.0.1:8080 --connections 64                  flat out, small events
  perf/load --target 127.0.0.1:8080 --rate 20000 --workload batch     20,000 events/s in batches
  perf/load --target 127.0.0.1:8080 --wire ws --depth 16              WebSocket, 16 frames a write
  perf/load --target 127.0.0.1:8080 --rate 1000 --spin --pid 4711     with the CPU cost of a process
  perf/load --workload mixed --seed 7 --save mixed.jsonl              the bodies of a run, in a file
  perf/load --target 127.0.0.1:8080 --bodies mixed.jsonl              sends what a file holds"
)]
struct Arguments {
    /// Address of the service
    #[arg(long, required_unless_present_any = ["print", "save"])]
    target: Option<SocketAddr>,
    /// Print so many bodies of the workload, one a line, and send none
    #[arg(long)]
    print: Option<usize>,
    /// Write the bodies that a run would send to a file, one a line, and send none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "print"])]
    save: Option<PathBuf>,
    /// Send what a file holds, a body a line, instead of a workload. Ids, and times with a fraction, are replaced at
    /// each sending
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workload", "event_bytes", "seed", "save"])]
    bodies: Option<PathBuf>,
    /// What each body holds
    #[arg(long, default_value = "small", value_parser = workload)]
    workload: (&'static str, Workload),
    /// Send single events of about so many bytes (116 to a million) instead of a workload
    #[arg(long, value_name = "BYTES", conflicts_with = "workload")]
    event_bytes: Option<usize>,
    /// How bodies travel
    #[arg(long, value_enum, default_value = "http")]
    wire: WireName,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Events a second in all, sent at fixed times; without it each connection sends as soon as
    /// it may
    #[arg(long)]
    rate: Option<f64>,
    /// Bodies in flight on a connection (flat out only)
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Seconds measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before measuring starts; none with --wire ws, where the whole run counts
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Never sleep. A client that sleeps makes the service pay for waking it at each send
    #[arg(long)]
    spin: bool,
    /// Seconds without any answer after which what is still unanswered at the end is given up
    #[arg(long, default_value_t = 30.0)]
    patience: f64,
    /// Process whose CPU time and memory to report
    #[arg(long)]
    pid: Option<u32>,
    /// Seed of the bodies
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the JSON report to a file too
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WireName {
    /// A request for each body
    Http,
    /// A WebSocket message for each body, nothing answered
    Ws,
    /// A WebSocket message for each body, each acknowledged
    WsAck,
}

fn workload(name: &str) -> Result<(&'static str, Workload), String> {
    Workload::ALL.into_iter().find(|(known, _)| *known == name).ok_or_else(|| {
        let names: Vec<&str> = Workload::ALL.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(failed) => ExitCode::from(u8::from(failed > 0)),
        Err(error) => {
            eprintln!("jimbot-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What to send: its name, its seed if it has one, and the bodies.
fn chosen(arguments: &Arguments) -> std::io::Result<(String, Option<u64>, Vec<Body>)> {
    let (name, workload) = arguments.workload;
    Ok(match (&arguments.bodies, arguments.event_bytes) {
        (Some(path), _) => (path.display().to_string(), None, bodies::read(path)?),
        (None, Some(bytes)) => (format!("events of {bytes} bytes"), None, bodies::of_size(bytes)),
        (None, None) => {
            let made = bodies::of(workload, arguments.seed, bodies::COUNT);
            (name.to_owned(), Some(arguments.seed), made)
        }
    })
}

/// Does what the arguments say; gives how many bodies were refused or not answered.
fn measure(arguments: &Arguments) -> std::io::Result<u64> {
    let (name, seed, bodies) = chosen(arguments)?;
    if let Some(path) = &arguments.save {
        return bodies::save(path, &bodies).map(|()| 0);
    }
    let mut payload = Payload::of(&bodies, run::mono_ns());
    let Some(target) = arguments.target else {
        let mut ids = Ids::new(run::mono_ns());
        let mut out = std::io::stdout().lock();
        for _ in 0..arguments.print.unwrap_or_default() {
            out.write_all(payload.next_template().fill(&mut ids, run::mono_ns()))?;
            out.write_all(b"\n")?;
        }
        return Ok(0);
    };
    let events_per_body = payload.mean_events();
    let plan = Plan {
        target,
        wire: match arguments.wire {
            WireName::Http => Wire::Http,
            WireName::Ws => Wire::WebSocket,
            WireName::WsAck => Wire::WebSocketAcked,
        },
        connections: arguments.connections,
        bodies_per_second: arguments.rate.map(|rate| rate / events_per_body),
        duration: Duration::from_secs_f64(arguments.seconds),
        warm_up: Duration::from_secs_f64(arguments.warm_up),
        depth: arguments.depth,
        spin: arguments.spin,
        patience: Duration::from_secs_f64(arguments.patience),
        run: run::mono_ns(),
    };
    let (mut before, mut after) = (None, None);
    let outcome = run::run(&plan, &mut payload, |moment| {
        let counters = arguments.pid.and_then(|pid| Snapshot::of(pid).ok());
        match moment {
            Moment::Warm => before = counters,
            Moment::End => after = counters,
        }
    })?;
    let service = before.zip(after).map(|(before, after)| after.since(&before));
    let setting = Setting {
        workload: name,
        seed,
        wire: arguments
            .wire
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned()),
        connections: arguments.connections,
        rate: arguments.rate,
        spin: arguments.spin,
    };
    let report = Report::new(setting, &outcome, service);
    let json = serde_json::to_string(&report)?;
    if let Some(path) = &arguments.out {
        std::fs::write(path, &json)?;
    }
    if arguments.json {
        println!("{json}");
    } else {
        print!("{}", report.text());
    }
    Ok(outcome.refused + outcome.unanswered)
}
