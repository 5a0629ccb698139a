//! What has to be done at a time: deadlines, and signals that are sent again.
//!
//! One thread for a context, created with the first of them. A timer whose
//! request has ended meanwhile is left where it is until its time has come, or
//! until such timers are the majority.
//!
//! SPEC: R-DEADLINE-1, R-CANCEL-7, R-LIMIT-5.

use super::worker;
use crate::engine::state::context::{Context, Shared};
use crate::engine::state::slots::{Id, Known};
use crate::os::clock;
use crate::sync::JoinHandle;
use libc::{EAGAIN, ETIMEDOUT};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// First time until a signal is sent again, in ns; the next ones double.
const NUDGE_NS: u64 = 50_000;
/// How often they double: a worker in a syscall that is not interruptible is
/// sent a signal every 50 ms or so.
const NUDGE_DOUBLINGS: u32 = 10;
/// Timers that are not worth a cleaning.
const FEW: usize = 64;

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// End it with ETIMEDOUT.
    Deadline,
    /// Send its worker the signal again, as it was so often.
    Nudge(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    time: u64,
    id: u64,
    what: What,
}

impl Timer {
    /// For the signal that was sent `times` times again until `now`.
    fn nudge(id: u64, times: u32, now: u64) -> Self {
        let what = What::Nudge((times + 1).min(NUDGE_DOUBLINGS));
        Timer { time: now + (NUDGE_NS << times), id, what }
    }
}

/// The timers of a context.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    /// The thread exists or is being created.
    exists: bool,
    thread: Option<JoinHandle<()>>,
    stopping: bool,
}

impl Timers {
    /// Makes the thread go; it is to be joined.
    pub(crate) fn stop(&mut self) -> Option<JoinHandle<()>> {
        self.stopping = true;
        self.thread.take()
    }

    fn take_due(&mut self, now: u64) -> Option<Timer> {
        let Reverse(first) = self.heap.peek()?;
        if first.time <= now { self.heap.pop().map(|Reverse(timer)| timer) } else { None }
    }
}

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
    let spawned = worker::spawn("aio2-timer", move || run(&of_thread));
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
    /// Has request `id` cancelled at `time`.
    ///
    /// # Errors
    /// EAGAIN (positive) if there is no memory.
    pub(crate) fn set_deadline(&mut self, id: Id, time: u64) -> Result<(), i32> {
        self.add_timer(Timer { time, id: id.get(), what: What::Deadline })
    }

    /// Has the worker of request `id`, which was sent the signal, sent it again
    /// as long as it is in its syscall.
    pub(crate) fn set_nudge(&mut self, id: Id) {
        self.add_nudge(id, 0);
    }

    fn add_nudge(&mut self, id: Id, times: u32) {
        // Without memory it was sent once.
        let _ = self.add_timer(Timer::nudge(id.get(), times, clock::now()));
    }

    fn add_timer(&mut self, timer: Timer) -> Result<(), i32> {
        if self.timers.heap.len() > FEW.max(2 * self.in_flight()) {
            let slots = &self.slots;
            self.timers.heap.retain(|Reverse(t)| matches!(slots.known(t.id), Known::InFlight(_)));
        }
        let timers = &mut self.timers;
        timers.heap.try_reserve(1).map_err(|_| EAGAIN)?;
        timers.heap.push(Reverse(timer));
        self.errands.alarm = true;
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_sent_again_less_and_less_often() {
        let mut now = 1;
        let mut waits = Vec::new();
        let mut timer = Timer::nudge(7, 0, now);
        while waits.len() < 13 {
            let What::Nudge(times) = timer.what else { panic!("it is a nudge") };
            waits.push((timer.time - now) / NUDGE_NS);
            now = timer.time;
            timer = Timer::nudge(7, times, now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024]);
    }
}
