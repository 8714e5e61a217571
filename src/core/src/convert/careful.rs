//! Objects in which a key comes twice: every object's keys are looked at before its values, so that
//! the last one wins and the earlier ones are carried.

use super::machine::Machine;
use super::scan::Place;
use super::stop::Outcome;
use super::strings::{Key, raw_bytes};
use super::tables::{FIELDS, Table};

impl Machine<'_> {
    /// Reads the keys of the object at the position without their values.
    #[cold]
    pub(super) fn look_ahead(&mut self) -> Outcome<()> {
        let start = self.at;
        self.at += 1;
        let mut keys = std::collections::HashMap::new();
        self.space();
        if self.byte() != b'}' {
            loop {
                let key = self.read_key()?;
                let mut bytes = Vec::new();
                if let Key::Plain(range) | Key::Decoded(range) = key {
                    raw_bytes(&self.input[range], &mut bytes);
                }
                keys.entry(bytes).or_insert((0, 0)).1 += 1;
                self.place = Place::Member;
                self.skip_value()?;
                self.inexact = false;
                if self.after_member()? {
                    break;
                }
            }
        }
        self.at = start;
        self.memory.ahead.push(keys);
        Ok(())
    }

    /// In careful mode: the name under which this field's value is carried because the same key, or
    /// one that means the same and comes first in the schema, says it elsewhere.
    #[cold]
    pub(super) fn superseded(
        &mut self,
        table: &'static Table,
        slot: usize,
        seen: bool,
    ) -> Option<String> {
        let field = &FIELDS[slot];
        let name = self.superseded_key(field.name.as_bytes());
        if name.is_some() {
            return name;
        }
        let keys = self.memory.ahead.last()?;
        let other = FIELDS[table.base + 1..slot]
            .iter()
            .any(|other| other.mask == field.mask && keys.contains_key(other.name.as_bytes()));
        (other || seen).then(|| field.name.to_owned())
    }

    /// In careful mode: the name under which this key's value is carried because the key comes again.
    #[cold]
    pub(super) fn superseded_key(&mut self, key: &[u8]) -> Option<String> {
        let keys = self.memory.ahead.last_mut()?;
        let (met, all) = keys.get_mut(key)?;
        *met += 1;
        if met == all {
            return None;
        }
        let mut name = format!("{}#{met}", String::from_utf8_lossy(key));
        while keys.contains_key(name.as_bytes()) {
            name.push('#');
        }
        Some(name)
    }
}
