//! Writing values as JSON, the way each dialect's encoder does.

use std::borrow::Cow;

use fastrand::Rng;

use crate::clock::Clock;
use crate::number::write_number;
use crate::value::Value;

/// In which order the keys of an object are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// As the fields are listed in the contract.
    Listed,
    /// An order that looks random and is the same for all objects with the same keys, like the
    /// hash order of one Lua process.
    Constant(u64),
    /// A new order for every object.
    Random,
}

/// Which encoder writes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The mod's own encoder: an empty list is `{}`, scalars in arrays become strings that are
    /// not escaped, an array in an array becomes an object with keys `"1"`, `"2"`.
    Lua,
    /// Strict JSON with Python's spacing.
    Python,
}

/// Writes values for one game.
pub(crate) struct Encoder {
    pub(crate) style: Style,
    pub(crate) order: KeyOrder,
    rng: Rng,
}

impl Encoder {
    pub(crate) fn new(style: Style, order: KeyOrder, seed: u64) -> Encoder {
        Encoder { style, order, rng: Rng::with_seed(seed) }
    }

    /// Appends `value` as JSON, with `clock` in the places that stand for the present moment.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, value: &Value, clock: Clock) {
        match value {
            Value::Number(number) => self.number(out, *number),
            Value::MonotonicMs => self.number(out, clock.monotonic_ms),
            Value::UnixSeconds => self.number(out, (clock.unix_ms / 1000.0).floor()),
            Value::Flag(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
            Value::Text(text) => self.text(out, text),
            Value::Raw(raw) => out.extend_from_slice(raw),
            Value::List(items) => self.list(out, items, clock),
            Value::Table(entries) => self.table(out, entries, clock),
        }
    }

    fn number(&self, out: &mut Vec<u8>, number: f64) {
        match self.style {
            Style::Lua => write_number(out, number),
            // Python writes whole floats of ours as integers; both forms occur in the field.
            Style::Python => out.extend_from_slice(format!("{number}").as_bytes()),
        }
    }

    fn text(&self, out: &mut Vec<u8>, text: &[u8]) {
        out.push(b'"');
        for &byte in text {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'"' => out.extend_from_slice(b"\\\""),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                // The mod leaves every other control character as it is.
                0..=0x1f if self.style == Style::Python => {
                    out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                }
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }

    fn list(&mut self, out: &mut Vec<u8>, items: &[Value], clock: Clock) {
        if items.is_empty() && self.style == Style::Lua {
            out.extend_from_slice(b"{}");
            return;
        }
        out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.comma(out);
            }
            match (self.style, item) {
                (Style::Lua, Value::List(inner)) => {
                    let numbered: Vec<_> = inner
                        .iter()
                        .enumerate()
                        .map(|(position, value)| {
                            (Cow::Owned((position + 1).to_string()), value.clone())
                        })
                        .collect();
                    self.table(out, &numbered, clock);
                }
                (Style::Lua, Value::Text(text)) => {
                    out.push(b'"');
                    out.extend_from_slice(text);
                    out.push(b'"');
                }
                (Style::Lua, scalar) if !matches!(scalar, Value::Table(_) | Value::Raw(_)) => {
                    out.push(b'"');
                    self.write(out, scalar, clock);
                    out.push(b'"');
                }
                _ => self.write(out, item, clock),
            }
        }
        out.push(b']');
    }

    fn table(&mut self, out: &mut Vec<u8>, entries: &[(Cow<'static, str>, Value)], clock: Clock) {
        out.push(b'{');
        let mut order: Vec<usize> = (0..entries.len()).collect();
        match self.order {
            KeyOrder::Listed => {}
            KeyOrder::Constant(seed) => order.sort_by_key(|&at| key_rank(&entries[at].0, seed)),
            KeyOrder::Random => self.rng.shuffle(&mut order),
        }
        for (index, &at) in order.iter().enumerate() {
            if index > 0 {
                self.comma(out);
            }
            let (key, value) = &entries[at];
            out.push(b'"');
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(if self.style == Style::Lua { b"\":" } else { b"\": " });
            self.write(out, value, clock);
        }
        out.push(b'}');
    }

    fn comma(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.style == Style::Lua { b"," } else { b", " });
    }
}

/// FNV-1a over the key, started from the seed: only has to be constant and look random.
fn key_rank(key: &str, seed: u64) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::table;

    fn encode(style: Style, value: &Value) -> String {
        let mut out = Vec::new();
        Encoder::new(style, KeyOrder::Listed, 1).write(&mut out, value, Clock::EXAMPLE);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_mods_encoder_has_its_oddities() {
        let value = table! {
            "empty" => vec![],
            "mixed" => vec![Value::from(1.0), Value::from(2.5), Value::from(true), Value::from("a\"b")],
            "nested" => vec![Value::from(vec![Value::from(7.0)])],
            "text" => "tab\there \u{1}",
        };
        assert_eq!(
            encode(Style::Lua, &value),
            "{\"empty\":{},\"mixed\":[\"1\",\"2.5\",\"true\",\"a\"b\"],\"nested\":[{\"1\":7}],\"text\":\"tab\\there \u{1}\"}"
        );
    }

    #[test]
    fn the_scripts_encoder_is_strict() {
        let value = table! { "list" => vec![], "text" => "\u{1}", "score" => 1e20, "n" => 3.0 };
        let text = encode(Style::Python, &value);
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["list"], serde_json::json!([]));
        assert_eq!(parsed["n"], 3);
    }

    #[test]
    fn a_constant_order_is_the_same_for_every_object_with_the_same_keys() {
        let value = table! { "a" => 1.0, "b" => 2.0, "c" => 3.0, "d" => 4.0, "e" => 5.0 };
        let mut encoder = Encoder::new(Style::Lua, KeyOrder::Constant(9), 1);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        encoder.write(&mut first, &value, Clock::EXAMPLE);
        encoder.write(&mut second, &value, Clock::EXAMPLE);
        assert_eq!(first, second);
        assert_ne!(first, encode(Style::Lua, &value).into_bytes());
    }
}
