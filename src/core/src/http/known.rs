//! Heads that were judged before. A client sends the same head with each of its requests, but for the digits of
//! `Content-Length`; what was found out about it once holds for the same bytes again. Comparing 150 bytes replaces
//! finding the end, parsing, and deciding who may come in: two thirds of what HTTP costs an event.
//!
//! Only heads go in that were accepted without a look at a token, so a secret is never compared here, and that have
//! nothing about them that depends on more than their own bytes.

use super::framing::{Framing, parse_length};
use super::head::Head;
use crate::limits;
use std::ops::Range;

/// Names a known head for as long as it stays known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownHead {
    /// Its place, below [`limits::KNOWN_HEADS`].
    pub place: u8,
    /// Distinguishes it from what stood in its place before.
    pub serial: u32,
}

/// Heads judged before, least recently used ones overwritten.
#[derive(Debug, Default)]
pub(crate) struct KnownHeads {
    entries: Vec<Entry>,
    /// Where the search for a place to overwrite goes on.
    hand: usize,
    serial: u32,
}

#[derive(Debug)]
struct Entry {
    bytes: Box<[u8]>,
    /// The digits of `Content-Length` in `bytes`; empty without one.
    digits: Range<usize>,
    head: Head,
    lenient: bool,
    /// Used since the hand last passed.
    is_used: bool,
    serial: u32,
}

/// What is known of a head.
#[derive(Debug)]
pub(crate) struct Recognised<'a> {
    /// As parsed, but for the length of the body.
    pub(crate) head: &'a Head,
    /// The length of this one's body.
    pub(crate) framing: Framing,
    pub(crate) lenient: bool,
    pub(crate) name: KnownHead,
}

impl KnownHeads {
    /// Whether `bytes` begin with a known head. `hint` is where the same client's last one was.
    pub(crate) fn recognise(&mut self, hint: u8, bytes: &[u8]) -> Option<Recognised<'_>> {
        let first = usize::from(hint);
        let place = match self.entries.get(first) {
            Some(entry) if entry.begins(bytes) => first,
            _ => self.entries.iter().position(|entry| entry.begins(bytes))?,
        };
        let entry = &mut self.entries[place];
        let framing = match entry.digits.is_empty() {
            true => entry.head.framing,
            false => Framing::of_length(parse_length(&bytes[entry.digits.clone()])?),
        };
        entry.is_used = true;
        let name = KnownHead { place: place as u8, serial: entry.serial };
        Some(Recognised { head: &entry.head, framing, lenient: entry.lenient, name })
    }

    /// Remembers a head that was accepted. `length` is the value of its `Content-Length`, a slice of `bytes`.
    pub(crate) fn remember(
        &mut self,
        bytes: &[u8],
        head: &Head,
        lenient: bool,
    ) -> Option<KnownHead> {
        if bytes.len() > limits::KNOWN_HEAD_BYTES_MAX {
            return None;
        }
        self.serial = self.serial.wrapping_add(1);
        let entry = Entry {
            bytes: bytes.into(),
            digits: head.content_length_digits(),
            head: *head,
            lenient,
            is_used: false,
            serial: self.serial,
        };
        let place = self.free_place();
        match self.entries.get_mut(place) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
        Some(KnownHead { place: place as u8, serial: self.serial })
    }

    /// Goes round until an entry was not used since the last time; so heads that never come again do not push out those
    /// that do.
    fn free_place(&mut self) -> usize {
        if self.entries.len() < limits::KNOWN_HEADS {
            return self.entries.len();
        }
        loop {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if !std::mem::take(&mut entry.is_used) {
                return self.hand;
            }
        }
    }
}

impl Entry {
    /// Whether `bytes` begin with this head, with any digits as its `Content-Length`. As many digits: every place in the
    /// head is then the same.
    fn begins(&self, bytes: &[u8]) -> bool {
        let Some(bytes) = bytes.get(..self.bytes.len()) else { return false };
        let Range { start, end } = self.digits;
        bytes[end..] == self.bytes[end..]
            && bytes[..start] == self.bytes[..start]
            && bytes[start..end].iter().all(u8::is_ascii_digit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(length: &str, agent: &str) -> Vec<u8> {
        format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nUser-Agent: {agent}\r\n\r\n"
        )
        .into_bytes()
    }

    fn remember(known: &mut KnownHeads, bytes: &[u8]) -> KnownHead {
        let (parsed, fault) = Head::parse(bytes).expect("a head");
        assert!(fault.is_none());
        known.remember(bytes, &parsed, false).expect("short enough")
    }

    #[test]
    fn the_same_head_is_recognised_with_another_length_of_as_many_digits() {
        let mut known = KnownHeads::default();
        let name = remember(&mut known, &head("190", "a"));
        for (length, framing) in [
            ("190", Some(Framing::Fixed(190))),
            ("007", Some(Framing::Fixed(7))),
            ("000", Some(Framing::None)),
            ("999", Some(Framing::Fixed(999))),
            ("19", None),
            ("1900", None),
            ("1 0", None),
            ("+10", None),
            ("1,0", None),
        ] {
            let mut bytes = head(length, "a");
            bytes.extend_from_slice(b"{\"body\":1}");
            let found = known.recognise(0, &bytes).map(|found| (found.framing, found.name));
            assert_eq!(found, framing.map(|framing| (framing, name)), "{length}");
        }
    }

    #[test]
    fn every_other_byte_counts() {
        let mut known = KnownHeads::default();
        let bytes = head("190", "a");
        remember(&mut known, &bytes);
        let digits = bytes.windows(3).position(|window| window == b"190").unwrap();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let is_digit = (digits..digits + 3).contains(&at);
            assert_eq!(known.recognise(0, &other).is_some(), is_digit, "byte {at}");
            assert!(known.recognise(0, &bytes[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn a_flood_of_heads_that_never_come_again_leaves_those_that_do() {
        let mut known = KnownHeads::default();
        let regular = head("190", "regular");
        let name = remember(&mut known, &regular);
        for n in 0..10 * limits::KNOWN_HEADS {
            remember(&mut known, &head("190", &format!("agent-{n}")));
            let found = known.recognise(name.place, &regular).expect("it stays known");
            assert_eq!(found.name, name);
        }
        assert_eq!(known.entries.len(), limits::KNOWN_HEADS);
    }

    #[test]
    fn a_place_that_was_overwritten_has_another_serial() {
        let mut known = KnownHeads::default();
        let first = remember(&mut known, &head("190", "first"));
        let names: Vec<KnownHead> = (0..2 * limits::KNOWN_HEADS)
            .map(|n| remember(&mut known, &head("190", &format!("agent-{n}"))))
            .collect();
        assert!(known.recognise(first.place, &head("190", "first")).is_none());
        assert!(names.iter().any(|name| name.place == first.place && name.serial != first.serial));
    }

    #[test]
    fn long_heads_are_not_kept() {
        let mut known = KnownHeads::default();
        let bytes = head("1", &"x".repeat(limits::KNOWN_HEAD_BYTES_MAX));
        let (parsed, _) = Head::parse(&bytes).unwrap();
        assert!(known.remember(&bytes, &parsed, false).is_none());
    }
}
