//! Values of every kind, where the short way through an object does not take them.

use super::machine::Machine;
use super::scan::Place;
use super::stop::Outcome;
use super::tables::{CHOICES, ENUMS, Field, Kind};

impl Machine<'_> {
    /// Converts the value at the position; false when the field can't hold it. What was written
    /// then is the caller's to take back.
    #[inline(never)]
    pub(super) fn value(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        match field.kind {
            Kind::Double => {
                let at = self.at;
                if !matches!(self.byte(), b'0'..=b'9' | b'-') && !self.at_number_word() {
                    return Ok(false);
                }
                let value = self.number()?;
                self.put_fixed(field.tag(), value.to_bits())?;
                if field.rule != 0 {
                    self.check_number(field, value, at);
                }
                Ok(true)
            }
            Kind::Text => {
                if self.byte() != b'"' {
                    return Ok(false);
                }
                let at = self.at;
                self.at += 1;
                let range = self.text(field.tag(), Place::Member, slot)?;
                if field.rule != 0 {
                    self.check_text(field, range, at);
                }
                Ok(true)
            }
            Kind::Message => {
                if self.byte() != b'{' {
                    return Ok(false);
                }
                self.message(field.tag(), usize::from(field.sub), slot)?;
                Ok(true)
            }
            Kind::MessageList
            | Kind::Changes
            | Kind::TextList
            | Kind::DoubleList
            | Kind::BoolList => self.list(field, slot),
            Kind::Choice => self.choice(field, slot),
            Kind::Bool => match self.flag()? {
                Some(value) => self.put_bool(field.tag(), value).map(|()| true),
                None => Ok(false),
            },
            Kind::Type | Kind::Subtype | Kind::Timestamp | Kind::Payload | Kind::Events => {
                self.envelope_value(field, slot)
            }
            _ => self.value_rare(field, slot),
        }
    }

    /// Whether a number's word stands here (and not `null`).
    #[inline(always)]
    fn at_number_word(&self) -> bool {
        match self.byte() {
            b'i' | b'I' | b'N' => true,
            b'n' => self.byte_at(self.at + 1) == b'a',
            _ => false,
        }
    }

    /// Whether a number starts here.
    pub(super) fn at_number(&self) -> bool {
        matches!(self.byte(), b'0'..=b'9' | b'-') || self.at_number_word()
    }

    pub(super) fn flag(&mut self) -> Outcome<Option<bool>> {
        match self.byte() {
            b't' => self.literal(b"true").map(|()| Some(true)),
            b'f' => self.literal(b"false").map(|()| Some(false)),
            _ => Ok(None),
        }
    }

    #[inline(always)]
    fn choice(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        let choice = &CHOICES[usize::from(field.sub)];
        let at = self.at;
        match self.byte() {
            b'"' if choice.text.1 != 0 => {
                self.at += 1;
                let range = self.text(choice.text, Place::Member, slot)?;
                if field.rule != 0 {
                    self.check_text(field, range, at);
                }
                Ok(true)
            }
            b'{' if choice.object.1 != 0 => {
                self.message(choice.object, choice.table, slot)?;
                Ok(true)
            }
            b't' | b'f' if choice.flag.1 != 0 => {
                let value = self.flag()?.unwrap_or_default();
                self.put_bool(choice.flag, value)?;
                Ok(true)
            }
            _ if choice.number.1 != 0 && self.at_number() => {
                let value = self.number()?;
                self.put_fixed(choice.number, value.to_bits())?;
                if field.rule != 0 {
                    self.check_number(field, value, at);
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    #[inline(never)]
    fn value_rare(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        match field.kind {
            Kind::MessageMap | Kind::TextMap | Kind::JsonMap | Kind::DoubleMap => {
                self.map(field, slot)
            }
            Kind::Enum => self.enumeration(field),
            Kind::Unsigned64 => self.whole(field, u64::MAX, false),
            Kind::Unsigned32 => self.whole(field, u64::from(u32::MAX), false),
            Kind::Signed64 => self.whole(field, i64::MAX as u64, true),
            Kind::Signed32 => self.whole(field, i32::MAX as u64, true),
            _ => Ok(false),
        }
    }

    /// An enum's value by its short name in lower case.
    fn enumeration(&mut self, field: &'static Field) -> Outcome<bool> {
        if self.byte() != b'"' {
            return Ok(false);
        }
        self.at += 1;
        let start = self.at;
        let end = self.skip_string(Place::Member)?;
        let text = &self.input[start..end];
        let names = ENUMS[usize::from(field.sub)];
        let Some((_, number)) = names.iter().find(|(name, _)| name.as_bytes() == text) else {
            return Ok(false);
        };
        if field.name == "priority" && self.nested == 0 {
            self.facts.priority = *number as u8;
        }
        self.put_varint(field.tag(), u64::from(*number))?;
        Ok(true)
    }

    /// An integer field takes only tokens that are integers within its range.
    fn whole(&mut self, field: &'static Field, max: u64, signed: bool) -> Outcome<bool> {
        let start = self.at;
        if !self.at_number() {
            return Ok(false);
        }
        self.number()?;
        self.inexact = false;
        let token = &self.input[start..self.at];
        let (negative, digits) = match token.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, token),
        };
        let value = digits.iter().try_fold(0_u64, |value, digit| {
            let digit = u64::from(digit.wrapping_sub(b'0'));
            if digit > 9 { None } else { value.checked_mul(10)?.checked_add(digit) }
        });
        let Some(value) = value.filter(|value| *value <= max && (signed || !negative)) else {
            return Ok(false);
        };
        if field.name == "producer_sequence" && self.nested == 0 {
            self.facts.producer_sequence = value;
            self.facts.has_producer_sequence = true;
        }
        let value = if negative { (value as i64).wrapping_neg() as u64 } else { value };
        self.put_varint(field.tag(), value)?;
        Ok(true)
    }
}
