//! The embedded store: a journal on the local disk, written by one thread and flushed by another.
//!
//! *Group commit*: appends that wait while one is being written go out together in the next write. *Flushing*: every
//! `fsync_interval`, and at once when someone asked for an acknowledgement that survives a power cut; those who ask
//! meanwhile share the next flush. The writer never waits for a flush.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jimbot_proto::events::v1::{AckLevel, GapReason};
use prost::Message;
use tokio::sync::{mpsc, oneshot, watch};

use super::super::metrics::Flushes;
use super::super::publishers::{Numbers, Publisher, Publishers, identity};
use super::super::scan;
use super::super::topic::Pattern;
use super::state;
use super::tail::{TAIL_BYTES, Tail};
use super::{
    Append, Appended, Clock, Cursor, Extent, Fresh, Lost, Page, Retention, Run, Store, StoreError,
    StoreReader, Submitted,
};
use crate::journal::{
    self, AppendError, EMPTY_BYTES, Found, Journal, Kind, OpenError, Options, Place, Record, Syncer,
};

/// Appends that may wait for the writing thread.
const QUEUE: usize = 64;
/// Bytes of events written at once.
const GROUP_BYTES: usize = 4 << 20;
/// How often retention is looked at.
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// Durables remembered.
const CURSORS_MAX: usize = 4096;

/// How an embedded store is set up.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Its directory.
    pub dir: PathBuf,
    /// How much it keeps.
    pub retention: Retention,
    /// How often written events are flushed to the disk.
    pub fsync_interval: Duration,
    /// What an acknowledgement means when the publisher does not say: `Written` or `Fsynced`.
    pub level: AckLevel,
    /// Open although events are missing or damaged.
    pub accept_loss: bool,
    /// The host's clocks.
    pub clock: Clock,
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("dir", &self.dir)
            .field("retention", &self.retention)
            .field("fsync_interval", &self.fsync_interval)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl EmbeddedOptions {
    /// The defaults: 24 hours, 1 GiB, acknowledged when written, flushed every 100 ms.
    pub fn new(dir: impl Into<PathBuf>) -> EmbeddedOptions {
        EmbeddedOptions {
            dir: dir.into(),
            retention: Retention {
                bytes: 1 << 30,
                events: u64::MAX,
                age_ns: 24 * 3600 * jimbot_core::time::SECOND,
            },
            fsync_interval: Duration::from_millis(100),
            level: AckLevel::Written,
            accept_loss: false,
            clock: super::system_clock(),
        }
    }

    /// Sixteen segments make up what is kept, so a sixteenth at most goes before its time; none is over 64 MiB.
    fn segment_bytes(&self) -> u64 {
        (self.retention.bytes / 16).clamp(2 * EMPTY_BYTES, 64 << 20)
    }
}

/// Events on the local disk.
pub struct Embedded {
    dir: PathBuf,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    reader: journal::Reader,
    tail: Arc<Tail>,
    next: watch::Receiver<u64>,
    known: Arc<Mutex<Known>>,
    level: AckLevel,
    flushed: Arc<Flushes>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What is remembered beside the events.
#[derive(Default)]
struct Known {
    publishers: Publishers,
    cursors: HashMap<String, Cursor>,
}

enum Job {
    Append(Append, oneshot::Sender<Result<Appended, StoreError>>),
    Cursor(String, Option<Cursor>, oneshot::Sender<Result<(), StoreError>>),
    Trim,
}

struct FlushRequest {
    appended: Appended,
    /// The journal's next position when the events were in it.
    next: u64,
    reply: oneshot::Sender<Result<Appended, StoreError>>,
}

impl Embedded {
    /// Opens or creates the store and starts its threads, `bus-store` and `bus-flush`.
    pub fn open(options: EmbeddedOptions) -> Result<Embedded, OpenError> {
        let mut known = Known::default();
        let journal = Journal::open(
            &options.dir,
            Options { segment_bytes: options.segment_bytes(), accept_loss: options.accept_loss },
            (options.clock)(),
            &mut |kind, record| replay(&mut known, kind, record),
        )?;
        let reader = journal.reader();
        let tail = Arc::new(Tail::new(journal.next(), TAIL_BYTES));
        let known = Arc::new(Mutex::new(known));
        let (next_sender, next) = watch::channel(journal.next());
        let (jobs, job_queue) = mpsc::channel(QUEUE);
        let (flushes, flush_queue) = std_mpsc::channel();
        let syncer = journal.syncer();
        let writer = Writer {
            journal,
            known: Arc::clone(&known),
            tail: Arc::clone(&tail),
            next: next_sender,
            flushes,
            retention: options.retention,
            level: options.level,
            clock: options.clock,
        };
        let trims = jobs.downgrade();
        let flushed = Arc::new(Flushes::default());
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|error| OpenError::Io(options.dir.clone(), error))
        };
        let threads = vec![
            spawn("bus-store", Box::new(move || writer.run(job_queue)))?,
            spawn(
                "bus-flush",
                Box::new({
                    let flushed = Arc::clone(&flushed);
                    let interval = options.fsync_interval;
                    move || flush(&syncer, &flush_queue, interval, &trims, &flushed)
                }),
            )?,
        ];
        Ok(Embedded {
            dir: options.dir,
            jobs: Mutex::new(Some(jobs)),
            reader,
            tail,
            next,
            known,
            level: options.level,
            flushed,
            threads: Mutex::new(threads),
        })
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts a job behind those that wait; what comes of it is told later.
    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, answer) = oneshot::channel();
        jobs.ok_or_else(closing)?.send(job(reply)).await.map_err(|_| closing())?;
        Ok(answer)
    }
}

fn closing() -> StoreError {
    StoreError::Unavailable("it is closing".to_owned())
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The threads end when nobody can ask them any more, the flushing one after a last flush.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the store in {} panicked", self.dir.display());
            }
        }
    }
}

#[tonic::async_trait]
impl Store for Embedded {
    fn describe(&self) -> String {
        format!("embedded in {}", self.dir.display())
    }

    fn levels(&self) -> (AckLevel, AckLevel) {
        (AckLevel::Fsynced, self.level)
    }

    async fn submit(&self, append: Append) -> Result<Submitted, StoreError> {
        if append.level > AckLevel::Fsynced {
            return Err(StoreError::Level { wanted: append.level, offered: AckLevel::Fsynced });
        }
        self.ask(|reply| Job::Append(append, reply)).await.map(Submitted)
    }

    fn reader(&self, _wanted: &[Pattern]) -> Box<dyn StoreReader> {
        Box::new(EmbeddedReader {
            tail: Arc::clone(&self.tail),
            reader: self.reader.clone(),
            place: Some(Place::default()),
        })
    }

    fn extent(&self) -> Extent {
        Extent {
            earliest: self.reader.earliest(),
            next: self.reader.next(),
            bytes: self.reader.bytes(),
        }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.next.clone()
    }

    async fn position_at(&self, time_unix_ns: u64) -> Result<u64, StoreError> {
        let reader = self.reader.clone();
        blocking(move || reader.position_at(time_unix_ns)).await
    }

    async fn last_sequence(&self, publisher: &Publisher) -> Result<Option<u64>, StoreError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.publishers.get(publisher).and_then(Numbers::complete))
    }

    async fn cursor(&self, name: &str) -> Result<Option<Cursor>, StoreError> {
        Ok(self.known.lock().unwrap_or_else(PoisonError::into_inner).cursors.get(name).cloned())
    }

    async fn set_cursor(&self, name: &str, cursor: Option<Cursor>) -> Result<(), StoreError> {
        let answer = self.ask(|reply| Job::Cursor(name.to_owned(), cursor, reply)).await?;
        answer.await.map_err(|_| closing())?
    }

    async fn cursors(&self) -> Result<Vec<(String, Cursor)>, StoreError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.cursors.iter().map(|(name, cursor)| (name.clone(), cursor.clone())).collect())
    }

    fn flushes(&self) -> Option<&Flushes> {
        Some(&self.flushed)
    }

    async fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads: Vec<_> =
            self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let joined = blocking(move || {
            let panicked = threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
            if panicked > 0 { Err(std::io::Error::other("a thread panicked")) } else { Ok(()) }
        });
        if let Err(error) = joined.await {
            log::error!("closing the store in {}: {error}", self.dir.display());
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
        Err(error) => Err(StoreError::Unavailable(error.to_string())),
    }
}

struct EmbeddedReader {
    tail: Arc<Tail>,
    reader: journal::Reader,
    place: Option<Place>,
}

#[tonic::async_trait]
impl StoreReader for EmbeddedReader {
    async fn read(&mut self, from: u64, max_bytes: usize) -> Result<Page, StoreError> {
        // Memory may still hold what retention has removed; what is removed is gone for all.
        if from >= self.reader.earliest()
            && let Some(page) = self.tail.read(from, max_bytes)
        {
            return Ok(page);
        }
        let reader = self.reader.clone();
        let mut place = self.place.take().unwrap_or_default();
        let (found, place) = blocking(move || {
            let found = reader.read(&mut place, from, max_bytes)?;
            Ok((found, place))
        })
        .await?;
        self.place = Some(place);
        let Found { records, lost, next } = found;
        let lost = lost.map(|journal::Lost { first, next, damaged }| {
            let reason = if damaged { GapReason::Damaged } else { GapReason::Retention };
            Lost { first, next, reason }
        });
        let runs = records.into_iter().map(run_of).collect();
        Ok(Page { runs, lost, next, shared: false })
    }
}

/// A record's body: one byte for the length of an explicit topic, the topic, the elements.
fn run_of(record: Record) -> Run {
    let topic_len = usize::from(record.body[0]);
    let topic = std::str::from_utf8(&record.body[1..1 + topic_len]).unwrap_or_default();
    Run {
        first: record.first,
        count: record.count,
        time_unix_ns: record.time_unix_ns,
        topic: (topic_len > 0).then(|| topic.into()),
        elements: record.body.slice(1 + topic_len..),
    }
}

struct Writer {
    journal: Journal,
    known: Arc<Mutex<Known>>,
    tail: Arc<Tail>,
    next: watch::Sender<u64>,
    flushes: std_mpsc::Sender<FlushRequest>,
    retention: Retention,
    level: AckLevel,
    clock: Clock,
}

struct Pending {
    append: Append,
    fresh: Fresh,
    body_head: Vec<u8>,
    reply: oneshot::Sender<Result<Appended, StoreError>>,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut held: Option<Job> = None;
        while let Some(job) = held.take().or_else(|| jobs.blocking_recv()) {
            match job {
                Job::Append(append, reply) => {
                    let mut bytes = append.payload.len();
                    let mut group = vec![(append, reply)];
                    while bytes < GROUP_BYTES {
                        match jobs.try_recv() {
                            Ok(Job::Append(append, reply)) => {
                                bytes += append.payload.len();
                                group.push((append, reply));
                            }
                            Ok(other) => {
                                held = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.append(group);
                }
                Job::Cursor(name, cursor, reply) => {
                    // The asker may have gone; the cursor is noted all the same.
                    reply.send(self.set_cursor(name, cursor)).ok();
                }
                Job::Trim => self.trim(),
            }
        }
    }

    fn append(&mut self, group: Vec<(Append, oneshot::Sender<Result<Appended, StoreError>>)>) {
        let now = (self.clock)();
        self.roll_if_due();
        let known = Arc::clone(&self.known);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let pending: Vec<Pending> = group
            .into_iter()
            .filter_map(|(append, reply)| match append.check_chain() {
                Ok(()) => Some((append, reply)),
                Err(error) => {
                    // A publisher that has gone asks again.
                    reply.send(Err(error)).ok();
                    None
                }
            })
            .map(|(append, reply)| {
                let fresh = Fresh::take(&append, &mut known.publishers);
                let topic = append.topic.as_deref().unwrap_or_default();
                let mut body_head = vec![topic.len() as u8];
                body_head.extend_from_slice(topic.as_bytes());
                Pending { append, fresh, body_head, reply }
            })
            .collect();
        let bodies: Vec<Vec<&[u8]>> = pending
            .iter()
            .map(|pending| {
                let head = std::iter::once(pending.body_head.as_slice());
                head.chain(pending.fresh.pieces.iter().map(Bytes::as_ref)).collect()
            })
            .collect();
        let items: Vec<journal::Append<'_>> = pending
            .iter()
            .zip(&bodies)
            .filter(|(pending, _)| pending.fresh.stored > 0)
            .map(|(pending, body)| journal::Append {
                kind: Kind::Events,
                count: pending.fresh.stored,
                body,
            })
            .collect();
        let written = if items.is_empty() {
            Ok(self.journal.next())
        } else {
            self.journal.append(&items, now)
        };
        match written {
            Ok(first) => {
                drop(known);
                self.answer(pending, first, now.unix_ns);
            }
            Err(error) => {
                for pending in &pending {
                    pending.fresh.give_back(&mut known.publishers);
                    pending.append.break_chain();
                }
                drop(known);
                let error = store_error(&error);
                for pending in pending {
                    // A publisher that has gone asks again.
                    pending.reply.send(Err(error.clone())).ok();
                }
            }
        }
    }

    fn answer(&self, pending: Vec<Pending>, mut first: u64, time_unix_ns: u64) {
        for Pending { append, fresh, reply, .. } in pending {
            let stored = fresh.stored;
            let positions = (stored > 0).then(|| (first, first + u64::from(stored) - 1));
            if stored > 0 {
                self.tail.push(Run {
                    first,
                    count: stored,
                    time_unix_ns,
                    topic: append.topic,
                    elements: fresh.joined(),
                });
                first += u64::from(stored);
            }
            let wanted = match append.level {
                AckLevel::Unspecified => self.level,
                level => level,
            };
            let duplicates = fresh.duplicates;
            let appended = Appended { level: AckLevel::Written, stored, duplicates, positions };
            if wanted == AckLevel::Fsynced {
                let next = self.journal.next();
                // The flushing thread lives as long as this end of the channel.
                self.flushes.send(FlushRequest { appended, next, reply }).ok();
            } else {
                reply.send(Ok(appended)).ok();
            }
        }
        self.next.send_replace(self.journal.next());
    }

    fn set_cursor(&mut self, name: String, cursor: Option<Cursor>) -> Result<(), StoreError> {
        let known = Arc::clone(&self.known);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor.is_some()
            && !known.cursors.contains_key(&name)
            && known.cursors.len() >= CURSORS_MAX
        {
            let reason = format!("the bus remembers {CURSORS_MAX} durables; remove one first");
            return Err(StoreError::Limit(reason));
        }
        let change = state::Change { cursor: Some(state::Cursor::of(&name, cursor.as_ref())) };
        let body = change.encode_to_vec();
        let item = journal::Append { kind: Kind::Change, count: 0, body: &[&body] };
        self.journal.append(&[item], (self.clock)()).map_err(|error| store_error(&error))?;
        match cursor {
            Some(cursor) => known.cursors.insert(name, cursor),
            None => known.cursors.remove(&name),
        };
        drop(known);
        self.roll_if_due();
        Ok(())
    }

    /// A roll that fails (no room) is tried again with the next append; until then the segment grows past its size.
    fn roll_if_due(&mut self) {
        let now = (self.clock)();
        if !self.journal.wants_roll(now, &self.retention) {
            return;
        }
        let snapshot = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            state::Snapshot::of(&known.publishers, &known.cursors).encode_to_vec()
        };
        if let Err(error) = self.journal.roll(&snapshot, now) {
            log::warn!("the bus's store could not start a new segment: {error}");
        }
        self.trim();
    }

    fn trim(&mut self) {
        let now = (self.clock)();
        if let Err(error) = self.journal.trim(&self.retention, now) {
            log::warn!("the bus's store could not remove old events: {error}");
        }
    }
}

fn store_error(error: &AppendError) -> StoreError {
    match error {
        AppendError::Full(_) => StoreError::Full(error.to_string()),
        AppendError::Failed(_) => StoreError::Unavailable(error.to_string()),
    }
}

/// The flushing thread. Ends, after a last flush, when the writing thread has.
fn flush(
    syncer: &Syncer,
    requests: &std_mpsc::Receiver<FlushRequest>,
    interval: Duration,
    trims: &mpsc::WeakSender<Job>,
    flushed: &Flushes,
) {
    let failed = AtomicBool::new(false);
    let mut trimmed = Instant::now();
    let mut due = Instant::now() + interval;
    loop {
        let wait = due.saturating_duration_since(Instant::now());
        let mut waiting = Vec::new();
        let ended = match requests.recv_timeout(wait) {
            Ok(request) => {
                waiting.push(request);
                waiting.extend(requests.try_iter());
                false
            }
            Err(std_mpsc::RecvTimeoutError::Timeout) => false,
            Err(std_mpsc::RecvTimeoutError::Disconnected) => true,
        };
        let start = Instant::now();
        let before = syncer.synced();
        let result = syncer.sync();
        match &result {
            // With nothing to flush no disk was asked.
            Ok(synced) if *synced > before => flushed.took(start.elapsed()),
            Ok(_) => {}
            Err(_) => flushed.failed(),
        }
        due = Instant::now() + interval;
        if let Err(error) = &result
            && !failed.swap(true, Ordering::Relaxed)
        {
            log::error!("the bus's store could not flush: {error}");
        }
        for FlushRequest { appended, next, reply } in waiting {
            let answer = match &result {
                Ok(synced) if *synced >= next => {
                    Ok(Appended { level: AckLevel::Fsynced, ..appended })
                }
                Ok(_) => Err(StoreError::Unavailable("an earlier flush failed".to_owned())),
                Err(error) => Err(StoreError::Unavailable(error.clone())),
            };
            reply.send(answer).ok();
        }
        if ended {
            return;
        }
        if trimmed.elapsed() >= TRIM_EVERY {
            trimmed = Instant::now();
            if let Some(jobs) = trims.upgrade() {
                // A writer with a full queue trims when it closes a segment.
                jobs.try_send(Job::Trim).ok();
            }
        }
    }
}

fn replay(known: &mut Known, kind: Kind, record: &Record) {
    match kind {
        Kind::Snapshot => match state::Snapshot::decode(record.body.as_ref()) {
            Ok(snapshot) => (known.publishers, known.cursors) = snapshot.known(),
            Err(error) => log::error!("the store's snapshot can't be read: {error}"),
        },
        Kind::Change => match state::Change::decode(record.body.as_ref()) {
            Ok(change) => {
                if let Some((name, cursor)) = change.cursor.and_then(state::Cursor::known) {
                    match cursor {
                        Some(cursor) => known.cursors.insert(name, cursor),
                        None => known.cursors.remove(&name),
                    };
                }
            }
            Err(error) => log::error!("a change of the store's state can't be read: {error}"),
        },
        Kind::Events => {
            let run = run_of(record.clone());
            for element in scan::elements(&run.elements).flatten() {
                let fields = scan::fields(element.event).unwrap_or_default();
                // Dead letters are the events of others, stored a second time on purpose.
                if let (Some((publisher, number)), None) = (identity(&fields), &run.topic) {
                    known.publishers.insert(&publisher, number, number);
                }
            }
        }
    }
}
