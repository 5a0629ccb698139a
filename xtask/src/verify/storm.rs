//! `cargo xtask verify --events N [--seed S]`: random requests against the
//! model, as many as one likes.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Runs a storm of so many events; the seed is printed.
///
/// # Errors
/// If the model finds something wrong.
pub fn run(root: &Path, events: u64, seed: Option<u64>) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).env("AIO2_EVENTS", events.to_string());
    if let Some(seed) = seed {
        command.env("AIO2_SEED", seed.to_string());
    }
    let test = ["test", "--release", "-p", "aio2-conformance", "--test", "storm"];
    let only = ["--", "--ignored", "--nocapture"];
    let status = command.args(test).args(only).status().context("cargo cannot be started")?;
    ensure!(status.success(), "the model has found something wrong");
    Ok(())
}
