//! Arguments as registers hold them.

use std::os::fd::{AsFd, AsRawFd};

/// A signed argument, as a register holds it.
pub(super) const fn signed(value: i32) -> u64 {
    value as i64 as u64
}

pub(super) fn raw_fd(fd: &impl AsFd) -> u64 {
    signed(fd.as_fd().as_raw_fd())
}

pub(super) fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}
