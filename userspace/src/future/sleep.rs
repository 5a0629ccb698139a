//! A thread that sleeps until a descriptor is readable or someone wakes it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

/// The waker of a future that a thread drives.
pub(super) struct Sleeper {
    state: Mutex<State>,
    /// Written to wake the thread while it sleeps.
    eventfd: OwnedFd,
}

#[derive(Default)]
struct State {
    woken: bool,
    sleeping: bool,
}

impl Sleeper {
    /// # Errors
    /// As eventfd(2).
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no address.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is new, and no one else's.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Sleeper { state: Mutex::default(), eventfd })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if it was woken since the last call.
    pub(super) fn take_wake(&self) -> bool {
        std::mem::take(&mut self.lock().woken)
    }

    /// Sleeps until it is woken, which may have happened before, or `fd` is
    /// readable; or a signal is caught.
    pub(super) fn sleep(&self, fd: BorrowedFd<'_>) {
        let mut state = self.lock();
        if state.woken {
            return;
        }
        state.sleeping = true;
        drop(state);
        let fds = [fd, self.eventfd.as_fd()];
        let readable = poll(fds, -1);
        self.lock().sleeping = false;
        for (fd, _) in fds.into_iter().zip(readable).filter(|&(_, readable)| readable) {
            drain(fd);
        }
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.lock();
        state.woken = true;
        if state.sleeping {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the buffer has the eight bytes. It fails only if the
            // counter is at its maximum, which wakes as well.
            unsafe { libc::write(self.eventfd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }
}

/// Which of `fds` are readable, after at most `timeout` milliseconds.
fn poll<const N: usize>(fds: [BorrowedFd<'_>; N], timeout: i32) -> [bool; N] {
    let mut polled =
        fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: so many structures, which can be written.
    unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, timeout) };
    polled.map(|fd| fd.revents & libc::POLLIN != 0)
}

/// Resets an eventfd that is readable. What is not an eventfd (the context of
/// a kernel) refuses to be read, and is reset by reaping.
pub(super) fn drain(fd: BorrowedFd<'_>) {
    if !poll([fd], 0)[0] {
        return;
    }
    let mut count = [0; 8];
    // SAFETY: the buffer has the eight bytes.
    unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
}
