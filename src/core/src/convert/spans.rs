//! Lists that came before, with what became of them.
//!
//! Most of a state is lists of cards and jokers that are, byte for byte, those of the same game's last state. A list ends
//! where its own bracket says, so a text that begins with all of a known list's bytes holds that very list: comparing the
//! bytes replaces reading them, and its encoding is copied. Of a list of which only some elements changed, the others are
//! copied.
//!
//! A list is looked for where its field, its sender and the game it belongs to say. There are four places for each of
//! these, so games that share a connection do not push out each other's lists. A list is kept when it comes for the
//! second time, or when most of it was known: what never comes again costs a look and a few words.

use crate::lru::Lru;
use std::ops::Range;

/// Lists remembered for one field of one game.
const WAYS: usize = 4;
/// Fingerprints remembered of lists that came once.
const SEEN: usize = 4;
/// A shorter list costs less to read than to look for. Measured: see the rows of `benches/convert`.
const TEXT_BYTES_MIN: usize = 128;
/// One list may take this part of all the memory.
const SHARE: usize = 8;
/// Memory for one set of places: what two kept lists of a usual size take.
const BYTES_A_SET: usize = 4096;
/// Past this, room for marks that one odd list made large is given back.
const MARKS_KEPT: usize = 1 << 14;
/// Marks no place.
const NONE: u32 = u32::MAX;

/// Where the lists of one field of one game are looked for, and under what conditions they are the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Of sender, game and field.
    pub(super) hash: u64,
    /// The field's slot.
    pub(super) slot: u32,
    /// Levels of nesting that are left inside the list.
    pub(super) levels: u32,
}

/// The end of one element in a list's text and in its encoding, from their starts; and broken rules that were counted
/// up to there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) text: u32,
    pub(super) encoded: u32,
    pub(super) noted: u32,
}

/// A list that is kept.
#[derive(Debug, Default)]
struct Kept {
    /// Its text from bracket to bracket, then its encoding: all elements with their tags.
    bytes: Vec<u8>,
    text_len: usize,
    marks: Vec<Mark>,
    slot: u32,
    levels: u32,
    /// The set that it is in.
    set: u32,
    /// Bytes that it takes.
    held: usize,
}

/// What a lookup compares before it goes to the list itself.
#[derive(Clone, Copy, Debug)]
struct Way {
    tag: u32,
    place: u32,
}

#[derive(Clone, Copy, Debug)]
struct Set {
    /// Used last first; free ones last.
    ways: [Way; WAYS],
    seen: [u32; SEEN],
}

const EMPTY: Set = Set { ways: [Way { tag: 0, place: NONE }; WAYS], seen: [0; SEEN] };

/// What is known of a text that starts with a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    place: usize,
    /// Bytes of the list that the text starts with.
    pub(super) same: usize,
}

/// The lists that are kept.
#[derive(Debug)]
pub(super) struct Spans {
    bytes_max: usize,
    sets: Vec<Set>,
    kept: Vec<Kept>,
    /// Places of `kept` that hold none.
    free: Vec<u32>,
    lru: Lru,
    held: usize,
    /// Who sends the event at hand.
    pub(super) sender: u64,
    /// A list is being read; those inside it are kept with it.
    is_inside: bool,
    /// The elements of the list being read.
    pub(super) marks: Vec<Mark>,
    pub(super) counts: Counts,
}

/// What the lookups came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lists that were the same as one that is kept.
    pub hits: u64,
    /// Lists of which some elements were.
    pub partial: u64,
    /// Lists that were read whole.
    pub misses: u64,
    /// Lists dropped for newer ones.
    pub evicted: u64,
}

impl Spans {
    /// None kept yet; 0 keeps none at all.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            sets: Vec::new(),
            kept: Vec::new(),
            free: Vec::new(),
            lru: Lru::new(),
            held: 0,
            sender: 0,
            is_inside: false,
            marks: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Whether lists are looked for here.
    #[inline(always)]
    pub(super) fn is_on(&self) -> bool {
        self.bytes_max != 0 && !self.is_inside
    }

    /// A list is read from here on.
    pub(super) fn begin(&mut self) {
        self.is_inside = true;
        self.marks.clear();
    }

    /// It was read, whatever came of it.
    pub(super) fn end(&mut self) {
        self.is_inside = false;
        if self.marks.capacity() > MARKS_KEPT {
            self.marks = Vec::new();
        }
    }

    /// Bytes that all kept lists take, with the table of their places.
    pub(super) fn held(&self) -> usize {
        self.held + size_of_val(self.sets.as_slice())
    }

    /// The kept list that `text` starts with, or the one with the longest start in common.
    pub(super) fn find(&mut self, key: &Key, text: &[u8]) -> Option<Known> {
        let mask = self.sets.len().checked_sub(1)?;
        let set = &mut self.sets[key.hash as usize & mask];
        let tag = tag(key);
        let mut best: Option<Known> = None;
        for index in 0..WAYS {
            let way = set.ways[index];
            if way.tag != tag || way.place == NONE {
                continue;
            }
            let place = way.place as usize;
            let Some(kept) = self.kept.get(place) else { continue };
            if kept.slot != key.slot || kept.levels > key.levels {
                continue;
            }
            let known = kept.text();
            // What ends or differs where the text went on being the same as another has less in common.
            if let Some(best) = best
                && known.get(best.same) != text.get(best.same)
            {
                continue;
            }
            if text.starts_with(known) {
                set.ways[..=index].rotate_right(1);
                self.lru.touch(place);
                return Some(Known { place, same: known.len() });
            }
            let same = same_len(known, text);
            if best.is_none_or(|best| same > best.same) {
                best = Some(Known { place, same });
            }
        }
        best
    }

    /// Text, encoding and marks of a list that was found.
    #[inline(always)]
    pub(super) fn list(&self, known: Known) -> (&[u8], &[u8], &[Mark]) {
        let kept = &self.kept[known.place];
        let (text, encoded) = kept.bytes.split_at(kept.text_len);
        (text, encoded, &kept.marks)
    }

    /// Some of the known list's elements, which stand behind `from` in it, were copied to `to` of the list being read.
    pub(super) fn mark_copied(
        &mut self,
        known: Known,
        elements: Range<usize>,
        from: Mark,
        to: Mark,
    ) {
        self.marks.extend(self.kept[known.place].marks[elements].iter().map(|mark| Mark {
            text: mark.text - from.text + to.text,
            encoded: mark.encoded - from.encoded + to.encoded,
            noted: mark.noted - from.noted + to.noted,
        }));
    }

    /// A list was read to its end: keeps it if it came before, or if `is_known` says that most of it did. Its elements are
    /// in `marks`.
    pub(super) fn learn(&mut self, key: &Key, text: &[u8], encoded: &[u8], is_known: bool) {
        if text.len() < TEXT_BYTES_MIN {
            return;
        }
        if self.sets.is_empty() {
            let sets = (self.bytes_max / BYTES_A_SET).next_power_of_two();
            self.sets = vec![EMPTY; sets];
        }
        let set_index = key.hash as usize & (self.sets.len() - 1);
        let print = fingerprint(key, text);
        let set = &mut self.sets[set_index];
        if !is_known && !set.seen.contains(&print) {
            set.seen.rotate_right(1);
            set.seen[0] = print;
            return;
        }
        let needed = text.len() + encoded.len() + size_of_val(self.marks.as_slice());
        if needed > self.bytes_max / SHARE {
            return;
        }
        let mut kept = Kept {
            text_len: text.len(),
            slot: key.slot,
            levels: key.levels,
            set: set_index as u32,
            ..Kept::default()
        };
        // The one of this set that was used longest ago makes room in it, and leaves its buffers: a list that changes in
        // every state allocates nothing.
        let last = set.ways[WAYS - 1].place;
        if last != NONE {
            let gone = self.drop_kept(last as usize);
            (kept.bytes, kept.marks) = (gone.bytes, gone.marks);
        }
        fill(&mut kept.bytes, &[text, encoded]);
        fill(&mut kept.marks, &[&self.marks]);
        kept.held =
            kept.bytes.capacity() + kept.marks.capacity() * size_of::<Mark>() + size_of::<Kept>();
        if kept.held > self.bytes_max / SHARE {
            return;
        }
        while self.held + kept.held > self.bytes_max {
            let Some(oldest) = self.lru.oldest() else { break };
            self.drop_kept(oldest);
        }
        self.keep(tag(key), kept);
    }

    fn keep(&mut self, tag: u32, kept: Kept) {
        let place = match self.free.pop() {
            Some(place) => {
                self.lru.insert(place as usize);
                place as usize
            }
            None => {
                self.kept.push(Kept::default());
                self.lru.grow();
                self.kept.len() - 1
            }
        };
        self.held += kept.held;
        let ways = &mut self.sets[kept.set as usize].ways;
        ways.rotate_right(1);
        ways[0] = Way { tag, place: place as u32 };
        self.kept[place] = kept;
    }

    fn drop_kept(&mut self, place: usize) -> Kept {
        let kept = std::mem::take(&mut self.kept[place]);
        self.held -= kept.held;
        self.lru.remove(place);
        self.free.push(place as u32);
        self.counts.evicted += 1;
        let ways = &mut self.sets[kept.set as usize].ways;
        if let Some(index) = ways.iter().position(|way| way.place == place as u32) {
            ways[index] = EMPTY.ways[0];
            ways[index..].rotate_left(1);
        }
        kept
    }
}

/// Puts the parts into a buffer, which is kept unless it is too small or far too large.
fn fill<T: Copy>(buffer: &mut Vec<T>, parts: &[&[T]]) {
    /// So many times what is needed a buffer may be.
    const LOOSE: usize = 4;
    /// A list of nearly the same length fits as well: bytes.
    const STEP: usize = 64;
    let needed: usize = parts.iter().map(|part| part.len()).sum();
    let rounded = needed.next_multiple_of(STEP / size_of::<T>());
    buffer.clear();
    if buffer.capacity() < needed || buffer.capacity() > LOOSE * rounded {
        *buffer = Vec::with_capacity(rounded);
    }
    parts.iter().for_each(|part| buffer.extend_from_slice(part));
}

impl Kept {
    fn text(&self) -> &[u8] {
        &self.bytes[..self.text_len]
    }
}

/// The hash's other half: the lower one says which set.
fn tag(key: &Key) -> u32 {
    (key.hash >> 32) as u32
}

/// Mixes eight more bytes into a hash.
#[inline(always)]
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * 0xA076_1D64_78BD_642F;
    product as u64 ^ (product >> 64) as u64 ^ 0xE703_7ED1_A0B4_28DB
}

/// Tells lists apart by their length and a few of their bytes. Not for sure: it is only about what is worth keeping.
fn fingerprint(key: &Key, text: &[u8]) -> u32 {
    const SAMPLES: usize = 12;
    let last = text.len() - 8;
    let hash = (0..=SAMPLES).fold(mix(key.hash, text.len() as u64), |hash, sample| {
        let at = last * sample / SAMPLES;
        let word = text[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        mix(hash, word)
    });
    // 0 stands for none seen.
    (hash >> 32) as u32 | 1
}

/// How many bytes two texts have in common at their starts.
pub(super) fn same_len(one: &[u8], other: &[u8]) -> usize {
    let both = one.len().min(other.len());
    let (one, other) = (&one[..both], &other[..both]);
    // Blocks as arrays are compared without a call.
    let blocks = one.as_chunks::<64>().0.iter().zip(other.as_chunks::<64>().0);
    let start = 64 * blocks.take_while(|(one, other)| one == other).count();
    let words = one[start..].as_chunks::<8>().0.iter().zip(other[start..].as_chunks::<8>().0);
    let start = start + 8 * words.take_while(|(one, other)| one == other).count();
    let rest = one[start..].iter().zip(&other[start..]);
    start + rest.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        Key { hash: mix(number, 7), slot: 3, levels: 9 }
    }

    fn list(number: u64) -> Vec<u8> {
        format!("[{{\"a\":\"{number:0>300}\"}}]").into_bytes()
    }

    /// A list of one element that comes twice.
    fn learn(spans: &mut Spans, number: u64) {
        let text = list(number);
        for _ in 0..2 {
            spans.begin();
            spans.marks.push(Mark { text: text.len() as u32 - 1, encoded: 5, noted: 0 });
            spans.learn(&key(number), &text, b"12345", false);
            spans.end();
        }
    }

    fn is_known(spans: &mut Spans, number: u64) -> bool {
        let text = [list(number), b",\"b\":1}".to_vec()].concat();
        spans.find(&key(number), &text).is_some_and(|known| {
            let (text, encoded, _) = spans.list(known);
            known.same == text.len() && text == list(number) && encoded == b"12345"
        })
    }

    #[test]
    fn the_list_used_longest_ago_goes() {
        let mut spans = Spans::new(8_000);
        learn(&mut spans, 0);
        for number in 1..100 {
            learn(&mut spans, number);
            assert!(is_known(&mut spans, 0), "it is in use");
            assert!(spans.held <= 8_000 && spans.kept.len() < 30, "{spans:?}");
        }
        assert!(is_known(&mut spans, 99) && !is_known(&mut spans, 1));
        assert_eq!(spans.lru.oldest().is_some(), spans.held > 0);
    }

    #[test]
    fn a_list_is_found_only_where_it_is_the_same() {
        let mut spans = Spans::new(1 << 20);
        learn(&mut spans, 0);
        let text = list(0);
        let find = |spans: &mut Spans, key: Key, text: &[u8]| {
            spans.find(&key, text).is_some_and(|known| known.same == list(0).len())
        };
        assert!(find(&mut spans, key(0), &text));
        assert!(!find(&mut spans, key(0), &text[..text.len() - 1]));
        assert!(!find(&mut spans, Key { slot: 4, ..key(0) }, &text));
        assert!(!find(&mut spans, Key { levels: 8, ..key(0) }, &text));
        assert!(find(&mut spans, Key { levels: 10, ..key(0) }, &text));
    }

    #[test]
    fn four_lists_take_turns_in_one_place() {
        let mut spans = Spans::new(1 << 20);
        let same_key = |number: u64| [b"[\"", list(number).as_slice(), b"]"].concat();
        for number in 0..4 {
            for _ in 0..2 {
                spans.begin();
                spans.learn(&key(0), &same_key(number), b"", false);
                spans.end();
            }
        }
        for number in [0, 1, 2, 3, 1, 0, 3, 2] {
            let text = same_key(number);
            assert_eq!(spans.find(&key(0), &text).map(|known| known.same), Some(text.len()));
        }
    }

    #[test]
    fn texts_have_in_common_what_a_loop_says() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let one: Vec<u8> = (0..random.usize(..300)).map(|_| random.u8(..)).collect();
            let mut other = one.clone();
            if !other.is_empty() && random.bool() {
                let at = random.usize(..other.len());
                other[at] ^= 1;
            }
            other.truncate(random.usize(..=other.len()));
            let expected = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
            assert_eq!(same_len(&one, &other), expected);
        }
    }
}
