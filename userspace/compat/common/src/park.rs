//! A thread's sleep until it is told, its time is over, or a signal is caught.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told.
    Told,
    /// Its time is over.
    TimedOut,
    /// A signal was caught.
    Interrupted,
}

/// Where a thread sleeps.
#[derive(Debug, Default)]
pub struct Parker {
    told: AtomicU32,
    /// To sleep with another signal mask, which only ppoll(2) sets atomically.
    bell: Option<Bell>,
}

impl Parker {
    /// For a sleep with another signal mask, or the thread's own.
    #[must_use]
    pub fn new(with_mask: bool) -> Self {
        // Without a descriptor it sleeps with the thread's own mask.
        let bell = with_mask.then(|| Bell::new().ok()).flatten();
        Parker { told: AtomicU32::new(0), bell }
    }

    /// Tells the thread that sleeps, or will.
    pub fn unpark(&self) {
        // Release: what it is told about was written before.
        self.told.store(1, Ordering::Release);
        if let Some(bell) = &self.bell {
            bell.ring();
        } else {
            // SAFETY: FUTEX_WAKE reads nothing; the word is alive.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.told.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    1,
                )
            };
        }
    }

    /// Sleeps until it is told; with a mask only if it was made for one.
    pub fn park(&self, deadline: Option<Instant>, mask: Option<&libc::sigset_t>) -> Ended {
        loop {
            // Acquire: pairs with `unpark`.
            if self.told.swap(0, Ordering::Acquire) == 1 {
                return Ended::Told;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ended::TimedOut;
            }
            let ended = match &self.bell {
                Some(bell) => bell.sleep(deadline, mask),
                None => self.sleep(left),
            };
            if ended == Ended::Interrupted {
                return ended;
            }
        }
    }

    fn sleep(&self, left: Option<Duration>) -> Ended {
        // Always a time: a futex wait without one would be restarted after a
        // signal handler with SA_RESTART, and its EINTR be lost.
        let left = timespec(left.unwrap_or(Duration::from_secs(1 << 30)));
        // SAFETY: the word and the time are alive, and only read.
        let slept = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.told.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                0,
                &raw const left,
            )
        };
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) if slept < 0 => Ended::Interrupted,
            _ => Ended::Told,
        }
    }
}

/// An eventfd of this library's own.
#[derive(Debug)]
struct Bell(OwnedFd);

impl Bell {
    /// An eventfd that nobody has rung.
    ///
    /// # Errors
    /// Those of eventfd(2).
    fn new() -> io::Result<Self> {
        // SAFETY: takes no address.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just made.
        Ok(Bell(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable.
    fn ring(&self) {
        crate::fd::signal(&self.0, 1);
    }

    /// Sleeps until it is readable, or a time, or until a signal is caught that
    /// `mask` lets through.
    fn sleep(&self, deadline: Option<Instant>, mask: Option<&libc::sigset_t>) -> Ended {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let left = deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        let left = left.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mask = mask.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: one pollfd that can be written; time and mask are null or alive.
        match unsafe { libc::ppoll(&raw mut poll, 1, left, mask) } {
            0 => Ended::TimedOut,
            1.. => Ended::Told,
            _ => Ended::Interrupted,
        }
    }
}

fn timespec(span: Duration) -> libc::timespec {
    libc::timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) }
}
