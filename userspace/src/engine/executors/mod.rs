//! Executors: who runs what cannot be run inline.
//!
//! A request that has to be run waits in a queue of the context, its lane, under
//! the lock. An executor takes it from there in a thread of its own, runs it, and
//! publishes its event, or hands it over to the workers, which can run all there is.
//! What the rest of the engine knows of executors is here; another one is a lane, a
//! file, and an arm in each of these:
//!
//! | what | when it is called |
//! |---|---|
//! | [`lane`] | a submission has a request that it cannot run: whose is it? |
//! | [`give`] | and to have it run |
//! | [`Context::queue`] | a request is set free while the lock is held |
//! | [`staff`] | after that, without the lock |
//! | [`stand_in`] | a thread is about to wait for events |
//!
//! | room | duty |
//! |---|---|
//! | `worker` | threads, each of which runs one syscall at a time |
//! | `device` | io_uring or Linux AIO, for transfers that wait for a device |
//!
//! SPEC: section 6.4.

mod device;
mod worker;

use crate::engine::host;
use crate::engine::host::device::Facility;
use crate::engine::request::Request;
use crate::engine::request::progress::Progress;
use crate::engine::run::sure::Facts;
use crate::engine::state::context::{Context, Job, Shared};
use crate::engine::state::slots::{Id, Lane};
use std::fmt;
use std::sync::Arc;
pub(crate) use worker::StoodIn;

/// Who runs what cannot be run inline, beside the threads that run whatever else
/// there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Executor {
    /// Nobody: threads run all of it.
    Threads,
    /// The kernel's io_uring(7), of what it gives to a device.
    IoUring,
    /// Linux AIO, of what it gives to a device.
    LinuxAio,
}

/// Those beside threads, what has cost less first.
const FACILITIES: [(Facility, Executor); 2] =
    [(Facility::IoUring, Executor::IoUring), (Facility::LinuxAio, Executor::LinuxAio)];

impl Executor {
    /// What a context will have for which the application has `chosen` so: the first of
    /// io_uring, Linux AIO and threads that neither it nor the environment forbids, and
    /// the host permits. Each forbids what stands before it.
    ///
    /// SPEC: R-RUN-15
    pub(crate) fn find(chosen: Option<Executor>) -> Option<Facility> {
        let environment = match std::env::var_os("AIO2_EXECUTOR") {
            Some(name) if name == "threads" => Some(Executor::Threads),
            Some(name) if name == "linux_aio" => Some(Executor::LinuxAio),
            Some(name) if name == "io_uring" => Some(Executor::IoUring),
            _ => None,
        };
        let place = |wish| FACILITIES.iter().position(|&(_, executor)| executor == wish);
        let wishes = chosen.into_iter().chain(environment);
        // Threads stand behind all of them.
        let first = wishes.map(|wish| place(wish).unwrap_or(FACILITIES.len())).max().unwrap_or(0);
        let rest = FACILITIES[first..].iter().map(|&(facility, _)| facility);
        rest.into_iter().find(|&facility| is_permitted(facility))
    }

    /// Who gives transfers to a device by this facility, or without one.
    pub(crate) fn of(facility: Option<Facility>) -> Executor {
        match facility {
            None => Executor::Threads,
            Some(Facility::IoUring) => Executor::IoUring,
            Some(Facility::LinuxAio) => Executor::LinuxAio,
        }
    }
}

/// Whether the host lets this process use `facility`.
fn is_permitted(facility: Facility) -> bool {
    let probed = host::device::probe(facility);
    #[cfg(feature = "tracing")]
    if let Err(errno) = probed {
        let executor = Executor::of(Some(facility));
        tracing::debug!(target: "aio2", %executor, %errno, "executor refused by the host");
    }
    probed.is_ok()
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Executor::Threads => "threads",
            Executor::IoUring => "io_uring",
            Executor::LinuxAio => "linux_aio",
        })
    }
}

/// Gives an admitted request to an executor; `id` if it has one already. If it is
/// `pinned`, its slot keeps what becomes of it.
pub(crate) fn give(shared: &Arc<Shared>, job: Job, id: Option<Id>, pinned: bool) -> Id {
    let mut context = shared.lock();
    let id = id.unwrap_or_else(|| context.slots.start(job.request.keys()));
    if pinned {
        context.slots.pin(id);
    }
    match context.wait_first(id, job) {
        // Its thread is called once for a submission.
        Some(job) if context.lane_of(&job) == Lane::Device => context.queue(id, job),
        Some(job) => {
            context.slots.enqueue(id, job, Lane::Workers);
            worker::call_one(shared, context);
        }
        None => shared.do_deferred(context),
    }
    id
}

/// Whose a request is that has to be run.
pub(crate) fn lane(
    shared: &Shared,
    request: &Request,
    progress: &Progress,
    facts: &mut Facts,
) -> Lane {
    let suits = device::suits(request, progress, facts, shared.reach);
    if suits { Lane::Device } else { Lane::Workers }
}

/// Sees to it that somebody comes to `jobs` that were queued for workers, and to
/// what was queued for a `device`.
pub(crate) fn staff(shared: &Arc<Shared>, jobs: usize, device: bool) {
    if device {
        device::ensure(shared);
    }
    for _ in 0..jobs {
        worker::call_one(shared, shared.lock());
    }
}

/// Runs a job in this thread, which would wait for events otherwise, if there is
/// one and nobody else can be had.
pub(crate) fn stand_in(shared: &Arc<Shared>) -> StoodIn {
    worker::stand_in(shared)
}

impl Context {
    /// Puts request `id` at the end of its queue, and has somebody come to it.
    pub(crate) fn queue(&mut self, id: Id, job: Job) {
        let lane = self.lane_of(&job);
        self.slots.enqueue(id, job, lane);
        match lane {
            Lane::Workers => self.deferred.jobs += 1,
            Lane::Device => self.deferred.device |= self.device.call(),
        }
    }

    /// Gives request `id`, of which the plain call has to be made, to a worker.
    pub(crate) fn hand_over(&mut self, id: Id, mut job: Job) {
        job.progress.waited = true;
        job.progress.lane = Lane::Workers;
        self.queue(id, job);
    }

    /// Where a request waits: with the workers, if its own executor is no more.
    fn lane_of(&self, job: &Job) -> Lane {
        if self.device.is_open() { job.progress.lane } else { Lane::Workers }
    }
}
