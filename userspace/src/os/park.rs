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
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

const PARKED: u32 = 0;
const TOLD: u32 = 1;

/// Why a thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was told to, or the file beside is ready.
    Told,
    /// Its time is over.
    TimedOut,
    /// It has caught a signal.
    Interrupted,
}

/// Where one thread parks.
#[derive(Debug)]
pub(crate) struct Parker {
    word: Futex,
    /// To park with another signal mask, or beside a file: ppoll(2) does both.
    eventfd: Option<Notifier>,
}

impl Parker {
    /// One that can park with a signal mask and beside a file, or not.
    ///
    /// # Errors
    /// If it can, those of eventfd(2).
    pub(crate) fn new(with_eventfd: bool) -> Result<Self, Errno> {
        let eventfd = if with_eventfd { Some(Notifier::private()?) } else { None };
        Ok(Parker { word: Futex::new(PARKED), eventfd })
    }

    /// Forgets what was told, by the thread that parks.
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
        self.park_beside(deadline, mask, None)
    }

    /// As [`Parker::park`], until `file` is readable, too.
    pub(crate) fn park_beside(
        &self,
        deadline: Option<u64>,
        mask: Option<&libc::sigset_t>,
        file: Option<BorrowedFd<'_>>,
    ) -> Ended {
        loop {
            // Relaxed: as in `unpark`.
            if self.word.load(Ordering::Relaxed) == TOLD {
                return Ended::Told;
            }
            if deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return Ended::TimedOut;
            }
            let slept = match &self.eventfd {
                Some(fd) => poll(fd, deadline, mask, file),
                None => self.word.wait(PARKED, deadline).map(|()| false),
            };
            match slept {
                Ok(true) => return Ended::Told,
                Err(Errno(libc::EINTR)) => return Ended::Interrupted,
                _ => {}
            }
        }
    }

    /// Closes the descriptor of a child after fork, as that of a [`Notifier`].
    pub(crate) fn close_in_child(&self) {
        self.eventfd.iter().for_each(Notifier::close_in_child);
    }
}

/// Sleeps until one of them is readable; whether that is `file`, and nobody has told
/// anything.
fn poll(
    fd: &Notifier,
    deadline: Option<u64>,
    mask: Option<&libc::sigset_t>,
    file: Option<BorrowedFd<'_>>,
) -> Result<bool, Errno> {
    // One that is negative is passed over.
    let mut polled = [Some(fd.as_fd()), file].map(|fd| {
        let fd = fd.map_or(-1, |fd| fd.as_raw_fd());
        libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
    });
    let left = deadline.map(|deadline| clock::timespec(deadline.saturating_sub(clock::now())));
    let left = left.as_ref().map_or(ptr::null(), ptr::from_ref);
    let mask = mask.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: they can be written; time and mask are null or alive.
    let result = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as _, left, mask) };
    if result < 0 {
        return Err(Errno::last());
    }
    let [told, ready] = polled.map(|polled| polled.revents != 0);
    if told {
        fd.drain();
    }
    Ok(ready && !told)
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
        for with_eventfd in [false, true] {
            let parker = Parker::new(with_eventfd).unwrap();
            parker.unpark();
            parker.rearm();
            assert_eq!(parker.park(soon(), None), Ended::TimedOut);
            parker.unpark();
            assert_eq!(parker.park(None, None), Ended::Told);
        }
    }

    #[test]
    fn a_file_beside_ends_it() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let parker = Parker::new(true).unwrap();
        let park = || parker.park_beside(soon(), None, Some(reader.as_fd()));
        assert_eq!(park(), Ended::TimedOut);
        std::io::Write::write_all(&mut writer, b"x").unwrap();
        assert_eq!(park(), Ended::Told);
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
