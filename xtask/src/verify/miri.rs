//! The parts without system calls, interpreted: undefined behaviour is found that
//! no run of the machine code shows.
//!
//! Miri comes with a nightly toolchain only, and is not everywhere.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// What is interpreted: the ABI's parsers, rings in plain memory, and the slots,
/// slabs, orders and schedules, which have no system call.
const RUNS: [&[&str]; 3] = [
    &["-p", "aio2-abi", "--lib"],
    &["-p", "aio2", "--features", "unstable", "--test", "ring"],
    &[
        "-p",
        "aio2",
        "--features",
        "unstable",
        "--lib",
        "--",
        "ring::",
        "slots::",
        "slab::",
        "order::",
        "schedule::",
        // Thousands of links and of lookups: not through after minutes.
        "--skip",
        "a_long_chain",
        "--skip",
        "at_the_cost_of_those",
    ],
];

/// A nightly toolchain's cargo, with its Miri.
fn miri() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "miri"]).env_remove("RUSTFLAGS");
    // Of the toolchain that runs this.
    for name in ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "CARGO"] {
        command.env_remove(name);
    }
    command
}

/// Interprets them where Miri is installed, and says so where it is not.
///
/// # Errors
/// If a test fails or does what is undefined.
pub fn run(root: &Path) -> Result<()> {
    match miri().arg("--version").output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            println!("SKIP miri: {}", reason.lines().next().unwrap_or("it is not installed"));
            return Ok(());
        }
        Err(error) => {
            println!("SKIP miri: rustup cannot be run: {error}");
            return Ok(());
        }
    }
    for args in RUNS {
        println!("==> cargo miri test {}", args.join(" "));
        let status = miri()
            .current_dir(root)
            .args(["test", "--target-dir", "target/miri"])
            .args(args)
            .status()
            .context("cargo miri")?;
        ensure!(status.success(), "cargo miri test {} fails", args.join(" "));
    }
    Ok(())
}
