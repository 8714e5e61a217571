//! The envelope: type, time and payload, in any order and in three dialects.

use super::encode::Open;
use super::machine::{Envelope, Machine, Payload};
use super::paths::Paths;
use super::scan::Place;
use super::stop::{Fault, Outcome, Stop};
use super::strings::{Key, raw_bytes};
use super::tables::{EVENT, Field, KINDS, Kind, TABLES, TypeName, find_type, kind_of};
use super::time_text::parse_iso8601;
use super::{CLOCK_MONOTONIC_MS, CLOCK_UNIX_MS, CLOCK_UNIX_SECONDS, Dialect};
use std::ops::Range;

/// `EventType` numbers that the converter itself gives.
pub(super) const TYPE_UNKNOWN: u16 = 1;
pub(super) const TYPE_CONNECTION_TEST: u16 = 24;
pub(super) const TYPE_UNREADABLE: u16 = 65;
pub(super) const TYPE_TRUNCATED: u16 = 66;

/// Fields of `Event` that the converter writes without a JSON key of their own.
const TAG_TYPE: (u32, u8) = (0x18, 1);
const TAG_TIME: (u32, u8) = (0x29, 1);
const TAG_CLOCK: (u32, u8) = (0x30, 1);
const TAG_TYPE_NAME: (u32, u8) = (0x01_8A, 2);
const TAG_SUBTYPE: (u32, u8) = (0x01_92, 2);
const TAG_RAW_TEXT: (u32, u8) = (0x01_EA, 2);
const TAG_FINDING: (u32, u8) = (0x01_F2, 2);
const TAG_FIRST: (u32, u8) = (0x0A, 1);
const TAG_SECOND: (u32, u8) = (0x12, 1);
const TAG_SEVERITY: (u32, u8) = (0x10, 1);
const TAG_REASON: (u32, u8) = (0x1A, 1);

/// Epoch milliseconds passed this in 2001, a computer's uptime in milliseconds will after 31 years,
/// epoch seconds in the year 33658: what lies past it can only be epoch milliseconds.
const SURELY_UNIX_MS: f64 = 1e12;

/// Findings listed in one event; further ones only set its flag.
pub(super) const FINDINGS_LISTED_MAX: usize = 32;

/// What the text between the quotes of a type names.
#[inline]
fn type_name(text: &[u8]) -> Option<&'static TypeName> {
    // No name has a backslash in it.
    find_type(text).or_else(|| {
        let mut bytes = Vec::new();
        if text.contains(&b'\\') {
            raw_bytes(text, &mut bytes);
        }
        find_type(&bytes)
    })
}

impl Machine<'_> {
    /// Converts the event whose brace is at the position; its message is open.
    pub(super) fn event(&mut self) -> Outcome<()> {
        if self.byte() != b'{' {
            return self.fault(Fault::Object);
        }
        self.envelope = Envelope::default();
        self.object(&TABLES[EVENT])?;
        self.envelope.keys = self.fitted;
        self.finish_event()
    }

    /// A value of the envelope that no single field stands for.
    pub(super) fn envelope_value(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        match field.kind {
            Kind::Type => {
                if self.byte() != b'"' {
                    return Ok(false);
                }
                self.at += 1;
                let start = self.at;
                let end = self.skip_string(Place::Member)?;
                self.envelope.type_text = Some(start..end);
                self.envelope.type_name = type_name(&self.input[start..end]);
                self.envelope.is_script |= field.name != "type";
                Ok(true)
            }
            Kind::Subtype => {
                if self.byte() != b'"' {
                    return Ok(false);
                }
                self.at += 1;
                let start = self.at;
                let end = self.skip_string(Place::Member)?;
                self.envelope.subtype = Some(start..end);
                Ok(true)
            }
            Kind::Timestamp => self.timestamp(),
            Kind::Payload => {
                self.envelope.is_script |= field.name == "game_state";
                self.envelope.is_data |= field.name == "data";
                self.payload(slot)
            }
            Kind::Events => {
                // A batch has no type of its own; an event may have a field of any name.
                if self.envelope.type_text.is_none()
                    && self.nested == 0
                    && matches!(self.byte(), b'[' | b'{')
                {
                    return Err(Stop::IsBatch);
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn timestamp(&mut self) -> Outcome<bool> {
        if self.at_number() {
            let value = self.number()?;
            self.envelope.time = Some(value);
            return Ok(true);
        }
        if self.byte() != b'"' {
            return Ok(false);
        }
        self.at += 1;
        let start = self.at;
        let end = self.skip_string(Place::Member)?;
        let Some(time) = parse_iso8601(&self.input[start..end]) else { return Ok(false) };
        self.envelope.time = Some(time.unix_ms);
        self.envelope.is_iso = true;
        self.envelope.is_script = true;
        // A text that says more than the number does is carried too.
        self.inexact = !time.is_exact;
        Ok(true)
    }

    /// The index into `KINDS` for what is known of type and subtype.
    fn kind(&mut self) -> Option<usize> {
        let input = self.input;
        let known = self.envelope.type_name?;
        if !known.subtypes.is_empty()
            && let Some(subtype) = self.envelope.subtype.clone()
        {
            let subtype = &input[subtype];
            if let Some(found) = known.subtypes.iter().find(|(name, _)| name.as_bytes() == subtype)
            {
                return Some(found.1);
            }
        }
        Some(known.kind)
    }

    fn payload(&mut self, slot: usize) -> Outcome<bool> {
        let field = slot - TABLES[EVENT].base - 1;
        let value_at = self.at;
        let raw = self.raw.len();
        let findings = self.findings.len();
        let start = self.pos;
        let is_object = self.byte() == b'{';
        let kind = match self.envelope.type_text {
            Some(_) => self.kind(),
            // Its type comes later: taken to be what the last such one was, and read again if not.
            None => Some(self.memory.guess),
        };
        let readable = is_object.then_some(kind).flatten().filter(|kind| KINDS[*kind].tag.1 != 0);
        match readable {
            Some(kind) => {
                self.message(KINDS[kind].tag, KINDS[kind].table, slot)?;
            }
            None if self.envelope.type_text.is_some() => return Ok(false),
            None => {
                self.place = Place::Member;
                self.skip_value()?;
                self.inexact = false;
            }
        }
        self.envelope.payload = Some(Payload {
            value_at,
            out: start..self.pos,
            kind: readable,
            field,
            raw: raw..self.raw.len(),
            findings: findings..self.findings.len(),
        });
        Ok(true)
    }

    /// Writes what is only known when the whole envelope was read.
    fn finish_event(&mut self) -> Outcome<()> {
        let kind = self.kind();
        self.settle_payload(kind)?;
        let input = self.input;
        let number = kind.map_or(TYPE_UNKNOWN, |kind| KINDS[kind].number);
        self.put_varint(TAG_TYPE, u64::from(number))?;
        if let Some(text) = self.envelope.type_text.clone()
            && kind.is_none_or(|kind| KINDS[kind].name.as_bytes() != &input[text.clone()])
        {
            self.decoded_text(TAG_TYPE_NAME, text)?;
        }
        if let Some(text) = self.envelope.subtype.clone()
            && kind.is_none_or(|kind| KINDS[kind].subtype.as_bytes() != &input[text.clone()])
        {
            self.decoded_text(TAG_SUBTYPE, text)?;
        }
        let dialect = self.dialect(number);
        let clock = match self.envelope.time {
            None => 0,
            Some(time) => {
                let clock = self.clock(dialect, number, time);
                self.put_fixed(TAG_TIME, time.to_bits())?;
                self.put_varint(TAG_CLOCK, u64::from(clock))?;
                clock
            }
        };
        if self.nested == 0 {
            let unknown = kind_of(TYPE_UNKNOWN);
            let facts = &mut self.facts;
            facts.kind = kind.unwrap_or(unknown);
            facts.is_unknown = kind.is_none();
            facts.dialect = dialect as u8;
            facts.clock = clock;
            facts.time = self.envelope.time;
            if facts.priority == 0 {
                facts.priority = KINDS[facts.kind].priority;
            }
        }
        Ok(())
    }

    /// Sees to it that the payload was read by its own type's table.
    fn settle_payload(&mut self, kind: Option<usize>) -> Outcome<()> {
        let Some(payload) = self.envelope.payload.clone() else { return Ok(()) };
        let wanted = kind.filter(|kind| KINDS[*kind].tag.1 != 0);
        let is_object = self.byte_at(payload.value_at) == b'{';
        let same = match (payload.kind, wanted) {
            (Some(read), Some(wanted)) => KINDS[read].tag == KINDS[wanted].tag,
            _ => false,
        };
        if same {
            return Ok(());
        }
        if let Some(kind) = wanted {
            self.memory.guess = kind;
        }
        self.take_back(&payload);
        let end = self.at;
        self.at = payload.value_at;
        match wanted {
            Some(kind) if is_object => {
                let slot = TABLES[EVENT].base + 1 + payload.field;
                self.message(KINDS[kind].tag, KINDS[kind].table, slot)?;
            }
            _ => self.carry(&Key::Static(TABLES[EVENT].fields[payload.field].name))?,
        }
        self.at = end;
        Ok(())
    }

    /// Removes a payload that was read by the wrong table, and what was noted about it.
    fn take_back(&mut self, payload: &Payload) {
        let len = payload.out.len();
        self.out.copy_within(payload.out.end..self.pos, payload.out.start);
        self.pos -= len;
        if self.facts.own_game_id.start >= payload.out.start
            && self.facts.own_game_id.end <= payload.out.end
        {
            self.facts.own_game_id = 0..0;
        }
        self.moved(payload.out.end, -(len as isize));
        self.raw.drain(payload.raw.clone());
        self.findings.drain(payload.findings.clone());
    }

    /// Text of the input between two quotes, escapes undone.
    fn decoded_text(&mut self, tag: (u32, u8), range: Range<usize>) -> Outcome<()> {
        let open = self.open(tag, 1)?;
        if self.decode(range.clone())? {
            self.raw_at(range.start, range.end);
        }
        self.close(open).map(|_| ())
    }

    fn dialect(&self, number: u16) -> Dialect {
        let envelope = &self.envelope;
        let first = envelope.type_text.as_ref().map_or(0, |text| self.byte_at(text.start));
        if envelope.is_script {
            Dialect::Script
        } else if number == TYPE_CONNECTION_TEST {
            Dialect::Mod
        } else if first.is_ascii_lowercase() || (first == 0 && envelope.is_data) {
            Dialect::WebSocket
        } else {
            Dialect::Mod
        }
    }

    /// What the time counts. A number can't tell: the dialect does.
    fn clock(&self, dialect: Dialect, number: u16, time: f64) -> u8 {
        if self.envelope.is_iso || number == TYPE_CONNECTION_TEST || time >= SURELY_UNIX_MS {
            CLOCK_UNIX_MS
        } else if dialect == Dialect::Mod {
            CLOCK_MONOTONIC_MS
        } else {
            CLOCK_UNIX_SECONDS
        }
    }

    /// Writes the original bytes of repaired texts, and the findings, each with its path.
    #[cold]
    #[inline(never)]
    pub(super) fn put_notes(&mut self, event_at: usize) -> Outcome<()> {
        let input = self.input;
        let text = &input[event_at..self.at];
        let mut paths = Paths::new(text, self.salvage);
        self.raw.sort_unstable_by_key(|raw| (raw.start, raw.end));
        let mut bytes = Vec::new();
        for index in 0..self.raw.len() {
            let raw = self.raw[index];
            let path = paths.path_to(raw.start - event_at).to_owned();
            let open = self.open(TAG_RAW_TEXT, 2)?;
            self.put_bytes(TAG_FIRST, path.as_bytes())?;
            bytes.clear();
            if raw.start > 0 && input[raw.start - 1] == b'"' {
                raw_bytes(&input[raw.start..raw.end], &mut bytes);
            } else {
                bytes.extend_from_slice(&input[raw.start..raw.end]);
            }
            self.put_bytes(TAG_SECOND, &bytes)?;
            self.close(open)?;
        }
        let mut paths = Paths::new(text, self.salvage);
        self.findings.sort_by_key(|finding| finding.at);
        for index in 0..self.findings.len().min(FINDINGS_LISTED_MAX) {
            let finding = self.findings[index];
            let path = paths.path_to(finding.at.saturating_sub(event_at)).to_owned();
            self.put_finding(&path, finding.severity, finding.reason)?;
        }
        Ok(())
    }

    /// One finding, in the open event.
    pub(super) fn put_finding(&mut self, path: &str, severity: u8, reason: &str) -> Outcome<()> {
        let open: Open = self.open(TAG_FINDING, 1)?;
        self.put_bytes(TAG_FIRST, path.as_bytes())?;
        self.put_varint(TAG_SEVERITY, u64::from(severity))?;
        self.put_bytes(TAG_REASON, reason.as_bytes())?;
        self.close(open).map(|_| ())
    }

    /// The text of a salvaged event as it came: how it was read may not be how it was meant.
    pub(super) fn put_whole_raw(&mut self, event_at: usize) -> Outcome<()> {
        let open = self.open(TAG_RAW_TEXT, 3)?;
        self.put_varint(TAG_SECOND, (self.at - event_at) as u64)?;
        self.put_input(event_at..self.at)?;
        self.close(open).map(|_| ())
    }
}
