//! The ring of a context as one of one's own.
fn main() {
    let context = aio2::Context::new().unwrap();
    let _ = context.consumer().ring;
}
