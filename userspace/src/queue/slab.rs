//! Where requests lie while they are under way: entries that never move.
//!
//! An entry is found by a key of index and generation, so that a key that is
//! out of date finds nothing. Entries lie in blocks that are not reallocated:
//! what names an entry by address stays right until it is removed.

use std::mem;
// Not modelled: it only tells slabs apart.
use std::sync::atomic::{AtomicU32, Ordering};

/// Entries of a block.
const BLOCK: usize = 64;
/// No slot.
const NONE: u32 = u32::MAX;
/// A generation has 31 bits: keys from 2^63 on are never given out.
const GENERATION_MASK: u32 = u32::MAX >> 1;

/// Entries at addresses that do not change.
pub(crate) struct Slab<E> {
    blocks: Vec<Box<[Slot<E>; BLOCK]>>,
    /// First of the list of vacant slots.
    vacant: u32,
    /// The generation that slots begin with.
    first: u32,
}

struct Slot<E> {
    entry: Option<E>,
    generation: u32,
    next_vacant: u32,
    /// A bit for each of the entries that were here last and have failed; that of
    /// the last one is the lowest.
    failed: u64,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Its entry is there.
    Here,
    /// Its entry was removed.
    Ended { failed: bool },
    /// Too many have had its place since.
    Forgotten,
    /// It was never given out.
    Never,
}

/// A generation that is far from those of other slabs, so that a key of one of them
/// finds nothing here.
fn first_generation() -> u32 {
    static SLABS: AtomicU32 = AtomicU32::new(0);
    // Steps of the golden ratio are as far apart as so many can be. Relaxed: it is only
    // to differ.
    SLABS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b1) & GENERATION_MASK
}

impl<E> Default for Slab<E> {
    fn default() -> Self {
        Slab::new()
    }
}

impl<E> Slab<E> {
    /// No entries, and no memory yet.
    pub(crate) const fn new() -> Self {
        Slab { blocks: Vec::new(), vacant: NONE, first: 0 }
    }

    /// Puts an entry somewhere; returns its key, and where it lies until it is
    /// removed.
    #[inline]
    pub(crate) fn insert(&mut self, entry: E) -> (u64, &mut E) {
        if self.vacant == NONE {
            self.grow();
        }
        let index = self.vacant;
        let slot = &mut self.blocks[index as usize / BLOCK][index as usize % BLOCK];
        self.vacant = slot.next_vacant;
        let key = u64::from(slot.generation) << 32 | u64::from(index);
        // It is vacant: there is nothing to drop.
        debug_assert!(slot.entry.is_none(), "a vacant slot");
        mem::forget(slot.entry.take());
        (key, slot.entry.insert(entry))
    }

    /// The entry of this key, if it is there.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut E> {
        self.slot(key)?.entry.as_mut()
    }

    /// Takes the entry of this key out, if it is there.
    #[inline]
    pub(crate) fn remove(&mut self, key: u64) -> Option<E> {
        self.remove_as(key, |_| false)
    }

    /// As `remove`; remembers whether it has failed.
    #[inline]
    pub(super) fn remove_as(&mut self, key: u64, failed: impl FnOnce(&E) -> bool) -> Option<E> {
        let vacant = self.vacant;
        let slot = self.slot(key)?;
        let entry = slot.entry.take()?;
        slot.failed = slot.failed << 1 | u64::from(failed(&entry));
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        slot.next_vacant = vacant;
        self.vacant = key as u32;
        Some(entry)
    }

    /// What has become of the entry of this key.
    pub(super) fn past(&self, key: u64) -> Past {
        let index = key as u32 as usize;
        let Some(slot) = self.blocks.get(index / BLOCK).map(|block| &block[index % BLOCK]) else {
            return Past::Never;
        };
        // Generations go round.
        let age = slot.generation.wrapping_sub((key >> 32) as u32) & GENERATION_MASK;
        match age {
            0 if slot.entry.is_some() => Past::Here,
            0 => Past::Never,
            1..=64 => Past::Ended { failed: slot.failed >> (age - 1) & 1 == 1 },
            _ => Past::Forgotten,
        }
    }

    /// All entries.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.blocks.iter_mut().flat_map(|b| b.iter_mut()).filter_map(|slot| slot.entry.as_mut())
    }

    #[inline]
    fn slot(&mut self, key: u64) -> Option<&mut Slot<E>> {
        let index = key as u32 as usize;
        let slot = &mut self.blocks.get_mut(index / BLOCK)?[index % BLOCK];
        (u64::from(slot.generation) == key >> 32).then_some(slot)
    }

    /// Adds a block of vacant slots.
    #[cold]
    fn grow(&mut self) {
        let first = self.blocks.len() * BLOCK;
        if first == 0 {
            self.first = first_generation();
        }
        assert!(first + BLOCK < NONE as usize, "2^32 requests under way");
        let block = std::array::from_fn(|i| Slot {
            entry: None,
            generation: self.first,
            failed: 0,
            next_vacant: if i + 1 < BLOCK { (first + i + 1) as u32 } else { NONE },
        });
        self.blocks.push(Box::new(block));
        self.vacant = first as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_where_it_is() {
        let mut slab = Slab::new();
        let (key, entry) = slab.insert(7_u64);
        let address = std::ptr::from_mut(entry).addr();
        for n in 0..10_000 {
            slab.insert(n);
        }
        let entry = slab.get_mut(key).unwrap();
        assert_eq!((*entry, std::ptr::from_mut(entry).addr()), (7, address));
    }

    #[test]
    fn a_key_that_is_out_of_date_finds_nothing() {
        let mut slab = Slab::new();
        let (old, _) = slab.insert('a');
        assert_eq!(slab.remove(old), Some('a'));
        let (new, _) = slab.insert('b');
        assert_eq!(old as u32, new as u32, "the slot is used again");
        assert_eq!((slab.remove(old), slab.get_mut(old)), (None, None));
        assert_eq!(slab.get_mut(u64::MAX), None);
        assert_eq!(slab.iter_mut().count(), 1);
    }

    #[test]
    fn of_an_entry_that_is_gone_it_is_known_for_a_while_whether_it_failed() {
        let mut slab = Slab::new();
        let keys: Vec<u64> = (0..66)
            .map(|n| {
                let (key, _) = slab.insert(n);
                assert_eq!(slab.past(key), Past::Here);
                slab.remove_as(key, |n| n % 3 == 0);
                key
            })
            .collect();
        assert_eq!([slab.past(keys[0]), slab.past(keys[1])], [Past::Forgotten; 2]);
        for (n, key) in keys.iter().enumerate().skip(2) {
            assert_eq!(slab.past(*key), Past::Ended { failed: n % 3 == 0 });
        }
        let next = (keys[65] + (1 << 32)) & (u64::MAX >> 1);
        assert_eq!([slab.past(next), slab.past(1000)], [Past::Never; 2]);
    }

    #[test]
    fn a_key_of_another_slab_finds_nothing() {
        let mut slabs = [Slab::new(), Slab::new(), Slab::new()];
        let keys = slabs.each_mut().map(|slab| slab.insert(()).0);
        for (slab, own) in slabs.iter_mut().zip(keys) {
            for key in keys {
                let past = if key == own { Past::Here } else { Past::Forgotten };
                assert_eq!((slab.past(key), slab.get_mut(key).is_some()), (past, key == own));
            }
        }
    }
}
