//! Accepting a request that needs more than to be run: a member of a group, one
//! that waits for others, has a deadline, or sends a signal; and the operations
//! GROUP and POLL.
//!
//! Such a request has a slot from the start, and everything before it in its
//! stream is published first. Requests without these do not come here.
//!
//! SPEC: sections 8 (DEADLINE, SIGNAL), 9.2, 9.3.

use super::earlier::Past;
use crate::engine::executors;
use crate::engine::request::Request;
use crate::engine::request::operation::Operation;
use crate::engine::request::progress::Progress;
use crate::engine::run;
use crate::engine::run::outcome;
use crate::engine::run::sure::Facts;
use crate::engine::state::context::{Context, Job, Shared};
use crate::engine::state::order::{Fate, Refusal};
use crate::engine::state::slots::{Id, Known};
use crate::os::clock;
use aio2_abi::attr::{AFTER_GROUP, AFTER_REQUEST, After, PATH_INLINE};
use libc::{EAGAIN, ECANCELED, EDEADLK, ENOENT, ESTALE, ETIMEDOUT};
use std::sync::Arc;

/// What is to be done with a request that has its place.
enum Entry {
    /// Run it.
    Start,
    /// It waits.
    Held,
    /// It ends with this errno (positive), and is not run.
    Ended(i32),
}

/// What AFTER names.
enum Target {
    Request(Id),
    Group(u64),
    /// It has ended, and did not fail.
    Ended,
}

/// Accepts an admitted request; its id. `before` tells what became of the n-th
/// iocb before it, and `pinned` that what becomes of it will be asked.
pub(crate) fn accept(
    shared: &Arc<Shared>,
    request: &Request,
    before: impl Fn(u64) -> Result<Past, i32>,
    pinned: bool,
    facts: &mut Facts,
) -> Id {
    let mut progress = Progress::new(request, None);
    let timeout = request.plan.as_ref().and_then(|plan| plan.deadline());
    let deadline = timeout.map(|timeout| clock::now().saturating_add(timeout));
    let mut context = shared.lock();
    // Before it has a slot, which may be that of its target.
    let after = request.plan.as_ref().and_then(|plan| plan.after());
    let target = after.map(|after| context.target(after, before)).transpose();
    let id = context.slots.start(request.keys());
    if pinned {
        context.slots.pin(id);
    }
    // SPEC: R-DEADLINE-1
    let verdict = if timeout == Some(0) { Err(ETIMEDOUT) } else { Ok(()) };
    match context.enter(id, request, verdict.and(target)) {
        Entry::Ended(errno) => context.abandon(id, request, errno),
        Entry::Held => {
            let lane = executors::lane(shared, request, &progress, facts);
            progress.leave_submission(request, lane);
            context.slots.hold(id, Job { request: request.clone(), progress });
            // A group that had no members left has ended already.
            context.settle();
            context.time_limit(id, deadline);
        }
        Entry::Start if run::needs_worker(request) || context.overtakes(request) => {
            let lane = executors::lane(shared, request, &progress, facts);
            progress.leave_submission(request, lane);
            context.start(id, Job { request: request.clone(), progress }, deadline);
        }
        Entry::Start => {
            drop(context);
            let result = run::try_inline(request, &mut progress, facts);
            context = match result {
                Some(result) => {
                    let told = outcome::finish(request, &progress, result, PATH_INLINE);
                    let mut context = shared.lock();
                    context.publish_one(request, &told);
                    context.ended_inline += 1;
                    context.retire(id, request, result);
                    context
                }
                None => {
                    let lane = executors::lane(shared, request, &progress, facts);
                    progress.leave_submission(request, lane);
                    let mut context = shared.lock();
                    context.start(id, Job { request: request.clone(), progress }, deadline);
                    context
                }
            };
        }
    }
    shared.tell(context);
    id
}

impl Context {
    /// Gives request `id` its place among the others; with a `verdict` against
    /// it, only that of a member.
    fn enter(&mut self, id: Id, request: &Request, verdict: Result<Option<Target>, i32>) -> Entry {
        let entered = self.try_enter(id, request, verdict);
        match entered {
            Err(errno) => Entry::Ended(errno),
            Ok(()) if self.order.fate(id.slot() as u32) == Some(Fate::Start) => Entry::Start,
            Ok(()) => Entry::Held,
        }
    }

    fn try_enter(
        &mut self,
        id: Id,
        request: &Request,
        verdict: Result<Option<Target>, i32>,
    ) -> Result<(), i32> {
        let slot = id.slot() as u32;
        self.order.reserve(id.slot() + 1).map_err(errno)?;
        if let Some(plan) = &request.plan {
            if plan.signal().is_some() {
                self.deferred.expect_signal()?;
            }
            if let Some(key) = plan.group() {
                self.order.join(slot, key).map_err(errno)?;
            }
            if let Operation::Refused(errno) = request.operation {
                return Err(errno);
            }
            let waits = verdict.and_then(|target| self.wait_for(slot, target));
            // SPEC: R-GROUP-7; what is refused leaves its group open.
            if let (Err(errno), Operation::Group) = (waits, request.operation)
                && !matches!(errno, EDEADLK | EAGAIN)
            {
                self.order.shut(request.call.args()[0]);
            }
            waits?;
        }
        if let Operation::Group = request.operation {
            self.order.close(slot, request.call.args()[0]).map_err(errno)?;
        }
        Ok(())
    }

    /// Has `slot` wait for what AFTER names.
    fn wait_for(&mut self, slot: u32, target: Option<Target>) -> Result<(), i32> {
        match target {
            Some(Target::Request(target)) => {
                self.order.reserve(target.slot() + 1).map_err(errno)?;
                self.order.wait_for_request(slot, target.slot() as u32).map_err(errno)
            }
            Some(Target::Group(key)) => self.order.wait_for_group(slot, key).map_err(errno),
            Some(Target::Ended) | None => Ok(()),
        }
    }

    /// What AFTER names.
    ///
    /// # Errors
    /// The errno (positive) that the request ends with, if it has failed, was
    /// never there, or is forgotten.
    ///
    /// SPEC: R-AFTER-1, R-AFTER-2, R-AFTER-3, R-AFTER-5
    fn target(
        &self,
        after: After,
        before: impl Fn(u64) -> Result<Past, i32>,
    ) -> Result<Target, i32> {
        let id = match after.kind {
            AFTER_GROUP => return Ok(Target::Group(after.target)),
            AFTER_REQUEST => after.target,
            _ => match before(after.target)? {
                Past::Succeeded => return Ok(Target::Ended),
                Past::Failed => return Err(ECANCELED),
                Past::Slot(id) => id.get(),
            },
        };
        match self.slots.known(id) {
            Known::Never => Err(ENOENT),
            Known::InFlight(target) => Ok(Target::Request(target)),
            Known::Ended => match self.slots.failed(id) {
                None => Err(ESTALE),
                Some(true) => Err(ECANCELED),
                Some(false) => Ok(Target::Ended),
            },
        }
    }

    /// Has request `id` run by whoever waits for it.
    fn start(&mut self, id: Id, job: Job, deadline: Option<u64>) {
        match job.request.operation {
            Operation::Poll => self.watch(id, job),
            _ => self.dispatch(id, job),
        }
        self.time_limit(id, deadline);
    }

    /// Has request `id` cancelled when its time is over.
    fn time_limit(&mut self, id: Id, deadline: Option<u64>) {
        if let Some(deadline) = deadline
            && let Err(errno) = self.set_deadline(id, deadline)
        {
            self.stop(id, errno);
        }
    }
}

fn errno(refusal: Refusal) -> i32 {
    match refusal {
        Refusal::Unknown => ENOENT,
        Refusal::Deadlock => EDEADLK,
        Refusal::NoRoom => EAGAIN,
    }
}
