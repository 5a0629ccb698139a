//! What a context hands out of its ring: taking events, and nothing else.
//!
//! The words of a context's ring are the crate's: who could move another's
//! head, or join another ring to it, could give a buffer back to its owner while
//! the kernel writes to it. Rings of one's own are [`crate::ring`]'s.
//!
//! SPEC: sections 5.5 (reaping), 5.7 (notification).

use crate::ring;
use crate::ring::shm::ConsumerMap;
#[cfg(feature = "raw")]
pub use crate::ring::{Corruption, Events, Pending, ReapError};
#[cfg(not(feature = "raw"))]
use crate::ring::{Events, Pending, ReapError};
use std::fmt;

/// A consumer of a context's ring, beside any others: it sees the words of
/// events.
///
/// It can be cloned, and used by any number of threads. Each event goes to one
/// consumer or [`crate::Reaper`] only; a [`crate::Queue`] waits in vain for one
/// that is taken here.
///
/// In a child after fork it has no ring: it takes nothing, and
/// [`ReapError::Forked`] says so.
#[derive(Clone)]
pub struct Consumer {
    /// None in a child that cannot even look for the ring.
    ring: Option<ring::Consumer<ConsumerMap>>,
}

impl Consumer {
    /// For a context's implementation: over a consumer of its ring.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn over(ring: ring::Consumer<ConsumerMap>) -> Self {
        Consumer { ring: Some(ring) }
    }

    /// For a context's implementation: over a consumer of its ring.
    #[cfg(not(feature = "unstable"))]
    pub(crate) fn over(ring: ring::Consumer<ConsumerMap>) -> Self {
        Consumer { ring: Some(ring) }
    }

    /// For an implementation whose ring is another process's.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub const fn elsewhere() -> Self {
        Consumer { ring: None }
    }

    /// For an implementation whose ring is another process's.
    #[cfg(not(feature = "unstable"))]
    pub(crate) const fn elsewhere() -> Self {
        Consumer { ring: None }
    }

    /// Longest event, in bytes; a buffer of this size is never too small.
    #[must_use]
    pub fn event_max(&self) -> u32 {
        self.ring.as_ref().map_or(aio2_abi::event::LEN_MAX as u32, ring::Consumer::event_max)
    }

    /// As [`ring::Consumer::reap`].
    ///
    /// # Errors
    /// [`ReapError::BufferTooSmall`] if not even the oldest event fits; it stays
    /// in the ring. [`ReapError::Corrupt`] if a peer broke the ring, for ever.
    /// [`ReapError::Forked`] in a child after fork.
    #[inline]
    pub fn reap<'b>(
        &self,
        buffer: &'b mut [u64],
        max_events: usize,
    ) -> Result<Events<'b>, ReapError> {
        self.ring.as_ref().ok_or(ReapError::Forked)?.reap(buffer, max_events)
    }

    /// As [`ring::Consumer::pending`].
    #[must_use]
    pub fn pending(&self) -> Pending {
        self.ring.as_ref().map_or(Pending::Nothing, ring::Consumer::pending)
    }

    /// For a context's implementation: says which ring comes next.
    pub(crate) fn append(&self, next: ring::Consumer<ConsumerMap>) {
        if let Some(ring) = &self.ring {
            ring.append(next);
        }
    }

    /// Goes on with the ring that replaced this one ([`crate::Context::grow`]),
    /// if nothing is left in it; true if so.
    pub fn advance(&mut self) -> bool {
        self.ring.as_mut().is_some_and(ring::Consumer::advance)
    }

    /// Whether nothing will come any more: the context is gone. What was
    /// published before can still be reaped.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.ring.as_ref().is_none_or(ring::Consumer::is_dead)
    }

    /// As [`ring::Consumer::notify_off`].
    pub fn notify_off(&self) {
        self.ring.iter().for_each(ring::Consumer::notify_off);
    }

    /// As [`ring::Consumer::notify_on`]: true if there is something already, of
    /// which nobody will be told.
    #[must_use = "true: do not sleep"]
    pub fn notify_on(&self) -> bool {
        self.ring.as_ref().is_none_or(ring::Consumer::notify_on)
    }

    /// Whether the ring is this process's.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.ring.as_ref().is_some_and(ring::Consumer::is_here)
    }

    /// The ring itself; in a child after fork there may be none.
    ///
    /// # Safety
    /// Nothing may be written to its words, nor be joined to it, by which the
    /// context's events could be lost or forged.
    #[cfg(feature = "unstable")]
    #[must_use]
    #[allow(unsafe_code)] // it is for the caller to be careful
    pub unsafe fn ring(&self) -> Option<&ring::Consumer<ConsumerMap>> {
        self.ring.as_ref()
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Consumer");
        debug.field("pending", &self.pending()).finish_non_exhaustive()
    }
}
