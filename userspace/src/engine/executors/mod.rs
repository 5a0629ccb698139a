//! Executors: who runs what cannot be run inline.
//!
//! A request that has to be run waits in the queue of the context, under its lock.
//! An executor takes it from there in a thread of its own, runs it, and publishes
//! its event. What the rest of the engine knows of executors is here:
//!
//! | what | when it is called |
//! |---|---|
//! | [`give`] | a submission has a request that it cannot run |
//! | [`Context::queue`] | a request is set free while the lock is held |
//! | [`staff`] | after that, without the lock |
//! | [`stand_in`] | a thread is about to wait for events |
//!
//! | room | duty |
//! |---|---|
//! | `worker` | threads, each of which runs one syscall at a time |
//!
//! SPEC: section 6.4.

mod worker;

use crate::engine::state::context::{Context, Job, Shared};
use crate::engine::state::slots::Id;
use std::sync::Arc;

/// Gives an admitted request to an executor; `id` if it has one already. If it is
/// `pinned`, its slot keeps what becomes of it.
pub(crate) fn give(shared: &Arc<Shared>, job: Job, id: Option<Id>, pinned: bool) -> Id {
    let mut context = shared.lock();
    let id = id.unwrap_or_else(|| context.slots.start(job.request.keys()));
    if pinned {
        context.slots.pin(id);
    }
    match context.wait_first(id, job) {
        Some(job) => {
            context.slots.enqueue(id, job);
            worker::call_one(shared, context);
        }
        None => shared.do_deferred(context),
    }
    id
}

/// Sees to it that somebody comes to `jobs` that were queued.
pub(crate) fn staff(shared: &Arc<Shared>, jobs: usize) {
    for _ in 0..jobs {
        worker::call_one(shared, shared.lock());
    }
}

/// Runs a job in this thread, which would wait for events otherwise, if there is
/// one and nobody else can be had; whether that was so.
pub(crate) fn stand_in(shared: &Arc<Shared>) -> bool {
    worker::stand_in(shared)
}

impl Context {
    /// Puts request `id` at the end of the queue, and has somebody come to it.
    pub(crate) fn queue(&mut self, id: Id, job: Job) {
        self.slots.enqueue(id, job);
        self.deferred.jobs += 1;
    }
}
