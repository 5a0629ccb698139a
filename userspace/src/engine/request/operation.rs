//! What a request does: a syscall of the allow list, an operation of AIO2's
//! own, or nothing but to be refused.
//!
//! SPEC: sections 6.3 (operations), 12.1 (R-SEC-4, R-SEC-5).

use crate::syscall::{self, Class};
use aio2_abi::iocb::{Iocb, IocbFlags};
use aio2_abi::op;
use libc::{EINVAL, EOPNOTSUPP};

/// Operations of AIO2 itself that the engine has: bit n for `OP | n`.
pub(crate) const OPERATIONS: u64 =
    1 << (op::NOP & !op::OP) | 1 << (op::POLL & !op::OP) | 1 << (op::GROUP & !op::OP);

/// What a request does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// Nothing.
    Nop,
    /// Waits until a file is ready.
    Poll,
    /// Closes a group, and is its event.
    Group,
    /// A syscall of the allow list.
    Syscall(Class),
    /// It ends with this errno (positive), before it starts.
    Refused(i32),
}

impl Operation {
    /// How the syscall may be run.
    #[inline]
    pub(crate) fn class(self) -> Option<Class> {
        match self {
            Operation::Syscall(class) => Some(class),
            _ => None,
        }
    }

    /// Whether it moves bytes, so that there is a rest that can be continued.
    fn transfers(self) -> bool {
        matches!(self.class(), Some(Class::Read | Class::Write | Class::Socket))
    }
}

/// What a request does, or why it cannot be done.
///
/// SPEC: R-OP-1, R-OP-2, R-OP-7, R-RUN-6, R-RUN-16, in this order.
#[inline(always)]
pub(crate) fn check(iocb: &Iocb<'_>, row: Option<&syscall::Syscall>) -> Operation {
    let (operation, nr_args) = match row {
        Some(row) => (Operation::Syscall(row.class), u16::from(row.nr_args)),
        None => match iocb.header.nr {
            op::NOP => (Operation::Nop, 0),
            op::POLL => (Operation::Poll, 2),
            op::GROUP => (Operation::Group, 1),
            _ => return Operation::Refused(EOPNOTSUPP),
        },
    };
    let is_poll = matches!(operation, Operation::Poll);
    let flags = iocb.flags();
    if iocb.header.nr_args != nr_args || is_poll && iocb.args[1] > u64::from(u16::MAX) {
        Operation::Refused(EINVAL)
    } else if flags.contains(IocbFlags::MULTISHOT) && !is_poll
        || flags.contains(IocbFlags::FULL) && (!operation.transfers() || peeks(iocb))
        || row.is_some() && !syscall::args_allowed(iocb.header.nr, &iocb.args)
    {
        Operation::Refused(EOPNOTSUPP)
    } else {
        operation
    }
}

/// Whether it looks at what a socket has and takes nothing, so that there is no
/// rest to go on with. SPEC: R-RUN-16
fn peeks(iocb: &Iocb<'_>) -> bool {
    let flags = match iocb.header.nr as libc::c_long {
        libc::SYS_recvfrom => iocb.args[3],
        libc::SYS_recvmsg => iocb.args[2],
        _ => return false,
    };
    flags as i32 & libc::MSG_PEEK != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_its_bit() {
        let described = (0..64).filter(|&n| op::describe(op::OP | n).is_some());
        assert_eq!(OPERATIONS, described.fold(0, |bits, n| bits | 1 << n));
    }
}
