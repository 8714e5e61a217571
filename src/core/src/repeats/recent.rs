//! The last events by hash: a ring of records in order of arrival, and an open-addressed table of places in it.
//!
//! The table holds 32 bits an entry: 20 bits of place, and 12 that say how far from its home the entry stands, so that
//! moving it needs no look into the ring. Beside each entry, in a list of its own, stands a byte of the hash, 0 for none.
//! Entries are removed by shifting back those behind them, so there are no tombstones and nothing degrades.
//!
//! What costs here is memory far from every cache, not instructions. Nearly every event was not here before, which the
//! bytes alone tell: 2 MiB, of which the processor keeps more than of 8. The entry of the record that will be
//! overwritten is known long before, and fetched ahead. The entry of a new one is fetched when its place is found, and
//! written when the next event comes.

use super::memory::Memory;
use crate::limits;

/// Bits of a table entry that say where in the ring the record is.
const PLACE_BITS: u32 = 20;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
/// Bits of a table entry that say how far from its home it stands; the largest value says "as far or farther".
const DISTANCE_BITS: u32 = u32::BITS - PLACE_BITS;
const DISTANCE_MAX: usize = (1 << DISTANCE_BITS) - 1;
/// Records before their turn at which the table entry of one that will be overwritten is fetched.
const AHEAD: usize = 8;

/// A record is three words: hash, bits of the time, and type (low 16 bits) with the arrival in milliseconds (the rest).
type Record = [u64; 3];

/// The ring and its table.
#[derive(Debug)]
pub struct Recent {
    ring: Memory<Record>,
    /// Means nothing where the tag is 0.
    table: Memory<u32>,
    /// A byte of the hash for each entry of the table that is in use, else 0.
    tags: Memory<u8>,
    /// The last entry and where it goes: it is on its way from memory.
    pending: Option<(usize, u32)>,
    /// Place that is written next.
    next: usize,
    evicted_young: u64,
}

impl Recent {
    /// Room for `events`, a power of two from 4 to 2^20, in memory of its own: all zeros, which comes from the system
    /// untouched, so that pages are taken as events come.
    #[must_use]
    pub fn new(events: usize) -> Recent {
        Recent::of(
            Memory::Own(vec![[0; 3]; events]),
            Memory::Own(vec![0; events * 2]),
            Memory::Own(vec![0; events * 2]),
        )
    }

    /// The same in lent memory of [`Recent::words`], all zeros. Each of the three parts begins on a huge page if the
    /// memory does and there are 2^20 events.
    #[must_use]
    pub fn in_memory(events: usize, memory: &'static mut [u64]) -> Recent {
        assert_eq!(memory.len(), Recent::words(events), "as much memory as was asked for");
        let (ring, rest) = memory.split_at_mut(events * 3);
        let (table, tags) = rest.split_at_mut(events);
        Recent::of(
            Memory::Lent(ring.as_chunks_mut().0),
            Memory::Lent(bytemuck::cast_slice_mut(table)),
            Memory::Lent(bytemuck::cast_slice_mut(tags)),
        )
    }

    /// Words that so many events take: three for the record, one for two table entries, a quarter for their tags.
    #[must_use]
    pub const fn words(events: usize) -> usize {
        events * 4 + events / 4
    }

    fn of(ring: Memory<Record>, table: Memory<u32>, tags: Memory<u8>) -> Recent {
        let events = ring.len();
        assert!(events.is_power_of_two() && (4..=1 << PLACE_BITS).contains(&events));
        Recent { ring, table, tags, pending: None, next: 0, evicted_young: 0 }
    }

    /// Begins to fetch what [`Recent::contains`] looks at first.
    #[inline]
    pub fn expect(&self, hash: u64) {
        fetch(&self.tags[self.home(hash)]);
    }

    /// Whether a record of this hash, time and type is here and not older than 15 minutes.
    #[must_use]
    pub fn contains(&self, hash: u64, time_bits: u64, event_type: u16, now_unix_ns: u64) -> bool {
        let (mut at, tag) = (self.home(hash), tag(hash));
        loop {
            let found = self.tags[at];
            if found == 0 {
                return false;
            }
            if found == tag {
                let entry = match self.pending {
                    Some((place, entry)) if place == at => entry,
                    _ => self.table[at],
                };
                let record = self.ring[(entry & PLACE_MASK) as usize];
                if record[0] == hash && record[1] == time_bits && record[2] as u16 == event_type {
                    // Of several records of one identity the newest decides; an older one may come first.
                    if age_ns(&record, now_unix_ns) <= limits::REPEATS_AGE_NS {
                        return true;
                    }
                }
            }
            at = (at + 1) & (self.tags.len() - 1);
        }
    }

    /// Adds a record in place of the oldest one. A hash of 0 takes a place, so that the ring counts events, and is
    /// never found.
    pub fn push(&mut self, hash: u64, time_bits: u64, event_type: u16, received_unix_ns: u64) {
        if let Some((at, entry)) = self.pending.take() {
            self.table[at] = entry;
        }
        let place = self.next;
        self.next = (place + 1) & (self.ring.len() - 1);
        let oldest = self.ring[place];
        fetch(&self.ring[(place + 2 * AHEAD) & (self.ring.len() - 1)]);
        let soon = self.ring[(place + AHEAD) & (self.ring.len() - 1)];
        fetch(&self.table[self.home(soon[0])]);
        fetch(&self.tags[self.home(soon[0])]);
        if oldest[0] != 0 {
            if age_ns(&oldest, received_unix_ns) < limits::REPEATS_AGE_NS {
                self.evicted_young += 1;
            }
            self.remove(oldest[0], place as u32);
        }
        let received_ms = received_unix_ns / crate::time::MILLISECOND;
        self.ring[place] = [hash, time_bits, u64::from(event_type) | received_ms << 16];
        if hash != 0 {
            let (mut at, mut distance) = (self.home(hash), 0);
            while self.tags[at] != 0 {
                at = (at + 1) & (self.tags.len() - 1);
                distance += 1;
            }
            self.tags[at] = tag(hash);
            fetch(&self.table[at]);
            self.pending = Some((at, entry(place as u32, distance)));
        }
    }

    /// Records overwritten before their time.
    #[must_use]
    pub fn evicted_young(&self) -> u64 {
        self.evicted_young
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.tags.len() - 1)
    }

    /// How far from its home the entry at `at` stands.
    fn distance(&self, at: usize) -> usize {
        let entry = self.table[at];
        match (entry >> PLACE_BITS) as usize {
            DISTANCE_MAX => {
                let home = self.home(self.ring[(entry & PLACE_MASK) as usize][0]);
                at.wrapping_sub(home) & (self.table.len() - 1)
            }
            distance => distance,
        }
    }

    fn remove(&mut self, hash: u64, place: u32) {
        debug_assert!(self.pending.is_none(), "what is moved was written");
        let mask = self.table.len() - 1;
        let mut hole = self.home(hash);
        while self.tags[hole] == 0 || self.table[hole] & PLACE_MASK != place {
            debug_assert_ne!(self.tags[hole], 0, "a record without its table entry");
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if self.tags[at] == 0 {
                break;
            }
            let distance = self.distance(at);
            let shift = at.wrapping_sub(hole) & mask;
            // An entry may move into the hole unless its home lies after the hole.
            if distance >= shift {
                self.table[hole] = entry(self.table[at] & PLACE_MASK, distance - shift);
                self.tags[hole] = self.tags[at];
                hole = at;
            }
        }
        self.tags[hole] = 0;
    }
}

/// Upper bits of the hash, never 0.
fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

/// The entry for a record at `place`, standing so far from its home.
fn entry(place: u32, distance: usize) -> u32 {
    place | (distance.min(DISTANCE_MAX) as u32) << PLACE_BITS
}

/// Begins to bring something into the cache.
fn fetch<T>(entry: &T) {
    #[cfg(target_arch = "x86_64")]
    safe_arch::prefetch_t0(entry);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = entry;
}

/// Age of a record; none when the host's clock was set back in between.
fn age_ns(record: &Record, now_unix_ns: u64) -> u64 {
    now_unix_ns.saturating_sub((record[2] >> 16) * crate::time::MILLISECOND)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::time::SECOND;

    proptest! {
        /// Few different hashes that share their homes, in a small ring: collisions and removals all the time.
        #[test]
        fn behaves_like_a_list_of_the_last_events(
            steps in prop::collection::vec((0_u64..24, 0_u64..3, 0_u16..2, 0_u64..400), 1..400),
            is_lent in any::<bool>(),
        ) {
            let mut recent = if is_lent {
                Recent::in_memory(16, vec![0; Recent::words(16)].leak())
            } else {
                Recent::new(16)
            };
            let mut model: VecDeque<(u64, u64, u16, u64)> = VecDeque::new();
            let mut now = 1_700_000_000 * SECOND;
            for (pick, time, kind, wait) in steps {
                now += wait * SECOND;
                // Homes 0..8 of 32, with tags that differ or not; pick 0 has no identity.
                let hash = if pick == 0 { 0 } else { (pick % 8) | (pick / 8) << 53 | 32 };
                let expected = hash != 0 && model.iter().any(|&(h, t, k, at)| {
                    (h, t, k) == (hash, time, kind) && now - at <= limits::REPEATS_AGE_NS
                });
                prop_assert_eq!(hash != 0 && recent.contains(hash, time, kind, now), expected);
                recent.push(hash, time, kind, now);
                model.push_back((hash, time, kind, now));
                if model.len() > 16 {
                    model.pop_front();
                }
            }
        }
    }

    #[test]
    fn entries_far_from_their_home_are_found_and_removed() {
        // 8,192 records of one home: distances past what an entry can say.
        let mut recent = Recent::new(8_192);
        let hash = |n: u64| 7 | (n + 1) << 14 | n << 58;
        for n in 0..12_000 {
            recent.push(hash(n), 0, 0, 0);
            if n % 1_000 == 999 {
                for known in (n.saturating_sub(8_200)..=n + 1).step_by(97) {
                    let is_kept = n.saturating_sub(8_191) <= known && known <= n;
                    assert_eq!(recent.contains(hash(known), 0, 0, 0), is_kept, "{known} after {n}");
                }
            }
        }
        assert_eq!(recent.tags.iter().filter(|&&tag| tag != 0).count(), 8_192);
    }

    #[test]
    fn evictions_before_their_time_are_counted() {
        let mut recent = Recent::new(4);
        let start = 1_700_000_000 * SECOND;
        for n in 1..=5 {
            recent.push(n, 0, 0, start);
        }
        assert_eq!(recent.evicted_young(), 1);
        recent.push(6, 0, 0, start + limits::REPEATS_AGE_NS);
        assert_eq!(recent.evicted_young(), 1, "its 15 minutes were over");
    }

    #[test]
    fn a_clock_set_back_makes_nothing_old() {
        let mut recent = Recent::new(4);
        recent.push(1, 0, 0, 1_700_000_000 * SECOND);
        assert!(recent.contains(1, 0, 0, 1_600_000_000 * SECOND));
    }
}
