//! What engine, sets and futures need of the host, once: the clock, and ways to
//! sleep and to wake a thread.
//!
//! | room | duty |
//! |---|---|
//! | `clock` | CLOCK_MONOTONIC in nanoseconds |
//! | `futex` | a word that one thread sleeps on |
//! | `notify` | an eventfd that is signalled |
//! | `process` | knowing a child process |
//! | `park` | one thread's sleep, by a futex or with a signal mask |
//! | `sleep` | a sleep that a descriptor or a waker ends |
//!
//! Who sleeps, and who is told, is not decided here.
//!
//! Calls go through rustix, but for getpid(2) past what the C library remembers
//! (`process`). In `engine/host` they do not where a request names a descriptor by a
//! number that may be none, nor for signals and robust mutexes, which rustix leaves
//! out. The model checker has words of its own in place of a futex.

pub(crate) mod clock;
#[cfg_attr(aio2_loom, path = "futex_model.rs")]
mod futex;
pub(crate) mod notify;
pub(crate) mod park;
pub(crate) mod process;
#[cfg(not(aio2_loom))]
pub(crate) mod sleep;
