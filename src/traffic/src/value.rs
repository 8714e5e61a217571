//! The Lua-like values that events are made of before they are written as JSON.

use std::borrow::Cow;

/// A value as a game holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Any Lua number: a double, with infinities and not-a-number.
    Number(f64),
    /// `true` or `false`.
    Flag(bool),
    /// Text as bytes: games send control characters and broken UTF-8.
    Text(Cow<'static, [u8]>),
    /// An array. The mod writes an empty one as `{}`.
    List(Vec<Value>),
    /// An object with its keys in the order of construction.
    Table(Vec<(Cow<'static, str>, Value)>),
    /// Stands for the moment the event is sent, in milliseconds of the monotonic clock.
    MonotonicMs,
    /// Stands for the moment the event is sent, in whole seconds since the Unix epoch.
    UnixSeconds,
    /// JSON text that is written as it stands.
    Raw(Vec<u8>),
}

/// Builds a [`Value::Table`] from `key => value` pairs.
macro_rules! table {
    ($($key:expr => $value:expr),* $(,)?) => {
        $crate::value::Value::Table(vec![$((
            std::borrow::Cow::Borrowed($key),
            $crate::value::Value::from($value),
        )),*])
    };
}
pub(crate) use table;

impl Value {
    /// The table's entries, to add to; panics on anything else, which is a mistake of ours.
    pub(crate) fn entries(&mut self) -> &mut Vec<(Cow<'static, str>, Value)> {
        match self {
            Value::Table(entries) => entries,
            other => panic!("not a table: {other:?}"),
        }
    }

    /// Adds one key to a table.
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.entries().push((Cow::Borrowed(key), value.into()));
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Number(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Number(value as f64)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Number(f64::from(value))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Number(value as f64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Flag(value)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value::Text(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Cow::Owned(text.into_bytes()))
    }
}

impl From<Vec<Value>> for Value {
    fn from(list: Vec<Value>) -> Value {
        Value::List(list)
    }
}
