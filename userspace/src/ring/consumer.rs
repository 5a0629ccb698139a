//! The multi-consumer reaper: copies events out, then claims them.
//!
//! A consumer copies first and compare-and-swaps `head` after, so that a copy
//! that was torn by the producer is one whose swap fails. What it believed
//! before the swap, errors included, is worth nothing: a consumer that lost
//! reads recycled bytes. Waiting is not its business; [`Consumer::pending`] and
//! [`Consumer::notify_on`] tell whether there is anything to wait for.
//!
//! SPEC: sections 5.5 (reaping), 5.6 (overflow), 5.7 (notification).

use core::fmt;
use std::sync::{Arc, OnceLock};

use super::error::{Corruption, ReapError};
use super::event::{Events, len_of, valid_len};
use super::exclusive::ExclusiveConsumer;
use super::memory::{Memory, View, acquire};
use super::segments;
use super::status::{self, Pending, used};
use super::word::Word;
use crate::sync::Ordering;

/// A reaper of a ring, which may be cloned and used by any number of threads.
pub struct Consumer<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    memory: M,
    event_max: u32,
    broken: OnceLock<Corruption>,
    /// Of the ring that takes this one's place. Set before FROZEN is.
    successor: OnceLock<Consumer<M>>,
}

impl<M> Clone for Consumer<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<M: Memory> Consumer<M> {
    /// A consumer of the ring in `memory`, beside any others there.
    pub fn new(memory: M) -> Self {
        let (broken, successor) = (OnceLock::new(), OnceLock::new());
        let event_max = memory.view().event_max;
        Self { shared: Arc::new(Shared { memory, event_max, broken, successor }) }
    }

    /// Turns the only handle into one that reads in place.
    ///
    /// Consumers over other mappings of the same ring cannot be seen from
    /// here; there must be none. If there are, events are lost or repeated,
    /// but nothing worse.
    ///
    /// # Errors
    ///
    /// Gives the handle back if it has clones.
    pub fn into_exclusive(self) -> Result<ExclusiveConsumer<M>, Self> {
        match Arc::try_unwrap(self.shared) {
            Ok(Shared { memory, event_max, broken, .. }) => {
                Ok(ExclusiveConsumer::new(memory, event_max, broken.into_inner()))
            }
            Err(shared) => Err(Self { shared }),
        }
    }

    /// The memory of the ring.
    #[cfg(feature = "unstable")]
    pub fn memory(&self) -> &M {
        &self.shared.memory
    }

    /// Longest event, in bytes; a buffer of this size is never too small.
    pub fn event_max(&self) -> u32 {
        self.shared.event_max
    }

    /// Takes the oldest events, at most `max_events` and as many as fit into
    /// `buffer`, with a single swap. None if the ring is empty.
    ///
    /// Lock-free: it tries again only if another consumer took something. The
    /// contents of `buffer` behind the events are unspecified.
    ///
    /// # Errors
    ///
    /// [`ReapError::BufferTooSmall`] if not even the oldest event fits; it
    /// stays in the ring. [`ReapError::Corrupt`] if a peer broke the ring; all
    /// clones fail with the same error from then on. [`ReapError::Forked`] in a
    /// child after fork.
    pub fn reap<'b>(
        &self,
        buffer: &'b mut [u64],
        max_events: usize,
    ) -> Result<Events<'b>, ReapError> {
        if !self.is_here() {
            return Err(ReapError::Forked);
        }
        if let Some(broken) = self.shared.broken.get() {
            return Err(ReapError::Corrupt(*broken));
        }
        let (head, taken) = self.take_bare(buffer, max_events);
        if let Some(Copied { words, events, .. }) = taken {
            return Ok(Events::new(&buffer[..words], events, head));
        }
        let reaped = self.reap_from(head, buffer, max_events);
        if let Err(ReapError::Corrupt(broken)) = &reaped {
            // Whoever was first is right. SPEC: R-HOST-3
            let _ = self.shared.broken.set(*broken);
        }
        reaped
    }

    /// As [`Consumer::reap`], without a memory: what was found corrupt before is looked
    /// at again, and is right once the application has put a right head in place.
    ///
    /// SPEC: section 12.2, of `io_getevents2`
    pub(crate) fn reap_anew<'b>(
        &self,
        buffer: &'b mut [u64],
        max_events: usize,
    ) -> Result<Events<'b>, ReapError> {
        if !self.is_here() {
            return Err(ReapError::Forked);
        }
        let (head, taken) = self.take_bare(buffer, max_events);
        if let Some(Copied { words, events, .. }) = taken {
            return Ok(Events::new(&buffer[..words], events, head));
        }
        self.reap_from(head, buffer, max_events)
    }

    /// Takes all that is there, if it is of the frequent kind; from which head on.
    #[inline(always)]
    fn take_bare(&self, buffer: &mut [u64], max_events: usize) -> (u64, Option<Copied>) {
        let view = self.shared.memory.view();
        // Acquire: whoever set this head had seen a tail not behind it, so the
        // tail loaded next is not behind it either. Pairs with the release of
        // `claim`, and with that of `Drain::drop`.
        // No model fails without it: a tail that is behind is no event for the
        // short way, and its fence orders the look of the general one.
        let head = view.head.load(Ordering::Acquire);
        // Mostly there are events, all of them bare, and nobody else takes them.
        if let Ok(copied @ Copied { words: words @ 1.., left: 0, .. }) =
            copy_bare::<M>(&view, head, buffer, max_events)
            && claim(&view, head, head.wrapping_add(words as u64 * 8) & M::HEAD_MASK).is_ok()
        {
            return (head, Some(copied));
        }
        (head, None)
    }

    /// The general way, from a head on that was there.
    #[inline(never)]
    fn reap_from<'b>(
        &self,
        mut head: u64,
        buffer: &'b mut [u64],
        max_events: usize,
    ) -> Result<Events<'b>, ReapError> {
        let view = self.shared.memory.view();
        loop {
            let copied = copy::<M>(&view, head, buffer, max_events);
            let bytes = match copied {
                Ok(Copied { words: 0, .. }) => {
                    // If it has not moved, `tail` was loaded meanwhile, and is
                    // no stranger to it. Acquire: as above.
                    let now = view.head.load(Ordering::Acquire);
                    if now == head {
                        return Ok(Events::new(&[], 0, head));
                    }
                    head = now;
                    continue;
                }
                Ok(Copied { words, .. }) => words as u64 * 8,
                // A swap with its own value: only if it succeeds was the error
                // seen in the ring, and not in recycled bytes. SPEC: R-RING-13.
                Err(_) => 0,
            };
            let next = head.wrapping_add(bytes) & M::HEAD_MASK;
            match (claim(&view, head, next), copied) {
                (Err(other), _) => head = other,
                (Ok(_), Ok(Copied { words, events, .. })) => {
                    return Ok(Events::new(&buffer[..words], events, head));
                }
                (Ok(_), Err(error)) => return Err(error),
            }
        }
    }

    /// What there is, for a consumer that found the ring empty.
    ///
    /// If this says [`Pending::Nothing`], then whatever comes later comes
    /// through the ring, or sets the OVERFLOW flag after this: nothing is left
    /// behind on the overflow list. Costs a full barrier.
    pub fn pending(&self) -> Pending {
        status::pending(&self.shared.memory)
    }

    /// Whether the ring is this process's: it is not a child after fork.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.shared.memory.is_here()
    }

    /// Goes on with the rings that replaced this one, if it has been replaced
    /// and nothing is left in it; true if so. Not before, so that the order of
    /// events is kept.
    ///
    /// Such a ring stays [`Pending::Frozen`] if whoever replaced it did not
    /// know of this handle or one that it is a clone of.
    ///
    /// SPEC: R-GROW-2
    pub fn advance(&mut self) -> bool {
        let mut moved = false;
        while let Some(next) = self.shared.successor.get() {
            if self.pending() != Pending::Frozen {
                break;
            }
            *self = next.clone();
            moved = true;
        }
        moved
    }

    /// Tells all clones which ring comes next: behind this one, or behind the
    /// last one of those that come next already. To be told before FROZEN is
    /// set: see [`super::Sink::grow`].
    pub(crate) fn append(&self, next: Self) {
        // One thread appends, so that this is the last one still.
        let _ = self.last().shared.successor.set(next);
    }

    /// The memory of the ring that events go to: this one, or the last one of
    /// those that have replaced it.
    #[cfg(feature = "unstable")]
    pub fn last_memory(&self) -> &M {
        self.last().memory()
    }

    fn last(&self) -> &Self {
        let mut ring = self;
        while let Some(next) = ring.shared.successor.get() {
            ring = next;
        }
        ring
    }

    /// Whether nothing will come any more, as in a child after fork.
    ///
    /// What was published before can still be reaped.
    pub fn is_dead(&self) -> bool {
        status::is_dead(&self.shared.memory)
    }

    /// Asks the producer not to tell of events.
    ///
    /// It may still do so once, for an event that it was publishing.
    pub fn notify_off(&self) {
        status::notify_off(&self.shared.memory);
    }

    /// Asks the producer to tell of events; true if there is something already,
    /// of which it will not tell.
    ///
    /// If false, the next event or overflow is told, so that the caller may go
    /// to sleep.
    #[must_use = "true: do not sleep"]
    pub fn notify_on(&self) -> bool {
        status::notify_on(&self.shared.memory)
    }
}

/// Moves `head` on, if it still stands where it stood.
#[inline]
fn claim<W>(view: &View<'_, W>, head: u64, next: u64) -> Result<u64, u64> {
    // Release: the bytes are read before the producer may write them again.
    // Pairs with the acquire of `head` in the producer (kernel:
    // aio2_ring_head()) and, as the acquire on failure, with the first load of
    // `head`. SPEC: R-RING-10, R-RING-11, R-RING-12.
    view.head.compare_exchange(head, next, Ordering::Release, Ordering::Acquire)
}

#[derive(Clone, Copy)]
struct Copied {
    words: usize,
    events: usize,
    /// Bytes that are left in the ring.
    left: u32,
}

/// Words of an event that is nothing but its fixed part, as most are.
const BARE: usize = 3;

/// Copies such events from `head` on, up to the first other one or the end of
/// anything, for which the general way is. What it returns is not true unless
/// `head` turns out not to have moved. SPEC: R-RING-12, R-RING-15.
#[inline(always)] // both ways, which otherwise share it as a call
fn copy_bare<M: Memory>(
    view: &View<'_, M::Word>,
    head: u64,
    buffer: &mut [u64],
    max_events: usize,
) -> Result<Copied, ReapError> {
    let tail = acquire(view.tail);
    let left = used::<M>(head, tail, view.ring_bytes)?;
    let mut copied = Copied { words: 0, events: 0, left };
    if view.event_max < BARE as u32 * 8 {
        return Ok(copied);
    }
    let words = view.segments(head as u32, left as usize / 8).first();
    // The only one, as for who has one request at a time: without a loop.
    if left == BARE as u32 * 8
        && max_events > 0
        && let Some([first, user_data, res]) = words.first_chunk()
        && let Some(event) = buffer.first_chunk_mut::<BARE>()
    {
        // Loaded once, as below. SPEC: R-RING-14.
        let first = first.load();
        if len_of(first) == left {
            *event = [first, user_data.load(), res.load()];
            copied = Copied { words: BARE, events: 1, left: 0 };
        }
        return Ok(copied);
    }
    let (from, to) = (words.as_chunks::<BARE>().0, buffer.as_chunks_mut().0);
    let room = to.len().min(max_events);
    for ([first, user_data, res], event) in from.iter().zip(&mut to[..room]) {
        // Loaded once, as below. SPEC: R-RING-14.
        let first = first.load();
        if len_of(first) != BARE as u32 * 8 {
            break;
        }
        *event = [first, user_data.load(), res.load()];
        copied.events += 1;
    }
    copied.words = copied.events * BARE;
    copied.left = left - copied.words as u32 * 8;
    Ok(copied)
}

/// Goes on with events of any length behind those that were copied, up to the end of
/// memory or what is no event, or has no room: both are met again by the general way.
#[inline]
fn copy_sized<M: Memory>(
    view: &View<'_, M::Word>,
    head: u64,
    buffer: &mut [u64],
    max_events: usize,
    copied: &mut Copied,
) {
    let position = (head as u32).wrapping_add(copied.words as u32 * 8);
    let all = view.segments(position, copied.left as usize / 8).first();
    let (mut words, mut room) = (all, &mut buffer[copied.words..]);
    while copied.events < max_events {
        // Loaded once, as below. SPEC: R-RING-14.
        let Some(first) = words.first().map(Word::load) else { break };
        let Some(len) = valid_len(first, view.event_max) else { break };
        let len = len as usize / 8;
        let Some((from, behind)) = words.split_at_checked(len) else { break };
        let Some((event, rest)) = room.split_at_mut_checked(len) else { break };
        segments::load(from, event);
        event[0] = first;
        (words, room) = (behind, rest);
        copied.events += 1;
    }
    let done = all.len() - words.len();
    copied.words += done;
    copied.left -= done as u32 * 8;
}

/// Copies whole events from `head` on; as [`copy_bare`], of any kind.
fn copy<M: Memory>(
    view: &View<'_, M::Word>,
    head: u64,
    buffer: &mut [u64],
    max_events: usize,
) -> Result<Copied, ReapError> {
    let mut copied = copy_bare::<M>(view, head, buffer, max_events)?;
    copy_sized::<M>(view, head, buffer, max_events, &mut copied);
    let mut position = (head as u32).wrapping_add(copied.words as u32 * 8);
    while copied.left > 0 && copied.events < max_events {
        // Loaded once: what is checked is what goes into the buffer.
        // SPEC: R-RING-14.
        let first = view.word(position).load();
        let error = match valid_len(first, copied.left.min(view.event_max)) {
            // Told if it is the first one, which stands at `head`.
            None => ReapError::Corrupt(Corruption::BadLength { position: head, header: first }),
            Some(len) => match buffer.get_mut(copied.words..copied.words + len as usize / 8) {
                None => ReapError::BufferTooSmall { event_bytes: len },
                Some(event) => {
                    view.segments(position, event.len()).load_into(event);
                    event[0] = first;
                    position = position.wrapping_add(len);
                    copied.left -= len;
                    copied.words += event.len();
                    copied.events += 1;
                    continue;
                }
            },
        };
        // Those before it are good; it will be met again.
        if copied.events > 0 {
            break;
        }
        return Err(error);
    }
    Ok(copied)
}

impl<M> fmt::Debug for Consumer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("event_max", &self.shared.event_max)
            .field("broken", &self.shared.broken.get())
            .finish_non_exhaustive()
    }
}
