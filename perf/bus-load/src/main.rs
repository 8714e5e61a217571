//! `jimbot-bus-load`: publishes to, subscribes to and carries events through an Event Bus, and does the same with NATS
//! JetStream's own client. `perf/bus` runs it; each subcommand prints one line of JSON.

mod carry;
mod jetstream;
mod measure;
mod pace;
mod stall;
mod subscribe;

use clap::{Parser, Subcommand};

/// Anything that ends a run.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures an Event Bus from outside.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    Carry(carry::Carry),
    Subscribe(subscribe::Subscribe),
    Pace(pace::Pace),
    Fill(pace::Fill),
    Stall(stall::Stall),
    NatsFlood(jetstream::Flood),
    NatsPace(jetstream::Pace),
}

fn main() -> Result<(), Failure> {
    match Arguments::parse().part {
        Part::Carry(carry) => carry.run(),
        Part::Subscribe(subscribe) => run(subscribe.run()),
        Part::Pace(pace) => pace.run(),
        Part::Fill(fill) => run(fill.run()),
        Part::Stall(stall) => run(stall.run()),
        Part::NatsFlood(flood) => run(flood.run()),
        Part::NatsPace(pace) => run(pace.run()),
    }
}

/// On one thread, as a client that shares a core would.
fn run(part: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(part)
}

fn print(report: &impl serde::Serialize) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}
