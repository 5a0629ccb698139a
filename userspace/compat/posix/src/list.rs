//! lio_listio: a group.

use crate::aiocb::{Control, LIO_NOP, LIO_NOWAIT, LIO_READ, LIO_WAIT, LIO_WRITE, Sigevent};
use crate::notice::Notice;
use crate::process::Process;
use crate::request::with_submission;
use crate::table::Kind;
use crate::wait::wait_for;
use aio2_record::Count;
use libc::{EAGAIN, EINTR, EINVAL, EIO};

/// Submits a list of requests, and waits for them or has their end told.
///
/// # Errors
/// EINVAL for a mode that there is not; EIO if a request has failed, or was not
/// accepted; EINTR; EAGAIN if none was accepted; positive.
pub fn listio(mode: i32, controls: &[Control], event: Sigevent) -> Result<i32, i32> {
    if mode != LIO_WAIT && mode != LIO_NOWAIT {
        return Err(EINVAL);
    }
    let process = Process::this();
    let hub = process.hub()?;
    let group = process.new_group();
    let list = process.table.lock().claim(Kind::List);
    let number = list.number();
    let event = if mode == LIO_WAIT { Sigevent::NONE } else { event };
    process.table.lock().at(list).described.sigevent = event;
    hub.leave_in_flight(1, usize::from(event.tells()));
    let (members, bad, refused) = with_submission(|submission| {
        let (mut members, mut bad) = (0, 0);
        for control in controls {
            let described = control.described();
            let added = match described.opcode {
                LIO_NOP => continue,
                LIO_READ | LIO_WRITE => {
                    let writes = described.opcode == LIO_WRITE;
                    submission.transfer(process, hub, *control, writes, Some((list, group)))
                }
                _ => {
                    control.end(-i64::from(EINVAL));
                    Err(EINVAL)
                }
            };
            match added {
                Ok(()) => members += 1,
                Err(_) => bad += 1,
            }
        }
        if members == 0 {
            return (0, bad, 0);
        }
        submission.close(list, group);
        let refused = submission.submit(process, hub);
        (members, bad, refused)
    });
    if members == 0 || refused == members + 1 {
        // There is no group. Nothing to do is done at once.
        if members == 0 {
            process.table.lock().release(list, 0);
            hub.have_ended(1, usize::from(event.tells()));
        }
        if refused > 0 {
            return Err(EAGAIN);
        }
        if let Ok(Some(notice)) = Notice::of(&event) {
            notice.give();
        }
        return if bad > 0 { Err(EIO) } else { Ok(0) };
    }
    if mode == LIO_NOWAIT {
        return if bad + refused > 0 { Err(EIO) } else { Ok(0) };
    }
    hub.count(Count::Waits, 1);
    wait_for(hub, None, || list.number() != number).map_err(|_| EINTR)?;
    let failed = {
        let mut table = process.table.lock();
        // The list's place may have been taken again: its members tell, too.
        let known = list.number() == number + 1 && table.is_free(list);
        known.then(|| table.at(list).result < 0)
    };
    let failed = failed.unwrap_or_else(|| controls.iter().any(|control| control.error() != 0));
    if failed || bad + refused > 0 { Err(EIO) } else { Ok(0) }
}
