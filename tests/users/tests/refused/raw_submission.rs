//! Iocbs with any addresses.
fn main() {
    let context = aio2::Context::new().unwrap();
    let _ = context.submit_raw(&mut [0; 32]);
}
