//! The backend over the kernel's system calls.
//!
//! Duty: turn the calls of [`Backend`] into system calls, and map the ring.
//! Everything else, the checks too, is the kernel's.
//!
//! SPEC: section 4.

use super::sys;
use crate::backend::{self, Backend, Timeout, Wait, Waited};
use crate::consumer::Consumer;
use crate::error::Errno;
use crate::ring::shm::{self, Room};
use aio2_abi::VERSION;
use aio2_abi::setup::{Setup, SetupFlags};
use aio2_abi::wait::{Cancel, CancelFlags, GetEvents, GetFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

/// Bytes of the kernel's signal set; the C library's is longer.
const KERNEL_SIGSET_BYTES: u32 = 8;

/// A context of the running kernel.
///
/// Dropping it cancels all its requests and waits for them, unless this is a
/// child of the process that made it, or the kernel lacks `io_cancel2`; then
/// the kernel cancels them with the last close.
pub struct Kernel {
    setup: Setup,
    fd: OwnedFd,
    /// Of the oldest ring that is not known to be empty. One grows at a time, so
    /// that consumers are told in the kernel's order.
    consumer: Mutex<Consumer>,
}

impl Kernel {
    /// Makes a context as `setup` wants it, which signals `eventfd` if there is
    /// one; [`Backend::setup`] says what it became.
    ///
    /// # Errors
    /// SPEC section 4.1; ENOSYS from a kernel without AIO2; EINVAL for the flag
    /// PROBE, for which there is [`Kernel::resolve`], and the flag EVENTFD; those
    /// of mmap(2).
    pub fn new(setup: &Setup, eventfd: Option<BorrowedFd<'_>>) -> Result<Self, Errno> {
        let setup = backend::lend(setup, eventfd)?;
        // SAFETY: the eventfd is borrowed.
        unsafe { Kernel::with_numbers(&setup) }
    }

    /// As `io_setup2`, with descriptors by their numbers.
    ///
    /// # Errors
    /// As [`Kernel::new`]; EBADF for the flag GROW, which makes no context.
    ///
    /// # Safety
    /// With the flag EVENTFD, the caller must own what is open by that number, or
    /// nothing may be.
    pub unsafe fn with_numbers(setup: &Setup) -> Result<Self, Errno> {
        if setup.flags & SetupFlags::PROBE.bits() != 0 {
            return Err(Errno(libc::EINVAL));
        }
        let mut setup = *setup;
        if setup.flags & SetupFlags::GROW.bits() != 0 {
            // No context comes of it: the kernel looks at the rest of it only.
            setup.fd = -1;
        }
        let fd = sys::io_setup2(&mut setup)?;
        // SAFETY: the kernel has just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: it is the context's, as the kernel has just said.
        let consumer = unsafe { shm::map(fd.as_fd(), &setup) }.map_err(errno_of)?;
        Ok(Kernel { setup, fd, consumer: Mutex::new(Consumer::over(consumer)) })
    }

    /// What a context with these parameters would be: a creation with the flag
    /// PROBE.
    ///
    /// # Errors
    /// As [`Kernel::new`] for parameters that cannot be.
    pub fn resolve(setup: &Setup) -> Result<Setup, Errno> {
        let mut setup = Setup { flags: setup.flags | SetupFlags::PROBE.bits(), ..*setup };
        sys::io_setup2(&mut setup)?;
        Ok(setup)
    }
}

impl Backend for Kernel {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    unsafe fn submit(&self, iocbs: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the caller vouches for the addresses.
        unsafe { sys::io_submit2(self.fd.as_raw_fd(), iocbs) }
    }

    unsafe fn wait(
        &self,
        wait: &Wait<'_>,
        iocbs: &mut [u8],
        events: Option<&mut [u8]>,
    ) -> Result<Waited, Errno> {
        let mut args = arguments(wait, iocbs, events);
        // SAFETY: the addresses in `args` are those of live references, and
        // the caller vouches for those in the iocbs.
        let result = unsafe { sys::io_getevents2(self.fd.as_raw_fd(), &mut args) };
        let submitted = args.submitted as usize;
        match result {
            Ok(bytes) => Ok(Waited { submitted, bytes, events: args.nr_events, ended: None }),
            // SPEC: R-GET-1; what was accepted must be known.
            Err(errno) if submitted > 0 => {
                Ok(Waited { submitted, ended: Some(errno), ..Waited::default() })
            }
            Err(errno) => Err(errno),
        }
    }

    fn cancel(&self, request: &mut Cancel) -> Result<u32, Errno> {
        sys::io_cancel2(self.fd.as_raw_fd(), request)
    }

    unsafe fn exec(&self, iocb: &mut [u8], event: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the caller vouches for the addresses.
        unsafe { sys::io_exec2(iocb, event) }
    }

    fn grow(&self, ring_bytes: u32) -> Result<u32, Errno> {
        let consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = Setup { version: VERSION, ring_bytes, ..Setup::default() };
        // Where the new ring could not be mapped the old one stays. SPEC: R-GROW-4
        let room = Room::reserve(Kernel::resolve(&wanted)?.ring_bytes).map_err(errno_of)?;
        let (flags, fd) = (SetupFlags::GROW.bits(), self.fd.as_raw_fd());
        let mut setup = Setup { flags, fd, ..wanted };
        sys::io_setup2(&mut setup)?;
        // SAFETY: it is the context's, as the kernel has just said.
        let next = unsafe { room.map(self.fd.as_fd(), &setup) }.map_err(errno_of)?;
        consumer.append(next);
        Ok(setup.ring_bytes)
    }

    fn consumer(&self) -> Consumer {
        let mut consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        // So that a ring of which nothing is left can be unmapped.
        consumer.advance();
        consumer.clone()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let flags = (CancelFlags::ALL | CancelFlags::WAIT).bits();
        // Any other error: nothing is left, or the wait is not ours to have.
        while self.cancel(&mut Cancel { flags, ..Cancel::default() }) == Err(Errno(libc::EINTR)) {}
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("setup", &self.setup)
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

/// The structure of `io_getevents2` for a wait.
fn arguments(wait: &Wait<'_>, iocbs: &mut [u8], events: Option<&mut [u8]>) -> GetEvents {
    let (timing, timeout) = match wait.timeout {
        Timeout::Forever => (GetFlags::empty(), 0),
        Timeout::After(span) => (GetFlags::TIMEOUT, nanoseconds(span)),
        Timeout::Until(time) => (GetFlags::TIMEOUT | GetFlags::ABSTIME, time),
    };
    let id = if wait.id.is_some() { GetFlags::ID } else { GetFlags::empty() };
    let (events, event_bytes) = match events {
        Some(buffer) => (address(buffer), length(buffer)),
        None => (0, 0),
    };
    GetEvents {
        flags: (timing | id).bits(),
        min_events: wait.min_events,
        timeout,
        gather: nanoseconds(wait.gather),
        sigmask: wait.sigmask.map_or(0, |set| std::ptr::from_ref(set).expose_provenance() as u64),
        sigmask_bytes: if wait.sigmask.is_some() { KERNEL_SIGSET_BYTES } else { 0 },
        event_bytes,
        events,
        iocbs: if iocbs.is_empty() { 0 } else { address(iocbs) },
        iocb_bytes: length(iocbs),
        id: wait.id.unwrap_or(0),
        ..GetEvents::default()
    }
}

fn errno_of(error: io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn address(bytes: &mut [u8]) -> u64 {
    bytes.as_mut_ptr().expose_provenance() as u64
}

/// The length as the structure has it; a longer buffer is used in part.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX - 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_becomes_the_structure_that_says_the_same() {
        let args = arguments(&Wait::events(3), &mut [], None);
        assert_eq!(args, GetEvents { min_events: 3, ..GetEvents::default() });

        let mut buffer = [0; 64];
        let wait = Wait::events(1).within(Duration::from_micros(2));
        let args = arguments(&wait, &mut [], Some(&mut buffer));
        assert_eq!((args.flags, args.timeout), (GetFlags::TIMEOUT.bits(), 2000));
        assert_eq!((args.events, args.event_bytes), (address(&mut buffer), 64));

        let wait = Wait { timeout: Timeout::Until(9), id: Some(7), ..Wait::events(0) };
        let args = arguments(&wait, &mut [0; 8], None);
        assert_eq!(args.flags, 7, "TIMEOUT, ABSTIME and ID");
        assert_eq!((args.timeout, args.id, args.iocb_bytes), (9, 7, 8));
    }

    #[test]
    fn a_span_that_no_number_holds_is_the_longest() {
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
    }
}
