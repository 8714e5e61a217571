//! From what a publisher sends to what a store takes: every event is looked at, the good ones go on, the others are named.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use jimbot_proto::events::v1::{AckLevel, Event, PublishResult, RejectReason, Rejection};
use prost::Message;

use super::publishers::{Publisher, identity};
use super::scan;
use super::store::{Append, Appended, Span, StoreError};
use super::topic;

/// Bytes of one event at most: the largest batch of a log has room for it.
pub const EVENT_BYTES_MAX: usize = 3 << 20;
/// Rejections that are told one by one; further ones are only left out.
const REJECTIONS_MAX: usize = 100;

/// A batch that was looked at.
#[derive(Debug)]
pub struct Checked {
    /// What is to be stored.
    pub append: Append,
    /// What is not.
    pub rejections: Vec<Rejection>,
}

/// Looks at a serialised `EventBatch`.
pub fn check(payload: Bytes, level: AckLevel, chain: Option<Arc<AtomicBool>>) -> Checked {
    let mut spans: Vec<Span> = Vec::new();
    let mut rejections = Vec::new();
    for (index, element) in scan::elements(&payload).enumerate() {
        let verdict = match &element {
            Ok(element) => judge(element.event),
            Err(malformed) => Err((
                RejectReason::Malformed,
                format!(
                    "byte {} of the batch: {}; what follows can't be found",
                    malformed.offset, malformed.reason
                ),
            )),
        };
        match (verdict, element) {
            (Ok((publisher, number)), Ok(element)) => {
                add(&mut spans, publisher, number, element.span);
            }
            (Err((reason, message)), _) => {
                if rejections.len() < REJECTIONS_MAX {
                    let index = u32::try_from(index).unwrap_or(u32::MAX);
                    rejections.push(Rejection { index, reason: reason as i32, message });
                }
            }
            (Ok(_), Err(_)) => unreachable!("a malformed element has no verdict"),
        }
    }
    Checked { append: Append { payload, spans, topic: None, level, chain }, rejections }
}

/// Consecutive numbers of one publisher that stand behind each other become one span.
fn add(spans: &mut Vec<Span>, publisher: Publisher, number: u64, bytes: std::ops::Range<usize>) {
    if let Some(last) = spans.last_mut()
        && last.publisher == publisher
        && last.last().checked_add(1) == Some(number)
        && last.bytes.end == bytes.start
    {
        last.count += 1;
        last.bytes.end = bytes.end;
        return;
    }
    spans.push(Span { publisher, first: number, count: 1, bytes });
}

fn judge(event: &[u8]) -> Result<(Publisher, u64), (RejectReason, String)> {
    if event.len() > EVENT_BYTES_MAX {
        let message = format!("the event has {} bytes, {EVENT_BYTES_MAX} are allowed", event.len());
        return Err((RejectReason::TooLarge, message));
    }
    let fields = scan::fields(event).map_err(|malformed| {
        let message = format!("byte {} of the event: {}", malformed.offset, malformed.reason);
        (RejectReason::Malformed, message)
    })?;
    let (publisher, number) = identity(&fields).ok_or_else(|| {
        let message = "the event needs log_epoch and sequence, or producer (64 printable characters at most) and producer_sequence";
        (RejectReason::NoIdentity, message.to_owned())
    })?;
    if topic::of_type(fields.event_type).is_none() {
        let message = format!(
            "event type {} has no topic; use EVENT_TYPE_UNKNOWN with type_name for types of your own",
            fields.event_type
        );
        return Err((RejectReason::UnknownType, message));
    }
    // What a log holds was written by the service's converter. Others may send anything, and one event that does not parse
    // would make whole deliveries unreadable for their subscribers.
    if matches!(publisher, Publisher::Producer(_)) {
        check_deeply(event)?;
    }
    Ok((publisher, number))
}

fn check_deeply(event: &[u8]) -> Result<(), (RejectReason, String)> {
    match Event::decode(event) {
        Ok(_) => Ok(()),
        Err(error) => Err((RejectReason::Malformed, error.to_string())),
    }
}

/// What the publisher is told.
pub fn result(appended: Appended, rejections: Vec<Rejection>) -> PublishResult {
    let (first, last) = appended.positions.unwrap_or((0, 0));
    PublishResult {
        ack_level: appended.level as i32,
        stored: appended.stored,
        duplicates: appended.duplicates,
        first_position: first,
        last_position: last,
        rejections,
    }
}

/// A store's refusal as a gRPC status: what to do next follows from the code.
pub fn status(error: &StoreError) -> tonic::Status {
    let message = error.to_string();
    match error {
        StoreError::Full(_) | StoreError::Limit(_) => tonic::Status::resource_exhausted(message),
        StoreError::Unavailable(_) => tonic::Status::unavailable(message),
        StoreError::Level { .. } => tonic::Status::failed_precondition(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jimbot_proto::events::v1::{EventBatch, EventType};

    fn event(change: impl FnOnce(&mut Event)) -> Event {
        let mut event = Event {
            log_epoch: 7,
            sequence: 1,
            r#type: EventType::Heartbeat as i32,
            ..Default::default()
        };
        change(&mut event);
        event
    }

    fn checked(events: Vec<Event>) -> Checked {
        check(EventBatch { events }.encode_to_vec().into(), AckLevel::Unspecified, None)
    }

    #[test]
    fn a_batch_of_a_log_is_one_span() {
        let events = (5..50).map(|n| event(|event| event.sequence = n)).collect();
        let checked = checked(events);
        assert_eq!(checked.append.spans.len(), 1);
        let span = &checked.append.spans[0];
        assert_eq!(
            (span.first, span.count, span.bytes.clone()),
            (5, 45, 0..checked.append.payload.len())
        );
    }

    #[test]
    fn good_events_go_on_and_bad_ones_are_named() {
        let checked = checked(vec![
            event(|event| event.sequence = 1),
            event(|event| event.log_epoch = 0),
            event(|event| event.r#type = 9_999),
            event(|event| event.sequence = 2),
            event(|event| {
                event.log_epoch = 0;
                event.producer = Some("bot".into());
                event.producer_sequence = Some(4);
            }),
        ]);
        let reasons: Vec<(u32, i32)> = checked
            .rejections
            .iter()
            .map(|rejection| (rejection.index, rejection.reason))
            .collect();
        assert_eq!(
            reasons,
            [(1, RejectReason::NoIdentity as i32), (2, RejectReason::UnknownType as i32)]
        );
        let spans: Vec<(u64, u32)> =
            checked.append.spans.iter().map(|span| (span.first, span.count)).collect();
        assert_eq!(spans, [(1, 1), (2, 1), (4, 1)]);
    }

    #[test]
    fn what_would_make_a_delivery_unreadable_is_refused() {
        // Field 4, `event_id`, as a text that is not UTF-8.
        let mut bytes = event(|event| {
            event.log_epoch = 0;
            event.producer = Some("bot".into());
            event.producer_sequence = Some(4);
        })
        .encode_to_vec();
        bytes.extend_from_slice(&[0x22, 1, 0xff]);
        let mut batch = Vec::new();
        scan::push_element(&mut batch, &bytes);
        let found = check(batch.into(), AckLevel::Unspecified, None);
        assert_eq!(found.rejections[0].reason, RejectReason::Malformed as i32);
        let found = check(Bytes::from_static(b"\x0a\x7fabc"), AckLevel::Unspecified, None);
        assert_eq!(found.rejections[0].reason, RejectReason::Malformed as i32);
        let mut long = Vec::new();
        scan::push_element(&mut long, &vec![0; EVENT_BYTES_MAX + 1]);
        let found = check(long.into(), AckLevel::Unspecified, None);
        assert_eq!(found.rejections[0].reason, RejectReason::TooLarge as i32);
    }
}
