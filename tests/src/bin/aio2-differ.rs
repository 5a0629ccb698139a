//! Random syscalls, plainly and through an implementation:
//!
//!     aio2-differ [--backend engine|kernel] [--seconds N] [--calls N] [--seed S]
//!
//! Prints the seed, what was called how often, and the first difference. Exit
//! status 1 if there is one.

use aio2_conformance::backends::{self, InProcess};
use aio2_conformance::differential;
use aio2_conformance::env::Factory;
use aio2_conformance::{mounts, random};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut options = (120, u64::MAX, random::seed());
    let mut factory: Box<dyn Factory> = Box::new(InProcess);
    let args: Vec<String> = std::env::args().skip(1).collect();
    for pair in args.chunks(2) {
        let [name, value] = pair else { return usage() };
        if name == "--backend" {
            factory = match (value.as_str(), backends::kernel()) {
                ("engine", _) => Box::new(InProcess),
                ("kernel", Ok(kernel)) => kernel,
                ("kernel", Err(why)) => {
                    eprintln!("aio2-differ: {}", why.0);
                    return ExitCode::FAILURE;
                }
                _ => return usage(),
            };
            continue;
        }
        let Ok(value) = value.parse::<u64>() else { return usage() };
        match name.as_str() {
            "--seconds" => options.0 = value,
            "--calls" => options.1 = value,
            "--seed" => options.2 = value,
            _ => return usage(),
        }
    }
    let (seconds, calls, seed) = options;
    println!("aio2-differ: --backend {} --seconds {seconds} --seed {seed}", factory.name());
    if let Err(why) = mounts::hide() {
        println!("SKIP mounts: {}", why.0);
    }
    // Queues and semaphores of its own, which go with it.
    // SAFETY: takes a number; there are no other threads yet.
    if unsafe { libc::unshare(libc::CLONE_NEWIPC) } < 0 {
        println!("SKIP queues of its own: {}", std::io::Error::last_os_error());
    }
    let dir = std::env::temp_dir().join(format!("aio2-differ-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory can be made");
    let report = differential::run(&*factory, &dir, seed, Duration::from_secs(seconds), calls);
    let _ = std::fs::remove_dir_all(&dir);
    for (name, [good, bad]) in &report.by_name {
        println!("  {name}: {good} succeeded, {bad} failed");
    }
    for (way, calls) in &report.by_way {
        println!("  {way}: {calls}");
    }
    for difference in &report.differences {
        println!("{difference}");
    }
    println!(
        "aio2-differ: seed={seed} syscalls={} calls={} explained={} waited={} arrived={} \
         storms={} differences={}",
        report.by_name.len(),
        report.calls,
        report.explained,
        report.waited,
        report.arrived,
        report.storms,
        report.differences.len()
    );
    ExitCode::from(u8::from(!report.differences.is_empty()))
}

fn usage() -> ExitCode {
    eprintln!("usage: aio2-differ [--backend engine|kernel] [--seconds N] [--calls N] [--seed S]");
    ExitCode::from(2)
}
