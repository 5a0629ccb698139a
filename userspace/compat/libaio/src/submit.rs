//! io_submit.

use crate::client::Hub;
use crate::context::{Context, Slot, State};
use crate::memory;
use crate::process::Process;
use crate::request::{self, Shared};
use aio2::Iocbs;
use aio2_record::Count;
use libc::{EAGAIN, EFAULT, EINVAL};
use std::cell::RefCell;
use std::ptr::{NonNull, with_exposed_provenance};
use std::sync::Arc;

/// Memory of a thread, used again by each call.
#[derive(Default)]
struct Scratch {
    stream: Iocbs,
    slots: Vec<NonNull<Slot>>,
    shared: Shared,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Submits `nr` iocbs, of which there are pointers at `list`; how many were
/// accepted.
///
/// # Errors
/// The errno, positive, of the first one, if none was.
pub fn submit(address: usize, nr: i64, list: usize) -> Result<i64, i32> {
    let nr = usize::try_from(nr).map_err(|_| EINVAL)?;
    let process = Process::this();
    let context = process.find(address)?;
    let hub = process.hub()?;
    let run = |scratch: &mut Scratch| {
        let result = scratch.submit(hub, &context, nr, list);
        scratch.clear();
        result
    };
    // Where the thread is at its end, or in a signal handler, it has none.
    SCRATCH
        .try_with(|scratch| Some(run(&mut *scratch.try_borrow_mut().ok()?)))
        .ok()
        .flatten()
        .unwrap_or_else(|| run(&mut Scratch::default()))
}

impl Scratch {
    fn clear(&mut self) {
        self.stream.clear();
        self.slots.clear();
        self.shared.clear();
    }

    fn submit(
        &mut self,
        hub: &Arc<Hub>,
        context: &Arc<Context>,
        nr: usize,
        list: usize,
    ) -> Result<i64, i32> {
        self.shared.recorded = hub.recorder.is_some();
        hub.count(Count::Submissions, 1);
        let mut refused = self.prepare(context, nr, list).err();
        if self.slots.is_empty() {
            return refused.map_or(Ok(0), Err);
        }
        let prepared = self.slots.len();
        // SAFETY: the program vouches for its buffers, as it does to the original;
        // the arrays of buffers are in slots.
        let accepted = unsafe { hub.submit(&mut self.stream) };
        let all = accepted == self.stream.bytes().len();
        let accepted = if all { prepared } else { self.stream.consume(accepted) };
        hub.drain();
        let mut counted = accepted;
        let (mut left, mut eager) = (0, 0);
        let mut inner = context.lock();
        for (n, &at) in self.slots.iter().enumerate() {
            let state = if n < accepted { inner.slot(at).state } else { State::Free };
            match state {
                State::Refused(errno) => {
                    if n < counted {
                        (counted, refused) = (n, Some(errno));
                    }
                    inner.release(at, false);
                }
                State::Ended => inner.release(at, false),
                State::Submitting => {
                    let keep_up = inner.eager;
                    let slot = inner.slot(at);
                    slot.state = State::InFlight;
                    slot.eager |= keep_up;
                    eager += usize::from(slot.eager);
                    left += 1;
                }
                _ => inner.release(at, true),
            }
        }
        if left > 0 {
            hub.leave_in_flight(left, eager);
        }
        drop(inner);
        if left > 0 {
            hub.start_pump();
            hub.see_to_it();
        }
        if counted < prepared && refused.is_none() {
            refused = Some(EAGAIN);
        }
        hub.count(Count::Requests, counted);
        match refused {
            Some(errno) if counted == 0 => Err(errno),
            _ => Ok(counted as i64),
        }
    }

    /// Takes a slot for each iocb, and makes a request of it, up to the first
    /// one that is refused.
    fn prepare(&mut self, context: &Arc<Context>, nr: usize, list: usize) -> Result<(), i32> {
        let mut inner = context.lock();
        if context.is_dead() {
            return Err(EINVAL);
        }
        for n in 0..nr.min(inner.ring.nr() as usize) {
            let at = list.wrapping_add(n * size_of::<usize>());
            if !memory::readable(at, size_of::<usize>()) {
                return Err(EFAULT);
            }
            // SAFETY: the kernel says that it can be read.
            let obj = unsafe { with_exposed_provenance::<usize>(at).read_unaligned() };
            let iocb = request::read(obj)?;
            request::check_form(&iocb)?;
            let place = inner.claim(context).ok_or(EAGAIN)?;
            let slot = inner.slot(place);
            (slot.iocb, slot.obj) = (iocb, obj as u64);
            let user_data = place.as_ptr().expose_provenance() as u64;
            // Marked first: what is prepared stands in the stream.
            let prepared = request::mark(obj).and_then(|()| {
                let (shared, stream) = (&mut self.shared, &mut self.stream);
                request::prepare(slot, user_data, nr == 1, shared, stream)
            });
            if let Err(errno) = prepared {
                inner.release(place, true);
                return Err(errno);
            }
            self.slots.push(place);
        }
        Ok(())
    }
}
