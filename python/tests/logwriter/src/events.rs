//! Events as the service would store them: the index entry says what the message says.

use jimbot_proto::events::v1::{Event, EventType, HandPlayedEvent, ProducerClock, event::Payload};
use jimbot_shm::IndexEntry;
use prost::{Message, encoding};
use serde_json::Value;

/// What the events of one request have in common.
pub(crate) struct Kind {
    event_type: EventType,
    game: u64,
    /// So many games take turns, where it is not zero.
    spread: u64,
    padding: usize,
}

impl Kind {
    /// From a request's `type`, `game` or `spread`, and `bytes`.
    pub(crate) fn of(request: &Value) -> Kind {
        let number = |name: &str| request.get(name).and_then(Value::as_u64).unwrap_or(0);
        let event_type = EventType::try_from(number("type") as i32).unwrap_or_default();
        Kind {
            event_type,
            game: number("game"),
            spread: number("spread"),
            padding: number("bytes") as usize,
        }
    }

    /// The `position`-th event of the request, and its entry.
    pub(crate) fn event(
        &self,
        position: u64,
        epoch: u64,
        sequence: u64,
        unix_ns: u64,
    ) -> (Event, IndexEntry) {
        let game = if self.spread == 0 { self.game } else { 1 + position % self.spread };
        let event = Event {
            log_epoch: epoch,
            sequence,
            r#type: self.event_type.into(),
            event_id: Some(format!("event-{sequence}")),
            producer_time: sequence as f64 * 16.5,
            producer_clock: ProducerClock::MonotonicMs.into(),
            receive_time_unix_ns: unix_ns,
            session: game.wrapping_mul(3),
            game_key: game,
            source: Some("logwriter".into()),
            payload: Some(Payload::HandPlayed(HandPlayedEvent {
                hand_type: Some("x".repeat(self.padding)),
                ..HandPlayedEvent::default()
            })),
            ..Event::default()
        };
        let entry = IndexEntry {
            event_type: self.event_type as u16,
            game_key: event.game_key,
            session: event.session,
            producer_time: event.producer_time,
            receive_time_unix_ns: unix_ns,
            ..IndexEntry::default()
        };
        (event, entry)
    }
}

/// Writes the event as an element of an `EventBatch` into `room`: its length, and where in it the event begins.
/// `None` when there is no room.
pub(crate) fn encode(event: &Event, room: &mut [u8]) -> Option<(usize, usize)> {
    let length = event.encoded_len();
    let begin = 1 + encoding::encoded_len_varint(length as u64);
    let mut element = room.get_mut(..begin + length)?;
    encoding::encode_key(1, encoding::WireType::LengthDelimited, &mut element);
    encoding::encode_varint(length as u64, &mut element);
    event.encode(&mut element).ok()?;
    Some((begin + length, begin))
}
