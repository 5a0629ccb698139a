//! AIO2: asynchronous system calls with attributes.
#![deny(unsafe_code)]

pub mod error;
pub mod ring;
mod sync;
pub mod syscall;
