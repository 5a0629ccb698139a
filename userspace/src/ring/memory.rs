//! Where a ring lies: the shared words that producer and consumers meet in.
//!
//! The algorithms see a ring as a [`View`] of references to atomics and never
//! learn whether those are mapped, on the heap, or in the model checker. This
//! module knows nothing of events, nor where the memory comes from: [`super::shm`]
//! maps it.
//!
//! SPEC: sections 5.2 and 5.3 (pages).

use std::fmt;
use std::sync::Arc;

use super::pieces::Pieces;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// A word of event data.
///
/// A consumer that lost a race reads words that the producer is writing, so a
/// word is accessed whole, by relaxed atomic loads and stores. Order between
/// words comes from `head` and `tail`, never from the words.
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

/// The shared words of one ring.
///
/// The references do not say who may write: on mapped memory the producer
/// cannot store to the consumer page, nor a consumer to anything else: the
/// process that tries dies by SIGSEGV.
pub struct View<'a, W> {
    /// Free-running byte position of the oldest unreaped event.
    pub head: &'a AtomicU64,
    /// Notification control.
    pub notify: &'a AtomicU32,
    /// Free-running byte position behind the newest event.
    pub tail: &'a AtomicU32,
    /// Producer's flags.
    pub flags: &'a AtomicU32,
    /// Events that went by the overflow list.
    pub overflowed: &'a AtomicU64,
    /// How often the producer found `head` out of range.
    pub bad_heads: &'a AtomicU64,
    /// The data: the ring once, or twice if it is mapped back to back.
    pub words: &'a [W],
    /// Size of the ring, in bytes: a power of two that never changes.
    pub ring_bytes: u32,
    /// Longest event, in bytes; never changes.
    pub event_max: u32,
}

impl<'a, W: Word> View<'a, W> {
    /// `words` words of the data from byte `position` on; not more than the
    /// ring has.
    #[inline]
    pub(super) fn pieces(&self, position: u32, words: usize) -> Pieces<'a, W> {
        Pieces::new(self.words, (position & (self.ring_bytes - 1)) as usize / 8, words)
    }

    /// The word at byte `position`.
    #[inline]
    pub(super) fn word(&self, position: u32) -> &'a W {
        &self.words[(position & (self.ring_bytes - 1)) as usize / 8]
    }
}

/// Memory that holds a ring.
///
/// `view` must return the same words and the same sizes each time, and
/// `words` must hold `ring_bytes` or twice as much. A wrong implementation
/// loses events or panics; it cannot cause undefined behaviour.
pub trait Memory {
    /// How event data is accessed.
    type Word: Word;

    /// Bits of `head` in use. Narrower than 64 only in a model that shows why
    /// it has to be 64.
    const HEAD_MASK: u64 = u64::MAX;

    /// Bits of `tail` in use, for the same models; within `HEAD_MASK`.
    const TAIL_MASK: u32 = u32::MAX;

    /// The words.
    fn view(&self) -> View<'_, Self::Word>;

    /// Whether the words are there: mapped memory is not in a child after fork.
    /// Where they are not, a ring is empty and full, and `view` is not called.
    #[inline]
    fn is_here(&self) -> bool {
        true
    }
}

impl<M: Memory + ?Sized> Memory for Arc<M> {
    type Word = M::Word;
    const HEAD_MASK: u64 = M::HEAD_MASK;
    const TAIL_MASK: u32 = M::TAIL_MASK;

    #[inline]
    fn view(&self) -> View<'_, M::Word> {
        (**self).view()
    }

    #[inline]
    fn is_here(&self) -> bool {
        (**self).is_here()
    }
}

impl<W> fmt::Debug for View<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("head", &self.head)
            .field("tail", &self.tail)
            .field("ring_bytes", &self.ring_bytes)
            .finish_non_exhaustive()
    }
}
