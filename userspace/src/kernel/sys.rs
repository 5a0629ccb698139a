//! The system calls, each with the types of its arguments.
//!
//! The numbers are provisional until the series is merged, and stand here.

use crate::error::Errno;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, GetEvents};
use libc::{c_long, syscall};
use std::os::fd::RawFd;

const SYS_IO_SETUP2: c_long = 480;
const SYS_IO_SUBMIT2: c_long = 481;
const SYS_IO_GETEVENTS2: c_long = 482;
const SYS_IO_CANCEL2: c_long = 483;
const SYS_IO_EXEC2: c_long = 484;
/// No version 1 flag of a call that has them as an argument.
const NO_FLAGS: u32 = 0;

/// Makes a context, or with PROBE none; returns its descriptor, or 0.
pub fn io_setup2(setup: &mut Setup) -> Result<RawFd, Errno> {
    // SAFETY: it reads and writes a structure of the given size, which is
    // alive and may have any bytes.
    let result = unsafe { syscall(SYS_IO_SETUP2, &raw mut *setup, size_of::<Setup>()) };
    returned(result).map(|fd| fd as RawFd)
}

/// Submits a stream; returns the bytes accepted.
///
/// # Safety
/// Addresses in the iocbs as [`crate::backend::Backend::submit`] says.
pub unsafe fn io_submit2(fd: RawFd, iocbs: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: it reads and writes the given bytes, which are alive; for what
    // the iocbs do the caller vouches.
    let result = unsafe { syscall(SYS_IO_SUBMIT2, fd, iocbs.as_mut_ptr(), iocbs.len(), NO_FLAGS) };
    returned(result)
}

/// Submits, waits and copies events out; returns their bytes.
///
/// # Safety
/// The addresses in `args` must be those of live memory of the lengths beside
/// them, writable except for the signal mask; the iocbs are as for
/// [`io_submit2`].
pub unsafe fn io_getevents2(fd: RawFd, args: &mut GetEvents) -> Result<usize, Errno> {
    // SAFETY: it reads and writes a structure of the given size, which is
    // alive; for the addresses in it the caller vouches.
    returned(unsafe { syscall(SYS_IO_GETEVENTS2, fd, &raw mut *args, size_of::<GetEvents>()) })
}

/// Cancels requests; returns how many matched.
pub fn io_cancel2(fd: RawFd, request: &mut Cancel) -> Result<u32, Errno> {
    // SAFETY: it reads and writes a structure of the given size, which is alive.
    let result = unsafe { syscall(SYS_IO_CANCEL2, fd, &raw mut *request, size_of::<Cancel>()) };
    returned(result).map(|matches| matches as u32)
}

/// Runs one iocb; returns the bytes of its event.
///
/// # Safety
/// As [`io_submit2`].
pub unsafe fn io_exec2(iocb: &mut [u8], event: &mut [u8]) -> Result<usize, Errno> {
    let (iocb, iocb_bytes) = (iocb.as_mut_ptr(), iocb.len());
    let (event, event_bytes) = (event.as_mut_ptr(), event.len());
    // SAFETY: it reads and writes the given bytes, which are alive; for what
    // the iocb does the caller vouches.
    returned(unsafe { syscall(SYS_IO_EXEC2, iocb, iocb_bytes, event, event_bytes, NO_FLAGS) })
}

fn returned(result: c_long) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::last())
}
