//! AIO2: asynchronous system calls with attributes.
#![deny(unsafe_code)]

pub mod error;
pub mod ring;
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod shm;
pub mod submit;
mod sync;
pub mod syscall;

pub use submit::{Buffer, CacheHint, Dir, DirectBuf, Iocbs, Op, Priority, SharedFd};
