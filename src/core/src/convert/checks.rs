//! The schema's rules, on each value as it is converted, and what the service wants to know of some.

use super::machine::{FindingAt, Machine};
use super::scan::{Chunk, graphic_bits, load16};
use super::tables::{FORMAT_GRAPHIC, Field, RULES, Rule};
use std::ops::Range;

/// A severity that is only counted.
pub(super) const NOTE: u8 = 1;
/// Findings kept of one event; a message of wrong values does not become a longer one.
pub(super) const FINDINGS_MAX: usize = 256;

impl Machine<'_> {
    /// Checks a number against its field's rule.
    #[inline]
    pub(super) fn check_number(&mut self, field: &'static Field, value: f64, at: usize) {
        let rule = &RULES[usize::from(field.rule)];
        if let Some(reason) = number_fault(rule, value) {
            self.finding(rule.severity, reason, at);
        }
    }

    /// Checks a text, which stands at `range` of the output, against its field's rule.
    #[inline(never)]
    pub(super) fn check_text(&mut self, field: &'static Field, range: Range<usize>, at: usize) {
        let rule = &RULES[usize::from(field.rule)];
        if rule.is_length && range.len() <= rule.max_bytes as usize && field.role == 0 {
            return;
        }
        self.check_text_whole(field, range, at);
    }

    /// The same for a short text that is not the one that passed last; `text` is what is remembered
    /// when this one does.
    #[inline(never)]
    pub(super) fn check_short_text(
        &mut self,
        field: &'static Field,
        slot: usize,
        text: Chunk,
        at: usize,
        range: Range<usize>,
    ) {
        if self.check_text_whole(field, range, at) {
            self.memory.seat(slot).passed = text;
        }
    }

    /// True when the text passes and says nothing of the event.
    fn check_text_whole(&mut self, field: &'static Field, range: Range<usize>, at: usize) -> bool {
        let rule = &RULES[usize::from(field.rule)];
        let fault = text_fault(rule, &self.out[range.clone()]);
        if let Some(reason) = fault {
            self.finding(rule.severity, reason, at);
        }
        if field.role != 0 {
            self.note_role(field.role, range);
        }
        fault.is_none() && field.role == 0
    }

    /// Remembers where the texts are that identify event, game and producer.
    fn note_role(&mut self, role: u8, range: Range<usize>) {
        if self.nested == 0 {
            self.facts.note(role, range);
        }
    }

    #[cold]
    pub(super) fn finding(&mut self, severity: u8, reason: &'static str, at: usize) {
        if severity <= NOTE {
            self.noted += 1;
        } else if self.findings.len() < FINDINGS_MAX {
            self.findings.push(FindingAt { at, severity, reason });
        }
    }
}

/// How a number breaks a rule.
#[inline]
pub(super) fn number_fault(rule: &Rule, value: f64) -> Option<&'static str> {
    if rule.has_bound && (value < rule.min || value.is_nan()) {
        Some("less than the least value allowed")
    } else if rule.has_bound && value > rule.max {
        Some("more than the greatest value allowed")
    } else if rule.finite && !value.is_finite() {
        Some("not finite")
    } else if rule.integer && value.fract() != 0.0 {
        Some("not a whole number")
    } else {
        None
    }
}

/// How a text breaks a rule.
#[inline]
pub(super) fn text_fault(rule: &Rule, text: &[u8]) -> Option<&'static str> {
    if text.len() > rule.max_bytes as usize {
        Some("longer than allowed")
    } else if !rule.one_of.is_empty() && !is_one_of(text, rule.one_of) {
        Some("not one of the known values")
    } else if rule.format != 0 && !has_format(text, rule.format) {
        Some("not of the expected form")
    } else {
        None
    }
}

#[inline]
fn is_one_of(text: &[u8], allowed: &[&str]) -> bool {
    allowed.iter().any(|word| {
        word.as_bytes() == text
            || word.strip_suffix('*').is_some_and(|start| text.starts_with(start.as_bytes()))
    })
}

/// `format` as in the schema's `Format`.
fn has_format(text: &[u8], format: u8) -> bool {
    match format {
        FORMAT_GRAPHIC => !text.is_empty() && is_graphic(text),
        2 => {
            text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
                && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        }
        3 => is_traceparent(text),
        4 => !text.is_empty() && text.iter().all(|byte| is_hex(*byte)),
        _ => true,
    }
}

/// Whether all bytes are ASCII from `!` to `~`; sixteen at a time, the last sixteen again.
fn is_graphic(text: &[u8]) -> bool {
    if text.len() < 16 {
        return text.iter().all(u8::is_ascii_graphic);
    }
    let last = text.len() - 16;
    (0..text.len() / 16).fold(graphic_bits(load16(text, last)), |all, index| {
        all & graphic_bits(load16(text, index * 16))
    }) == 0xFFFF
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_traceparent(text: &[u8]) -> bool {
    text.len() >= 55
        && (text.len() == 55 || (text[55] == b'-' && &text[..2] != b"00"))
        && text[..55].iter().enumerate().all(|(index, byte)| match index {
            2 | 35 | 52 => *byte == b'-',
            _ => is_hex(*byte),
        })
}
