//! The thread that does what has its time: it ends requests whose deadline has
//! come, and sends signals again.
//!
//! One for a context, created with the first timer.
//!
//! SPEC: R-DEADLINE-1, R-CANCEL-7, R-LIMIT-5.

use crate::engine::host::thread;
use crate::engine::state::context::{Context, Shared};
use crate::engine::state::slots::Known;
use crate::engine::state::timers::{Timer, What};
use crate::os::clock;
use libc::{EAGAIN, ETIMEDOUT};
use std::cmp::Reverse;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Sees to it that the thread is there, and looks at what was added.
///
/// # Errors
/// EAGAIN (positive) if it cannot be created.
pub(crate) fn ensure(shared: &Arc<Shared>) -> Result<(), i32> {
    if std::mem::replace(&mut shared.lock().timers.exists, true) {
        shared.alarm.notify_one();
        return Ok(());
    }
    let of_thread = shared.clone();
    let spawned = thread::spawn("aio2-timer", move || run(&of_thread));
    let mut context = shared.lock();
    context.timers.exists = spawned.is_ok();
    context.timers.thread = spawned.ok();
    if context.timers.exists { Ok(()) } else { Err(EAGAIN) }
}

/// The thread: does what is due, and sleeps until the next time.
fn run(shared: &Arc<Shared>) {
    let mut context = shared.lock();
    while !context.timers.stopping {
        let now = clock::now();
        if let Some(timer) = context.timers.take_due(now) {
            context.fire(timer);
            shared.tell(context);
            context = shared.lock();
            continue;
        }
        let next = context.timers.heap.peek().map(|Reverse(first)| first.time - now);
        let wait = Duration::from_nanos(next.unwrap_or(u64::MAX));
        let waited = shared.alarm.wait_timeout(context, wait);
        context = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Context {
    fn fire(&mut self, timer: Timer) {
        let Known::InFlight(id) = self.slots.known(timer.id) else { return };
        match timer.what {
            What::Deadline => {
                self.stop(id, ETIMEDOUT);
            }
            What::Nudge(_) if self.bury_worker_of(id) => {}
            What::Nudge(times) if self.workers.interrupt_again(id) => self.add_nudge(id, times),
            What::Nudge(_) => {}
        }
    }
}
