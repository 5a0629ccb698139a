//! Another context's ring as the successor of this one's: its events would end
//! requests of this one that still run.
fn main() {
    let [one, other] = [(); 2].map(|()| aio2::Context::new().unwrap());
    one.consumer().append(other.consumer());
}
