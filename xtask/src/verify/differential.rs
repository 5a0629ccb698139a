//! `cargo xtask verify --differential`: random syscalls, plainly and through the
//! engine.

use super::record;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Compares for so many seconds, or so many calls; the seed is printed.
///
/// # Errors
/// If something is not the same.
pub fn run(root: &Path, seconds: u64, calls: Option<u64>, seed: Option<u64>) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).args(["run", "--release", "--quiet", "-p", "aio2-conformance"]);
    command.args(["--bin", "aio2-differ", "--", "--seconds", &seconds.to_string()]);
    for (name, number) in [("--calls", calls), ("--seed", seed)] {
        if let Some(number) = number {
            command.args([name, &number.to_string()]);
        }
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let mut last = String::new();
    for line in BufReader::new(child.stdout.take().context("a pipe")?).lines() {
        last = line?;
        println!("{last}");
    }
    ensure!(child.wait()?.success(), "a call is not what the plain one is");
    let figures = last.strip_prefix("aio2-differ: ").context("it tells no figures")?;
    record::keep(root, "differential", figures)
}
