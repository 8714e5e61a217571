//! Where the next event starts in a body whose current one is broken.

use super::Converter;
use super::identity::Mode;
use super::scan::{after_space, is_space};
use super::strings::Key;

/// Where the events of a body stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// In a list, comma between them.
    List,
    /// One after another, a line each.
    Lines,
}

/// The search reads no more than this many times the body: a hostile one must not cost more.
const EFFORT: usize = 8;

impl Converter {
    /// The start of the first event behind `from` that can be read as a whole; nothing when the rest
    /// of the body has none.
    #[cold]
    pub(super) fn next_readable(
        &mut self,
        body: &[u8],
        from: usize,
        setting: Setting,
        nesting_max: u32,
    ) -> Option<usize> {
        let mut effort = body.len().saturating_mul(EFFORT).saturating_add(4096);
        let mut at = from + 1;
        while let Some(found) = body.get(at..).and_then(|rest| memchr::memchr(b'{', rest)) {
            let start = at + found;
            if starts_element(body, start, setting) {
                let (is_event, read) = self.is_event(body, start, setting, nesting_max);
                if is_event {
                    return Some(start);
                }
                effort = effort.checked_sub(read)?;
            }
            at = start + 1;
        }
        None
    }

    /// Whether a whole object with an event's keys stands here; and how far it was read to know.
    fn is_event(
        &mut self,
        body: &[u8],
        start: usize,
        setting: Setting,
        nesting_max: u32,
    ) -> (bool, usize) {
        let mode = Mode { careful: false, salvage: true };
        let mut machine = self.machine(body, start, &mut [], nesting_max, mode);
        if machine.skip_value().is_err() {
            return (false, machine.at - start);
        }
        let end = machine.at;
        let next = after_space(body, end);
        let ends_well = match setting {
            Setting::List => ends_element(body, next),
            Setting::Lines => next == body.len() || body[end..next].contains(&b'\n'),
        };
        machine.at = start + 1;
        let (mut has_type, mut has_rest) = (false, false);
        machine.space();
        while ends_well && machine.byte() == b'"' {
            let Ok(Key::Plain(key) | Key::Decoded(key)) = machine.read_key() else { break };
            match &body[key] {
                b"type" | b"event_type" => has_type = true,
                b"payload" | b"data" | b"game_state" | b"event_id" | b"timestamp" => {
                    has_rest = true
                }
                _ => {}
            }
            if machine.skip_value().is_err() {
                break;
            }
            machine.space();
            if machine.byte() == b',' {
                machine.at += 1;
                machine.space();
            }
        }
        (has_type && has_rest, end - start)
    }
}

/// Whether what stands before this brace can stand before an event.
fn starts_element(body: &[u8], brace: usize, setting: Setting) -> bool {
    let before = body[..brace].iter().rposition(|byte| !is_space(*byte));
    match (setting, before) {
        (Setting::Lines, Some(at)) => body[at..brace].contains(&b'\n'),
        (Setting::Lines, None) => true,
        // What stands behind these belongs to the broken event: a member's value, a list's first element, a
        // text. Behind anything else, a comma may be missing.
        (Setting::List, Some(at)) => !matches!(body[at], b':' | b'[' | b'{' | b'"' | b'\\'),
        (Setting::List, _) => false,
    }
}

/// Whether what stands here can follow an event of a list, were its comma not missing.
pub(super) fn ends_element(body: &[u8], at: usize) -> bool {
    matches!(body.get(at), Some(b',' | b']' | b'}' | b'{'))
}

/// Where the value at `start` ends by its braces alone; the end of the body when they never close.
#[cold]
pub(super) fn balanced_end(body: &[u8], start: usize) -> usize {
    let mut level = 0_usize;
    let mut in_string = false;
    let mut at = start;
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => level += 1,
            b'}' | b']' => {
                level = level.saturating_sub(1);
                if level == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    body.len()
}

/// The bracket of a batch's list, looked for as text.
#[cold]
pub(super) fn find_events(body: &[u8], from: usize) -> Option<usize> {
    let found = memchr::memmem::find(body.get(from..)?, b"\"events\"")?;
    let colon = after_space(body, from + found + 8);
    if body.get(colon) != Some(&b':') {
        return None;
    }
    let list = after_space(body, colon + 1);
    (body.get(list) == Some(&b'[')).then_some(list)
}
