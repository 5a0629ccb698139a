//! What all threads of a context share, under its one lock.
//!
//! | room | duty |
//! |---|---|
//! | `context` | all of it, and the lock |
//! | `slots` | which requests are in flight, and the queue for workers |
//! | `order` | groups, and who waits for whom |
//! | `waiters` | who sleeps for what, and who is told |
//! | `workers` | which there are, and what each runs |
//! | `timers` | what has its time |
//! | `files` | who waits for which file, and who comes next |
//! | `polls` | the files that are watched |
//! | `lead` | who waits for them |
//! | `device` | what is with a device |
//! | `deferred` | what is to be done once the lock is released |

pub(crate) mod context;
pub(crate) mod deferred;
pub(crate) mod device;
#[cfg(not(aio2_loom))]
pub(crate) mod files;
#[cfg(aio2_loom)]
pub mod files;
#[cfg(not(aio2_loom))]
pub(crate) mod lead;
#[cfg(aio2_loom)]
pub mod lead;
pub(crate) mod order;
pub(crate) mod polls;
pub(crate) mod slots;
pub(crate) mod timers;
pub(crate) mod waiters;
pub(crate) mod workers;
