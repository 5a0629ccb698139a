//! The threads of a context that run no operation: one each that waits for times
//! and for files. Here, too, is what whoever has released the lock does for them
//! and for the executors.
//!
//! SPEC: R-SIGNAL-1.

pub(crate) mod poller;
pub(crate) mod timer;

use crate::engine::executors;
use crate::engine::host::signal;
use crate::engine::state::context::Shared;
use crate::engine::state::polls::Held;
use arrayvec::ArrayVec;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Signals that are sent, and files that are let go of, between two looks under the
/// lock.
const ROUND: usize = 8;

/// Does what there is to do. Not to be called under the lock.
#[cold]
pub(crate) fn do_deferred(shared: &Arc<Shared>) {
    loop {
        let mut signals = [None; ROUND];
        let mut context = shared.lock();
        let deferred = &mut context.deferred;
        if deferred.is_empty() {
            return;
        }
        let jobs = std::mem::take(&mut deferred.jobs);
        let device = std::mem::take(&mut deferred.device);
        let alarm = std::mem::take(&mut deferred.alarm);
        let poller = std::mem::take(&mut deferred.poller);
        let fd = deferred.closing.pop();
        let round = deferred.leaving.len().min(ROUND);
        let mut leaving: ArrayVec<_, ROUND> =
            deferred.leaving.drain(..round).map(|held| (held, None)).collect();
        let round = deferred.signals.len().min(ROUND);
        for (place, signal) in signals.iter_mut().zip(deferred.signals.drain(..round)) {
            *place = Some(signal);
        }
        for (held, instead) in &mut leaving {
            *instead = context.polls.keep(held);
        }
        drop(context);
        drop(fd);
        if !leaving.is_empty() {
            let_go(shared, leaving);
        }
        if alarm {
            timer::ensure(shared);
        }
        if poller {
            poller::ensure(shared);
        }
        executors::staff(shared, jobs, device);
        signals.iter().flatten().for_each(signal::send);
    }
}

/// Lets go of files; the descriptor of each means something instead, and is kept, or
/// is closed.
fn let_go(shared: &Shared, leaving: ArrayVec<(Held, Option<Arc<OwnedFd>>), ROUND>) {
    let kept = leaving.into_iter().filter_map(|(held, instead)| held.hold(instead?.as_fd()));
    let kept: ArrayVec<Held, ROUND> = kept.collect();
    let mut context = shared.lock();
    let others: ArrayVec<Held, ROUND> =
        kept.into_iter().filter_map(|held| context.polls.kept(held)).collect();
    context.count_waiting();
    drop(context);
    drop(others);
}
