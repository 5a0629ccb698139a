//! What the engine asks of the host, beside the operations themselves.
//!
//! | room | duty |
//! |---|---|
//! | `device` | facilities that take transfers for a device: io_uring, Linux AIO |
//! | `file` | questions about a descriptor |
//! | `identity` | as whom a thread acts on files |
//! | `interrupt` | the signal that wakes a worker from its syscall |
//! | `life` | whether a thread has ended |
//! | `seat` | what a worker runs, and whether it is to stop |
//! | `signal` | the signal of a completion |
//! | `thread` | creating threads, and their end |

#[cfg_attr(aio2_loom, path = "device_model.rs")]
pub(crate) mod device;
pub(crate) mod file;
pub(crate) mod identity;
pub(crate) mod interrupt;
pub(crate) mod life;
#[cfg(not(aio2_loom))]
pub(crate) mod seat;
#[cfg(aio2_loom)]
pub mod seat;
pub(crate) mod signal;
pub(crate) mod thread;
