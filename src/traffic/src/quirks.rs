//! The faults of real games, switchable one by one.

use std::borrow::Cow;

use fastrand::Rng;

use crate::value::{Value, table};

/// How often events are odd, and in which ways.
#[derive(Clone, Debug)]
pub struct Quirks {
    /// Share of events that are odd, from 0 to 1.
    pub share: f64,
    /// The ways to choose from.
    pub kinds: Vec<Oddity>,
}

impl Quirks {
    /// A game without faults.
    pub fn none() -> Quirks {
        Quirks { share: 0.0, kinds: Vec::new() }
    }

    /// Every fault that games have, in one event of five: the worst session seen in the field.
    /// (A text that ends before its event does is a fault of lines, not of games.)
    pub fn field() -> Quirks {
        let kinds = Oddity::ALL.iter().copied().filter(|&it| it != Oddity::Truncated).collect();
        Quirks { share: 0.2, kinds }
    }

    /// Faults that leave the event readable, so that its id can be found again.
    pub fn readable(share: f64) -> Quirks {
        let kinds = Oddity::ALL.iter().copied().filter(|oddity| oddity.readable()).collect();
        Quirks { share, kinds }
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> Option<Oddity> {
        (self.share > 0.0 && !self.kinds.is_empty() && rng.f64() < self.share)
            .then(|| self.kinds[rng.usize(..self.kinds.len())])
    }
}

/// One way in which an event is not what the contract calls usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Bare `inf`, `-inf`, `nan` and `-nan` where numbers stand.
    NotFinite,
    /// Numbers near the ends of what a double holds.
    HugeNumber,
    /// Control characters as raw bytes in a string.
    ControlCharacter,
    /// Bytes in a string that are not UTF-8.
    BrokenUtf8,
    /// An array of scalars: all of them arrive as strings, unescaped.
    ScalarArray,
    /// A quote in an array string or a key, which makes the event unreadable.
    UnescapedQuote,
    /// A type nobody has heard of.
    UnknownType,
    /// A field nobody has heard of, nested.
    UnknownField,
    /// A field that has another type than usual.
    OtherType,
    /// One field of the envelope is missing.
    MissingField,
    /// The same key twice in one object.
    DuplicateKey,
    /// The text ends before the event does.
    Truncated,
}

impl Oddity {
    /// All of them.
    pub const ALL: [Oddity; 12] = [
        Oddity::NotFinite,
        Oddity::HugeNumber,
        Oddity::ControlCharacter,
        Oddity::BrokenUtf8,
        Oddity::ScalarArray,
        Oddity::UnescapedQuote,
        Oddity::UnknownType,
        Oddity::UnknownField,
        Oddity::OtherType,
        Oddity::MissingField,
        Oddity::DuplicateKey,
        Oddity::Truncated,
    ];

    /// Whether a tolerant parser can still read the event's envelope.
    pub fn readable(self) -> bool {
        !matches!(self, Oddity::UnescapedQuote | Oddity::Truncated)
    }

    /// Changes the event before it is written.
    pub(crate) fn bend(self, envelope: &mut Value, rng: &mut Rng) {
        match self {
            Oddity::NotFinite => {
                let number =
                    [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN][rng.usize(..4)];
                payload(envelope).set("chips_gained", number);
            }
            Oddity::HugeNumber => {
                let number = [1e308, 5e-324, -0.0, 1.234_567_890_123_45e17][rng.usize(..4)];
                payload(envelope).set("chips_gained", number);
            }
            Oddity::ControlCharacter => {
                payload(envelope).set("note", Value::Text(Cow::Borrowed(b"a\x00b\x1bc\x7f")));
            }
            Oddity::BrokenUtf8 => {
                payload(envelope)
                    .set("note", Value::Text(Cow::Borrowed(b"Caf\xe9 \xff\xed\xa0\x80")));
            }
            Oddity::ScalarArray => payload(envelope).set(
                "tags",
                vec![1.0.into(), 2.5.into(), true.into(), vec![Value::from(3.0)].into()],
            ),
            Oddity::UnescapedQuote => {
                payload(envelope).set("tags", vec![Value::from("the \"big\" one")]);
            }
            Oddity::UnknownType => replace(envelope, &["type", "event_type"], "VOUCHER_REDEEMED"),
            Oddity::UnknownField => {
                envelope.set("mod_list", table! { "Cryptid" => table! { "version" => "0.5.1" } });
                payload(envelope).set("stickers", vec![table! { "eternal" => true }]);
            }
            Oddity::OtherType => {
                let other =
                    [Value::from("1"), true.into(), vec![].into(), Value::Raw(b"null".to_vec())]
                        [rng.usize(..4)]
                    .clone();
                replace(envelope, &["version", "game_id", "source"], other);
            }
            Oddity::MissingField => {
                let entries = envelope.entries();
                let at = rng.usize(..entries.len());
                // Without these the other dialects are refused, and that is another oddity.
                if !["type", "event_type", "timestamp", "game_id", "payload", "data", "game_state"]
                    .contains(&entries[at].0.as_ref())
                {
                    entries.remove(at);
                }
            }
            Oddity::DuplicateKey => {
                let payload = payload(envelope);
                payload.set("note", "first");
                payload.set("note", "second");
            }
            Oddity::Truncated => {}
        }
    }

    /// Changes the text after it was written.
    pub(crate) fn spoil(self, json: &mut Vec<u8>, rng: &mut Rng) {
        if self == Oddity::Truncated {
            json.truncate(rng.usize(1..json.len()));
        }
    }
}

fn payload(envelope: &mut Value) -> &mut Value {
    let entries = envelope.entries();
    let at = entries
        .iter()
        .position(|(key, _)| ["payload", "data", "game_state"].contains(&key.as_ref()))
        .expect("every envelope has a payload");
    &mut entries[at].1
}

fn replace(envelope: &mut Value, keys: &[&str], value: impl Into<Value>) {
    if let Some(entry) = envelope.entries().iter_mut().find(|(key, _)| keys.contains(&key.as_ref()))
    {
        entry.1 = value.into();
    }
}
