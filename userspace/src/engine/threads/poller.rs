//! The thread that waits for files to become ready.
//!
//! One for a context, created with the first request that waits for one.
//!
//! SPEC: R-OP-5, R-OP-6, R-LIMIT-5.

use crate::engine::host::thread;
use crate::engine::state::context::Shared;
use crate::engine::state::polls::STOP;
use crate::engine::state::slots::Known;
use libc::EAGAIN;
use rustix::event::epoll;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Events that are taken at once.
const ROUND: usize = 64;

/// Sees to it that the thread is there; without it the requests end.
pub(crate) fn ensure(shared: &Arc<Shared>) {
    let mut context = shared.lock();
    if std::mem::replace(&mut context.polls.exists, true) {
        return;
    }
    let Some(epoll) = context.polls.epoll.as_ref().map(|epoll| epoll.fd.clone()) else { return };
    drop(context);
    let of_thread = shared.clone();
    let spawned = thread::spawn("aio2-poll", move || run(&of_thread, &epoll));
    let mut context = shared.lock();
    context.polls.exists = spawned.is_ok();
    context.polls.thread = spawned.ok();
    if !context.polls.exists {
        let ids: Vec<u64> = context.polls.watched.keys().copied().collect();
        for id in ids {
            if let Known::InFlight(id) = context.slots.known(id)
                && let Some(job) = context.slots.unhold(id)
            {
                context.abandon(id, &job.request, EAGAIN);
            }
        }
        shared.tell(context);
    }
}

/// The thread: says which files have become ready.
fn run(shared: &Arc<Shared>, epoll: &OwnedFd) {
    let mut events = [const { MaybeUninit::uninit() }; ROUND];
    loop {
        // A stop of the process interrupts it.
        let Ok((ready, _)) = epoll::wait(epoll, &mut events, None) else { continue };
        let mut context = shared.lock();
        for event in ready {
            let epoll::Event { flags, data } = *event;
            match data.u64() {
                STOP => return,
                id => context.is_ready(id, flags.bits()),
            }
        }
        shared.tell(context);
    }
}
