//! The forwarder's loop: out of spill and log, into the bus.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use jimbot_core::breaker::{Breaker, Permit};
use jimbot_core::time::{Now, SECOND};
use jimbot_proto::events::v1::{
    LastSequenceRequest, PublishRequest, PublishResponse, last_sequence_request,
};
use jimbot_shm::{Frame, FrameCopy, Guarantee, LogReader, ReadError, ReaderOptions, Start};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

use super::spill::{Batch, Spill, SpillError};
use super::{Config, READER_NAME, StartError, Status};
use crate::bus::client::{self, Client};
use crate::bus::store::Clock;

/// Parcels under way to the bus.
const WINDOW: usize = 16;
/// Bytes of them after which no further one is sent.
const WINDOW_BYTES: usize = 8 << 20;
/// Batches that go out as one, at most: what waits already, so that a lone event's batch never waits for others.
const PARCEL_BATCHES: usize = 256;
/// Bytes of a parcel of several batches; a batch that has as many goes out alone, without a copy.
const PARCEL_BYTES: usize = 64 << 10;
/// How often the state is looked after.
const TICK: Duration = Duration::from_millis(100);
/// A log that the forwarder holds by this part of its capacity is relieved into the spill while the bus is away.
const RELIEF_PART: u64 = 8;
/// The same while the bus takes batches, but not as fast as they come: what need not be spilled is not written twice.
const RELIEF_PART_CONNECTED: u64 = 2;
/// Pause between messages about the same trouble.
const TELL_EVERY_NS: u64 = 60 * SECOND;

/// Where a batch came from, and whom to tell when the bus has it.
#[derive(Debug)]
enum Source {
    Log(Frame),
    /// The spill's position behind it.
    Spill(u64),
}

#[derive(Debug)]
struct Item {
    source: Source,
    batch: Batch,
    taken_ns: u64,
}

/// Batches of one log that stand behind each other and are published as one: calm times leave batches of one event, and
/// each request has a price.
#[derive(Debug)]
struct Parcel {
    items: Vec<Item>,
    payload: Bytes,
    sent_ns: u64,
}

impl Parcel {
    fn new(items: Vec<Item>, sent_ns: u64) -> Parcel {
        let payload = match items.as_slice() {
            [one] => one.batch.payload.clone(),
            // The elements of a batch are its whole serialised form, so batches join by standing behind each other.
            many => {
                let pieces: Vec<&[u8]> =
                    many.iter().map(|item| item.batch.payload.as_ref()).collect();
                pieces.concat().into()
            }
        };
        Parcel { items, payload, sent_ns }
    }

    /// Sequence of the event at a place in the payload.
    fn sequence_at(&self, index: u32) -> u64 {
        let mut before = 0;
        for Item { batch, .. } in &self.items {
            if index - before < batch.events {
                return batch.first_sequence + u64::from(index - before);
            }
            before += batch.events;
        }
        self.items.last().map_or(0, |item| item.batch.last_sequence())
    }
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    /// The service ends, and all is delivered or patience is over.
    Stopped,
    /// Something failed.
    Failed(String),
}

pub(super) struct Forwarder {
    config: Config,
    status: Arc<Status>,
    clock: Clock,
    stopping: watch::Receiver<Option<Duration>>,
    endpoint: Endpoint,
    /// Made where the runtime runs, with the first connection.
    client: Option<Client>,
    reader: LogReader,
    spill: Spill,
    breaker: Breaker,
    /// Taken from the log and not sent, or sent in vain: older than what is still there, newer than the spill. In front
    /// of it may stand one batch that was taken from the spill.
    pending: VecDeque<Item>,
    /// Epoch and last sequence of the newest batch that this process spilled.
    spilled_to: Option<(u64, u64)>,
    copy: FrameCopy,
    told_ns: u64,
    tidied_ns: u64,
    trace: u128,
}

impl Forwarder {
    pub(super) fn new(
        config: Config,
        status: Arc<Status>,
        clock: Clock,
        stopping: watch::Receiver<Option<Duration>>,
    ) -> Result<Forwarder, StartError> {
        let options = client::Options { url: config.url.clone(), token: config.token.clone() };
        let endpoint =
            client::endpoint(&options).map_err(|error| StartError::Url(error.to_string()))?;
        let reader = LogReader::open(
            &config.shm_dir,
            &ReaderOptions {
                name: READER_NAME.to_owned(),
                guarantee: Guarantee::Reliable,
                start: Start::Earliest,
                never_detach: true,
                patience: Duration::from_secs(5),
                ..ReaderOptions::default()
            },
        )
        .map_err(StartError::Log)?;
        let spill = Spill::open(&config.spill_dir, config.spill_bytes, clock())
            .map_err(StartError::Spill)?;
        Ok(Forwarder {
            breaker: Breaker::new(config.breaker),
            config,
            status,
            clock,
            stopping,
            endpoint,
            client: None,
            reader,
            spill,
            pending: VecDeque::new(),
            spilled_to: None,
            copy: FrameCopy::default(),
            told_ns: 0,
            tidied_ns: 0,
            trace: fastrand::u128(1..),
        })
    }

    fn client(&mut self) -> &mut Client {
        let token = self.config.token.as_ref();
        self.client.get_or_insert_with(|| client::connect(&self.endpoint, token))
    }

    fn now(&self) -> Now {
        (self.clock)()
    }

    pub(super) async fn run(mut self) {
        loop {
            let now_ns = self.now().mono_ns;
            let ended = match self.breaker.permit(now_ns) {
                Permit::Go => self.connected().await,
                Permit::Wait(until_ns) => {
                    if self.wait(until_ns).await {
                        continue;
                    }
                    Ended::Stopped
                }
            };
            self.status.connected.store(false, Relaxed);
            self.spill.rewind();
            match ended {
                Ended::Stopped => break,
                Ended::Failed(reason) => {
                    self.breaker.failed(self.now().mono_ns, fastrand::f64());
                    self.status.breaker_opened.store(self.breaker.opened(), Relaxed);
                    self.status.set_breaker(self.breaker.state());
                    self.tell(&format!("the bus at {} takes nothing: {reason}", self.config.url));
                    self.status.failed(reason);
                }
            }
        }
        self.relieve(true);
        self.spill.tidy(self.now());
        if let Err(error) = self.spill.syncer().sync() {
            log::error!("the forwarder's spill could not be flushed: {error}");
        }
    }

    /// At most one line a minute.
    fn tell(&mut self, message: &str) {
        let now_ns = self.now().mono_ns;
        if self.told_ns == 0 || now_ns - self.told_ns >= TELL_EVERY_NS {
            self.told_ns = now_ns.max(1);
            let status = self.status.snapshot();
            log::warn!(
                "{message}; {} events wait in the log, {} in the spill{}",
                status.lag_events,
                status.spill_events,
                if status.spill_full { ", which is full: the log is held" } else { "" }
            );
        } else {
            log::debug!("{message}");
        }
    }

    /// Until the breaker lets calls out again. `false`: the service ends.
    async fn wait(&mut self, until_ns: u64) -> bool {
        loop {
            self.look_after();
            let now_ns = self.now().mono_ns;
            if now_ns >= until_ns {
                return true;
            }
            if self.stopping.borrow().is_some() {
                return false;
            }
            let left = Duration::from_nanos(until_ns - now_ns).min(TICK);
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                changed = self.stopping.changed() => if changed.is_err() { return false },
            }
        }
    }

    /// What has to be done from time to time, connected or not.
    fn look_after(&mut self) {
        let now = self.now();
        self.relieve(false);
        if now.mono_ns - self.tidied_ns >= SECOND {
            self.tidied_ns = now.mono_ns;
            self.spill.tidy(now);
            let syncer = self.spill.syncer();
            tokio::task::spawn_blocking(move || {
                if let Err(error) = syncer.sync() {
                    log::error!("the forwarder's spill could not be flushed: {error}");
                }
            });
        }
        let lag = self.reader.lag();
        let held: u64 = self.pending.iter().map(|item| u64::from(item.batch.events)).sum();
        self.status.lag_events.store(lag.events + held, Relaxed);
        self.status.lag_bytes.store(lag.bytes, Relaxed);
        self.status.spill_events.store(self.spill.events(), Relaxed);
        self.status.spill_bytes.store(self.spill.bytes(), Relaxed);
        self.status.missed.store(self.reader.missed(), Relaxed);
        self.status.set_breaker(self.breaker.state());
        if self.status.spill_full.load(Relaxed) {
            self.tell("the spill is full");
        }
    }

    /// Moves what waits too long, or takes too much of the log, into the spill: what was taken first, then the rest.
    fn relieve(&mut self, all: bool) {
        let now = self.now();
        let lag = self.reader.lag();
        let pinned: u64 = self.reader.pinned().0;
        let connected = self.status.connected.load(Relaxed);
        let held = lag.bytes + pinned;
        let part = if connected { RELIEF_PART_CONNECTED } else { RELIEF_PART };
        let crowded = held > self.reader.capacity() / part;
        let after_ns = u64::try_from(self.config.spill_after.as_nanos()).unwrap_or(u64::MAX);
        let oldest_ns = self.pending.front().map_or(lag.age_ns, |item| now.mono_ns - item.taken_ns);
        let stale = !connected && oldest_ns >= after_ns;
        if !(all || crowded || stale) {
            return;
        }
        // While the bus takes batches, the newest go the short way.
        let mut left = match connected && !all {
            true => held.saturating_sub(self.reader.capacity() / RELIEF_PART),
            false => u64::MAX,
        };
        while let Some(Item { source: Source::Spill(_), .. }) = self.pending.front() {
            // It is still in the spill, which hands it out again.
            self.pending.pop_front();
            self.spill.rewind();
        }
        let mut kept = VecDeque::new();
        while let Some(item) = self.pending.pop_front() {
            if self.precedes_spill(&item.batch) {
                kept.push_back(item);
                continue;
            }
            if !self.push(&item.batch, now) {
                self.pending.push_front(item);
                kept.append(&mut self.pending);
                self.pending = kept;
                return;
            }
            if let Source::Log(frame) = &item.source {
                release(frame);
            }
        }
        self.pending = kept;
        while left > 0
            && let Some(item) = self.take_from_log()
        {
            if !self.push(&item.batch, now) {
                self.pending.push_back(item);
                return;
            }
            left = left.saturating_sub(item.batch.payload.len() as u64);
            if let Source::Log(frame) = &item.source {
                release(frame);
            }
        }
    }

    fn push(&mut self, batch: &Batch, now: Now) -> bool {
        match self.spill.push(batch, now) {
            Ok(()) => {
                self.spilled_to = Some((batch.log_epoch, batch.last_sequence()));
                self.status.spilled.fetch_add(u64::from(batch.events), Relaxed);
                self.status.spill_full.store(false, Relaxed);
                true
            }
            Err(error) => {
                self.status.spill_full.store(true, Relaxed);
                if let SpillError::Failed(reason) = error {
                    self.tell(&format!("the spill's disk failed: {reason}"));
                }
                false
            }
        }
    }

    fn take_from_log(&mut self) -> Option<Item> {
        loop {
            match self.reader.try_next() {
                Ok(Some(frame)) => {
                    if frame.copy_into(&mut self.copy).is_err() {
                        // Counted as missed by the reader with its next frame.
                        continue;
                    }
                    let batch = Batch {
                        log_epoch: frame.log_epoch(),
                        first_sequence: frame.header().first_sequence,
                        events: frame.header().event_count,
                        payload: std::mem::take(&mut self.copy.payload).into(),
                    };
                    let taken_ns = self.now().mono_ns;
                    return Some(Item { source: Source::Log(frame), batch, taken_ns });
                }
                Ok(None) => return None,
                Err(ReadError::Detached { missed, .. }) => {
                    log::error!("{missed} events were overwritten before they were forwarded");
                }
                Err(error) => {
                    self.tell(&format!("the log can't be read: {error}"));
                    return None;
                }
            }
        }
    }

    /// Whether a batch was under way when newer ones were spilled: it stays in the log, and goes out before them.
    fn precedes_spill(&self, batch: &Batch) -> bool {
        self.spilled_to
            .is_some_and(|(epoch, last)| epoch == batch.log_epoch && batch.last_sequence() <= last)
    }

    /// The next batch to send: what is spilled is older than what was taken from the log, and that older than the log.
    fn take(&mut self) -> Option<Item> {
        let goes_first = |item: &Item| match item.source {
            Source::Spill(_) => true,
            Source::Log(_) => self.precedes_spill(&item.batch),
        };
        if self.pending.front().is_some_and(goes_first) {
            return self.pending.pop_front();
        }
        match self.spill.take() {
            Ok(Some((batch, end))) => {
                let taken_ns = self.now().mono_ns;
                return Some(Item { source: Source::Spill(end), batch, taken_ns });
            }
            Ok(None) => {}
            Err(error) => {
                self.tell(&format!("the spill can't be read: {error}"));
                return None;
            }
        }
        self.pending.pop_front().or_else(|| self.take_from_log())
    }

    /// The next parcel: what waits, of one epoch.
    fn gather(&mut self) -> Option<Parcel> {
        let first = self.take()?;
        let epoch = first.batch.log_epoch;
        let mut bytes = first.batch.payload.len();
        let mut items = vec![first];
        while items.len() < PARCEL_BATCHES && bytes < PARCEL_BYTES {
            let Some(item) = self.take() else { break };
            let len = item.batch.payload.len();
            if item.batch.log_epoch != epoch || bytes + len > PARCEL_BYTES {
                self.pending.push_front(item);
                break;
            }
            bytes += len;
            items.push(item);
        }
        Some(Parcel::new(items, self.now().mono_ns))
    }

    /// One connection, from its first call to its failure.
    async fn connected(&mut self) -> Ended {
        let mut flight = VecDeque::new();
        let ended = match self.exchange(&mut flight).await {
            Ok(()) => Ended::Stopped,
            Err(reason) => Ended::Failed(reason),
        };
        // The oldest that was not acknowledged is the next to go out. The spill hands out its own again.
        while let Some(parcel) = flight.pop_back() {
            for item in parcel.items.into_iter().rev() {
                if matches!(item.source, Source::Log(_)) {
                    self.pending.push_front(item);
                }
            }
        }
        self.pending.retain(|item| matches!(item.source, Source::Log(_)));
        ended
    }

    async fn exchange(&mut self, flight: &mut VecDeque<Parcel>) -> Result<(), String> {
        if let Some(item) = self.take() {
            let epoch = item.batch.log_epoch;
            self.pending.push_front(item);
            let last = self.last_sequence(epoch).await?;
            self.skip_stored(epoch, last);
        } else {
            // Nothing to send yet; ask all the same, so that a bus that is not there shows.
            self.last_sequence(self.reader.log_epoch()).await?;
        }
        let (up, requests) = mpsc::channel(WINDOW);
        let mut request = Request::new(ReceiverStream::new(requests));
        let span = fastrand::u64(1..);
        let metadata = request.metadata_mut();
        for (key, value) in [
            ("traceparent", format!("00-{:032x}-{span:016x}-01", self.trace)),
            ("x-correlation-id", format!("{READER_NAME}-{:016x}", self.reader.log_epoch())),
        ] {
            metadata.insert(key, value.parse().expect("hexadecimal digits are ASCII"));
        }
        let deadline = self.config.deadline;
        let answers = tokio::time::timeout(deadline, self.client().publish(request))
            .await
            .map_err(|_| format!("no answer within {deadline:?}"))?
            .map_err(|status| status.to_string())?;
        self.status.connected.store(true, Relaxed);
        let mut answers = answers.into_inner();
        self.pump(flight, &up, &mut answers).await
    }

    async fn last_sequence(&mut self, epoch: u64) -> Result<u64, String> {
        let publisher = Some(last_sequence_request::Publisher::LogEpoch(epoch));
        let deadline = self.config.deadline;
        let call = self.client().last_sequence(LastSequenceRequest { publisher });
        let answer = tokio::time::timeout(deadline, call)
            .await
            .map_err(|_| format!("no answer within {deadline:?}"))?
            .map_err(|status| status.to_string())?;
        self.breaker.succeeded();
        Ok(answer.into_inner().last_sequence)
    }

    /// Lets go of batches that the bus has from an earlier connection, or from before a restart.
    fn skip_stored(&mut self, epoch: u64, last: u64) {
        while let Some(item) = self.take() {
            if item.batch.log_epoch != epoch || item.batch.last_sequence() > last {
                self.pending.push_front(item);
                return;
            }
            self.status.duplicates.fetch_add(u64::from(item.batch.events), Relaxed);
            self.let_go(&item);
        }
    }

    fn let_go(&mut self, item: &Item) {
        match &item.source {
            Source::Log(frame) => release(frame),
            Source::Spill(end) => self.spill.acknowledge(*end),
        }
    }

    async fn pump(
        &mut self,
        flight: &mut VecDeque<Parcel>,
        up: &mpsc::Sender<PublishRequest>,
        answers: &mut Streaming<PublishResponse>,
    ) -> Result<(), String> {
        let deadline_ns = u64::try_from(self.config.deadline.as_nanos()).unwrap_or(u64::MAX);
        let mut bytes = 0;
        let mut next_id = 0;
        let mut first_id = 0;
        let mut give_up_ns = None;
        let mut looked_ns = 0;
        let mut waiting: Option<tokio::task::JoinHandle<()>> = None;
        loop {
            let mut idle = false;
            while flight.len() < WINDOW && bytes < WINDOW_BYTES {
                let Some(parcel) = self.gather() else {
                    idle = true;
                    break;
                };
                bytes += parcel.payload.len();
                let request = PublishRequest {
                    batch: parcel.payload.clone(),
                    request_id: next_id,
                    ..Default::default()
                };
                next_id += 1;
                flight.push_back(parcel);
                if up.try_send(request).is_err() {
                    return Err("the connection takes nothing more".to_owned());
                }
            }
            let now_ns = self.now().mono_ns;
            if now_ns - looked_ns >= TICK.as_nanos() as u64 {
                looked_ns = now_ns;
                self.look_after();
            }
            if flight.front().is_some_and(|parcel| now_ns - parcel.sent_ns > deadline_ns) {
                return Err(format!(
                    "a batch was not acknowledged within {:?}",
                    self.config.deadline
                ));
            }
            if let Some(patience) = *self.stopping.borrow() {
                let until = *give_up_ns.get_or_insert(now_ns + patience.as_nanos() as u64);
                if (idle && flight.is_empty()) || now_ns >= until {
                    return Ok(());
                }
            }
            if waiting.is_none() && idle {
                let waiter = self.reader.waiter();
                waiting = Some(tokio::task::spawn_blocking(move || {
                    // Failures show when the log is read.
                    waiter.wait(TICK).ok();
                }));
            }
            let log_wait = async {
                match waiting.as_mut() {
                    Some(wait) => wait.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = answers.message() => {
                    let answer = answer
                        .map_err(|status| status.to_string())?
                        .ok_or("the bus ended the connection")?;
                    let parcel = flight.pop_front().ok_or("the bus answered what was not asked")?;
                    if answer.request_id != first_id {
                        flight.push_front(parcel);
                        return Err("the bus answered out of order".to_owned());
                    }
                    first_id += 1;
                    bytes -= parcel.payload.len();
                    self.acknowledged(&parcel, answer);
                }
                _ = log_wait => waiting = None,
                () = tokio::time::sleep(TICK) => {}
                changed = self.stopping.changed(), if self.stopping.borrow().is_none() => {
                    changed.map_err(|_| "the service is gone")?;
                }
            }
        }
    }

    fn acknowledged(&mut self, parcel: &Parcel, answer: PublishResponse) {
        self.breaker.succeeded();
        for item in &parcel.items {
            self.let_go(item);
        }
        let result = answer.result.unwrap_or_default();
        self.status.published.fetch_add(u64::from(result.stored), Relaxed);
        self.status.duplicates.fetch_add(u64::from(result.duplicates), Relaxed);
        if let Some(first) = result.rejections.first() {
            // Trying again would end the same way, and hold everything behind it.
            let rejected = result.rejections.len() as u64;
            self.status.rejected.fetch_add(rejected, Relaxed);
            let sequence = parcel.sequence_at(first.index);
            log::error!(
                "the bus refuses {rejected} events, the first is {sequence}: {}",
                first.message
            );
        }
    }
}

/// A reliable reader's frame stays whole until it is released, so there is nothing to check.
fn release(frame: &Frame) {
    if frame.release().is_err() {
        log::error!("a batch was overwritten while it was forwarded");
    }
}
