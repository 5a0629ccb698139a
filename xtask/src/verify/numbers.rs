//! The table of numbers: how much the checks have covered.
//!
//! Each number is taken from what a run prints, or from a file that a run has
//! made; nothing is counted by hand.

use super::planted;
use crate::fuzz::{SPEEDS, Speed};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a test program, models with so many preemptions, and returns what it
/// prints.
fn cargo(root: &Path, args: &[&str], bound: Option<u32>) -> Result<String> {
    println!("==> cargo test {}", args.join(" "));
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).arg("test").args(args).args(["--", "--nocapture"]);
    if let Some(bound) = bound {
        command.env("LOOM_MAX_PREEMPTIONS", bound.to_string());
        command.env("RUSTFLAGS", "--cfg aio2_loom -C debug-assertions");
    }
    let out = command.output().with_context(|| format!("cargo test {}", args.join(" ")))?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "cargo test {} fails:\n{said}{errors}", args.join(" "));
    Ok(said)
}

/// What is committed of the last run of `cargo xtask verify --mutants`.
#[derive(serde::Deserialize)]
struct Mutants {
    /// All that are listed, no Rust among them.
    mutants: usize,
    /// Those of them that the tests were run on.
    run: usize,
    caught: usize,
    /// A test hangs that does not without the mutant.
    timeouts: usize,
    /// No test sees them; each is explained there.
    survivors: usize,
}

/// Runs what has numbers, the models with up to `bound` preemptions, and prints
/// the table.
///
/// # Errors
/// If a run fails.
pub fn run(root: &Path, bound: u32) -> Result<()> {
    let loom = ["-p", "aio2", "--release", "--test", "loom", "--target-dir", "target/loom"];
    let said = cargo(root, &loom, Some(bound))?;
    said.lines().filter(|line| line.contains(" executions, ")).for_each(|line| println!("{line}"));
    let mutants: Mutants = serde_json::from_slice(&fs::read(root.join("tests/mutants.json"))?)?;
    let (models, executions) = models(&said);
    let suite = bodies(&cargo(root, &["-p", "aio2-conformance", "--test", "fuzz"], None)?);
    let c = bodies(&cargo(root, &["-p", "aio2-ccore", "--test", "fuzz"], None)?);
    let traced = cargo(root, &["-p", "aio2-conformance", "--test", "traceability"], None)?;
    let required = traced.lines().find(|line| line.starts_with("engine: "));
    let (killed, sites) = sites(&fs::read_to_string(root.join("userspace/tests/ORDERINGS.md"))?);
    let (found, planted) = planted::last(root)?;
    ensure!(models > 0 && suite.0 > 0 && c.0 > 0 && sites > 0, "a run has printed no numbers");
    let row = |what: &str, value: String| println!("{what:<36} {value}");
    println!();
    row("loom models", format!("{models}, up to {bound} preemptions"));
    row("loom executions", executions.to_string());
    row("orderings and rules that models need", format!("{killed} of {sites}"));
    row("fuzz bodies", format!("{}, {} of them against C", suite.0 + c.0, c.0));
    row("fuzz executions as plain tests", (suite.1 + c.1).to_string());
    row("executions a second (fuzz)", speeds(root));
    let Mutants { mutants, run, caught, timeouts, survivors } = mutants;
    let percent = (caught + timeouts) as f64 / run as f64 * 100.0;
    let tried = format!("{caught} caught, {timeouts} hang, {survivors} live");
    row("mutants (--mutants)", format!("{tried}: {percent:.1} % of {run} run, of {mutants}"));
    let traces = root.join("tests/traces").read_dir()?.count();
    row("traces that failed once", traces.to_string());
    row("requirements", required.context("the traceability test tells none")?.to_owned());
    row("planted bugs (--planted)", format!("{found} of {planted} found"));
    Ok(())
}

/// Executions a second of each target, in the last run of `cargo xtask fuzz`.
fn speeds(root: &Path) -> String {
    let kept = fs::read(root.join(SPEEDS)).ok();
    let speeds: Option<Vec<Speed>> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(speeds) = speeds else { return "not run here: cargo xtask fuzz".to_owned() };
    let each = speeds.iter().map(|speed| format!("{} {}", speed.target, speed.rate));
    each.collect::<Vec<_>>().join(", ")
}

/// Models, and executions of them all: `name: 12 executions, 0.1 s`.
fn models(said: &str) -> (usize, u64) {
    let count = |line: &str| line.split_once(" executions, ")?.0.rsplit_once(": ")?.1.parse().ok();
    let counts: Vec<u64> = said.lines().filter_map(count).collect();
    (counts.len(), counts.iter().sum())
}

/// Bodies, and inputs they got: `name: 2 saved, 300 random inputs from …`.
fn bodies(said: &str) -> (usize, u64) {
    let count = |line: &str| {
        let (saved, random) = line.split_once(" random inputs ")?.0.split_once(" saved, ")?;
        let saved: u64 = saved.rsplit_once(' ')?.1.parse().ok()?;
        Some(saved + random.parse::<u64>().ok()?)
    };
    let counts: Vec<u64> = said.lines().filter_map(count).collect();
    (counts.len(), counts.iter().sum())
}

/// Rows of the ordering matrix whose change some model fails on, and all rows.
fn sites(table: &str) -> (usize, usize) {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: Vec<_> = rows.filter(|(what, _)| !["weakened", "broken"].contains(what)).collect();
    (rows.iter().filter(|(_, models)| !models.starts_with("none")).count(), rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_what_runs_print() {
        let said =
            "doorbell, overflow: 12 executions, 0.1 s\nx\ntest a ... once: 30 executions, 2 s";
        assert_eq!(models(said), (2, 42));
        let said = "ring_ops: 2 saved, 300 random inputs from AIO2_SEED=7\n.c: 1 saved, 5 random inputs from";
        assert_eq!(bodies(said), (2, 308));
        let table = "| weakened | models that fail |\n|---|---|\n| a | x, y |\n| b | none: why |\n";
        assert_eq!(sites(table), (1, 2));
    }
}
