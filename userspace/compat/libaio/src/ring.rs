//! The ring of a context, which programs may reap themselves: as the kernel's,
//! it lies where the context points to.
//!
//! One thread at a time writes events and `tail`, or moves `head`, under the
//! context's lock. A program that reaps moves `head` too; what it wrote there is
//! never an index before it was taken modulo the size.

use crate::legacy::{IoEvent, RING_COMPAT_FEATURES, RING_MAGIC, RingHeader};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

const PAGE: usize = 4096;
/// Processors that the original counts, at least: it gives each a share.
const SHARE: u32 = 4;

#[derive(Debug)]
pub struct Ring {
    header: NonNull<RingHeader>,
    bytes: usize,
    nr: u32,
    tail: u32,
    /// What this side last wrote to, or saw in `head`.
    head: u32,
}

// SAFETY: the mapping belongs to the ring; who uses it holds the context's lock.
unsafe impl Send for Ring {}

/// What a reap found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Events in the ring.
    pub events: u32,
    /// The program has moved `head` since this side looked last.
    pub program_reaps: bool,
}

impl Ring {
    /// A ring with room for the events of `max` requests: more of them, as the
    /// original has.
    ///
    /// # Errors
    /// The errno, positive, of mmap(2).
    pub fn new(max: u32, id: u32, processors: u32) -> Result<Self, i32> {
        let wanted = max.max(processors.saturating_mul(SHARE)) as usize * 2 + 2;
        let bytes =
            (size_of::<RingHeader>() + wanted * size_of::<IoEvent>()).next_multiple_of(PAGE);
        let nr = ((bytes - size_of::<RingHeader>()) / size_of::<IoEvent>()) as u32;
        // SAFETY: a new mapping, wherever there is room.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let header = match NonNull::new(at.cast::<RingHeader>()) {
            Some(header) if at != libc::MAP_FAILED => header,
            _ => {
                return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOMEM));
            }
        };
        let words = RingHeader {
            id,
            nr,
            head: 0,
            tail: 0,
            magic: RING_MAGIC,
            compat_features: RING_COMPAT_FEATURES,
            incompat_features: 0,
            header_length: size_of::<RingHeader>() as u32,
        };
        // SAFETY: the mapping is new, and large enough.
        unsafe { header.write(words) };
        Ok(Ring { header, bytes, nr, tail: 0, head: 0 })
    }

    /// What programs call the context.
    pub fn address(&self) -> usize {
        self.header.as_ptr().addr()
    }

    /// Events that there is room for.
    pub fn nr(&self) -> u32 {
        self.nr
    }

    fn head(&self) -> &AtomicU32 {
        // SAFETY: a field of the mapping, which lives as long as self.
        let field = unsafe { &raw mut (*self.header.as_ptr()).head };
        // SAFETY: aligned, and accessed as an atomic only.
        unsafe { AtomicU32::from_ptr(field) }
    }

    fn tail(&self) -> &AtomicU32 {
        // SAFETY: as in `head`.
        let field = unsafe { &raw mut (*self.header.as_ptr()).tail };
        // SAFETY: as in `head`.
        unsafe { AtomicU32::from_ptr(field) }
    }

    fn event(&self, index: u32) -> *mut IoEvent {
        let events = self.header.as_ptr().wrapping_add(1).cast::<IoEvent>();
        events.wrapping_add((index % self.nr) as usize)
    }

    /// How many events are in it, and who reaps.
    pub fn look(&mut self) -> Seen {
        // Acquire: whoever moved it has read the events before it.
        let head = self.head().load(Ordering::Acquire) % self.nr;
        let program_reaps = head != self.head;
        self.head = head;
        Seen { events: (self.tail + self.nr - head) % self.nr, program_reaps }
    }

    /// Appends an event; there is room, since requests are admitted by it. True
    /// if the program was seen to reap by itself.
    pub fn push(&mut self, event: IoEvent) -> bool {
        let program_reaps = self.look().program_reaps;
        // SAFETY: the index is within the mapping; nobody reads what is behind tail.
        unsafe { self.event(self.tail).write(event) };
        self.tail = (self.tail + 1) % self.nr;
        // Release: the event is written before.
        self.tail().store(self.tail, Ordering::Release);
        program_reaps
    }

    /// Moves at most `max` events to `to`, and returns how many.
    ///
    /// # Safety
    /// `to` can be written for so many events.
    pub unsafe fn take(&mut self, to: *mut IoEvent, max: usize) -> usize {
        let count = (self.look().events as usize).min(max);
        for n in 0..count {
            let from = self.event(self.head + n as u32);
            // SAFETY: the first index is within the mapping; the caller vouches
            // for the other.
            unsafe { to.wrapping_add(n).copy_from_nonoverlapping(from, 1) };
        }
        self.head = (self.head + count as u32) % self.nr;
        // Release: the events are read before.
        self.head().store(self.head, Ordering::Release);
        count
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and not used any more.
        unsafe { libc::munmap(self.header.as_ptr().cast(), self.bytes) };
    }
}
