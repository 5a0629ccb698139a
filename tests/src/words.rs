//! The words of a context's ring, for who looks at them, and for who breaks them
//! on purpose.

use aio2::shm::ConsumerMap;
use aio2::{Consumer, ring};

/// What only a test may do with a context's consumer.
pub trait Words {
    /// The memory of its ring.
    fn memory(&self) -> &ConsumerMap;

    /// The memory of the ring that events go to: its own, or the last one of
    /// those that have replaced it.
    fn last_memory(&self) -> &ConsumerMap;
}

fn ring(consumer: &Consumer) -> &ring::Consumer<ConsumerMap> {
    // SAFETY: a test that writes to the words is about what becomes of that.
    unsafe { consumer.ring() }.expect("the ring of this process")
}

impl Words for Consumer {
    fn memory(&self) -> &ConsumerMap {
        ring(self).memory()
    }

    fn last_memory(&self) -> &ConsumerMap {
        ring(self).last_memory()
    }
}
