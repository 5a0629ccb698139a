//! aio_cancel.

use crate::aiocb::{AIO_ALLDONE, AIO_CANCELED, AIO_NOTCANCELED, Control};
use crate::process::Process;
use crate::request::flags;
use crate::wait::wait_for;
use aio2_compat::hub::Stopped;
use libc::{ECANCELED, EINVAL};
use std::time::{Duration, Instant};

/// How long one that was told to stop is waited for, before it is said that it was
/// not.
const PATIENCE: Duration = Duration::from_secs(1);

/// Cancels the requests of a descriptor, or one of them; what became of them.
///
/// # Errors
/// EBADF, EINVAL, positive.
pub fn cancel(fd: i32, control: Option<Control>) -> Result<i32, i32> {
    flags(fd)?;
    if let Some(control) = control {
        // What is in flight may be closed, and its number used again.
        if control.described().fd != fd {
            return Err(EINVAL);
        }
        if !control.in_progress() {
            return Ok(AIO_ALLDONE);
        }
    }
    let process = Process::this();
    let Some(hub) = process.hub_if_made() else { return Ok(AIO_ALLDONE) };
    hub.drain();
    let mut wanted = Vec::new();
    {
        let mut table = process.table.lock();
        for place in table.of_descriptor(fd) {
            let request = table.at(place);
            if control.is_none_or(|control| request.control == Some(control)) {
                request.is_unwanted = true;
                wanted.push((place, place.number()));
            }
        }
    }
    let mut runs_on = false;
    let mut stops = Vec::new();
    // The last first: none begins since the one that it waited for has gone.
    for (place, number) in wanted.into_iter().rev() {
        match hub.cancel(place.user_data()) {
            Some(Stopped::RunsOn) => runs_on = true,
            Some(_) => stops.push((place, number)),
            // It has ended, and its completion is on its way.
            None => stops.push((place, number)),
        }
    }
    let have_ended = || stops.iter().all(|(place, number)| place.number() != *number);
    // A signal that is caught meanwhile is no reason to say less.
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && wait_for(hub, Some(until), have_ended).is_err() {}
    let mut were_cancelled = 0;
    let mut table = process.table.lock();
    for (place, number) in &stops {
        let ended = place.number() - number;
        runs_on |= ended == 0;
        // Taken again already: it is not known any more, but it has ended.
        let is_known = ended == 1 && table.is_free(*place);
        let result = table.at(*place).result;
        were_cancelled += u32::from(ended > 0 && (!is_known || result == -i64::from(ECANCELED)));
    }
    Ok(match (runs_on, were_cancelled) {
        (true, _) => AIO_NOTCANCELED,
        (false, 0) => AIO_ALLDONE,
        _ => AIO_CANCELED,
    })
}
