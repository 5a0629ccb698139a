//! A request: an iocb that was accepted, checked against the allow list.
//!
//! It owns a copy of everything; the stream is not looked at again. Whatever
//! is wrong with it becomes the result of its event, never an error of the
//! submission.
//!
//! SPEC: sections 6.3 (operations), 12.1 (R-SEC-4, R-SEC-5).

pub(crate) mod attributes;
pub(crate) mod call;
pub(crate) mod transfer;

use crate::syscall::{self, Class};
use aio2_abi::iocb::{Flags, Iocb};
use aio2_abi::op;
use attributes::Plan;
use call::Call;
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

/// A request that was accepted and has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) user_data: u64,
    pub(crate) operation: Operation,
    pub(crate) call: Call,
    pub(crate) flags: Flags,
    /// None if it has no attributes.
    pub(crate) plan: Option<Plan>,
    /// Room that is reserved for its event, in bytes.
    pub(crate) event_bytes: u32,
    /// Descriptor that its first argument names.
    pub(crate) fd: Option<i32>,
}

impl Request {
    /// The request of a well-formed iocb.
    ///
    /// # Safety
    /// As [`Call::new`], for the arguments of `iocb`.
    #[inline]
    #[allow(unsafe_code)] // passes on what the submitter vouches for
    pub(crate) unsafe fn new(iocb: &Iocb<'_>) -> Self {
        let nr = iocb.header.nr;
        let row = syscall::lookup(nr);
        let mut operation = check(iocb, row);
        let plan = (iocb.attr_mask != 0).then(|| {
            let (plan, verdict) = Plan::new(iocb.attrs(), operation);
            if let Err(errno) = verdict
                && !matches!(operation, Operation::Refused(_))
            {
                operation = Operation::Refused(errno);
            }
            plan
        });
        Request {
            user_data: iocb.header.user_data,
            operation,
            // SAFETY: the caller vouches for the addresses.
            call: unsafe { Call::new(nr, iocb.args) },
            flags: iocb.flags(),
            plan,
            event_bytes: iocb.event_bytes,
            fd: (row.is_some_and(|row| row.fd) || nr == op::POLL).then_some(iocb.args[0] as i32),
        }
    }

    /// Leaves out what a run in the calling thread does not have.
    ///
    /// SPEC: R-EXEC-1
    pub(crate) fn restrict_to_exec(&mut self) {
        let has_all = self.plan.as_mut().is_none_or(Plan::restrict_to_exec);
        match self.operation {
            Operation::Refused(_) => {}
            Operation::Group => self.operation = Operation::Refused(EOPNOTSUPP),
            _ if has_all && !self.is_multishot() => {}
            _ => self.operation = Operation::Refused(EOPNOTSUPP),
        }
    }

    /// Whether the return of attribute `id` has to be measured.
    #[inline]
    pub(crate) fn measures(&self, id: u16) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.measures(id))
    }

    /// Whether everything has to be moved, or an error be the result.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.flags.contains(Flags::FULL)
    }
}

/// What a request does, or why it cannot be done.
///
/// SPEC: R-OP-1, R-OP-2, R-OP-7, R-RUN-6, in this order.
#[inline]
fn check(iocb: &Iocb<'_>, row: Option<&syscall::Syscall>) -> Operation {
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
    } else if flags.contains(Flags::MULTISHOT) && !is_poll
        || flags.contains(Flags::FULL) && !operation.transfers()
        || row.is_some() && !syscall::args_allowed(iocb.header.nr, &iocb.args)
    {
        Operation::Refused(EOPNOTSUPP)
    } else {
        operation
    }
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
