//! The schema's rules, on each value as it is converted, and what the service wants to know of some.

use super::machine::{FindingAt, Machine};
use super::scan::load8;
use super::tables::{Field, RULES};
use std::ops::Range;

/// A severity that is only counted.
const NOTE: u8 = 1;
/// Findings kept of one event; a message of wrong values does not become a longer one.
const FINDINGS_MAX: usize = 256;

impl Machine<'_> {
    /// Checks a number against its field's rule.
    #[inline]
    pub(super) fn check_number(&mut self, field: &'static Field, value: f64, at: usize) {
        let rule = &RULES[usize::from(field.rule)];
        let reason = if rule.has_bound && (value < rule.min || value.is_nan()) {
            "less than the least value allowed"
        } else if rule.has_bound && value > rule.max {
            "more than the greatest value allowed"
        } else if rule.finite && !value.is_finite() {
            "not finite"
        } else if rule.integer && value.fract() != 0.0 {
            "not a whole number"
        } else {
            return;
        };
        self.finding(rule.severity, reason, at);
    }

    /// Checks a text, which stands at `range` of the output, against its field's rule.
    #[inline(always)]
    pub(super) fn check_text(
        &mut self,
        field: &'static Field,
        range: Range<usize>,
        at: usize,
        slot: usize,
    ) {
        let rule = &RULES[usize::from(field.rule)];
        if rule.is_length && range.len() <= rule.max_bytes as usize && field.role == 0 {
            return;
        }
        let short = short_text(self.out, &range);
        if short != 0 && short == self.memory.passed[slot] {
            return;
        }
        if self.check_text_whole(field, range, at) {
            self.memory.passed[slot] = short;
        }
    }

    /// The same without looking at what passed last; true when the text passes and only that counts.
    #[inline(never)]
    fn check_text_whole(&mut self, field: &'static Field, range: Range<usize>, at: usize) -> bool {
        let rule = &RULES[usize::from(field.rule)];
        let text = &self.out[range.clone()];
        let reason = if text.len() > rule.max_bytes as usize {
            "longer than allowed"
        } else if !rule.one_of.is_empty() && !is_one_of(text, rule.one_of) {
            "not one of the known values"
        } else if rule.format != 0 && !has_format(text, rule.format) {
            "not of the expected form"
        } else {
            ""
        };
        if !reason.is_empty() {
            self.finding(rule.severity, reason, at);
        }
        if field.role != 0 {
            self.note_role(field.role, range);
        }
        reason.is_empty() && field.role == 0
    }

    /// Remembers where the texts are that identify event, game and producer.
    fn note_role(&mut self, role: u8, range: Range<usize>) {
        if self.nested > 0 {
            return;
        }
        match role {
            1 => self.facts.event_id = range,
            2 => self.facts.game_id = range,
            3 => self.facts.producer = range,
            _ => self.facts.own_game_id = range,
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

/// A text of up to seven bytes as one word; 0 for any other.
#[inline(always)]
fn short_text(out: &[u8], range: &Range<usize>) -> u64 {
    let len = range.len();
    if len > 7 {
        return 0;
    }
    let word = load8(out, range.start);
    // The length stands in the last byte, so that no two texts share a word.
    word & ((1 << (8 * len)) - 1) | (len as u64 + 1) << 56
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
        1 => !text.is_empty() && is_graphic(text),
        2 => {
            text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
                && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        }
        3 => is_traceparent(text),
        4 => !text.is_empty() && text.iter().all(|byte| is_hex(*byte)),
        _ => true,
    }
}

/// Whether all bytes are ASCII from `!` to `~`; eight at a time, the last eight again.
fn is_graphic(text: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    if text.len() < 8 {
        return text.iter().all(u8::is_ascii_graphic);
    }
    // With the high bit clear, adding cannot carry over: bit 7 of the first sum says `!` or more,
    // of the second that it was DEL.
    let others = |at: usize| {
        let word = load8(text, at);
        let low = word & (EACH * 0x7F);
        (word | !(low + EACH * 0x5F) | (low + EACH)) & (EACH * 0x80)
    };
    (0..text.len() / 8).fold(others(text.len() - 8), |all, index| all | others(index * 8)) == 0
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
