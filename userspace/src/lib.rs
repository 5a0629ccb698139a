//! AIO2: asynchronous system calls with attributes.
#![deny(unsafe_code)]

#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod backend;
#[cfg(not(loom))]
#[allow(unsafe_code)]
mod context;
#[cfg(not(loom))]
pub mod engine;
pub mod error;
#[cfg(not(loom))]
pub mod future;
#[allow(unsafe_code)]
pub mod kernel;
#[cfg(not(loom))]
#[allow(unsafe_code)]
mod queue;
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod reap;
pub mod ring;
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod shm;
pub mod submit;
mod sync;
pub mod syscall;

pub use backend::Timeout;
pub use context::{Builder, Context, Implementation, Prefer, SetupError};
pub use error::Errno;
#[cfg(not(loom))]
pub use future::{Driver, Handle, Run};
pub use queue::{Cancelled, Completion, Completions, Key, Queue};
pub use reap::{Attribute, Event, Reaper};
pub use submit::{Buffer, CacheHint, Dir, DirectBuf, Iocbs, Op, Priority, SharedFd};
