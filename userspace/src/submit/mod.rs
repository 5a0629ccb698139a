//! Requests: what is to be done, with everything that it needs, as iocbs.
//!
//! Duty: own what an operation works on ([`Op`]: descriptors, paths, buffers),
//! carry its attributes, and turn it into the bytes of an iocb stream
//! (`Iocbs`). Not here: submitting, which takes a [`crate::Context`] or a
//! [`crate::Queue`], and anything about events ([`crate::reap`]).
//!
//! SPEC: sections 6 (requests) and 8 (attributes, as asked for).

#[allow(unsafe_code)]
mod buffer;
mod fd;
#[cfg_attr(not(feature = "raw"), allow(dead_code))] // part of it is for those of one's own
mod iocbs;
mod key;
#[allow(unsafe_code)]
mod op;
mod path;

pub use buffer::{AnyBuf, Buffer, DirectBuf, ReadBuf};
pub use fd::{Dir, SharedFd};
#[cfg(not(feature = "raw"))]
pub(crate) use iocbs::{IocbMut, Iocbs};
#[cfg(feature = "raw")]
pub use iocbs::{IocbMut, Iocbs};
pub use key::Key;
pub(crate) use op::Follows;
pub(crate) use op::kind;
pub use op::{
    After, CacheHint, EpollChange, Exit, Kind, OneBuffer, Op, Priority, Read, Received, Signal,
    SyncRange,
};
pub use path::PathArg;
