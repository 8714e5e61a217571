//! One game: when it sends what, and what it does about failures.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jimbot_traffic::{
    Batch, Clock, Dialect, Event, Game, GameOptions, KeyOrder, Quirks, Request,
    connection_test_request, poll_request, post_headers,
};
use rustix::time::{ClockId, clock_gettime};

use super::http::{HttpClient, Outgoing};
use super::tally::Tally;
use super::websocket::WebSocketClient;
use super::{End, Options, Pace, Transport};

/// The mod collects for this long before it sends a batch.
const COLLECT: Duration = Duration::from_millis(100);
/// The mod asks for commands this often.
const POLL: Duration = Duration::from_millis(500);
/// After these the mod sends the same bytes again; after the last it gives them up.
const MOD_RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// A client that must not lose anything tries this often.
const RESEND: Duration = Duration::from_millis(100);
/// The longest sleep, so that the end of the run is noticed.
const NAP: Duration = Duration::from_millis(50);
/// Headers of scripts and of the older clients, whose libraries name themselves.
const SCRIPT_HEADERS: &[(&str, &str)] =
    &[("Content-Type", "application/json"), ("User-Agent", "python-requests/2.32")];

pub(super) struct Player<'a> {
    options: &'a Options,
    tally: &'a Tally,
    end: &'a End,
    dialect: Dialect,
    game: Game,
    name: String,
    waiting: Vec<Event>,
    collecting_since: Instant,
    next_event: Instant,
    next_poll: Instant,
    batches: u64,
    wire: Wire<'a>,
}

enum Wire<'a> {
    Http(HttpClient<'a>),
    WebSocket(Box<WebSocketClient<'a>>),
}

impl<'a> Player<'a> {
    pub(super) fn new(
        options: &'a Options,
        index: u32,
        tally: &'a Tally,
        end: &'a End,
    ) -> Player<'a> {
        let dialect = options.dialects[index as usize % options.dialects.len()];
        let seed = options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(u64::from(index));
        // Ids and times must come back whole for the summary to be checked, so oddities leave
        // the envelope readable.
        let quirks = if options.resend {
            Quirks::readable(options.odd)
        } else {
            Quirks { share: options.odd, ..Quirks::field() }
        };
        let game = Game::new(&GameOptions {
            seed,
            dialect,
            key_order: KeyOrder::Constant(seed),
            triggers: options.triggers,
            quirks,
            recurring_ids: false,
        });
        let now = Instant::now();
        // Games do not act in step: spread their first polls and events over the interval.
        let share = f64::from(index) / f64::from(options.games);
        let first = match options.pace {
            Pace::PerSecond(rate) => {
                Duration::from_secs_f64(f64::from(options.games) / rate * share)
            }
            _ => Duration::ZERO,
        };
        Player {
            options,
            tally,
            end,
            dialect,
            game,
            name: format!("{seed:016x}"),
            waiting: Vec::new(),
            collecting_since: now,
            next_event: now + first,
            next_poll: now + POLL.mul_f64(share),
            batches: 0,
            wire: match options.transport {
                Transport::Http(habit) => {
                    Wire::Http(HttpClient::new(&options.target, options.token.as_ref(), habit))
                }
                Transport::WebSocket => Wire::WebSocket(Box::new(WebSocketClient::new(
                    &options.target,
                    options.token.as_ref(),
                ))),
            },
        }
    }

    /// Plays until the run is over or its events are used up.
    pub(super) fn play(mut self) {
        let mut events_left = true;
        while events_left && !self.end.is_ending() {
            let now = Instant::now();
            if self.options.poll && now >= self.next_poll {
                self.poll();
            } else if now >= self.next_event {
                events_left = self.make_event();
            } else if self.batch_is_due(now) {
                self.send_waiting();
            } else {
                self.take_answers(false);
                self.sleep_until_next(now);
            }
        }
        self.send_waiting();
        self.take_answers(true);
        if let Wire::WebSocket(client) = &mut self.wire {
            client.close();
        }
    }

    fn make_event(&mut self) -> bool {
        if !self.tally.take_event() {
            return false;
        }
        let clock = read_clock();
        let event = self.game.next_event(clock);
        let pause = match self.options.pace {
            Pace::Natural => Duration::from_secs_f64(self.game.pause_ms() / 1000.0),
            Pace::PerSecond(rate) => Duration::from_secs_f64(f64::from(self.options.games) / rate),
            Pace::FlatOut => Duration::ZERO,
        };
        self.next_event += pause;
        if self.options.pace == Pace::FlatOut {
            self.next_event = Instant::now();
        }
        self.tally.sent.add(1);
        let alone = event.alone && self.dialect == Dialect::Mod;
        if alone && matches!(self.wire, Wire::Http(_)) {
            self.send_request(connection_test_request(&event), &[event.id]);
            return true;
        }
        if self.waiting.is_empty() {
            self.collecting_since = Instant::now();
        }
        let urgent = event.urgent;
        self.waiting.push(event);
        if urgent || self.waiting.len() >= self.options.batch {
            self.send_waiting();
        }
        true
    }

    fn batch_is_due(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && now - self.collecting_since >= COLLECT
    }

    fn sleep_until_next(&self, now: Instant) {
        let mut until = self.next_event;
        if !self.waiting.is_empty() {
            until = until.min(self.collecting_since + COLLECT);
        }
        if self.options.poll {
            until = until.min(self.next_poll);
        }
        thread::sleep(until.saturating_duration_since(now).min(NAP));
    }

    fn send_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.waiting);
        self.batches += 1;
        if matches!(self.wire, Wire::WebSocket(_)) {
            self.send_messages(events);
            return;
        }
        if self.dialect == Dialect::Mod {
            let batch_id = format!("{}-{}", self.name, self.batches);
            let batch = Batch::pack(&events, &batch_id, read_clock());
            let ids = batch.ids.clone();
            self.send_request(batch.request(), &ids);
            return;
        }
        // Scripts post one event, or an array of them.
        let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
        let body = if let [event] = &events[..] { event.json.clone() } else { array(&events) };
        let request =
            Request { method: "POST", path: "/api/v1/events", headers: SCRIPT_HEADERS, body };
        self.send_request(request, &ids);
    }

    /// Sends one request until it is acknowledged or given up.
    fn send_request(&mut self, request: Request, ids: &[Option<String>]) {
        let Wire::Http(client) = &mut self.wire else { return };
        let outgoing = Outgoing {
            method: request.method,
            path: request.path,
            headers: if self.dialect == Dialect::Mod { post_headers() } else { SCRIPT_HEADERS },
            body: &request.body,
        };
        self.tally.requests.add(1);
        for attempt in 0.. {
            self.tally.bytes.add(request.body.len() as u64);
            let asked = Instant::now();
            match client.ask(&outgoing) {
                Ok(answer)
                    if answer.status / 100 == 2 || answer.status == 422 || answer.status == 400 =>
                {
                    self.tally.answered_after(asked.elapsed());
                    self.tally.count_answer(&answer.body, ids);
                    if answer.status / 100 != 2 {
                        let text = String::from_utf8_lossy(&answer.body).into_owned();
                        self.tally.failed(format!("status {}: {text}", answer.status));
                    }
                    return;
                }
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    self.tally.failed(format!("status {}: {text}", answer.status));
                }
                Err(error) => self.tally.failed(format!("{}: {error}", self.options.target)),
            }
            let Some(pause) = retry_after(self.options.resend, attempt) else { break };
            if !wait(pause, self.end, self.options.resend) {
                break;
            }
            self.tally.resent.add(1);
        }
        self.tally.lost.add(ids.len() as u64);
    }

    fn send_messages(&mut self, events: Vec<Event>) {
        for event in events {
            let text = String::from_utf8_lossy(&event.json).into_owned();
            let Wire::WebSocket(client) = &mut self.wire else { return };
            self.tally.requests.add(1);
            self.tally.bytes.add(text.len() as u64);
            if let Err(error) = client.send(text, vec![event.id]) {
                self.tally.failed(format!("{}: {error}", self.options.target));
                self.recover();
            }
            self.take_answers(false);
        }
    }

    /// Takes the acks that have come; waits for all of them at the end of the run, and for one
    /// when too many are missing.
    fn take_answers(&mut self, all: bool) {
        loop {
            let Wire::WebSocket(client) = &mut self.wire else { return };
            if client.waiting() == 0 {
                return;
            }
            match client.answer(all || client.is_full()) {
                Ok(Some((Some(message), answer))) => {
                    self.tally.answered_after(message.sent_at.elapsed());
                    self.tally.count_answer(answer.as_bytes(), &message.ids);
                }
                // The service closes a connection that it can't go on with, and what it refuses
                // by name is not coming again.
                Ok(Some((None, answer))) => {
                    self.tally.failed(answer);
                    if let Some(message) = client.forget_oldest() {
                        self.tally.refused.add(message.ids.len() as u64);
                    }
                }
                Ok(None) if all => {}
                Ok(None) => return,
                Err(error) => {
                    self.tally.failed(format!("{}: {error}", self.options.target));
                    self.recover();
                }
            }
        }
    }

    /// Connects again and sends what was not acknowledged, or gives it up.
    fn recover(&mut self) {
        let Wire::WebSocket(client) = &mut self.wire else { return };
        loop {
            let attempts = client.oldest_attempts().max(1) - 1;
            let again = retry_after(self.options.resend, attempts)
                .is_some_and(|pause| wait(pause, self.end, self.options.resend));
            if !again {
                while let Some(message) = client.forget_oldest() {
                    self.tally.lost.add(message.ids.len() as u64);
                }
                return;
            }
            match client.reconnect() {
                Ok(resent) => {
                    self.tally.resent.add(resent);
                    return;
                }
                Err(error) => self.tally.failed(format!("{}: {error}", self.options.target)),
            }
        }
    }

    fn poll(&mut self) {
        self.next_poll += POLL;
        let Wire::Http(client) = &mut self.wire else { return };
        let request = poll_request();
        let outgoing = Outgoing {
            method: request.method,
            path: request.path,
            headers: request.headers,
            body: &[],
        };
        self.tally.polls.add(1);
        match client.ask(&outgoing) {
            Ok(answer) if answer.status / 100 == 2 => {
                let lines =
                    answer.body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
                self.tally.commands.add(lines.count() as u64);
            }
            Ok(answer) => self.tally.failed(format!("a poll got status {}", answer.status)),
            Err(error) => self.tally.failed(format!("a poll: {error}")),
        }
    }
}

/// How long to wait before sending the same again; `None` to give it up.
fn retry_after(resend: bool, attempts: u32) -> Option<Duration> {
    if resend { Some(RESEND) } else { MOD_RETRIES.get(attempts as usize).copied() }
}

/// Waits; `false` when the run ended meanwhile and waiting on makes no sense.
fn wait(pause: Duration, end: &End, to_the_end: bool) -> bool {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        if end.is_aborted() || end.is_ending() && !to_the_end {
            return false;
        }
        thread::sleep(NAP.min(until.saturating_duration_since(Instant::now())));
    }
    true
}

fn array(events: &[Event]) -> Vec<u8> {
    let mut body = vec![b'['];
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&event.json);
    }
    body.push(b']');
    body
}

/// Both clocks of this machine; games stamp events with their own monotonic clock, and on one
/// host that is ours too, so that readers can tell the latency.
fn read_clock() -> Clock {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clock {
        monotonic_ms: monotonic.tv_sec as f64 * 1e3 + monotonic.tv_nsec as f64 / 1e6,
        unix_ms: unix.as_secs_f64() * 1e3,
    }
}
