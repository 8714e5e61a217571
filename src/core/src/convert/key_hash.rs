//! The hash that finds a key in its table. The build script uses the same file, to choose for each
//! table a multiplier under which no two of its keys meet.

/// First eight bytes, last eight bytes and length of a key, folded into one word.
pub(super) fn words(key: &[u8]) -> u64 {
    let len = key.len();
    let mut first = [0; 8];
    let mut last = [0; 8];
    let count = len.min(8);
    first[..count].copy_from_slice(&key[..count]);
    last[..count].copy_from_slice(&key[len - count..]);
    fold(u64::from_le_bytes(first), u64::from_le_bytes(last), len)
}

/// Folds what `words` reads; callers that have the words at hand save the copies.
#[inline(always)]
pub(super) fn fold(first: u64, last: u64, len: usize) -> u64 {
    first ^ last.rotate_left(29) ^ (len as u64) << 56
}

/// The bucket of a folded key.
#[inline(always)]
pub(super) fn bucket(folded: u64, multiplier: u64, shift: u32) -> usize {
    // The fold of two rounds spreads keys that differ in one byte only.
    let mixed = (folded ^ folded >> 31).wrapping_mul(multiplier);
    ((mixed ^ mixed >> 29).wrapping_mul(multiplier) >> shift) as usize
}
