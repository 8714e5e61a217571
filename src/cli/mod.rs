//! The command line: what can be typed, and what answers it.

mod bus;
mod completions;
mod durables;
mod serve;
mod simulate;
mod tail;
mod values;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

/// The event path between live Balatro games and the programs that learn from them.
///
/// Games send events over HTTP or WebSocket; every process on this host reads them from shared
/// memory, each event once, within 100 ms.
#[derive(Debug, Parser)]
#[command(name = "jimbot-mcp", version, after_help = EXAMPLES, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  jimbot-mcp serve                       take in events on 127.0.0.1:8080 and :8765
  jimbot-mcp tail                        watch them come, one line of JSON each
  jimbot-mcp simulate --games 4          no game at hand? four made-up ones
  jimbot-mcp bus                         keep events, and deliver them to anyone on the network
  jimbot-mcp help serve                  everything about one command";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Tail(tail::Tail),
    Simulate(simulate::Simulate),
    Bus(bus::Bus),
    Publish(bus::Publish),
    Durables(durables::Durables),
    Completions(completions::Completions),
}

/// Which log a subcommand works on.
#[derive(Debug, Args)]
struct ShmDir {
    /// Directory of the shared-memory log
    #[arg(long, value_name = "DIR", env = "JIMBOT_MCP_SHM_DIR", hide_env_values = true)]
    shm_dir: Option<PathBuf>,
}

impl ShmDir {
    fn dir(&self) -> PathBuf {
        crate::config::shm_dir_from(self.shm_dir.clone())
    }
}

/// Runs the command line and tells how it went: 0 well, 1 not, 2 for a wrong command line or
/// configuration.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Tail(command) => command.run(),
        Command::Simulate(command) => command.run(),
        Command::Bus(command) => command.run(),
        Command::Publish(command) => command.run(),
        Command::Durables(command) => command.run(),
        Command::Completions(command) => command.run(),
    }
}

/// Lets the first SIGINT or SIGTERM set `stop`, and a second one end the process at once.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // The order matters: with the flag not yet set, the first handler does nothing.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(stop))?;
        signal_hook::flag::register(signal, Arc::clone(stop))?;
    }
    Ok(())
}

/// Says what went wrong, the way every subcommand does.
fn fail(error: impl std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("jimbot-mcp: {error}");
    ExitCode::from(code)
}

/// Writes a whole answer to standard output. A reader that has gone away wants no more, so that
/// is no failure.
fn answer(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(error, 1),
        _ => ExitCode::SUCCESS,
    }
}
