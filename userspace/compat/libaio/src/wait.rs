//! io_getevents and io_pgetevents.

use crate::client::Hub;
use crate::context::Context;
use crate::legacy::IoEvent;
use aio2_compat::park::Ended;
use aio2_record::Count;
use libc::{EINTR, EINVAL};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The events that one call takes.
pub trait Take {
    /// Takes what is there, and returns how many were taken by this call so far.
    fn take(&mut self, context: &Context) -> usize;
}

/// Waits until `min` events were taken, the time is over or a signal is caught.
///
/// # Errors
/// EINVAL for a context that is destroyed meanwhile; EINTR; positive.
pub fn getevents(
    hub: &Hub,
    context: &Arc<Context>,
    min: usize,
    timeout: Option<Duration>,
    mask: Option<&libc::sigset_t>,
    taker: &mut impl Take,
) -> Result<usize, i32> {
    hub.count(Count::Waits, 1);
    let mut taken = taker.take(context);
    if taken >= min && taken > 0 {
        return Ok(taken);
    }
    // What has ended is found though nobody has waited for it.
    hub.drain();
    // A time so far away is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        taken = taker.take(context);
        if taken >= min {
            return Ok(taken);
        }
        if context.is_dead() {
            return if taken > 0 { Ok(taken) } else { Err(EINVAL) };
        }
        let ready = || context.lock().ring.look().events > 0 || context.is_dead();
        match hub.wait(context.address(), deadline, mask, ready) {
            Ended::Told => {}
            Ended::TimedOut if deadline.is_some_and(|deadline| Instant::now() < deadline) => {}
            Ended::TimedOut => return Ok(taker.take(context)),
            Ended::Interrupted => {
                taken = taker.take(context);
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
