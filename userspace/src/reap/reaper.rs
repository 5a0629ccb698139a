//! A reaper: claims events into its own buffer, batch by batch.

use super::Event;
use crate::backend::{Backend, Timeout, Wait};
use crate::consumer::Consumer;
use crate::error::{Errno, ReapError, WaitError};
use crate::ring::{self, Pending};
use aio2_abi::event::{self, LEN_MAX};
use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Room for claimed events, in words: a batch of some hundred short ones.
const BUFFER_WORDS: usize = 2048;
const _: () = assert!(BUFFER_WORDS * 8 >= LEN_MAX);

/// Takes events from a context's ring.
///
/// Any number of reapers can work on a context, in any threads; each event goes
/// to one of them. Events that a reaper has claimed and not handed out are lost
/// when it is dropped.
pub struct Reaper {
    backend: Arc<dyn Backend>,
    consumer: Consumer,
    buffer: Box<[u64]>,
    /// Claimed and not handed out: words `next..end` of the buffer.
    next: usize,
    end: usize,
    /// How many events those are.
    left: usize,
    /// Something in the ring was no event.
    malformed: Cell<Option<event::Malformed>>,
}

impl Reaper {
    /// Of the context that it reaps.
    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        let consumer = backend.consumer();
        // An implementation of a later version may have longer events.
        let words = BUFFER_WORDS.max(consumer.event_max() as usize / 8);
        Reaper {
            backend,
            consumer,
            buffer: vec![0; words].into(),
            next: 0,
            end: 0,
            left: 0,
            malformed: Cell::new(None),
        }
    }

    /// The events that are there, as many as fit into the reaper's buffer, the
    /// oldest first; none if there are none.
    ///
    /// # Errors
    /// [`ReapError`]; it stays. [`ReapError::Forked`] in a child after fork: what
    /// was claimed is the parent's to hand out.
    #[inline]
    pub fn batch(&mut self) -> Result<ReapBatch<'_>, ReapError> {
        self.fill()?;
        let words = &self.buffer[self.next..self.end];
        (self.next, self.left) = (self.end, 0);
        Ok(ReapBatch { words, malformed: &self.malformed })
    }

    /// Waits until at least `min_events` are in the ring, then claims a batch.
    /// When the time is over, the batch holds what there is.
    ///
    /// # Errors
    /// [`WaitError`]; [`WaitError::Interrupted`] by a signal.
    pub fn wait(&mut self, min_events: u32, timeout: Timeout) -> Result<ReapBatch<'_>, WaitError> {
        if self.next == self.end {
            self.sleep(min_events, timeout)?;
        }
        Ok(self.batch()?)
    }

    /// How many events are claimed and not handed out, after claiming what is
    /// there if there are none.
    pub(crate) fn ready(&mut self) -> Result<usize, ReapError> {
        self.fill()?;
        Ok(self.left)
    }

    /// The next event, claimed before or now; none if there is none.
    #[inline]
    pub(crate) fn next_event(&mut self) -> Result<Option<Event<'_>>, ReapError> {
        self.fill()?;
        if self.next == self.end {
            return Ok(None);
        }
        match Event::parse(self.buffer[self.next..self.end].as_bytes()) {
            Ok((event, _)) => {
                self.next += event.bytes().len() / 8;
                self.left -= 1;
                Ok(Some(event))
            }
            Err(reason) => {
                self.malformed.set(Some(reason));
                Err(ReapError::Malformed(reason))
            }
        }
    }

    /// How many events are claimed and not handed out, after claiming more
    /// until there are `wanted` or the ring is empty; `wanted` if the buffer
    /// can hold no more.
    pub(crate) fn gather(&mut self, wanted: usize) -> Result<usize, ReapError> {
        self.fill()?;
        let mut flushed = false;
        while self.left < wanted {
            let left = self.left;
            if self.claim_more()? {
                return Ok(wanted);
            }
            if self.left > left {
                flushed = false;
            } else if !self.has_more(&mut flushed)? {
                break;
            }
        }
        Ok(self.left)
    }

    /// Claims events behind those that were claimed; true if the buffer is
    /// full.
    fn claim_more(&mut self) -> Result<bool, ReapError> {
        self.buffer.copy_within(self.next..self.end, 0);
        (self.next, self.end) = (0, self.end - self.next);
        match self.consumer.reap(&mut self.buffer[self.end..], usize::MAX) {
            Ok(events) => {
                (self.end, self.left) = (self.end + events.words().len(), self.left + events.len());
                Ok(false)
            }
            Err(ring::ReapError::Corrupt(corruption)) => Err(ReapError::Corrupt(corruption)),
            Err(ring::ReapError::Forked) => Err(ReapError::Forked),
            Err(_) => Ok(true),
        }
    }

    /// Sleeps until so many events are in the ring, or the time is over.
    pub(crate) fn sleep(&self, min_events: u32, timeout: Timeout) -> Result<(), WaitError> {
        let wait = Wait { timeout, ..Wait::events(min_events) };
        // SAFETY: there are no iocbs.
        match unsafe { self.backend.wait(&wait, &mut [], None) } {
            Ok(_) | Err(Errno(libc::ETIME)) => Ok(()),
            Err(Errno(libc::EINTR)) => Err(WaitError::Interrupted),
            Err(errno) => Err(WaitError::Refused(errno)),
        }
    }

    /// # Errors
    /// [`ReapError::Forked`] in a child after fork.
    #[inline]
    pub(crate) fn in_its_process(&self) -> Result<(), ReapError> {
        if self.consumer.is_here() { Ok(()) } else { Err(ReapError::Forked) }
    }

    /// Claims what is in the ring, if nothing that was claimed is left.
    #[inline]
    fn fill(&mut self) -> Result<(), ReapError> {
        if self.next < self.end {
            return self.in_its_process();
        }
        if let Some(reason) = self.malformed.get() {
            self.in_its_process()?;
            return Err(ReapError::Malformed(reason));
        }
        // Which says so itself in a child after fork.
        self.claim()?;
        if self.left == 0 { self.look_further() } else { Ok(()) }
    }

    /// Claims what is not in the ring that was found empty.
    #[inline(never)]
    fn look_further(&mut self) -> Result<(), ReapError> {
        let mut flushed = false;
        while self.left == 0 && self.has_more(&mut flushed)? {
            self.claim()?;
        }
        Ok(())
    }

    /// Whether there may be more now than in the ring that was found empty:
    /// from the overflow list (R-OVF-5), of which it is asked once, or in the
    /// ring that replaced it (R-GROW-2).
    fn has_more(&mut self, flushed: &mut bool) -> Result<bool, ReapError> {
        match self.consumer.pending() {
            Pending::Overflow if !*flushed => {
                *flushed = true;
                self.flush().map(|()| true)
            }
            Pending::Frozen if self.consumer.advance() => Ok(true),
            Pending::Frozen => Err(ReapError::Frozen),
            _ => Ok(false),
        }
    }

    /// Claims as many events as fit into the buffer, in place of the old ones.
    #[inline]
    fn claim(&mut self) -> Result<(), ReapError> {
        (self.next, self.end, self.left) = (0, 0, 0);
        match self.consumer.reap(&mut self.buffer, usize::MAX) {
            Ok(events) => {
                (self.end, self.left) = (events.words().len(), events.len());
                Ok(())
            }
            Err(ring::ReapError::Corrupt(corruption)) => Err(ReapError::Corrupt(corruption)),
            Err(ring::ReapError::Forked) => Err(ReapError::Forked),
            // The buffer holds the longest event; an error of a later version.
            Err(_) => Err(ReapError::Overflow(Errno(libc::ENOBUFS))),
        }
    }

    /// Has events moved from the overflow list to the ring (R-OVF-5).
    #[cold]
    fn flush(&self) -> Result<(), ReapError> {
        // SAFETY: there are no iocbs.
        match unsafe { self.backend.wait(&Wait::events(0), &mut [], None) } {
            Ok(_) | Err(Errno(libc::ETIME | libc::EINTR)) => Ok(()),
            Err(errno) => Err(ReapError::Overflow(errno)),
        }
    }
}

impl AsFd for Reaper {
    /// That of its context.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.backend.as_fd()
    }
}

/// Events that a [`Reaper`] has claimed: an iterator over them.
///
/// It ends at bytes that are no event, which the reaper's next call reports.
#[must_use = "the events are out of the ring already"]
pub struct ReapBatch<'r> {
    words: &'r [u64],
    malformed: &'r Cell<Option<event::Malformed>>,
}

impl<'r> Iterator for ReapBatch<'r> {
    type Item = Event<'r>;

    #[inline]
    fn next(&mut self) -> Option<Event<'r>> {
        if self.words.is_empty() {
            return None;
        }
        match Event::parse(self.words.as_bytes()) {
            Ok((event, _)) => {
                self.words = &self.words[event.bytes().len() / 8..];
                Some(event)
            }
            Err(reason) => {
                self.malformed.set(Some(reason));
                self.words = &[];
                None
            }
        }
    }
}

impl fmt::Debug for Reaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper")
            .field("consumer", &self.consumer)
            .field("claimed", &self.left)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReapBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReapBatch").field("words", &self.words.len()).finish_non_exhaustive()
    }
}
