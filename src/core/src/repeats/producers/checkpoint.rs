//! What is known of the producers, as bytes that stand beside the log.
//!
//! The ring forgets what is overwritten, and a service that starts would know only what it still holds. So the table is
//! written out each time the log has gone on by a quarter of its capacity, and read at the next start; then every event
//! of the ring is learnt on top. Wherever the process died, all that came after the last checkpoint is still in the
//! ring, so nothing is missing; and to learn a number again changes nothing. An older checkpoint is poorer, but never
//! wrong: what was stored stays stored, and numbers between it and the ring count as never seen.
//!
//! The bytes are words of 64 bits, little-endian, with a checksum behind them:
//!
//! ```text
//! magic  version  origin  key (2)  producers   { hash  highest  unknown_below  used  gaps  { from  to } … } …   checksum
//! ```
//!
//! `origin` is the line of logs (the first one's epoch): numbers are the producer's own and go on from log to log, so a
//! rotation changes nothing. In another line nobody could read the events any more that these numbers stand for;
//! there they are stored again. `key` is the one that names were hashed with: a rotated log has another.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

use super::{Gap, Producer, Producers};
use crate::limits;

const MAGIC: u64 = u64::from_le_bytes(*b"JIMBTPRD");
const VERSION: u64 = 1;
/// Words before the first producer, and of a producer without gaps.
const HEAD_WORDS: usize = 6;
const PRODUCER_WORDS: usize = 5;
const WORD: usize = size_of::<u64>();

/// The most bytes a checkpoint has.
pub const CHECKPOINT_BYTES_MAX: usize = WORD
    * (HEAD_WORDS + limits::PRODUCERS_MAX * (PRODUCER_WORDS + 2 * limits::PRODUCER_GAPS_MAX) + 1);

/// Why a checkpoint cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It does not begin as one.
    Foreign,
    /// Another version of this program wrote it.
    Version,
    /// Its checksum or its numbers do not fit.
    Damaged,
    /// It belongs to another line of logs.
    OtherLog,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unusable::Foreign => "it is no such file of ours",
            Unusable::Version => "another version wrote it",
            Unusable::Damaged => "it is damaged",
            Unusable::OtherLog => "it belongs to another log",
        })
    }
}

impl Producers {
    /// Writes everything down in place of what `to` held.
    pub(in crate::repeats) fn write(&self, origin: u64, key: [u8; 16], to: &mut Vec<u8>) {
        to.clear();
        let mut put = |word: u64| to.extend_from_slice(&word.to_le_bytes());
        let (low, high) = key_words(key);
        for word in [MAGIC, VERSION, origin, low, high, self.known.len() as u64] {
            put(word);
        }
        for (&hash, known) in &self.known {
            let Producer { highest, unknown_below, gaps, used } = known;
            for word in [hash, *highest, *unknown_below, *used, gaps.len() as u64] {
                put(word);
            }
            for &Gap { from, to } in gaps {
                put(from);
                put(to);
            }
        }
        let sum = checksum(to);
        to.extend_from_slice(&sum.to_le_bytes());
    }

    /// What [`Producers::write`] wrote, and the key.
    ///
    /// # Errors
    /// [`Unusable`]; then nothing is known of it.
    pub(in crate::repeats) fn read(
        bytes: &[u8],
        origin: u64,
    ) -> Result<(Producers, [u8; 16]), Unusable> {
        let (words, rest) = bytes.as_chunks::<WORD>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        if words.next() != Some(MAGIC) {
            return Err(Unusable::Foreign);
        }
        if words.next() != Some(VERSION) {
            return Err(Unusable::Version);
        }
        let (content, sum) = bytes.split_at(bytes.len() - WORD);
        if !rest.is_empty() || checksum(content).to_le_bytes() != sum {
            return Err(Unusable::Damaged);
        }
        if words.next() != Some(origin) {
            return Err(Unusable::OtherLog);
        }
        let found = read_table(&mut words).filter(|_| words.len() == 1);
        found.ok_or(Unusable::Damaged)
    }
}

fn read_table(words: &mut impl Iterator<Item = u64>) -> Option<(Producers, [u8; 16])> {
    let mut key = [0; 16];
    for half in key.as_chunks_mut::<WORD>().0 {
        *half = words.next()?.to_le_bytes();
    }
    let count = bounded(words.next()?, limits::PRODUCERS_MAX)?;
    let mut producers = Producers::default();
    for _ in 0..count {
        let hash = words.next()?;
        let mut known = Producer {
            highest: words.next()?,
            unknown_below: words.next()?,
            used: words.next()?,
            gaps: Vec::with_capacity(limits::PRODUCER_GAPS_MAX + 1),
        };
        // Gaps rise, do not touch, and end below the highest number.
        let mut least = known.unknown_below;
        for _ in 0..bounded(words.next()?, limits::PRODUCER_GAPS_MAX)? {
            let gap = Gap { from: words.next()?, to: words.next()? };
            if gap.from < least || gap.to < gap.from || gap.to >= known.highest {
                return None;
            }
            least = gap.to + 1;
            known.gaps.push(gap);
        }
        producers.uses = producers.uses.max(known.used);
        if known.unknown_below > known.highest || producers.known.insert(hash, known).is_some() {
            return None;
        }
    }
    producers.saved = producers.uses;
    Some((producers, key))
}

fn bounded(count: u64, most: usize) -> Option<usize> {
    usize::try_from(count).ok().filter(|count| *count <= most)
}

fn key_words(key: [u8; 16]) -> (u64, u64) {
    let key = u128::from_le_bytes(key);
    (key as u64, (key >> 64) as u64)
}

/// Tells a whole file from a cut or changed one; no secret, since who can write here can write the log.
fn checksum(bytes: &[u8]) -> u64 {
    rapidhash_v3_seeded(bytes, &RapidSecrets::seed(MAGIC))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Seen;
    use super::*;

    const ORIGIN: u64 = 77;
    const KEY: [u8; 16] = *b"a key for names.";

    fn written(producers: &Producers) -> Vec<u8> {
        let mut bytes = vec![1; 3];
        producers.write(ORIGIN, KEY, &mut bytes);
        bytes
    }

    fn learnt(numbers: &[(u64, u64)]) -> Producers {
        let mut producers = Producers::default();
        for &(producer, number) in numbers {
            producers.remember(producer, number);
        }
        producers
    }

    fn numbers() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0_u64..6, prop_oneof![0_u64..200, any::<u64>()]), 0..300)
    }

    proptest! {
        #[test]
        fn what_was_written_is_known_again(numbers in numbers(), probes in numbers()) {
            let producers = learnt(&numbers);
            let (again, key) = Producers::read(&written(&producers), ORIGIN).unwrap();
            prop_assert_eq!(key, KEY);
            prop_assert!(!again.has_news());
            for (producer, number) in numbers.into_iter().chain(probes) {
                prop_assert_eq!(again.seen(producer, number), producers.seen(producer, number));
            }
        }

        #[test]
        fn a_checkpoint_and_what_came_since_are_all_there_was(
            numbers in numbers(),
            cut in any::<prop::sample::Index>(),
            overlap in 0_usize..50,
        ) {
            let whole = learnt(&numbers);
            // The ring holds everything since the checkpoint, and some of what was before it.
            let cut = cut.index(numbers.len() + 1);
            let bytes = written(&learnt(&numbers[..cut]));
            let (mut again, _) = Producers::read(&bytes, ORIGIN).unwrap();
            for &(producer, number) in &numbers[cut.saturating_sub(overlap)..] {
                again.remember(producer, number);
            }
            for &(producer, number) in &numbers {
                prop_assert_eq!(again.seen(producer, number), whole.seen(producer, number));
            }
        }

        #[test]
        fn what_is_cut_or_changed_is_ignored(
            numbers in numbers(),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let bytes = written(&learnt(&numbers));
            let at = at.index(bytes.len());
            prop_assert!(Producers::read(&bytes[..at], ORIGIN).is_err());
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            prop_assert!(Producers::read(&changed, ORIGIN).is_err());
            let longer = [&bytes[..], &[0; 8]].concat();
            prop_assert!(Producers::read(&longer, ORIGIN).is_err());
        }

        #[test]
        fn no_words_however_odd_make_an_impossible_table(
            words in prop::collection::vec(prop_oneof![0_u64..40, any::<u64>()], 0..60),
        ) {
            let head = [MAGIC, VERSION, ORIGIN];
            let mut bytes: Vec<u8> =
                head.iter().chain(&words).flat_map(|word| word.to_le_bytes()).collect();
            bytes.extend(checksum(&bytes).to_le_bytes());
            if let Ok((mut producers, _)) = Producers::read(&bytes, ORIGIN) {
                for number in [0, 1, u64::MAX] {
                    for producer in 0..40 {
                        producers.remember(producer, number);
                    }
                }
            }
        }
    }

    #[test]
    fn the_reason_is_told() {
        let bytes = written(&learnt(&[(1, 2)]));
        let reason = |bytes: &[u8], origin| Producers::read(bytes, origin).err();
        assert_eq!(reason(&bytes, ORIGIN), None);
        assert_eq!(reason(&bytes, ORIGIN + 1), Some(Unusable::OtherLog));
        assert_eq!(reason(b"", ORIGIN), Some(Unusable::Foreign));
        assert_eq!(reason(b"something else entirely", ORIGIN), Some(Unusable::Foreign));
        assert_eq!(reason(&bytes[..16], ORIGIN), Some(Unusable::Damaged));
        assert_eq!(reason(&bytes[..bytes.len() - 1], ORIGIN), Some(Unusable::Damaged));
        let mut newer = bytes;
        newer[8] += 1;
        assert_eq!(reason(&newer, ORIGIN), Some(Unusable::Version));
    }

    #[test]
    fn the_fullest_table_is_as_large_as_is_said() {
        let mut producers = Producers::default();
        for producer in 0..=limits::PRODUCERS_MAX as u64 {
            for number in 0..2 * limits::PRODUCER_GAPS_MAX as u64 {
                producers.remember(producer, 2 * number);
            }
        }
        let bytes = written(&producers);
        assert_eq!(bytes.len(), CHECKPOINT_BYTES_MAX);
        let (again, _) = Producers::read(&bytes, ORIGIN).unwrap();
        assert_eq!(again.seen(1, 2), Seen::Never, "forgotten before, and no gap any more");
        assert_eq!(again.seen(1, 4 * limits::PRODUCER_GAPS_MAX as u64 - 2), Seen::Before);
    }
}
