//! `jimbot-mcp simulate`: made-up games against a running service.
//!
//! Every game is a thread of its own that blocks on its answers, as a real game does. What it
//! sends comes from `jimbot-traffic`; how it sends is here.
//!
//! | file | what it knows |
//! |---|---|
//! | `target` | where the service is |
//! | `token` | what it asks of who comes from elsewhere |
//! | `player` | one game: when it sends what, what it does about failures |
//! | `http`, `websocket` | one client each, honest about how games connect |
//! | `answer` | what an answer says about the events |
//! | `tally` | what all games count together |
//! | `report` | the progress line and the summary |

mod answer;
mod http;
mod player;
mod report;
mod tally;
mod target;
mod token;
mod websocket;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jimbot_traffic::Dialect;

pub use http::Habit;
pub use report::Summary;
pub use target::{Target, TargetError};
pub use token::{TOKEN_VARIABLE, Token};

use player::Player;
use tally::Tally;

/// How games send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP, with the habits of one of the libraries below the mod.
    Http(Habit),
    /// WebSocket; acks are asked for.
    WebSocket,
}

/// How fast events come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The rhythm of play.
    Natural,
    /// Events a second, all games together.
    PerSecond(f64),
    /// As fast as answers come.
    FlatOut,
}

/// Everything there is to choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the service is.
    pub target: Target,
    /// What it asks of who comes from elsewhere.
    pub token: Option<Token>,
    /// Games at the same time.
    pub games: u32,
    /// How they send.
    pub transport: Transport,
    /// The words they speak; games take turns when there are several.
    pub dialects: Vec<Dialect>,
    /// How fast.
    pub pace: Pace,
    /// Events in all, after which the run ends.
    pub events: Option<u64>,
    /// Time after which the run ends.
    pub time: Option<Duration>,
    /// Most events in a batch.
    pub batch: usize,
    /// Fewest and most triggers of a scored hand.
    pub triggers: (u32, u32),
    /// Share of odd events.
    pub odd: f64,
    /// Send again until acknowledged, whatever happens; otherwise as the mod does: after 1 s and
    /// 3 s, and then the events are lost.
    pub resend: bool,
    /// Ask for commands twice a second, as the mod does.
    pub poll: bool,
    /// Makes everything that is random.
    pub seed: u64,
    /// File that gets the id of every acknowledged event, one a line.
    pub acknowledged: Option<PathBuf>,
    /// Shows a line of progress on standard error.
    pub progress: bool,
}

/// Runs the games to their end, or until `stop` is set, and tells what happened.
///
/// # Errors
/// When nothing listens at the target (unless events are sent until acknowledged), or the file of
/// acknowledged ids can't be written.
pub fn run(options: &Options, stop: &AtomicBool) -> io::Result<Summary> {
    if !options.resend {
        options.target.connect(Duration::from_secs(10)).map_err(|error| {
            let target = &options.target;
            let hint = "start the service with `jimbot-mcp serve`, or name another with --to";
            io::Error::new(error.kind(), format!("nothing answers at {target} ({error}): {hint}"))
        })?;
    }
    let ids = match &options.acknowledged {
        Some(path) => Some(Mutex::new(BufWriter::new(File::create(path)?))),
        None => None,
    };
    let tally = Tally::new(options.events, ids);
    let began = Instant::now();
    let end = End::default();
    thread::scope(|scope| -> io::Result<()> {
        let mut players = Vec::new();
        for index in 0..options.games {
            let (tally, end) = (&tally, &end);
            let thread = thread::Builder::new()
                .name(format!("game-{index}"))
                // Thousands of games at once; a game nests its calls a few levels deep.
                .stack_size(512 * 1024)
                .spawn_scoped(scope, move || Player::new(options, index, tally, end).play());
            match thread {
                Ok(thread) => players.push(thread),
                Err(error) => {
                    end.abort();
                    return Err(error);
                }
            }
        }
        watch(options, &tally, began, stop, &end, || {
            players.iter().all(thread::ScopedJoinHandle::is_finished)
        });
        Ok(())
    })?;
    tally.flush_ids()?;
    Ok(Summary::new(options, &tally, began.elapsed()))
}

/// How long after its end a run goes on sending what is not acknowledged.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// How a run ends.
#[derive(Debug, Default)]
struct End {
    /// No new events; those that were made are still sent.
    ending: AtomicBool,
    /// Nothing is sent again.
    aborted: AtomicBool,
}

impl End {
    fn abort(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.aborted.store(true, Ordering::Relaxed);
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }
}

/// Shows progress and ends the run when its time is over, when it is told to, or when all games
/// have ended by themselves.
fn watch(
    options: &Options,
    tally: &Tally,
    began: Instant,
    stop: &AtomicBool,
    end: &End,
    finished: impl Fn() -> bool,
) {
    const LOOK: Duration = Duration::from_millis(20);
    const SHOW: Duration = Duration::from_millis(500);
    let screen = options.progress && io::stderr().is_terminal();
    let mut shown = Instant::now();
    while !finished() {
        thread::sleep(LOOK);
        if options.time.is_some_and(|time| began.elapsed() >= time) {
            end.ending.store(true, Ordering::Relaxed);
        }
        if options.time.is_some_and(|time| began.elapsed() >= time + LAST_WORDS)
            || stop.load(Ordering::Relaxed)
        {
            end.abort();
        }
        if screen && shown.elapsed() >= SHOW {
            shown = Instant::now();
            eprint!("\r{}\x1b[K", report::progress(tally, began.elapsed()));
        }
    }
    if screen {
        eprint!("\r\x1b[K");
        // The line is only for people: a terminal that is gone does not matter.
        let _ = io::stderr().flush();
    }
}
