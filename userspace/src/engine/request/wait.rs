//! What a request waits for, if its operation is one that waits for a file which
//! can be polled.
//!
//! SPEC: R-WAIT-1.

use super::Request;
use super::operation::Operation;
use super::transfer::Transfer;
use crate::syscall::{Class, number};

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Something to receive or to accept.
    In,
    /// Room to send.
    Out,
}

/// Flags of a receive that never waits.
const AT_ONCE: u64 = (libc::MSG_OOB | libc::MSG_ERRQUEUE) as u64;

impl Request {
    /// What it waits for on a file that is not ready; none if its call never
    /// waits, or not for that.
    pub(crate) fn waits_for(&self) -> Option<Direction> {
        let class = match self.operation {
            Operation::Syscall(class) => class,
            _ => return None,
        };
        match (class, self.call.nr()) {
            (Class::Read | Class::Write | Class::Socket, _) => {
                let transfer = Transfer::new(&self.call, class)?;
                let never = transfer.is_nonblocking()
                    || transfer.offset().is_some()
                    || !transfer.has_usual_length()
                    || !transfer.is_file() && transfer.flags() & AT_ONCE != 0;
                let direction = if transfer.is_read { Direction::In } else { Direction::Out };
                (!never).then_some(direction)
            }
            (Class::Worker, number::SYS_accept | libc::SYS_accept4) => Some(Direction::In),
            // Those with a time have one that no descriptor tells of.
            (Class::Worker, number::SYS_epoll_wait | libc::SYS_epoll_pwait)
                if self.call.args()[3] as i32 == -1 =>
            {
                Some(Direction::In)
            }
            _ => None,
        }
    }

    /// Is run on `fd` from now on, which is held for it: its own number may mean
    /// another file when that one is ready.
    ///
    /// SPEC: R-WAIT-3
    pub(crate) fn redirect(&mut self, fd: i32) {
        self.call.redirect(fd);
        self.fd = Some(fd);
    }
}
