//! The loom switch: atomics of the processor, or those of the model checker.
//!
//! The only file that names `core::sync::atomic`. It adds nothing to either
//! side: what an ordering is for is said where it is used, in `ring/`.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
