//! The C API: libaio2.
//!
//! Duty: the functions of `include/aio2/context.h`, which hand the library's
//! calls to C. What C does by itself, building iocbs and reaping the mapped
//! ring, is inline in the other headers, and compiled once for other languages
//! (`inline.c`). Each function returns a negative errno where it fails; none
//! lets a panic out.
//!
//! SPEC: section 4.
#![deny(unsafe_code)]

#[allow(unsafe_code)] // pointers of C
mod arguments;
#[allow(unsafe_code)] // symbols for C
mod exports;
mod handle;
#[allow(unsafe_code)] // the words of a ring
mod ring;
