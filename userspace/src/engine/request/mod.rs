//! A request: an iocb that was accepted, checked against the allow list.
//!
//! It owns a copy of everything; the stream is not looked at again. Whatever
//! is wrong with it becomes the result of its event, never an error of the
//! submission.
//!
//! | room | duty |
//! |---|---|
//! | `operation` | what it does, if that is allowed |
//! | `attributes` | what it asks for beside |
//! | `call` | the syscall and its arguments, ready to be run |
//! | `opening` | how a file is opened, and a lookup that uses caches only |
//! | `transfer` | a call that moves bytes, and can be continued |
//! | `wait` | what it waits for, if it has to |
//! | `progress` | how far it has come |
//!
//! SPEC: sections 6.1, 6.2 (iocbs).

pub(crate) mod attributes;
pub(crate) mod call;
pub(crate) mod opening;
pub(crate) mod operation;
pub(crate) mod progress;
pub(crate) mod transfer;
pub(crate) mod wait;

use crate::syscall;
use aio2_abi::iocb::{Iocb, IocbFlags};
use aio2_abi::op;
use attributes::{Plan, Record};
use call::Call;
use libc::EOPNOTSUPP;
use operation::Operation;
use std::os::fd::BorrowedFd;

/// A request that was accepted and has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) user_data: u64,
    pub(crate) operation: Operation,
    pub(crate) call: Call,
    pub(crate) flags: IocbFlags,
    /// None if it has no attributes.
    pub(crate) plan: Option<Plan>,
    /// Room that is reserved for its event, in bytes.
    pub(crate) event_bytes: u32,
    /// Descriptor that its first argument names.
    pub(crate) fd: Option<i32>,
}

impl Request {
    /// Whether it has failed, if it has ended with `result`: what is after it does
    /// not start then.
    ///
    /// SPEC: R-GROUP-3, R-AFTER-2
    pub(crate) fn has_failed(&self, result: i64) -> bool {
        result < 0 || (result > 0 && matches!(self.operation, Operation::Group))
    }

    /// The request of a well-formed iocb.
    ///
    /// # Safety
    /// As [`Call::new`], for the arguments of `iocb`.
    #[inline(always)] // it is large, and would be copied
    #[allow(unsafe_code)] // passes on what the submitter vouches for
    pub(crate) unsafe fn new(iocb: &Iocb<'_>) -> Self {
        let nr = iocb.header.nr;
        let row = syscall::lookup(nr);
        let operation = operation::check(iocb, row);
        // SAFETY: the caller vouches for the addresses.
        let call = unsafe { Call::new(nr, iocb.args) };
        let fd = (row.is_some_and(|row| row.fd) || nr == op::POLL).then_some(iocb.args[0] as i32);
        let (user_data, flags, event_bytes) =
            (iocb.header.user_data, iocb.flags(), iocb.event_bytes);
        let bare =
            |operation, plan| Request { user_data, operation, call, flags, plan, event_bytes, fd };
        if iocb.attr_mask == 0 {
            return bare(operation, None);
        }
        let (plan, verdict) = Plan::new(iocb.attrs(), operation);
        let operation = match (operation, verdict) {
            (Operation::Refused(_), _) | (_, Ok(())) => operation,
            (_, Err(errno)) => Operation::Refused(errno),
        };
        bare(operation, Some(plan))
    }

    /// Has it recorded.
    #[cold]
    pub(crate) fn record(&mut self, record: Record) {
        self.plan = Some(Plan::recorded(self.plan.take(), self.operation, record));
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

    /// Whether it ends before its operation begins.
    #[inline(always)]
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.operation, Operation::Refused(_))
    }

    /// Whether the return of attribute `id` has to be measured.
    #[inline]
    pub(crate) fn measures(&self, id: u16) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.measures(id))
    }

    /// Whether everything has to be moved, or an error be the result.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.flags.contains(IocbFlags::FULL)
    }

    /// Whether it asks for nothing but to be run.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        !matches!(self.operation, Operation::Group | Operation::Poll)
            && self.plan.as_ref().is_none_or(|plan| !plan.is_tracked())
    }

    /// Whether it sends events until it is cancelled.
    pub(crate) fn is_multishot(&self) -> bool {
        self.flags.contains(IocbFlags::MULTISHOT)
    }

    /// The file that is waited for.
    #[allow(unsafe_code)] // the application's descriptor
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.fd.filter(|fd| *fd >= 0)?;
        // SAFETY: one that is not open is found out by the calls here; that it
        // is the one that was meant, the submitter vouches for.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// What it is waited for, as in poll(2).
    pub(crate) fn poll_events(&self) -> u16 {
        self.call.args()[1] as u16
    }
}
