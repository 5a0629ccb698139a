//! A context as programs see it: a ring, and a slot for each request in flight.
//!
//! Everything in it is touched under its lock only, but for a slot's context,
//! which never changes.

use crate::legacy::{IoEvent, Iocb};
use crate::ring::Ring;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A context.
#[derive(Debug)]
pub struct Context {
    inner: Mutex<Inner>,
    address: usize,
    dead: AtomicBool,
}

/// What the lock keeps.
#[derive(Debug)]
pub struct Inner {
    pub ring: Ring,
    /// Accepted, and their events not in the ring.
    pub in_flight: u32,
    /// Completions are to be told at once, though nobody waits in a call: the
    /// program reaps by itself, or has an eventfd.
    pub eager: bool,
    slots: Vec<NonNull<Slot>>,
    free: Vec<NonNull<Slot>>,
}

// SAFETY: the slots are this context's own.
unsafe impl Send for Inner {}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    /// The call that submits it has not returned.
    Submitting,
    /// It ended in that call.
    Ended,
    /// It failed in that call, with what the original says there and then: this
    /// errno, positive.
    Refused(i32),
    InFlight,
}

/// A request.
#[derive(Debug)]
pub struct Slot {
    context: *const Context,
    pub state: State,
    /// The program's iocb, as it was when it was submitted.
    pub iocb: Iocb,
    /// Where that is.
    pub obj: u64,
    /// Its buffers: the program may use its own array again.
    pub iovs: Vec<libc::iovec>,
    pub eventfd: Option<Arc<OwnedFd>>,
    /// Runs as read or write, since its file has no positions.
    pub is_stream: bool,
    pub eager: bool,
    /// The thread that submitted it, if that is recorded.
    pub tid: u32,
}

impl Context {
    /// A context over a ring.
    pub fn new(ring: Ring) -> Arc<Self> {
        let address = ring.address();
        let inner = Inner { ring, in_flight: 0, eager: false, slots: Vec::new(), free: Vec::new() };
        Arc::new(Context { inner: Mutex::new(inner), address, dead: AtomicBool::new(false) })
    }

    /// What the program calls it.
    pub fn address(&self) -> usize {
        self.address
    }

    /// Whether it is being destroyed: who waits for its events is to leave.
    pub fn is_dead(&self) -> bool {
        // Acquire: pairs with `kill`.
        self.dead.load(Ordering::Acquire)
    }

    /// It is being destroyed.
    pub fn kill(&self) {
        // Release: pairs with `is_dead`.
        self.dead.store(true, Ordering::Release);
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A slot for one more request; none if the context has no room for its
    /// event.
    pub fn claim(&mut self, context: &Arc<Context>) -> Option<NonNull<Slot>> {
        // The ring is full with one event less than it has places.
        if self.in_flight + self.ring.look().events >= self.ring.nr() - 1 {
            return None;
        }
        self.in_flight += 1;
        Some(self.free.pop().unwrap_or_else(|| {
            let slot = Box::new(Slot {
                context: Arc::as_ptr(context),
                state: State::Free,
                iocb: Iocb::default(),
                obj: 0,
                iovs: Vec::new(),
                eventfd: None,
                is_stream: false,
                eager: false,
                tid: 0,
            });
            let slot = NonNull::from(Box::leak(slot));
            self.slots.push(slot);
            slot
        }))
    }

    /// The slot, under the lock.
    pub fn slot(&mut self, slot: NonNull<Slot>) -> &mut Slot {
        // SAFETY: slots live as long as the context, and are touched under its
        // lock only.
        unsafe { &mut *slot.as_ptr() }
    }

    /// Gives back a slot whose request never was, or has ended in its call.
    pub fn release(&mut self, at: NonNull<Slot>, was_counted: bool) {
        let slot = self.slot(at);
        slot.state = State::Free;
        slot.eventfd = None;
        slot.iovs.clear();
        self.free.push(at);
        if was_counted {
            self.in_flight -= 1;
        }
    }

    /// Puts the event of a request into the ring.
    pub fn complete(&mut self, at: NonNull<Slot>, res: i64) {
        let slot = self.slot(at);
        let event = IoEvent { data: slot.iocb.data, obj: slot.obj, res, res2: 0 };
        if slot.state == State::Submitting {
            slot.state = State::Ended;
            self.in_flight -= 1;
        } else {
            self.release(at, true);
        }
        if self.ring.push(event) {
            self.eager = true;
        }
    }

    /// The requests in flight, or those of one iocb.
    pub fn in_flight_of(&mut self, obj: Option<u64>) -> Vec<NonNull<Slot>> {
        let all = self.slots.clone();
        let wanted = |at: &NonNull<Slot>| {
            let slot = self.slot(*at);
            slot.state == State::InFlight && obj.is_none_or(|obj| obj == slot.obj)
        };
        all.into_iter().filter(wanted).collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for slot in self.slots.drain(..) {
            // SAFETY: it was leaked by `claim`, and nothing is in flight.
            drop(unsafe { Box::from_raw(slot.as_ptr()) });
        }
    }
}

/// The context of a slot that is in flight.
///
/// # Safety
/// The slot's request has not ended, so that its context is there.
pub unsafe fn context_of(slot: NonNull<Slot>) -> Arc<Context> {
    // SAFETY: the field never changes; the slot is alive.
    let context = unsafe { (*slot.as_ptr()).context };
    // SAFETY: it is one of an Arc that is alive.
    unsafe { Arc::increment_strong_count(context) };
    // SAFETY: the count that was just added.
    unsafe { Arc::from_raw(context) }
}

/// Whether a slot that is in flight is one of this context.
///
/// # Safety
/// As [`context_of`].
pub unsafe fn belongs_to(slot: NonNull<Slot>, context: &Arc<Context>) -> bool {
    // SAFETY: as above.
    std::ptr::eq(unsafe { (*slot.as_ptr()).context }, Arc::as_ptr(context))
}
