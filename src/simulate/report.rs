//! The progress line and the summary.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::tally::Tally;
use super::{Options, Transport};

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Where the events went.
    pub target: String,
    /// Games at the same time.
    pub games: u32,
    /// The seed, to have the same run again.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Events sent at least once.
    pub events_sent: u64,
    /// Events that the service took, repeats included.
    pub events_accepted: u64,
    /// Accepted events that it had already.
    pub events_repeated: u64,
    /// Events it refused.
    pub events_refused: u64,
    /// Events given up after failures.
    pub events_lost: u64,
    /// Events a second, as accepted.
    pub events_per_second: f64,
    /// Bytes of bodies sent.
    pub bytes_sent: u64,
    /// Requests, or WebSocket messages.
    pub requests: u64,
    /// Of them sent again.
    pub requests_resent: u64,
    /// Attempts without a good answer.
    pub failures: u64,
    /// The last of these, in words.
    pub last_failure: Option<String>,
    /// Polls for commands.
    pub polls: u64,
    /// Commands received.
    pub commands: u64,
    /// Time to an answer at the 50th, 99th and 99.9th percentile, in microseconds.
    pub answer_us: AnswerTimes,
}

/// Times to an answer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AnswerTimes {
    /// Half of the answers came faster.
    pub p50: u64,
    /// 99 in 100 did.
    pub p99: u64,
    /// 999 in 1,000 did.
    pub p999: u64,
}

impl Summary {
    pub(super) fn new(options: &Options, tally: &Tally, took: Duration) -> Summary {
        let [p50, p99, p999] = tally.answer_us([50.0, 99.0, 99.9]);
        let target = match options.transport {
            Transport::WebSocket => options.target.to_string().replacen("http:", "ws:", 1),
            Transport::Http(_) => options.target.to_string(),
        };
        Summary {
            target,
            games: options.games,
            seed: options.seed,
            seconds: took.as_secs_f64(),
            events_sent: tally.sent.get(),
            events_accepted: tally.accepted.get(),
            events_repeated: tally.repeats.get(),
            events_refused: tally.refused.get(),
            events_lost: tally.lost.get(),
            events_per_second: tally.accepted.get() as f64 / took.as_secs_f64().max(1e-9),
            bytes_sent: tally.bytes.get(),
            requests: tally.requests.get(),
            requests_resent: tally.resent.get(),
            failures: tally.failures.get(),
            last_failure: tally.last_failure(),
            polls: tally.polls.get(),
            commands: tally.commands.get(),
            answer_us: AnswerTimes { p50, p99, p999 },
        }
    }

    /// Whether every event that was sent was accepted.
    pub fn all_accepted(&self) -> bool {
        self.events_accepted == self.events_sent
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} events accepted of {} sent by {} game{} to {} in {:.1} s: {}/s, {}",
            grouped(self.events_accepted),
            grouped(self.events_sent),
            self.games,
            if self.games == 1 { "" } else { "s" },
            self.target,
            self.seconds,
            grouped(self.events_per_second as u64),
            size(self.bytes_sent),
        )?;
        if self.answer_us.p50 > 0 {
            writeln!(
                f,
                "{} requests answered within {} (median), {} (p99), {} (p99.9)",
                grouped(self.requests),
                time(self.answer_us.p50),
                time(self.answer_us.p99),
                time(self.answer_us.p999),
            )?;
        }
        let mut rest = String::new();
        for (count, what) in [
            (self.events_repeated, "events it had already"),
            (self.events_refused, "events refused"),
            (self.events_lost, "events lost"),
            (self.requests_resent, "requests sent again"),
            (self.failures, "failures"),
            (self.commands, "commands received"),
        ] {
            if count > 0 {
                let gap = if rest.is_empty() { "" } else { ", " };
                write!(rest, "{gap}{} {what}", grouped(count))?;
            }
        }
        if !rest.is_empty() {
            writeln!(f, "{rest}")?;
        }
        match &self.last_failure {
            Some(reason) => writeln!(f, "last failure: {reason}"),
            None => Ok(()),
        }
    }
}

/// The line that people watch while it runs.
pub(super) fn progress(tally: &Tally, since: Duration) -> String {
    let accepted = tally.accepted.get();
    let [p50, p99, _] = tally.answer_us([50.0, 99.0, 99.9]);
    let mut line = format!(
        "{:>5.1} s  {} events accepted  {}/s  answers {} p50, {} p99",
        since.as_secs_f64(),
        grouped(accepted),
        grouped((accepted as f64 / since.as_secs_f64().max(1e-9)) as u64),
        time(p50),
        time(p99),
    );
    if tally.failures.get() > 0 {
        line.push_str(&format!("  {} failures", grouped(tally.failures.get())));
    }
    line
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Microseconds as people read them.
fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} \u{b5}s"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!(
            (time(12), time(1_500), time(2_500_000)),
            ("12 \u{b5}s".into(), "1.5 ms".into(), "2.5 s".into())
        );
        assert_eq!(size(1_234_567), "1.2 MB");
    }
}
