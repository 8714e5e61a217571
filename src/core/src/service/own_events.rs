//! Events that the service itself says: what became of commands.

use jimbot_proto::events::v1::{CommandEvent, Event, EventType, Priority, ProducerClock, event};
use prost::Message;

use crate::log::{EventLog, Full, IndexEntry};
use crate::mailbox::Waiting;
use crate::metrics::names::{self, transport};
use crate::service::intake::Intake;
use crate::time::{MILLISECOND, Now};

/// What happened to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was taken.
    Accepted,
    /// It was handed to its game.
    Delivered,
    /// No game fetched it in time.
    Expired,
}

/// The name under which senders and events know a command.
pub(super) fn command_id(number: u64) -> String {
    format!("{number:016x}")
}

impl<L: EventLog> Intake<L> {
    /// Stores what happened to a command.
    ///
    /// # Errors
    /// [`Full`]: nothing was stored.
    pub(super) fn store_fate(
        &mut self,
        waiting: &Waiting,
        fate: Fate,
        now: Now,
    ) -> Result<(), Full> {
        let event_type = match fate {
            Fate::Accepted => EventType::CommandAccepted,
            Fate::Delivered => EventType::CommandDelivered,
            Fate::Expired => EventType::CommandExpired,
        };
        let waited_ns = now.mono_ns.saturating_sub(waiting.taken.mono_ns);
        let command = CommandEvent {
            command_id: Some(command_id(waiting.number)),
            line: Some(waiting.command.line.clone()),
            action: Some(waiting.command.action.to_owned()),
            params: waiting
                .command
                .params
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
            source: Some(waiting.command.source.clone()).filter(|source| !source.is_empty()),
            target_session: Some(waiting.session),
            waited_ms: (fate != Fate::Accepted).then(|| waited_ns as f64 / MILLISECOND as f64),
            reason: (fate == Fate::Expired).then(|| "age".to_owned()),
            ..CommandEvent::default()
        };
        let game_key =
            self.sessions.by_id(waiting.session).map_or(0, |(_, session)| session.game_key);
        self.store_own(event_type, waiting.session, game_key, event::Payload::Command(command), now)
    }

    fn store_own(
        &mut self,
        event_type: EventType,
        session: u64,
        game_key: u64,
        payload: event::Payload,
        now: Now,
    ) -> Result<(), Full> {
        self.open_batch(now)?;
        let time_ms = now.unix_ns as f64 / MILLISECOND as f64;
        let event = Event {
            log_epoch: self.log.epoch(),
            sequence: self.log.next_sequence(),
            r#type: event_type as i32,
            producer_time: time_ms,
            producer_clock: ProducerClock::UnixMs as i32,
            receive_time_unix_ns: now.unix_ns,
            session,
            game_key,
            source: Some("jimbot-mcp".to_owned()),
            priority: Priority::Normal as i32,
            payload: Some(payload),
            ..Event::default()
        };
        let mut element = Vec::with_capacity(256);
        prost::encoding::message::encode(1, &event, &mut element);
        let event_len = event.encoded_len();
        if self.log.room().len() < element.len() {
            self.commit(crate::batching::Cause::BatchFull, now);
            self.open_batch(now)?;
        }
        self.log.room()[..element.len()].copy_from_slice(&element);
        let entry = IndexEntry {
            event_type: event_type as u16,
            priority: Priority::Normal as u8,
            game_key,
            session,
            producer_time: time_ms,
            receive_time_unix_ns: now.unix_ns,
            ..IndexEntry::default()
        };
        self.log.append(element.len(), element.len() - event_len, &entry);
        self.batching.stored(now, false);
        names::EVENTS_STORED.add(self.log.counters(), transport::SERVICE, 1);
        Ok(())
    }
}
