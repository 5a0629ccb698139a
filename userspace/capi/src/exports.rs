//! The symbols: each checks what C gave, calls the library, and returns a
//! negative errno where that fails.

use crate::arguments::{address, context, memory, structure};
use crate::handle::{Handle, probe};
use crate::ring::Ring;
use aio2::backend::{Timeout, Wait};
use aio2::{Errno, Implementation, Prefer};
use aio2_abi::setup::{Setup, SetupFlags};
use aio2_abi::wait::{Cancel, GetEvents, GetFlags};
use std::ffi::{CStr, OsStr, c_char, c_int, c_long, c_uint, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// Runs `call`; its result, or the negative errno. A panic, for which no reason
/// is known, is EIO.
fn guarded(call: impl FnOnce() -> Result<c_long, Errno>) -> c_long {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(result)) => result,
        Ok(Err(errno)) => -c_long::from(errno.0),
        Err(_) => -c_long::from(libc::EIO),
    }
}

fn guarded_int(call: impl FnOnce() -> Result<c_long, Errno>) -> c_int {
    guarded(call) as c_int
}

fn prefer(number: c_uint) -> Result<Prefer, Errno> {
    match number {
        0 => Ok(Prefer::Auto),
        1 => Ok(Prefer::Kernel),
        2 => Ok(Prefer::Engine),
        _ => Err(Errno(libc::EINVAL)),
    }
}

/// The eventfd of a setup, as a descriptor of its own.
///
/// # Errors
/// EINVAL for flags and fields that must not be; those of dup(2).
fn eventfd(setup: &Setup) -> Result<Option<OwnedFd>, Errno> {
    let flags = SetupFlags::from_bits(setup.flags).ok_or(Errno(libc::EINVAL))?;
    let watched = flags.contains(SetupFlags::EVENTFD);
    let bad = setup.version == 0
        || flags.intersects(SetupFlags::PROBE | SetupFlags::GROW)
        || setup.fd != 0
        || setup.eventfd != 0 && !watched;
    if bad {
        return Err(Errno(libc::EINVAL));
    }
    if !watched {
        return Ok(None);
    }
    if setup.eventfd < 0 {
        return Err(Errno(libc::EBADF));
    }
    // SAFETY: it is used for nothing before the next call has found it open.
    let fd = unsafe { BorrowedFd::borrow_raw(setup.eventfd) };
    let copy = fd.try_clone_to_owned();
    copy.map(Some).map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EBADF)))
}

/// # Safety
/// `setup` is null or can be read and written; `made` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_context_new(
    setup: *mut Setup,
    which: c_uint,
    made: *mut *mut Handle,
) -> c_int {
    guarded_int(|| {
        // SAFETY: as the caller says.
        unsafe { make(setup, which, None, made) }
    })
}

/// # Safety
/// As [`aio2_context_new`]; `path` is null or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_context_new_recorded(
    setup: *mut Setup,
    which: c_uint,
    path: *const c_char,
    made: *mut *mut Handle,
) -> c_int {
    guarded_int(|| {
        if path.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: it is a string, as the caller says.
        let path = unsafe { CStr::from_ptr(path) };
        let path = Path::new(OsStr::from_bytes(path.to_bytes()));
        // SAFETY: as the caller says.
        unsafe { make(setup, which, Some(path), made) }
    })
}

/// # Safety
/// As [`aio2_context_new`].
unsafe fn make(
    setup: *mut Setup,
    which: c_uint,
    record: Option<&Path>,
    made: *mut *mut Handle,
) -> Result<c_long, Errno> {
    // SAFETY: null, or the caller's to write.
    let made = unsafe { structure(made) }?;
    let prefer = prefer(which)?;
    // SAFETY: null, or the caller's to read and write.
    let setup = unsafe { structure(setup) }?;
    let handle = Handle::new(setup, eventfd(setup)?, prefer, record)?;
    *made = Box::into_raw(Box::new(handle));
    Ok(0)
}

/// # Safety
/// `context` is null or one that no other thread uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_context_free(context: *mut Handle) -> c_int {
    guarded_int(|| {
        if !context.is_null() {
            // SAFETY: it comes from `Box::into_raw`, and is given back once.
            drop(unsafe { Box::from_raw(context) });
        }
        Ok(0)
    })
}

/// # Safety
/// `setup` is null or can be read and written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_probe(setup: *mut Setup, which: c_uint) -> c_int {
    guarded_int(|| {
        let prefer = prefer(which)?;
        // SAFETY: null, or the caller's to read and write.
        let setup = unsafe { structure(setup) }?;
        *setup = probe(setup, prefer)?;
        Ok(0)
    })
}

/// # Safety
/// `ctx` is null or a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_context_implementation(ctx: *const Handle) -> c_int {
    guarded_int(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        Ok(match handle.context.implementation() {
            Implementation::Kernel => 1,
            Implementation::Engine => 2,
        })
    })
}

/// # Safety
/// `ctx` is null or a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_context_fd(ctx: *const Handle) -> c_int {
    guarded_int(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        Ok(c_long::from(handle.context.as_fd().as_raw_fd()))
    })
}

/// # Safety
/// `ctx` is null or a context; `iocbs` has so many bytes, and what they point to
/// is valid until the events are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_submit(
    ctx: *const Handle,
    iocbs: *mut c_void,
    bytes: usize,
) -> c_long {
    guarded(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        // SAFETY: as the caller says.
        let iocbs = unsafe { memory(iocbs, bytes) }?;
        // SAFETY: the caller vouches for the addresses in the iocbs.
        let accepted = unsafe { handle.context.submit_raw(iocbs) };
        accepted.map(|bytes| bytes as c_long).map_err(|error| error.errno())
    })
}

/// # Safety
/// `ctx` is null or a context; `args` is null or can be read and written, and
/// what it points to is as in `aio2_submit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_getevents(ctx: *const Handle, args: *mut GetEvents) -> c_long {
    guarded(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        // SAFETY: as the caller says.
        let args = unsafe { structure(args) }?;
        let mut wait = match wait(args) {
            Ok(wait) => wait,
            Err(errno) => return Err(child(handle).unwrap_or(errno)),
        };
        let iocb_bytes = if args.iocbs == 0 { 0 } else { args.iocb_bytes as usize };
        // SAFETY: as the caller says.
        let iocbs = unsafe { memory(address(args.iocbs), iocb_bytes) }?;
        let mask = address(args.sigmask).cast::<libc::sigset_t>();
        // The kernel's signal set is shorter than the C library's.
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        if !mask.is_null() {
            let bytes = args.sigmask_bytes as usize;
            if bytes != 8 && bytes != size_of::<libc::sigset_t>() {
                // Found after the submission. SPEC: R-CONV-4
                // SAFETY: the caller vouches for the addresses in the iocbs.
                let submitted = unsafe { handle.context.submit_raw(iocbs) };
                let submitted = submitted.map_err(|error| error.errno());
                if submitted != Err(Errno(libc::EXDEV)) {
                    args.submitted = submitted.as_ref().map_or(0, |bytes| *bytes as u32);
                }
                return Err(submitted.err().unwrap_or(Errno(libc::EINVAL)));
            }
            // SAFETY: the caller vouches for that many bytes, and there is room.
            unsafe { mask.cast::<u8>().copy_to(set.as_mut_ptr().cast(), bytes) };
            // SAFETY: all zeros is a set, and so is what was copied.
            wait.sigmask = Some(unsafe { set.assume_init_ref() });
        }
        let events = if args.events == 0 {
            None
        } else {
            // SAFETY: as the caller says.
            Some(unsafe { memory(address(args.events), args.event_bytes as usize) }?)
        };
        // SAFETY: the caller vouches for the addresses in the iocbs.
        let got = unsafe { handle.context.wait_raw(&wait, iocbs, events) };
        let got = got.map_err(|error| error.errno());
        // SPEC: R-CONV-5; not by a child, which has no context.
        if got != Err(Errno(libc::EXDEV)) {
            args.submitted = got.as_ref().map_or(0, |got| got.submitted as u32);
        }
        let got = got?;
        if let Some(errno) = got.ended {
            return Err(errno);
        }
        args.nr_events = got.events;
        Ok(got.bytes as c_long)
    })
}

/// EXDEV if this is a child of the engine's process, to which nothing else is said.
///
/// SPEC: section 4.3, row 3
fn child(handle: &Handle) -> Option<Errno> {
    if handle.context.implementation() == Implementation::Kernel {
        return None;
    }
    // SAFETY: nothing is submitted.
    let nothing = unsafe { handle.context.submit_raw(&mut []) };
    nothing.err().map(|error| error.errno())
}

/// The wait that a structure asks for, without its signal mask.
///
/// # Errors
/// EINVAL, as SPEC section 4.3 has it.
fn wait(args: &GetEvents) -> Result<Wait<'static>, Errno> {
    let flags = GetFlags::from_bits(args.flags).ok_or(Errno(libc::EINVAL))?;
    let timed = flags.contains(GetFlags::TIMEOUT);
    let absolute = flags.contains(GetFlags::ABSTIME);
    let by_id = flags.contains(GetFlags::ID);
    let bad = args.resv != 0
        || absolute && !timed
        || args.timeout != 0 && !timed
        || args.id != 0 && !by_id
        || by_id && args.events != 0;
    if bad {
        return Err(Errno(libc::EINVAL));
    }
    let timeout = match (timed, absolute) {
        (false, _) => Timeout::Forever,
        (true, false) => Timeout::After(Duration::from_nanos(args.timeout)),
        (true, true) => Timeout::Until(args.timeout),
    };
    Ok(Wait {
        timeout,
        gather: Duration::from_nanos(args.gather),
        id: by_id.then_some(args.id),
        ..Wait::events(args.min_events)
    })
}

/// # Safety
/// `ctx` is null or a context; `request` is null or can be read and written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_cancel(ctx: *const Handle, request: *mut Cancel) -> c_int {
    guarded_int(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        // SAFETY: as the caller says.
        let request = unsafe { structure(request) }?;
        handle.context.cancel(request).map(c_long::from).map_err(|error| error.errno())
    })
}

/// # Safety
/// `ctx` is null or a context; both buffers have so many bytes, and what the
/// iocb points to is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_exec(
    ctx: *const Handle,
    iocb: *mut c_void,
    bytes: usize,
    event: *mut c_void,
    event_bytes: usize,
) -> c_long {
    guarded(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        // SAFETY: as the caller says.
        let iocb = unsafe { memory(iocb, bytes) }?;
        // SAFETY: as the caller says.
        let event = unsafe { memory(event, event_bytes) }?;
        // SAFETY: the caller vouches for the addresses in the iocb.
        let written = unsafe { handle.context.exec_raw(iocb, event) };
        written.map(|bytes| bytes as c_long).map_err(|error| error.errno())
    })
}

/// # Safety
/// `ctx` is null or a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_grow(ctx: *const Handle, ring_bytes: u32) -> c_long {
    guarded(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        handle.context.grow(ring_bytes).map(|n| n as c_long).map_err(|error| error.errno())
    })
}

/// # Safety
/// `ctx` is null or a context; `ring` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_ring(ctx: *const Handle, ring: *mut Ring) -> c_int {
    guarded_int(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        // SAFETY: as the caller says.
        *unsafe { structure(ring) }? = handle.ring()?;
        Ok(0)
    })
}

/// # Safety
/// `ctx` is null or a context; `ring` is null or can be read and written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio2_ring_next(ctx: *const Handle, ring: *mut Ring) -> c_int {
    guarded_int(|| {
        // SAFETY: as the caller says.
        let handle = unsafe { context(ctx) }?;
        // SAFETY: as the caller says.
        let ring = unsafe { structure(ring) }?;
        *ring = handle.ring_after(ring)?;
        Ok(0)
    })
}

/// The version of the library, as text.
#[unsafe(no_mangle)]
pub extern "C" fn aio2_version() -> *const c_char {
    VERSION.as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_panic_gets_out() {
        assert_eq!(guarded(|| panic!("for a test")), -c_long::from(libc::EIO));
    }
}
