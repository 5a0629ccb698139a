//! Worker threads: they run what may sleep.
//!
//! They are created when there is more to do than idle ones can take, up to
//! the concurrency value, and go when they had nothing to do for a while. A
//! worker takes its next job in the critical section that publishes the event
//! of the last one.
//!
//! SPEC: sections 6.4 (R-RUN-1, R-RUN-9, R-RUN-10), 11 (R-LIFE-3, R-LIFE-6).
#![allow(unsafe_code)] // the life of the thread, which its seat is told of

use crate::engine::host::interrupt;
use crate::engine::host::seat::Seat;
use crate::engine::host::thread;
use crate::engine::request::Request;
use crate::engine::request::operation::Operation;
use crate::engine::request::progress::Progress;
use crate::engine::run::event::write_event;
use crate::engine::run::outcome::Outcome;
use crate::engine::run::{self, Runner, ready};
use crate::engine::state::context::{Context, EventRoom, Job, Shared};
use crate::engine::state::slots::{Id, Lane};
use crate::sync::MutexGuard;
use aio2_abi::attr::PATH_WORKER;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use zerocopy::IntoBytes;

/// How long a worker waits for a job before it goes.
const IDLE: Duration = Duration::from_secs(1);

/// What a thread that is about to wait has done for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoodIn {
    /// It was not needed.
    No,
    /// It has run a request, or another thread can be had.
    Yes,
    /// What is to be run waits for its file: the thread looks again soon.
    NotYet,
}

/// Releases the lock and has one worker come, an idle or a new one.
pub(super) fn call_one(shared: &Arc<Shared>, mut context: MutexGuard<'_, Context>) {
    let queued = context.slots.queued(Lane::Workers);
    let grow = context.workers.grow(queued);
    let wake = context.workers.tell_one();
    drop(context);
    if wake {
        shared.jobs.notify_one();
    }
    if grow {
        hire(shared);
    }
}

/// Creates the worker that [`Workers::grow`] has counted.
#[cold]
fn hire(shared: &Arc<Shared>) {
    let of_worker = shared.clone();
    let has_room = shared.lock().workers.reserve().is_ok();
    let thread = has_room.then(|| thread::spawn(c"aio2-wrk", move || work(&of_worker)));
    let mut context = shared.lock();
    match thread {
        Some(Ok(handle)) => context.workers.handles.push(handle),
        Some(Err(_)) | None => {
            context.workers.count -= 1;
            // Another one will come to them; without one, who waits does.
            if context.workers.count == 0 {
                context.waiters.disturb();
            }
            shared.tell(context);
        }
    }
}

/// Runs a job in this thread, which would wait for events otherwise, if there is
/// one and no worker can be had; whether that was so.
pub(super) fn stand_in(shared: &Arc<Shared>) -> StoodIn {
    let needed =
        |context: &Context| context.workers.count == 0 && context.slots.queued(Lane::Workers) > 0;
    let mut context = shared.lock();
    if !needed(&context) {
        return StoodIn::No;
    }
    if context.workers.grow(usize::MAX) {
        drop(context);
        hire(shared);
        context = shared.lock();
    }
    if !needed(&context) {
        return StoodIn::Yes;
    }
    // Each of them once: what waits for its file would keep this thread from its own
    // time, and from the deadlines that it sees to.
    for _ in 0..context.slots.queued(Lane::Workers) {
        let Some((id, job)) = context.slots.dequeue(Lane::Workers) else { break };
        if job.request.waits_for().is_some_and(|direction| ready::waits(&job.request, direction)) {
            context.slots.enqueue(id, job, Lane::Workers);
            continue;
        }
        // No one can tell it to stop.
        let seat = Seat::new(interrupt::tid());
        let mut room: EventRoom = [0; _];
        let context = run_job(shared, context, (id, job), &seat, &mut room);
        shared.tell(context);
        return StoodIn::Yes;
    }
    StoodIn::NotYet
}

/// Runs a job; its event is with the sink then.
fn run_job<'a>(
    shared: &'a Arc<Shared>,
    mut context: MutexGuard<'a, Context>,
    (id, job): (Id, Job),
    seat: &Seat,
    room: &mut EventRoom,
) -> MutexGuard<'a, Context> {
    if let Operation::Poll = job.request.operation {
        context.watch(id, job);
        return context;
    }
    let Some(job) = context.wait_first(id, job) else { return context };
    let Job { request, mut progress } = job;
    seat.enter(id.get());
    drop(context);
    let tried = run::try_here(&request, &mut progress, PATH_WORKER);
    if tried.is_none() && progress.stuck && !progress.waited {
        context = shared.lock();
        context.leave_to_file(id, Job { request, progress }, seat);
        return context;
    }
    let told = tried.unwrap_or_else(|| run_as(&request, &mut progress, seat));
    let stopped = seat.leave();
    let words = write_event(&request, &told, room.as_mut_bytes()).len() / 8;
    context = shared.lock();
    seat.clear();
    context.publish(&room[..words], 1, request.event_bytes as usize);
    context.retire(id, &request, told.result);
    if stopped {
        interrupt::catch_pending();
    }
    context
}

/// Runs a request in this thread, as who has submitted it.
///
/// SPEC: R-SEC-7
fn run_as(request: &Request, progress: &mut Progress, seat: &Seat) -> Outcome {
    let own = seat.identity;
    let identity = progress.identity.unwrap_or(own);
    if let Err(errno) = identity.take_on(own) {
        return Outcome::not_begun(errno);
    }
    let told = run::run_here(request, progress, Runner::Worker(seat), PATH_WORKER);
    // It could be changed, and so it can be changed back.
    if identity != own && !own.set() {
        seat.become_strange();
    }
    told
}

/// A worker at its seat.
struct Seated<'a> {
    shared: &'a Arc<Shared>,
    seat: Arc<Seat>,
}

impl<'a> Seated<'a> {
    /// This thread takes a new seat.
    fn take(shared: &'a Arc<Shared>) -> Self {
        let seat = Arc::new(Seat::new(interrupt::tid()));
        // SAFETY: the thread has a count of the seat until it has ended it, and
        // for ever if it is killed.
        unsafe { seat.life.begin() };
        Seated { shared, seat }
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.seat.life.end();
        // It has no reason to panic; if it does, nothing is lost.
        if std::thread::panicking() {
            let mut context = self.shared.lock();
            context.bury(&self.seat);
            self.shared.tell(context);
        }
    }
}

impl Context {
    /// The worker at `seat` has found the file of request `id` not ready: the
    /// request waits for it without a worker, if it can.
    fn leave_to_file(&mut self, id: Id, mut job: Job, seat: &Seat) {
        let stopped = seat.stopped();
        if seat.leave() {
            interrupt::catch_pending();
        }
        seat.clear();
        if let Some(errno) = stopped {
            return self.complete_stopped(id, &job, errno);
        }
        if let Some(back) = self.wait_first(id, job) {
            job = back;
            job.progress.waited = true;
            self.slots.enqueue(id, job, Lane::Workers);
        }
    }
}

/// Runs jobs until there is nothing to do.
fn work(shared: &Arc<Shared>) {
    let mut room: EventRoom = [0; _];
    let Seated { seat, .. } = &Seated::take(shared);
    let mut accepted = interrupt::Accepted::default();
    let mut context = shared.lock();
    context.workers.seats.push(seat.clone());
    loop {
        while let Some(job) = context.slots.dequeue(Lane::Workers) {
            accepted.renew();
            context = run_job(shared, context, job, seat, &mut room);
            context = shared.tell_between(context);
            if seat.is_strange() {
                break;
            }
        }
        if context.workers.stopping || seat.is_strange() {
            break;
        }
        context.workers.idle += 1;
        let (waited, timeout) =
            shared.jobs.wait_timeout(context, IDLE).unwrap_or_else(PoisonError::into_inner);
        context = waited;
        context.workers.wake();
        if timeout.timed_out() && context.slots.queued(Lane::Workers) == 0 {
            break;
        }
    }
    context.workers.count -= 1;
    context.workers.seats.retain(|other| !Arc::ptr_eq(other, seat));
    if seat.is_strange() && context.workers.count == 0 {
        // Who waits makes another one, or does its work.
        context.waiters.disturb();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, Wait};
    use crate::engine::Engine;
    use aio2_abi::iocb::{Encoder, IocbFlags};
    use aio2_abi::op;
    use aio2_abi::setup::Setup;

    /// SPEC: R-RUN-10
    #[test]
    fn a_worker_that_panics_is_replaced_and_loses_nothing() {
        let setup = Setup { version: 1, concurrency: 1, ..Setup::default() };
        let engine = Engine::new(&setup, None).unwrap();
        let mut iocbs = [[0_u64; 4]; 2];
        for (iocb, user_data) in iocbs.iter_mut().zip([run::PANICS, 1]) {
            let bytes = iocb.as_mut_bytes();
            Encoder::new(bytes, op::NOP, &[], IocbFlags::ASYNC, user_data).unwrap();
        }
        // SAFETY: a NOP has no memory.
        assert_eq!(unsafe { engine.submit(iocbs.as_mut_bytes()) }, Ok(64));
        let wait = Wait::events(2).within(Duration::from_secs(10));
        // SAFETY: there is no request.
        unsafe { engine.wait(&wait, &mut [], None) }.expect("both end");
        let mut words = [0; 9];
        let events = engine.consumer().reap(&mut words, 9).unwrap();
        let ends: Vec<_> = events.map(|event| (event[1], event[2] as i64)).collect();
        assert_eq!(ends, [(run::PANICS, -i64::from(libc::EOWNERDEAD)), (1, 0)]);
    }
}
