//! libaio.so.1 over AIO2: programs for Linux AIO run unmodified.
//!
//! A context of libaio is no context of AIO2: there may be tens of thousands of
//! them. All of a process share one AIO2 context, a hub of `aio2_compat`. A libaio context
//! is memory: the ring that programs may read themselves, and slots for what is
//! in flight.
//!
//! | file | duty |
//! |---|---|
//! | `exports` | the calls, by name |
//! | `legacy` | structures of Linux AIO |
//! | `ring` | the ring that programs see |
//! | `context` | a context: ring, slots, accounting |
//! | `process` | which contexts there are; fork |
//! | `request` | from a struct iocb to an AIO2 request, with the original's checks |
//! | `submit`, `wait`, `end` | io_submit; io_getevents; io_cancel and io_destroy |
//! | `client` | what becomes of a completion |
//! | `memory`, `fd` | asking the kernel about addresses and descriptors |
//!
//! Where it deviates from the original, and why, is said in DEVIATIONS.md.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod client;
#[allow(unsafe_code)]
mod context;
#[allow(unsafe_code)]
mod end;
#[allow(unsafe_code)] // symbols for C
mod exports;
#[allow(unsafe_code)]
mod fd;
mod legacy;
#[allow(unsafe_code)]
mod memory;
#[allow(unsafe_code)] // sysconf(3)
mod process;
#[allow(unsafe_code)]
mod request;
#[allow(unsafe_code)] // mmap(2)
mod ring;
#[allow(unsafe_code)]
mod submit;
mod wait;
