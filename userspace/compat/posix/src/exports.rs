//! The calls, under names that `symbols.c` gives the original's conventions to.
//!
//! Each returns a negative errno, and lets no panic out.

use crate::aiocb::{Control, Sigevent};
use crate::process::Process;
use crate::request::{flags, with_submission};
use crate::{cancel, list, wait};
use libc::{EAGAIN, EINPROGRESS, EINVAL, EIO};
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::with_exposed_provenance;
use std::time::{Duration, Instant};

fn guarded(call: impl FnOnce() -> Result<c_int, i32>) -> c_int {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(result)) => result,
        Ok(Err(errno)) => -errno,
        Err(_) => -EIO,
    }
}

/// The struct aiocb at an address.
///
/// # Errors
/// EINVAL, positive, for null.
fn control(at: usize) -> Result<Control, i32> {
    // SAFETY: the program says so.
    unsafe { Control::at(at) }.ok_or(EINVAL)
}

/// The structs of a list, without those that are null.
///
/// # Errors
/// EINVAL, positive.
fn controls(list: usize, nent: c_int) -> Result<Vec<Control>, i32> {
    let count = usize::try_from(nent).map_err(|_| EINVAL)?;
    if count > 0 && list == 0 {
        return Err(EINVAL);
    }
    let list = with_exposed_provenance::<usize>(list);
    // SAFETY: the program says that so many can be read.
    let each = (0..count).map(|n| unsafe { list.wrapping_add(n).read_unaligned() });
    Ok(each.filter_map(|at| control(at).ok()).collect())
}

#[unsafe(no_mangle)]
extern "C" fn aio2_posix_transfer(at: usize, writes: c_int) -> c_int {
    guarded(|| {
        let control = control(at)?;
        let process = Process::this();
        let hub = process.hub()?;
        with_submission(|submission| {
            submission.transfer(process, hub, control, writes != 0, None)?;
            if submission.submit(process, hub) == 0 { Ok(0) } else { Err(EAGAIN) }
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn aio2_posix_fsync(op: c_int, at: usize) -> c_int {
    guarded(|| {
        if op != libc::O_SYNC && op != libc::O_DSYNC {
            return Err(EINVAL);
        }
        let control = control(at)?;
        flags(control.described().fd)?;
        let process = Process::this();
        let hub = process.hub()?;
        hub.drain();
        with_submission(|submission| {
            submission.sync(process, hub, control, op == libc::O_DSYNC);
            if submission.submit(process, hub) == 0 { Ok(0) } else { Err(EAGAIN) }
        })
    })
}

/// What aio_error says of one that is in progress, as far as is known.
#[unsafe(no_mangle)]
extern "C" fn aio2_posix_error(at: usize) -> c_int {
    guarded(|| {
        let control = control(at)?;
        if !control.is_of_this_process() {
            return Err(EINVAL);
        }
        if let Some(hub) = Process::this().hub_if_made() {
            hub.try_drain();
            return Ok(control.error());
        }
        Ok(EINPROGRESS)
    })
}

/// `until`: a time of CLOCK_MONOTONIC.
#[unsafe(no_mangle)]
extern "C" fn aio2_posix_suspend(list: usize, nent: c_int, until: usize) -> c_int {
    guarded(|| {
        let controls = controls(list, nent)?;
        // SAFETY: symbols.c gives one of its own.
        let until = unsafe { with_exposed_provenance::<libc::timespec>(until).read() };
        let mut now = until;
        // SAFETY: the time can be written.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        let left = span(&until).saturating_sub(span(&now));
        wait::suspend(&controls, Instant::now().checked_add(left))?;
        Ok(0)
    })
}

fn span(time: &libc::timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), time.tv_nsec as u32)
}

#[unsafe(no_mangle)]
extern "C" fn aio2_posix_cancel(fd: c_int, at: usize) -> c_int {
    guarded(|| cancel::cancel(fd, control(at).ok()))
}

#[unsafe(no_mangle)]
extern "C" fn aio2_posix_listio(mode: c_int, list: usize, nent: c_int, event: usize) -> c_int {
    guarded(|| {
        let controls = controls(list, nent)?;
        // SAFETY: the program says so.
        let event = unsafe { Sigevent::at(event) };
        list::listio(mode, &controls, event)
    })
}
