//! `jimbot-mcp simulate`: what can be chosen.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jimbot_traffic::Dialect;

use super::ShmDir;
use super::values::seconds;
use crate::simulate::{self, Habit, Options, Pace, TOKEN_VARIABLE, Target, Token, Transport};

/// Play made-up games against a running service.
///
/// Each game sends what a real one sends: whole states, money and score changes, scored hands
/// with their joker triggers. Without --rate and --flat-out they keep the rhythm of play.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jimbot-mcp simulate                                  one game, until Ctrl-C
  jimbot-mcp simulate --games 8 --rate 500 --seconds 30
  jimbot-mcp simulate --over websocket --events 10000 --flat-out --json
  jimbot-mcp simulate --odd 0.2 --triggers 40-120      a session with every fault of the field
  jimbot-mcp simulate --resend --events 50000          never give an event up
  jimbot-mcp simulate --to http://trainer:8080 --token-file token.txt

Exit code: 0 when every event sent was accepted, 1 when not, 2 for a wrong command line.")]
pub(super) struct Simulate {
    #[command(flatten)]
    shm: ShmDir,

    /// Where the service is: http://HOST:PORT or unix:PATH [default: the service of --shm-dir]
    #[arg(long, value_name = "URL")]
    to: Option<Target>,

    /// Send the bearer token in this file [default: the one in the environment's JIMBOT_MCP_TOKEN,
    /// if there is one]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Games at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    games: u32,

    /// How they send
    #[arg(long, value_enum, default_value_t = Over::Http)]
    over: Over,

    /// How they treat HTTP connections: kept-alive (WinINet), new (curl), close (plain sockets)
    #[arg(long, value_enum, default_value_t = Connections::KeptAlive)]
    connections: Connections,

    /// The words they speak [default: mod over HTTP, websocket over WebSocket]
    #[arg(long, value_enum)]
    dialect: Option<Words>,

    /// Events a second, all games together
    #[arg(long, value_name = "EVENTS", value_parser = rate, conflicts_with = "flat_out")]
    rate: Option<f64>,

    /// As fast as answers come
    #[arg(long)]
    flat_out: bool,

    /// End after this many events
    #[arg(long, value_name = "N")]
    events: Option<u64>,

    /// End after this time
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,

    /// Most events in a batch
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: u16,

    /// Joker triggers of a scored hand, fewest and most
    #[arg(long, value_name = "MIN-MAX", default_value = "1-24", value_parser = triggers)]
    triggers: (u32, u32),

    /// Share of events that are odd: inf and nan, broken UTF-8, unknown fields and types, …
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    odd: f64,

    /// Send again until acknowledged; otherwise as the mod: after 1 s and 3 s, then never
    #[arg(long)]
    resend: bool,

    /// Do not ask for commands twice a second
    #[arg(long)]
    no_poll: bool,

    /// The same seed gives the same events
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Write the id of every acknowledged event to this file, one a line
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,

    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    Http,
    Websocket,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Connections {
    KeptAlive,
    New,
    Close,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Words {
    Mod,
    Websocket,
    Script,
    /// Games take turns.
    Mixed,
}

impl Simulate {
    pub(super) fn run(self) -> ExitCode {
        let stop = Arc::new(AtomicBool::new(false));
        if let Err(error) = super::stop_on_signals(&stop) {
            return super::fail(error, 1);
        }
        let json = self.json;
        let token = match token(self.token_file.as_deref()) {
            Ok(token) => token,
            Err(error) => return super::fail(error, 2),
        };
        let summary = match simulate::run(&self.options(token), &stop) {
            Ok(summary) => summary,
            Err(error) => return super::fail(error, 1),
        };
        let text = if json {
            let line = serde_json::to_string(&summary).expect("numbers and texts are JSON");
            format!("{line}\n")
        } else {
            summary.to_string()
        };
        super::answer(text.as_bytes());
        if summary.all_accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn options(self, token: Option<Token>) -> Options {
        let transport = match (self.over, self.connections) {
            (Over::Websocket, _) => Transport::WebSocket,
            (Over::Http, Connections::KeptAlive) => Transport::Http(Habit::KeepAlive),
            (Over::Http, Connections::New) => Transport::Http(Habit::New),
            (Over::Http, Connections::Close) => Transport::Http(Habit::Close),
        };
        let dialects = match (self.dialect, self.over) {
            (Some(Words::Mod), _) | (None, Over::Http) => vec![Dialect::Mod],
            (Some(Words::Websocket), _) | (None, Over::Websocket) => vec![Dialect::WebSocket],
            (Some(Words::Script), _) => vec![Dialect::Script],
            (Some(Words::Mixed), _) => vec![Dialect::Mod, Dialect::WebSocket, Dialect::Script],
        };
        let pace = match self.rate {
            Some(rate) => Pace::PerSecond(rate),
            None if self.flat_out => Pace::FlatOut,
            None => Pace::Natural,
        };
        Options {
            target: self.to.unwrap_or_else(|| Target::of_log(&self.shm.dir())),
            token,
            games: self.games,
            transport,
            dialects,
            pace,
            events: self.events,
            time: self.seconds,
            batch: usize::from(self.batch),
            triggers: self.triggers,
            odd: self.odd,
            resend: self.resend,
            poll: !self.no_poll,
            seed: self.seed,
            acknowledged: self.acknowledged,
            progress: !self.json,
        }
    }
}

/// The token of the file, or else the environment's.
fn token(file: Option<&Path>) -> io::Result<Option<Token>> {
    if let Some(path) = file {
        return Token::read(path).map(Some);
    }
    match std::env::var(TOKEN_VARIABLE) {
        Ok(text) if !text.is_empty() => Token::new(&text)
            .map(Some)
            .map_err(|reason| io::Error::other(format!("{TOKEN_VARIABLE} {reason}"))),
        _ => Ok(None),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "write a number of events a second")?;
    if rate > 0.0 && rate <= 1e7 { Ok(rate) } else { Err("write a number above 0".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "write a share from 0 to 1")?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("write a share from 0 to 1".to_owned())
    }
}

fn triggers(text: &str) -> Result<(u32, u32), String> {
    let (fewest, most) = text.split_once('-').unwrap_or((text, text));
    match (fewest.parse(), most.parse()) {
        (Ok(fewest), Ok(most)) if fewest <= most && most <= 10_000 => Ok((fewest, most)),
        _ => Err("write it as MIN-MAX, such as 40-120".to_owned()),
    }
}
