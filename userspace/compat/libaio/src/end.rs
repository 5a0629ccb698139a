//! io_cancel and io_destroy: ending what is in flight.

use crate::client::user_data;
use crate::context::{Context, Slot};
use crate::legacy::POLL;
use crate::process::Process;
use crate::request;
use aio2_compat::hub::Stopped;
use libc::{EINPROGRESS, EINVAL};
use std::ptr::NonNull;
use std::sync::Arc;

/// Asks the request of an iocb to stop.
///
/// # Errors
/// Always one, positive: EINPROGRESS if it will, and its event comes; EINVAL if
/// there is none, or it runs on; EFAULT.
pub fn cancel(address: usize, obj: usize) -> Result<i64, i32> {
    if request::read(obj)?.key != 0 {
        return Err(EINVAL);
    }
    let process = Process::this();
    let context = process.find(address)?;
    let slot = context.lock().in_flight_of(Some(obj as u64)).first().copied().ok_or(EINVAL)?;
    let hub = process.hub()?;
    let stops =
        matches!(hub.cancel(user_data(slot)), Some(Stopped::BeforeItBegan | Stopped::InTheMidst));
    hub.drain();
    Err(if stops { EINPROGRESS } else { EINVAL })
}

/// Ends a context: polls and what waits for a stream are cancelled; for the rest
/// it waits.
///
/// # Errors
/// EINVAL, positive.
pub fn destroy(address: usize) -> Result<i64, i32> {
    let process = Process::this();
    let context = process.remove(address)?;
    let hub = process.hub()?;
    context.kill();
    hub.tell(&[address]);
    loop {
        hub.drain();
        for slot in endless(&context) {
            hub.cancel(user_data(slot));
        }
        if context.lock().in_flight == 0 {
            // A process may leave without its exit handlers.
            if let Some(recorder) = &hub.recorder {
                recorder.flush();
            }
            return Ok(0);
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(10);
        hub.wait(address, Some(deadline), None, || context.lock().in_flight == 0);
    }
}

/// The requests that may never end by themselves.
fn endless(context: &Arc<Context>) -> Vec<NonNull<Slot>> {
    let mut inner = context.lock();
    let all = inner.in_flight_of(None);
    all.into_iter()
        .filter(|&at| {
            let slot = inner.slot(at);
            slot.is_stream || slot.iocb.opcode == POLL
        })
        .collect()
}
