//! The eventfd of a context: the application's, or its own.
//!
//! SPEC: section 5.7 (R-NOTIFY-4), R-SETUP-10.
#![allow(unsafe_code)] // eventfd(2), fcntl(2), poll(2), write(2)

use crate::error::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What is signalled when events are there.
#[derive(Debug)]
pub(super) struct Notifier {
    fd: OwnedFd,
    /// Others have it too. Whether a write may wait is said by its open file,
    /// where they can change it at any time.
    shared: bool,
}

impl Notifier {
    /// An eventfd that no one else sees.
    ///
    /// # Errors
    /// As eventfd(2).
    pub(super) fn private() -> Result<Self, Errno> {
        Notifier::new(false)
    }

    /// An eventfd of the engine's own, which the application may see.
    ///
    /// # Errors
    /// As eventfd(2).
    pub(super) fn own() -> Result<Self, Errno> {
        Notifier::new(true)
    }

    fn new(shared: bool) -> Result<Self, Errno> {
        // SAFETY: takes no address.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: it is new, and no one else's.
        Ok(Notifier { fd: unsafe { OwnedFd::from_raw_fd(fd) }, shared })
    }

    /// The application's eventfd, by a descriptor of the engine's own.
    ///
    /// # Errors
    /// EBADF if it is not open, EINVAL if it is something else; only then EMFILE.
    pub(super) fn of_application(fd: i32) -> Result<Self, Errno> {
        // SAFETY: F_GETFD takes no address.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(Errno::last());
        }
        let name = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        // Without /proc there is no way to tell.
        if name.is_ok_and(|name| name.as_os_str() != "anon_inode:[eventfd]") {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: takes no address.
        let new = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        if new < 0 {
            return Err(Errno::last());
        }
        // SAFETY: it is new, and no one else's.
        let fd = unsafe { OwnedFd::from_raw_fd(new) };
        Ok(Notifier { fd, shared: true })
    }

    /// Signals it. Does not wait: a counter at its maximum is readable, which
    /// is all that is to be told. It is to be called without a lock: who fills
    /// the counter of an eventfd without O_NONBLOCK just between the two calls
    /// below makes this thread wait until someone reads it.
    ///
    /// SPEC: R-NOTIFY-4
    pub(super) fn signal(&self) {
        let fd = self.fd.as_raw_fd();
        if self.shared {
            let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
            // SAFETY: one pollfd, which can be written.
            if unsafe { libc::poll(&raw mut poll, 1, 0) } != 1 {
                return;
            }
        }
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer has the eight bytes.
        unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
    }

    /// Closes the descriptor of a child after fork. Its owner there is leaked,
    /// and closes nothing.
    pub(super) fn close_in_child(&self) {
        // SAFETY: takes no address; the owner is never dropped in the child.
        unsafe { libc::close(self.fd.as_raw_fd()) };
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
