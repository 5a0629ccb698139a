//! What several benchmarks need.
#![allow(dead_code, reason = "each of them uses a part")]

use std::error::Error;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

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

/// What a server is asked in a second: a client, which is this program with `--client`,
/// the address and the number of `connections`, and says how often it has asked in
/// `time`, while `server` serves a listener.
pub fn turn<E: ToString>(
    connections: usize,
    time: Duration,
    server: impl FnOnce(TcpListener) -> Result<(), E>,
) -> Result<f64, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?.to_string();
    let client = Command::new(std::env::current_exe()?)
        .args(["--client", &to, &connections.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    server(listener).map_err(|why| why.to_string())?;
    let said = client.wait_with_output()?;
    let asked: f64 = String::from_utf8(said.stdout)?.trim().parse()?;
    Ok(asked / time.as_secs_f64())
}
