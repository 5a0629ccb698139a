//! A word that one thread sleeps on: futex(2).
//!
//! SPEC: section 4.3 (R-GET-7, R-GET-15).
#![allow(unsafe_code)] // futex(2)

use super::clock;
use crate::error::Errno;
use crate::sync::{AtomicU32, Ordering};
use std::ptr;

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
        // SAFETY: FUTEX_WAKE reads nothing; the word is alive.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            )
        };
    }

    /// Sleeps, if the word is `expected`, until woken or `deadline`, in ns of
    /// CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// As futex(2): EAGAIN if it is not, ETIMEDOUT, EINTR.
    pub(crate) fn wait(&self, expected: u32, deadline: Option<u64>) -> Result<(), Errno> {
        // Always with a time: a wait without one would be restarted after a
        // signal handler with SA_RESTART, and its EINTR be lost.
        let deadline = clock::timespec(deadline.unwrap_or(i64::MAX as u64));
        // SAFETY: the word and the time are alive, and read only.
        let result = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                expected,
                &raw const deadline,
                ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }
}
