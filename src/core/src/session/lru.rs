//! Which place was used longest ago: a doubly linked list over indices, no allocation after its start.

const NIL: u32 = u32::MAX;

/// Places in order of their last use.
#[derive(Debug)]
pub(super) struct Lru {
    /// Previous (more recent) and next (older) place of each.
    links: Vec<(u32, u32)>,
    newest: u32,
    oldest: u32,
}

impl Lru {
    pub(super) fn new() -> Lru {
        Lru { links: Vec::new(), newest: NIL, oldest: NIL }
    }

    /// Adds the next place, as the newest; places are numbered from 0.
    pub(super) fn grow(&mut self) {
        let place = self.links.len() as u32;
        self.links.push((NIL, NIL));
        self.link(place);
    }

    /// The place used longest ago.
    pub(super) fn oldest(&self) -> Option<usize> {
        (self.oldest != NIL).then_some(self.oldest as usize)
    }

    /// Makes a place the newest.
    pub(super) fn touch(&mut self, place: usize) {
        let place = place as u32;
        if self.newest == place {
            return;
        }
        let (newer, older) = self.links[place as usize];
        self.links[newer as usize].1 = older;
        match older {
            NIL => self.oldest = newer,
            older => self.links[older as usize].0 = newer,
        }
        self.link(place);
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
}
