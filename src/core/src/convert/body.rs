//! Bodies: one event, an array, lines, or a batch object, read event by event.
//!
//! A body that is broken somewhere keeps its good events. For the mod the broken part becomes an
//! event with the raw bytes; other senders are told which event was refused, where and why.

use std::ops::Range;

use super::identity::{Element, Mode};
use super::machine::Machine;
use super::paths::Paths;
use super::refusal::SEVERITY_REJECT;
use super::salvage::{Setting, balanced_end, ends_element, find_events};
use super::scan::{after_space, is_space};
use super::stop::{Fault, Outcome, Stop};
use super::strings::Key;
use super::tables::{BATCH, FIELDS, REQUIRED, TABLES};
use super::unreadable::{Unreadable, longer_than_accepted, too_large};
use super::{BodySummary, Context, Converter, Dialect, Refusal, Step};

/// `Event.batch`.
const TAG_BATCH: (u32, u8) = (0x02_8A, 2);

/// What a body is expected to be; each form is read wherever it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// `POST /api/v1/events`: one event, an array of events, or a line for each.
    Events,
    /// `POST /api/v1/events/batch`: the batch object.
    Batch,
    /// A WebSocket text message: an event, an array or a batch object.
    Message,
}

/// Where a body stands; owned by whoever feeds it, so that work on it can stop between two events.
#[derive(Clone, Debug)]
pub struct BodyCursor {
    form: BodyForm,
    state: State,
    at: usize,
    /// Number of the next event.
    index: u32,
    /// Whole values read at the top.
    values: u32,
    /// The batch object: where its first member starts, and where it ends when that is known.
    batch_start: usize,
    batch_end: Option<usize>,
    /// Length of the whole body when only its start was kept.
    cut: Option<u64>,
    pending: Option<Unreadable>,
    summary: BodySummary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a value at the top.
    Top,
    /// Inside a list of events that ends with this byte; `first` before its first element.
    Elements {
        close: u8,
        in_batch: bool,
        first: bool,
    },
    /// Inside a batch object, before a key.
    Members,
    /// Inside a batch object, behind its list.
    Tail,
    Done,
}

/// What one step towards the next event came to.
enum Sought {
    /// It stands at the cursor.
    Event,
    /// Something to tell first.
    Step(Step),
    /// Look on.
    Nothing,
}

impl From<Option<Step>> for Sought {
    fn from(step: Option<Step>) -> Self {
        step.map_or(Self::Nothing, Self::Step)
    }
}

/// An event that was read: what is left to tell of it.
struct Kept {
    element: Element,
    event_offset: usize,
    end: usize,
    batch_end: Option<usize>,
    batch_time: Option<f64>,
}

impl BodyCursor {
    /// The start of a body.
    #[must_use]
    pub fn new(form: BodyForm) -> Self {
        Self {
            form,
            state: State::Top,
            at: 0,
            index: 0,
            values: 0,
            batch_start: 0,
            batch_end: None,
            cut: None,
            pending: None,
            summary: BodySummary::default(),
        }
    }

    /// Says that the body was `length` bytes long and only its start is given: what does not fit is
    /// told by one event.
    #[must_use]
    pub fn cut(mut self, length: u64) -> Self {
        self.cut = Some(length);
        self
    }

    /// What the body held so far.
    #[must_use]
    pub fn summary(&self) -> &BodySummary {
        &self.summary
    }

    /// Goes on behind an event.
    #[inline(always)]
    fn step_over(&mut self, end: usize) {
        self.at = end;
        self.index += 1;
        match &mut self.state {
            State::Elements { first, .. } => *first = false,
            _ => self.values += 1,
        }
    }

    fn refuse(&mut self, field: &str, reason: String) -> Step {
        self.summary.refused += 1;
        self.index += 1;
        Step::Refused(Refusal { index: self.index - 1, field: field.to_owned(), reason })
    }
}

impl Converter {
    /// Converts the next event of the body into the start of `room`.
    pub fn next(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
    ) -> Step {
        // Most events need no search: one alone, whose body ends with it, and one behind another in a list.
        if cursor.pending.is_none() && cursor.cut.is_none() {
            let at = cursor.at;
            let is_there = match &mut cursor.state {
                State::Top if cursor.values > 0 && at == body.len() => {
                    cursor.state = State::Done;
                    return Step::Done(cursor.summary.clone());
                }
                State::Top => {
                    cursor.values == 0
                        && cursor.form != BodyForm::Batch
                        && body.get(at) == Some(&b'{')
                }
                State::Elements { close: b']', first, .. } if !*first => {
                    let is_there = body.get(at) == Some(&b',') && body.get(at + 1) == Some(&b'{');
                    if is_there {
                        *first = true;
                        cursor.at = at + 1;
                    }
                    is_there
                }
                _ => false,
            };
            if is_there {
                // As in `event_at`, but what is told of the event is written where the caller has it.
                let mode = Mode::default();
                let mut machine = self.machine(body, cursor.at, room, context.nesting_max, mode);
                match machine.attempt(cursor, context) {
                    Ok(kept) => return machine.keep(cursor, context, &kept),
                    Err(Stop::Refused) => return machine.refuse(cursor),
                    Err(stop) => {
                        let at = machine.at;
                        if let Some(step) = self.again(cursor, body, context, room, (stop, at)) {
                            return step;
                        }
                    }
                }
            }
        }
        self.next_of_many(cursor, body, context, room)
    }

    #[inline(never)]
    fn next_of_many(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
    ) -> Step {
        loop {
            if let Some(step) = self.seek(cursor, body, context, room) {
                return step;
            }
            if let Some(step) = self.event_at(cursor, body, context, room) {
                return step;
            }
        }
    }

    /// Converts the event at the cursor; nothing when it is none and the search goes on.
    fn event_at(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
    ) -> Option<Step> {
        let mut machine = self.machine(body, cursor.at, room, context.nesting_max, Mode::default());
        let stop = match machine.attempt(cursor, context) {
            Ok(kept) => return Some(machine.keep(cursor, context, &kept)),
            Err(Stop::Refused) => return Some(machine.refuse(cursor)),
            Err(stop) => stop,
        };
        let at = machine.at;
        self.again(cursor, body, context, room, (stop, at))
    }

    /// Brings the cursor to the next event, or gives what comes before it.
    #[inline(never)]
    fn seek(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
    ) -> Option<Step> {
        loop {
            match self.seek_on(cursor, body, context, room) {
                Sought::Event => return None,
                Sought::Step(step) => return Some(step),
                Sought::Nothing => {}
            }
        }
    }

    /// One step of the search.
    #[inline(always)]
    fn seek_on(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
    ) -> Sought {
        if cursor.pending.is_some() {
            let (pending, summary) = (&mut cursor.pending, &mut cursor.summary);
            return Sought::Step(self.next_piece(pending, summary, body, context, room));
        }
        let at = after_space(body, cursor.at);
        cursor.at = at;
        let byte = body.get(at).copied().unwrap_or(0);
        match cursor.state {
            State::Done => Sought::Step(Step::Done(cursor.summary.clone())),
            State::Top if at >= body.len() => self.at_end(cursor, body, context).into(),
            State::Top => {
                if cursor.values == 0 && body.starts_with(b"\xEF\xBB\xBF") && at == 0 {
                    cursor.at = 3;
                    return Sought::Nothing;
                }
                if cursor.values > 0 && cursor.form != BodyForm::Events && !context.lenient {
                    cursor.state = State::Done;
                    return Sought::Step(cursor.refuse("", at_byte(Fault::Trailing, at)));
                }
                if byte == b'[' {
                    cursor.at += 1;
                    cursor.state = State::Elements { close: b']', in_batch: false, first: true };
                    Sought::Nothing
                } else if byte == b'{' && cursor.form == BodyForm::Batch {
                    self.enter_batch(cursor, body, context)
                } else {
                    Sought::Event
                }
            }
            State::Members => self.enter_batch(cursor, body, context),
            State::Elements { close, in_batch, first } => {
                if byte == close {
                    cursor.at += 1;
                    self.leave_list(cursor, in_batch);
                    return Sought::Nothing;
                }
                if !first {
                    let next = if close == b'}' { b'"' } else { b'{' };
                    if byte == b',' {
                        cursor.at = after_space(body, at + 1);
                    } else if byte != next || !context.lenient {
                        let stop = Stop::Syntax(Fault::CommaOrBracket);
                        return self.broken(cursor, body, context, stop, at).into();
                    }
                    // Only its comma is missing: the next event is as readable as it would be behind one.
                }
                cursor.state = State::Elements { close, in_batch, first: true };
                if close == b'}' {
                    return self.step_over_key(cursor, body, context);
                }
                Sought::Event
            }
            State::Tail => self.tail(cursor, body, context).into(),
        }
    }

    /// A list in an object's clothes has a key before each event.
    fn step_over_key(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
    ) -> Sought {
        let mut machine =
            self.machine(body, cursor.at, &mut [], context.nesting_max, Mode::default());
        let key = machine.read_key();
        let at = machine.at;
        match key {
            Ok(_) => {
                cursor.at = at;
                Sought::Event
            }
            Err(stop) => self.broken(cursor, body, context, stop, at).into(),
        }
    }

    /// The end of the text at the top.
    fn at_end(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
    ) -> Option<Step> {
        if let Some(step) = self.cut_off(cursor, body, context) {
            return step;
        }
        cursor.state = State::Done;
        if cursor.values == 0 && !context.lenient {
            return Some(cursor.refuse("", "the body is empty: expected an event".to_owned()));
        }
        None
    }

    /// When the rest of the body was dropped: the event (or refusal) that says so.
    fn cut_off(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
    ) -> Option<Option<Step>> {
        let length = cursor.cut.take()?;
        cursor.state = State::Done;
        let start = cursor.at.min(body.len());
        cursor.at = body.len();
        let reason = longer_than_accepted(length);
        if !context.lenient {
            return Some(Some(cursor.refuse("", reason)));
        }
        let kept = cursor.summary.events - cursor.summary.unreadable;
        cursor.pending = Some(Unreadable::truncated(start..body.len(), length, reason, kept));
        Some(None)
    }

    /// Finds the list in a batch object.
    fn enter_batch(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
    ) -> Sought {
        let start = if cursor.state == State::Top { cursor.at } else { cursor.batch_start - 1 };
        let from = if cursor.state == State::Top { start + 1 } else { cursor.at };
        let mut machine = self.machine(body, from, &mut [], context.nesting_max, Mode::default());
        let found = machine.skip_members();
        let (at, has_type) = (machine.at, machine.envelope.is_script);
        match found {
            Ok(true) => {
                let close = if body.get(at) == Some(&b'{') { b'}' } else { b']' };
                cursor.batch_start = start + 1;
                cursor.batch_end = None;
                cursor.at = at + 1;
                cursor.state = State::Elements { close, in_batch: true, first: true };
                Sought::Nothing
            }
            Ok(false) if has_type || context.lenient => {
                // One event where a batch was expected.
                cursor.at = start;
                cursor.state = State::Top;
                Sought::Event
            }
            Ok(false) => {
                cursor.at = at;
                cursor.values += 1;
                cursor.state = State::Top;
                let reason = "missing: expected a list of events".to_owned();
                Sought::Step(cursor.refuse("events", reason))
            }
            Err(stop) => {
                // The list may be whole though the text before it is not.
                if context.lenient
                    && let Some(list) = find_events(body, start)
                {
                    let reason = reason_of(stop, at);
                    let kept = cursor.summary.events - cursor.summary.unreadable;
                    cursor.pending = Some(Unreadable::broken(start..list, reason, kept));
                    cursor.batch_start = 0;
                    cursor.at = list + 1;
                    cursor.state = State::Elements { close: b']', in_batch: true, first: true };
                    return Sought::Nothing;
                }
                cursor.at = start;
                self.broken(cursor, body, context, stop, at).into()
            }
        }
    }

    fn leave_list(&mut self, cursor: &mut BodyCursor, in_batch: bool) {
        match cursor.batch_end.take() {
            Some(end) => {
                cursor.at = end;
                cursor.values += 1;
                cursor.state = State::Top;
            }
            None if in_batch => cursor.state = State::Tail,
            None => {
                cursor.values += 1;
                cursor.state = State::Top;
            }
        }
    }

    /// What stands behind the list of a batch whose last event could not carry it.
    fn tail(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
    ) -> Option<Step> {
        let mut machine =
            self.machine(body, cursor.at, &mut [], context.nesting_max, Mode::default());
        let ended = machine.after_member();
        let found = match ended {
            Ok(true) => Ok(false),
            Ok(false) => machine.skip_members(),
            Err(stop) => Err(stop),
        };
        let at = machine.at;
        match found {
            Ok(true) => {
                let close = if body.get(at) == Some(&b'{') { b'}' } else { b']' };
                cursor.at = at + 1;
                cursor.state = State::Elements { close, in_batch: true, first: true };
                None
            }
            Ok(false) => {
                cursor.at = at;
                cursor.values += 1;
                cursor.state = State::Top;
                None
            }
            Err(stop) => self.broken(cursor, body, context, stop, at),
        }
    }

    /// Reads the event at the cursor once more, in the way that its first reading stopped for.
    #[cold]
    #[inline(never)]
    fn again(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
        first: (Stop, usize),
    ) -> Option<Step> {
        let mut mode = Mode::default();
        let (mut stop, mut at) = first;
        loop {
            match stop {
                Stop::Duplicate if !mode.careful => mode.careful = true,
                Stop::IsBatch if cursor.state == State::Top => {
                    cursor.batch_start = cursor.at + 1;
                    cursor.at += 1;
                    cursor.state = State::Members;
                    return None;
                }
                Stop::NoRoom if room.len() < context.event_bytes_max => return Some(Step::NoRoom),
                Stop::NoRoom => return self.too_large(cursor, body, context),
                Stop::Syntax(_) if context.lenient && !mode.salvage => {
                    mode = Mode { careful: false, salvage: true };
                }
                // The plain reading says best what is wrong.
                _ if mode.salvage => return self.broken(cursor, body, context, first.0, first.1),
                _ => return self.broken(cursor, body, context, stop, at),
            }
            let mut machine = self.machine(body, cursor.at, room, context.nesting_max, mode);
            stop = match machine.attempt(cursor, context) {
                Ok(kept) => return Some(machine.keep(cursor, context, &kept)),
                Err(Stop::Refused) => return Some(machine.refuse(cursor)),
                Err(stop) => stop,
            };
            at = machine.at;
        }
    }

    /// An event that fits no batch.
    #[cold]
    fn too_large(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
    ) -> Option<Step> {
        let start = cursor.at;
        let end = balanced_end(body, start);
        let reason = too_large(context);
        cursor.step_over(end);
        if !context.lenient {
            cursor.index -= 1;
            return Some(cursor.refuse("", reason));
        }
        let kept = cursor.summary.events - cursor.summary.unreadable;
        let length = (end - start) as u64;
        cursor.pending = Some(Unreadable::truncated(start..end, length, reason, kept));
        None
    }

    /// What can't be read: finds where the next event starts, and keeps or refuses what is before.
    #[cold]
    fn broken(
        &mut self,
        cursor: &mut BodyCursor,
        body: &[u8],
        context: &Context<'_>,
        stop: Stop,
        at: usize,
    ) -> Option<Step> {
        let start = cursor.at;
        if at >= body.len()
            && cursor.cut.is_some()
            && let Some(step) = self.cut_off(cursor, body, context)
        {
            return step;
        }
        let reason = reason_of(stop, at);
        let in_list = matches!(cursor.state, State::Elements { .. });
        let setting = if in_list { Setting::List } else { Setting::Lines };
        // A whole value that is no event, one too deep, or one without a comma before it, ends where its braces say.
        let has_end = match stop {
            Stop::TooDeep | Stop::Syntax(Fault::Object) => true,
            Stop::Syntax(Fault::CommaOrBracket) => at == start && body.get(at) == Some(&b'{'),
            _ => false,
        };
        let whole = if has_end {
            self.value_end(body, start, context).filter(|end| ends_well(body, *end, setting))
        } else {
            None
        };
        // A list in an object's clothes has keys between its events: it is not taken up again.
        let resumes = !matches!(cursor.state, State::Elements { close: b'}', .. });
        let next = match whole {
            None if resumes => self.next_readable(body, start, setting, context.nesting_max),
            _ => None,
        };
        let mut raw = start..body.len();
        match (whole, next) {
            (Some(end), _) => {
                raw.end = end;
                cursor.step_over(end);
            }
            (None, Some(next)) => {
                cursor.at = next;
                cursor.index += 1;
                raw.end = next;
                if let State::Elements { first, .. } = &mut cursor.state {
                    *first = true;
                    raw.end = before_comma(body, start, next);
                } else {
                    cursor.values += 1;
                    cursor.state = State::Top;
                }
            }
            (None, None) => {
                cursor.at = body.len();
                cursor.index += 1;
                cursor.values += 1;
                // That the rest was dropped is still to be told.
                cursor.state = if cursor.cut.is_some() { State::Top } else { State::Done };
            }
        }
        if !context.lenient {
            cursor.index -= 1;
            let path =
                Paths::new(&body[start..], false).path_to(at.saturating_sub(start)).to_owned();
            return Some(cursor.refuse(&path, reason));
        }
        let kept = cursor.summary.events - cursor.summary.unreadable;
        cursor.pending = Some(Unreadable::broken(raw, reason, kept));
        None
    }

    /// Where the value at `start` ends. What is no value and has no braces of its own has no end either: the braces
    /// behind it are those of the next events.
    fn value_end(&mut self, body: &[u8], start: usize, context: &Context<'_>) -> Option<usize> {
        let mut machine = self.machine(body, start, &mut [], context.nesting_max, Mode::default());
        match machine.skip_value() {
            Ok(()) => Some(machine.at),
            Err(_) => {
                matches!(body.get(start), Some(b'{' | b'[')).then(|| balanced_end(body, start))
            }
        }
    }
}

impl Machine<'_> {
    /// Reads the event at the position in one way.
    #[inline(always)]
    fn attempt(&mut self, cursor: &BodyCursor, context: &Context<'_>) -> Outcome<Kept> {
        let start = self.at;
        self.memory.spans.sender = context.sender;
        let element = self.open_element(context)?;
        self.event()?;
        let end = self.at;
        if !context.lenient {
            self.check_required(cursor.form, start);
            if self.findings.iter().any(|finding| finding.severity == SEVERITY_REJECT) {
                return Err(Stop::Refused);
            }
        }
        if !self.raw.is_empty() || !self.findings.is_empty() {
            self.put_notes(start)?;
        }
        if self.salvage {
            self.put_whole_raw(start)?;
        }
        let (mut batch_end, mut batch_time) = (None, None);
        if let State::Elements { close, in_batch: true, .. } = cursor.state {
            let next = after_space(self.input, end);
            if self.byte_at(next) == close && cursor.batch_start > 0 {
                (batch_end, batch_time) = self.batch_info(cursor.batch_start, next + 1)?;
            }
        }
        let event_offset = self.close_open_element(&element)?;
        Ok(Kept { element, event_offset, end, batch_end, batch_time })
    }

    /// Steps over the event that was read, and tells of it.
    #[inline(always)]
    fn keep(&self, cursor: &mut BodyCursor, context: &Context<'_>, kept: &Kept) -> Step {
        cursor.step_over(kept.end);
        cursor.batch_end = kept.batch_end;
        cursor.summary.events += 1;
        if kept.batch_time.is_some() {
            cursor.summary.batch_time_unix_ms = kept.batch_time;
        }
        Step::Event(self.converted(&kept.element, kept.event_offset, context, 0))
    }

    /// Steps over the event, which ends at the position, and tells why it is refused.
    #[cold]
    fn refuse(&mut self, cursor: &mut BodyCursor) -> Step {
        let (start, index) = (cursor.at, cursor.index);
        cursor.summary.refused += 1;
        cursor.step_over(self.at);
        let (field, reason) = self.refusal(start);
        Step::Refused(Refusal { index, field, reason })
    }

    /// What the dialect demands of the envelope, as findings.
    fn check_required(&mut self, form: BodyForm, start: usize) {
        let has_type = self.envelope.type_text.end != 0;
        // The mod leaves out what it likes; a message without a type was meant for the old service.
        let dialect = if !has_type && form == BodyForm::Message {
            Dialect::WebSocket as u8
        } else {
            self.facts.dialect
        };
        for required in REQUIRED {
            let is_demanded = required.dialects >> dialect & 1 == 1;
            if is_demanded && self.envelope.keys >> required.bit & 1 == 0 {
                self.finding(required.severity, required.reason, start);
            }
        }
    }

    /// Writes the batch's own members into its last event; tells where the batch ends, and its time.
    /// Nothing when more events follow.
    fn batch_info(
        &mut self,
        head: usize,
        behind_list: usize,
    ) -> Outcome<(Option<usize>, Option<f64>)> {
        let pos = self.pos;
        let notes = (self.raw.len(), self.findings.len());
        self.at = head;
        self.objects += 1;
        let object = self.objects;
        let mut time = None;
        let open = self.open(TAG_BATCH, 1)?;
        self.space();
        let result = match self.batch_members(object, &mut time) {
            Ok(true) => {
                self.at = behind_list;
                match self.after_member() {
                    Ok(true) => Ok(false),
                    Ok(false) => self.batch_members(object, &mut time),
                    Err(stop) => Err(stop),
                }
            }
            other => other,
        };
        match result {
            Ok(false) => {
                self.close(open)?;
                self.raw.truncate(notes.0);
                self.findings.truncate(notes.1);
                Ok((Some(self.at), time))
            }
            Err(Stop::NoRoom) => Err(Stop::NoRoom),
            // A second list, or something broken: the cursor comes to it by itself.
            _ => {
                self.pos = pos;
                self.raw.truncate(notes.0);
                self.findings.truncate(notes.1);
                Ok((None, None))
            }
        }
    }

    /// Writes members up to the list of events (true) or to the object's end.
    fn batch_members(&mut self, object: u64, time: &mut Option<f64>) -> Outcome<bool> {
        let table = &TABLES[BATCH];
        let input = self.input;
        loop {
            if self.byte() == b'}' {
                self.at += 1;
                return Ok(false);
            }
            let key = self.read_key()?;
            let (value_at, value_pos) = (self.at, self.pos);
            // Of an event that is salvaged, keys are looked at for what ends them, and most hold nothing to decode.
            let name: Option<Range<usize>> = match &key {
                Key::Plain(range) | Key::Decoded(range) => Some(range.clone()),
                _ => None,
            };
            let is_new = self.note_key(object, &key);
            let field = name.and_then(|range| {
                if &input[range.clone()] == b"events" && matches!(self.byte(), b'[' | b'{') {
                    return Some(None);
                }
                table.find(&input[range]).filter(|_| is_new).map(Some)
            });
            match field {
                Some(None) => return Ok(true),
                Some(Some(slot)) => {
                    let field = &FIELDS[slot];
                    let fits = self.value(field, slot)?;
                    if fits && field.name == "timestamp" {
                        let bytes = &self.out[self.pos - 8..self.pos];
                        *time = bytes.try_into().ok().map(f64::from_le_bytes);
                    }
                    if !fits || self.inexact {
                        self.inexact = false;
                        if !fits {
                            self.pos = value_pos;
                        }
                        self.at = value_at;
                        self.carry(&key)?;
                    }
                }
                None => self.carry(&key)?,
            }
            if self.after_member()? {
                return Ok(false);
            }
        }
    }

    /// Steps over members up to a list of events (true, before its bracket) or to the object's end.
    /// Notes in `envelope.is_script` whether there was a type.
    fn skip_members(&mut self) -> Outcome<bool> {
        let input = self.input;
        self.space();
        if self.byte() == b'}' {
            self.at += 1;
            return Ok(false);
        }
        loop {
            let key = self.read_key()?;
            if let Key::Plain(range) = &key {
                let name = &input[range.clone()];
                if name == b"events" && matches!(self.byte(), b'[' | b'{') {
                    return Ok(true);
                }
                self.envelope.is_script |= name == b"type" || name == b"event_type";
            }
            self.skip_value()?;
            self.inexact = false;
            if self.after_member()? {
                return Ok(false);
            }
        }
    }
}

fn at_byte(fault: Fault, at: usize) -> String {
    format!("{} at byte {at}", fault.reason())
}

fn reason_of(stop: Stop, at: usize) -> String {
    match stop {
        Stop::Syntax(fault) => at_byte(fault, at),
        Stop::TooDeep => format!("nested too deep at byte {at}"),
        Stop::NoRoom | Stop::Duplicate | Stop::IsBatch | Stop::Refused => {
            "could not be read".to_owned()
        }
    }
}

/// Whether what follows a value can follow an event.
fn ends_well(body: &[u8], end: usize, setting: Setting) -> bool {
    let next = after_space(body, end);
    match setting {
        Setting::List => ends_element(body, next),
        Setting::Lines => true,
    }
}

/// The end of what stands before the comma in front of `next`, where there is one.
fn before_comma(body: &[u8], start: usize, next: usize) -> usize {
    let last = body[start..next].iter().rposition(|byte| !is_space(*byte));
    last.map(|last| start + last).filter(|last| body[*last] == b',').unwrap_or(next)
}
