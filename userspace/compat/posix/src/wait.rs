//! aio_suspend, and waiting for requests to end.

use crate::aiocb::Control;
use crate::client::{EVERYBODY, Hub};
use crate::process::Process;
use aio2_compat::park::Ended;
use aio2_record::Count;
use libc::{EAGAIN, EINTR};
use std::time::Instant;

/// Waits until one of the requests has ended.
///
/// # Errors
/// EAGAIN, positive, if the time is over; EINTR.
pub fn suspend(controls: &[Control], until: Option<Instant>) -> Result<(), i32> {
    // None at all is not waited for.
    let has_ended = || controls.is_empty() || controls.iter().any(|control| !control.in_progress());
    if has_ended() {
        return Ok(());
    }
    let Some(hub) = Process::this().hub_if_made() else { return Ok(()) };
    hub.count(Count::Waits, 1);
    wait_for(hub, until, has_ended)
}

/// Waits until `has_ended`, which completions bring about.
///
/// # Errors
/// EAGAIN, positive, if the time is over; EINTR.
pub fn wait_for(
    hub: &Hub,
    until: Option<Instant>,
    has_ended: impl Fn() -> bool,
) -> Result<(), i32> {
    hub.drain();
    loop {
        if has_ended() {
            return Ok(());
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(EAGAIN);
        }
        if hub.wait(EVERYBODY, until, None, &has_ended) == Ended::Interrupted {
            return if has_ended() { Ok(()) } else { Err(EINTR) };
        }
    }
}
