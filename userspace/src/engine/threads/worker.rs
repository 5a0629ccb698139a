//! Worker threads: they run what may sleep.
//!
//! They are created when there is more to do than idle ones can take, up to
//! the concurrency value, and go when they had nothing to do for a while. A
//! worker takes its next job in the critical section that publishes the event
//! of the last one.
//!
//! SPEC: sections 6.4 (R-RUN-1, R-RUN-9, R-RUN-10), 11 (R-LIFE-3, R-LIFE-6).
#![allow(unsafe_code)] // pthread_sigmask(3), pthread_join(3)

use crate::engine::host::interrupt;
use crate::engine::host::seat::Seat;
use crate::engine::request::Operation;
use crate::engine::run::outcome;
use crate::engine::run::{self, Runner};
use crate::engine::state::context::{Context, EventRoom, Job, Shared};
use crate::engine::state::slots::Id;
use crate::sync::{Builder, JoinHandle, MutexGuard, is_finished};
use aio2_abi::attr::PATH_WORKER;
use libc::{EAGAIN, EOWNERDEAD};
use std::collections::TryReserveError;
use std::mem::MaybeUninit;
#[cfg(not(loom))]
use std::os::unix::thread::JoinHandleExt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use zerocopy::IntoBytes;

/// Stack of a worker, in bytes: it runs a syscall and little else.
const STACK_BYTES: usize = 256 << 10;
/// How long a worker waits for a job before it goes.
const IDLE: Duration = Duration::from_secs(1);

/// The workers of a context.
#[derive(Debug)]
pub(crate) struct Workers {
    concurrency: usize,
    /// Those that exist or are being created.
    count: usize,
    /// Those that wait for a job.
    idle: usize,
    /// Those of them that were told of one and are not awake yet.
    told: usize,
    stopping: bool,
    handles: Vec<JoinHandle<()>>,
    /// Where those that exist sit.
    seats: Vec<Arc<Seat>>,
}

impl Workers {
    pub(crate) fn new(concurrency: u32) -> Self {
        let concurrency = concurrency as usize;
        Workers {
            concurrency,
            count: 0,
            idle: 0,
            told: 0,
            stopping: false,
            handles: Vec::new(),
            seats: Vec::new(),
        }
    }

    /// Makes every worker go once the queue is empty; those to be joined.
    pub(crate) fn stop(&mut self) -> Vec<JoinHandle<()>> {
        self.stopping = true;
        std::mem::take(&mut self.handles)
    }

    /// Notes that an idle one is to be told of a job; false if all are already.
    fn tell_one(&mut self) -> bool {
        let tells = self.told < self.idle;
        self.told += usize::from(tells);
        tells
    }

    /// Notes that an idle one is awake. Which of them was told cannot be known,
    /// and need not: it looks at the queue, and too few that count as told are
    /// told again.
    fn wake(&mut self) {
        self.idle -= 1;
        self.told = self.told.saturating_sub(1);
    }

    /// Tells the worker that runs request `id` to end it with `errno`
    /// (positive); false if it cannot.
    ///
    /// SPEC: R-CANCEL-7
    pub(crate) fn interrupt(&self, id: Id, errno: i32) -> bool {
        let seat = self.seats.iter().find(|seat| seat.runs(id.get()));
        seat.is_some_and(|seat| {
            interrupt::is_possible() && seat.stop(errno) && interrupt::send(seat)
        })
    }

    /// Sends the signal again to the worker that was told to end request `id`;
    /// false if there is none any more.
    pub(crate) fn interrupt_again(&self, id: Id) -> bool {
        let seat = self.seats.iter().find(|seat| seat.runs(id.get()));
        seat.is_some_and(|seat| seat.stopped().is_some() && interrupt::send(seat))
    }

    /// Sees to it that those that are counted can be noted.
    ///
    /// # Errors
    /// If the memory cannot be had.
    fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.handles.retain(|handle| !is_finished(handle));
        self.handles.try_reserve(self.count)?;
        self.seats.try_reserve(self.count)
    }

    /// Notes that one more is needed for `queued` jobs, if that is so.
    fn grow(&mut self, queued: usize) -> bool {
        let grows = queued > self.idle && self.count < self.concurrency;
        self.count += usize::from(grows);
        grows
    }
}

/// Gives an admitted request to a worker; `id` if it has one already. If it is
/// `pinned`, its slot keeps what becomes of it.
pub(crate) fn give(shared: &Arc<Shared>, job: Job, id: Option<Id>, pinned: bool) -> Id {
    let mut context = shared.lock();
    let id = id.unwrap_or_else(|| context.slots.start(job.request.keys()));
    if pinned {
        context.slots.pin(id);
    }
    context.slots.enqueue(id, job);
    call_one(shared, context);
    id
}

/// Sees to it that somebody comes to `jobs` that were queued.
pub(crate) fn staff(shared: &Arc<Shared>, jobs: usize) {
    for _ in 0..jobs {
        call_one(shared, shared.lock());
    }
}

/// Releases the lock and has one worker come, an idle or a new one.
fn call_one(shared: &Arc<Shared>, mut context: MutexGuard<'_, Context>) {
    let queued = context.slots.queued();
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

/// Creates a thread of the engine: a small stack, and every signal blocked.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let builder = Builder::new().name(name.into()).stack_size(STACK_BYTES);
    with_signals_blocked(|| builder.spawn(body))
}

/// Creates the worker that [`Workers::grow`] has counted.
#[cold]
fn hire(shared: &Arc<Shared>) {
    let of_worker = shared.clone();
    let has_room = shared.lock().workers.reserve().is_ok();
    let thread = has_room.then(|| spawn("aio2-wrk", move || work(&of_worker)));
    let mut context = shared.lock();
    match thread {
        Some(Ok(handle)) => context.workers.handles.push(handle),
        Some(Err(_)) | None => {
            context.workers.count -= 1;
            // Another one will come to them; without one, nobody would.
            if context.workers.count == 0 {
                while let Some((id, job)) = context.slots.dequeue() {
                    context.abandon(id, &job.request, EAGAIN);
                }
            }
            shared.tell(context);
        }
    }
}

/// Waits for the end of a thread of the engine, however it ends: std's own
/// `join` panics if it was killed.
pub(crate) fn join(thread: JoinHandle<()>) {
    #[cfg(loom)]
    drop(thread.join());
    #[cfg(not(loom))]
    // SAFETY: the thread was not joined or detached, and cannot be any more.
    unsafe {
        libc::pthread_join(thread.into_pthread_t(), std::ptr::null_mut())
    };
}

impl Context {
    /// Ends the request of a worker that is no more, and lets another one take
    /// its place.
    ///
    /// SPEC: R-RUN-10, R-RUN-11
    fn bury(&mut self, dead: &Arc<Seat>) {
        self.workers.count -= 1;
        self.workers.seats.retain(|seat| !Arc::ptr_eq(seat, dead));
        self.errands.jobs += self.slots.queued().min(1);
        let id = self.slots.in_flight().map(|r| r.id).find(|id| dead.runs(id.get()));
        if let Some(id) = id
            && let Some(job) = self.slots.running(id)
        {
            self.abandon(id, &job.request, EOWNERDEAD);
        }
    }

    /// Buries the worker of request `id` if it is no more; whether it was so.
    pub(crate) fn bury_worker_of(&mut self, id: Id) -> bool {
        let seat = self.workers.seats.iter().find(|seat| seat.runs(id.get()));
        // It ends of itself only when it runs nothing: a seccomp filter may have
        // killed it.
        let dead = seat.filter(|seat| seat.life.is_over()).cloned();
        dead.iter().for_each(|dead| self.bury(dead));
        dead.is_some()
    }

    /// Buries those that have not left, of workers that have all been joined.
    pub(crate) fn bury_the_rest(&mut self) {
        while let Some(dead) = self.workers.seats.last().cloned() {
            self.bury(&dead);
        }
    }
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

/// Runs jobs until there is nothing to do.
fn work(shared: &Arc<Shared>) {
    let mut room: EventRoom = [0; _];
    let Seated { seat, .. } = &Seated::take(shared);
    interrupt::accept_here();
    let mut context = shared.lock();
    context.workers.seats.push(seat.clone());
    loop {
        while let Some((id, job)) = context.slots.dequeue() {
            if let Operation::Poll = job.request.operation {
                context.watch(id, job);
                context = shared.tell_between(context);
                continue;
            }
            let Job { request, mut progress } = job;
            seat.enter(id.get());
            drop(context);
            let runner = Runner::Worker(seat);
            let told = run::run_here(&request, &mut progress, runner, PATH_WORKER);
            let stopped = seat.leave();
            let words = outcome::write_event(&request, &told, room.as_mut_bytes()).len() / 8;
            context = shared.lock();
            seat.clear();
            context.publish(&room[..words], 1, request.event_bytes as usize);
            context.retire(id, &request, told.result);
            if stopped {
                interrupt::catch_pending();
            }
            context = shared.tell_between(context);
        }
        if context.workers.stopping {
            break;
        }
        context.workers.idle += 1;
        let (waited, timeout) =
            shared.jobs.wait_timeout(context, IDLE).unwrap_or_else(PoisonError::into_inner);
        context = waited;
        context.workers.wake();
        if timeout.timed_out() && context.slots.queued() == 0 {
            break;
        }
    }
    context.workers.count -= 1;
    context.workers.seats.retain(|other| !Arc::ptr_eq(other, seat));
}

/// Runs `f` with every signal blocked, so that a thread which it creates has
/// them blocked from its first instruction.
fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills in the set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the first set was filled in, the other can be written.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = f();
    // SAFETY: `before` was filled in by the call above, which cannot fail with
    // valid arguments.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, Wait};
    use crate::engine::Engine;
    use aio2_abi::iocb::{Encoder, Flags};
    use aio2_abi::op;
    use aio2_abi::setup::Setup;

    #[test]
    fn workers_are_hired_for_jobs_that_idle_ones_cannot_take() {
        let mut workers = Workers::new(2);
        workers.idle = 1;
        assert!(!workers.grow(1) && workers.grow(2));
        workers.idle = 0;
        assert_eq!([(); 2].map(|()| workers.grow(9)), [true, false]);
        assert_eq!(workers.count, 2);
    }

    #[test]
    fn each_idle_worker_is_told_of_one_job() {
        let mut workers = Workers::new(4);
        assert!(!workers.tell_one());
        workers.idle = 2;
        assert_eq!([(); 3].map(|()| workers.tell_one()), [true, true, false]);
        workers.wake();
        assert_eq!((workers.idle, workers.tell_one()), (1, false));
        workers.wake();
        workers.idle = 1;
        assert!(workers.tell_one());
    }

    /// SPEC: R-RUN-10
    #[test]
    fn a_worker_that_panics_is_replaced_and_loses_nothing() {
        let setup = Setup { version: 1, concurrency: 1, ..Setup::default() };
        let engine = Engine::new(&setup).unwrap();
        let mut iocbs = [[0_u64; 4]; 2];
        for (iocb, user_data) in iocbs.iter_mut().zip([run::PANICS, 1]) {
            let bytes = iocb.as_mut_bytes();
            Encoder::new(bytes, op::NOP, &[], Flags::ASYNC, user_data).unwrap();
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
