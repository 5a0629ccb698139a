//! The words of the ring that a context goes on in.
fn main() {
    let context = aio2::Context::new().unwrap();
    let _ = context.consumer().last_memory();
}
