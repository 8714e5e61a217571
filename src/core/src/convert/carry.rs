//! What the schema has no field for is carried as its JSON text, under its key.

use super::encode::{EXTRA, VALUE, varint_len};
use super::keyset;
use super::machine::Machine;
use super::scan::Place;
use super::stop::{Outcome, Stop};
use super::strings::{Key, raw_bytes};
use super::tables::Tag;

impl Machine<'_> {
    /// Carries a member that the message has no field for.
    #[inline(never)]
    pub(super) fn unknown(&mut self, object: u64, key: Key) -> Outcome<()> {
        let input = self.input;
        if self.careful {
            let mut bytes = Vec::new();
            if let Key::Plain(range) | Key::Decoded(range) = &key {
                raw_bytes(&input[range.clone()], &mut bytes);
            }
            return match self.superseded_key(&bytes) {
                Some(name) => self.carry(&Key::Named(name)),
                None => self.carry(&key),
            };
        }
        if !self.note_key(object, &key) {
            return Err(Stop::Duplicate);
        }
        self.carry(&key)
    }

    /// Notes a key that has no place in the set of seen fields; false when it came before.
    pub(super) fn note_key(&mut self, object: u64, key: &Key) -> bool {
        let input = self.input;
        let hash = match key {
            Key::Plain(range) => keyset::hash(object, &input[range.clone()]),
            Key::Decoded(range) => {
                let mut bytes = Vec::new();
                raw_bytes(&input[range.clone()], &mut bytes);
                keyset::hash(object, &bytes)
            }
            Key::Static(name) => keyset::hash(object, name.as_bytes()),
            Key::Named(name) => keyset::hash(object, name.as_bytes()),
        };
        self.memory.keys.insert(hash)
    }

    /// Carries the value at the position in `extra`, as its JSON text.
    #[inline(never)]
    pub(super) fn carry(&mut self, key: &Key) -> Outcome<()> {
        let start = self.at;
        self.place = Place::Member;
        self.skip_value()?;
        self.inexact = false;
        let end = self.at;
        if let Key::Plain(name) = key
            && self.input[start..end].is_ascii()
        {
            // All lengths are known: nothing to move afterwards.
            let inner =
                2 + varint_len(name.len()) + name.len() + varint_len(end - start) + end - start;
            self.put_varint(EXTRA, inner as u64)?;
            self.put_key(key)?;
            self.put_varint(VALUE, (end - start) as u64)?;
            return self.put_input(start..end);
        }
        let entry = self.open(EXTRA, 1)?;
        self.put_key(key)?;
        self.json_text(VALUE, start, end)?;
        self.close(entry)?;
        Ok(())
    }

    /// A part of the input as text.
    pub(super) fn json_text(&mut self, tag: Tag, start: usize, end: usize) -> Outcome<()> {
        let text = self.open(tag, varint_len(end - start))?;
        if self.put_repaired(start..end)? {
            self.raw_at(start, end);
        }
        self.close(text)?;
        Ok(())
    }
}
