//! A reaper over a ring of one's own, whose events one writes oneself.
fn main() {
    let geometry = aio2::ring::Geometry::new(4096, 64).unwrap();
    let (_producer, files) = aio2::shm::create(geometry).unwrap();
    let mut queue: aio2::Queue<Vec<u8>, ()> = aio2::Queue::new(aio2::Context::new().unwrap());
    queue.reaper = aio2::Reaper::new(files.map().unwrap());
}
