//! Objects: which key is this, and how its value becomes a field.
//!
//! Members go the short way where they can. The others, and all of an event that is read again, go
//! one by one.

use super::encode::Open;
use super::machine::Machine;
use super::scan::{Place, load16, near, special_bits};
use super::short::find_plain;
use super::stop::{Fault, Outcome, Stop};
use super::strings::{Key, raw_bytes};
use super::tables::{FIELDS, FLATS, SLOTS, TABLES, Table, Tag, barred};

/// An object being read.
pub(super) struct Members {
    pub(super) table: &'static Table,
    /// Number of the object among those of the event.
    pub(super) object: u64,
    /// 1 before the first member: no comma stands before its key. 0 behind it.
    pub(super) first: u32,
    /// Slot of the field read last; the table's base before there was one.
    pub(super) slot: usize,
    /// Fields met, and those of them whose values did not fit, by `Field::mask`; and in `seen` the
    /// flat messages other than the open one, by `Field::guard`.
    pub(super) seen: u64,
    pub(super) unfit: u64,
    /// A message whose keys stand in this object, open while its keys come one after another (a
    /// parser merges the parts): its number, 0 for none.
    pub(super) flat: u8,
    pub(super) flat_open: Option<Open>,
    /// How far the keys of objects before came in the order of the last ones: `Seat::order`.
    pub(super) order: i32,
    /// Twice the keys of this one that did not, less those that were looked up and did.
    pub(super) misses: i32,
}

/// What a key turned out to be.
enum Found {
    /// Slot of the field.
    Field(usize),
    Unknown(Key),
}

impl Machine<'_> {
    /// Converts the object whose brace is at the position into fields of the open message.
    #[inline(always)]
    pub(super) fn object(&mut self, table: &'static Table) -> Outcome<()> {
        if self.depth >= self.depth_max {
            return Err(Stop::TooDeep);
        }
        self.depth += 1;
        self.objects += 1;
        let mut members = Members {
            table,
            object: self.objects,
            first: 1,
            slot: table.base,
            seen: barred(0),
            unfit: 0,
            flat: 0,
            flat_open: None,
            order: i32::from(self.memory.seat(table.base).order),
            misses: 0,
        };
        if self.careful || self.salvage {
            self.members_again(&mut members)?;
        } else if members.order >= 0 {
            self.members::<true>(&mut members)?;
        } else {
            self.members::<false>(&mut members)?;
        }
        if members.flat != 0 {
            self.switch_flat(&mut members, 0)?;
        }
        self.fitted = members.seen & !members.unfit;
        self.depth -= 1;
        Ok(())
    }

    /// All members of an object of an event that is read again.
    #[cold]
    fn members_again(&mut self, members: &mut Members) -> Outcome<()> {
        if self.careful {
            self.look_ahead()?;
        }
        while !self.member(members)? {}
        if self.careful {
            self.memory.ahead.pop();
        }
        Ok(())
    }

    /// Converts one member, from what stands before its key; true at the object's end.
    #[inline(never)]
    pub(super) fn member(&mut self, members: &mut Members) -> Outcome<bool> {
        if members.first == 1 {
            members.first = 0;
            self.at += 1;
            self.space();
            if self.byte() == b'}' {
                self.at += 1;
                return Ok(true);
            }
        } else if self.after_member()? {
            return Ok(true);
        }
        let slot = match self.find_key(members.table)? {
            Found::Field(slot) => slot,
            Found::Unknown(key) => {
                self.switch_flat(members, 0)?;
                self.unknown(members.object, key)?;
                return Ok(false);
            }
        };
        let field = &FIELDS[slot % SLOTS];
        self.memory.seat(members.slot).next = slot as u16;
        let bit = field.mask;
        if self.careful {
            if let Some(name) = self.superseded(members.table, slot, members.seen & bit != 0) {
                self.switch_flat(members, 0)?;
                self.carry(&Key::Named(name))?;
                return Ok(false);
            }
        } else if members.seen & bit != 0 {
            return Err(Stop::Duplicate);
        }
        members.seen |= bit;
        members.slot = slot;
        if members.flat != field.flat {
            self.switch_flat(members, field.flat)?;
        }
        self.member_value(members)?;
        Ok(false)
    }

    /// Converts the value at the position, or carries it.
    #[inline(always)]
    pub(super) fn member_value(&mut self, members: &mut Members) -> Outcome<()> {
        let slot = members.slot;
        let field = &FIELDS[slot % SLOTS];
        let (value_at, value_pos) = (self.at, self.pos);
        let fits = self.value(field, slot)?;
        if fits && !self.inexact {
            return Ok(());
        }
        if !fits {
            self.pos = value_pos;
            members.unfit |= field.mask;
        }
        self.inexact = false;
        self.switch_flat(members, 0)?;
        self.at = value_at;
        self.carry(&Key::Static(field.name))
    }

    /// Reads what stands behind a member; true at the object's end.
    #[inline(always)]
    pub(super) fn after_member(&mut self) -> Outcome<bool> {
        self.space();
        match self.byte() {
            b',' => {
                self.at += 1;
                self.space();
                Ok(false)
            }
            b'}' => {
                self.at += 1;
                Ok(true)
            }
            _ => self.fault(Fault::CommaOrBrace),
        }
    }

    /// Reads any key, its colon and the space around it.
    fn find_key(&mut self, table: &'static Table) -> Outcome<Found> {
        // A known key with its colon is taken for one even where keys end where they plausibly do.
        let near = near(self.input, self.at - 1);
        if let Some((slot, len)) = find_plain(&near, 1, table) {
            self.at += len - 1;
            self.space();
            return Ok(Found::Field(slot));
        }
        let key = self.read_key()?;
        let input = self.input;
        let found = match &key {
            Key::Plain(range) => table.find(&input[range.clone()]),
            Key::Decoded(range) => {
                let mut bytes = Vec::new();
                raw_bytes(&input[range.clone()], &mut bytes);
                table.find(&bytes)
            }
            Key::Static(_) | Key::Named(_) => None,
        };
        Ok(match found {
            Some(slot) => Found::Field(slot),
            None => Found::Unknown(key),
        })
    }

    /// Reads any key, its colon and the space around it.
    pub(super) fn read_key(&mut self) -> Outcome<Key> {
        if self.byte() != b'"' {
            return self.fault(Fault::Key);
        }
        self.at += 1;
        let start = self.at;
        let mut at = start;
        let plain_end = loop {
            let bits = special_bits(load16(self.input, at));
            if bits == 0 {
                at += 16;
                continue;
            }
            at += bits.trailing_zeros() as usize;
            break at;
        };
        let key = if self.byte_at(plain_end) == b'"' && !self.salvage {
            self.at = plain_end + 1;
            Key::Plain(start..plain_end)
        } else {
            let end = self.skip_string(Place::Key)?;
            Key::Decoded(start..end)
        };
        self.colon()?;
        Ok(key)
    }

    /// Closes the message whose keys stand in this object, and opens the one with this number.
    #[inline(never)]
    pub(super) fn switch_flat(&mut self, members: &mut Members, number: u8) -> Outcome<()> {
        if let Some(open) = members.flat_open.take() {
            self.close(open)?;
        }
        members.flat = number;
        members.seen = members.seen & !FLATS | barred(number);
        if number != 0 {
            let tag = members.table.flats[usize::from(number) - 1];
            members.flat_open = Some(self.open(tag, 1)?);
        }
        Ok(())
    }

    /// One message: its tag, its length, its fields.
    #[inline(always)]
    pub(super) fn message(&mut self, tag: Tag, table: usize, slot: usize) -> Outcome<()> {
        let reserved = usize::from(self.memory.seat(slot).reserve);
        let open = self.open(tag, reserved)?;
        self.object(&TABLES[table])?;
        let took = self.close(open)?;
        if took != reserved {
            self.memory.seat(slot).reserve = took as u8;
        }
        Ok(())
    }
}
