//! Events: taking them from the ring, and what they say.
//!
//! Duty: a [`Reaper`] claims events in batches into its own buffer; an
//! [`Event`] gives its result and the returns of its attributes by type. Not
//! here: what a request was ([`crate::submit`]) and whose it is
//! ([`crate::Queue`]).
//!
//! SPEC: sections 5.5 (reaping), 5.6 (overflow), 7 (events), 8 (returns).

mod owned;
mod reaper;
mod returns;

pub use owned::OwnedEvent;
pub use reaper::{Batch, Reaper};
pub use returns::{Attribute, CacheBytes, Checksum, Event, Path, Place, Timing};
