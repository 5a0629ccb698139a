//! Events: taking them from the ring, and what they say.
//!
//! Duty: a `Reaper` claims events in batches into its own buffer; an
//! [`Event`] gives its result and the returns of its attributes by type. Not
//! here: what a request was ([`crate::submit`]) and whose it is
//! ([`crate::Queue`]).
//!
//! SPEC: sections 5.5 (reaping), 5.6 (overflow), 7 (events), 8 (returns).

mod owned;
#[cfg_attr(not(feature = "raw"), allow(dead_code))] // part of it is for iocbs of one's own
mod reaper;
mod returns;

#[cfg(not(feature = "raw"))]
pub(crate) use owned::OwnedEvent;
#[cfg(feature = "raw")]
pub use owned::OwnedEvent;
#[cfg(not(feature = "raw"))]
pub(crate) use reaper::Reaper;
#[cfg(feature = "raw")]
pub use reaper::{ReapBatch, Reaper};
pub use returns::{Attribute, CacheBytes, Checksum, Event, ExecutionPath, Place, Timing};
