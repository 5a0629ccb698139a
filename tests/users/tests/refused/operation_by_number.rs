//! A descriptor that somebody else owns.
fn main() {
    let _ = aio2::Op::read(3, vec![0; 8]);
}
