//! Memory of what is on its way to subscribers: counted in bytes, shared by all, bounded.
//!
//! What is read from the store for a subscriber, what waits for its connection, and what HTTP/2 holds until the peer reads:
//! all of it is counted. Each may take a part of what is left, so that thousands that stopped reading get less and less and
//! one that reads always gets something: a share of free memory, as switches give their ports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes that subscribers share.
pub const SHARED_BYTES: usize = 64 << 20;
/// Bytes that each may have on its way, whatever the others hold.
pub const SHARE_MIN: usize = 16 << 10;
/// Bytes past which an event that is longer than [`SHARE_MIN`] waits.
pub const LONG_BYTES: usize = SHARED_BYTES + (32 << 20);
/// Part of what is free that one delivery may take.
const PART: usize = 8;

/// The memory of one bus.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicUsize,
    freed: Notify,
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub struct Counted<T> {
    value: T,
    bytes: usize,
    budget: Arc<Budget>,
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.freed.notify_waiters();
    }
}

impl AsRef<[u8]> for Counted<Bytes> {
    fn as_ref(&self) -> &[u8] {
        &self.value
    }
}

impl Budget {
    /// Bytes that are counted now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Whether those who are not read from should let go of what they can read again.
    pub fn is_short(&self) -> bool {
        self.used() > SHARED_BYTES / 2
    }

    /// Bytes that a delivery may have that wants `wanted`.
    pub fn share(&self, wanted: usize) -> usize {
        let free = SHARED_BYTES.saturating_sub(self.used());
        wanted.min((free / PART).max(SHARE_MIN))
    }

    /// Counts `bytes` as long as the answer lives.
    pub fn hold<T>(self: &Arc<Self>, value: T, bytes: usize) -> Counted<T> {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Counted { value, bytes, budget: Arc::clone(self) }
    }

    /// The same bytes, counted until the last of their holders lets go.
    pub fn count(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let len = bytes.len();
        if len == 0 { bytes } else { Bytes::from_owner(self.hold(bytes, len)) }
    }

    /// Whether there is room for an event of `bytes` that is longer than any share.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.used() + bytes <= LONG_BYTES
    }

    /// Returns when someone has let go of something from now on.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_shrink_with_what_is_held_and_never_vanish() {
        let budget = Arc::new(Budget::default());
        let wanted = 256 << 10;
        let mut held = Vec::new();
        for _ in 0..4096 {
            let share = budget.share(wanted);
            assert!((SHARE_MIN..=wanted).contains(&share));
            held.push(budget.count(vec![0; share].into()));
        }
        assert!(budget.is_short());
        assert_eq!(budget.share(wanted), SHARE_MIN);
        assert!(budget.used() <= SHARED_BYTES + 4096 * SHARE_MIN, "{}", budget.used());
        drop(held);
        assert_eq!((budget.used(), budget.share(wanted)), (0, wanted));
    }

    #[test]
    fn bytes_are_counted_until_their_last_holder_lets_go() {
        let budget = Arc::new(Budget::default());
        let bytes = budget.count(Bytes::from_static(b"0123456789"));
        let part = bytes.slice(2..4);
        drop(bytes);
        assert_eq!((budget.used(), part.as_ref()), (10, &b"23"[..]));
        drop(part);
        assert_eq!(budget.used(), 0);
    }
}
