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
use crate::schedule::Schedule;

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
    /// How long nothing may come at the end before what is still unanswered is given up.
    pub patience: Duration,
    /// Names this run's ids.
    pub run: u64,
}

/// What a run gave.
pub struct Outcome {
    /// From the intended send time to the answer, nanoseconds; only with answers. What had none when the
    /// run was over counts with the time until its answer came, or until it was given up.
    pub latency_ns: Histogram<u64>,
    /// Events answered (sent, where nothing is answered) after the warm-up, until the end.
    pub events: u64,
    /// Bodies likewise.
    pub bodies: u64,
    /// Bytes written in the measured time.
    pub bytes: u64,
    /// Events sent in the whole run, warm-up included.
    pub events_sent: u64,
    /// Bodies that were refused.
    pub refused: u64,
    /// Bodies that were due and never sent, since no connection was free.
    pub unsent: u64,
    /// Bodies that were sent, and not answered before they were given up.
    pub unanswered: u64,
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
    let mut run = Run::connect(plan, payload)?;
    let start = mono_ns();
    // Without answers nobody knows what the service has taken before the end, so all of the run
    // counts: from the first send until the service has taken the last.
    let warm_up = if run.is_answered() { plan.warm_up } else { Duration::ZERO };
    let warm = start + warm_up.as_nanos() as u64;
    let end = warm + plan.duration.as_nanos() as u64;
    let mut schedule = plan.bodies_per_second.map(|rate| Schedule::new(start, end, rate));
    let (mut measured_from, mut bytes_before) = (start, 0);

    let mut now = start;
    loop {
        if !run.measuring && now >= warm {
            (run.measuring, measured_from, bytes_before) = (true, now, run.written());
            at(Moment::Warm);
        }
        match &mut schedule {
            Some(schedule) => {
                schedule.advance(now);
                run.send_due(schedule)?;
            }
            None if now < end => run.send_more(now)?,
            None => {}
        }
        if now >= end {
            break;
        }
        let until = if run.measuring { end } else { warm };
        run.wait(schedule.as_ref().and_then(Schedule::next_due), until.saturating_sub(now))?;
        now = mono_ns();
        run.take(now)?;
    }
    let bytes_after = run.written();
    if run.is_answered() {
        at(Moment::End);
    }
    run.settle()?;
    let settled = mono_ns();
    if !run.is_answered() {
        at(Moment::End);
    }
    // What nobody answers counts when the service has taken it, so the clock stops after that.
    let ended = if run.is_answered() { now } else { settled };
    let (unsent, unanswered) = run.give_up(schedule.as_ref(), settled);
    Ok(Outcome {
        events: run.counts.events,
        bodies: run.counts.bodies,
        bytes: bytes_after - bytes_before,
        events_sent: run.counts.events_sent,
        refused: run.counts.refused,
        unsent,
        unanswered,
        // A process that was kept from its CPU for all of the run has measured next to nothing, but not nothing.
        seconds: ended.saturating_sub(measured_from).max(1) as f64 / 1e9,
        backlog_max: schedule.map_or(0, |schedule| schedule.backlog_max()),
        latency_ns: run.latency_ns,
    })
}

const ALARM: Token = Token(usize::MAX);

struct Run<'a> {
    plan: &'a Plan,
    payload: &'a mut Payload,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    clients: Vec<Client>,
    /// Connections that may send.
    free: VecDeque<usize>,
    ids: Ids,
    progress: Progress,
    latency_ns: Histogram<u64>,
    counts: Counts,
    /// The warm-up is over.
    measuring: bool,
}

impl<'a> Run<'a> {
    fn connect(plan: &'a Plan, payload: &'a mut Payload) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut clients = Vec::with_capacity(plan.connections);
        for index in 0..plan.connections {
            let mut client = Client::connect(plan.target, plan.wire)?;
            client.register(poll.registry(), Token(index))?;
            clients.push(client);
        }
        Ok(Self {
            plan,
            payload,
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            events: Events::with_capacity(1024),
            clients,
            free: (0..plan.connections).collect(),
            ids: Ids::new(plan.run),
            progress: Progress::default(),
            latency_ns: Histogram::new_with_bounds(1, 120_000_000_000, 3)
                .map_err(|error| io::Error::other(error.to_string()))?,
            counts: Counts::default(),
            measuring: false,
        })
    }

    fn is_answered(&self) -> bool {
        self.plan.wire != Wire::WebSocket
    }

    fn written(&self) -> u64 {
        self.clients.iter().map(|client| client.bytes).sum()
    }

    /// Sends what is due, a body on each free connection.
    fn send_due(&mut self, schedule: &mut Schedule) -> io::Result<()> {
        while schedule.waiting() > 0 {
            let Some(index) = self.free.pop_front() else { break };
            let Some(intended) = schedule.take() else { break };
            self.send(index, 1, intended)?;
        }
        Ok(())
    }

    /// Flat out: each free connection sends until as many are in flight as may be.
    fn send_more(&mut self, now: u64) -> io::Result<()> {
        for _ in 0..self.free.len() {
            let Some(index) = self.free.pop_front() else { break };
            let count = self.plan.depth.saturating_sub(self.clients[index].in_flight());
            self.send(index, count, now)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, count: usize, intended: u64) -> io::Result<()> {
        let is_answered = self.is_answered();
        let client = &mut self.clients[index];
        for _ in 0..count {
            let sent = client.queue(self.payload, &mut self.ids, intended) as u64;
            self.counts.events_sent += sent;
            if !is_answered && self.measuring {
                self.counts.events += sent;
                self.counts.bodies += 1;
            }
        }
        client.flush()?;
        if !is_answered && client.flushed() {
            self.free.push_back(index);
        }
        Ok(())
    }

    /// Sleeps until something came, or a body is due; so long at most.
    fn wait(&mut self, next_due: Option<u64>, longest_ns: u64) -> io::Result<()> {
        let is_paced = self.plan.bodies_per_second.is_some();
        let timeout = if self.plan.spin || (!is_paced && !self.free.is_empty()) {
            Duration::ZERO
        } else {
            if let Some(due) = next_due {
                self.alarm.set(due)?;
            }
            Duration::from_nanos(longest_ns)
        };
        poll(&mut self.poll, &mut self.events, timeout)
    }

    /// Takes what has come, and counts it.
    fn take(&mut self, now: u64) -> io::Result<()> {
        for event in &self.events {
            if event.token() == ALARM {
                continue;
            }
            let Token(index) = event.token();
            let client = &mut self.clients[index];
            let was_busy = match self.plan.wire {
                Wire::WebSocket => !client.flushed(),
                _ => client.in_flight() > 0,
            };
            if event.is_writable() {
                client.flush()?;
            }
            if event.is_readable() {
                client.read(&mut self.progress)?;
            }
            let is_free = match self.plan.wire {
                Wire::WebSocket => client.flushed(),
                _ => client.in_flight() == 0 && client.flushed(),
            };
            if was_busy && is_free {
                self.free.push_back(index);
            }
            if self.progress.closed {
                return Err(io::Error::other(format!(
                    "the service closed connection {index} of {}",
                    self.plan.connections
                )));
            }
            for (intended, count) in self.progress.answered.drain(..) {
                if self.measuring {
                    record(&mut self.latency_ns, intended, now);
                    self.counts.events += count as u64;
                    self.counts.bodies += 1;
                }
            }
            self.counts.refused += std::mem::take(&mut self.progress.refused);
        }
        Ok(())
    }

    /// Waits until everything sent was taken by the service, or nothing has come for as long as patience lasts. What
    /// is answered meanwhile shows in the percentiles, and not in what was done in the measured time.
    fn settle(&mut self) -> io::Result<()> {
        if !self.is_answered() {
            for client in &mut self.clients {
                client.ping();
                client.flush()?;
            }
        }
        let is_answered = self.is_answered();
        let done = |client: &Client| match is_answered {
            true => client.in_flight() == 0,
            false => client.settled,
        };
        while !self.clients.iter().all(done) {
            poll(&mut self.poll, &mut self.events, self.plan.patience)?;
            if self.events.is_empty() {
                if is_answered {
                    return Ok(());
                }
                return Err(io::Error::other(format!(
                    "the service has not taken all that was sent, and took nothing for {} s",
                    self.plan.patience.as_secs_f64()
                )));
            }
            let counted = (self.counts.events, self.counts.bodies);
            self.take(mono_ns())?;
            (self.counts.events, self.counts.bodies) = counted;
        }
        Ok(())
    }

    /// Counts what was due and has had no answer: it has waited until now, and would have waited longer. Without it
    /// a service that stalls at the end of a run would look as if nothing had been asked of it.
    fn give_up(&mut self, schedule: Option<&Schedule>, now: u64) -> (u64, u64) {
        let (mut unsent, mut unanswered) = (0, 0);
        for intended in self.clients.iter().flat_map(Client::intended_in_flight) {
            record(&mut self.latency_ns, intended, now);
            unanswered += 1;
        }
        for intended in schedule.into_iter().flat_map(Schedule::backlog) {
            if self.is_answered() {
                record(&mut self.latency_ns, intended, now);
            }
            unsent += 1;
        }
        (unsent, unanswered)
    }
}

fn record(latency_ns: &mut Histogram<u64>, intended: u64, now: u64) {
    latency_ns.saturating_record(now.saturating_sub(intended).max(1));
}

/// A signal that interrupts the wait is as good as nothing having come yet.
fn poll(poll: &mut Poll, events: &mut Events, timeout: Duration) -> io::Result<()> {
    loop {
        match poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result,
        }
    }
}
