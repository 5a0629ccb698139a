//! `cargo xtask bench --page`: measures all there is beside its peers, and makes one
//! page of it, with plots.
//!
//! | file | what it is |
//! |---|---|
//! | `results.json` | the times of all rounds, and where they were taken |
//! | `*.svg` | a plot for each kind of work |
//! | `README.md` | the goals, the plots, and how to repeat them |
//!
//! | room | duty |
//! |---|---|
//! | `results` | what the benchmarks print, and ratios within a round |
//! | `plot` | a picture of one kind of work |
//! | `text` | the page |
//! | `tree` | the command's copy of a tree beside `cp -r` |

mod plot;
mod results;
mod text;
mod tree;

use anyhow::{Context, Result, ensure};
use results::{Measured, Results};
pub use results::{Spread, ratio};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the page is, in the project.
const PAGE: &str = "userspace/benches/page";

/// Measures, about nine minutes long, and writes the page; if `short`, for a few
/// seconds, which only shows that it works, and to the target directory.
pub fn run(short: bool) -> Result<()> {
    let to = if short { scratch()?.join("page") } else { crate::root().join(PAGE) };
    let mut results = Results::here()?;
    for bench in ["engine", "ring"] {
        let program = crate::bench::budget::build(bench)?;
        let mut command = Command::new(program);
        command.arg("--json").args(short.then_some("--short")).stderr(Stdio::inherit());
        eprintln!("{bench} ...");
        let output = command.output()?;
        ensure!(output.status.success(), "benchmark {bench} failed; it said so above");
        for line in String::from_utf8(output.stdout)?.lines() {
            let measured: Measured = serde_json::from_str(line).with_context(|| line.to_owned())?;
            results.measured.push(measured);
        }
    }
    eprintln!("copies of a tree ...");
    let (files, rounds) = if short { (500, 3) } else { (20_000, 7) };
    results.measured.extend(tree::compare(&scratch()?, files, rounds)?);
    results.end()?;
    write(&to, &results)
}

/// Writes the page of `results` to a directory.
fn write(to: &Path, results: &Results) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::write(to.join("results.json"), results.to_json()?)?;
    let plots = plot::all(results)?;
    for (name, svg) in &plots {
        fs::write(to.join(format!("{name}.svg")), svg)?;
    }
    let names: Vec<&str> = plots.iter().map(|(name, _)| name.as_str()).collect();
    fs::write(to.join("README.md"), text::page(results, &names))?;
    println!("{}", to.join("README.md").display());
    Ok(())
}

/// The page anew from what was measured before.
pub fn redraw() -> Result<()> {
    let to = crate::root().join(PAGE);
    let kept = fs::read_to_string(to.join("results.json")).context("no results are kept")?;
    write(&to, &serde_json::from_str(&kept)?)
}

/// A directory for what is made on the way, on the file system that is measured.
pub fn scratch() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let scratch = target.unwrap_or_else(|| crate::root().join("target")).join("tmp");
    fs::create_dir_all(&scratch)?;
    Ok(scratch)
}
