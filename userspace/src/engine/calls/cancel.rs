//! Cancelling requests: which match, and what became of them.
//!
//! How one is stopped, by a cancel or a deadline, is in `ends`.
//!
//! SPEC: sections 4.4, 9.1.

use super::wait::wait_for_end;
use crate::engine::ends::Stopped;
use crate::engine::state::context::{Context, Shared};
use crate::engine::state::slots::{By, Id, InFlight};
use crate::error::Errno;
use crate::os::clock;
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::{EAGAIN, ECANCELED, EINVAL, ENOENT};
use std::sync::Arc;

/// Cancels what matches `request`, and fills in what became of it; the number
/// of matches.
///
/// # Errors
/// As [`crate::backend::Backend::cancel`].
pub(crate) fn cancel(shared: &Arc<Shared>, request: &mut Cancel) -> Result<u32, Errno> {
    let flags = check(request)?;
    let deadline =
        flags.contains(CancelFlags::TIMEOUT).then(|| clock::now().saturating_add(request.timeout));
    let mut context = shared.lock();
    let matches = matches(&context, request, flags)?;
    if matches.is_empty() {
        return Err(Errno(ENOENT));
    }
    let (mut cancelled, mut interrupted, mut too_late) = (0, 0, 0);
    for &id in &matches {
        match context.stop(id, ECANCELED) {
            Stopped::Cancelled => cancelled += 1,
            Stopped::Interrupted => interrupted += 1,
            Stopped::TooLate => too_late += 1,
        }
    }
    shared.tell(context);
    (request.cancelled, request.interrupted, request.too_late) = (cancelled, interrupted, too_late);
    if flags.contains(CancelFlags::WAIT) {
        for id in &matches {
            wait_for_end(shared, id.get(), deadline, None)?;
        }
    }
    Ok(cancelled + interrupted + too_late)
}

/// The flags, if they and the fields fit together.
fn check(request: &Cancel) -> Result<CancelFlags, Errno> {
    use CancelFlags as F;
    let flags = F::from_bits(request.flags).ok_or(Errno(EINVAL))?;
    let fields = F::ID | F::USER_DATA | F::FD | F::NR;
    let unused = [
        (F::ID, request.id != 0),
        (F::USER_DATA, request.user_data != 0),
        (F::FD, request.fd != 0),
        (F::NR, request.nr != 0),
        (F::TIMEOUT, request.timeout != 0),
    ];
    let bad = request.resv != 0
        || request.resv2 != 0
        || !flags.intersects(fields | F::ALL)
        || flags.contains(F::ALL) && flags.intersects(fields)
        || unused.into_iter().any(|(flag, is_set)| is_set && !flags.contains(flag))
        || flags.contains(F::TIMEOUT) && !flags.contains(F::WAIT);
    if bad { Err(Errno(EINVAL)) } else { Ok(flags) }
}

/// The requests in flight that match.
///
/// SPEC: R-CANCEL-1
fn matches(context: &Context, request: &Cancel, flags: CancelFlags) -> Result<Vec<Id>, Errno> {
    use CancelFlags as F;
    let is_match = |r: &InFlight| {
        (!flags.contains(F::ID) || r.id.get() == request.id)
            && (!flags.contains(F::USER_DATA) || r.keys.user_data == request.user_data)
            && (!flags.contains(F::FD) || r.keys.fd == Some(request.fd))
            && (!flags.contains(F::NR) || r.keys.nr == request.nr)
    };
    // What names few is not looked for among all.
    if flags.contains(F::ID) {
        collect(context.slots.one(request.id).into_iter().filter(is_match))
    } else if flags.contains(F::ALL) {
        collect(context.slots.in_flight())
    } else {
        let by = if flags.contains(F::USER_DATA) {
            By::UserData(request.user_data)
        } else if flags.contains(F::FD) {
            By::Fd(Some(request.fd))
        } else {
            By::Nr(request.nr)
        };
        collect(context.slots.perhaps(by).filter(is_match))
    }
}

fn collect(matches: impl Iterator<Item = InFlight>) -> Result<Vec<Id>, Errno> {
    let mut ids = Vec::new();
    for r in matches {
        ids.try_reserve(1).map_err(|_| Errno(EAGAIN))?;
        ids.push(r.id);
    }
    Ok(ids)
}
