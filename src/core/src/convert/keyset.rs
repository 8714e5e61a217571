//! A set of hashes that empties in no time: which keys of an event were met before.

/// Open addressing over (stamp, hash); an entry with an older stamp is free. Keeps its room.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    entries: Vec<(u32, u64)>,
    stamp: u32,
    len: usize,
}

const FIRST_ENTRIES: usize = 256;
/// Past this a set that one odd event made large is given back.
const KEPT_ENTRIES: usize = 1 << 16;

impl KeySet {
    pub(super) fn clear(&mut self) {
        if self.len == 0 {
            return;
        }
        self.len = 0;
        if self.entries.len() > KEPT_ENTRIES {
            self.entries = Vec::new();
        }
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.entries.fill((0, 0));
        }
    }

    /// Adds a hash; false when it was there.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        if self.stamp == 0 {
            self.stamp = 1;
        }
        if self.len * 2 >= self.entries.len() {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let entry = self.entries[index];
            if entry.0 != self.stamp {
                self.entries[index] = (self.stamp, hash);
                self.len += 1;
                return true;
            }
            if entry.1 == hash {
                return false;
            }
            index = (index + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.entries);
        self.entries = vec![(0, 0); (old.len() * 2).max(FIRST_ENTRIES)];
        self.len = 0;
        for (stamp, hash) in old {
            if stamp == self.stamp {
                self.insert(hash);
            }
        }
    }
}

/// The hash of a key of the object with this number.
pub(super) fn hash(object: u64, key: &[u8]) -> u64 {
    // FNV over words would do for the spread; a keyed multiply-fold keeps long runs cheap.
    let mut state = object.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ key.len() as u64;
    for chunk in key.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let product = u128::from(state ^ u64::from_le_bytes(word)) * 0xA076_1D64_78BD_642F;
        state = product as u64 ^ (product >> 64) as u64 ^ 0xE703_7ED1_A0B4_28DB;
    }
    state
}
