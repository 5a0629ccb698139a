//! An eventfd that somebody else owns.
fn main() {
    let _ = aio2::Context::builder().eventfd(3);
}
