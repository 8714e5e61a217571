//! Connections by slot and generation, so that a late event for a slot that was used again is recognised.

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

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A slab of connections.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: T) -> ConnId {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.value = Some(value);
            return ConnId { slot, generation: entry.generation };
        }
        self.slots.push(Slot { generation: 0, value: Some(value) });
        ConnId { slot: self.slots.len() as u32 - 1, generation: 0 }
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.slots.get(id.slot())?;
        entry.value.as_ref().filter(|_| entry.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let entry = self.slots.get_mut(id.slot())?;
        entry.value.as_mut().filter(|_| entry.generation == id.generation)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        let entry = &mut self.slots[id.slot()];
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        self.free.push(id.slot);
        self.len -= 1;
        entry.value.take()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(slot, entry)| ConnId { slot: slot as u32, generation: entry.generation })
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
