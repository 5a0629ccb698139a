//! The loom switch: atomics, locks and threads of the system, or those of the
//! model checker.
//!
//! The only file that names `core::sync::atomic`. It adds nothing to either
//! side: what an ordering is for is said where it is used, in `ring/` and
//! `engine/`.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::thread::{Builder, JoinHandle};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(loom)]
pub(crate) use loom::thread::{Builder, JoinHandle};

/// Of the process: the model checker has no statics, and begins anew each time.
pub(crate) mod process {
    pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32};
    #[cfg(loom)]
    pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
}

/// Whether a thread has ended; the model checker never says so.
pub(crate) fn is_finished<T>(thread: &JoinHandle<T>) -> bool {
    #[cfg(not(loom))]
    return thread.is_finished();
    #[cfg(loom)]
    {
        let _ = thread;
        false
    }
}
