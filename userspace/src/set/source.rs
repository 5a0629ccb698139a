//! What can be a member of a set.

use crate::backend::Backend;
use crate::error::ReapError;
use crate::queue::{Completion, Queue};
use crate::reap::{OwnedEvent, Reaper};
use crate::submit::Buffer;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Where the events of a member come from: a `Reaper` (feature `raw`) or a [`Queue`].
///
/// It is sealed: a set asks its members under a lock, and counts on what they
/// are over.
pub trait Source: AsFd + Sealed {
    /// What is delivered.
    type Item;

    /// How many are there, counted up to `wanted`; `wanted` also if no more
    /// can be held.
    ///
    /// # Errors
    /// If it is broken.
    fn available(&mut self, wanted: usize) -> Result<usize, ReapError>;

    /// Takes the first; none if there are none.
    ///
    /// # Errors
    /// If it is broken.
    fn take(&mut self) -> Result<Option<Self::Item>, ReapError>;
}

/// What only this crate implements, and has no name outside for that.
#[allow(unnameable_types)]
pub trait Sealed {
    /// What it is over, whose descriptor is watched. As long as this is held, no
    /// other one is at its address, nor has its descriptor's number.
    fn over(&self) -> Over<'_>;
}

/// A member's implementation, which only this crate can look at.
#[allow(unnameable_types)]
#[derive(Debug)]
pub struct Over<'a>(pub(super) &'a Arc<dyn Backend>);

impl Sealed for Reaper {
    fn over(&self) -> Over<'_> {
        Over(self.backend())
    }
}

impl<B: Buffer, T> Sealed for Queue<B, T> {
    fn over(&self) -> Over<'_> {
        Over(self.context().backend())
    }
}

impl Source for Reaper {
    type Item = OwnedEvent;

    fn available(&mut self, wanted: usize) -> Result<usize, ReapError> {
        self.gather(wanted)
    }

    fn take(&mut self) -> Result<Option<OwnedEvent>, ReapError> {
        Ok(self.next_event()?.map(|event| OwnedEvent::of(&event)))
    }
}

/// Completions only: what multishot requests send before is passed over.
impl<B: Buffer, T> Source for Queue<B, T> {
    type Item = Completion<B, T>;

    fn available(&mut self, wanted: usize) -> Result<usize, ReapError> {
        self.gather(wanted)
    }

    fn take(&mut self) -> Result<Option<Completion<B, T>>, ReapError> {
        self.pop()
    }
}
