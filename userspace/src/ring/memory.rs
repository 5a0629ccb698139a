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

use super::segments::Segments;
use super::word::Word;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// The shared words of one ring.
///
/// The references do not say who may write: on mapped memory the producer
/// cannot store to the consumer page, nor a consumer to anything else: the
/// process that tries dies by SIGSEGV.
#[cfg_attr(not(feature = "unstable"), allow(unnameable_types))] // sealed without it
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
    pub(super) fn segments(&self, position: u32, words: usize) -> Segments<'a, W> {
        Segments::new(self.words, (position & (self.ring_bytes - 1)) as usize / 8, words)
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
#[cfg_attr(not(feature = "unstable"), allow(unnameable_types))] // sealed without it
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

/// Bytes from one position on to another.
#[inline]
pub(super) fn distance<M: Memory>(from: u32, to: u32) -> u32 {
    to.wrapping_sub(from) & M::TAIL_MASK
}

/// Loads a word of the producer page, for a consumer.
///
/// Acquire, as load and fence, since the page is mapped read-only: with `tail`,
/// events are read after it; with `flags`, `tail` is. Pairs with the releases
/// of `Producer::publish` and `Producer::set_flags`; in the kernel:
/// smp_store_release() in aio2_ring_publish(). SPEC: R-RING-9.
#[inline]
pub(super) fn acquire(word: &AtomicU32) -> u32 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
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
