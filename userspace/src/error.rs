//! Errors: one enum for each operation, the error number kept as it came.
//!
//! Duty: say what is wrong and what to do about it. SPEC: the error tables of
//! section 4.

pub use crate::ring::Corruption;
use aio2_abi::event;
use aio2_abi::iocb::{Malformed, Stream};
use std::fmt;
use std::io;

/// A positive errno(3) value, as a syscall or the engine returned it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The number that the last failed libc call of this thread has left.
    #[must_use]
    pub fn last() -> Self {
        Errno(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    pub(crate) fn of(errno: rustix::io::Errno) -> Self {
        Errno(errno.raw_os_error())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match syscalls::Errno::new(self.0).name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        io::Error::from_raw_os_error(errno.0)
    }
}

/// Why requests were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many requests are under way as the context allows, or there is no
    /// memory. Nothing is wrong with the request.
    LimitReached {
        /// The context's limit of requests.
        max_requests: u32,
    },
    /// Fewer requests are under way than the context allows: there is no
    /// memory, or a limit of the user's. Only a queue can tell this from
    /// [`SubmitError::LimitReached`], since it has counted them.
    NoRoom,
    /// A request is malformed.
    Malformed {
        /// Which one of those that were to be submitted, from 0.
        index: usize,
        /// Where it begins, in bytes.
        offset: usize,
        /// The rule that it breaks, if this library knows it.
        reason: Option<Malformed>,
        /// What the implementation said.
        errno: Errno,
    },
    /// The context belongs to another process, from which this one was forked.
    Forked,
    /// Another error.
    Refused(Errno),
}

impl SubmitError {
    /// What `errno` means for the first iocb of `rest`, which is the
    /// `index`-th one, at `offset` bytes.
    #[cold]
    pub(crate) fn explain(
        errno: Errno,
        rest: &[u8],
        (index, offset): (usize, usize),
        max_requests: u32,
    ) -> Self {
        match errno.0 {
            libc::EAGAIN => SubmitError::LimitReached { max_requests },
            libc::EXDEV => SubmitError::Forked,
            libc::EINVAL | libc::E2BIG => {
                let first = Stream::new(rest).map(|stream| stream.peek());
                let reason = match first {
                    Err(reason) | Ok(Some(Err(reason))) => Some(reason),
                    Ok(_) => None,
                };
                SubmitError::Malformed { index, offset, reason, errno }
            }
            _ => SubmitError::Refused(errno),
        }
    }

    /// True if nothing is wrong with the requests: they can be submitted again
    /// once others have ended.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, SubmitError::LimitReached { .. } | SubmitError::NoRoom)
    }

    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match *self {
            SubmitError::LimitReached { .. } | SubmitError::NoRoom => Errno(libc::EAGAIN),
            SubmitError::Malformed { errno, .. } | SubmitError::Refused(errno) => errno,
            SubmitError::Forked => Errno(libc::EXDEV),
        }
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SubmitError::LimitReached { max_requests } => {
                write!(f, "limit reached: reap events or raise max_requests (now {max_requests})")
            }
            SubmitError::NoRoom => f.write_str(
                "no memory, or a limit of the user's under /proc/sys/user: \
                 free some, or end other contexts",
            ),
            SubmitError::Malformed { index, offset, reason, errno } => {
                write!(f, "request {index}, at byte {offset}, is malformed ({errno:?}): ")?;
                match reason {
                    Some(reason) => write!(f, "{reason}"),
                    None => f.write_str(
                        "this library finds no fault with it; \
                         the implementation may have smaller limits, see Context::setup",
                    ),
                }
            }
            SubmitError::Forked => {
                f.write_str("the context belongs to the parent process: make one after fork")
            }
            SubmitError::Refused(errno) => write!(f, "not accepted: {errno}"),
        }
    }
}

/// Why a wait brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// What was to be submitted first was not accepted.
    Submit(SubmitError),
    /// The ring could not be read.
    Reap(ReapError),
    /// The time is over.
    TimedOut,
    /// A signal was caught: call again.
    Interrupted,
    /// The buffer cannot hold the next event.
    BufferTooSmall {
        /// Bytes that always suffice.
        event_max: u32,
    },
    /// The context never gave out this id.
    UnknownId,
    /// Another error.
    Refused(Errno),
}

impl WaitError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match *self {
            WaitError::Submit(error) => error.errno(),
            WaitError::Reap(error) => error.errno(),
            WaitError::TimedOut => Errno(libc::ETIME),
            WaitError::Interrupted => Errno(libc::EINTR),
            WaitError::BufferTooSmall { .. } => Errno(libc::ENOBUFS),
            WaitError::UnknownId => Errno(libc::ENOENT),
            WaitError::Refused(errno) => errno,
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            WaitError::Submit(error) => error.fmt(f),
            WaitError::Reap(error) => error.fmt(f),
            WaitError::TimedOut => f.write_str("the time of the wait is over"),
            WaitError::Interrupted => f.write_str("a signal ended the wait: call again"),
            WaitError::BufferTooSmall { event_max } => {
                write!(f, "the buffer cannot hold the next event: give it {event_max} bytes")
            }
            WaitError::UnknownId => f.write_str(
                "no request of this context has this id: take it from the iocb, with WRITE_ID",
            ),
            WaitError::Refused(errno) => write!(f, "cannot wait: {errno}"),
        }
    }
}

impl From<SubmitError> for WaitError {
    fn from(error: SubmitError) -> Self {
        WaitError::Submit(error)
    }
}

impl From<ReapError> for WaitError {
    fn from(error: ReapError) -> Self {
        WaitError::Reap(error)
    }
}

/// Why events could not be taken from the ring. It will not get better: make
/// another context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReapError {
    /// Positions or lengths in the ring are impossible.
    Corrupt(Corruption),
    /// What stands in the ring is not an event.
    Malformed(event::Malformed),
    /// The implementation could not move events from the overflow list.
    Overflow(Errno),
    /// Another ring has taken the place of this one, and is not known here.
    Frozen,
    /// The context belongs to another process, from which this one was forked.
    Forked,
}

impl ReapError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match *self {
            ReapError::Corrupt(_) | ReapError::Malformed(_) => Errno(libc::EBADMSG),
            ReapError::Overflow(errno) => errno,
            ReapError::Frozen => Errno(libc::ESTALE),
            ReapError::Forked => Errno(libc::EXDEV),
        }
    }
}

impl fmt::Display for ReapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ReapError::Corrupt(corruption) => write!(f, "{corruption}: make another context"),
            ReapError::Malformed(reason) => {
                write!(f, "the ring holds what is no event: {reason}: make another context")
            }
            ReapError::Overflow(errno) => write!(f, "events stay on the overflow list: {errno}"),
            ReapError::Frozen => {
                f.write_str("a larger ring has taken the place of this one: reap from that")
            }
            ReapError::Forked => SubmitError::Forked.fmt(f),
        }
    }
}

/// Why the ring stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrowError {
    /// It has this size already, or a larger one; or none can be so large.
    NotLarger,
    /// The implementation cannot replace a ring.
    NotSupported,
    /// Another error.
    Refused(Errno),
}

impl GrowError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match *self {
            GrowError::NotLarger => Errno(libc::EINVAL),
            GrowError::NotSupported => Errno(libc::EOPNOTSUPP),
            GrowError::Refused(errno) => errno,
        }
    }
}

impl From<Errno> for GrowError {
    fn from(errno: Errno) -> Self {
        match errno.0 {
            libc::EINVAL => GrowError::NotLarger,
            libc::EOPNOTSUPP => GrowError::NotSupported,
            _ => GrowError::Refused(errno),
        }
    }
}

impl fmt::Display for GrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            GrowError::NotLarger => {
                f.write_str("a ring grows to more than it has, and to 1 GiB at most")
            }
            GrowError::NotSupported => f.write_str(
                "this implementation cannot replace a ring: make a context with a larger one",
            ),
            GrowError::Refused(errno) => {
                write!(f, "the ring stays as it is ({errno}): ").and_then(|()| {
                    f.write_str(match errno.0 {
                        libc::EXDEV => "it belongs to the parent of this process",
                        libc::EFBIG => "ask for a smaller ring, or raise RLIMIT_FSIZE",
                        libc::EMFILE | libc::ENFILE => "close files, or raise RLIMIT_NOFILE",
                        _ => "ask for less",
                    })
                })
            }
        }
    }
}

/// Why nothing was cancelled, or the wait for it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelError {
    /// Nothing in flight matches.
    NotFound,
    /// The time is over before all matches had ended.
    TimedOut,
    /// A signal was caught before all matches had ended: call again.
    Interrupted,
    /// Another error.
    Refused(Errno),
}

impl CancelError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match *self {
            CancelError::NotFound => Errno(libc::ENOENT),
            CancelError::TimedOut => Errno(libc::ETIME),
            CancelError::Interrupted => Errno(libc::EINTR),
            CancelError::Refused(errno) => errno,
        }
    }
}

impl From<Errno> for CancelError {
    fn from(errno: Errno) -> Self {
        match errno.0 {
            libc::ENOENT => CancelError::NotFound,
            libc::ETIME => CancelError::TimedOut,
            libc::EINTR => CancelError::Interrupted,
            _ => CancelError::Refused(errno),
        }
    }
}

impl fmt::Display for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CancelError::NotFound => {
                f.write_str("nothing in flight matches: its event may be there already")
            }
            CancelError::TimedOut => f.write_str("some that were cancelled still run: wait longer"),
            CancelError::Interrupted => f.write_str("a signal ended the wait: call again"),
            CancelError::Refused(errno) => write!(f, "cannot cancel: {errno}"),
        }
    }
}

/// Why an iocb was not executed.
#[cfg(feature = "raw")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecError {
    /// The iocb is malformed.
    Malformed {
        /// The rule that it breaks; none: there is more than the one iocb.
        reason: Option<Malformed>,
        /// What the implementation said.
        errno: Errno,
    },
    /// The buffer cannot hold the longest event that the iocb can have.
    BufferTooSmall {
        /// Bytes that always suffice.
        event_max: u32,
    },
    /// Another error.
    Refused(Errno),
}

#[cfg(feature = "raw")]
impl ExecError {
    #[cold]
    pub(crate) fn explain(errno: Errno, iocb: &[u8], event_max: u32) -> Self {
        match SubmitError::explain(errno, iocb, (0, 0), 0) {
            SubmitError::Malformed { reason, .. } => ExecError::Malformed { reason, errno },
            _ if errno.0 == libc::ENOBUFS => ExecError::BufferTooSmall { event_max },
            _ => ExecError::Refused(errno),
        }
    }

    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match *self {
            ExecError::Malformed { errno, .. } | ExecError::Refused(errno) => errno,
            ExecError::BufferTooSmall { .. } => Errno(libc::ENOBUFS),
        }
    }
}

#[cfg(feature = "raw")]
impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExecError::Malformed { reason: Some(reason), errno } => {
                write!(f, "the iocb is malformed ({errno:?}): {reason}")
            }
            ExecError::Malformed { reason: None, errno } => {
                write!(f, "give the bytes of one iocb and no more ({errno:?})")
            }
            ExecError::BufferTooSmall { event_max } => {
                write!(f, "the event may not fit: give it {event_max} bytes")
            }
            ExecError::Refused(errno) => write!(f, "cannot execute: {errno}"),
        }
    }
}

macro_rules! into_io_error {
    ($($error:ty),*) => {$(
        impl std::error::Error for $error {}

        impl From<$error> for io::Error {
            /// Keeps the error number, and with it the kind; the text is lost.
            fn from(error: $error) -> Self {
                error.errno().into()
            }
        }
    )*};
}

into_io_error!(SubmitError, WaitError, ReapError, CancelError, GrowError);
#[cfg(feature = "raw")]
into_io_error!(ExecError);

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn each_number_that_linux_has_is_said_by_its_name() {
        // Linux has left out two numbers, the names of which are EAGAIN and EDEADLK.
        for number in (1..=133).filter(|number| ![41, 58].contains(number)) {
            let said = format!("{:?}", Errno(number));
            assert!(said.starts_with('E'), "{number}: {said}");
        }
        assert_eq!(format!("{:?}", Errno(libc::ECONNRESET)), "ECONNRESET");
        assert_eq!(format!("{:?}", Errno(41)), "errno 41");
    }
}
