//! `jimbot-mcp tail`: what can be chosen.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use jimbot_shm::Start;

use super::ShmDir;
use super::values::seconds;
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

    /// Wait this long for a log that is not there yet
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    wait: Duration,
}

impl Tail {
    pub(super) fn run(self) -> ExitCode {
        let stop = Arc::new(AtomicBool::new(false));
        if let Err(error) = super::stop_on_signals(&stop) {
            return super::fail(error, 1);
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
}
