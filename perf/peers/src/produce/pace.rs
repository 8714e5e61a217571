//! Who sends when: the schedule of `jimbot-load`, over one pipelined connection.

use std::io;

use jimbot_perf::payload::{Ids, Payload};
use jimbot_perf::run::mono_ns;
use jimbot_traffic::workload::Workload;

use crate::line::Line;

/// Bytes that are put together for one write. Past them the kernel takes no more at once anyway.
const WRITE_BYTES: usize = 64 * 1024;
/// Events under way and not answered, where a broker answers.
const IN_FLIGHT: usize = 4096;
/// For what the broker may still have to do when a run is over.
const PATIENCE_NS: u64 = 30_000_000_000;

/// A broker's protocol.
pub(crate) trait Wire {
    /// Puts an event into what is to be written.
    fn publish(&mut self, out: &mut Vec<u8>, body: &[u8]);

    /// Removes from `input` what is whole in it, and takes note of the answers.
    ///
    /// # Errors
    /// When the broker refused something, or what it says is not its protocol.
    fn understand(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> io::Result<()>;

    /// Events that the broker has yet to answer; 0 where it answers none.
    fn unanswered(&self) -> usize;

    /// Asks for a sign that everything before was read, where events are not answered.
    fn ask(&mut self, _out: &mut Vec<u8>) {}

    /// Whether the broker has taken everything.
    fn settled(&self) -> bool {
        self.unanswered() == 0
    }
}

/// What a run does.
pub(crate) struct Plan {
    /// Events a second; `None` is flat out.
    rate: Option<f64>,
    duration_ns: u64,
    event_bytes: Option<usize>,
}

impl Plan {
    /// Reads `send RATE|flat SECONDS [BYTES]`.
    pub(crate) fn of(order: &str) -> io::Result<Self> {
        let words: Vec<&str> = order.split_whitespace().collect();
        let (["send", rate, seconds], bytes) = (&words[..words.len().min(3)], words.get(3)) else {
            return Err(wrong(order));
        };
        let number = |text: &str| {
            text.parse::<f64>().ok().filter(|it| *it > 0.0).ok_or_else(|| wrong(order))
        };
        Ok(Self {
            rate: if *rate == "flat" { None } else { Some(number(rate)?) },
            duration_ns: (number(seconds)? * 1e9) as u64,
            event_bytes: bytes.map(|text| text.parse().map_err(|_| wrong(order))).transpose()?,
        })
    }
}

fn wrong(order: &str) -> io::Error {
    io::Error::other(format!("`send RATE|flat SECONDS [BYTES]` is understood, not {order:?}"))
}

/// What a run gave.
pub(crate) struct Told {
    sent: u64,
    seconds: f64,
    behind_max: u64,
}

impl Told {
    /// As a line of JSON.
    pub(crate) fn json(&self) -> String {
        format!(
            "{{\"events_sent\": {}, \"seconds\": {:.9}, \"behind_max\": {}}}",
            self.sent, self.seconds, self.behind_max
        )
    }
}

/// Sends by the plan, and waits until the broker has taken all of it; that time counts.
///
/// # Errors
/// When the connection is lost, or the broker refuses an event.
pub(crate) fn drive<W: Wire>(plan: &Plan, line: &mut Line, wire: &mut W) -> io::Result<Told> {
    let mut payload = match plan.event_bytes {
        Some(bytes) => Payload::of_size(bytes, mono_ns()),
        None => Payload::new(Workload::Small, 1, 64, mono_ns()),
    };
    let mut ids = Ids::new(mono_ns());
    let interval_ns = plan.rate.map(|rate| 1e9 / rate);
    let start = mono_ns();
    let end = start + plan.duration_ns;
    let (mut sent, mut behind_max) = (0u64, 0u64);
    let due_at = |number: u64, interval_ns: f64| start + (number as f64 * interval_ns) as u64;
    loop {
        let now = mono_ns();
        if now >= end {
            break;
        }
        // What is due goes out in one write.
        let mut next_due = now;
        while line.waiting() < WRITE_BYTES && wire.unanswered() < IN_FLIGHT {
            let intended = match interval_ns {
                Some(interval_ns) => {
                    let due = due_at(sent, interval_ns);
                    if due > now {
                        next_due = due;
                        break;
                    }
                    behind_max = behind_max.max(((now - due) as f64 / interval_ns) as u64 + 1);
                    due
                }
                None => now,
            };
            wire.publish(&mut line.out, payload.next_template().fill(&mut ids, intended));
            sent += 1;
        }
        line.flush()?;
        let full = line.waiting() >= WRITE_BYTES || wire.unanswered() >= IN_FLIGHT;
        let wake = if full { end } else { next_due.min(end) };
        // Flat out there is nothing to wait for but room, yet answers have to be read all the same.
        let came = if wake > now { line.sleep(wake)? } else { wire.unanswered() > 0 };
        if came {
            line.read()?;
            wire.understand(&mut line.input, &mut line.out)?;
        }
    }
    wire.ask(&mut line.out);
    loop {
        line.flush()?;
        if wire.settled() && line.waiting() == 0 {
            break;
        }
        if mono_ns() > end + PATIENCE_NS {
            return Err(io::Error::other("the broker did not take all of it within 30 s"));
        }
        if line.sleep(end + PATIENCE_NS)? {
            line.read()?;
            wire.understand(&mut line.input, &mut line.out)?;
        }
    }
    Ok(Told { sent, seconds: (mono_ns() - start) as f64 / 1e9, behind_max })
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn an_order_that_is_cut_short_is_refused() {
        for order in
            ["", "send", "send flat", "send 0 1", "send 10 -1", "send 10 1 many", "begin 1 2"]
        {
            let refused = Plan::of(order).err().map(|error| error.to_string());
            assert!(refused.is_some_and(|reason| reason.contains("SECONDS")), "{order:?}");
        }
        let plan = Plan::of("send flat 0.5 1000").expect("whole");
        assert_eq!(
            (plan.rate, plan.duration_ns, plan.event_bytes),
            (None, 500_000_000, Some(1000))
        );
    }
}
