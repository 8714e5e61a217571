//! Recognises events that are sent again.
//!
//! A game whose answer was lost sends the same batch again; after an outage the same events come in new batches, each
//! up to twenty times. Ids alone do not tell: the game's generator is unseeded, so whole sequences of ids recur in the
//! next run. A repeat is an event with the same id, the same bits of its own time and the same type, within 15 minutes
//! and among the last 2^20 events ([`recent`]). Its content may differ, so bytes are never compared, and the session is
//! no part of it, because a game that connects anew must still be recognised. An event without id or time is never a
//! repeat. Producers that number their events are recognised by number, without limit of time ([`producers`]).
//!
//! Memory is flat: 24 MiB for the events and 10 MiB for the table, taken at start and touched as events come, plus half
//! a KiB a producer. After a restart the events are learnt again from what the log still holds, so the window is then no
//! longer than the log; producers are known from a checkpoint beside the log as well, however small the log is.

mod memory;
mod producers;
mod recent;

use std::hash::Hasher;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use siphasher::sip::SipHasher13;

use crate::time::Now;

pub use producers::{CHECKPOINT_BYTES_MAX, Producers, Seen, Unusable};
pub use recent::Recent;

/// What makes an event the same as an earlier one.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The id the game made up, as it came.
    pub event_id: &'a [u8],
    /// The event's own time, in the unit of its clock.
    pub producer_time: f64,
    /// Number of its type in the schema.
    pub event_type: u16,
    /// Its type as it came, when the schema does not know it; else empty.
    pub type_name: &'a [u8],
}

/// A producer's name, hashed; the number it gave the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// [`Repeats::hash_producer`] of the producer's id.
    pub producer: u64,
    /// `producer_sequence` of the event.
    pub sequence: u64,
}

/// The memory of what has been stored.
#[derive(Debug)]
pub struct Repeats {
    /// Key of the producers' hashes: that of the log in which the first of them was seen.
    producer_key: [u8; 16],
    /// Made from the key: nobody outside can choose ids that have the same hash.
    secrets: RapidSecrets,
    recent: Recent,
    producers: Producers,
}

impl Repeats {
    /// Remembers `events` (a power of two, at most 2^20) with hashes under the log's key.
    #[must_use]
    pub fn new(key: [u8; 16], events: usize) -> Repeats {
        Repeats::of(key, Recent::new(events))
    }

    /// The same in lent memory of [`Repeats::words`], all zeros.
    #[must_use]
    pub fn in_memory(key: [u8; 16], events: usize, memory: &'static mut [u64]) -> Repeats {
        Repeats::of(key, Recent::in_memory(events, memory))
    }

    /// Words of memory that so many events take.
    #[must_use]
    pub const fn words(events: usize) -> usize {
        Recent::words(events)
    }

    fn of(key: [u8; 16], recent: Recent) -> Repeats {
        let seed = SipHasher13::new_with_key(&key).hash(b"event identity");
        Repeats {
            producer_key: key,
            secrets: RapidSecrets::seed(seed),
            recent,
            producers: Producers::default(),
        }
    }

    /// The hash that stands in the index entry for this identity; never 0.
    #[must_use]
    #[inline]
    pub fn hash(&self, identity: &Identity<'_>) -> u64 {
        let Identity { event_id, producer_time, event_type, type_name } = *identity;
        let name = match type_name {
            [] => 0,
            name => rapidhash_v3_seeded(name, &self.secrets),
        };
        let id = rapidhash_v3_seeded(event_id, &self.secrets);
        let words = [id, producer_time.to_bits(), u64::from(event_type), name];
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        rapidhash_v3_seeded(&bytes, &self.secrets).max(1)
    }

    /// Begins to bring what tells whether this hash was there before into the cache, for a caller that has something
    /// else to do first.
    #[inline]
    pub fn expect(&self, id_hash: u64) {
        self.recent.expect(id_hash);
    }

    /// The hash of a producer's id.
    #[must_use]
    pub fn hash_producer(&self, producer: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.producer_key);
        hasher.write(b"producer");
        hasher.write(producer);
        hasher.finish()
    }

    /// Whether an event with this hash, time and type, or with this number, was stored before.
    #[must_use]
    pub fn is_repeat(
        &self,
        id_hash: u64,
        producer_time: f64,
        event_type: u16,
        numbered: Option<Numbered>,
        now: Now,
    ) -> bool {
        if let Some(Numbered { producer, sequence }) = numbered {
            return self.producers.seen(producer, sequence) == Seen::Before;
        }
        id_hash != 0
            && self.recent.contains(id_hash, producer_time.to_bits(), event_type, now.unix_ns)
    }

    /// Remembers an event that was stored. A hash of 0 stands for an event that has no identity.
    pub fn remember(
        &mut self,
        id_hash: u64,
        producer_time: f64,
        event_type: u16,
        numbered: Option<Numbered>,
        received_unix_ns: u64,
    ) {
        if let Some(Numbered { producer, sequence }) = numbered {
            self.producers.remember(producer, sequence);
        }
        self.recent.push(id_hash, producer_time.to_bits(), event_type, received_unix_ns);
    }

    /// Takes what a checkpoint knows of the producers, before anything is remembered: the key of their hashes comes with
    /// it. `origin` is the line of logs it must belong to.
    ///
    /// # Errors
    /// [`Unusable`]; then nothing has changed.
    pub fn restore_producers(&mut self, checkpoint: &[u8], origin: u64) -> Result<(), Unusable> {
        (self.producers, self.producer_key) = Producers::read(checkpoint, origin)?;
        Ok(())
    }

    /// Writes what is known of the producers down in place of what `to` held; false when the last checkpoint has it all.
    /// [`Repeats::producers_saved`] says that it was kept.
    #[must_use]
    pub fn write_producers(&self, origin: u64, to: &mut Vec<u8>) -> bool {
        let has_news = self.producers.has_news();
        if has_news {
            self.producers.write(origin, self.producer_key, to);
        }
        has_news
    }

    /// What was written down last is beside the log.
    pub fn producers_saved(&mut self) {
        self.producers.mark_saved();
    }

    /// Events forgotten before their 15 minutes were over, since the start.
    #[must_use]
    pub fn evicted_young(&self) -> u64 {
        self.recent.evicted_young()
    }

    /// Gaps in producers' sequences forgotten because there were too many, since the start.
    #[must_use]
    pub fn gaps_forgotten(&self) -> u64 {
        self.producers.gaps_forgotten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    const NOW: Now = Now { mono_ns: 0, unix_ns: 1_700_000_000 * SECOND };

    fn identity(event_id: &'static str, producer_time: f64, event_type: u16) -> Identity<'static> {
        Identity { event_id: event_id.as_bytes(), producer_time, event_type, type_name: b"" }
    }

    #[test]
    fn the_same_id_time_and_type_is_a_repeat_and_nothing_less() {
        let mut repeats = Repeats::new([7; 16], 1024);
        let stored = identity("a", 1.5, 3);
        let hash = repeats.hash(&stored);
        assert!(!repeats.is_repeat(hash, 1.5, 3, None, NOW));
        repeats.remember(hash, 1.5, 3, None, NOW.unix_ns);
        assert!(repeats.is_repeat(hash, 1.5, 3, None, NOW));
        for other in [identity("b", 1.5, 3), identity("a", 1.6, 3), identity("a", 1.5, 4)] {
            let hash = repeats.hash(&other);
            assert!(!repeats.is_repeat(hash, other.producer_time, other.event_type, None, NOW));
        }
        assert!(!repeats.is_repeat(hash, 1.6, 3, None, NOW), "a hit is confirmed by time");
        assert!(!repeats.is_repeat(hash, 1.5, 4, None, NOW), "and by type");
    }

    #[test]
    fn hashes_mean_the_same_in_every_build() {
        // They stand in the log, which outlives the program: no update may change these.
        let repeats = Repeats::new([7; 16], 1024);
        let uuid = identity("6f1c2a04-9d3e-4b57-8a60-1e2f3a4b5c6d", 12_345.5, 3);
        let other = Identity { type_name: b"SOMETHING_NEW", ..identity("a", 1.0, 1) };
        let hashes = [repeats.hash(&uuid), repeats.hash(&other)];
        assert_eq!(hashes, [15_765_770_627_451_056_944, 13_374_785_301_134_381_456]);
    }

    #[test]
    fn zero_and_minus_zero_are_different_times() {
        let repeats = Repeats::new([7; 16], 1024);
        assert_ne!(repeats.hash(&identity("a", 0.0, 1)), repeats.hash(&identity("a", -0.0, 1)));
    }

    #[test]
    fn types_the_schema_does_not_know_are_told_apart_by_name() {
        let repeats = Repeats::new([7; 16], 1024);
        let one = Identity { type_name: b"one", ..identity("a", 1.0, 0) };
        let two = Identity { type_name: b"two", ..identity("a", 1.0, 0) };
        assert_ne!(repeats.hash(&one), repeats.hash(&two));
    }

    #[test]
    fn an_event_without_identity_is_never_a_repeat() {
        let mut repeats = Repeats::new([7; 16], 1024);
        repeats.remember(0, 1.0, 1, None, NOW.unix_ns);
        assert!(!repeats.is_repeat(0, 1.0, 1, None, NOW));
    }

    #[test]
    fn numbered_events_go_by_number_alone() {
        let mut repeats = Repeats::new([7; 16], 1024);
        let number = |sequence| Some(Numbered { producer: repeats_producer(), sequence });
        repeats.remember(5, 1.0, 1, number(1), NOW.unix_ns);
        let later = NOW.plus(3600 * SECOND);
        assert!(repeats.is_repeat(9, 2.0, 2, number(1), later), "without limit of time");
        assert!(!repeats.is_repeat(5, 1.0, 1, number(2), NOW), "another number is another event");
    }

    fn repeats_producer() -> u64 {
        Repeats::new([7; 16], 16).hash_producer(b"mod-1")
    }
}
