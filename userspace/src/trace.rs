//! What is told to the crate tracing: with the feature `tracing`, and else nothing.
//!
//! Each event has the target `aio2`. Contexts are told at DEBUG, each submission and each
//! completion at TRACE: where nobody listens to that, one of them costs a load and a
//! branch.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables, clippy::needless_pass_by_value))]

use crate::context::{Context, SetupError};
use crate::error::Errno;
use crate::queue::Completion;

/// A context was made, or was not.
pub(crate) fn made(made: &Result<Context, SetupError>) {
    #[cfg(feature = "tracing")]
    match made {
        Ok(context) => {
            let setup = context.setup();
            tracing::debug!(
                target: "aio2",
                implementation = %context.implementation(),
                executor = context.executor().map(tracing::field::display),
                ring_bytes = setup.ring_bytes,
                max_requests = setup.max_requests,
                concurrency = setup.concurrency,
                "context made"
            );
        }
        Err(error) => tracing::debug!(target: "aio2", %error, "no context made"),
    }
}

/// So many bytes of iocbs were submitted, and this many of them accepted.
#[inline(always)]
pub(crate) fn submitted(bytes: usize, accepted: Result<usize, Errno>) {
    #[cfg(feature = "tracing")]
    match accepted {
        Ok(accepted) => tracing::trace!(target: "aio2", bytes, accepted, "submitted"),
        Err(errno) => tracing::debug!(target: "aio2", bytes, %errno, "submission refused"),
    }
}

/// A request has ended, with this completion for `key`.
#[inline(always)]
pub(crate) fn ended<B, T, K>(key: u64, done: &Completion<B, T, K>) {
    #[cfg(feature = "tracing")]
    if tracing::level_filters::LevelFilter::current() >= tracing::Level::TRACE {
        tell(key, done);
    }
}

#[cfg(feature = "tracing")]
#[cold]
fn tell<B, T, K>(key: u64, done: &Completion<B, T, K>) {
    let timing = done.timing().handled();
    tracing::trace!(
        target: "aio2",
        key,
        operation = done.op.name(),
        result = done.result.ok(),
        errno = done.result.err().map(tracing::field::display),
        place = done.execution_path().handled().map(|path| tracing::field::display(path.place)),
        waited_ns = timing.map(|timing| timing.waited().as_nanos() as u64),
        ran_ns = timing.map(|timing| timing.ran().as_nanos() as u64),
        never_began = done.never_began(),
        "ended"
    );
}
