//! The loom switch: atomics and locks of the system, or those of the model
//! checker.
//!
//! The only file that names `core::sync::atomic`. It adds nothing to either
//! side: what an ordering is for is said where it is used, in `ring/` and
//! `engine/`.

#[cfg(not(aio2_loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(aio2_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(aio2_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(aio2_loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

/// Of the process: the model checker has no statics, and begins anew each time.
pub(crate) mod process {
    pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32};
    #[cfg(aio2_loom)]
    pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
}
