//! What the drop-ins for other interfaces have in common.
//!
//! | file | duty |
//! |---|---|
//! | `process` | what a process has of its own; fork |
//! | `hub` | the AIO2 context of the process: completions, and who waits for them |
//! | `park` | a thread's sleep |
//! | `fd` | asking about descriptors |
//! | `recorded` | what is recorded of a request |
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod fd;
#[allow(unsafe_code)]
pub mod hub;
#[allow(unsafe_code)]
pub mod park;
#[allow(unsafe_code)] // pthread_atfork(3)
pub mod process;
pub mod recorded;
