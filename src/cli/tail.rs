//! `jimbot-mcp tail`: what can be chosen.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use jimbot_shm::Start;

use super::ShmDir;
use super::values::seconds;
use crate::bus::client;
use crate::bus::topic::Pattern;
use crate::tail::{self, Options, TypeFilter};

/// Show events as they come: one line of JSON each.
///
/// The JSON is protobuf's canonical form of jimbot.events.v1.Event: 64-bit numbers are strings,
/// fields with their default are left out. Events go to standard output, notices to standard
/// error. Reading costs the service nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jimbot-mcp tail                                          from now on, until Ctrl-C
  jimbot-mcp tail --from-start --until-idle 1 | wc -l      how many events are there
  jimbot-mcp tail --type GAME_STATE --game 7LB2WVPK
  jimbot-mcp tail --type SCORING --type 'game.hand.*' --count 20
  jimbot-mcp tail --bus http://trainer:50051 --topic 'game.hand.*'
  jimbot-mcp tail | jq -r '[.sequence, .type] | @tsv'")]
pub(super) struct Tail {
    #[command(flatten)]
    shm: ShmDir,

    /// Only events of this type: a name as games send it, or a topic; repeat it for more
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<TypeFilter>,

    /// Only events of this game: its id (the run's seed) or its key; repeat it for more
    #[arg(long = "game", value_name = "ID")]
    games: Vec<String>,

    /// Begin with the oldest event that is still in the log
    #[arg(long, conflicts_with = "from")]
    from_start: bool,

    /// Begin with the event that has this sequence
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,

    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// End when no event came for this long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    until_idle: Option<Duration>,

    /// Join as the reliable reader of this name: it misses nothing, and holds the games if it
    /// falls too far behind
    #[arg(long, value_name = "NAME")]
    reliable: Option<String>,

    /// Read from the Event Bus at this URL and not from the log on this host
    #[arg(long, value_name = "URL", conflicts_with_all = ["from", "games", "types"])]
    bus: Option<String>,

    /// With --bus: only topics that this pattern selects (`game.>`); repeat it for more
    #[arg(long = "topic", value_name = "PATTERN", requires = "bus", value_parser = pattern)]
    topics: Vec<String>,

    /// With --bus: send the bearer token in this file
    #[arg(long, value_name = "FILE", requires = "bus")]
    token_file: Option<PathBuf>,

    /// Wait this long for a log that is not there yet
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    wait: Duration,
}

fn pattern(text: &str) -> Result<String, String> {
    Pattern::parse(text)
        .map(|pattern| pattern.as_str().to_owned())
        .map_err(|error| error.to_string())
}

impl Tail {
    pub(super) fn run(self) -> ExitCode {
        let stop = Arc::new(AtomicBool::new(false));
        if let Err(error) = super::stop_on_signals(&stop) {
            return super::fail(error, 1);
        }
        if let Some(url) = self.bus.clone() {
            return self.run_on_bus(url, &stop);
        }
        let start = match (self.from_start, self.from) {
            (true, _) => Start::Earliest,
            (false, Some(sequence)) => Start::Sequence(sequence),
            (false, None) => Start::Latest,
        };
        let options = Options {
            shm_dir: self.shm.dir(),
            start,
            reliable: self.reliable,
            patience: self.wait,
            types: self.types,
            games: self.games,
            count: self.count,
            until_idle: self.until_idle,
        };
        let tell = |notice: &str| eprintln!("jimbot-mcp: {notice}");
        match tail::run(&options, io::stdout().lock(), &stop, tell) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => super::fail(error, 1),
        }
    }

    fn run_on_bus(self, url: String, stop: &AtomicBool) -> ExitCode {
        let options = match client::Options::new(url, self.token_file.as_deref()) {
            Ok(options) => options,
            Err(reason) => return super::fail(reason, 2),
        };
        let wanted = client::Wanted {
            topics: self.topics,
            from_start: self.from_start,
            durable: self.reliable,
            count: self.count,
            until_idle: self.until_idle,
        };
        let tell = |notice: &str| eprintln!("jimbot-mcp: {notice}");
        match client::tail(&options, &wanted, io::stdout().lock(), stop, tell) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => super::fail(error, 1),
        }
    }
}
