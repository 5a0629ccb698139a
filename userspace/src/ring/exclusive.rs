//! The only consumer of a ring: reads in place, without swaps.
//!
//! Its head is private; what a peer writes over the shared one is neither read
//! nor kept. Events are read through word loads, never as a slice, since the
//! producer may be another process that does not keep the rules.
//!
//! SPEC: section 5.5 (reaping), by a consumer that is alone.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;

use super::error::{Corruption, ReapError};
use super::event::{len_of, valid_len};
use super::memory::{Memory, View, acquire};
use super::segments::Segments;
use super::status::{self, Pending, used};
use super::word::Word;
use crate::sync::Ordering;

/// The one reaper of a ring, which cannot be shared among threads.
pub struct ExclusiveConsumer<M: Memory> {
    memory: M,
    event_max: u32,
    head: u64,
    /// Bytes behind `head` that are known to be events.
    known: u32,
    broken: Option<Corruption>,
    /// Not `Sync`: there is one reader at a time.
    one_thread: PhantomData<Cell<()>>,
}

impl<M: Memory> ExclusiveConsumer<M> {
    pub(super) fn new(memory: M, event_max: u32, broken: Option<Corruption>) -> Self {
        // Acquire: as in `Consumer::reap`. Whoever hands over the only handle
        // orders this already, so that no model fails without it; it is for a
        // consumer that was in another process.
        let head = if memory.is_here() { memory.view().head.load(Ordering::Acquire) } else { 0 };
        Self { memory, event_max, head, known: 0, broken, one_thread: PhantomData }
    }

    /// Longest event, in bytes.
    pub fn event_max(&self) -> u32 {
        self.event_max
    }

    /// The memory of the ring.
    #[cfg(feature = "unstable")]
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Begins a batch of what is in the ring now, or of what the batch before
    /// has left. The room of the events taken from it goes back to the producer
    /// when it is dropped.
    ///
    /// # Errors
    ///
    /// If a peer broke the ring; every call fails so from then on.
    /// [`ReapError::Forked`] in a child after fork.
    #[inline]
    pub fn drain(&mut self) -> Result<Drain<'_, M>, ReapError> {
        if let Some(broken) = self.broken {
            return Err(broken.into());
        }
        if !self.memory.is_here() {
            return Err(ReapError::Forked);
        }
        if self.known == 0 {
            let view = self.memory.view();
            let tail = acquire(view.tail);
            match used::<M>(self.head, tail, view.ring_bytes) {
                Ok(known) => self.known = known,
                Err(corruption) => {
                    self.broken = Some(corruption);
                    return Err(corruption.into());
                }
            }
        }
        Ok(Drain { next: self.head, left: self.known, consumer: self })
    }

    /// As [`super::Consumer::pending`].
    pub fn pending(&self) -> Pending {
        status::pending(&self.memory)
    }

    /// As [`super::Consumer::is_dead`].
    pub fn is_dead(&self) -> bool {
        status::is_dead(&self.memory)
    }

    /// As [`super::Consumer::notify_off`].
    pub fn notify_off(&self) {
        status::notify_off(&self.memory);
    }

    /// As [`super::Consumer::notify_on`].
    #[must_use = "true: do not sleep"]
    pub fn notify_on(&self) -> bool {
        status::notify_on(&self.memory)
    }
}

/// Events being read in place; dropping it gives their room back.
#[must_use = "dropping it gives back the room of the events that were read"]
pub struct Drain<'c, M: Memory> {
    consumer: &'c mut ExclusiveConsumer<M>,
    next: u64,
    left: u32,
}

impl<M: Memory> Drain<'_, M> {
    /// The next event of the batch; none at its end.
    ///
    /// # Errors
    ///
    /// If a peer broke the ring; the events before it are taken nevertheless.
    #[inline]
    #[allow(clippy::should_implement_trait)] // an Iterator's items could outlive the batch
    pub fn next(&mut self) -> Result<Option<EventRef<'_, M::Word>>, Corruption> {
        if self.left == 0 {
            return Ok(None);
        }
        let position = self.next as u32;
        let header = self.consumer.memory.view().word(position).load();
        let Some(len) = valid_len(header, self.left.min(self.consumer.event_max())) else {
            // Not in a function that takes `self`: that would keep the batch
            // in memory instead of registers.
            let corruption = Corruption::BadLength { position: self.next, header };
            self.consumer.broken = Some(corruption);
            self.left = 0;
            return Err(corruption);
        };
        let words = self.consumer.memory.view().segments(position, len as usize / 8);
        self.next = self.next.wrapping_add(len.into()) & M::HEAD_MASK;
        self.left -= len;
        Ok(Some(EventRef { header, words }))
    }

    /// Bytes of the events that are left.
    pub fn bytes_left(&self) -> u32 {
        self.left
    }
}

impl<M: Memory> Drop for Drain<'_, M> {
    #[inline]
    fn drop(&mut self) {
        if self.next == self.consumer.head || !self.consumer.memory.is_here() {
            return;
        }
        self.consumer.head = self.next;
        self.consumer.known = self.left;
        let View { head, .. } = self.consumer.memory.view();
        // Release: the events are read before the producer may write over
        // them. Pairs with the acquire of `head` in the producer (kernel:
        // aio2_ring_head()). SPEC: R-RING-10, R-RING-15.
        head.store(self.next, Ordering::Release);
    }
}

/// An event in the ring.
///
/// Its length was checked once and is kept here (SPEC: R-RING-14). The words are read anew each
/// time; a hostile producer can change them between two reads.
#[derive(Clone, Copy)]
pub struct EventRef<'a, W> {
    header: u64,
    words: Segments<'a, W>,
}

impl<W: Word> EventRef<'_, W> {
    /// Length in words of 8 bytes, the first word included.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // an event has at least its first word
    pub fn len(&self) -> usize {
        len_of(self.header) as usize / 8
    }

    /// The first word, as it was when its length was checked.
    #[inline]
    pub fn header(&self) -> u64 {
        self.header
    }

    /// Word `index` of the event; 0 is the first word.
    ///
    /// # Panics
    ///
    /// If the event has no such word.
    #[inline]
    pub fn word(&self, index: usize) -> u64 {
        if index == 0 { self.header } else { self.words.load(index) }
    }

    /// Copies the event to the front of `buffer`, and returns that part of it;
    /// none if it does not fit.
    #[inline]
    pub fn copy_to<'b>(&self, buffer: &'b mut [u64]) -> Option<&'b [u64]> {
        let copy = buffer.get_mut(..self.len())?;
        self.words.load_into(copy);
        copy[0] = self.header;
        Some(copy)
    }
}

impl<M: Memory> fmt::Debug for ExclusiveConsumer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExclusiveConsumer")
            .field("head", &self.head)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl<M: Memory> fmt::Debug for Drain<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("next", &self.next)
            .field("bytes_left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<W: Word> fmt::Debug for EventRef<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRef").field("header", &self.header).finish_non_exhaustive()
    }
}
