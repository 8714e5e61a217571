//! What a command may say: two forms of the same thing, checked before anything is done.

use serde_json::{Map, Value};

/// What a command's parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// It takes none that has an effect.
    None,
    /// `position`, counted from 0.
    Position,
}

/// The commands that the mod in the field knows.
pub const COMMANDS: &[(&str, Parameter)] = &[
    ("select_card", Parameter::Position),
    ("play_hand", Parameter::None),
    ("discard", Parameter::None),
    ("sort_hand", Parameter::None),
    ("buy_joker", Parameter::None),
    ("buy_booster", Parameter::None),
    ("buy_voucher", Parameter::None),
    ("sell_joker", Parameter::None),
    ("reroll_shop", Parameter::None),
    ("skip_shop", Parameter::None),
    ("select_small_blind", Parameter::None),
    ("select_big_blind", Parameter::None),
    ("select_boss_blind", Parameter::None),
    ("skip_blind", Parameter::None),
    ("go_to_shop", Parameter::None),
    ("start_new_run", Parameter::None),
    ("select_deck", Parameter::None),
    ("select_stake", Parameter::None),
    ("navigate_menu", Parameter::None),
];

/// The most a position may be: no hand or deck is larger.
const POSITION_MAX: u64 = 9_999;
/// Bytes of a sender's name that are kept.
const SOURCE_MAX: usize = 128;

/// A command that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its name, one of [`COMMANDS`].
    pub action: &'static str,
    /// The line that a polling game gets.
    pub line: String,
    /// Its parameters as they were sent.
    pub params: Map<String, Value>,
    /// What its sender calls itself; may be empty.
    pub source: String,
}

/// What is wrong with a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// Path of the field; empty for the whole body.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub reason: String,
}

fn invalid<T>(field: &'static str, reason: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { field, reason: reason.into() })
}

/// Reads a command in either form, `{"type": ACTION, "payload": {…}}` or `{"type": "COMMAND", "action": ACTION,
/// "params": {…}}`, and the session it names, if any.
///
/// # Errors
/// [`Invalid`] names the field and says what it must be.
pub fn parse(body: &[u8]) -> Result<(Command, Option<String>), Invalid> {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return invalid("", format!("not JSON: {error}")),
    };
    let Value::Object(mut fields) = value else {
        return invalid(
            "",
            "must be an object like {\"type\": \"select_card\", \"payload\": {\"position\": 3}}",
        );
    };
    let kind = name(&fields, "type")?;
    let (action_field, params_field, position_field) = if kind.eq_ignore_ascii_case("COMMAND") {
        ("action", "params", "params.position")
    } else {
        ("type", "payload", "payload.position")
    };
    let action = name(&fields, action_field)?;
    let Some(&(action, parameter)) = COMMANDS.iter().find(|(name, _)| *name == action) else {
        let known: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
        return invalid(action_field, format!("no such command; known are {}", known.join(", ")));
    };
    let params = match fields.remove(params_field) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        // An empty list is how Lua's JSON writes an empty table.
        Some(Value::Array(list)) if list.is_empty() => Map::new(),
        Some(_) => return invalid(params_field, "must be an object"),
    };
    let line = match parameter {
        Parameter::None => action.to_owned(),
        Parameter::Position => match params.get("position").and_then(Value::as_u64) {
            Some(position) if position <= POSITION_MAX => format!("{action}:{position}"),
            _ => {
                return invalid(
                    position_field,
                    format!(
                        "must be a whole number from 0 to {POSITION_MAX}: the card's place in the hand, counted from 0"
                    ),
                );
            }
        },
    };
    let source = match fields.remove("source") {
        Some(Value::String(source)) => source.chars().take(SOURCE_MAX).collect(),
        None | Some(Value::Null) => String::new(),
        Some(_) => return invalid("source", "must be a string"),
    };
    let session = match fields.remove("session") {
        Some(Value::String(session)) => Some(session),
        None | Some(Value::Null) => None,
        Some(_) => return invalid("session", "must be a string of 16 hexadecimal digits"),
    };
    Ok((Command { action, line, params, source }, session))
}

fn name<'a>(fields: &'a Map<String, Value>, field: &'static str) -> Result<&'a str, Invalid> {
    match fields.get(field) {
        Some(Value::String(name)) => Ok(name),
        Some(_) => invalid(field, "must be a string"),
        None => invalid(field, "is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of(body: &str) -> &'static str {
        parse(body.as_bytes()).unwrap_err().field
    }

    #[test]
    fn both_forms_say_the_same() {
        let (one, session) =
            parse(br#"{"type": "select_card", "payload": {"position": 3}}"#).unwrap();
        let (other, _) = parse(
            br#"{"type": "COMMAND", "source": "agent", "action": "select_card", "params": {"position": 3}}"#,
        )
        .unwrap();
        assert_eq!((one.line.as_str(), other.line.as_str()), ("select_card:3", "select_card:3"));
        assert_eq!((other.source.as_str(), session), ("agent", None));
    }

    #[test]
    fn every_command_makes_one_plain_line() {
        for (name, parameter) in COMMANDS {
            let payload =
                if *parameter == Parameter::Position { "{\"position\": 0}" } else { "{}" };
            let (command, _) =
                parse(format!("{{\"type\":\"{name}\",\"payload\":{payload}}}").as_bytes()).unwrap();
            assert!(command.line.starts_with(name));
            assert!(command.line.bytes().all(|b| b.is_ascii_graphic()), "{}", command.line);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(field_of("{"), "");
        assert_eq!(field_of("[]"), "");
        assert_eq!(field_of("{}"), "type");
        assert_eq!(field_of(r#"{"type": 3}"#), "type");
        assert_eq!(field_of(r#"{"type": "explode"}"#), "type");
        assert_eq!(field_of(r#"{"type": "COMMAND"}"#), "action");
        assert_eq!(field_of(r#"{"type": "COMMAND", "action": "select_card\nx"}"#), "action");
        assert_eq!(field_of(r#"{"type": "discard", "payload": 3}"#), "payload");
        for position in ["-1", "1.5", "\"3\"", "null", "10000", "1e99"] {
            let body =
                format!(r#"{{"type": "select_card", "payload": {{"position": {position}}}}}"#);
            assert_eq!(field_of(&body), "payload.position", "{position}");
        }
        assert_eq!(field_of(r#"{"type": "select_card"}"#), "payload.position");
        assert_eq!(field_of(r#"{"type": "COMMAND", "action": "select_card"}"#), "params.position");
        assert_eq!(field_of(r#"{"type": "discard", "session": 3}"#), "session");
        assert_eq!(field_of(r#"{"type": "discard", "source": 3}"#), "source");
    }

    #[test]
    fn an_empty_table_is_an_empty_list_in_lua() {
        assert_eq!(parse(br#"{"type": "discard", "payload": []}"#).unwrap().0.line, "discard");
    }
}
