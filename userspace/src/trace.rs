//! What is told to the crate tracing: with the feature `tracing`, and else nothing.
//!
//! Each event has the target `aio2`. Contexts are told at DEBUG, each submission and each
//! completion at TRACE: where nobody listens to that, one of them costs a load and a
//! branch.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use crate::error::Errno;
use crate::reap::Event;
use aio2_abi::setup::Setup;
use std::fmt::Display;

/// A context was made.
pub(crate) fn made(implementation: impl Display, executor: Option<impl Display>, setup: &Setup) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: "aio2",
        %implementation,
        executor = executor.map(tracing::field::display),
        ring_bytes = setup.ring_bytes,
        max_requests = setup.max_requests,
        concurrency = setup.concurrency,
        "context made"
    );
}

/// A context could not be made.
pub(crate) fn not_made(error: impl Display) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "aio2", %error, "no context made");
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

/// A request for this `operation` has ended with `event`.
#[inline(always)]
pub(crate) fn ended(operation: impl FnOnce() -> &'static str, event: &Event<'_>) {
    #[cfg(feature = "tracing")]
    if tracing::level_filters::LevelFilter::current() >= tracing::Level::TRACE {
        tell(operation(), event);
    }
}

#[cfg(feature = "tracing")]
#[cold]
fn tell(operation: &'static str, event: &Event<'_>) {
    let timing = event.timing().handled();
    tracing::trace!(
        target: "aio2",
        key = event.user_data(),
        operation,
        result = event.result().ok(),
        errno = event.result().err().map(tracing::field::display),
        place = event.execution_path().handled().map(|path| tracing::field::display(path.place)),
        waited_ns = timing.map(|timing| timing.waited().as_nanos() as u64),
        ran_ns = timing.map(|timing| timing.ran().as_nanos() as u64),
        never_began = event.never_began(),
        "ended"
    );
}
