//! AIO2: asynchronous system calls with attributes.
#![deny(unsafe_code)]

pub mod error;
pub mod syscall;
