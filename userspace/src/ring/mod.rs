//! A ring of events of any length, in memory that two sides share.
//!
//! One [`Producer`] writes; any number of [`Consumer`]s reap without locks, or
//! one [`ExclusiveConsumer`] reads in place. A [`Sink`] is a producer that
//! never loses an event. The ring moves words and knows nothing of AIO2 beyond
//! the first word of an event, its length and flags.
//!
//! | room | duty |
//! |---|---|
//! | `geometry` | the sizes of a ring |
//! | `word` | how a word of event data is accessed |
//! | `segments` | words that follow one another, also around the end of the data |
//! | `memory` | where a ring lies: its shared words |
//! | `heap` | one on the heap, for models |
//! | `shm` | one in files that processes share |
//! | `event` | the first word of an event |
//! | `error` | why nothing can be reaped |
//! | `status` | what a consumer sees and says beside events |
//! | `exclusive` | the consumer that is alone |
//! | `consumer` | the consumer that has others beside it |
//! | `producer` | the one that writes |
//! | `overflow` | what does not fit |
//! | `sink` | the producer with that |
//!
//! # Positions
//!
//! `head` and `tail` are free-running byte positions: a position's place in
//! the data is itself modulo the ring's size. Empty is `head == tail`; full is
//! a distance of the ring's size. `tail` has 32 bits. `head` has 64, of which
//! the producer computes with the low 32: a consumer that stalls before its
//! compare-and-swap would otherwise be fooled once 2^32 bytes have gone by
//! (SPEC: R-RING-11, R-RING-16).
//!
//! # Barriers
//!
//! | written | read | what it orders |
//! |---|---|---|
//! | `tail`, release (`Producer`) | acquire (both consumers) | events are written before they are seen |
//! | `head`, release (both consumers) | acquire (`Producer`) | events are read before they are overwritten |
//! | `head`, release (`Consumer`) | acquire (`Consumer`) | who sees a head sees a tail not behind it |
//! | `flags`, release (`Producer`) | acquire (both consumers) | who sees OVERFLOW clear sees what was flushed; who sees FROZEN sees the last tail |
//! | `tail` or `flags`, full barrier, `notify` | `notify`, full barrier, `flags`, `tail` | a sleeper is told, or sees for itself |
//! | `flags`, full barrier, `head` | `head`, full barrier, `flags` | who empties the ring sees the flag, or the producer sees the room |
//!
//! Full barriers are `fence(SeqCst)`; no access is SeqCst.
//!
//! # Growing
//!
//! A ring never changes its size. A sink that grows puts a larger one behind it:
//! events go there from then on, and the old one, frozen, is reaped to its end.
//! A consumer that finds it empty goes on with [`Consumer::advance`]. So no
//! event of the new ring is taken before the last one of the old ring is.
//!
//! SPEC: section 5 (ring).

mod consumer;
mod error;
mod event;
mod exclusive;
mod geometry;
#[cfg(any(aio2_loom, test, feature = "unstable"))]
mod heap;
mod memory;
mod overflow;
mod producer;
mod segments;
#[cfg_attr(aio2_loom, path = "shm_model.rs")]
#[allow(unsafe_code)]
pub mod shm;
mod sink;
mod status;
mod word;

#[cfg(any(aio2_loom, test, feature = "unstable"))]
use std::sync::Arc;

pub use consumer::Consumer;
pub use error::{Corruption, ReapError};
pub use event::{Events, header, len_of};
pub use exclusive::{Drain, EventRef, ExclusiveConsumer};
pub use geometry::{Geometry, GeometryError};
#[cfg(any(aio2_loom, test, feature = "unstable"))]
pub use heap::Heap;
#[cfg(not(feature = "unstable"))]
pub(crate) use memory::{Memory, View};
#[cfg(feature = "unstable")]
pub use memory::{Memory, View};
#[cfg(not(feature = "unstable"))]
use overflow::Overflow;
#[cfg(feature = "unstable")]
pub use overflow::Overflow;
pub use producer::{Producer, ProducerBatch};
pub use sink::{Sink, SinkBatch};
pub use status::Pending;
#[cfg(feature = "unstable")]
pub use word::Word;

/// Both ends of a ring in memory that is shared within the process.
#[cfg(any(aio2_loom, test, feature = "unstable"))]
pub fn split<M: Memory>(memory: M) -> (Producer<Arc<M>>, Consumer<Arc<M>>) {
    let memory = Arc::new(memory);
    (Producer::new(memory.clone()), Consumer::new(memory))
}

/// Tells all clones of `consumer` which ring comes next: behind its own, or
/// behind the last one of those that come next already. To be told before the
/// ring is frozen: see [`grow`].
#[cfg(feature = "unstable")]
pub fn append<M: Memory>(consumer: &Consumer<M>, next: Consumer<M>) {
    consumer.append(next);
}

/// As `Sink::grow`: goes on in the ring of `producer`, to which `link` leads
/// consumers.
///
/// # Errors
/// If the memory cannot be had; nothing changes then.
///
/// # Panics
/// If the new ring's longest event is shorter.
#[cfg(feature = "unstable")]
pub fn grow<M: Memory>(
    sink: &mut Sink<M>,
    producer: Producer<M>,
    link: impl FnOnce(),
) -> Result<(), std::collections::TryReserveError> {
    sink.grow(producer, link)
}
