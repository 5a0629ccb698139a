//! The bytes on the wire of AIO2: structures, constants, and parsers for
//! untrusted input.
//!
//! Duty: what `include/linux/aio2.h` says, in Rust, and the one place where a
//! byte stream becomes a request or an event. Not here: memory that is shared
//! (crate `aio2`, `shm` and `ring`), and running anything. No `unsafe`, no
//! atomics, no allocation.
//!
//! SPEC: sections 3 (conventions) to 8 (attributes).
#![no_std]
#![forbid(unsafe_code)]

pub mod attr;
pub mod errno;
pub mod event;
pub mod iocb;
pub mod nr;
pub mod op;
#[cfg(feature = "arbitrary")]
pub mod random;
pub mod ring;
pub mod setup;
pub mod wait;

/// Version of the ABI that this crate describes.
pub const VERSION: u32 = 1;

/// Rounds a length in bytes up to the next multiple of 8.
#[must_use]
pub const fn align8(len: usize) -> usize {
    len.wrapping_add(7) & !7
}
