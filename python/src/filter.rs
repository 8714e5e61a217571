//! Which events a reader asked for: by type, by game, by shard.

use std::collections::HashSet;

use jimbot_shm::IndexEntry;

/// What a reader wants of each batch. Nothing set: everything.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// A bit for each event type; `None`: all.
    types: Option<Box<[u64]>>,
    /// Keys of the games; `None`: all.
    games: Option<HashSet<u64>>,
    /// This shard and how many there are; `None`: all.
    shard: Option<(u64, u64)>,
}

const WORDS: usize = (u16::MAX as usize + 1) / 64;

impl Filter {
    /// `shard` is (i, n) with i < n.
    pub(crate) fn new(
        types: Option<Vec<u16>>,
        games: Option<HashSet<u64>>,
        shard: Option<(u64, u64)>,
    ) -> Filter {
        let types = types.map(|types| {
            let mut bits = vec![0u64; WORDS].into_boxed_slice();
            for kind in types {
                bits[usize::from(kind) / 64] |= 1 << (kind % 64);
            }
            bits
        });
        // One shard of one is no filter.
        Filter { types, games, shard: shard.filter(|&(_, of)| of > 1) }
    }

    /// Whether every event passes.
    pub(crate) fn is_open(&self) -> bool {
        self.types.is_none() && self.games.is_none() && self.shard.is_none()
    }

    /// Whether this event passes.
    pub(crate) fn takes(&self, entry: &IndexEntry) -> bool {
        self.types.as_ref().is_none_or(|bits| {
            bits[usize::from(entry.event_type) / 64] >> (entry.event_type % 64) & 1 == 1
        }) && self.shard.is_none_or(|(own, of)| shard_of(entry.game_key, of) == own)
            && self.games.as_ref().is_none_or(|games| games.contains(&entry.game_key))
    }
}

/// The shard, of `of`, that has all events of a game. A game key is a hash already; it is mixed once more so that keys
/// that people or tests number from one spread as well. Events without a game have key 0, and so a shard too.
fn shard_of(game_key: u64, of: u64) -> u64 {
    let mut mixed = game_key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % of
}
