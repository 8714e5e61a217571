//! `jimbot-peer-produce`: publishes to the brokers what `jimbot-load` sends to the service, on the same
//! schedule: the same bodies, an id of its own for each, and the time at which it was to be sent.
//!
//! It speaks each broker's protocol itself over one pipelined connection, as `jimbot-load` speaks HTTP:
//! a client library between would be measured along with the broker.
//!
//! Reads `send RATE|flat SECONDS [BYTES]` on its standard input (`BYTES`: single events of about that
//! size instead of small ones) and answers each with a line of JSON.

mod line;
mod nats;
mod pace;
mod redis;
mod zeromq;

use std::io::{self, BufRead};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use line::Line;
use pace::{Plan, Wire};

/// Publishes the load generator's events to a broker.
#[derive(Parser)]
struct Arguments {
    /// What is spoken
    #[arg(value_enum)]
    kind: Kind,
    /// HOST:PORT of the broker; for ZeroMQ the path of the socket to bind
    address: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// XADD, each answered, pipelined
    Redis,
    /// PUB, nothing answered; a run ends when the server has read all of it
    Nats,
    /// PUB to a stream, each acknowledged when it is stored
    Jetstream,
    /// ZMTP 3.0 as a PUSH socket for one PULL socket
    Zeromq,
}

fn main() -> ExitCode {
    match serve(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jimbot-peer-produce: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> io::Result<()> {
    // Sleeping until an event is due must not take the kernel's usual 50 µs longer.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let address = arguments.address.as_str();
    match arguments.kind {
        Kind::Redis => obey(|| redis::connect(address)),
        Kind::Nats => obey(|| nats::connect(address, false)),
        Kind::Jetstream => obey(|| nats::connect(address, true)),
        Kind::Zeromq => {
            let listener = std::os::unix::net::UnixListener::bind(address)?;
            obey(|| zeromq::accept(&listener))
        }
    }
}

/// Does what standard input says. The connection is made at the first run: until then nobody need
/// be at the other end.
fn obey<W: Wire>(connect: impl Fn() -> io::Result<(Line, W)>) -> io::Result<()> {
    let mut connected = None;
    println!("{{\"ready\": true}}");
    for order in io::stdin().lock().lines() {
        let plan = Plan::of(&order?)?;
        if connected.is_none() {
            connected = Some(connect()?);
        }
        let (line, wire) = connected.as_mut().expect("made above");
        println!("{}", pace::drive(&plan, line, wire)?.json());
    }
    Ok(())
}
