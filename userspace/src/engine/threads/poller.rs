//! Files that have become ready: who waits for them is served, by a thread that
//! waits for events, or by one of the context's own while none does.
//!
//! The latter is created with the first request that waits for a file.
//!
//! SPEC: R-OP-5, R-OP-6, R-WAIT-1, R-WAIT-2, R-WAIT-7, R-LIMIT-5.

use crate::engine::host::file::Family;
use crate::engine::host::thread;
use crate::engine::request::operation::Operation;
use crate::engine::request::wait::Direction;
use crate::engine::run::sure::Facts;
use crate::engine::run::{self, outcome};
use crate::engine::state::context::{Context, Shared};
use crate::engine::state::files::is_token;
use crate::engine::state::lead::Next;
use crate::engine::state::polls::{Epoll, Ready};
use crate::engine::state::slots::Known;
use crate::os::clock;
use crate::os::park::{Ended, Parker};
use crate::sync::MutexGuard;
use aio2_abi::attr;
use libc::EAGAIN;
use rustix::event::epoll::{self, EventFlags};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Requests of a file that are served before others are.
const TURNS: usize = 16;
/// Bytes that are moved between two publications: some hundred microseconds.
const MOVED_BYTES: u64 = 1 << 20;
/// How often a file may say that it is ready, and not be, before a worker waits:
/// not all that a call waits for can be polled.
const IN_VAIN: u8 = 3;
/// How long nobody leads before the context's own thread does, in ns.
const SOON_NS: u64 = 1_000_000;

/// Sees to it that the thread is there, and knows that it is needed; where there can
/// be none the requests end.
pub(crate) fn ensure(shared: &Arc<Shared>) {
    let mut context = shared.lock();
    let Some(epoll) = context.polls.epoll.clone() else { return };
    if std::mem::replace(&mut context.polls.exists, true) {
        let tells = context.polls.lead.tell_thread();
        drop(context);
        if tells {
            epoll.thread.unpark();
        }
        return;
    }
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

/// The thread: leads while nobody else does.
fn run(shared: &Arc<Shared>, epoll: &Epoll) {
    let mut seen = u64::MAX;
    loop {
        let mut context = shared.lock();
        if context.polls.stopping {
            return;
        }
        // What it would be told from here on is seen by it.
        epoll.thread.rearm();
        let next = context.polls.lead.next(&mut seen);
        drop(context);
        match next {
            Next::Lead => lead(shared, epoll),
            Next::Look => drop(epoll.thread.park(Some(clock::now() + SOON_NS), None)),
            Next::Sleep => drop(epoll.thread.park(None, None)),
        }
    }
}

/// Leads until another shall, or the thread is to go.
fn lead(shared: &Arc<Shared>, epoll: &Epoll) {
    let mut ready = Ready::default();
    loop {
        wait(epoll, &epoll.thread, None, None, &mut ready);
        let mut context = serve(shared, shared.lock(), &ready);
        if context.polls.lead.is_called_off() || context.polls.stopping {
            context.polls.lead.resign();
            context.waiters.disturb_last();
            shared.tell(context);
            return;
        }
        epoll.thread.rearm();
        shared.tell(context);
    }
}

/// The thread that is about to wait for events leads, if requests wait for files and
/// no other does: where they are watched.
pub(crate) fn take_lead(context: &mut Context) -> Option<Epoll> {
    let polls = &mut context.polls;
    if !polls.are_waited_for() {
        return None;
    }
    let epoll = polls.epoll.as_ref()?;
    if polls.lead.take() {
        epoll.waiter.rearm();
        return Some(epoll.clone());
    }
    if polls.lead.call_off() {
        epoll.thread.unpark();
    }
    None
}

/// The thread has waited for events; if it leads, it leads no more. Releases the lock.
pub(crate) fn resign(shared: &Arc<Shared>, mut context: MutexGuard<'_, Context>, leads: bool) {
    if leads {
        context.polls.lead.resign();
        if context.polls.are_waited_for() {
            context.waiters.disturb_last();
            context.deferred.poller |= context.polls.needs_thread();
        }
    }
    shared.tell(context);
}

/// Waits until a file is ready, `parker` is told, or the time is over; which. The
/// files are in `ready` then.
pub(crate) fn wait(
    epoll: &Epoll,
    parker: &Parker,
    until: Option<u64>,
    sigmask: Option<&libc::sigset_t>,
    ready: &mut Ready,
) -> Ended {
    // Under load there is something, and it need not sleep.
    if epoll.take(ready) > 0 {
        return Ended::Told;
    }
    let ended = parker.park_beside(until, sigmask, Some(epoll.as_fd()));
    epoll.take(ready);
    ended
}

/// Serves those that wait for files, which are ready.
pub(crate) fn serve<'a>(
    shared: &'a Arc<Shared>,
    mut context: MutexGuard<'a, Context>,
    ready: &Ready,
) -> MutexGuard<'a, Context> {
    let mut moved = 0;
    for &epoll::Event { flags, data } in ready {
        match data.u64() {
            token if is_token(token) => {
                context = serve_file(shared, context, token, flags, &mut moved);
            }
            id => context.is_ready(id, flags.bits()),
        }
        // Who waits does not wait for many copies of much.
        if moved >= MOVED_BYTES {
            moved = 0;
            context = shared.tell_between(context);
        }
    }
    context
}

/// Serves those that wait for a file, which is ready as `flags` say; `moved` counts
/// the bytes.
fn serve_file<'a>(
    shared: &'a Arc<Shared>,
    mut context: MutexGuard<'a, Context>,
    token: u64,
    flags: EventFlags,
    moved: &mut u64,
) -> MutexGuard<'a, Context> {
    const ANYTHING: EventFlags = EventFlags::HUP.union(EventFlags::ERR);
    let input = ANYTHING | EventFlags::IN | EventFlags::PRI | EventFlags::RDHUP;
    let output = ANYTHING | EventFlags::OUT;
    let socket = context.polls.fired(token);
    for (direction, events) in [(Direction::In, input), (Direction::Out, output)] {
        if !flags.intersects(events) {
            continue;
        }
        for _ in 0..TURNS {
            let Some(id) = context.polls.files.next(token, direction) else { break };
            let (goes_on, after) = try_again(shared, context, id, socket, moved);
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
    socket: Option<(i32, Family)>,
    moved: &mut u64,
) -> (bool, MutexGuard<'a, Context>) {
    let held = match context.slots.known(id) {
        Known::InFlight(id) => context.slots.unhold(id).map(|job| (id, job)),
        _ => None,
    };
    let Some((id, mut job)) = held else { return (false, context) };
    let facts = socket.map(|(fd, family)| Facts::of_ready_socket(fd, family));
    let mut facts = facts.unwrap_or_default();
    if !run::may_retry(&job.request, &mut facts) {
        context.hand_over(id, job);
        return (false, context);
    }
    context.polls.files.begin_try(id.get());
    // Who is concerned by what was published is told after all of them.
    drop(context);
    let before = job.progress.done;
    let result = run::retry(&job.request, &mut job.progress, &mut facts);
    if job.progress.done > before {
        job.progress.in_vain = 0;
        *moved += job.progress.done - before;
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
