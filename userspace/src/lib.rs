//! AIO2: asynchronous system calls with attributes.
//!
//! An operation is a syscall, run asynchronously. Its completion is an event
//! with the result and an answer to each attribute that was asked for: when it
//! ran and where, what it found in the page cache, the checksum of its bytes.
//! Events arrive in a ring that any number of threads reap without a lock, and
//! none is ever lost. Two implement this: the [`engine`], in the process, on
//! any kernel; and a kernel with the AIO2 series.
//!
//! ```
//! use aio2::{CacheHint, Context, Op, Queue, Timeout};
//! use std::fs::File;
//!
//! let mut queue = Queue::new(Context::new()?);
//! let file = File::open("/etc/passwd")?;
//! queue.push(Op::read_at(file, vec![0; 4096], 0).timing().cache(CacheHint::Normal), ());
//! for done in queue.wait(1, Timeout::Forever)? {
//!     println!("{} bytes", done.result?);
//!     println!("{}; {}", done.timing(), done.cache());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things are
//!
//! | to | use |
//! |---|---|
//! | make a context, and see who implements it | [`Context`], [`Builder`] |
//! | run operations that own their buffers | [`Op`], [`Queue`], [`Completion`] |
//! | the same with callbacks | [`Dispatcher`] |
//! | the same as futures | [`Driver`], [`Handle`] |
//! | write iocbs oneself (unsafe) | [`Iocbs`], [`Context::submit_raw`] |
//! | reap events, also in many threads | [`Reaper`], [`Event`] |
//! | wait for several contexts, some before others | [`Set`] |
//! | know what a syscall may be | [`syscall`] |
//! | ask the running kernel | [`kernel`] |
//! | use the ring for something else | [`ring`], [`shm`] |
//! | write another implementation | [`backend`] |
//!
//! Dependencies point one way: futures and queues, then [`submit`] and
//! [`reap`], which do not know each other, then [`backend`] and [`ring`]. The
//! bytes themselves are described by the crate `aio2-abi`.
//!
//! The library never panics on what a peer or the kernel says. Errors keep the
//! error number ([`Errno`]) and say what to do.
//!
//! # Features
//!
//! `tokio`: drive futures within tokio (`Driver::drive`).
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod backend;
#[cfg(not(loom))]
#[allow(unsafe_code)]
mod context;
pub mod engine;
pub mod error;
#[cfg(not(loom))]
pub mod future;
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod kernel;
mod os;
#[cfg(not(loom))]
#[allow(unsafe_code)]
mod queue;
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod reap;
pub mod ring;
pub mod set;
#[cfg(not(loom))]
pub mod submit;
mod sync;
pub mod syscall;

#[cfg(not(loom))]
pub use backend::Timeout;
#[cfg(not(loom))]
pub use context::{Builder, Context, Implementation, Prefer, SetupError};
pub use error::Errno;
#[cfg(not(loom))]
pub use future::{Driver, Handle, Run};
#[cfg(not(loom))]
pub use queue::{Cancelled, Completion, Completions, Dispatcher, Key, Popped, Queue};
#[cfg(not(loom))]
pub use reap::{Attribute, Event, OwnedEvent, Reaper};
pub use ring::shm;
#[cfg(not(loom))]
pub use set::Set;
#[cfg(not(loom))]
pub use submit::{After, Buffer, CacheHint, Dir, DirectBuf, Iocbs, Op, Priority, SharedFd, Signal};
