//! A thread that sleeps until a descriptor is readable or someone wakes it.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{read, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

/// The waker of a future that a thread drives.
pub(crate) struct Sleeper {
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
    pub(crate) fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Sleeper { state: Mutex::default(), eventfd })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if it was woken since the last call.
    pub(crate) fn take_wake(&self) -> bool {
        std::mem::take(&mut self.lock().woken)
    }

    /// Sleeps until it is woken, which may have happened before, or `fd` is
    /// readable; or a signal is caught.
    pub(crate) fn sleep(&self, fd: BorrowedFd<'_>) {
        let mut state = self.lock();
        if state.woken {
            return;
        }
        state.sleeping = true;
        drop(state);
        let fds = [fd, self.eventfd.as_fd()];
        let readable = readable(fds, None);
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
            // It fails only if the counter is at its maximum, which wakes as well.
            let _ = write(&self.eventfd, &1_u64.to_ne_bytes());
        }
    }
}

/// Which of `fds` are readable; waits for that if no time is given.
fn readable<const N: usize>(fds: [BorrowedFd<'_>; N], timeout: Option<&Timespec>) -> [bool; N] {
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    // None is if it fails.
    let _ = poll(&mut polled, timeout);
    polled.map(|fd| fd.revents().contains(PollFlags::IN))
}

/// Resets an eventfd that is readable. What is not an eventfd (the context of
/// a kernel) refuses to be read, and is reset by reaping.
pub(crate) fn drain(fd: BorrowedFd<'_>) {
    if readable([fd], Some(&Timespec::default())) == [true] {
        let _ = read(fd, &mut [0; 8]);
    }
}
