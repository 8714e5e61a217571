//! Memory for the core's largest table, in huge pages where the kernel gives them.
//!
//! The table of repeats is looked into at places far apart, each in a page of its own that the processor has no address
//! for at hand, and in a virtual machine finding one takes two walks through tables. Huge pages spare that: 2 % of what an
//! event costs over HTTP (`docs/performance.md`). All of it is touched here, so that the hot thread is never stopped to have a page zeroed.

use memmap2::{Advice, MmapMut};

/// Of x86-64, and of aarch64 with pages of 4 KiB.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// So many words of zeros for as long as the process lives; `None` when there is no memory to map.
pub(super) fn huge(words: usize) -> Option<&'static mut [u64]> {
    let bytes = words * size_of::<u64>();
    let mapping: &'static mut MmapMut =
        Box::leak(Box::new(MmapMut::map_anon(bytes + HUGE_PAGE_BYTES).ok()?));
    // Where huge pages are switched off, small ones do.
    if let Err(error) = mapping.advise(Advice::HugePage) {
        log::debug!("no huge pages for the table of repeats: {error}");
    }
    let to_boundary = mapping.as_ptr().addr().wrapping_neg() % HUGE_PAGE_BYTES;
    let memory = &mut mapping[to_boundary..to_boundary + bytes];
    memory.fill(0);
    Some(bytemuck::cast_slice_mut(memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_begins_on_a_huge_page_and_is_zero() {
        let memory = huge(1000).expect("memory");
        assert_eq!(memory.as_ptr().addr() % HUGE_PAGE_BYTES, 0);
        assert_eq!(memory.len(), 1000);
        assert!(memory.iter().all(|&word| word == 0));
        memory[999] = 1;
    }
}
