//! One subscription: reads the store, cuts what the filter wants, delivers, and takes acknowledgements.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jimbot_core::time::{MILLISECOND, SECOND};
use jimbot_proto::events::v1::start_position::Start;
use jimbot_proto::events::v1::subscribe_request::Request as Up;
use jimbot_proto::events::v1::subscribe_response::{CaughtUp, Response as Down};
use jimbot_proto::events::v1::{
    AckLevel, Delivery, Durable, Gap, GapReason, StartPosition, SubscribeRequest,
    SubscribeResponse, SubscribeStart, Subscribed,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

use super::Bus;
use super::budget::{Counted, SHARE_MIN};
use super::cut::{Bounds, Cut, Cutter};
use super::delivery::{Deliveries, Due, Terms};
use super::filter::Filter;
use super::publish::status;
use super::publishers::Publisher;
use super::scan;
use super::store::{Append, Cursor, Lost, Page, Span, StoreError, StoreReader};
use super::topic;

/// Messages that wait for the network. The next delivery is read when this one is taken: one that does not read holds no more.
pub(super) const OUTBOX: usize = 1;
/// A subscriber that takes nothing for this long is stalled: what can be read again is let go of.
const STALL: Duration = Duration::from_millis(100);
/// The same while memory is short. One that reads takes what waits for it sooner.
const STALL_SHORT: Duration = Duration::from_millis(5);
/// A cursor is saved this long after it changed, at the latest.
const CURSOR_EVERY_NS: u64 = 100 * MILLISECOND;
/// Time after which something that failed in the store is tried again.
const RETRY_NS: u64 = SECOND;

const MAX_UNACKED: u32 = 4096;
const MAX_UNACKED_LIMIT: u32 = 65_536;
const BATCH_EVENTS: u32 = 1024;
const BATCH_EVENTS_LIMIT: u32 = 16_384;
const BATCH_BYTES: u32 = 256 << 10;
const BATCH_BYTES_LIMIT: u32 = 3 << 20;
const ACK_WAIT_NS: u64 = 30 * SECOND;
const MAX_DELIVERIES: u32 = 5;

type Outbox = mpsc::Sender<Result<SubscribeResponse, Status>>;

/// What was asked for, checked.
struct Wanted {
    filter: Filter,
    bounds: Bounds,
    durable: Option<DurableTerms>,
}

struct DurableTerms {
    name: String,
    terms: Terms,
    dead_letter_topic: Arc<str>,
}

/// Runs a subscription until its subscriber leaves or the bus ends.
pub(super) async fn run(bus: Arc<Bus>, mut up: Streaming<SubscribeRequest>, out: Outbox) {
    let ended = match first_message(&mut up).await {
        Ok(start) => serve(bus, start, &mut up, out.clone()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        // The subscriber may have gone already.
        out.send(Err(error)).await.ok();
    }
}

async fn first_message(up: &mut Streaming<SubscribeRequest>) -> Result<SubscribeStart, Status> {
    match up.next().await {
        Some(Ok(SubscribeRequest { request: Some(Up::Start(start)) })) => Ok(start),
        Some(Err(error)) => Err(error),
        _ => Err(Status::invalid_argument("the first message of a subscription is `start`")),
    }
}

async fn serve(
    bus: Arc<Bus>,
    start: SubscribeStart,
    up: &mut Streaming<SubscribeRequest>,
    out: Outbox,
) -> Result<(), Status> {
    let terms = check(&start)?;
    let held = match &terms.durable {
        Some(durable) => Some(bus.hold(&durable.name)?),
        None => None,
    };
    let saved = match &terms.durable {
        Some(durable) if !start.reset => {
            bus.store.cursor(&durable.name).await.map_err(|error| status(&error))?
        }
        _ => None,
    };
    let resumed = saved.is_some();
    let cursor = match saved {
        Some(cursor) => cursor,
        None => {
            let next =
                start_position(Arc::clone(&bus), start.start, terms.durable.is_some()).await?;
            Cursor { next, unacked: Vec::new() }
        }
    };
    let last = bus.store.extent().next;
    let mut subscription = Subscription {
        reader: bus.store.reader(&terms.filter.topics()),
        stored: bus.store.watch(),
        deliveries: Deliveries::new(
            terms.durable.as_ref().map_or(
                Terms { max_unacked: usize::MAX, ack_wait_ns: u64::MAX, max_deliveries: None },
                |durable| durable.terms,
            ),
            &cursor,
        ),
        next: cursor.next,
        catch_up: Some(last),
        credit: (start.initial_credit > 0).then_some(start.initial_credit),
        cutter: Cutter::default(),
        page: None,
        terms,
        saved_ns: bus.now_ns(),
        retry_ns: 0,
        bus,
        out,
        closed: false,
    };
    // A durable that stands stays, also when the bus dies before anything is acknowledged.
    subscription.save().await;
    let subscribed =
        Subscribed { start_position: cursor.next, last_position: last.saturating_sub(1), resumed };
    subscription.send(up, Down::Subscribed(subscribed)).await?;
    let ended = subscription.run(up).await;
    subscription.save().await;
    drop(held);
    ended
}

fn check(start: &SubscribeStart) -> Result<Wanted, Status> {
    let filter = Filter::new(start.filter.as_ref().unwrap_or(&Default::default()))
        .map_err(|bad| Status::invalid_argument(format!("filter: {bad}")))?;
    let or = |value: u32, default: u32, limit: u32| match value {
        0 => default,
        value => value.min(limit),
    };
    let max_unacked = or(start.max_unacked_events, MAX_UNACKED, MAX_UNACKED_LIMIT) as usize;
    let durable = match &start.durable {
        Some(durable) => Some(check_durable(durable, max_unacked)?),
        None => None,
    };
    Ok(Wanted {
        filter,
        bounds: Bounds {
            events: or(start.max_batch_events, BATCH_EVENTS, BATCH_EVENTS_LIMIT) as usize,
            bytes: or(start.max_batch_bytes, BATCH_BYTES, BATCH_BYTES_LIMIT) as usize,
        },
        durable,
    })
}

fn check_durable(durable: &Durable, max_unacked: usize) -> Result<DurableTerms, Status> {
    let name = &durable.name;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(word) {
        return Err(Status::invalid_argument("durable.name: 1 to 64 letters, digits, `_` and `-`"));
    }
    let topic = match durable.dead_letter_topic.as_str() {
        "" => format!("{}.{name}", topic::DEAD_LETTER),
        topic => topic.to_owned(),
    };
    topic::validate(&topic)
        .map_err(|bad| Status::invalid_argument(format!("durable.dead_letter_topic: {bad}")))?;
    if !topic.starts_with(&format!("{}.", topic::DEAD_LETTER)) {
        let message = format!("durable.dead_letter_topic: begins with `{}.`", topic::DEAD_LETTER);
        return Err(Status::invalid_argument(message));
    }
    Ok(DurableTerms {
        name: name.clone(),
        terms: Terms {
            max_unacked,
            ack_wait_ns: durable.ack_wait.as_ref().and_then(duration_ns).unwrap_or(ACK_WAIT_NS),
            max_deliveries: match durable.max_deliveries {
                0 => Some(MAX_DELIVERIES),
                times => u32::try_from(times).ok(),
            },
        },
        dead_letter_topic: topic.into(),
    })
}

fn duration_ns(duration: &prost_types::Duration) -> Option<u64> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u64::try_from(duration.nanos).ok()?;
    Some(seconds.saturating_mul(SECOND).saturating_add(nanos)).filter(|ns| *ns > 0)
}

async fn start_position(
    bus: Arc<Bus>,
    start: Option<StartPosition>,
    durable: bool,
) -> Result<u64, Status> {
    let extent = bus.store.extent();
    let Some(start) = start.and_then(|start| start.start) else { return Ok(extent.next) };
    match start {
        Start::Earliest(_) => Ok(extent.earliest),
        Start::Latest(_) => Ok(extent.next),
        Start::Position(position) => Ok(position.clamp(1, extent.next)),
        Start::Resume(_) if durable => Ok(extent.earliest),
        Start::Resume(_) => Err(Status::invalid_argument("start.resume: only a durable resumes")),
        Start::Time(time) => {
            let ns = u64::try_from(time.seconds).unwrap_or(0).saturating_mul(SECOND)
                + u64::try_from(time.nanos).unwrap_or(0);
            bus.store.position_at(ns).await.map_err(|error| status(&error))
        }
        Start::Sequence(wanted) => position_of(bus, wanted.log_epoch, wanted.sequence).await,
    }
}

/// Position of an event of a log, or of the next one of that log. Reads what is stored: for people, not for many.
async fn position_of(bus: Arc<Bus>, log_epoch: u64, sequence: u64) -> Result<u64, Status> {
    let mut reader = bus.store.reader(&[]);
    let mut at = bus.store.extent().earliest;
    let end = bus.store.extent().next;
    while at < end {
        let page = reader.read(at, BATCH_BYTES as usize).await.map_err(|error| status(&error))?;
        for run in page.runs.iter().filter(|run| run.topic.is_none()) {
            for (position, element) in (run.first..).zip(scan::elements(&run.elements).flatten()) {
                let fields = scan::fields(element.event).unwrap_or_default();
                if position >= at && fields.log_epoch == log_epoch && fields.sequence >= sequence {
                    return Ok(position);
                }
            }
        }
        if page.next <= at {
            break;
        }
        at = page.next;
    }
    Ok(end)
}

struct Subscription {
    bus: Arc<Bus>,
    reader: Box<dyn StoreReader>,
    stored: watch::Receiver<u64>,
    deliveries: Deliveries,
    /// Position from which to read.
    next: u64,
    /// Position at which the subscriber is told that it has caught up.
    catch_up: Option<u64>,
    credit: Option<u64>,
    cutter: Cutter,
    /// Counts what the cutter holds, where that is not shared with the store.
    page: Option<Counted<()>>,
    terms: Wanted,
    saved_ns: u64,
    retry_ns: u64,
    out: Outbox,
    /// The subscriber says nothing more.
    closed: bool,
}

impl Subscription {
    async fn run(&mut self, up: &mut Streaming<SubscribeRequest>) -> Result<(), Status> {
        while !self.closed {
            let now_ns = self.bus.now_ns();
            if now_ns.saturating_sub(self.saved_ns) >= CURSOR_EVERY_NS {
                self.save().await;
            }
            if self.deliver_due(up, now_ns).await? || self.deliver_new(up).await? {
                continue;
            }
            let caught_up =
                self.cutter.is_empty() && self.catch_up.is_some_and(|end| self.next >= end);
            if caught_up {
                self.catch_up = None;
                self.send(up, Down::CaughtUp(CaughtUp {})).await?;
                continue;
            }
            self.wait(up).await?;
        }
        Ok(())
    }

    /// Until the subscriber speaks, something is stored, or something is due.
    async fn wait(&mut self, up: &mut Streaming<SubscribeRequest>) -> Result<(), Status> {
        let now_ns = self.bus.now_ns();
        let save_ns = self.terms.durable.is_some().then(|| self.saved_ns + CURSOR_EVERY_NS);
        let due_ns = self.deliveries.deadline().map(|due| due.max(self.retry_ns));
        let read_ns = (self.retry_ns > now_ns).then_some(self.retry_ns);
        let deadline_ns = save_ns.into_iter().chain(due_ns).chain(read_ns).min();
        let sleep_ns =
            deadline_ns.map_or(60 * SECOND, |at| at.saturating_sub(now_ns).max(MILLISECOND));
        let sleep = Duration::from_nanos(sleep_ns.min(60 * SECOND));
        let able = self.able();
        let out = self.out.clone();
        tokio::select! {
            message = up.next() => self.heard(message)?,
            changed = self.stored.changed(), if able => {
                changed.map_err(|_| Status::unavailable("the bus is closing"))?;
            }
            () = self.bus.closing() => return Err(Status::unavailable("the bus is closing")),
            () = out.closed() => self.closed = true,
            () = tokio::time::sleep(sleep) => {}
        }
        Ok(())
    }

    fn able(&self) -> bool {
        self.credit != Some(0) && (self.terms.durable.is_none() || self.deliveries.room() > 0)
    }

    fn heard(&mut self, message: Option<Result<SubscribeRequest, Status>>) -> Result<(), Status> {
        let request = match message {
            None => {
                self.closed = true;
                return Ok(());
            }
            // A connection that broke ends the subscription, and is nobody's mistake here.
            Some(Err(_)) => {
                self.closed = true;
                return Ok(());
            }
            Some(Ok(message)) => message.request,
        };
        match request {
            Some(Up::Start(_)) => {
                return Err(Status::invalid_argument(
                    "`start` is the first message, and only that",
                ));
            }
            Some(Up::Credit(more)) => {
                self.credit = Some(self.credit.unwrap_or(0).saturating_add(more.events));
            }
            Some(Up::Ack(ack)) if self.terms.durable.is_some() => {
                if ack.up_to > 0 {
                    self.deliveries.ack_up_to(ack.up_to);
                }
                for position in ack.positions {
                    self.deliveries.ack(position);
                }
            }
            Some(Up::Nack(nack)) if self.terms.durable.is_some() => {
                let delay = nack.delay.as_ref().and_then(duration_ns).unwrap_or(0);
                let at_ns = self.bus.now_ns().saturating_add(delay);
                for position in nack.positions {
                    self.deliveries.nack(position, at_ns);
                }
            }
            // Without a durable there is nothing to acknowledge; saying so is harmless.
            Some(Up::Ack(_) | Up::Nack(_)) | None => {}
        }
        Ok(())
    }

    /// Leave to hand the next message to the network; `None` when the subscriber has gone. Meanwhile it is listened to: it may
    /// have to be rid of its acknowledgements before it reads on. While it takes nothing, nothing is held for it.
    async fn permit(
        &mut self,
        up: &mut Streaming<SubscribeRequest>,
    ) -> Result<Option<mpsc::OwnedPermit<Result<SubscribeResponse, Status>>>, Status> {
        if let Ok(permit) = self.out.clone().try_reserve_owned() {
            return Ok(Some(permit));
        }
        let mut stall = if self.bus.budget.is_short() { STALL_SHORT } else { STALL };
        let reserving = self.out.clone().reserve_owned();
        tokio::pin!(reserving);
        while !self.closed {
            tokio::select! {
                permit = &mut reserving => {
                    self.closed |= permit.is_err();
                    return Ok(permit.ok());
                }
                message = up.next() => self.heard(message)?,
                () = self.bus.closing() => return Err(Status::unavailable("the bus is closing")),
                () = tokio::time::sleep(stall) => {
                    self.let_go();
                    self.save().await;
                    stall = STALL;
                }
            }
        }
        Ok(None)
    }

    /// Forgets what was read and not delivered: it is read again when it is wanted.
    fn let_go(&mut self) {
        self.cutter = Cutter::default();
        self.page = None;
    }

    async fn send(
        &mut self,
        up: &mut Streaming<SubscribeRequest>,
        down: Down,
    ) -> Result<(), Status> {
        if let Some(permit) = self.permit(up).await? {
            permit.send(Ok(SubscribeResponse { response: Some(down) }));
        }
        Ok(())
    }

    /// Tells what can't be delivered any more.
    async fn miss(
        &mut self,
        up: &mut Streaming<SubscribeRequest>,
        lost: Lost,
    ) -> Result<(), Status> {
        let (first_position, last_position) = (lost.first, lost.next - 1);
        self.bus.counters.missed(lost.reason, lost.next - lost.first);
        if lost.reason == GapReason::Damaged {
            log::error!("events {first_position} to {last_position} are damaged on the disk");
        }
        let reason = lost.reason as i32;
        self.send(up, Down::Gap(Gap { first_position, last_position, reason })).await
    }

    async fn deliver_new(&mut self, up: &mut Streaming<SubscribeRequest>) -> Result<bool, Status> {
        if !self.able() {
            return Ok(false);
        }
        let now_ns = self.bus.now_ns();
        let nothing = self.next >= *self.stored.borrow_and_update() || now_ns < self.retry_ns;
        if self.cutter.is_empty() && nothing {
            return Ok(false);
        }
        // What is read before there is room for it would be held.
        let Some(permit) = self.permit(up).await? else { return Ok(false) };
        let bytes = self.bus.budget.share(self.terms.bounds.bytes);
        if self.cutter.is_empty() {
            self.page = None;
            let page = match self.reader.read(self.next, bytes).await {
                Ok(page) => page,
                Err(error) => {
                    log::warn!("a subscription can't read the store, trying again: {error}");
                    self.retry_ns = now_ns + RETRY_NS;
                    return Ok(false);
                }
            };
            if let Some(lost) = page.lost {
                self.next = lost.next;
                self.deliveries.pass(lost.next);
                drop(permit);
                // The rest of the page is read again.
                self.miss(up, lost).await?;
                return Ok(true);
            }
            if page.runs.is_empty() {
                let moved = page.next > self.next;
                self.next = page.next.max(self.next);
                self.deliveries.pass(self.next);
                return Ok(moved);
            }
            self.feed(page);
        }
        let credit =
            self.credit.map_or(usize::MAX, |credit| usize::try_from(credit).unwrap_or(usize::MAX));
        // An acknowledgement may have been missed while the permit was waited for.
        let room = if self.terms.durable.is_some() { self.deliveries.room() } else { usize::MAX };
        let events = self.terms.bounds.events.min(credit).min(room);
        let Cut { batch, positions } =
            self.cutter.cut(&self.terms.filter, Bounds { events, bytes });
        self.next = self.cutter.position();
        if self.cutter.is_empty() {
            self.page = None;
        }
        let Some(first) = positions.first() else {
            self.deliveries.pass(self.next);
            drop(permit);
            // Much that nobody wants must not keep the others waiting.
            tokio::task::yield_now().await;
            return Ok(true);
        };
        if batch.len() > SHARE_MIN && !self.bus.budget.has_room_for(batch.len()) {
            self.next = *first;
            drop((batch, permit));
            self.wait_for_room(up).await?;
            return Ok(true);
        }
        if let Some(credit) = &mut self.credit {
            *credit -= positions.len() as u64;
        }
        self.bus.counters.delivered(positions.len());
        let held = self.terms.durable.is_some().then(|| positions.clone());
        let batch = self.bus.budget.count(batch);
        let delivery = Down::Delivery(Delivery { batch, positions, attempt: 1 });
        permit.send(Ok(SubscribeResponse { response: Some(delivery) }));
        if let Some(positions) = held {
            self.deliveries.delivered(positions, self.bus.now_ns());
        }
        self.deliveries.pass(self.next);
        Ok(true)
    }

    fn feed(&mut self, page: Page) {
        let bytes = page.runs.iter().map(|run| run.elements.len()).sum();
        self.page = (!page.shared).then(|| self.bus.budget.hold((), bytes));
        self.cutter.feed(page.runs, self.next);
    }

    /// Until others have let go of memory, holding none: a long event is read again then.
    async fn wait_for_room(&mut self, up: &mut Streaming<SubscribeRequest>) -> Result<(), Status> {
        self.let_go();
        let bus = Arc::clone(&self.bus);
        tokio::select! {
            () = bus.budget.freed() => {}
            () = tokio::time::sleep(STALL) => {}
            message = up.next() => self.heard(message)?,
            () = bus.closing() => return Err(Status::unavailable("the bus is closing")),
        }
        Ok(())
    }

    /// Delivers again what was not acknowledged, or gives it up.
    async fn deliver_due(
        &mut self,
        up: &mut Streaming<SubscribeRequest>,
        now_ns: u64,
    ) -> Result<bool, Status> {
        if self.terms.durable.is_none() || now_ns < self.retry_ns || self.credit == Some(0) {
            return Ok(false);
        }
        let credit =
            self.credit.map_or(usize::MAX, |credit| usize::try_from(credit).unwrap_or(usize::MAX));
        let due = self.deliveries.due(now_ns, self.terms.bounds.events.min(credit));
        let Some(first) = due.first().copied() else { return Ok(false) };
        let wanted = due.iter().map(|due| due.position).collect();
        let (events, looked_to) = match self.read_again(wanted).await {
            Ok(found) => found,
            Err(error) => {
                log::warn!("a subscription can't read the store, trying again: {error}");
                self.retry_ns = now_ns + RETRY_NS;
                return Ok(false);
            }
        };
        let gone = |due: &&Due| due.position < looked_to && !events.contains_key(&due.position);
        for Due { position, .. } in due.iter().filter(gone) {
            self.deliveries.ack(*position);
            let earliest = self.bus.store.extent().earliest;
            let reason =
                if *position < earliest { GapReason::Retention } else { GapReason::Deleted };
            self.miss(up, Lost { first: *position, next: position + 1, reason }).await?;
        }
        let mut positions: Vec<u64> = events.keys().copied().collect();
        positions.sort_unstable();
        if positions.is_empty() {
            return Ok(true);
        }
        if first.give_up {
            return self.give_up(&positions, &events, now_ns).await;
        }
        let batch: Vec<u8> =
            positions.iter().flat_map(|position| events[position].clone()).collect();
        if let Some(credit) = &mut self.credit {
            *credit -= positions.len() as u64;
        }
        self.bus.counters.redelivered(positions.len());
        self.deliveries.delivered_again(&positions, now_ns);
        let delivery = Delivery {
            batch: self.bus.budget.count(batch.into()),
            positions,
            attempt: first.deliveries.saturating_add(1),
        };
        self.send(up, Down::Delivery(delivery)).await?;
        Ok(true)
    }

    /// The elements of events by position, as many as fit in a delivery, and the position before which all were looked for.
    async fn read_again(
        &mut self,
        positions: Vec<u64>,
    ) -> Result<(HashMap<u64, Vec<u8>>, u64), StoreError> {
        let mut found = HashMap::new();
        let mut reader = self.bus.store.reader(&[]);
        let mut wanted = positions.into_iter().peekable();
        let limit = self.bus.budget.share(self.terms.bounds.bytes);
        let mut bytes = 0;
        while let Some(&position) = wanted.peek() {
            let page = reader.read(position, limit).await?;
            if page.runs.is_empty() && page.lost.is_none() {
                break;
            }
            for run in &page.runs {
                for (at, element) in (run.first..).zip(scan::elements(&run.elements).flatten()) {
                    while wanted.next_if(|wanted| *wanted < at).is_some() {}
                    if wanted.peek() != Some(&at) {
                        continue;
                    }
                    if bytes > 0 && bytes + element.span.len() > limit {
                        return Ok((found, at));
                    }
                    bytes += element.span.len();
                    wanted.next();
                    found.insert(at, run.elements[element.span].to_vec());
                }
            }
            while wanted.next_if(|wanted| *wanted < page.next).is_some() {}
        }
        Ok((found, u64::MAX))
    }

    /// Stores events under the dead-letter topic. Only then are they done with.
    async fn give_up(
        &mut self,
        positions: &[u64],
        events: &HashMap<u64, Vec<u8>>,
        now_ns: u64,
    ) -> Result<bool, Status> {
        let Some(durable) = &self.terms.durable else { return Ok(false) };
        let topic = Arc::clone(&durable.dead_letter_topic);
        // Under this name an event is given up once, also when the bus dies between storing and noting it.
        let publisher =
            Publisher::Producer(format!("{}.{}", topic::DEAD_LETTER, durable.name).into());
        let mut payload = Vec::new();
        let mut spans = Vec::new();
        for position in positions {
            let start = payload.len();
            payload.extend_from_slice(&events[position]);
            spans.push(Span {
                publisher: publisher.clone(),
                first: *position,
                count: 1,
                bytes: start..payload.len(),
            });
        }
        let append = Append {
            payload: payload.into(),
            spans,
            topic: Some(topic),
            level: AckLevel::Unspecified,
            chain: None,
        };
        match self.bus.store.append(append).await {
            Ok(_) => {
                self.bus.counters.dead_lettered(positions.len());
                for position in positions {
                    self.deliveries.ack(*position);
                }
                Ok(true)
            }
            Err(error) => {
                log::warn!("events can't be given up now, trying again: {error}");
                self.retry_ns = now_ns + RETRY_NS;
                Ok(false)
            }
        }
    }

    async fn save(&mut self) {
        self.saved_ns = self.bus.now_ns();
        let Some(durable) = &self.terms.durable else { return };
        let Some(cursor) = self.deliveries.take_cursor() else { return };
        if let Err(error) = self.bus.store.set_cursor(&durable.name, Some(cursor)).await {
            // Kept in memory; what was acknowledged since the last save comes again if the bus ends now.
            self.bus.counters.cursor_failed();
            log::warn!("the place of durable {} is not saved: {error}", durable.name);
            self.deliveries.touch();
        }
    }
}
