//! Parking a thread until it is told to go on, its time is over, or a signal
//! is caught.
//!
//! One [`Parker`] is one thread's wait. Who is told, and when, is decided by
//! those that hold it.
//!
//! SPEC: section 4.3 (R-GET-7, R-GET-15).
#![allow(unsafe_code)] // ppoll(2)

use super::clock;
use super::futex::Futex;
use super::notify::Notifier;
use crate::error::Errno;
use crate::sync::Ordering;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

const PARKED: u32 = 0;
const TOLD: u32 = 1;

/// Why a thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was told to.
    Told,
    /// Its time is over.
    TimedOut,
    /// It has caught a signal.
    Interrupted,
}

/// Where one thread parks, once.
#[derive(Debug)]
pub(crate) struct Parker {
    word: Futex,
    /// To park with another signal mask: only ppoll(2) sets it atomically.
    eventfd: Option<Notifier>,
}

impl Parker {
    /// # Errors
    /// With a signal mask, those of eventfd(2).
    pub(crate) fn new(with_mask: bool) -> Result<Self, Errno> {
        let eventfd = if with_mask { Some(Notifier::private()?) } else { None };
        Ok(Parker { word: Futex::new(PARKED), eventfd })
    }

    /// Forgets what was told, by the thread that parks, without a signal mask.
    /// What is told meanwhile must have been looked at by it before it parks.
    pub(crate) fn rearm(&self) {
        // Relaxed: as in `unpark`.
        self.word.store(PARKED, Ordering::Relaxed);
    }

    /// Makes the parked thread go on, or the one that is going to park.
    pub(crate) fn unpark(&self) {
        // Relaxed: what is told stands under the context's lock, which the
        // thread takes next; the futex itself orders the word with its sleep.
        self.word.store(TOLD, Ordering::Relaxed);
        match &self.eventfd {
            Some(fd) => fd.signal(),
            None => self.word.wake(),
        }
    }

    /// Sleeps until told, or until `deadline`, in ns of CLOCK_MONOTONIC, or a
    /// signal that `mask` lets through is caught.
    pub(crate) fn park(&self, deadline: Option<u64>, mask: Option<&libc::sigset_t>) -> Ended {
        loop {
            // Relaxed: as in `unpark`.
            if self.word.load(Ordering::Relaxed) == TOLD {
                return Ended::Told;
            }
            if deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return Ended::TimedOut;
            }
            let slept = match &self.eventfd {
                Some(fd) => poll_with_mask(fd, deadline, mask),
                None => self.word.wait(PARKED, deadline),
            };
            if slept == Err(Errno(libc::EINTR)) {
                return Ended::Interrupted;
            }
        }
    }
}

fn poll_with_mask(
    fd: &Notifier,
    deadline: Option<u64>,
    mask: Option<&libc::sigset_t>,
) -> Result<(), Errno> {
    let mut poll = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let left = deadline.map(|deadline| clock::timespec(deadline.saturating_sub(clock::now())));
    let left = left.as_ref().map_or(ptr::null(), ptr::from_ref);
    let mask = mask.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: one pollfd that can be written; time and mask are null or alive.
    let result = unsafe { libc::ppoll(&raw mut poll, 1, left, mask) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn soon() -> Option<u64> {
        Some(clock::now() + 20_000_000)
    }

    /// Leaves the errno of a call before, which is no news.
    fn forget_errno() {
        // SAFETY: takes nothing.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: it is this thread's.
        unsafe { *errno = libc::EINTR };
    }

    #[test]
    fn what_was_told_before_is_not_slept_over() {
        for with_mask in [false, true] {
            let parker = Parker::new(with_mask).unwrap();
            parker.unpark();
            assert_eq!(parker.park(None, None), Ended::Told);
        }
    }

    #[test]
    fn what_is_forgotten_ends_no_sleep() {
        let parker = Parker::new(false).unwrap();
        parker.unpark();
        parker.rearm();
        assert_eq!(parker.park(soon(), None), Ended::TimedOut);
    }

    #[test]
    fn a_deadline_ends_it() {
        for with_mask in [false, true] {
            let parker = Parker::new(with_mask).unwrap();
            let deadline = soon();
            forget_errno();
            assert_eq!(parker.park(deadline, None), Ended::TimedOut);
            assert!(clock::now() >= deadline.unwrap());
        }
    }

    #[test]
    fn a_sleeper_is_told() {
        for with_mask in [false, true] {
            let parker = Arc::new(Parker::new(with_mask).unwrap());
            let sleeper = parker.clone();
            let thread = std::thread::spawn(move || {
                forget_errno();
                sleeper.park(None, None)
            });
            std::thread::sleep(std::time::Duration::from_millis(20));
            parker.unpark();
            assert_eq!(thread.join().unwrap(), Ended::Told);
        }
    }
}
