//! Why a conversion ended early, as a value small enough for every hot function to return.

/// What stops the conversion of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes are not JSON, at the machine's position.
    Syntax(Fault),
    /// Nested deeper than the limit, at the machine's position.
    TooDeep,
    /// The output slice is full.
    NoRoom,
    /// A key came twice in one object: the event is read again with every object's keys looked at
    /// first, so that the last one wins and the earlier ones are carried.
    Duplicate,
    /// What was read as one event is a batch object.
    IsBatch,
    /// A whole event that breaks a rule which refuses it.
    Refused,
}

/// What a parser found wrong with the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    End,
    Value,
    Number,
    Literal,
    Key,
    Colon,
    CommaOrBrace,
    CommaOrBracket,
    Escape,
    Unterminated,
    Object,
    Trailing,
}

impl Fault {
    /// The reason in words, for refusals and for the events that carry what could not be read.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::End => "the text ends inside a value",
            Self::Value => "expected a value",
            Self::Number => "not a number",
            Self::Literal => "not a literal: expected true, false or null",
            Self::Key => "expected a key in quotes",
            Self::Colon => "expected ':' after a key",
            Self::CommaOrBrace => "expected ',' or '}'",
            Self::CommaOrBracket => "expected ',' or ']'",
            Self::Escape => "unknown escape in a string",
            Self::Unterminated => "a string without its closing quote",
            Self::Object => "expected an object",
            Self::Trailing => "text after the end of the value",
        }
    }
}

pub(super) type Outcome<T> = Result<T, Stop>;

/// A syntax error.
pub(super) fn syntax<T>(fault: Fault) -> Outcome<T> {
    Err(Stop::Syntax(fault))
}
