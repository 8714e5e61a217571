//! Lists of messages, copied as far as they came before (see `spans`).

use super::machine::Machine;
use super::scan::load8;
use super::spans::{Key, Known, Mark, mix, same_len};
use super::stop::{Fault, Outcome, Stop};
use super::tables::Field;

/// So many elements in a row may differ before the rest of a list is read without looking.
const PATIENCE: u32 = 3;

/// A list that is known in parts.
struct Partly {
    known: Option<Known>,
    /// Bytes in common behind the last element; known for the list's start when it was found.
    same: Option<usize>,
    /// Elements in a row that differed.
    differed: u32,
}

impl Machine<'_> {
    /// The list of messages whose bracket is at `start` and whose first element is at the position; as `messages`.
    pub(super) fn messages_known(
        &mut self,
        field: &'static Field,
        slot: usize,
        start: usize,
    ) -> Outcome<Option<u32>> {
        let out = self.pos;
        let key = self.list_key(slot);
        let spans = &mut self.memory.spans;
        let known = spans.find(&key, &self.input[start..]);
        if let Some(known) = known
            && let (text, encoded, marks) = spans.list(known)
            && known.same == text.len()
            && let Some(last) = marks.last()
        {
            let Some(room) = self.out.get_mut(out..out + encoded.len()) else {
                return Err(Stop::NoRoom);
            };
            room.copy_from_slice(encoded);
            self.at = start + text.len();
            self.pos = out + encoded.len();
            self.noted += last.noted;
            let items = marks.len() as u32;
            spans.counts.hits += 1;
            return Ok(Some(items));
        }
        spans.begin();
        let result = self.messages_partly(field, slot, start, &key, known);
        self.memory.spans.end();
        result
    }

    fn messages_partly(
        &mut self,
        field: &'static Field,
        slot: usize,
        start: usize,
        key: &Key,
        known: Option<Known>,
    ) -> Outcome<Option<u32>> {
        let (first, out) = (self.at, self.pos);
        self.at = start;
        let (raw, findings, noted) = (self.raw.len(), self.findings.len(), self.noted);
        let mut partly = Partly { known, same: known.map(|known| known.same), differed: 0 };
        let mut items = 0;
        let mut copied = 0;
        loop {
            if partly.known.is_some() {
                let copies = self.copy_known(&mut partly, items, start, out, noted)?;
                (items, copied) = (items + copies, copied + copies);
            }
            if items == 0 {
                self.at = first;
            } else {
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
            if self.byte() != b'{' {
                return Ok(None);
            }
            self.message(field.tag(), usize::from(field.sub), slot)?;
            items += 1;
            let mark = Mark {
                text: (self.at - start) as u32,
                encoded: (self.pos - out) as u32,
                noted: self.noted - noted,
            };
            self.memory.spans.marks.push(mark);
        }
        let spans = &mut self.memory.spans;
        if copied > 0 {
            spans.counts.partial += 1;
        } else {
            spans.counts.misses += 1;
        }
        // What a conversion leaves beside its output must not be missing the next time: broken rules that are only counted
        // are kept, but a list with findings or repaired text is not.
        if self.raw.len() == raw && self.findings.len() == findings {
            let (text, encoded) = (&self.input[start..self.at], &self.out[out..self.pos]);
            spans.learn(key, text, encoded, 2 * copied >= items);
        }
        Ok(Some(items))
    }

    /// Copies the elements behind the first `items` that are the same as in the known list; tells how many.
    fn copy_known(
        &mut self,
        partly: &mut Partly,
        items: u32,
        start: usize,
        out: usize,
        noted: u32,
    ) -> Outcome<u32> {
        let Some(known) = partly.known else { return Ok(0) };
        let spans = &mut self.memory.spans;
        let (text, encoded, marks) = spans.list(known);
        let done = items as usize;
        let from = match done.checked_sub(1) {
            None => Mark::default(),
            Some(last) => match marks.get(last) {
                Some(mark) => *mark,
                None => {
                    partly.known = None;
                    return Ok(0);
                }
            },
        };
        let at = from.text as usize;
        let same =
            partly.same.take().unwrap_or_else(|| same_len(&text[at..], &self.input[self.at..]));
        let copies = marks[done..].partition_point(|mark| mark.text as usize <= at + same);
        if copies == 0 {
            partly.differed += 1;
            if partly.differed >= PATIENCE {
                partly.known = None;
            }
            return Ok(0);
        }
        partly.differed = 0;
        let to = marks[done + copies - 1];
        let encoded = &encoded[from.encoded as usize..to.encoded as usize];
        let Some(room) = self.out.get_mut(self.pos..self.pos + encoded.len()) else {
            return Err(Stop::NoRoom);
        };
        room.copy_from_slice(encoded);
        let place = Mark {
            text: (self.at - start) as u32,
            encoded: (self.pos - out) as u32,
            noted: self.noted - noted,
        };
        self.at += (to.text - from.text) as usize;
        self.pos += encoded.len();
        self.noted += to.noted - from.noted;
        spans.mark_copied(known, done..done + copies, from, place);
        Ok(copies as u32)
    }

    /// Where lists of this field are looked for. The game that the event names counts if it stands before the list: it does
    /// or does not in all of a game's events, and games that share a sender are told apart by it.
    fn list_key(&self, slot: usize) -> Key {
        const ID_BYTES: usize = 32;
        let facts = &self.facts;
        let game = if facts.own_game_id.is_empty() { facts.game_id } else { facts.own_game_id };
        let game = &self.out[game.start..game.end.min(game.start + ID_BYTES)];
        let hash = game.chunks(8).fold(mix(self.memory.spans.sender, slot as u64), |hash, part| {
            mix(hash, load8(part, 0))
        });
        Key { hash, slot: slot as u32, levels: self.depth_max - self.depth }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::{CHOICES, FIELDS, Field, Kind, TABLES};

    /// The tables of what can stand in a value of this field.
    fn inside(field: &Field) -> Vec<usize> {
        match field.kind {
            Kind::Message | Kind::MessageList | Kind::MessageMap => vec![usize::from(field.sub)],
            Kind::Choice if CHOICES[usize::from(field.sub)].object.1 != 0 => {
                vec![CHOICES[usize::from(field.sub)].table]
            }
            _ => Vec::new(),
        }
    }

    /// A copied list tells nothing of the event that it stands in, so there must be nothing in it to tell.
    #[test]
    fn no_list_holds_what_identifies_its_event() {
        let mut tables: Vec<usize> = FIELDS
            .iter()
            .filter(|field| field.kind == Kind::MessageList)
            .map(|field| usize::from(field.sub))
            .collect();
        assert!(!tables.is_empty());
        let mut at = 0;
        while at < tables.len() {
            for field in TABLES[tables[at]].fields() {
                let is_plain = !matches!(
                    field.kind,
                    Kind::Type
                        | Kind::Subtype
                        | Kind::Timestamp
                        | Kind::Payload
                        | Kind::Changes
                        | Kind::Events
                );
                assert!(is_plain && field.role == 0, "{} in a list", field.name);
                assert!(!["priority", "producer_sequence"].contains(&field.name), "{}", field.name);
                tables.extend(
                    inside(field)
                        .into_iter()
                        .filter(|table| !tables.contains(table))
                        .collect::<Vec<_>>(),
                );
            }
            at += 1;
        }
    }
}
