//! From what an event tells to what is recorded.

use aio2::reap::Place;
use aio2::submit::IocbMut;
use aio2::{Attribute, Event};
use aio2_abi::attr;
use aio2_record::{Request, has};

/// Has a request ask for all that is recorded.
///
/// # Errors
/// The iocb would be too long.
pub fn ask(iocb: &mut IocbMut<'_>) -> Result<(), aio2_abi::iocb::NoRoom> {
    for id in [attr::TIMING, attr::CACHE, attr::PATH] {
        iocb.attr(id, attr::AttrFlags::RETURN, &[])?;
    }
    Ok(())
}

/// Fills in what the event answers.
pub fn fill(request: &mut Request, event: &Event<'_>) {
    if let Attribute::Handled(timing) = event.timing() {
        request.has |= has::TIMING;
        request.submitted_ns = timing.submitted_ns;
        request.started_ns = timing.started_ns;
        request.completed_ns = timing.completed_ns;
    }
    if let Attribute::Handled(cache) = event.cache() {
        request.has |= has::CACHE;
        (request.hit, request.miss) = (cache.hit, cache.miss);
    }
    if let Attribute::Handled(path) = event.execution_path() {
        request.has |= has::PATH;
        request.place = match path.place {
            Place::Inline => attr::PATH_INLINE,
            Place::PageWait => attr::PATH_PAGE_WAIT,
            Place::Device => attr::PATH_DEVICE,
            _ => attr::PATH_WORKER,
        };
        request.cpu = path.cpu;
        request.blocked_ns = u64::try_from(path.blocked.as_nanos()).unwrap_or(u64::MAX);
    }
}
