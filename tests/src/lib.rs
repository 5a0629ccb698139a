//! The conformance suite: one function for each requirement of SPEC.md.
//!
//! The same functions run on every implementation, through the backend
//! interface of crate `aio2`.

pub mod spec;
pub mod suite;
