//! What is asked of descriptors, and told to eventfds.

use std::os::fd::{AsRawFd, OwnedFd};

/// Whether `fd` is open for reading, or writing.
///
/// # Errors
/// EBADF, positive.
pub fn check_mode(fd: i32, writes: bool) -> Result<(), i32> {
    // SAFETY: takes no address.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    let mode = flags & libc::O_ACCMODE;
    let wrong = if writes { mode == libc::O_RDONLY } else { mode == libc::O_WRONLY };
    if flags < 0 || flags & libc::O_PATH != 0 || wrong { Err(libc::EBADF) } else { Ok(()) }
}

/// Adds to an eventfd; a counter at its maximum is readable, which is enough.
pub fn signal(fd: &OwnedFd, count: u64) {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd that can be written.
    if unsafe { libc::poll(&raw mut poll, 1, 0) } == 1 {
        // SAFETY: eight bytes that can be read.
        unsafe { libc::write(fd.as_raw_fd(), (&raw const count).cast(), 8) };
    }
}
