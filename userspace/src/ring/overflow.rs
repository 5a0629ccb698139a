//! The overflow list: events that the ring had no room for, in order.
//!
//! Its memory is reserved when a request is accepted, so that storing an event
//! can never fail. It has no shared words and no lock; [`super::Sink`] owns it.
//!
//! SPEC: section 5.6 (overflow).

use std::collections::{TryReserveError, VecDeque};

use super::event::len_of;

/// A first-in first-out list of events, with room reserved ahead.
#[derive(Debug, Default)]
pub struct Overflow {
    words: VecDeque<u64>,
    events: usize,
    reserved: usize,
}

impl Overflow {
    /// An empty list with nothing reserved.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no event waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Bytes of the events that wait.
    pub fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// Number of events that wait.
    #[inline]
    pub fn events(&self) -> usize {
        self.events
    }

    /// Bytes that are reserved for events to come.
    pub fn reserved_bytes(&self) -> usize {
        self.reserved * 8
    }

    /// Reserves `bytes`, a multiple of 8, on top of what is reserved.
    ///
    /// # Errors
    ///
    /// If the memory cannot be had; nothing changes then.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), TryReserveError> {
        let reserved = self.reserved.saturating_add(bytes.div_ceil(8));
        self.words.try_reserve(reserved)?;
        self.reserved = reserved;
        Ok(())
    }

    /// Gives back `bytes` of what was reserved.
    ///
    /// # Panics
    ///
    /// If less is reserved.
    #[inline]
    pub fn release(&mut self, bytes: usize) {
        self.reserved = self
            .reserved
            .checked_sub(bytes.div_ceil(8))
            .expect("more room given back than was reserved");
    }

    /// Appends `event`. Never allocates if its room was reserved and has just
    /// been released.
    pub fn push(&mut self, event: &[u64]) {
        self.words.extend(event);
        self.events += 1;
    }

    /// Length in bytes of the oldest event.
    pub(super) fn front_len(&self) -> Option<u32> {
        self.words.front().map(|word| len_of(*word))
    }

    /// The words of the oldest event, of `len` bytes, which leaves the list.
    pub(super) fn pop(&mut self, len: u32) -> impl Iterator<Item = u64> {
        self.events -= 1;
        self.words.drain(..len as usize / 8)
    }
}
