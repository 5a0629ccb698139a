//! The thread that does what has its time: it ends requests whose deadline has
//! come, and sends signals again.
//!
//! One for a context, created with the first timer.
//!
//! SPEC: R-DEADLINE-1, R-CANCEL-7, R-LIMIT-5.

use crate::engine::host::thread::{self, Thread};
use crate::engine::state::context::Shared;
use crate::os::clock;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long the thread waits for a timer before it goes.
const IDLE: Duration = Duration::from_secs(1);

/// Sees to it that the thread is there, and looks at what was added. Where there
/// can be none, threads that wait for events do what it would.
pub(crate) fn ensure(shared: &Arc<Shared>) {
    let mut context = shared.lock();
    if std::mem::replace(&mut context.timers.exists, true) {
        shared.alarm.notify_one();
        return;
    }
    // It looks first of all.
    context.timers.looks_at = 0;
    let before = context.timers.thread.take();
    drop(context);
    // It has gone, or is about to.
    before.into_iter().for_each(Thread::join);
    let of_thread = shared.clone();
    let spawned = thread::spawn(c"aio2-timer", move || run(&of_thread));
    let mut context = shared.lock();
    context.timers.exists = spawned.is_ok();
    context.timers.refused = spawned.is_err();
    context.timers.thread = spawned.ok();
    if context.timers.refused {
        context.waiters.disturb();
    }
}

/// The thread: does what is due, and sleeps until the next time.
fn run(shared: &Arc<Shared>) {
    let mut context = shared.lock();
    while !context.timers.stopping {
        context.do_what_is_due();
        context = shared.tell_between(context);
        let (next, now) = (context.next_time(), clock::now());
        let wait = next.map_or(IDLE, |next| Duration::from_nanos(next.saturating_sub(now)));
        if wait.is_zero() || context.timers.stopping {
            continue;
        }
        // What is added from now on wakes this thread if it is due earlier, and only then:
        // most deadlines are late ones.
        context.timers.looks_at = next.unwrap_or(now.saturating_add(IDLE.as_nanos() as u64));
        let waited = shared.alarm.wait_timeout(context, wait);
        let (waited, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        context = waited;
        if timeout.timed_out() && next.is_none() && context.next_time().is_none() {
            break;
        }
    }
    context.timers.exists = false;
}
