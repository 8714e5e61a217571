//! Connections by slot and generation, so that a late event for a slot that was used again is recognised.

use slab::Slab;

/// Names one connection for as long as the service runs: slot and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    slot: u32,
    /// 31 bits, so that the bits of an id never reach the top of the 64-bit range, where a shell keeps its own tokens.
    generation: u32,
}

const GENERATION_MASK: u32 = u32::MAX >> 1;

impl ConnId {
    /// The slot: a small number that is used again after the connection was released.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// The id as one number, for a poll's token.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The id whose number this is.
    #[must_use]
    pub const fn from_bits(bits: u64) -> ConnId {
        ConnId { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// A slab of connections whose ids are not used again (before 2^31 others were given out).
#[derive(Debug)]
pub(super) struct Slots<T> {
    slab: Slab<(u32, T)>,
    /// Given to the next connection, whatever its slot.
    generation: u32,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Slots<T> {
        Slots { slab: Slab::new(), generation: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn insert(&mut self, value: T) -> ConnId {
        let generation = self.generation;
        self.generation = (generation + 1) & GENERATION_MASK;
        ConnId { slot: self.slab.insert((generation, value)) as u32, generation }
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&T> {
        let (generation, value) = self.slab.get(id.slot())?;
        (*generation == id.generation).then_some(value)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let (generation, value) = self.slab.get_mut(id.slot())?;
        (*generation == id.generation).then_some(value)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        Some(self.slab.remove(id.slot()).1)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.slab
            .iter()
            .map(|(slot, (generation, _))| ConnId { slot: slot as u32, generation: *generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_outlives_its_slot_and_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!((second.slot(), slots.len()), (first.slot(), 1));
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(ConnId::from_bits(second.to_bits())), Some(&'b'));
        assert_eq!(slots.ids().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn ids_stay_below_the_top_of_the_range() {
        let last = ConnId { slot: u32::MAX, generation: GENERATION_MASK };
        assert!(last.to_bits() <= u64::MAX >> 1);
    }
}
