//! The pages of a mapped ring. SPEC: section 5.
//!
//! Plain integers: the ring algorithm builds its view of atomics over these
//! offsets, which is why they are asserted here.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of the producer page: "AIO2" in little-endian ASCII.
pub const MAGIC: u32 = 0x324f_4941;
/// `notify`: signal the eventfd.
pub const NOTIFY_ON: u32 = 0;
/// `notify`: do not signal the eventfd.
pub const NOTIFY_OFF: u32 = 1;

bitflags! {
    /// `aio2_ring_producer.flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct RingFlags: u32 {
        /// Events wait on the overflow list: call `io_getevents2`.
        const OVERFLOW = 1 << 0;
        /// The head was once seen out of range.
        const BAD_HEAD = 1 << 1;
        /// Drain this ring, then map the next one.
        const FROZEN = 1 << 2;
        /// The context is gone.
        const DEAD = 1 << 3;
    }
}

/// `struct aio2_ring_consumer`: the page that userspace writes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ConsumerPage {
    /// Free-running byte position of the oldest unreaped event.
    pub head: u64,
    /// Zero.
    pub resv0: [u64; 7],
    /// [`NOTIFY_ON`] or [`NOTIFY_OFF`].
    pub notify: u32,
    /// Zero.
    pub resv1: [u32; 15],
}

/// `struct aio2_ring_producer`: the page that only the producer writes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ProducerPage {
    /// [`MAGIC`].
    pub magic: u32,
    /// Version in force.
    pub version: u32,
    /// Size of the data in bytes, a power of two.
    pub ring_bytes: u32,
    /// Longest event in bytes.
    pub event_max: u32,
    /// Zero.
    pub resv0: [u64; 6],
    /// Free-running byte position behind the newest event.
    pub tail: u32,
    /// [`RingFlags`].
    pub flags: u32,
    /// Events that went by the overflow list since setup.
    pub overflowed: u64,
    /// How often the head was found out of range since setup.
    pub bad_heads: u64,
    /// Mapping offset of the ring that replaces this one, if frozen.
    pub next_map: u64,
    /// Zero.
    pub resv1: [u64; 4],
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<ConsumerPage>() == 128);
    assert!(offset_of!(ConsumerPage, notify) == 64);
    assert!(size_of::<ProducerPage>() == 128);
    assert!(offset_of!(ProducerPage, tail) == 64);
    assert!(offset_of!(ProducerPage, flags) == 68);
    assert!(offset_of!(ProducerPage, overflowed) == 72);
    assert!(offset_of!(ProducerPage, bad_heads) == 80);
};
