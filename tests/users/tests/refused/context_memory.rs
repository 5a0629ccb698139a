//! The words of a context's ring.
fn main() {
    let context = aio2::Context::new().unwrap();
    let _ = context.consumer().memory();
}
