//! The memory of a ring: a second producer of it.
fn main() {
    let geometry = aio2::ring::Geometry::new(4096, 64).unwrap();
    let (producer, _files) = aio2::shm::create(geometry).unwrap();
    let _ = producer.memory();
}
