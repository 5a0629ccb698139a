//! What several benchmarks need.
#![allow(dead_code, reason = "each of them uses a part")]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

/// How long a cache line takes to another processor and back, in ns.
pub fn round_trip_ns() -> f64 {
    const TRIPS: u64 = 100_000;
    let ball = AtomicU64::new(0);
    let wait_for = |value| {
        let mut spins = 0;
        while ball.load(Relaxed) != value {
            spins += 1;
            if spins % 10_000 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for trip in 0..TRIPS {
                wait_for(2 * trip + 1);
                ball.store(2 * trip + 2, Relaxed);
            }
        });
        let begun = Instant::now();
        for trip in 0..TRIPS {
            ball.store(2 * trip + 1, Relaxed);
            wait_for(2 * trip + 2);
        }
        begun.elapsed().as_nanos() as f64 / TRIPS as f64
    })
}

/// Lower quartile, median, upper quartile.
pub fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    quartiles(values)[1]
}
