//! Whether the file of a POLL is ready: a look without waiting, and a wait in the
//! calling thread.
//!
//! SPEC: R-OP-5.

use crate::engine::request::Request;
use crate::engine::request::wait::Direction;
use libc::EBADF;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What the file of a request is ready for now; POLLERR and POLLHUP always
/// count. The result of the operation, or none if it has to wait.
#[inline(never)]
pub(crate) fn look(request: &Request) -> Option<i64> {
    ready(request, Some(&Timespec::default()))
}

/// Whether the file of a request is there and not ready in this direction.
pub(crate) fn waits(request: &Request, direction: Direction) -> bool {
    let wanted = match direction {
        Direction::In => PollFlags::IN,
        Direction::Out => PollFlags::OUT,
    };
    polled(request, wanted, Some(&Timespec::default())).is_none()
}

/// Waits for the file of a request, for the caller of exec.
pub(crate) fn wait(request: &Request) -> i64 {
    ready(request, None).unwrap_or_default()
}

fn ready(request: &Request, timeout: Option<&Timespec>) -> Option<i64> {
    polled(request, PollFlags::from_bits_retain(request.poll_events() as i16), timeout)
}

fn polled(request: &Request, wanted: PollFlags, timeout: Option<&Timespec>) -> Option<i64> {
    let Some(fd) = request.file() else { return Some(-i64::from(EBADF)) };
    let mut polled = [PollFd::from_borrowed_fd(fd, wanted)];
    let found = poll(&mut polled, timeout);
    match polled[0].revents() {
        _ if found == Ok(0) => None,
        events if events.contains(PollFlags::NVAL) => Some(-i64::from(EBADF)),
        events => Some(found.map_or_else(
            |errno| -i64::from(errno.raw_os_error()),
            |_| i64::from(events.bits() as u16),
        )),
    }
}
