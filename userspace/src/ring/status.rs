//! What any consumer sees and says of a ring, beside its events.
//!
//! SPEC: sections 5.5 (reaping), 5.6 (overflow), 5.7 (notification).

use aio2_abi::ring::{NOTIFY_OFF, NOTIFY_ON, RingFlags};

use super::error::Corruption;
use super::memory::{Memory, acquire, distance};
use crate::sync::{Ordering, fence};

/// What waits to be reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Nothing.
    Nothing,
    /// Events in the ring.
    Events,
    /// The ring is empty, and events wait on the overflow list: whoever owns
    /// it must be asked to move them.
    Overflow,
    /// The ring is empty and will stay so: another one has taken its place.
    Frozen,
}

pub(super) fn pending<M: Memory>(memory: &M) -> Pending {
    if !memory.is_here() {
        return Pending::Nothing;
    }
    let view = memory.view();
    // SeqCst fence: between this thread's store of `notify` or update of
    // `head`, and the loads of `flags` and `tail`. Pairs with the fences of
    // `Producer::should_notify` and `Producer::has_room_after_flag` (kernel:
    // aio2_ring_notify(), aio2_ring_spill()).
    fence(Ordering::SeqCst);
    // Flags before tail: the producer publishes what it flushed, then clears
    // OVERFLOW. The other way round, both could be missed. SPEC: R-OVF-5.
    let flags = RingFlags::from_bits_retain(acquire(view.flags));
    let tail = view.tail.load(Ordering::Relaxed) & M::TAIL_MASK;
    // Relaxed, both: no event is read here, and a head that is stale makes an
    // empty ring look non-empty. Only reaping can tell.
    let head = view.head.load(Ordering::Relaxed) as u32 & M::TAIL_MASK;
    if head != tail {
        Pending::Events
    } else if flags.contains(RingFlags::FROZEN) {
        // `tail` was loaded after the flag, and is the last. SPEC: R-GROW-2.
        Pending::Frozen
    } else if flags.contains(RingFlags::OVERFLOW) {
        Pending::Overflow
    } else {
        Pending::Nothing
    }
}

pub(super) fn is_dead<M: Memory>(memory: &M) -> bool {
    !memory.is_here()
        || RingFlags::from_bits_retain(acquire(memory.view().flags)).contains(RingFlags::DEAD)
}

pub(super) fn notify_off<M: Memory>(memory: &M) {
    if memory.is_here() {
        // Relaxed: seen late, it costs a needless notification.
        memory.view().notify.store(NOTIFY_OFF, Ordering::Relaxed);
    }
}

pub(super) fn notify_on<M: Memory>(memory: &M) -> bool {
    if !memory.is_here() {
        // Nobody would end the sleep; who reaps learns why.
        return true;
    }
    // Relaxed: ordered before the looks at the ring by the fence in `pending`.
    // SPEC: R-NOTIFY-3.
    memory.view().notify.store(NOTIFY_ON, Ordering::Relaxed);
    pending(memory) != Pending::Nothing
}

/// Bytes between `head` and `tail`, if that is possible at all.
#[inline]
pub(super) fn used<M: Memory>(head: u64, tail: u32, ring_bytes: u32) -> Result<u32, Corruption> {
    let used = distance::<M>(head as u32, tail);
    if used <= ring_bytes && used.is_multiple_of(8) && head.is_multiple_of(8) {
        Ok(used)
    } else {
        Err(Corruption::BadPosition { head, tail })
    }
}
