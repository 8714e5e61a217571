//! The table of event types, as the `event` option of each `EventType` value spells it out.

use crate::events::v1::{EventType, Priority};

/// What an event type is called, carries and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSpec {
    /// The type that the row is about.
    pub event_type: EventType,
    /// Names under which it is sent, as `TYPE` or `TYPE/SUBTYPE`; the first is canonical.
    pub names: &'static [&'static str],
    /// Field of `Event.payload` that carries it; empty when none does.
    pub payload: &'static str,
    /// Number of that field; 0 when there is none.
    pub payload_field: u32,
    /// Topic on the Event Bus.
    pub topic: &'static str,
    /// Priority of an event whose producer states none.
    pub priority: Priority,
    /// Whether only the service makes events of this type.
    pub internal: bool,
}

impl EventSpec {
    /// The name that `Event.type` alone stands for; `None` for the unknown type.
    pub fn canonical_name(&self) -> Option<&'static str> {
        self.names.first().copied()
    }
}

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

/// The row of a type, by the number that stands in the event and in the log's index.
pub fn event_spec(event_type: i32) -> Option<&'static EventSpec> {
    let row = EVENT_TYPES.binary_search_by_key(&event_type, |spec| spec.event_type as i32).ok()?;
    Some(&EVENT_TYPES[row])
}
