//! The calls, under names that `symbols.c` gives the original's versions to.
//!
//! Each returns a negative errno, and lets no panic out.

use crate::legacy::IoEvent;
use crate::wait::{self, ToProgram};
use crate::{end, memory, process::Process, submit};
use aio2_record::Count;
use libc::{EAGAIN, EFAULT, EINVAL, EIO};
use std::ffi::{c_int, c_long};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use std::time::Duration;

/// Events that the original's kernel has memory for at most.
const EVENTS_MAX: u32 = 0x1000_0000 / size_of::<IoEvent>() as u32;
/// Most requests of a context: twice what the original allows all together.
const REQUESTS_MAX: u32 = 1 << 17;

fn guarded(call: impl FnOnce() -> Result<i64, i32>) -> c_long {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(result)) => result,
        Ok(Err(errno)) => -c_long::from(errno),
        Err(_) => -c_long::from(EIO),
    }
}

#[unsafe(no_mangle)]
extern "C" fn aio2_libaio_setup(max: c_int, context: usize) -> c_int {
    guarded(|| {
        if !memory::writable(context, size_of::<usize>()) {
            return Err(EFAULT);
        }
        let made = with_exposed_provenance_mut::<usize>(context);
        // SAFETY: the kernel says that it can be written.
        let before = unsafe { made.read_unaligned() };
        let max = max as u32;
        if before != 0 || max == 0 || max > EVENTS_MAX {
            return Err(EINVAL);
        }
        if max > REQUESTS_MAX {
            return Err(EAGAIN);
        }
        let process = Process::this();
        let address = process.add(max)?;
        process.hub()?.count(Count::Contexts, 1);
        // SAFETY: as above.
        unsafe { made.write_unaligned(address) };
        Ok(0)
    }) as c_int
}

#[unsafe(no_mangle)]
extern "C" fn aio2_libaio_destroy(context: usize) -> c_int {
    guarded(|| end::destroy(context)) as c_int
}

#[unsafe(no_mangle)]
extern "C" fn aio2_libaio_submit(context: usize, nr: c_long, iocbs: usize) -> c_long {
    guarded(|| submit::submit(context, nr, iocbs))
}

#[unsafe(no_mangle)]
extern "C" fn aio2_libaio_cancel(context: usize, iocb: usize) -> c_int {
    guarded(|| end::cancel(context, iocb)) as c_int
}

#[unsafe(no_mangle)]
extern "C" fn aio2_libaio_getevents(
    context: usize,
    min: c_long,
    nr: c_long,
    events: usize,
    timeout: usize,
    sigmask: usize,
) -> c_long {
    guarded(|| {
        let timeout = timeout_at(timeout)?;
        let mut mask = None;
        if sigmask != 0 {
            if !memory::readable(sigmask, size_of::<u64>()) {
                return Err(EFAULT);
            }
            let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
            let from = with_exposed_provenance::<u8>(sigmask);
            // The kernel's set, which is shorter than the C library's.
            // SAFETY: the kernel says that it can be read, and there is room.
            unsafe { from.copy_to_nonoverlapping(set.as_mut_ptr().cast(), size_of::<u64>()) };
            // SAFETY: zeros are a set, and so is what was copied.
            mask = Some(unsafe { set.assume_init() });
        }
        let (Ok(min), Ok(nr)) = (usize::try_from(min), usize::try_from(nr)) else {
            return Err(EINVAL);
        };
        if min > nr {
            return Err(EINVAL);
        }
        // No more can be there than a ring has.
        let nr = nr.min(REQUESTS_MAX as usize * 4);
        let process = Process::this();
        let context = process.find(context)?;
        if nr > 0 && !memory::writable(events, size_of::<IoEvent>()) {
            return Err(EFAULT);
        }
        // SAFETY: the kernel says that the first can be written, and the program
        // that the others can.
        let mut taker = unsafe { ToProgram::new(with_exposed_provenance_mut(events), nr) };
        let taken =
            wait::getevents(process.hub()?, &context, min, timeout, mask.as_ref(), &mut taker)?;
        Ok(taken as i64)
    })
}

/// The span of a struct timespec; none if there is none.
fn timeout_at(at: usize) -> Result<Option<Duration>, i32> {
    if at == 0 {
        return Ok(None);
    }
    if !memory::readable(at, size_of::<libc::timespec>()) {
        return Err(EFAULT);
    }
    // SAFETY: the kernel says that it can be read.
    let time = unsafe { with_exposed_provenance::<libc::timespec>(at).read_unaligned() };
    // As the original: a time before now is over.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let span =
        Duration::from_secs(seconds).checked_add(Duration::from_nanos(time.tv_nsec.max(0) as u64));
    Ok(Some(span.unwrap_or(Duration::MAX)))
}
