//! The eventfd of a context: the application's, or its own.
//!
//! SPEC: section 5.7 (R-NOTIFY-4), R-SETUP-10.
#![allow(unsafe_code)] // the application's descriptor; close(2) in a child

use crate::error;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, ReadWriteFlags, fcntl_dupfd_cloexec, fcntl_getfd, preadv2, write};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Room for signals that is made in a counter at its maximum: that others signal
/// just then must not fill it.
const ROOM: u64 = 1 << 32;

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
    pub(crate) fn private() -> Result<Self, error::Errno> {
        Notifier::new(false)
    }

    /// An eventfd of the engine's own, which the application may see.
    ///
    /// # Errors
    /// As eventfd(2).
    pub(crate) fn own() -> Result<Self, error::Errno> {
        Notifier::new(true)
    }

    fn new(shared: bool) -> Result<Self, error::Errno> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Notifier { fd: eventfd(0, flags).map_err(error::Errno::of)?, shared })
    }

    /// The application's eventfd, by a descriptor of the engine's own.
    ///
    /// # Errors
    /// EBADF if it is not open, EINVAL if it is something else; only then EMFILE.
    pub(crate) fn of_application(fd: i32) -> Result<Self, error::Errno> {
        if fd < 0 {
            return Err(error::Errno(libc::EBADF));
        }
        // SAFETY: it is used for nothing before the next call has found it open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        fcntl_getfd(borrowed).map_err(error::Errno::of)?;
        let name = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        // Without /proc there is no way to tell.
        if name.is_ok_and(|name| name.as_os_str() != "anon_inode:[eventfd]") {
            return Err(error::Errno(libc::EINVAL));
        }
        let fd = fcntl_dupfd_cloexec(borrowed, 0).map_err(error::Errno::of)?;
        Ok(Notifier { fd, shared: true })
    }

    /// Signals it: it is readable then, and who waits for an edge gets one. Does
    /// not wait. It is to be called without a lock: who fills the counter of an
    /// eventfd without O_NONBLOCK just between the two calls below makes this
    /// thread wait until someone reads it.
    ///
    /// SPEC: R-NOTIFY-4, R-NOTIFY-7
    pub(crate) fn signal(&self) {
        let mut count = 1;
        if self.shared {
            let mut polled = [PollFd::new(&self.fd, PollFlags::OUT)];
            if poll(&mut polled, Some(&Timespec::default())) != Ok(1) {
                let Some(instead) = self.make_room() else { return };
                count = instead;
            }
        }
        let _ = write(&self.fd, &count.to_ne_bytes());
    }

    /// Has one that no one else sees not be readable before it is signalled again.
    pub(crate) fn clear(&self) {
        debug_assert!(!self.shared, "it does not wait");
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }

    /// Reads a counter that is at its maximum; what to write in its place. None
    /// if there is no way to read it that is sure not to wait.
    #[cold]
    fn make_room(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        let mut to = [IoSliceMut::new(&mut bytes)];
        // The last argument but one stands for no position.
        match preadv2(&self.fd, &mut to, u64::MAX, ReadWriteFlags::NOWAIT) {
            // 1 from an eventfd with EFD_SEMAPHORE.
            Ok(_) => Some(u64::from_ne_bytes(bytes).saturating_sub(ROOM).max(1)),
            // Someone else has read it.
            Err(Errno::AGAIN) => Some(1),
            Err(_) => None,
        }
    }

    /// Takes what was signalled, of one that no one else sees.
    pub(crate) fn drain(&self) {
        // It does not wait; that there is nothing is no harm.
        let _ = rustix::io::read(&self.fd, &mut [0_u8; 8]);
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
