//! Running one iocb in the calling thread.
//!
//! SPEC: section 4.5.
#![allow(unsafe_code)] // passes on what the caller vouches for

use crate::engine::host::signal;
use crate::engine::request::Request;
use crate::engine::request::progress::Progress;
use crate::engine::run::event::write_event;
use crate::engine::run::{self, Runner};
use crate::error::Errno;
use aio2_abi::attr;
use aio2_abi::iocb::Stream;
use aio2_record::{Recorder, thread_id};
use libc::{EINVAL, ENOBUFS};

/// Runs the iocb, writes its event, and records it if there is a recorder; the
/// bytes of the event.
///
/// # Errors
/// As [`crate::backend::Backend::exec`].
///
/// # Safety
/// As there.
pub(crate) unsafe fn exec(
    recorder: Option<&'static Recorder>,
    iocb: &mut [u8],
    event: &mut [u8],
) -> Result<usize, Errno> {
    let mut stream = Stream::new(iocb).map_err(|m| Errno(m.errno()))?;
    let parsed = stream.next().ok_or(Errno(EINVAL))?.map_err(|m| Errno(m.errno()))?;
    // SPEC: R-EXEC-3
    if stream.consumed() != iocb.len() {
        return Err(Errno(EINVAL));
    }
    // SPEC: R-EXEC-2
    if event.len() < parsed.event_bytes as usize {
        return Err(Errno(ENOBUFS));
    }
    // SAFETY: the caller vouches for the addresses.
    let mut request = unsafe { Request::new(&parsed) };
    request.restrict_to_exec();
    if let Some(recorder) = recorder {
        request.record((recorder, thread_id()));
    }
    let mut progress = Progress::new(&request, None);
    let place = attr::PATH_INLINE;
    let told = run::run_here(&request, &mut progress, Runner::Caller, place);
    let bytes = write_event(&request, &told, event).len();
    if let Some(signal) = request.plan.as_ref().and_then(|plan| plan.signal()) {
        signal::send(&signal);
    }
    Ok(bytes)
}
