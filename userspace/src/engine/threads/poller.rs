//! The thread that waits for files to become ready, and serves who waits for them.
//!
//! One for a context, created with the first request that waits for one.
//!
//! SPEC: R-OP-5, R-OP-6, R-WAIT-1, R-WAIT-2, R-LIMIT-5.

use crate::engine::host::thread;
use crate::engine::request::operation::Operation;
use crate::engine::request::wait::Direction;
use crate::engine::run::sure::Facts;
use crate::engine::run::{self, outcome};
use crate::engine::state::context::{Context, Shared};
use crate::engine::state::files::is_token;
use crate::engine::state::polls::STOP;
use crate::engine::state::slots::Known;
use crate::sync::MutexGuard;
use aio2_abi::attr;
use libc::EAGAIN;
use rustix::event::epoll::{self, EventFlags};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Events that are taken at once.
const ROUND: usize = 64;
/// Requests of a file that are served before others are.
const TURNS: usize = 16;
/// How often a file may say that it is ready, and not be, before a worker waits:
/// not all that a call waits for can be polled.
const IN_VAIN: u8 = 3;

/// Sees to it that the thread is there; without it the requests end.
pub(crate) fn ensure(shared: &Arc<Shared>) {
    let mut context = shared.lock();
    if std::mem::replace(&mut context.polls.exists, true) {
        return;
    }
    let Some(epoll) = context.polls.epoll.as_ref().map(|epoll| epoll.fd.clone()) else { return };
    drop(context);
    let of_thread = shared.clone();
    let spawned = thread::spawn(c"aio2-poll", move || run(&of_thread, &epoll));
    let mut context = shared.lock();
    context.polls.exists = spawned.is_ok();
    context.polls.thread = spawned.ok();
    if !context.polls.exists {
        let polls = &context.polls;
        let ids: Vec<u64> = polls.watched.keys().copied().chain(polls.files.ids()).collect();
        for id in ids {
            if let Known::InFlight(id) = context.slots.known(id)
                && let Some(job) = context.slots.unhold(id)
            {
                match job.request.operation {
                    Operation::Poll => context.abandon(id, &job.request, EAGAIN),
                    // A worker can wait, too.
                    _ => context.hand_over(id, job),
                }
            }
        }
        shared.tell(context);
    }
}

/// The thread: says which files have become ready, and tries again what waits for
/// them.
fn run(shared: &Arc<Shared>, epoll: &OwnedFd) {
    let mut events = [const { MaybeUninit::uninit() }; ROUND];
    loop {
        // A stop of the process interrupts it.
        let Ok((ready, _)) = epoll::wait(epoll, &mut events, None) else { continue };
        let mut context = shared.lock();
        let mut stops = false;
        for event in ready {
            let epoll::Event { flags, data } = *event;
            match data.u64() {
                STOP => stops = true,
                token if is_token(token) => context = serve(shared, context, token, flags),
                id => context.is_ready(id, flags.bits()),
            }
        }
        shared.tell(context);
        if stops {
            return;
        }
    }
}

/// Serves those that wait for a file, which is ready as `flags` say.
fn serve<'a>(
    shared: &'a Arc<Shared>,
    mut context: MutexGuard<'a, Context>,
    token: u64,
    flags: EventFlags,
) -> MutexGuard<'a, Context> {
    const ANYTHING: EventFlags = EventFlags::HUP.union(EventFlags::ERR);
    let input = ANYTHING | EventFlags::IN | EventFlags::PRI | EventFlags::RDHUP;
    let output = ANYTHING | EventFlags::OUT;
    context.polls.files.fired(token);
    for (direction, events) in [(Direction::In, input), (Direction::Out, output)] {
        if !flags.intersects(events) {
            continue;
        }
        for _ in 0..TURNS {
            let Some(id) = context.polls.files.next(token, direction) else { break };
            let (goes_on, after) = try_again(shared, context, id);
            context = after;
            if !goes_on {
                break;
            }
        }
    }
    context.polls.arm(token);
    context
}

/// Tries request `id` again, whose turn it is; whether another one may come.
fn try_again<'a>(
    shared: &'a Arc<Shared>,
    mut context: MutexGuard<'a, Context>,
    id: u64,
) -> (bool, MutexGuard<'a, Context>) {
    let held = match context.slots.known(id) {
        Known::InFlight(id) => context.slots.unhold(id).map(|job| (id, job)),
        _ => None,
    };
    let Some((id, mut job)) = held else { return (false, context) };
    let mut facts = Facts::default();
    if !run::may_retry(&job.request, &mut facts) {
        context.hand_over(id, job);
        return (false, context);
    }
    context.polls.files.begin_try(id.get());
    shared.tell(context);
    let before = job.progress.done;
    let result = run::retry(&job.request, &mut job.progress, &mut facts);
    if job.progress.done > before {
        job.progress.in_vain = 0;
    }
    let told = result
        .map(|result| outcome::finish(&job.request, &job.progress, result, attr::PATH_WORKER));
    let mut context = shared.lock();
    let stopped = context.polls.files.end_try();
    match (told, stopped) {
        (Some(told), _) => {
            context.publish_one(&job.request, &told);
            context.retire(id, &job.request, told.result);
            return (true, context);
        }
        (None, Some(errno)) => context.complete_stopped(id, &job, errno),
        (None, None) if job.progress.stuck && job.progress.in_vain < IN_VAIN => {
            job.progress.in_vain += 1;
            context.wait_on(id, job);
        }
        (None, None) => context.hand_over(id, job),
    }
    (false, context)
}
