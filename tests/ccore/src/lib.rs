//! The ring and the parser of the kernel, beside those of Rust.
//!
//! `fs/aio2/ring.c` and `fs/aio2/parse.c` of the kernel series are taken out
//! of the patches as they are (see `build.rs`) and given the same input as
//! `aio2::ring` and `aio2_abi::iocb`. Duty: to find where the two differ. What
//! is right is said elsewhere; here both must be it.
//!
//! | room | duty |
//! |---|---|
//! | [`core`] | the C functions, called from Rust, and their loads |
//! | [`iocbs`] | both parsers on a stream |
//! | [`ring`] | both rings, byte for byte after each operation |
//! | [`trace`] | parser and ring on a trace, as the model has it |
//!
//! SPEC: sections 5 and 6.2.

pub mod core;
pub mod iocbs;
pub mod ring;
pub mod trace;

/// The body of a fuzz target.
pub type Body = fn(&[u8]);

/// The targets, by name.
pub const TARGETS: &[(&str, Body)] =
    &[("c_iocb_stream", iocbs::compare), ("c_ring_ops", ring::compare)];
