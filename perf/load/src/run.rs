//! One run: who sends when, and what came of it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};
use rustix::time::{ClockId, clock_gettime};

use crate::alarm::Alarm;
use crate::client::{Client, Progress, Wire};
use crate::payload::{Ids, Payload};

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the service listens.
    pub target: SocketAddr,
    /// How events travel.
    pub wire: Wire,
    /// Connections, all from this process.
    pub connections: usize,
    /// Bodies a second in all; `None` is flat out.
    pub bodies_per_second: Option<f64>,
    /// Length of the run.
    pub duration: Duration,
    /// Left out of the figures at the beginning.
    pub warm_up: Duration,
    /// Bodies queued before a write, and in flight on a connection, when flat out.
    pub depth: usize,
    /// Poll without sleeping. A sleeping client makes the service pay for waking it.
    pub spin: bool,
    /// Names this run's ids.
    pub run: u64,
}

/// What a run gave.
pub struct Outcome {
    /// From the intended send time to the answer, nanoseconds; only with answers.
    pub latency_ns: Histogram<u64>,
    /// Events answered (sent, where nothing is answered) after the warm-up.
    pub events: u64,
    /// Bodies likewise.
    pub bodies: u64,
    /// Bytes written in the whole run.
    pub bytes: u64,
    /// Events sent in the whole run, warm-up included.
    pub events_sent: u64,
    /// Bodies that were refused.
    pub refused: u64,
    /// Measured time, after the warm-up.
    pub seconds: f64,
    /// Most bodies that waited for a free connection: above the connections' number, the service
    /// (or this process) could not keep the rate.
    pub backlog_max: usize,
}

#[derive(Default)]
struct Counts {
    events: u64,
    bodies: u64,
    refused: u64,
    events_sent: u64,
    backlog_max: usize,
}

/// Nanoseconds of the monotonic clock, the same that Python's `time.monotonic_ns` reads.
pub fn mono_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// When to take the service's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The warm-up is over.
    Warm,
    /// What counts has been sent and answered. Answers that are still under way do not count.
    End,
}

/// Runs the plan, and calls `at` when measuring begins and when it ends.
///
/// # Errors
/// When connections can't be made or are lost.
pub fn run(plan: &Plan, payload: &mut Payload, mut at: impl FnMut(Moment)) -> io::Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut clients = Vec::with_capacity(plan.connections);
    for index in 0..plan.connections {
        let mut client = Client::connect(plan.target, plan.wire)?;
        client.register(poll.registry(), Token(index))?;
        clients.push(client);
    }
    const ALARM: Token = Token(usize::MAX);
    let alarm = Alarm::new(poll.registry(), ALARM)?;
    let mut ids = Ids::new(plan.run);
    let mut events = Events::with_capacity(1024);
    let mut latency_ns = Histogram::new_with_bounds(1, 120_000_000_000, 3)
        .map_err(|error| io::Error::other(error.to_string()))?;
    let mut free: VecDeque<usize> = (0..plan.connections).collect();
    let mut backlog: VecDeque<u64> = VecDeque::new();
    let mut counts = Counts::default();

    let start = mono_ns();
    // Without answers nobody knows what the service has taken before the end, so all of the run
    // counts: from the first send until the service has taken the last.
    let warm_up = if plan.wire == Wire::WebSocket { Duration::ZERO } else { plan.warm_up };
    let warm = start + warm_up.as_nanos() as u64;
    let end = warm + plan.duration.as_nanos() as u64;
    let interval_ns = plan.bodies_per_second.map(|rate| 1e9 / rate);
    let mut scheduled = 0u64;
    let mut measured_from = None;
    let mut now = start;
    let mut progress = Progress::default();

    while now < end {
        if measured_from.is_none() && now >= warm {
            measured_from = Some(now);
            at(Moment::Warm);
        }
        let mut next_due = None;
        if let Some(interval_ns) = interval_ns {
            loop {
                let due = start + (scheduled as f64 * interval_ns) as u64;
                if due > now {
                    next_due = Some(due);
                    break;
                }
                backlog.push_back(due);
                scheduled += 1;
            }
            counts.backlog_max = counts.backlog_max.max(backlog.len());
        }
        // Each free connection sends: one body at a rate, `depth` of them flat out.
        for _ in 0..free.len() {
            let Some(index) = free.pop_front() else { break };
            let client = &mut clients[index];
            let count = match interval_ns {
                Some(_) if backlog.is_empty() => {
                    free.push_back(index);
                    break;
                }
                Some(_) => 1,
                None => plan.depth.saturating_sub(client.in_flight()),
            };
            for _ in 0..count {
                let intended = backlog.pop_front().unwrap_or(now);
                let sent = client.queue(payload, &mut ids, intended) as u64;
                counts.events_sent += sent;
                if plan.wire == Wire::WebSocket && measured_from.is_some() {
                    counts.events += sent;
                    counts.bodies += 1;
                }
            }
            client.flush()?;
            let unanswered_wire = plan.wire == Wire::WebSocket;
            if unanswered_wire && client.flushed() {
                free.push_back(index);
            }
        }
        let timeout = if plan.spin || (!free.is_empty() && interval_ns.is_none()) {
            Duration::ZERO
        } else {
            if let Some(due) = next_due {
                alarm.set(due)?;
            }
            Duration::from_nanos(end.saturating_sub(now))
        };
        match poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        now = mono_ns();
        for event in &events {
            if event.token() == ALARM {
                continue;
            }
            let Token(index) = event.token();
            let client = &mut clients[index];
            let was_busy = match plan.wire {
                Wire::WebSocket => !client.flushed(),
                _ => client.in_flight() > 0,
            };
            if event.is_writable() {
                client.flush()?;
            }
            if event.is_readable() {
                client.read(&mut progress)?;
            }
            let is_free = match plan.wire {
                Wire::WebSocket => client.flushed(),
                _ => client.in_flight() == 0 && client.flushed(),
            };
            if was_busy && is_free {
                free.push_back(index);
            }
            if progress.closed {
                return Err(io::Error::other(format!(
                    "the service closed connection {index} of {}",
                    plan.connections
                )));
            }
            for (intended, count) in progress.answered.drain(..) {
                if measured_from.is_some() {
                    latency_ns.saturating_record(now.saturating_sub(intended).max(1));
                    counts.events += count as u64;
                    counts.bodies += 1;
                }
            }
            counts.refused += progress.refused;
            progress.refused = 0;
        }
    }
    if plan.wire != Wire::WebSocket {
        at(Moment::End);
    }
    settle(&mut poll, &mut clients, plan.wire)?;
    if plan.wire == Wire::WebSocket {
        at(Moment::End);
    }
    // What nobody answers counts when the service has taken it, so the clock stops after that.
    let end = if plan.wire == Wire::WebSocket { mono_ns() } else { now };
    // Whoever never got a turn after the warm-up is behind by the whole run: say so in the
    // percentiles instead of leaving it out.
    for intended in backlog {
        latency_ns.saturating_record(end.saturating_sub(intended).max(1));
    }
    Ok(Outcome {
        latency_ns,
        events: counts.events,
        bodies: counts.bodies,
        bytes: clients.iter().map(|client| client.bytes).sum(),
        events_sent: counts.events_sent,
        refused: counts.refused,
        seconds: (end - measured_from.unwrap_or(end)) as f64 / 1e9,
        backlog_max: counts.backlog_max,
    })
}

/// Waits until everything sent was taken by the service.
fn settle(poll: &mut Poll, clients: &mut [Client], wire: Wire) -> io::Result<()> {
    if wire == Wire::WebSocket {
        for client in clients.iter_mut() {
            client.ping();
            client.flush()?;
        }
    }
    let done = |client: &Client| match wire {
        Wire::WebSocket => client.settled,
        _ => client.in_flight() == 0,
    };
    let mut events = Events::with_capacity(1024);
    let mut progress = Progress::default();
    while !clients.iter().all(done) {
        poll.poll(&mut events, Some(Duration::from_secs(30)))?;
        if events.is_empty() {
            return Err(io::Error::other("the service did not answer for 30 s"));
        }
        for event in &events {
            let Token(index) = event.token();
            // The alarm of the last send that was due.
            if index >= clients.len() {
                continue;
            }
            if event.is_writable() {
                clients[index].flush()?;
            }
            if event.is_readable() {
                clients[index].read(&mut progress)?;
            }
        }
        progress.answered.clear();
        if progress.closed {
            return Err(io::Error::other("the service closed a connection at the end of the run"));
        }
    }
    Ok(())
}
