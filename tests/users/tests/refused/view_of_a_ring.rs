//! The words of a ring of one's own: those of its read-only pages too.
use aio2::ring::{Memory, View};

fn main() {
    let geometry = aio2::ring::Geometry::new(4096, 64).unwrap();
    let (producer, _files) = aio2::shm::create(geometry).unwrap();
    let View { head, .. } = producer.memory().view();
    head.store(8, std::sync::atomic::Ordering::Relaxed);
}
