//! The sink: takes every event, into the ring or onto the overflow list.
//!
//! It keeps order (while the list holds anything, new events join it) and
//! loses nothing (room on the list is reserved beforehand). It wakes nobody:
//! it says when a consumer wants to be told. It has no lock; whoever shares it
//! among threads puts it under one.
//!
//! SPEC: sections 5.6 (overflow), 5.8 (growing).

use std::collections::TryReserveError;
use std::fmt;

use super::{Memory, Overflow, Producer, len_of};

/// A producer with an overflow list behind it.
pub struct Sink<M: Memory> {
    producer: Producer<M>,
    /// Of the rings that were replaced, oldest first, as long as there are
    /// events in them.
    frozen: Vec<Producer<M>>,
    overflow: Overflow,
}

impl<M: Memory> Sink<M> {
    /// A sink into the ring of `producer`, with nothing reserved.
    pub fn new(producer: Producer<M>) -> Self {
        Self { producer, frozen: Vec::new(), overflow: Overflow::new() }
    }

    /// Goes on in the ring of `producer`, which must be empty and without
    /// consumers, and take events as long as those of the one before. What waits on the
    /// overflow list moves there; what is in the old ring stays, and is to be
    /// reaped first. `link` tells consumers where to go on, before the ring
    /// tells them that they have to: see [`super::Consumer::append`].
    ///
    /// # Errors
    ///
    /// If the memory cannot be had; nothing changes then.
    ///
    /// # Panics
    ///
    /// If the new ring's longest event is shorter.
    ///
    /// SPEC: R-GROW-1, R-GROW-3
    pub(crate) fn grow(
        &mut self,
        mut producer: Producer<M>,
        link: impl FnOnce(),
    ) -> Result<(), TryReserveError> {
        assert!(
            producer.event_max() >= self.event_max(),
            "the new ring takes what the old one did"
        );
        self.forget_drained();
        self.frozen.try_reserve(1)?;
        producer.count_on(&self.producer);
        let mut old = std::mem::replace(&mut self.producer, producer);
        if !self.flush() {
            // No consumer is there yet that could miss it.
            self.producer.set_overflow(true);
        }
        link();
        old.freeze();
        self.frozen.push(old);
        Ok(())
    }

    /// Longest event, in bytes.
    pub fn event_max(&self) -> u32 {
        self.producer.event_max()
    }

    /// Reserves room for an event of at most `bytes`, a multiple of 8. To be
    /// done when a request is accepted; [`SinkBatch::push`] uses it up.
    ///
    /// # Errors
    ///
    /// If the memory cannot be had: the request must be refused.
    ///
    /// SPEC: R-OVF-1.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), TryReserveError> {
        self.overflow.reserve(bytes)
    }

    /// Gives back the room of a request that will have no event.
    ///
    /// # Panics
    ///
    /// If less is reserved.
    pub fn release(&mut self, bytes: usize) {
        self.overflow.release(bytes);
    }

    /// Begins a batch: events pushed to it are published together, when it is
    /// dropped.
    pub fn batch(&mut self) -> SinkBatch<'_, M> {
        self.producer.look();
        SinkBatch { sink: self }
    }

    /// Takes one event, using up `reserved` bytes of what was reserved.
    ///
    /// # Panics
    ///
    /// As [`SinkBatch::push`].
    pub fn push(&mut self, event: &[u64], reserved: usize) {
        self.batch().push(event, reserved);
    }

    /// Publishes an event for which nothing was reserved, if the ring has room
    /// for it and no other event waits; false if not.
    ///
    /// # Panics
    ///
    /// If the first word does not tell the length of `event`, or the event is
    /// longer than the longest one.
    ///
    /// SPEC: R-OVF-8
    #[must_use = "false: the event was not taken"]
    pub fn push_if_fits(&mut self, event: &[u64]) -> bool {
        self.flush() && self.producer.push(event)
    }

    /// Takes events that stand back to back in `events`, each telling its own
    /// length, using up `reserved` bytes of what was reserved. If the ring has
    /// room for all of them they are written as one.
    ///
    /// # Panics
    ///
    /// As [`SinkBatch::push`].
    pub fn push_all(&mut self, mut events: &[u64], reserved: usize) {
        assert!(size_of_val(events) <= reserved, "events longer than their reserved room");
        self.overflow.release(reserved);
        self.producer.look();
        if self.flush() && self.producer.write(events, size_of_val(events) as u32) {
            self.producer.publish();
            return;
        }
        while let Some(first) = events.first() {
            let (event, rest) = events.split_at(len_of(*first) as usize / 8);
            let len = self.producer.checked_len(event);
            if !(self.flush() && self.producer.write(event, len)) {
                self.spill(event, len);
            }
            events = rest;
        }
        self.producer.publish();
    }

    /// Moves events from the overflow list to the ring, as far as there is
    /// room; true if none is left on the list.
    ///
    /// SPEC: R-OVF-4.
    pub fn flush(&mut self) -> bool {
        if self.overflow.is_empty() {
            return true;
        }
        self.move_fitting();
        // Published before the flag is cleared: who sees it clear sees them.
        // SPEC: R-OVF-3.
        self.producer.publish();
        if self.overflow.is_empty() {
            self.producer.set_overflow(false);
        }
        self.overflow.is_empty()
    }

    /// Bytes of the events that wait on the overflow list.
    pub fn overflow_bytes(&self) -> usize {
        self.overflow.bytes()
    }

    /// Number of events that wait on the overflow list.
    pub fn overflow_events(&self) -> usize {
        self.overflow.events()
    }

    /// Bytes that are reserved for events to come.
    pub fn reserved_bytes(&self) -> usize {
        self.overflow.reserved_bytes()
    }

    /// How many events have gone by the overflow list.
    pub fn overflowed(&self) -> u64 {
        self.producer.overflowed()
    }

    /// As [`Producer::available_events`], in all rings; what waits on the list
    /// does not count.
    pub fn available_events(&mut self, limit: usize) -> usize {
        self.forget_drained();
        let rings = self.frozen.iter_mut().chain([&mut self.producer]);
        rings.fold(0, |sum, ring| sum + ring.available_events(limit - sum))
    }

    /// As [`Producer::used_bytes`], in all rings; what waits on the list does
    /// not count.
    pub fn used_bytes(&mut self) -> u32 {
        self.forget_drained();
        // Each ring is at most half of the next one: the sum has the room.
        self.frozen.iter_mut().chain([&mut self.producer]).map(Producer::used_bytes).sum()
    }

    /// Whether the head of a ring is one that cannot be.
    pub fn has_bad_head(&mut self) -> bool {
        let mut rings = self.frozen.iter_mut().chain([&mut self.producer]);
        rings.any(|ring| !ring.has_good_head())
    }

    /// How many rings that were replaced have events still.
    pub fn frozen_rings(&mut self) -> usize {
        self.forget_drained();
        self.frozen.len()
    }

    /// Drops the producers of rings in which nothing is left.
    #[inline]
    fn forget_drained(&mut self) {
        if !self.frozen.is_empty() {
            self.frozen.retain_mut(|ring| !ring.is_drained());
        }
    }

    /// As [`Producer::should_notify`].
    #[must_use = "true: a consumer waits to be told"]
    pub fn should_notify(&self) -> bool {
        self.producer.should_notify()
    }

    /// As [`Producer::set_dead`].
    pub fn set_dead(&mut self) {
        self.frozen.iter_mut().for_each(Producer::set_dead);
        self.producer.set_dead();
    }

    /// The producer of the ring that events go to.
    pub fn producer(&self) -> &Producer<M> {
        &self.producer
    }

    /// Moves events, oldest first, until one does not fit.
    fn move_fitting(&mut self) {
        self.producer.look();
        while let Some(len) = self.overflow.front_len()
            && self.producer.has_room(len)
        {
            self.producer.place(self.overflow.pop(len), len);
        }
    }

    /// Puts an event on the list, behind the others. SPEC: R-OVF-3, R-OVF-6.
    #[cold]
    fn spill(&mut self, event: &[u64], len: u32) {
        let first = self.overflow.is_empty();
        self.overflow.push(event);
        self.producer.count_overflowed();
        if first {
            // A consumer may empty the ring just before it could see the flag,
            // and then would not know that anything waits. So look again.
            self.producer.publish();
            self.producer.set_overflow(true);
            if self.producer.has_room_after_flag(len) {
                self.flush();
            }
        }
    }
}

/// Events that are being taken; dropping it publishes them together.
#[must_use = "dropping it publishes what was pushed"]
pub struct SinkBatch<'s, M: Memory> {
    sink: &'s mut Sink<M>,
}

impl<M: Memory> SinkBatch<'_, M> {
    /// Takes one event, using up `reserved` bytes of what was reserved. Never
    /// allocates, never fails.
    ///
    /// # Panics
    ///
    /// If the first word does not tell the length of `event`, the event is
    /// longer than `reserved` or than the longest one, or less is reserved.
    #[inline]
    pub fn push(&mut self, event: &[u64], reserved: usize) {
        assert!(size_of_val(event) <= reserved, "an event longer than its reserved room");
        let sink = &mut *self.sink;
        let len = sink.producer.checked_len(event);
        sink.overflow.release(reserved);
        // SPEC: R-OVF-2, R-OVF-4, R-OVF-7.
        if sink.flush() && sink.producer.write(event, len) {
            return;
        }
        sink.spill(event, len);
    }
}

impl<M: Memory> Drop for SinkBatch<'_, M> {
    #[inline]
    fn drop(&mut self) {
        self.sink.producer.publish();
    }
}

impl<M: Memory> fmt::Debug for Sink<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("producer", &self.producer)
            .field("overflow", &self.overflow)
            .finish_non_exhaustive()
    }
}

impl<M: Memory> fmt::Debug for SinkBatch<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkBatch").field("sink", &self.sink).finish_non_exhaustive()
    }
}
