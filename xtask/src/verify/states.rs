//! `cargo xtask verify --states [N]`: all states of the sequential model.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Goes through all states with three requests, or through so many with four.
///
/// # Errors
/// If a state breaks a requirement.
pub fn run(root: &Path, states: u64) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).env("AIO2_STATE_REQUESTS", if states == 0 { "3" } else { "4" });
    if states > 0 {
        command.env("AIO2_STATES", states.to_string());
    }
    let test = ["test", "--release", "-p", "aio2-conformance", "--test", "states"];
    let status = command.args(test).args(["--", "--nocapture"]).status();
    ensure!(status.context("cargo cannot be started")?.success(), "a state breaks a requirement");
    Ok(())
}
