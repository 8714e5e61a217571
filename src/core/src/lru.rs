//! Which place was used longest ago: a doubly linked list over indices, no allocation after its start.

const NIL: u32 = u32::MAX;

/// Places in order of their last use.
#[derive(Debug)]
pub(crate) struct Lru {
    /// Previous (more recent) and next (older) place of each.
    links: Vec<(u32, u32)>,
    newest: u32,
    oldest: u32,
}

impl Lru {
    pub(crate) fn new() -> Lru {
        Lru { links: Vec::new(), newest: NIL, oldest: NIL }
    }

    /// Adds the next place, as the newest; places are numbered from 0.
    pub(crate) fn grow(&mut self) {
        let place = self.links.len() as u32;
        self.links.push((NIL, NIL));
        self.link(place);
    }

    /// The place used longest ago.
    pub(crate) fn oldest(&self) -> Option<usize> {
        (self.oldest != NIL).then_some(self.oldest as usize)
    }

    /// Makes a place the newest.
    pub(crate) fn touch(&mut self, place: usize) {
        if self.newest != place as u32 {
            self.remove(place);
            self.insert(place);
        }
    }

    /// Takes a place out, until it is inserted again.
    pub(crate) fn remove(&mut self, place: usize) {
        let (newer, older) = self.links[place];
        match newer {
            NIL => self.newest = older,
            newer => self.links[newer as usize].1 = older,
        }
        match older {
            NIL => self.oldest = newer,
            older => self.links[older as usize].0 = newer,
        }
    }

    /// Puts a place in that was taken out, as the newest.
    pub(crate) fn insert(&mut self, place: usize) {
        self.link(place as u32);
    }

    fn link(&mut self, place: u32) {
        self.links[place as usize] = (NIL, self.newest);
        match self.newest {
            NIL => self.oldest = place,
            newest => self.links[newest as usize].0 = place,
        }
        self.newest = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_one_not_touched() {
        let mut lru = Lru::new();
        assert_eq!(lru.oldest(), None);
        (0..3).for_each(|_| lru.grow());
        assert_eq!(lru.oldest(), Some(0));
        lru.touch(0);
        assert_eq!(lru.oldest(), Some(1));
        lru.touch(2);
        lru.touch(2);
        assert_eq!(lru.oldest(), Some(1));
        lru.touch(1);
        assert_eq!(lru.oldest(), Some(0));
    }

    #[test]
    fn a_place_that_was_taken_out_comes_back_as_the_newest() {
        let mut lru = Lru::new();
        (0..3).for_each(|_| lru.grow());
        for place in [0, 2, 1] {
            lru.remove(place);
        }
        assert_eq!(lru.oldest(), None);
        for place in [1, 0, 2] {
            lru.insert(place);
        }
        lru.remove(0);
        lru.touch(1);
        assert_eq!(lru.oldest(), Some(2));
        lru.insert(0);
        lru.remove(2);
        assert_eq!(lru.oldest(), Some(1));
    }
}
