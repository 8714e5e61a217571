//! Publishing to the stream: appends that wait go out together, all messages under way at once, answered in their order.

use std::collections::VecDeque;
use std::sync::Arc;

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use tokio::sync::{mpsc, oneshot};

use super::super::{Append, Appended, StoreError};
use super::{ACK_WAIT, IN_FLIGHT, KEEP_EVERY, Known, Shared, message_id, unavailable};
use crate::bus::publishers::Publisher;
use crate::bus::{scan, topic};

/// Bytes of events after which no further append joins.
const GROUP_BYTES: usize = 4 << 20;
/// Messages under way before the oldest is waited for. A server that flushes each one may answer none before it has worked
/// off what it was sent, and has to be done with that in the time that an acknowledgement may take. The client itself
/// stops at IN_FLIGHT, for ever.
const WINDOW: usize = IN_FLIGHT / 8;

/// An append, and who waits for it.
pub(super) struct Job {
    pub(super) append: Append,
    pub(super) reply: oneshot::Sender<Result<Appended, StoreError>>,
}

/// A message under way.
struct Sent {
    /// Which append of the group it is of.
    job: usize,
    publisher: Publisher,
    number: u64,
    ack: PublishAckFuture,
}

/// Publishes what comes, to its end also when who published has gone: what was sent has to be known.
pub(super) async fn write(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let mut bytes = first.append.payload.len();
        let mut group = vec![first];
        while bytes < GROUP_BYTES
            && let Ok(job) = jobs.try_recv()
        {
            bytes += job.append.payload.len();
            group.push(job);
        }
        store(&shared, group).await;
    }
}

async fn store(shared: &Arc<Shared>, group: Vec<Job>) {
    let mut known = shared.known.lock().await;
    let nothing = Appended { level: shared.level, stored: 0, duplicates: 0, positions: None };
    let mut done: Vec<Result<Appended, StoreError>> =
        group.iter().map(|job| job.append.check_chain().map(|()| nothing)).collect();
    let failed = match shared.sure(&mut known).await {
        Ok(()) => publish(shared, &mut known, &group, &mut done).await.err(),
        Err(error) => Some((0, error)),
    };
    if let Some((from, error)) = failed {
        known.unsure = true;
        // What came later is not stored before what is missing.
        for (job, result) in group.iter().zip(&mut done).skip(from) {
            job.append.break_chain();
            *result = Err(error.clone());
        }
    }
    if known.scanned >= known.kept + KEEP_EVERY {
        shared.keep(&mut known).await;
    }
    drop(known);
    let last = done.iter().flatten().filter_map(|appended| appended.positions).map(|it| it.1).max();
    let mut next = shared.next.subscribe();
    tokio::spawn(async move {
        if let Some(last) = last {
            // Who is told that an event is stored finds it.
            let seen = next.wait_for(|next| *next > last);
            // Should following the stream be held up, the event is stored no less.
            tokio::time::timeout(ACK_WAIT, seen).await.ok();
        }
        for (job, result) in group.into_iter().zip(done) {
            // A publisher that has gone asks again.
            job.reply.send(result).ok();
        }
    });
}

/// Sends all messages of a group and takes their acknowledgements. Fails with the first append that is not stored whole.
async fn publish(
    shared: &Shared,
    known: &mut Known,
    group: &[Job],
    done: &mut [Result<Appended, StoreError>],
) -> Result<(), (usize, StoreError)> {
    let mut under_way: VecDeque<Sent> = VecDeque::new();
    let mut failed = None;
    'group: for (job, Job { append, .. }) in group.iter().enumerate() {
        if done[job].is_err() {
            continue;
        }
        for span in &append.spans {
            let elements = scan::elements(&append.payload[span.bytes.clone()]);
            for (number, element) in (span.first..).zip(elements.flatten()) {
                let stored = known.publishers.get(&span.publisher);
                if stored.is_some_and(|numbers| numbers.contains(number)) {
                    if let Ok(appended) = &mut done[job] {
                        appended.duplicates += 1;
                    }
                    continue;
                }
                while under_way.len() >= WINDOW
                    && let Some(sent) = under_way.pop_front()
                {
                    settle(known, sent, done).await?;
                }
                let fields = scan::fields(element.event).unwrap_or_default();
                let subject = match &append.topic {
                    Some(topic) => topic.to_string(),
                    None => topic::of_type(fields.event_type).unwrap_or_default().to_owned(),
                };
                let start = element.event.as_ptr() as usize - append.payload.as_ptr() as usize;
                let message = PublishMessage::build()
                    .payload(append.payload.slice(start..start + element.event.len()))
                    .message_id(message_id(&span.publisher, number));
                match shared.context.send_publish(subject, message).await {
                    Ok(ack) => {
                        let publisher = span.publisher.clone();
                        under_way.push_back(Sent { job, publisher, number, ack });
                    }
                    Err(error) => {
                        failed = Some((job, unavailable(error)));
                        break 'group;
                    }
                }
            }
        }
    }
    for sent in under_way {
        // After one that is lost those behind it would each be waited for in vain; the headers tell.
        settle(known, sent, done).await?;
    }
    failed.map_or(Ok(()), Err)
}

async fn settle(
    known: &mut Known,
    Sent { job, publisher, number, ack }: Sent,
    done: &mut [Result<Appended, StoreError>],
) -> Result<(), (usize, StoreError)> {
    // Without an answer it may be stored all the same, and so may those behind it.
    let ack = ack.await.map_err(|error| (job, unavailable(error)))?;
    known.publishers.insert(&publisher, number, number);
    // The stream's end moves on without a gap only when nobody else publishes.
    if ack.sequence == known.scanned + 1 {
        known.scanned = ack.sequence;
    }
    let Ok(appended) = &mut done[job] else { return Ok(()) };
    if ack.duplicate {
        appended.duplicates += 1;
        return Ok(());
    }
    appended.stored += 1;
    let (first, last) = appended.positions.unwrap_or((ack.sequence, ack.sequence));
    appended.positions = Some((first.min(ack.sequence), last.max(ack.sequence)));
    Ok(())
}
