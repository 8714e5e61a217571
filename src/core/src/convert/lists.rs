//! Lists and maps, in the forms that games give them.
//!
//! An empty list arrives as `{}`; a list inside a list arrives as an object with the keys "1", "2" and so on;
//! scalars in lists arrive as strings. A list one of whose elements does not fit is carried whole.

use super::encode::{Open, VALUE};
use super::machine::{Machine, NESTED_MAX};
use super::scan::Place;
use super::stop::{Fault, Outcome, Stop};
use super::strings::Key;
use super::tables::{Field, Kind, RULES, TABLES};

/// How much was noted before a value.
struct Marks {
    raw: usize,
    findings: usize,
}

impl Machine<'_> {
    /// A repeated field.
    pub(super) fn list(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        let open = self.byte();
        if open != b'[' && open != b'{' {
            return Ok(false);
        }
        if self.depth >= self.depth_max {
            return Err(Stop::TooDeep);
        }
        let at = self.at;
        let marks = self.marks();
        self.depth += 1;
        let fits = match (open, field.kind) {
            (b'[', Kind::MessageList) => self.messages(field, slot)?,
            (b'[', _) => self.bracketed(field, slot)?,
            _ => self.numbered(field, slot)?,
        };
        self.depth -= 1;
        let Some(items) = fits else {
            self.forget(marks);
            return Ok(false);
        };
        self.check_items(field, items, at);
        Ok(true)
    }

    #[inline(always)]
    fn check_items(&mut self, field: &'static Field, items: u32, at: usize) {
        if field.rule != 0 {
            let rule = &RULES[usize::from(field.rule)];
            if items > rule.max_items {
                self.finding(rule.severity, "more elements than allowed", at);
            }
        }
    }

    /// A list of messages in the usual form; gives their number, or nothing when an element is none.
    fn messages(&mut self, field: &'static Field, slot: usize) -> Outcome<Option<u32>> {
        let start = self.at;
        self.at += 1;
        self.space();
        if self.byte() == b']' {
            self.at += 1;
            return Ok(Some(0));
        }
        if self.memory.spans.is_on() && !self.careful && !self.salvage {
            return self.messages_known(field, slot, start);
        }
        let mut items = 0;
        loop {
            if self.byte() != b'{' {
                return Ok(None);
            }
            self.message(field.tag(), usize::from(field.sub), slot)?;
            items += 1;
            self.space();
            match self.byte() {
                b',' => {
                    self.at += 1;
                    self.space();
                }
                b']' => {
                    self.at += 1;
                    return Ok(Some(items));
                }
                _ => return self.fault(Fault::CommaOrBracket),
            }
        }
    }

    /// The usual form of the others; gives the number of elements, or nothing when one does not fit.
    fn bracketed(&mut self, field: &'static Field, slot: usize) -> Outcome<Option<u32>> {
        self.at += 1;
        self.space();
        if self.byte() == b']' {
            self.at += 1;
            return Ok(Some(0));
        }
        let packed = self.open_packed(field)?;
        let mut items = 0;
        loop {
            if !self.element(field, slot)? {
                return Ok(None);
            }
            items += 1;
            self.space();
            match self.byte() {
                b',' => {
                    self.at += 1;
                    self.space();
                }
                b']' => {
                    self.at += 1;
                    break;
                }
                _ => return self.fault(Fault::CommaOrBracket),
            }
        }
        if let Some(open) = packed {
            self.close(open)?;
        }
        Ok(Some(items))
    }

    fn open_packed(&mut self, field: &'static Field) -> Outcome<Option<Open>> {
        match field.kind {
            Kind::DoubleList | Kind::BoolList => self.open(field.tag(), 1).map(Some),
            _ => Ok(None),
        }
    }

    /// `{}`, or an object with the keys "1" to "n" in any order.
    #[cold]
    fn numbered(&mut self, field: &'static Field, slot: usize) -> Outcome<Option<u32>> {
        let mut places = Vec::new();
        self.at += 1;
        self.space();
        if self.byte() == b'}' {
            self.at += 1;
            return Ok(Some(0));
        }
        loop {
            let key = self.read_key()?;
            let Some(number) = self.list_number(&key) else { return Ok(None) };
            places.push((number, self.at));
            self.place = Place::Member;
            self.skip_value()?;
            self.inexact = false;
            self.space();
            match self.byte() {
                b',' => {
                    self.at += 1;
                    self.space();
                }
                b'}' => break,
                _ => return self.fault(Fault::CommaOrBrace),
            }
        }
        let end = self.at + 1;
        places.sort_unstable();
        if !places.iter().enumerate().all(|(index, place)| place.0 as usize == index + 1) {
            return Ok(None);
        }
        let packed = self.open_packed(field)?;
        for place in &places {
            self.at = place.1;
            if !self.element(field, slot)? {
                return Ok(None);
            }
        }
        if let Some(open) = packed {
            self.close(open)?;
        }
        self.at = end;
        Ok(Some(places.len() as u32))
    }

    fn list_number(&self, key: &Key) -> Option<u32> {
        let range = match key {
            Key::Plain(range) | Key::Decoded(range) => range.clone(),
            _ => return None,
        };
        let digits = &self.input[range];
        if digits.first() == Some(&b'0') {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    #[inline(always)]
    fn element(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        match field.kind {
            Kind::MessageList => {
                if self.byte() != b'{' {
                    return Ok(false);
                }
                self.message(field.tag(), usize::from(field.sub), slot)?;
                Ok(true)
            }
            Kind::TextList => {
                if self.byte() != b'"' {
                    return Ok(false);
                }
                let at = self.at;
                self.at += 1;
                let range = self.text(field.tag(), Place::Element, slot)?;
                if field.rule != 0 {
                    self.check_text(field, range, at);
                }
                Ok(true)
            }
            Kind::Changes => self.change(field),
            Kind::DoubleList => {
                let quoted = self.byte() == b'"';
                self.at += usize::from(quoted);
                if !self.at_number() {
                    return Ok(false);
                }
                let value = self.number()?;
                self.put_raw(&value.to_le_bytes())?;
                Ok(self.unquote(quoted))
            }
            _ => {
                let quoted = self.byte() == b'"';
                self.at += usize::from(quoted);
                if !matches!(self.byte(), b't' | b'f') {
                    return Ok(false);
                }
                let Some(value) = self.flag()? else { return Ok(false) };
                self.put_raw(&[u8::from(value)])?;
                Ok(self.unquote(quoted))
            }
        }
    }

    /// Steps over the quote behind a scalar that came as a string.
    fn unquote(&mut self, quoted: bool) -> bool {
        if quoted && self.byte() != b'"' {
            return false;
        }
        self.at += usize::from(quoted);
        true
    }

    /// One event of `changes`.
    fn change(&mut self, field: &'static Field) -> Outcome<bool> {
        if self.byte() != b'{' || self.nested >= NESTED_MAX {
            return Ok(false);
        }
        self.nested += 1;
        let outer = self.envelope;
        let open = self.open(field.tag(), 2)?;
        self.event()?;
        self.close(open)?;
        self.envelope = outer;
        self.nested -= 1;
        Ok(true)
    }

    /// A map field: an object whose keys are data.
    pub(super) fn map(&mut self, field: &'static Field, slot: usize) -> Outcome<bool> {
        if self.byte() == b'[' {
            let at = self.at;
            self.at += 1;
            self.space();
            if self.byte() == b']' {
                self.at += 1;
                return Ok(true);
            }
            self.at = at;
            return Ok(false);
        }
        if self.byte() != b'{' {
            return Ok(false);
        }
        if self.depth >= self.depth_max {
            return Err(Stop::TooDeep);
        }
        let at = self.at;
        let marks = self.marks();
        self.depth += 1;
        let items = self.entries(field, slot)?;
        self.depth -= 1;
        let Some(items) = items else {
            self.forget(marks);
            return Ok(false);
        };
        self.check_items(field, items, at);
        Ok(true)
    }

    fn entries(&mut self, field: &'static Field, slot: usize) -> Outcome<Option<u32>> {
        self.at += 1;
        self.objects += 1;
        let object = self.objects;
        self.space();
        if self.byte() == b'}' {
            self.at += 1;
            return Ok(Some(0));
        }
        let mut items = 0;
        let mut twice = false;
        loop {
            let key = self.read_key()?;
            twice |= !self.note_key(object, &key);
            let reserved = usize::from(self.memory.seat(slot).reserve);
            let entry = self.open(field.tag(), reserved)?;
            self.put_key(&key)?;
            if !self.map_value(field)? {
                return Ok(None);
            }
            let took = self.close(entry)?;
            if took != reserved {
                self.memory.seat(slot).reserve = took as u8;
            }
            items += 1;
            self.space();
            match self.byte() {
                b',' => {
                    self.at += 1;
                    self.space();
                }
                b'}' => {
                    self.at += 1;
                    break;
                }
                _ => return self.fault(Fault::CommaOrBrace),
            }
        }
        // A parser keeps the last of two equal keys; the whole text keeps the earlier one too.
        self.inexact |= twice;
        Ok(Some(items))
    }

    #[inline(always)]
    fn map_value(&mut self, field: &'static Field) -> Outcome<bool> {
        match field.kind {
            Kind::MessageMap => {
                if self.byte() != b'{' {
                    return Ok(false);
                }
                let open = self.open(VALUE, 1)?;
                self.object(&TABLES[usize::from(field.sub)])?;
                self.close(open)?;
            }
            Kind::TextMap if self.byte() == b'"' => {
                self.at += 1;
                let open = self.open(VALUE, 1)?;
                self.string(Place::Member)?;
                self.close(open)?;
            }
            Kind::TextMap | Kind::JsonMap => {
                // A label that is no text is told apart by the whole map's text.
                let lossy = self.inexact || field.kind == Kind::TextMap;
                let start = self.at;
                self.place = Place::Member;
                self.skip_value()?;
                self.inexact = lossy;
                self.json_text(VALUE, start, self.at)?;
            }
            _ => {
                if !self.at_number() {
                    return Ok(false);
                }
                let value = self.number()?;
                self.put_fixed((0x11, 1), value.to_bits())?;
            }
        }
        Ok(true)
    }

    fn marks(&self) -> Marks {
        Marks { raw: self.raw.len(), findings: self.findings.len() }
    }

    /// Takes back what was noted about a value that did not fit.
    #[cold]
    fn forget(&mut self, marks: Marks) {
        self.raw.truncate(marks.raw);
        self.findings.truncate(marks.findings);
        self.inexact = false;
    }
}
