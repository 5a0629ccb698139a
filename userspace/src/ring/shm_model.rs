//! In place of shared memory, for the model checker: rings of this process.
//!
//! Their data are no words that it watches: the ring has models of its own, and
//! here it is the engine around it that is explored.

use crate::ring::word::Word;
use crate::ring::{Consumer, Geometry, Heap, Producer, split};
use crate::sync::process::{AtomicU64, Ordering};
use std::io;
use std::sync::Arc;

/// A word of the data.
pub struct DataWord(AtomicU64);

impl Word for DataWord {
    fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The memory of a ring, as its producer has it.
pub type ProducerMap = Arc<Heap<DataWord>>;
/// The memory of a ring, as its consumers have it.
pub type ConsumerMap = Arc<Heap<DataWord>>;

/// What stands for the files of a ring.
pub struct RingFiles(Consumer<ConsumerMap>);

/// Makes an empty ring.
///
/// # Errors
/// None.
pub fn create(geometry: Geometry) -> io::Result<(Producer<ProducerMap>, RingFiles)> {
    let heap = Heap::with_words(geometry, |value| DataWord(AtomicU64::new(value)));
    let (producer, consumer) = split(heap);
    Ok((producer, RingFiles(consumer)))
}

impl RingFiles {
    /// A consumer of the ring.
    ///
    /// # Errors
    /// None.
    pub fn map(&self) -> io::Result<Consumer<ConsumerMap>> {
        Ok(self.0.clone())
    }
}

/// Size of a page, in bytes.
pub(crate) const fn page_bytes() -> usize {
    4096
}
