//! The system calls, each with the types of its arguments.

use crate::error::Errno;
use aio2_abi::nr::{IO_CANCEL2, IO_EXEC2, IO_GETEVENTS2, IO_SETUP2, IO_SUBMIT2};
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, GetEvents};
use libc::{c_long, syscall};
use std::os::fd::RawFd;

/// No version 1 flag of a call that has them as an argument.
const NO_FLAGS: u32 = 0;

/// Makes a context, or with PROBE none; returns its descriptor, or 0.
pub fn io_setup2(setup: &mut Setup) -> Result<RawFd, Errno> {
    // SAFETY: it reads and writes a structure of the given size, which is
    // alive and may have any bytes.
    let result = unsafe { syscall(IO_SETUP2.into(), &raw mut *setup, size_of::<Setup>()) };
    returned(result).map(|fd| fd as RawFd)
}

/// Submits a stream; returns the bytes accepted.
///
/// # Safety
/// Addresses in the iocbs as [`crate::backend::Backend::submit`] says.
pub unsafe fn io_submit2(fd: RawFd, iocbs: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: it reads and writes the given bytes, which are alive; for what
    // the iocbs do the caller vouches.
    let result =
        unsafe { syscall(IO_SUBMIT2.into(), fd, iocbs.as_mut_ptr(), iocbs.len(), NO_FLAGS) };
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
    returned(unsafe { syscall(IO_GETEVENTS2.into(), fd, &raw mut *args, size_of::<GetEvents>()) })
}

/// Cancels requests; returns how many matched.
pub fn io_cancel2(fd: RawFd, request: &mut Cancel) -> Result<u32, Errno> {
    // SAFETY: it reads and writes a structure of the given size, which is alive.
    let result = unsafe { syscall(IO_CANCEL2.into(), fd, &raw mut *request, size_of::<Cancel>()) };
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
    returned(unsafe { syscall(IO_EXEC2.into(), iocb, iocb_bytes, event, event_bytes, NO_FLAGS) })
}

fn returned(result: c_long) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::last())
}
