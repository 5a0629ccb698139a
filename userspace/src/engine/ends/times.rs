//! Ends that come with time: deadlines, and workers that do not stop at once.
//!
//! SPEC: R-DEADLINE-1, R-CANCEL-7.

use crate::engine::state::context::Context;
use crate::engine::state::slots::{Id, Known};
use crate::engine::state::timers::{Timer, What};
use crate::os::clock;
use libc::EAGAIN;
use std::cmp::Reverse;

/// Timers that are not worth a cleaning.
const FEW: usize = 64;

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

    pub(crate) fn add_nudge(&mut self, id: Id, times: u32) {
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
        self.deferred.alarm = true;
        Ok(())
    }
}
