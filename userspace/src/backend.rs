//! What a context needs of an implementation: the calls of SPEC section 4.
//!
//! Two implement it: the in-process engine and the kernel. Nothing here reaps
//! from the mapped ring; that is [`crate::Consumer`], the same for both.

use crate::consumer::Consumer;
use crate::error::Errno;
use aio2_abi::setup::{Setup, SetupFlags};
use aio2_abi::wait::Cancel;
use std::fmt::Debug;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Without end.
    Forever,
    /// For this long; zero looks once.
    After(Duration),
    /// Until this time of CLOCK_MONOTONIC, in nanoseconds.
    Until(u64),
}

/// What a wait is for.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    /// This many events; 0 does not wait.
    pub min_events: u32,
    /// At most this long.
    pub timeout: Timeout,
    /// After this long one event is enough; zero: `min_events` always counts.
    pub gather: Duration,
    /// Instead of `min_events`: until this request has its terminal event.
    /// Consumes no event.
    pub id: Option<u64>,
    /// Signal mask during the wait.
    pub sigmask: Option<&'a libc::sigset_t>,
}

impl Wait<'_> {
    /// Waits for `min_events` events without end.
    #[must_use]
    pub const fn events(min_events: u32) -> Self {
        Wait {
            min_events,
            timeout: Timeout::Forever,
            gather: Duration::ZERO,
            id: None,
            sigmask: None,
        }
    }

    /// The same wait, for at most `timeout`.
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Timeout::After(timeout);
        self
    }
}

/// What a wait brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// Bytes of iocbs that were accepted first.
    pub submitted: usize,
    /// Bytes of events that were copied out.
    pub bytes: usize,
    /// Number of those events.
    pub events: u32,
    /// Why the wait ended early, where that is no error because iocbs had been
    /// accepted.
    pub ended: Option<Errno>,
}

/// What a context has in hand, as of one moment ([`crate::Context::counters`]).
///
/// A request in flight is in at most one of `queued`, `on_device` and `on_files`; the
/// others run, or wait for other requests (SPEC: AFTER).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that were accepted, and whose events are not published.
    pub in_flight: usize,
    /// Those that wait for a worker.
    pub queued: usize,
    /// Those that are with a device, or on their way to it.
    pub on_device: usize,
    /// Those that wait for a file to become ready, and keep no worker.
    pub on_files: usize,
    /// Workers that exist.
    pub workers: usize,
    /// Those of them that have nothing to do.
    pub idle_workers: usize,
    /// Events that found no room in the ring, and wait to be moved there.
    pub overflowed: usize,
    /// Requests that have ended since the context was made.
    pub ended: u64,
    /// Those of them that ended within their submission.
    pub ended_inline: u64,
}

/// An implementation of the ABI, with one context in it.
pub trait Backend: Send + Sync + Debug {
    /// What the context is, and what the implementation can do.
    fn setup(&self) -> &Setup;

    /// `io_submit2`: accepts iocbs in order; returns the bytes accepted.
    ///
    /// # Errors
    /// If the first iocb is malformed (EINVAL, E2BIG) or cannot be accepted
    /// now (EAGAIN); EXDEV in a child after fork.
    ///
    /// # Safety
    /// Every address in the arguments of an accepted iocb must be valid for
    /// what the operation does with it, and not be used otherwise, until the
    /// request's terminal event is published, and longer if the operation uses
    /// it longer ([`crate::Op::syscall`]).
    unsafe fn submit(&self, iocbs: &mut [u8]) -> Result<usize, Errno>;

    /// `io_getevents2`: submits `iocbs` first if there are any, waits, and
    /// copies events to `events` if there is such a buffer.
    ///
    /// # Errors
    /// ETIME, EINTR, ENOBUFS, ENOENT (unknown id), and those of [`Backend::submit`].
    /// Once iocbs were accepted they go to [`Waited::ended`] instead, so that what
    /// was accepted is known (R-GET-1).
    ///
    /// # Safety
    /// As [`Backend::submit`] for the iocbs.
    unsafe fn wait(
        &self,
        wait: &Wait<'_>,
        iocbs: &mut [u8],
        events: Option<&mut [u8]>,
    ) -> Result<Waited, Errno>;

    /// `io_cancel2`: cancels what matches; returns how many matched and fills
    /// in the outcomes.
    ///
    /// # Errors
    /// ENOENT if nothing matches, EINVAL for bad flags, ETIME if the wait for
    /// them is over, EINTR.
    fn cancel(&self, request: &mut Cancel) -> Result<u32, Errno>;

    /// `io_exec2`: runs one iocb now; returns the bytes of its event in `event`.
    ///
    /// # Errors
    /// Malformed iocb: EINVAL, E2BIG; ENOBUFS if `event` cannot hold the event.
    ///
    /// # Safety
    /// Every address in the arguments must be valid for what the operation does.
    unsafe fn exec(&self, iocb: &mut [u8], event: &mut [u8]) -> Result<usize, Errno>;

    /// `io_setup2` with GROW: goes on in a ring of at least so many bytes;
    /// returns its size. Consumers come to it by [`Consumer::advance`].
    ///
    /// # Errors
    /// EINVAL if it would not be larger, or above 2^30; ENOMEM, EMFILE, ENFILE;
    /// EOPNOTSUPP if GROW is not among the features; EXDEV in a child after fork.
    fn grow(&self, ring_bytes: u32) -> Result<u32, Errno>;

    /// What it has in hand just now; none where it does not tell.
    fn counters(&self) -> Option<Counters> {
        None
    }

    /// One more consumer of the mapped ring; if the ring was replaced, of the
    /// oldest one that may hold events.
    fn consumer(&self) -> Consumer;

    /// A file descriptor that polls readable when events are there.
    fn as_fd(&self) -> BorrowedFd<'_>;
}

/// What a context is asked for that signals `eventfd`, if that is given.
///
/// # Errors
/// EINVAL if another descriptor is named.
pub(crate) fn lend(wanted: &Setup, eventfd: Option<BorrowedFd<'_>>) -> Result<Setup, Errno> {
    let by_number = (SetupFlags::EVENTFD | SetupFlags::GROW).bits();
    if wanted.flags & by_number != 0 || wanted.eventfd != 0 || wanted.fd != 0 {
        return Err(Errno(libc::EINVAL));
    }
    Ok(match eventfd {
        Some(fd) => Setup {
            flags: wanted.flags | SetupFlags::EVENTFD.bits(),
            eventfd: fd.as_raw_fd(),
            ..*wanted
        },
        None => *wanted,
    })
}
