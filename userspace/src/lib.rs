//! AIO2: asynchronous system calls with attributes.
#![deny(unsafe_code)]

pub mod error;
pub mod ring;
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod shm;
mod sync;
pub mod syscall;
