//! The hash that finds a key in its table. The build script uses the same file, to choose for each
//! table a multiplier under which no two of its keys meet.

/// The first sixteen bytes of a key, first lowest, zeros behind a shorter one.
#[allow(dead_code, reason = "the converter has them at hand")]
pub(super) fn start(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let len = key.len().min(16);
    bytes[..len].copy_from_slice(&key[..len]);
    u128::from_le_bytes(bytes)
}

/// The bucket of a key that starts so.
#[inline(always)]
pub(super) fn bucket(start: u128, multiplier: u64, shift: u32) -> usize {
    // The halves meet turned, so that a repeated word does not cancel out.
    let folded = start as u64 ^ ((start >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(multiplier) >> shift) as usize
}
