//! A file that is no ring, and can shrink.
use std::os::fd::AsFd;

fn main() {
    let file = std::fs::File::open("/etc/passwd").unwrap();
    let context = aio2::Context::new().unwrap();
    let _ = aio2::shm::map_context(file.as_fd(), context.setup());
}
