//! Which type a payload has that comes before its type.
//!
//! A program sends the members of its payloads in one order, so the first key tells the type, and it is known from the
//! last payload that began with it. Types whose payloads begin alike (the triggers of a cascade) are told apart by what
//! came before. A wrong guess costs a second reading, and in a batch every other event is of another type than the one
//! before: by the last type alone, 45 small events and 5 states took twice the instructions.

use super::scan::load8;
use super::tables::KINDS;

/// Places for beginnings. Two that share one take turns, which costs what a wrong guess does.
const PLACES: usize = 256;

/// What payloads turned out to be.
#[derive(Debug)]
pub(super) struct Guesses {
    /// By beginning and the type before; 0 (the type without a name) where nothing is known.
    after: [u8; PLACES],
    /// By beginning.
    known: [u8; PLACES],
    /// What the last one turned out to be.
    last: u8,
}

const _: () = assert!(KINDS.len() <= 256, "a type's index fits a byte");

impl Guesses {
    pub(super) const fn new() -> Self {
        Self { after: [0; PLACES], known: [0; PLACES], last: 0 }
    }

    /// The type's index for the payload at the start of `text`.
    pub(super) fn of(&self, text: &[u8]) -> usize {
        let hash = hash(text);
        let guesses = [self.after[place(hash, self.last)], self.known[place(hash, 0)], self.last];
        guesses.into_iter().map(usize::from).find(|&kind| kind != 0).unwrap_or(0)
    }

    /// The last payload turned out to be of this type.
    #[inline(always)]
    pub(super) fn met(&mut self, kind: usize) {
        self.last = kind as u8;
    }

    /// The payload at the start of `text` turned out to be of another type than was guessed.
    pub(super) fn learn(&mut self, text: &[u8], kind: usize) {
        let hash = hash(text);
        self.after[place(hash, self.last)] = kind as u8;
        self.known[place(hash, 0)] = kind as u8;
    }
}

/// Where a beginning with a type before it is kept.
fn place(hash: u64, last: u8) -> usize {
    // Fibonacci hashing: the golden ratio's fraction of 2^64.
    let mixed = hash.wrapping_add(u64::from(last)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - PLACES.trailing_zeros())) as usize
}

/// What a beginning is known by: its first key, as far as eight bytes show it.
fn hash(text: &[u8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = load8(text, 1);
    // What follows the key differs from payload to payload. Zero bytes are the quotes behind the opening one.
    let quotes = (word >> 8) ^ (ONES * b'"' as u64);
    let ends = quotes.wrapping_sub(ONES) & !quotes & (ONES << 7);
    word & (ends ^ ends.wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_tells_the_type_whatever_its_value() {
        let mut guesses = Guesses::new();
        assert_eq!(guesses.of(br#"{"ante":1}"#), 0);
        guesses.learn(br#"{"ante":1,"x":2}"#, 5);
        guesses.met(5);
        guesses.learn(br#"{"old_value":7}"#, 3);
        guesses.met(3);
        assert_eq!(guesses.of(br#"{"ante":999}"#), 5);
        assert_eq!(guesses.of(br#"{"old_value":"x"}"#), 3);
        assert_eq!(guesses.of(br#"{"never_seen":1}"#), 3, "else it is what the last one was");
    }

    #[test]
    fn types_that_begin_alike_are_told_apart_by_what_came_before() {
        let mut guesses = Guesses::new();
        let mut wrong = 0;
        for kind in [4, 9].into_iter().cycle().take(100) {
            let text = br#"{"joker":1}"#;
            if guesses.of(text) != kind {
                wrong += 1;
                guesses.learn(text, kind);
            }
            guesses.met(kind);
        }
        assert!(wrong <= 3, "{wrong}");
    }

    #[test]
    fn texts_that_are_cut_or_no_objects_are_guessed_too() {
        let mut guesses = Guesses::new();
        for text in [&b""[..], b"{", b"{\"", b"{\"\"", b"{}", b"[1]", b"\"", b"{ \"a\""] {
            guesses.learn(text, 7);
            assert_eq!(guesses.of(text), 7, "{}", String::from_utf8_lossy(text));
        }
    }
}
