//! Any syscall with any addresses.
fn main() {
    let _: aio2::Op<()> = aio2::Op::syscall(0, &[0, 0x1000, 8]);
}
