//! The eventfd of a context: the application's, or its own.
//!
//! SPEC: section 5.7 (R-NOTIFY-4), R-SETUP-10.
#![allow(unsafe_code)] // the application's descriptor; close(2) in a child

use crate::error::Errno;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{fcntl_dupfd_cloexec, fcntl_getfd, write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What is signalled when events are there.
#[derive(Debug)]
pub(crate) struct Notifier {
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
    pub(crate) fn private() -> Result<Self, Errno> {
        Notifier::new(false)
    }

    /// An eventfd of the engine's own, which the application may see.
    ///
    /// # Errors
    /// As eventfd(2).
    pub(crate) fn own() -> Result<Self, Errno> {
        Notifier::new(true)
    }

    fn new(shared: bool) -> Result<Self, Errno> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Notifier { fd: eventfd(0, flags).map_err(Errno::of)?, shared })
    }

    /// The application's eventfd, by a descriptor of the engine's own.
    ///
    /// # Errors
    /// EBADF if it is not open, EINVAL if it is something else; only then EMFILE.
    pub(crate) fn of_application(fd: i32) -> Result<Self, Errno> {
        if fd < 0 {
            return Err(Errno(libc::EBADF));
        }
        // SAFETY: it is used for nothing before the next call has found it open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        fcntl_getfd(borrowed).map_err(Errno::of)?;
        let name = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        // Without /proc there is no way to tell.
        if name.is_ok_and(|name| name.as_os_str() != "anon_inode:[eventfd]") {
            return Err(Errno(libc::EINVAL));
        }
        let fd = fcntl_dupfd_cloexec(borrowed, 0).map_err(Errno::of)?;
        Ok(Notifier { fd, shared: true })
    }

    /// Signals it. Does not wait: a counter at its maximum is readable, which
    /// is all that is to be told. It is to be called without a lock: who fills
    /// the counter of an eventfd without O_NONBLOCK just between the two calls
    /// below makes this thread wait until someone reads it.
    ///
    /// SPEC: R-NOTIFY-4
    pub(crate) fn signal(&self) {
        if self.shared {
            let mut polled = [PollFd::new(&self.fd, PollFlags::OUT)];
            if poll(&mut polled, Some(&Timespec::default())) != Ok(1) {
                return;
            }
        }
        // It fails only at the maximum.
        let _ = write(&self.fd, &1_u64.to_ne_bytes());
    }

    /// Closes the descriptor of a child after fork. Its owner there is leaked,
    /// and closes nothing.
    pub(crate) fn close_in_child(&self) {
        // SAFETY: takes no address; the owner is never dropped in the child.
        unsafe { libc::close(self.fd.as_raw_fd()) };
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
