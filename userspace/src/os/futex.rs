//! A word that one thread sleeps on: futex(2).
//!
//! SPEC: section 4.3 (R-GET-7, R-GET-15).

use crate::error::Errno;
use crate::sync::{AtomicU32, Ordering};
use rustix::thread::futex::{Flags, Timespec, wait_bitset, wake};
use std::num::NonZeroU32;
use std::time::Duration;

/// The word.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
}

impl Futex {
    pub(crate) fn new(value: u32) -> Self {
        Futex { word: AtomicU32::new(value) }
    }

    pub(crate) fn load(&self, ordering: Ordering) -> u32 {
        self.word.load(ordering)
    }

    pub(crate) fn store(&self, value: u32, ordering: Ordering) {
        self.word.store(value, ordering);
    }

    /// Wakes the thread that sleeps.
    pub(crate) fn wake(&self) {
        // It fails only for a word that is not there.
        let _ = wake(&self.word, Flags::PRIVATE, 1);
    }

    /// Sleeps, if the word is `expected`, until woken or `deadline`, in ns of
    /// CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// As futex(2): EAGAIN if it is not, ETIMEDOUT, EINTR.
    pub(crate) fn wait(&self, expected: u32, deadline: Option<u64>) -> Result<(), Errno> {
        // Always with a time: a wait without one would be restarted after a
        // signal handler with SA_RESTART, and its EINTR be lost.
        let deadline = Duration::from_nanos(deadline.unwrap_or(i64::MAX as u64));
        let deadline = Timespec::try_from(deadline).ok();
        wait_bitset(&self.word, Flags::PRIVATE, expected, deadline.as_ref(), NonZeroU32::MAX)
            .map_err(Errno::of)
    }
}
