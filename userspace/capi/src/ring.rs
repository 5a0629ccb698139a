//! A ring as C maps it.

use aio2::Consumer;
use aio2::ring::Memory;

/// `struct aio2_ring`: where a ring is mapped.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Ring {
    pub head: *mut u64,
    pub notify: *mut u32,
    pub tail: *const u32,
    pub flags: *const u32,
    pub data: *const u64,
    pub ring_bytes: u32,
    pub event_max: u32,
}

impl Ring {
    /// None in a child after fork.
    pub fn of(consumer: &Consumer) -> Option<Self> {
        // SAFETY: C promises to be one more consumer and no more.
        let view = unsafe { consumer.ring() }?.memory().view();
        Some(Ring {
            head: view.head.as_ptr(),
            notify: view.notify.as_ptr(),
            tail: std::ptr::from_ref(view.tail).cast(),
            flags: std::ptr::from_ref(view.flags).cast(),
            data: view.words.as_ptr().cast(),
            ring_bytes: view.ring_bytes,
            event_max: view.event_max,
        })
    }

    /// Whether it is the one that `consumer` reaps.
    pub fn is_of(&self, consumer: &Consumer) -> bool {
        Ring::of(consumer).is_some_and(|ring| ring.head == self.head)
    }
}
