//! Waiting for events, and copying them out.
//!
//! Copying is one more consumer of the ring: it copies, then claims. A thread
//! sleeps only after it has looked under the lock and is among the waiters.
//!
//! SPEC: section 4.3.

use crate::backend::Wait;
use crate::engine::executors::{self, StoodIn};
use crate::engine::state::context::Shared;
use crate::engine::state::polls::Ready;
use crate::engine::state::slots::Known;
use crate::engine::state::waiters::Wants;
use crate::engine::threads::poller;
use crate::error::Errno;
use crate::os::clock;
use crate::os::park::{Ended, Parker};
use crate::ring::shm::ConsumerMap;
use crate::ring::{Consumer, ReapError};
use aio2_abi::event;
use libc::{EAGAIN, EINTR, EINVAL, EIO, ENOBUFS, ENOENT, ETIME};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// When a thread that stands in for others looks again whether the files of their
/// requests are ready, in ns.
const SOON_NS: u64 = 2_000_000;

/// Events that were copied out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) bytes: usize,
    pub(crate) events: u32,
}

/// When a wait is over, counted from the call.
///
/// SPEC: R-GET-11, R-GET-12
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    deadline: Option<u64>,
    /// From when on one event is enough.
    gather: Option<u64>,
}

/// Why a thread did not sleep, or no longer does.
enum Slept {
    /// What it waits for is there, or may be.
    Satisfied,
    TimedOut,
    Interrupted,
}

/// Waits for what `wait` says; what was copied to `buffer`.
///
/// # Errors
/// As [`crate::backend::Backend::wait`].
pub(crate) fn wait(
    shared: &Arc<Shared>,
    wait: &Wait<'_>,
    clock: Clock,
    buffer: Option<&mut [u8]>,
) -> Result<Copied, Errno> {
    // SPEC: R-GET-5
    let mut context = shared.lock();
    context.sink.flush();
    let consumer = buffer.is_some().then(|| context.consumer());
    drop(context);
    match (wait.id, buffer.zip(consumer)) {
        (Some(_), Some(_)) => Err(Errno(EINVAL)),
        (Some(id), None) => {
            wait_for_end(shared, id, clock.deadline, wait.sigmask).map(|()| Copied::default())
        }
        (None, Some((buffer, consumer))) => copy_events(shared, consumer, wait, clock, buffer),
        (None, None) => wait_for_events(shared, wait, clock).map(|()| Copied::default()),
    }
}

/// Waits until request `id` has its terminal event.
///
/// SPEC: R-GET-9, R-GET-10
pub(crate) fn wait_for_end(
    shared: &Arc<Shared>,
    id: u64,
    deadline: Option<u64>,
    sigmask: Option<&libc::sigset_t>,
) -> Result<(), Errno> {
    loop {
        let known = shared.lock().slots.known(id);
        let id = match known {
            Known::Never => return Err(Errno(ENOENT)),
            Known::Ended => return Ok(()),
            Known::InFlight(id) => id,
        };
        match sleep(shared, Wants::End(id), deadline, sigmask)? {
            Slept::Satisfied => {}
            Slept::TimedOut => return Err(Errno(ETIME)),
            Slept::Interrupted => return Err(Errno(EINTR)),
        }
    }
}

/// Waits until events are available, and takes none.
fn wait_for_events(shared: &Arc<Shared>, wait: &Wait<'_>, clock: Clock) -> Result<(), Errno> {
    loop {
        let needed = clock.needed(wait.min_events) as usize;
        let mut context = shared.lock();
        context.sink.flush();
        if context.has_available(needed) {
            return Ok(());
        }
        // SPEC: R-HOST-5
        if context.sink.has_bad_head() {
            return Err(Errno(EIO));
        }
        drop(context);
        match sleep(shared, Wants::Events(needed), clock.next(), wait.sigmask)? {
            Slept::Satisfied => {}
            Slept::TimedOut if clock.is_over() => {
                // The time to gather may be over, too. SPEC: R-GET-12
                let enough = clock.needed(wait.min_events) as usize;
                let suffices = shared.lock().available(enough) >= enough;
                return if suffices { Ok(()) } else { Err(Errno(ETIME)) };
            }
            Slept::TimedOut => {}
            Slept::Interrupted => return Err(Errno(EINTR)),
        }
    }
}

/// Waits for events and copies them out, all that are there and fit.
///
/// SPEC: R-GET-3, R-GET-6, R-GET-7, R-GET-8
fn copy_events(
    shared: &Arc<Shared>,
    mut consumer: Consumer<ConsumerMap>,
    wait: &Wait<'_>,
    clock: Clock,
    buffer: &mut [u8],
) -> Result<Copied, Errno> {
    let mut copied = Copied::default();
    loop {
        let full = copy_available(shared, &mut consumer, buffer, &mut copied);
        let needed = clock.needed(wait.min_events);
        if copied.events >= needed && (copied.events > 0 || full.is_ok()) {
            return Ok(copied);
        }
        if let Err(errno) = full {
            // SPEC: R-GET-14
            shared.tell_waiters(shared.lock());
            return copied.or(errno);
        }
        let missing = Wants::Events((needed - copied.events) as usize);
        match sleep(shared, missing, clock.next(), wait.sigmask) {
            Ok(Slept::Satisfied) => {}
            Ok(Slept::TimedOut) if clock.is_over() => return copied.or(Errno(ETIME)),
            Ok(Slept::TimedOut) => {}
            Ok(Slept::Interrupted) => return copied.or(Errno(EINTR)),
            Err(errno) => return copied.or(errno),
        }
    }
}

/// Copies what is available; an error if the next event cannot be copied.
fn copy_available(
    shared: &Arc<Shared>,
    consumer: &mut Consumer<ConsumerMap>,
    buffer: &mut [u8],
    copied: &mut Copied,
) -> Result<(), Errno> {
    loop {
        reap(consumer, buffer, copied)?;
        if consumer.advance() {
            continue;
        }
        let mut context = shared.lock();
        let waiting = context.sink.overflow_events();
        context.sink.flush();
        let unmoved = context.sink.overflow_events() == waiting;
        drop(context);
        // A growing ring takes what was on the list.
        if unmoved && !consumer.advance() {
            return Ok(());
        }
    }
}

/// Copies what the ring holds behind what was copied.
fn reap(
    consumer: &Consumer<ConsumerMap>,
    buffer: &mut [u8],
    copied: &mut Copied,
) -> Result<(), Errno> {
    loop {
        let rest = &mut buffer[copied.bytes..];
        let whole = rest.len() & !7;
        let rest = &mut rest[..whole];
        let reaped = match <[u64]>::mut_from_bytes(rest) {
            Ok(words) => consumer.reap_anew(words, usize::MAX).map(|e| (e.words().len(), e.len())),
            Err(_) => reap_misaligned(consumer, rest),
        };
        match reaped {
            Ok((_, 0)) => return Ok(()),
            Ok((words, events)) => {
                copied.bytes += words * 8;
                copied.events += events as u32;
            }
            Err(ReapError::BufferTooSmall { .. }) => return Err(Errno(ENOBUFS)),
            Err(_) => return Err(Errno(EIO)),
        }
    }
}

/// Copies one event to a buffer that is not aligned.
fn reap_misaligned(
    consumer: &Consumer<ConsumerMap>,
    buffer: &mut [u8],
) -> Result<(usize, usize), ReapError> {
    let mut words = [0; event::LEN_MAX / 8];
    let room = words.len().min(buffer.len() / 8);
    let events = consumer.reap_anew(&mut words[..room], 1)?;
    let bytes = events.words().as_bytes();
    buffer[..bytes.len()].copy_from_slice(bytes);
    Ok((bytes.len() / 8, events.len()))
}

/// Sleeps until what is wanted is there, unless it is already.
///
/// # Errors
/// EAGAIN without memory; with a signal mask EMFILE, ENFILE.
fn sleep(
    shared: &Arc<Shared>,
    wants: Wants,
    deadline: Option<u64>,
    sigmask: Option<&libc::sigset_t>,
) -> Result<Slept, Errno> {
    let stood_in = executors::stand_in(shared);
    if stood_in == StoodIn::Yes {
        return Ok(Slept::Satisfied);
    }
    let mut context = shared.lock();
    // There is no thread for it.
    let alarm = if context.timers.refused { context.do_what_is_due() } else { None };
    let soon = (stood_in == StoodIn::NotYet).then(|| clock::now().saturating_add(SOON_NS));
    let alarm = alarm.into_iter().chain(soon).min();
    if !context.deferred.is_empty() {
        shared.tell(context);
        context = shared.lock();
    }
    let satisfied = match wants {
        // Of a bad head the caller learns when it looks.
        Wants::Events(n) => context.has_available(n) || context.sink.has_bad_head(),
        Wants::End(id) => context.slots.known(id.get()) == Known::Ended,
    };
    if satisfied {
        return Ok(Slept::Satisfied);
    }
    let leads = poller::take_lead(&mut context);
    let parker = match &leads {
        Some(epoll) => epoll.waiter.clone(),
        None => Arc::new(Parker::new(sigmask.is_some())?),
    };
    if context.waiters.add(parker.clone(), wants).is_err() {
        poller::resign(shared, context, leads.is_some());
        return Err(Errno(EAGAIN));
    }
    // What this thread was told of, and does not suffice, may suffice another
    // (R-GET-14).
    shared.tell_waiters(context);
    let until = alarm.map_or(deadline, |alarm| Some(deadline.map_or(alarm, |d| d.min(alarm))));
    let (ended, was_told) = match leads {
        None => {
            let ended = parker.park(until, sigmask);
            (ended, shared.lock().waiters.leave(&parker, wants))
        }
        Some(epoll) => {
            let mut ready = Ready::default();
            let ended = poller::wait(&epoll, &parker, until, sigmask, &mut ready);
            let mut context = shared.lock();
            // It sees for itself what it brings about.
            let was_told = context.waiters.leave(&parker, wants);
            let context = poller::serve(shared, context, &ready);
            poller::resign(shared, context, true);
            (ended, was_told || !ready.is_empty())
        }
    };
    Ok(match ended {
        _ if was_told => Slept::Satisfied,
        Ended::Told => Slept::Satisfied,
        Ended::TimedOut if until != deadline => Slept::Satisfied,
        Ended::TimedOut => Slept::TimedOut,
        Ended::Interrupted => Slept::Interrupted,
    })
}

impl Copied {
    /// What was copied, or the errno if that is nothing.
    fn or(self, errno: Errno) -> Result<Self, Errno> {
        if self.events > 0 { Ok(self) } else { Err(errno) }
    }
}

impl Clock {
    /// Begins to count for `wait`.
    pub(crate) fn new(wait: &Wait<'_>) -> Self {
        let gather = (!wait.gather.is_zero()).then(|| clock::after(wait.gather));
        Clock { deadline: clock::deadline(wait.timeout), gather }
    }

    /// How many events are needed now.
    ///
    /// SPEC: R-GET-12
    fn needed(&self, min_events: u32) -> u32 {
        if self.gathers() { min_events } else { min_events.min(1) }
    }

    /// Whether a single event is not enough yet.
    fn gathers(&self) -> bool {
        self.gather.is_none_or(|gather| clock::now() < gather)
    }

    /// When to look again, at the latest.
    fn next(&self) -> Option<u64> {
        match (self.deadline, self.gather) {
            (Some(deadline), Some(gather)) if self.gathers() => Some(deadline.min(gather)),
            (None, Some(gather)) if self.gathers() => Some(gather),
            (deadline, _) => deadline,
        }
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| clock::now() >= deadline)
    }
}
