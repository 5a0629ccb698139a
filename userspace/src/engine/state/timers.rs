//! What has to be done at a time: deadlines. (That of a signal which is sent again
//! stands at the seat of its worker.)
//!
//! A timer whose request has ended meanwhile is left where it is until its time
//! has come, or until such timers are the majority. The thread that looks at
//! them is `threads::timer`.
//!
//! SPEC: R-DEADLINE-1.

use crate::engine::host::thread::Thread;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// End it with ETIMEDOUT.
    Deadline,
    /// End it with EAGAIN if it waits for its file: its socket has a timeout.
    Patience,
}

/// When that is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) time: u64,
    pub(crate) id: u64,
    pub(crate) what: What,
}

/// The timers of a context.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    pub(crate) heap: BinaryHeap<Reverse<Timer>>,
    /// When memory is to be given back, in ns, if there is any.
    pub(crate) give_back_at: Option<u64>,
    /// The thread exists or is being created.
    pub(crate) exists: bool,
    /// When the thread looks by itself, at the latest, in ns: it need not be woken for
    /// what is due later. 0 while it has not looked yet.
    pub(crate) looks_at: u64,
    /// None could be created: threads that wait do what it would.
    pub(crate) refused: bool,
    pub(crate) thread: Option<Thread>,
    pub(crate) stopping: bool,
}

impl Timers {
    /// Makes the thread go; it is to be joined.
    pub(crate) fn stop(&mut self) -> Option<Thread> {
        self.stopping = true;
        self.thread.take()
    }

    /// Whether the thread has to be told of something that is due at `time`.
    pub(crate) fn is_before_look(&self, time: u64) -> bool {
        !self.exists || time < self.looks_at
    }

    pub(crate) fn take_due(&mut self, now: u64) -> Option<Timer> {
        let Reverse(first) = self.heap.peek()?;
        if first.time <= now { self.heap.pop().map(|Reverse(timer)| timer) } else { None }
    }
}
