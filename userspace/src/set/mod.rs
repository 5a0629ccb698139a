//! A set of contexts: waiting for all of them, and taking the events of some
//! before those of others.
//!
//! Duty: deliver what the members have, by priority and with ageing, to any
//! number of waiting threads. It needs nothing of an implementation but a
//! descriptor that polls readable and a ring. Not here: submitting.
//!
//! | room | duty |
//! |---|---|
//! | `members` | the set, and what is called of it |
//! | `source` | what can be a member |
//! | `schedule` | whose event is next |
//! | `waiters` | which thread is told, and which watches |
//! | `watch` | the descriptors |
//!
//! SPEC: appendix E.

#[cfg(not(aio2_loom))]
mod members;
#[cfg(not(aio2_loom))]
mod schedule;
#[cfg(not(aio2_loom))]
mod source;
#[cfg(aio2_loom)]
pub mod waiters;
#[cfg(not(aio2_loom))]
mod waiters;
#[cfg(not(aio2_loom))]
mod watch;

#[cfg(not(aio2_loom))]
pub use members::{Active, Delivery, Member, Set, SetError};
#[cfg(not(aio2_loom))]
pub use source::Source;
#[cfg(all(not(aio2_loom), feature = "unstable"))]
pub use source::{Over, Sealed};
