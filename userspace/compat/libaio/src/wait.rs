//! io_getevents and io_pgetevents.

use crate::context::Context;
use crate::legacy::IoEvent;
use crate::process::Process;
use aio2_compat::park::Ended;
use aio2_record::Count;
use libc::{EINTR, EINVAL};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The events that one call takes.
pub trait Take {
    /// Takes what is there, and returns how many were taken by this call so far.
    fn take(&mut self, context: &Context) -> usize;
}

/// Waits until `min` events were taken, the time is over or a signal is caught.
///
/// # Errors
/// EINVAL for a context that is not there, or no more; EINTR; positive.
pub fn getevents(
    address: usize,
    min: usize,
    timeout: Option<Duration>,
    mask: Option<&libc::sigset_t>,
    taker: &mut impl Take,
) -> Result<usize, i32> {
    let process = Process::this();
    let context = process.find(address)?;
    let hub = process.hub()?;
    hub.count(Count::Waits, 1);
    let mut taken = taker.take(&context);
    if taken >= min && taken > 0 {
        return Ok(taken);
    }
    // What has ended is found though nobody has waited for it.
    hub.drain();
    // A time so far away is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        taken = taker.take(&context);
        if taken >= min {
            return Ok(taken);
        }
        // Acquire: pairs with the release in `end`.
        if context.dead.load(Ordering::Acquire) {
            return if taken > 0 { Ok(taken) } else { Err(EINVAL) };
        }
        let ready =
            || context.lock().ring.look().events > 0 || context.dead.load(Ordering::Acquire);
        match hub.wait(address, deadline, mask, ready) {
            Ended::Told => {}
            Ended::TimedOut if deadline.is_some_and(|deadline| Instant::now() < deadline) => {}
            Ended::TimedOut => return Ok(taker.take(&context)),
            Ended::Interrupted => {
                taken = taker.take(&context);
                return if taken > 0 { Ok(taken) } else { Err(EINTR) };
            }
        }
    }
}

/// Takes events into memory of the program.
#[derive(Debug)]
pub struct ToProgram {
    to: *mut IoEvent,
    max: usize,
    taken: usize,
}

#[allow(unsafe_code)] // memory of the program
impl ToProgram {
    /// # Safety
    /// `to` can be written for `max` events.
    pub unsafe fn new(to: *mut IoEvent, max: usize) -> Self {
        ToProgram { to, max, taken: 0 }
    }
}

#[allow(unsafe_code)] // memory of the program
impl Take for ToProgram {
    fn take(&mut self, context: &Context) -> usize {
        if self.taken < self.max {
            let to = self.to.wrapping_add(self.taken);
            // SAFETY: so many are left of those that the caller vouched for.
            self.taken += unsafe { context.lock().ring.take(to, self.max - self.taken) };
        }
        self.taken
    }
}
