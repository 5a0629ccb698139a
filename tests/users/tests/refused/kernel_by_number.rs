//! An eventfd that somebody else owns.
fn main() {
    let setup = aio2_abi::setup::Setup { eventfd: 3, ..Default::default() };
    let _ = aio2::kernel::Kernel::new(&setup);
}
