//! One level of the wheel: which of its 64 slots hold timers.

/// Slots of a level: as many as a word has bits.
pub(super) const SLOTS: usize = 64;
/// Levels: with ticks of a millisecond they span two years.
pub(super) const LEVELS: usize = 6;

#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Bits of a tick below this level's.
    shift: u32,
    occupied: u64,
}

impl Level {
    pub(super) fn new(number: usize) -> Level {
        Level { shift: 6 * number as u32, occupied: 0 }
    }

    pub(super) fn set(&mut self, slot: usize) {
        self.occupied |= 1 << slot;
    }

    pub(super) fn clear(&mut self, slot: usize) {
        self.occupied &= !(1 << slot);
    }

    #[cfg(test)]
    pub(super) fn is_set(&self, slot: usize) -> bool {
        self.occupied & 1 << slot != 0
    }

    /// The occupied slot that comes next after `elapsed`, and the tick at which it begins.
    pub(super) fn next(&self, elapsed: u64) -> Option<(usize, u64)> {
        if self.occupied == 0 {
            return None;
        }
        let now = (elapsed >> self.shift) as u32 % SLOTS as u32;
        // The present slot is searched last: what lies in it belongs to the next round of the top level.
        let ahead = self.occupied.rotate_right((now + 1) % SLOTS as u32).trailing_zeros() + 1;
        let tick = ((elapsed >> self.shift) + u64::from(ahead)) << self.shift;
        Some(((now + ahead) as usize % SLOTS, tick))
    }
}

/// Level and slot of a tick later than `elapsed`: the level of the highest bits in which they differ.
pub(super) fn position(elapsed: u64, tick: u64) -> (usize, usize) {
    debug_assert!(tick > elapsed);
    let bit = 63 - (elapsed ^ tick).leading_zeros();
    let level = (bit as usize / 6).min(LEVELS - 1);
    (level, (tick >> (6 * level)) as usize % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_lies_in_the_level_of_its_highest_differing_bits() {
        assert_eq!(position(0, 1), (0, 1));
        assert_eq!(position(0, 63), (0, 63));
        assert_eq!(position(0, 64), (1, 1));
        assert_eq!(position(63, 64), (1, 1));
        assert_eq!(position(4095, 4096), (2, 1));
        assert_eq!(position(u64::MAX >> 2, (u64::MAX >> 2) + 1).0, LEVELS - 1);
    }

    #[test]
    fn the_next_slot_is_found_past_the_end_of_a_round() {
        let mut level = Level::new(1);
        level.set(2);
        assert_eq!(level.next(64 * 60), Some((2, 64 * 66)));
        level.set(61);
        assert_eq!(level.next(64 * 60), Some((61, 64 * 61)));
    }
}
