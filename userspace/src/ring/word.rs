//! How a word of event data is accessed.

use crate::sync::{AtomicU64, Ordering};

/// A word of event data.
///
/// A consumer that lost a race reads words that the producer is writing, so a
/// word is accessed whole, by relaxed atomic loads and stores. Order between
/// words comes from `head` and `tail`, never from the words.
#[cfg_attr(not(feature = "unstable"), allow(unnameable_types))] // sealed without it
pub trait Word {
    /// Reads the word.
    fn load(&self) -> u64;

    /// Writes the word; only the producer does.
    fn store(&self, value: u64);
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self) -> u64 {
        // Relaxed: ordered by the acquire of `tail` before it and the release
        // of `head` after it.
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn store(&self, value: u64) {
        // Relaxed: ordered by the acquire of `head` before it and the release
        // of `tail` after it.
        self.store(value, Ordering::Relaxed);
    }
}
