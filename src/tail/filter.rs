//! Which events are shown.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use jimbot_proto::{EVENT_TYPES, event_spec};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

/// One or more event types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeFilter {
    types: Vec<i32>,
}

/// A name that no event type has.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownType;

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no event type has this name; known are ")?;
        let names = EVENT_TYPES.iter().filter_map(|spec| spec.canonical_name());
        for (at, name) in names.enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str(", UNKNOWN, and a topic with `*` for one word and `>` for the rest")
    }
}

impl std::error::Error for UnknownType {}

impl FromStr for TypeFilter {
    type Err = UnknownType;

    /// A type as games name it (`GAME_STATE`, `hand_played`, `SCORING/JOKER_TRIGGER`), all of
    /// `SCORING`, or a topic (`game.scoring.*`, `system.>`).
    fn from_str(text: &str) -> Result<TypeFilter, UnknownType> {
        let named = |name: &&str| {
            name.eq_ignore_ascii_case(text)
                || name.split_once('/').is_some_and(|(family, _)| family.eq_ignore_ascii_case(text))
        };
        let types: Vec<i32> = EVENT_TYPES
            .iter()
            .filter(|spec| {
                spec.names.iter().any(named)
                    || spec
                        .event_type
                        .as_str_name()
                        .eq_ignore_ascii_case(&format!("EVENT_TYPE_{text}"))
                    || topic_matches(text, spec.topic)
            })
            .map(|spec| spec.event_type as i32)
            .collect();
        if types.is_empty() { Err(UnknownType) } else { Ok(TypeFilter { types }) }
    }
}

impl TypeFilter {
    pub(super) fn takes(&self, event_type: u16) -> bool {
        // Types of a newer schema are shown as unknown ones.
        let known = event_spec(i32::from(event_type)).map_or(1, |spec| spec.event_type as i32);
        self.types.contains(&known)
    }
}

fn topic_matches(pattern: &str, topic: &str) -> bool {
    if !pattern.contains('.') && pattern != ">" {
        return false;
    }
    let (mut wanted, mut words) = (pattern.split('.'), topic.split('.'));
    loop {
        match (wanted.next(), words.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(word), Some(found)) if word == found => {}
            _ => return false,
        }
    }
}

/// Which games are shown. Most events carry only their game's key; which id it stands for is
/// learned from those that carry both.
pub(super) struct Games {
    wanted: Vec<String>,
    keys: HashMap<u64, bool>,
}

/// Keys remembered; a host that has seen more games than this starts learning anew.
const KEYS_MAX: usize = 65_536;

impl Games {
    pub(super) fn new(wanted: &[String]) -> Games {
        Games { wanted: wanted.to_vec(), keys: HashMap::new() }
    }

    /// Whether events have to be looked into.
    pub(super) fn learns(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(super) fn takes(&mut self, key: u64, event: &DynamicMessage) -> bool {
        if self.wanted.is_empty() {
            return true;
        }
        if let Some(id) = game_id(event) {
            if self.keys.len() >= KEYS_MAX {
                self.keys.clear();
            }
            let wanted = self.wanted.contains(&id);
            self.keys.insert(key, wanted);
        }
        self.keys.get(&key).copied().unwrap_or(false)
            || self.wanted.iter().any(|wanted| *wanted == key.to_string())
    }
}

/// The game's id as the event names it, in its envelope or in its state.
fn game_id(event: &DynamicMessage) -> Option<String> {
    text(event, "game_id").or_else(|| {
        let state = event.get_field_by_name("game_state")?;
        let base = state.as_message()?.get_field_by_name("base")?.into_owned();
        text(base.as_message()?, "game_id")
    })
}

fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let descriptor = message.descriptor().get_field_by_name(field)?;
    match message.get_field(&descriptor).as_ref() {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jimbot_proto::events::v1::EventType;

    fn takes(filter: &str, event_type: EventType) -> bool {
        filter.parse::<TypeFilter>().unwrap().takes(event_type as u16)
    }

    #[test]
    fn types_go_by_every_name_that_games_have_for_them() {
        for name in ["GAME_STATE", "game_state", "Game_State", "game.state.update", "game.state.*"]
        {
            assert!(takes(name, EventType::GameState), "{name}");
            assert!(!takes(name, EventType::Heartbeat), "{name}");
        }
        assert!(takes("joker_triggered", EventType::JokerTrigger));
        assert!(takes("UNKNOWN", EventType::Unknown));
        assert!(takes("game.>", EventType::MoneyChanged));
    }

    #[test]
    fn a_family_means_all_of_its_kinds() {
        for event_type in [EventType::Scoring, EventType::ScoringHandEvalStart] {
            assert!(takes("scoring", event_type), "{event_type:?}");
        }
        assert!(!takes("scoring/hand_eval_start", EventType::Scoring));
    }

    #[test]
    fn a_name_nobody_has_is_answered_with_those_there_are() {
        let error = "HAND_PLAID".parse::<TypeFilter>().unwrap_err().to_string();
        assert!(error.contains("HAND_PLAYED") && error.contains("GAME_STATE"), "{error}");
    }
}
