//! The envelope: type, time and payload, in any order and in three dialects.

use super::checks::text_fault;
use super::encode::Open;
use super::machine::{Envelope, Machine, Payload, Span};
use super::paths::Paths;
use super::scan::Place;
use super::stop::{Fault, Outcome, Stop};
use super::strings::{Key, raw_bytes};
use super::tables::{
    EVENT, FIELDS, Field, KIND_UNKNOWN, KINDS, Kind, Meaning, RULES, TABLES, TypeName, find_type,
    words_of,
};
use super::time_text::parse_iso8601;
use super::{CLOCK_MONOTONIC_MS, CLOCK_UNIX_MS, CLOCK_UNIX_SECONDS, Dialect};
use std::ops::Range;

/// `EventType` numbers that the converter itself gives.
pub(super) const TYPE_UNKNOWN: u16 = 1;
pub(super) const TYPE_CONNECTION_TEST: u16 = 24;
pub(super) const TYPE_UNREADABLE: u16 = 65;
pub(super) const TYPE_TRUNCATED: u16 = 66;

/// `Field::sub` of the payload's keys.
const SUB_DATA: u16 = 1;
const SUB_GAME_STATE: u16 = 2;

/// Fields of `Event` that the converter writes without a JSON key of their own.
const TAG_TYPE: u8 = 0x18;
const TAG_TIME: u8 = 0x29;
const TAG_CLOCK: u8 = 0x30;
const TAG_TYPE_NAME: (u32, u8) = (0x01_8A, 2);
const TAG_SUBTYPE: (u32, u8) = (0x01_92, 2);
const TAG_RAW_TEXT: (u32, u8) = (0x01_EA, 2);
const TAG_FINDING: (u32, u8) = (0x01_F2, 2);
const TAG_FIRST: (u32, u8) = (0x0A, 1);
const TAG_SECOND: (u32, u8) = (0x12, 1);
const TAG_SEVERITY: (u32, u8) = (0x10, 1);
const TAG_REASON: (u32, u8) = (0x1A, 1);

const _: () = {
    let mut index = 0;
    while index < KINDS.len() {
        assert!(KINDS[index].number < 0x80, "a type's number is one byte of a varint");
        index += 1;
    }
};

/// Epoch milliseconds passed this in 2001, a computer's uptime in milliseconds will after 31 years,
/// epoch seconds in the year 33658: what lies past it can only be epoch milliseconds.
const SURELY_UNIX_MS: f64 = 1e12;

/// Findings listed in one event; further ones only set its flag.
pub(super) const FINDINGS_LISTED_MAX: usize = 32;

/// What a type names whose text has escapes in it, as no name has.
#[cold]
fn escaped_type(text: &[u8]) -> Option<&'static TypeName> {
    let mut bytes = Vec::new();
    raw_bytes(text, &mut bytes);
    let end = bytes.len();
    bytes.push(b'"');
    find_type(&words_of(&bytes, 0, end)?)
}

impl Machine<'_> {
    /// Converts the event whose brace is at the position; its message is open.
    pub(super) fn event(&mut self) -> Outcome<()> {
        if self.byte() != b'{' {
            return self.fault(Fault::Object);
        }
        if self.nested > 0 {
            self.envelope = Envelope::default();
        }
        self.object(&TABLES[EVENT])?;
        self.envelope.keys = self.fitted;
        self.finish_event()
    }

    /// A value of the envelope that no single field stands for.
    pub(super) fn envelope_value(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        match field.kind {
            Kind::Type => {
                let Some(text) = self.envelope_text()? else { return Ok(false) };
                let known = words_of(self.input, text.start, text.end);
                self.envelope.type_name = known.and_then(|words| find_type(&words)).or_else(|| {
                    let text = &self.input[text.start..text.end];
                    if text.contains(&b'\\') { escaped_type(text) } else { None }
                });
                self.envelope.type_text = text;
                self.envelope.is_script |= field.sub != 0;
                Ok(true)
            }
            Kind::Subtype => {
                let Some(text) = self.envelope_text()? else { return Ok(false) };
                self.envelope.subtype = text;
                self.check_subtype(field, text);
                Ok(true)
            }
            Kind::Timestamp => self.timestamp(),
            Kind::Payload => self.payload(field, slot),
            Kind::Events => {
                // A batch has no type of its own; an event may have a field of any name.
                if self.envelope.type_text.end == 0
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

    /// Checks the subtype, which is not written where it stands.
    fn check_subtype(&mut self, field: &'static Field, text: Span) {
        let rule = &RULES[usize::from(field.rule)];
        // Escapes only make it longer than what they stand for.
        if text.end - text.start > rule.max_bytes as usize {
            let mut bytes = Vec::new();
            raw_bytes(&self.input[text.range()], &mut bytes);
            if let Some(reason) = text_fault(rule, &bytes) {
                self.finding(rule.severity, reason, text.start - 1);
            }
        }
    }

    fn timestamp(&mut self) -> Outcome<bool> {
        if self.at_number() {
            let value = self.number()?;
            self.envelope.note_time(value);
            return Ok(true);
        }
        if self.byte() != b'"' {
            return Ok(false);
        }
        self.at += 1;
        let start = self.at;
        let end = self.skip_string(Place::Member)?;
        let Some(time) = parse_iso8601(&self.input[start..end]) else { return Ok(false) };
        self.envelope.note_time(time.unix_ms);
        self.envelope.is_iso = true;
        self.envelope.is_script = true;
        // A text that says more than the number does is carried too.
        self.inexact = !time.is_exact;
        Ok(true)
    }

    /// A string of the envelope that is looked at when all of it was read; where it stands.
    #[inline(always)]
    fn envelope_text(&mut self) -> Outcome<Option<Span>> {
        if self.byte() != b'"' {
            return Ok(None);
        }
        self.at += 1;
        let start = self.at;
        let end = self.skip_string(Place::Member)?;
        Ok(Some(Span { start, end }))
    }

    /// What type and subtype, as far as they are known, say.
    #[inline(always)]
    fn meaning(&self) -> Option<Meaning> {
        let known = self.envelope.type_name?;
        Some(match self.envelope.subtype.get() {
            None => known.meaning,
            Some(text) => match words_of(self.input, text.start, text.end) {
                Some(words) => known.with(&words),
                None => known.meaning,
            },
        })
    }

    /// The payload; false when what is known of its type has no field for it.
    #[inline(never)]
    pub(super) fn payload(&mut self, field: &Field, slot: usize) -> Outcome<bool> {
        self.envelope.is_script |= field.sub == SUB_GAME_STATE;
        self.envelope.is_data |= field.sub == SUB_DATA;
        let value_at = self.at;
        let raw = self.raw.len() as u32;
        let findings = self.findings.len() as u32;
        let out_start = self.pos;
        let is_object = self.byte() == b'{';
        let has_type = self.envelope.type_text.end != 0;
        let kind = if has_type {
            self.meaning().map(Meaning::kind)
        } else if self.salvage {
            // A broken one comes out the same whatever came before it.
            None
        } else {
            // Its type comes later: taken to be what the last one like it was, and read again if not.
            Some(self.memory.guesses.of(&self.input[value_at..]))
        };
        let readable = is_object.then_some(kind).flatten().filter(|kind| KINDS[*kind].tag.1 != 0);
        match readable {
            Some(kind) => {
                self.message(KINDS[kind].tag, KINDS[kind].table, slot)?;
            }
            None if has_type => return Ok(false),
            None => {
                self.place = Place::Member;
                self.skip_value()?;
                self.inexact = false;
            }
        }
        self.envelope.payload = Payload {
            value_at,
            out: Span { start: out_start, end: self.pos },
            kind: readable.map_or(0, |kind| kind as u32 + 1),
            slot: slot as u32,
            raw: (raw, self.raw.len() as u32),
            findings: (findings, self.findings.len() as u32),
        };
        Ok(true)
    }

    /// Writes what is only known when the whole envelope was read.
    #[inline(always)]
    fn finish_event(&mut self) -> Outcome<()> {
        let meaning = self.meaning();
        let kind = meaning.map(Meaning::kind);
        self.settle_payload(kind)?;
        let number = kind.map_or(TYPE_UNKNOWN, |kind| KINDS[kind].number);
        let is_told = meaning.is_some_and(|meaning| meaning.is_own_name);
        let dialect = self.dialect(number);
        let has_time = self.envelope.has_time;
        let clock = if has_time { self.clock(dialect, number, self.envelope.time) } else { 0 };
        self.put_type_and_time(number as u8, has_time, clock)?;
        if !is_told || self.envelope.subtype.end != 0 {
            self.put_names(meaning)?;
        }
        if self.nested == 0 {
            let facts = &mut self.facts;
            let index = kind.unwrap_or(KIND_UNKNOWN);
            facts.kind = index as u16;
            self.memory.guesses.met(index);
            facts.is_unknown = kind.is_none();
            facts.dialect = dialect as u8;
            facts.clock = clock;
            facts.time = self.envelope.time;
            facts.has_time = self.envelope.has_time;
            if facts.priority == 0 {
                facts.priority = KINDS[index].priority;
            }
        }
        Ok(())
    }

    /// Type, time and clock, whose room is looked at once.
    #[inline(always)]
    fn put_type_and_time(&mut self, number: u8, has_time: bool, clock: u8) -> Outcome<()> {
        let Some(room) = self.out.get_mut(self.pos..).and_then(|rest| rest.first_chunk_mut::<16>())
        else {
            return Err(Stop::NoRoom);
        };
        room[..2].copy_from_slice(&[TAG_TYPE, number]);
        room[2] = TAG_TIME;
        room[3..11].copy_from_slice(&self.envelope.time.to_le_bytes());
        room[11..13].copy_from_slice(&[TAG_CLOCK, clock]);
        self.pos += if has_time { 13 } else { 2 };
        Ok(())
    }

    /// Writes type and subtype as they were sent, where the type's number does not say them.
    #[inline(never)]
    fn put_names(&mut self, meaning: Option<Meaning>) -> Outcome<()> {
        let kind = meaning.map(|meaning| &KINDS[meaning.kind()]);
        if !meaning.is_some_and(|meaning| meaning.is_own_name)
            && let Some(text) = self.envelope.type_text.get()
            && kind.is_none_or(|kind| kind.name.as_bytes() != &self.input[text.clone()])
        {
            self.decoded_text(TAG_TYPE_NAME, text)?;
        }
        if !meaning.is_some_and(|meaning| meaning.is_own_subtype)
            && let Some(text) = self.envelope.subtype.get()
            && kind.is_none_or(|kind| kind.subtype.as_bytes() != &self.input[text.clone()])
        {
            self.decoded_text(TAG_SUBTYPE, text)?;
        }
        Ok(())
    }

    /// Sees to it that the payload was read by its own type's table.
    #[inline(always)]
    fn settle_payload(&mut self, kind: Option<usize>) -> Outcome<()> {
        let payload = &self.envelope.payload;
        if payload.value_at == 0 {
            return Ok(());
        }
        let read = payload.kind as usize;
        // The usual case first: it was read as what it is.
        if kind.is_some_and(|kind| kind + 1 == read) {
            return Ok(());
        }
        let wanted = kind.filter(|kind| KINDS[*kind].tag.1 != 0);
        match wanted {
            Some(wanted) if read != 0 && KINDS[read - 1].tag == KINDS[wanted].tag => Ok(()),
            _ => self.read_payload_again(wanted),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_payload_again(&mut self, wanted: Option<usize>) -> Outcome<()> {
        let payload = self.envelope.payload;
        if let Some(kind) = wanted {
            self.memory.guesses.learn(&self.input[payload.value_at..], kind);
        }
        self.take_back(&payload);
        let end = self.at;
        self.at = payload.value_at;
        match wanted {
            Some(kind) if self.byte() == b'{' => {
                self.message(KINDS[kind].tag, KINDS[kind].table, payload.slot as usize)?;
            }
            _ => self.carry(&Key::Static(FIELDS[payload.slot as usize].name))?,
        }
        self.at = end;
        Ok(())
    }

    /// Removes a payload that was read by the wrong table, and what was noted about it.
    fn take_back(&mut self, payload: &Payload) {
        let len = payload.out.end - payload.out.start;
        self.out.copy_within(payload.out.end..self.pos, payload.out.start);
        self.pos -= len;
        if self.facts.own_game_id.start >= payload.out.start
            && self.facts.own_game_id.end <= payload.out.end
        {
            self.facts.own_game_id = Span::default();
        }
        self.moved(payload.out.end, -(len as isize));
        self.raw.drain(payload.raw.0 as usize..payload.raw.1 as usize);
        self.findings.drain(payload.findings.0 as usize..payload.findings.1 as usize);
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
        let first = match envelope.type_text.get() {
            Some(text) => self.byte_at(text.start),
            None => 0,
        };
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
