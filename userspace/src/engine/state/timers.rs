//! What has to be done at a time: deadlines, and signals that are sent again.
//!
//! A timer whose request has ended meanwhile is left where it is until its time
//! has come, or until such timers are the majority. The thread that looks at
//! them is `threads::timer`.
//!
//! SPEC: R-DEADLINE-1, R-CANCEL-7.

use crate::sync::JoinHandle;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// First time until a signal is sent again, in ns; the next ones double.
const NUDGE_NS: u64 = 50_000;
/// How often they double: a worker in a syscall that is not interruptible is
/// sent a signal every 50 ms or so.
const NUDGE_DOUBLINGS: u32 = 10;

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// End it with ETIMEDOUT.
    Deadline,
    /// Send its worker the signal again, as it was so often.
    Nudge(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) time: u64,
    pub(crate) id: u64,
    pub(crate) what: What,
}

impl Timer {
    /// For the signal that was sent `times` times again until `now`.
    pub(crate) fn nudge(id: u64, times: u32, now: u64) -> Self {
        let what = What::Nudge((times + 1).min(NUDGE_DOUBLINGS));
        Timer { time: now + (NUDGE_NS << times), id, what }
    }
}

/// The timers of a context.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    pub(crate) heap: BinaryHeap<Reverse<Timer>>,
    /// The thread exists or is being created.
    pub(crate) exists: bool,
    pub(crate) thread: Option<JoinHandle<()>>,
    pub(crate) stopping: bool,
}

impl Timers {
    /// Makes the thread go; it is to be joined.
    pub(crate) fn stop(&mut self) -> Option<JoinHandle<()>> {
        self.stopping = true;
        self.thread.take()
    }

    pub(crate) fn take_due(&mut self, now: u64) -> Option<Timer> {
        let Reverse(first) = self.heap.peek()?;
        if first.time <= now { self.heap.pop().map(|Reverse(timer)| timer) } else { None }
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
