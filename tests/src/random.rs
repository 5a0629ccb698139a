//! Random numbers that can be had again: the seed is printed, and taken from
//! the environment (`AIO2_SEED`) if it is there.

/// A generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Seeded by `AIO2_SEED`, or by the clock; says by what.
    ///
    /// # Panics
    /// If `AIO2_SEED` is no number.
    #[must_use]
    pub fn from_environment(purpose: &str) -> Self {
        let seed = seed();
        println!("{purpose}: AIO2_SEED={seed}");
        Random(seed)
    }

    /// Any 64 bits.
    #[allow(clippy::should_implement_trait)] // it never ends
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// This many random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// The seed to use: that of the environment, or a new one.
///
/// # Panics
/// If `AIO2_SEED` is no number.
#[must_use]
pub fn seed() -> u64 {
    match std::env::var("AIO2_SEED") {
        Ok(seed) => seed.parse().expect("AIO2_SEED is a number"),
        Err(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos() as u64),
    }
}

/// How often to try: `AIO2_CASES`, or `default`.
///
/// # Panics
/// If `AIO2_CASES` is no number.
#[must_use]
pub fn cases(default: u64) -> u64 {
    std::env::var("AIO2_CASES")
        .map_or(default, |cases| cases.parse().expect("AIO2_CASES is a number"))
}
