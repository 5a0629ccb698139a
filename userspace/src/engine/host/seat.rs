//! The seat of a worker: what it runs, and whether it has been told to stop.
//!
//! [`Seat::word`] is between two: the worker, which is in an operation or not,
//! and whoever stops it, under the context's lock. A worker that was told to
//! stop begins no further syscall; that one which sleeps already wakes is the
//! signal's business, in [`super::interrupt`].
//!
//! SPEC: R-CANCEL-7, R-DEADLINE-1.

use super::identity::Identity;
use super::life::Life;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// In no operation.
const OUT: u32 = 0;
/// In an operation. What is above is the errno to end it with.
const IN: u32 = 1;

/// Where one worker sits.
#[derive(Debug)]
pub struct Seat {
    /// The thread, as the kernel names it.
    pub tid: i32,
    pub(crate) life: Life,
    /// As whom the thread acts that took it.
    pub(crate) identity: Identity,
    /// It could not be so again.
    strange: AtomicU32,
    word: AtomicU32,
    /// The id of the request; changed under the context's lock only, as what
    /// follows.
    request: AtomicU64,
    /// When the worker is to be sent the signal again, in ns; 0 for never.
    again: AtomicU64,
    /// How often it was.
    nudges: AtomicU32,
}

/// First time until a signal is sent again, in ns; the next ones double.
const NUDGE_NS: u64 = 50_000;
/// How often they double: a worker in a syscall that is not interruptible is
/// sent a signal every 50 ms or so.
const NUDGE_DOUBLINGS: u32 = 10;

impl Seat {
    /// The seat of the thread that the kernel calls `tid`, which runs nothing.
    #[must_use]
    pub fn new(tid: i32) -> Self {
        let (life, word, request) = (Life::new(), AtomicU32::new(OUT), AtomicU64::new(0));
        let (again, nudges) = (AtomicU64::new(0), AtomicU32::new(0));
        let (identity, strange) = (Identity::of_this_thread(), AtomicU32::new(0));
        Seat { tid, life, identity, strange, word, request, again, nudges }
    }

    /// The thread acts as somebody else, and cannot change that.
    pub(crate) fn become_strange(&self) {
        // Relaxed: the thread's own.
        self.strange.store(1, Ordering::Relaxed);
    }

    /// Whether that is so: it runs nothing any more.
    pub(crate) fn is_strange(&self) -> bool {
        // Relaxed: as above.
        self.strange.load(Ordering::Relaxed) != 0
    }

    /// The worker begins an operation. Under the context's lock.
    pub fn enter(&self, request: u64) {
        // Relaxed, both: who looks does so under the lock.
        self.request.store(request, Ordering::Relaxed);
        self.word.store(IN, Ordering::Relaxed);
    }

    /// The worker has its result; whether it had been told to stop. No one can
    /// tell it from now on.
    pub fn leave(&self) -> bool {
        // Relaxed: which of this and `stop` came first is the order of the one
        // word; nothing else is passed on by it.
        self.word.swap(OUT, Ordering::Relaxed) > IN
    }

    /// The worker's operation has ended. Under the context's lock.
    pub fn clear(&self) {
        // Relaxed: under the lock.
        self.request.store(0, Ordering::Relaxed);
        self.again.store(0, Ordering::Relaxed);
        self.nudges.store(0, Ordering::Relaxed);
    }

    /// When the worker, told to stop, is to be sent the signal again, in ns.
    /// Under the context's lock.
    pub fn sent_again_at(&self) -> Option<u64> {
        // Relaxed: under the lock.
        Some(self.again.load(Ordering::Relaxed)).filter(|&time| time > 0)
    }

    /// Has it sent again after `now`, less and less often. Under the context's
    /// lock.
    pub fn send_again(&self, now: u64) {
        // Relaxed, all: under the lock.
        let nudges = self.nudges.load(Ordering::Relaxed);
        self.nudges.store((nudges + 1).min(NUDGE_DOUBLINGS), Ordering::Relaxed);
        self.again.store(now + (NUDGE_NS << nudges), Ordering::Relaxed);
    }

    /// Whether the worker runs this request. Under the context's lock.
    pub fn runs(&self, request: u64) -> bool {
        // Relaxed: under the lock.
        self.request.load(Ordering::Relaxed) == request
    }

    /// Tells the worker to end its operation with `errno` (positive); false if
    /// it has its result already. The first to tell decides on the errno.
    pub fn stop(&self, errno: i32) -> bool {
        let (old, new) = (IN, errno as u32);
        // Relaxed, both: as in `leave`.
        match self.word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(now) => now > IN,
        }
    }

    /// The errno (positive) that the operation has to end with.
    pub fn stopped(&self) -> Option<i32> {
        // Relaxed: if the word is seen late, the signal comes again.
        let word = self.word.load(Ordering::Relaxed);
        (word > IN).then_some(word as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_sent_again_less_and_less_often() {
        let seat = Seat::new(1);
        let mut now = 1;
        let waits = [(); 13].map(|()| {
            seat.send_again(now);
            let before = std::mem::replace(&mut now, seat.sent_again_at().unwrap());
            (now - before) / NUDGE_NS
        });
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024]);
        seat.clear();
        assert_eq!(seat.sent_again_at(), None);
    }

    #[test]
    fn a_worker_is_stopped_only_while_it_is_in() {
        let seat = Seat::new(1);
        assert!(!seat.stop(9));
        seat.enter(7);
        assert!(seat.runs(7) && !seat.runs(8) && seat.stopped().is_none());
        assert!(seat.stop(9) && seat.stop(10));
        assert_eq!(seat.stopped(), Some(9));
        assert!(seat.leave() && !seat.stop(9));
        seat.clear();
        assert!(!seat.runs(7));
        seat.enter(8);
        assert!(!seat.leave());
    }
}
