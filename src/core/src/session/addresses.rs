//! Which session was last heard of at each address. A session keeps the place of its address, so that hearing of it again
//! is one store: at one address there may be thousands of sessions that take turns.

use crate::session::hashed::HashedMap;

const NOBODY: u32 = u32::MAX;

/// An address that at least one session is at.
#[derive(Debug)]
struct Entry {
    address: u64,
    /// The session last heard of here; [`NOBODY`] once it has left.
    newest: u32,
    /// How many are here.
    sessions: u32,
}

/// The addresses of the sessions that are remembered: as few as these.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    places: HashedMap<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

impl Addresses {
    /// A session comes to an address; gives the address's place.
    pub(super) fn join(&mut self, address: u64) -> u32 {
        let place = *self.places.entry(address).or_insert_with(|| {
            let entry = Entry { address, newest: NOBODY, sessions: 0 };
            match self.free.pop() {
                Some(place) => {
                    self.entries[place as usize] = entry;
                    place
                }
                None => {
                    self.entries.push(entry);
                    self.entries.len() as u32 - 1
                }
            }
        });
        self.entries[place as usize].sessions += 1;
        place
    }

    /// A session leaves its address.
    pub(super) fn leave(&mut self, place: u32, session: u32) {
        let entry = &mut self.entries[place as usize];
        if entry.newest == session {
            entry.newest = NOBODY;
        }
        entry.sessions -= 1;
        if entry.sessions == 0 {
            self.places.remove(&entry.address);
            self.free.push(place);
        }
    }

    /// A session at this address is heard of.
    pub(super) fn hear(&mut self, place: u32, session: u32) {
        self.entries[place as usize].newest = session;
    }

    /// The session last heard of at an address.
    pub(super) fn newest(&self, address: u64) -> Option<u32> {
        let entry = &self.entries[*self.places.get(&address)? as usize];
        (entry.newest != NOBODY).then_some(entry.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_heard_of_is_found_until_it_leaves() {
        let mut addresses = Addresses::default();
        let here = addresses.join(1);
        assert_eq!(addresses.newest(1), None, "nobody has spoken");
        addresses.hear(here, 10);
        assert_eq!(addresses.join(1), here);
        addresses.hear(here, 11);
        addresses.hear(here, 10);
        let there = addresses.join(2);
        addresses.hear(there, 12);
        assert_eq!((addresses.newest(1), addresses.newest(2)), (Some(10), Some(12)));
        addresses.leave(here, 10);
        assert_eq!(addresses.newest(1), None);
        addresses.hear(here, 11);
        assert_eq!(addresses.newest(1), Some(11));
        addresses.leave(here, 11);
        assert_eq!(addresses.newest(1), None);
        assert_eq!(addresses.join(3), here, "a place nobody is at is used again");
        assert_eq!(addresses.newest(3), None);
    }
}
