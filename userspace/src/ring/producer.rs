//! The producer: writes events and publishes them.
//!
//! It trusts nothing that a consumer can write: `head` is loaded once, checked
//! and cached, and `notify` has no value that is an error. What it wrote itself
//! (tail, flags, counters) it keeps in private copies and never reads back.
//! What does not fit is not its business: see [`super::Sink`].
//!
//! SPEC: sections 5.4 (publishing), 5.7 (notification).

use std::fmt;

use aio2_abi::ring::{NOTIFY_OFF, RingFlags};

use super::event::{len_of, valid_len};
use super::memory::{Memory, View, distance};
use super::word::Word;
use crate::sync::{Ordering, fence};

/// The one writer of a ring.
///
/// SPEC: R-RING-8: its copies of what only it writes.
pub struct Producer<M: Memory> {
    memory: M,
    ring_bytes: u32,
    event_max: u32,
    /// Behind the newest event written.
    next: u32,
    /// Behind the newest event published: what `tail` holds.
    tail: u32,
    /// A head that was valid once; the true one may have moved on.
    head: u32,
    flags: RingFlags,
    bad_heads: u64,
    overflowed: u64,
}

impl<M: Memory> Producer<M> {
    /// Takes over the producing end of `memory`, which must have no other.
    ///
    /// It resumes behind what was published there.
    pub fn new(memory: M) -> Self {
        let view = memory.view();
        // Relaxed: only a producer writes these, and there is no other.
        let tail = view.tail.load(Ordering::Relaxed);
        let flags = RingFlags::from_bits_retain(view.flags.load(Ordering::Relaxed));
        let bad_heads = view.bad_heads.load(Ordering::Relaxed);
        let overflowed = view.overflowed.load(Ordering::Relaxed);
        let (ring_bytes, event_max) = (view.ring_bytes, view.event_max);
        // As if full: the first event makes it look at `head`.
        let head = tail.wrapping_sub(ring_bytes) & M::TAIL_MASK;
        Self { memory, ring_bytes, event_max, next: tail, tail, head, flags, bad_heads, overflowed }
    }

    /// Size of the ring, in bytes.
    pub fn ring_bytes(&self) -> u32 {
        self.ring_bytes
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

    /// Begins a batch: events pushed to it are published together, by one
    /// store, when it is dropped. There is room for none in a child after fork.
    pub fn batch(&mut self) -> ProducerBatch<'_, M> {
        self.look();
        ProducerBatch { producer: self }
    }

    /// Publishes one event; false if the ring has no room for it.
    ///
    /// # Panics
    ///
    /// If the first word does not tell the length of `event`, or the event is
    /// longer than [`Self::event_max`].
    #[must_use = "false: the event is not in the ring"]
    pub fn push(&mut self, event: &[u64]) -> bool {
        self.batch().push(event)
    }

    /// Number of events that consumers have not taken, counted up to `limit`.
    ///
    /// Stale at once: consumers may take some meanwhile. It takes `limit`
    /// steps at most, whatever `head` says; a bad head counts as nothing.
    pub fn available_events(&mut self, limit: usize) -> usize {
        if !self.refresh_head() {
            return 0;
        }
        let view = self.memory.view();
        let mut position = self.head;
        let mut count = 0;
        while count < limit {
            let left = distance::<M>(position, self.tail);
            // A head inside an event leads to words that are no header.
            let Some(len) = valid_len(view.word(position).load(), left) else { break };
            position = position.wrapping_add(len) & M::TAIL_MASK;
            count += 1;
        }
        count
    }

    /// Bytes of events that consumers have not taken. Stale at once; a bad head
    /// counts as nothing.
    pub fn used_bytes(&mut self) -> u32 {
        if self.refresh_head() { distance::<M>(self.head, self.tail) } else { 0 }
    }

    /// Whether a consumer wants to be told of what was just published, or of a
    /// flag that was just set.
    ///
    /// To be asked after each publication, else a consumer that is going to
    /// sleep can be missed.
    #[must_use = "true: a consumer waits to be told"]
    pub fn should_notify(&self) -> bool {
        // SeqCst fence: between the store of `tail` or `flags` and the load of
        // `notify`. Pairs with the fence of `Consumer::pending`, which stands
        // between the store of `notify` and the loads of those: one side sees
        // the other. In the kernel: smp_mb() in aio2_ring_notify().
        // SPEC: R-NOTIFY-2, R-NOTIFY-5.
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it.
        self.memory.is_here() && self.memory.view().notify.load(Ordering::Relaxed) != NOTIFY_OFF
    }

    /// Tells consumers that nothing will come any more. Cannot be undone.
    pub fn set_dead(&mut self) {
        self.set_flags(self.flags | RingFlags::DEAD);
    }

    /// Tells consumers that nothing more comes in this ring, but in another
    /// one. Cannot be undone; nothing may be pushed any more.
    ///
    /// SPEC: R-GROW-1
    pub(super) fn freeze(&mut self) {
        debug_assert_eq!(self.next, self.tail, "events that are not published");
        self.set_flags((self.flags | RingFlags::FROZEN) - RingFlags::OVERFLOW);
    }

    /// Goes on counting where the producer of the ring before has stopped.
    pub(super) fn count_on(&mut self, before: &Self) {
        (self.overflowed, self.bad_heads) = (before.overflowed, before.bad_heads);
        if !self.memory.is_here() {
            return;
        }
        let view = self.memory.view();
        // Relaxed: counters.
        view.overflowed.store(self.overflowed, Ordering::Relaxed);
        view.bad_heads.store(self.bad_heads, Ordering::Relaxed);
    }

    /// Whether the head is one that can be.
    pub(super) fn has_good_head(&mut self) -> bool {
        self.refresh_head()
    }

    /// Whether consumers have taken everything. A bad head has taken nothing.
    pub(super) fn is_drained(&mut self) -> bool {
        self.refresh_head() && self.head == self.tail
    }

    /// How often `head` was found out of range.
    pub fn bad_heads(&self) -> u64 {
        self.bad_heads
    }

    /// The length in bytes of `event`.
    ///
    /// # Panics
    ///
    /// If its first word tells another one, or it is too long.
    #[inline]
    pub(super) fn checked_len(&self, event: &[u64]) -> u32 {
        let len = size_of_val(event);
        assert!(
            event.first().is_some_and(|word| len_of(*word) as usize == len)
                && len <= self.event_max() as usize,
            "an event must tell its own length and not exceed the longest one"
        );
        len as u32
    }

    /// Writes `event`, of a checked length, behind the newest one, without
    /// publishing it; false if there is no room.
    #[inline]
    pub(super) fn write(&mut self, event: &[u64], len: u32) -> bool {
        if !self.has_room(len) {
            return false;
        }
        self.memory.view().segments(self.next, event.len()).store_from(event);
        self.next = self.next.wrapping_add(len) & M::TAIL_MASK;
        true
    }

    /// Writes an event of `len` bytes, which there is room for.
    #[inline]
    pub(super) fn place(&mut self, words: impl Iterator<Item = u64>, len: u32) {
        self.memory.view().segments(self.next, len as usize / 8).store(words);
        self.next = self.next.wrapping_add(len) & M::TAIL_MASK;
    }

    /// Makes everything written visible to consumers.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.tail == self.next || !self.memory.is_here() {
            return;
        }
        self.tail = self.next;
        // Release: the events are written before they are seen. Pairs with the
        // acquire of `tail` in `super::memory::acquire`; in the kernel:
        // smp_store_release() in aio2_ring_publish(). SPEC: R-RING-4.
        self.memory.view().tail.store(self.tail, Ordering::Release);
    }

    /// To be called before events are written: a ring that is not here is full.
    #[inline]
    pub(super) fn look(&mut self) {
        if !self.memory.is_here() {
            self.head = self.next.wrapping_sub(self.ring_bytes) & M::TAIL_MASK;
        }
    }

    /// Whether `len` bytes fit, looking at `head` only if the cached one says
    /// that they do not.
    #[inline]
    pub(super) fn has_room(&mut self, len: u32) -> bool {
        if self.room() >= len {
            return true;
        }
        self.refresh_head();
        self.room() >= len
    }

    /// The room in bytes that the cached head leaves.
    #[inline]
    fn room(&self) -> u32 {
        self.ring_bytes - distance::<M>(self.head, self.next)
    }

    /// Loads `head`; false if it is out of range, which counts as that of a
    /// full ring.
    fn refresh_head(&mut self) -> bool {
        if !self.memory.is_here() {
            self.look();
            return false;
        }
        let View { head, ring_bytes, .. } = self.memory.view();
        // Acquire, as load and fence, since the page is mapped read-only here:
        // consumers have read the bytes before they are written again. Pairs
        // with the release of `head` in `Consumer::reap` and `Drain::drop`.
        // SPEC: R-RING-5.
        let head = head.load(Ordering::Relaxed) as u32 & M::TAIL_MASK;
        fence(Ordering::Acquire);
        // A head is not beyond the newest published event, nor further than a
        // ring behind the newest written one. SPEC: R-RING-6, R-RING-7.
        let used = distance::<M>(head, self.tail);
        let unpublished = distance::<M>(self.tail, self.next);
        if used <= ring_bytes - unpublished && used.is_multiple_of(8) {
            self.head = head;
            return true;
        }
        self.head = self.next.wrapping_sub(ring_bytes) & M::TAIL_MASK;
        self.bad_heads += 1;
        // Relaxed: a counter.
        self.memory.view().bad_heads.store(self.bad_heads, Ordering::Relaxed);
        self.set_flags(self.flags | RingFlags::BAD_HEAD);
        false
    }

    /// Sets or clears the OVERFLOW flag.
    pub(super) fn set_overflow(&mut self, on: bool) {
        let mut flags = self.flags;
        flags.set(RingFlags::OVERFLOW, on);
        self.set_flags(flags);
    }

    /// Counts an event that went by the overflow list.
    pub(super) fn count_overflowed(&mut self) {
        self.overflowed += 1;
        if self.memory.is_here() {
            // Relaxed: a counter.
            self.memory.view().overflowed.store(self.overflowed, Ordering::Relaxed);
        }
    }

    /// How many events went by the overflow list.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Whether `len` bytes fit after a full barrier, for the producer that has
    /// just set a flag which a consumer may have missed.
    pub(super) fn has_room_after_flag(&mut self, len: u32) -> bool {
        // SeqCst fence: between the store of `flags` and the load of `head`.
        // Pairs with the fence of `Consumer::pending`, between the update of
        // `head` and the load of `flags`: a consumer that emptied the ring
        // sees the flag, or the producer sees the room.
        fence(Ordering::SeqCst);
        self.refresh_head();
        self.room() >= len
    }

    fn set_flags(&mut self, flags: RingFlags) {
        if flags == self.flags || !self.memory.is_here() {
            return;
        }
        self.flags = flags;
        // Release: a consumer that sees OVERFLOW clear, or DEAD, also sees
        // what was published before. Pairs with the acquire of `flags` in
        // `Consumer::pending`.
        self.memory.view().flags.store(flags.bits(), Ordering::Release);
    }
}

/// Events that are being written; dropping it publishes them together.
#[must_use = "dropping it publishes what was pushed"]
pub struct ProducerBatch<'p, M: Memory> {
    producer: &'p mut Producer<M>,
}

impl<M: Memory> ProducerBatch<'_, M> {
    /// Adds one event; false if the ring has no room for it. A later, shorter
    /// one may still fit.
    ///
    /// # Panics
    ///
    /// As [`Producer::push`].
    #[inline]
    #[must_use = "false: the event is not in the ring"]
    pub fn push(&mut self, event: &[u64]) -> bool {
        let len = self.producer.checked_len(event);
        self.producer.write(event, len)
    }
}

impl<M: Memory> Drop for ProducerBatch<'_, M> {
    #[inline]
    fn drop(&mut self) {
        self.producer.publish();
    }
}

impl<M: Memory> fmt::Debug for Producer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("ring_bytes", &self.ring_bytes)
            .field("tail", &self.tail)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl<M: Memory> fmt::Debug for ProducerBatch<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBatch").field("producer", &self.producer).finish_non_exhaustive()
    }
}
