//! A slow converter that shares nothing with the fast one: serde_json reads, prost-reflect writes.
//! It takes valid JSON without equal keys.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};
use serde_json::value::RawValue;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(jimbot_proto::FILE_DESCRIPTOR_SET).expect("the schema decodes")
});

type Members<'a> = HashMap<String, &'a RawValue>;

/// The descriptor of `Event`.
pub(crate) fn event_descriptor() -> MessageDescriptor {
    POOL.get_message_by_name("jimbot.events.v1.Event").expect("the schema has Event")
}

/// The event that this text stands for, without identity and findings.
pub(crate) fn convert(text: &str) -> DynamicMessage {
    let mut event = DynamicMessage::new(event_descriptor());
    let members: Members<'_> = serde_json::from_str(text).expect("an object");
    let string = |key: &str| members.get(key).and_then(|raw| text_of(raw));
    let type_key = ["type", "event_type"].into_iter().find(|key| string(key).is_some());
    let type_text = type_key.and_then(string);
    let subtype = string("subtype");
    let spec = type_text.as_ref().and_then(|text| find_spec(text, subtype.as_deref()));
    let payload_key =
        ["payload", "data", "game_state"].into_iter().find(|key| members.contains_key(*key));
    let mut is_script = type_key == Some("event_type") || payload_key == Some("game_state");
    let number = spec.map_or(1, |spec| spec.event_type as i32);
    set(&mut event, "type", Value::EnumNumber(number));
    let canonical = spec.map(|spec| spec.names[0].split_once('/').unwrap_or((spec.names[0], "")));
    if let Some(text) = &type_text
        && canonical.is_none_or(|(name, _)| name != text)
    {
        set(&mut event, "type_name", Value::String(text.clone()));
    }
    if let Some(text) = &subtype
        && canonical.is_none_or(|(_, subtype)| subtype != text)
    {
        set(&mut event, "subtype", Value::String(text.clone()));
    }
    let mut time = None;
    let mut is_text_time = false;
    for (key, raw) in &members {
        match key.as_str() {
            "type" | "event_type" if type_key == Some(key) => {}
            "subtype" if subtype.is_some() => {}
            "timestamp" => match number_of(raw) {
                Some((value, exact)) => {
                    time = Some(value);
                    if !exact {
                        carry(&mut event, key, raw);
                    }
                }
                None => match text_of(raw).and_then(|text| iso_ms(&text)) {
                    Some(ms) => {
                        (time, is_text_time, is_script) = (Some(ms), true, true);
                        if !raw.get().ends_with("Z\"") || raw.get().len() > 26 {
                            carry(&mut event, key, raw);
                        }
                    }
                    None => carry(&mut event, key, raw),
                },
            },
            key if payload_key == Some(key) => {
                let field = spec
                    .filter(|spec| spec.payload_field != 0 && !spec.internal)
                    .and_then(|spec| event.descriptor().get_field(spec.payload_field));
                match (field, raw.get().starts_with('{')) {
                    (Some(field), true) => {
                        let Kind::Message(inner) = field.kind() else { unreachable!() };
                        let message = message(&inner, raw);
                        event.set_field(&field, Value::Message(message));
                    }
                    _ => carry(&mut event, key, raw),
                }
            }
            "changes" => {
                let field = event.descriptor().get_field_by_name("changes").expect("in the schema");
                match elements(raw) {
                    Some(items) if items.iter().all(|item| item.get().starts_with('{')) => {
                        let events = items.iter().map(|item| Value::Message(convert(item.get())));
                        event.set_field(&field, Value::List(events.collect()));
                    }
                    _ => carry(&mut event, key, raw),
                }
            }
            _ => member(&mut event, key, raw),
        }
    }
    if let Some(value) = time {
        let first = type_text.as_ref().and_then(|text| text.chars().next()).unwrap_or(' ');
        let is_old_client =
            first.is_ascii_lowercase() || (type_text.is_none() && payload_key == Some("data"));
        let clock = if is_text_time || number == 24 || value >= 1e12 {
            2
        } else if is_script || is_old_client {
            3
        } else {
            1
        };
        set(&mut event, "producer_time", Value::F64(value));
        set(&mut event, "producer_clock", Value::EnumNumber(clock));
    }
    event
}

fn find_spec(name: &str, subtype: Option<&str>) -> Option<&'static jimbot_proto::EventSpec> {
    let all = || jimbot_proto::EVENT_TYPES.iter().filter(|spec| !spec.internal);
    let full = subtype.map(|subtype| format!("{name}/{subtype}"));
    all()
        .find(|spec| full.as_deref().is_some_and(|full| spec.names.contains(&full)))
        .or_else(|| all().find(|spec| spec.names.contains(&name)))
}

fn set(message: &mut DynamicMessage, name: &str, value: Value) {
    message.set_field_by_name(name, value);
}

fn carry(message: &mut DynamicMessage, key: &str, raw: &RawValue) {
    let field = message.descriptor().get_field_by_name("extra").expect("every message has extra");
    if let Some(entries) = message.get_field_mut(&field).as_map_mut() {
        entries.insert(MapKey::String(key.to_owned()), Value::String(raw.get().to_owned()));
    }
}

fn message(descriptor: &MessageDescriptor, raw: &RawValue) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let members: Members<'_> = serde_json::from_str(raw.get()).expect("an object");
    for (key, raw) in members {
        member(&mut message, &key, raw);
    }
    message
}

fn is_option(field: &FieldDescriptor, name: &str) -> bool {
    let extension = POOL.get_extension_by_name(&format!("jimbot.events.v1.{name}"));
    extension
        .is_some_and(|extension| field.options().get_extension(&extension).as_bool() == Some(true))
}

/// One member of an object: into its field, or into `extra`.
fn member(message: &mut DynamicMessage, key: &str, raw: &RawValue) {
    let descriptor = message.descriptor();
    let flat = descriptor.fields().find(|field| is_option(field, "flatten"));
    let inner = flat.as_ref().and_then(|flat| match flat.kind() {
        Kind::Message(inner) => inner.get_field_by_name(key),
        _ => None,
    });
    if let (Some(flat), Some(field)) = (flat, inner) {
        match value(&field, raw) {
            Some((value, exact)) => {
                if let Some(inner) = message.get_field_mut(&flat).as_message_mut() {
                    inner.set_field(&field, value);
                }
                if !exact {
                    carry(message, key, raw);
                }
            }
            None => carry(message, key, raw),
        }
        return;
    }
    let choice = descriptor.oneofs().find(|oneof| oneof.name() == key);
    if let Some(choice) = choice.filter(|choice| choice.fields().count() > 1) {
        let suffix = match raw.get().as_bytes()[0] {
            b'"' => "text",
            b't' | b'f' => "flag",
            b'{' => "object",
            b'[' | b'n' => "none",
            _ => "number",
        };
        let field = choice.fields().find(|field| field.name() == format!("{key}_{suffix}"));
        match field.and_then(|field| Some((value(&field, raw)?, field))) {
            Some(((value, exact), field)) => {
                message.set_field(&field, value);
                if !exact {
                    carry(message, key, raw);
                }
            }
            None => carry(message, key, raw),
        }
        return;
    }
    let field = descriptor.get_field_by_name(key).filter(|field| {
        let in_choice = field.containing_oneof().is_some_and(|oneof| oneof.fields().count() > 1);
        !in_choice && field.name() != "extra" && !is_option(field, "internal")
    });
    match field.and_then(|field| Some((value(&field, raw)?, field))) {
        Some(((value, exact), field)) => {
            let is_empty = value.as_list().is_some_and(<[_]>::is_empty);
            if !is_empty {
                message.set_field(&field, value);
            }
            if !exact {
                carry(message, key, raw);
            }
        }
        None => carry(message, key, raw),
    }
}

/// The field's value and whether it says all that the text says; nothing when it does not fit.
fn value(field: &FieldDescriptor, raw: &RawValue) -> Option<(Value, bool)> {
    if field.is_map() {
        let text =
            if raw.get().starts_with('[') && elements(raw)?.is_empty() { "{}" } else { raw.get() };
        if !text.starts_with('{') {
            return None;
        }
        let members: Members<'_> = serde_json::from_str(text).ok()?;
        let Kind::Message(entry) = field.kind() else { return None };
        let mut entries = HashMap::new();
        let mut exact = true;
        for (key, raw) in members {
            let value = match entry.map_entry_value_field().kind() {
                Kind::Message(inner) if raw.get().starts_with('{') => {
                    Value::Message(message(&inner, raw))
                }
                Kind::String if is_option(field, "json_values") => {
                    Value::String(raw.get().to_owned())
                }
                Kind::String => Value::String(text_of(raw).unwrap_or_else(|| {
                    exact = false;
                    raw.get().to_owned()
                })),
                _ => return None,
            };
            entries.insert(MapKey::String(key), value);
        }
        return Some((Value::Map(entries), exact));
    }
    if field.is_list() {
        let items: Option<Vec<Value>> =
            elements(raw)?.into_iter().map(|raw| single(field, raw).map(|found| found.0)).collect();
        return Some((Value::List(items?), true));
    }
    single(field, raw)
}

fn single(field: &FieldDescriptor, raw: &RawValue) -> Option<(Value, bool)> {
    Some(match field.kind() {
        Kind::Double => {
            let (value, exact) = number_of(raw)?;
            (Value::F64(value), exact)
        }
        Kind::String => (Value::String(text_of(raw)?), true),
        Kind::Bool => (Value::Bool(serde_json::from_str(raw.get()).ok()?), true),
        Kind::Uint64 => (Value::U64(serde_json::from_str(raw.get()).ok()?), true),
        Kind::Message(inner) if raw.get().starts_with('{') => {
            (Value::Message(message(&inner, raw)), true)
        }
        Kind::Enum(descriptor) => {
            let text = text_of(raw)?;
            if text.chars().any(|letter| letter.is_ascii_uppercase()) {
                return None;
            }
            let name = format!("{}_{}", descriptor.name().to_uppercase(), text.to_uppercase());
            let number = descriptor.values().find(|value| value.name() == name)?.number();
            if number == 0 {
                return None;
            }
            (Value::EnumNumber(number), true)
        }
        _ => return None,
    })
}

/// A list, also as `{}` and as an object with the keys "1" to "n".
fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    if raw.get().starts_with('[') {
        return serde_json::from_str(raw.get()).ok();
    }
    if !raw.get().starts_with('{') {
        return None;
    }
    let members: Members<'_> = serde_json::from_str(raw.get()).ok()?;
    (1..=members.len()).map(|index| members.get(&index.to_string()).copied()).collect()
}

fn text_of(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn number_of(raw: &RawValue) -> Option<(f64, bool)> {
    let token = raw.get();
    if !token.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    let value: f64 = token.parse().ok()?;
    Some((value, is_exact(token, value)))
}

/// Digits without zeros at the ends, and the power of ten of the last one.
fn normalised(token: &str) -> (String, i64) {
    let token = token.trim_start_matches('-');
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{decimals}");
    let stripped = digits.trim_end_matches('0');
    let power = exponent - decimals.len() as i64 + (digits.len() - stripped.len()) as i64;
    (stripped.trim_start_matches('0').to_owned(), power)
}

fn is_exact(token: &str, value: f64) -> bool {
    let (digits, power) = normalised(token);
    if digits.is_empty() {
        return true;
    }
    if value == 0.0 || value.is_infinite() {
        return false;
    }
    let is_integer = !token.contains(['.', 'e', 'E']);
    let as_integer = token.trim_start_matches('-').parse::<u64>().ok();
    digits.len() <= 15
        || (is_integer
            && as_integer.is_some_and(|whole| {
                value.abs() < 18446744073709551616.0 && value.abs() as u64 == whole
            }))
        || normalised(&format!("{value:e}")) == (digits, power)
}

/// `YYYY-MM-DDThh:mm:ss` with decimals and zone, by counting days one by one.
fn iso_ms(text: &str) -> Option<f64> {
    let (date, time) = text.split_once('T')?;
    let mut parts = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut days = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum::<u64>();
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += lengths[..month as usize - 1].iter().sum::<u64>() + day - 1;
    let clock = time.trim_end_matches('Z');
    let clock = clock.strip_suffix("+00:00").unwrap_or(clock);
    let mut parts = clock.split(':');
    let hour: f64 = parts.next()?.parse().ok()?;
    let minute: f64 = parts.next()?.parse().ok()?;
    let (second, decimals) =
        parts.next()?.split_once('.').map_or((time.get(6..8)?, ""), |found| found);
    let nanoseconds: f64 = format!("{decimals:0<9}").parse().ok()?;
    let whole =
        days as f64 * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second.parse::<f64>().ok()?;
    let milliseconds = (nanoseconds / 1e6).floor();
    Some(whole * 1_000.0 + milliseconds + (nanoseconds - milliseconds * 1e6) / 1e6)
}
