//! A map whose keys are keyed hashes already: hashing them again would only cost.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// By [`super::Sessions::hash`], whose key nobody outside knows.
pub(super) type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<Unchanged>>;

/// Takes a `u64` for its own hash.
#[derive(Debug, Default)]
pub(super) struct Unchanged(u64);

impl Hasher for Unchanged {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed here")
    }

    fn write_u64(&mut self, value: u64) {
        // Senders are the upper 48 bits of a hash, and a table looks at the top seven bits first: turned so that those
        // differ.
        self.0 = value.rotate_left(32);
    }
}
