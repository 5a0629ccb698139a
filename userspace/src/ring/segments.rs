//! Consecutive words of a ring's data: one slice, or two where memory ends.
//!
//! On mirrored memory the second one is always empty, which costs a branch
//! that is never mispredicted; plain memory has no other way.

use super::word::Word;

/// Words of the data, as they follow one another in the ring.
#[derive(Clone, Copy)]
pub(super) struct Segments<'a, W> {
    first: &'a [W],
    rest: &'a [W],
}

impl<'a, W: Word> Segments<'a, W> {
    /// `len` words of `all` from index `start` on, going on at the front of
    /// `all` behind its end. There must be so many.
    #[inline]
    pub(super) fn new(all: &'a [W], start: usize, len: usize) -> Self {
        match all.get(start..start + len) {
            Some(first) => Self { first, rest: &[] },
            None => {
                let first = &all[start..];
                Self { first, rest: &all[..len - first.len()] }
            }
        }
    }

    /// The words up to where memory ends.
    #[inline]
    pub(super) fn first(&self) -> &'a [W] {
        self.first
    }

    /// Loads the word at `index`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[inline]
    pub(super) fn load(&self, index: usize) -> u64 {
        match self.first.get(index) {
            Some(word) => word.load(),
            None => self.rest[index - self.first.len()].load(),
        }
    }

    /// Loads all words into `copy`, which must be of the same length.
    #[inline]
    pub(super) fn load_into(&self, copy: &mut [u64]) {
        // Always so on mirrored memory: one loop, without what splitting costs.
        if self.first.len() == copy.len() {
            load(self.first, copy);
            return;
        }
        let (copy_of_first, copy_of_rest) = copy.split_at_mut(self.first.len());
        load(self.first, copy_of_first);
        load(self.rest, copy_of_rest);
    }

    /// Stores `words`, of which there must be as many.
    #[inline]
    pub(super) fn store_from(&self, words: &[u64]) {
        // As above.
        if self.first.len() == words.len() {
            store(self.first, words);
            return;
        }
        let (to_first, to_rest) = words.split_at(self.first.len());
        store(self.first, to_first);
        store(self.rest, to_rest);
    }

    /// As [`Segments::store_from`], of words that stand nowhere together.
    #[inline]
    pub(super) fn store(&self, mut words: impl Iterator<Item = u64>) {
        for segment in [self.first, self.rest] {
            // The slots first: zip asks the other for nothing when they end.
            for (slot, word) in segment.iter().zip(words.by_ref()) {
                slot.store(word);
            }
        }
    }
}

/// Loads words into a copy of the same length.
#[inline]
pub(super) fn load<W: Word>(words: &[W], copy: &mut [u64]) {
    // Four at a time, which the compiler does not do by itself with atomic loads.
    let (fours, rest) = words.as_chunks::<4>();
    let (copies, rest_copy) = copy.as_chunks_mut::<4>();
    for ([a, b, c, d], copy) in fours.iter().zip(copies) {
        *copy = [a.load(), b.load(), c.load(), d.load()];
    }
    for (word, copy) in rest.iter().zip(rest_copy) {
        *copy = word.load();
    }
}

#[inline]
fn store<W: Word>(slots: &[W], words: &[u64]) {
    for (slot, word) in slots.iter().zip(words) {
        slot.store(*word);
    }
}
