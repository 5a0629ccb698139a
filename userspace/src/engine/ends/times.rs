//! Ends that come with time: deadlines, and workers that do not stop at once.
//!
//! SPEC: R-DEADLINE-1, R-CANCEL-7.

use crate::engine::state::context::Context;
use crate::engine::state::slots::{Id, Known};
use crate::engine::state::timers::{Timer, What};
use crate::os::clock;
use libc::{EAGAIN, ETIMEDOUT};
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

    /// Does what is due: ends requests whose time is over, and sends signals
    /// again. When to look again, in ns.
    ///
    /// SPEC: R-DEADLINE-1, R-CANCEL-7
    pub(crate) fn do_what_is_due(&mut self) -> Option<u64> {
        let now = clock::now();
        if self.timers.give_back_at.is_some_and(|time| time <= now) {
            self.timers.give_back_at = None;
            self.give_back();
        }
        while let Some(timer) = self.timers.take_due(now) {
            if let Known::InFlight(id) = self.slots.known(timer.id) {
                match timer.what {
                    What::Deadline => drop(self.stop(id, ETIMEDOUT)),
                    What::Patience => self.lose_patience(id),
                }
            }
        }
        // One by one: who is gone leaves the list.
        while let Some(dead) = self.workers.nudge(now) {
            self.bury(&dead);
        }
        self.next_time()
    }

    /// Has request `id`, which waits for its socket, give up in `timeout_ns`.
    ///
    /// # Errors
    /// EAGAIN (positive) if there is no memory.
    pub(crate) fn set_patience(&mut self, id: Id, timeout_ns: u64) -> Result<(), i32> {
        let time = clock::now().saturating_add(timeout_ns);
        self.add_timer(Timer { time, id: id.get(), what: What::Patience })
    }

    /// When something is due, in ns.
    pub(crate) fn next_time(&self) -> Option<u64> {
        let deadline = self.timers.heap.peek().map(|Reverse(first)| first.time);
        let nudge = self.workers.seats.iter().filter_map(|seat| seat.sent_again_at()).min();
        deadline.into_iter().chain(nudge).chain(self.timers.give_back_at).min()
    }

    fn add_timer(&mut self, timer: Timer) -> Result<(), i32> {
        if self.timers.heap.len() > FEW.max(2 * self.in_flight()) {
            let slots = &self.slots;
            self.timers.heap.retain(|Reverse(t)| matches!(slots.known(t.id), Known::InFlight(_)));
        }
        let timers = &mut self.timers;
        timers.heap.try_reserve(1).map_err(|_| EAGAIN)?;
        self.deferred.alarm |= timers.is_before_look(timer.time);
        timers.heap.push(Reverse(timer));
        Ok(())
    }
}
