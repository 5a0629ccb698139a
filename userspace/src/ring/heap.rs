//! A ring in plain memory: for models, tests and benchmarks.

use std::fmt;

use super::geometry::Geometry;
use super::memory::{Memory, View};
use super::word::Word;
use crate::sync::{AtomicU32, AtomicU64};

/// A ring in plain memory of this process.
///
/// Nothing keeps a consumer from writing to it: it is for threads that trust
/// each other, for tests, and for the model checker.
pub struct Heap<W = AtomicU64> {
    head: AtomicU64,
    notify: AtomicU32,
    tail: AtomicU32,
    flags: AtomicU32,
    overflowed: AtomicU64,
    bad_heads: AtomicU64,
    words: Box<[W]>,
    geometry: Geometry,
}

impl Heap {
    /// An empty ring whose words are atomics.
    pub fn new(geometry: Geometry) -> Self {
        Self::with_words(geometry, AtomicU64::new)
    }
}

impl<W: Word> Heap<W> {
    /// An empty ring whose words are made by `word` from their first value.
    pub fn with_words(geometry: Geometry, word: impl Fn(u64) -> W) -> Self {
        Self {
            head: AtomicU64::new(geometry.start()),
            notify: AtomicU32::new(0),
            tail: AtomicU32::new(geometry.start() as u32),
            flags: AtomicU32::new(0),
            overflowed: AtomicU64::new(0),
            bad_heads: AtomicU64::new(0),
            words: (0..geometry.ring_bytes() / 8).map(|_| word(0)).collect(),
            geometry,
        }
    }
}

impl<W: Word> Memory for Heap<W> {
    type Word = W;

    #[inline]
    fn view(&self) -> View<'_, W> {
        View {
            head: &self.head,
            notify: &self.notify,
            tail: &self.tail,
            flags: &self.flags,
            overflowed: &self.overflowed,
            bad_heads: &self.bad_heads,
            words: &self.words,
            ring_bytes: self.geometry.ring_bytes(),
            event_max: self.geometry.event_max(),
        }
    }
}

impl<W> fmt::Debug for Heap<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}
