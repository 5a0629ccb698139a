//! `cargo xtask bench`: what it costs, beside what users have, as ratios.
//!
//! | room | duty |
//! |---|---|
//! | `budget` | instructions of each path, held against a table |
//! | `costs` | the same while more and more requests are in flight |
//! | `cp` | the command's copy beside GNU cp |
//! | `page` | all peers and all work, as one page with plots |
//! | `side_by_side` | fio on the drop-ins and the originals |
//!
//! Each benchmark measures its baselines in the same run, in turns. They are
//! not tests: nothing passes or fails by speed. What does is the number of
//! instructions of a path ([`budget`]).

pub mod budget;
mod costs;
mod cp;
mod page;
mod side_by_side;

use crate::kernel;
use anyhow::{Result, bail};
use budget::Budget;
use costs::Costs;
use std::process::Command;

/// Which benchmarks to run.
#[derive(clap::Args)]
pub struct Args {
    /// The ring against other queues, the engine against the kernel's interfaces, both if none is named; an echo server against one with epoll and one with threads; an HTTP server against one with threads and one of hyper; fio on the drop-ins and the originals, on AIO2's engine and others; `aio2 cp` against `cp -a` and `cp -r`, which takes some minutes, and 7 GB on tmpfs and on the target directory's file system
    #[arg(value_parser = ["ring", "engine", "servers", "http", "fio", "cp"])]
    which: Vec<String>,
    /// Instead, count instructions in a guest with the kernel series
    #[arg(long, value_name = "CONFIG", num_args = 0..=1, default_missing_value = "perf")]
    kernel: Option<kernel::Config>,
    /// With --kernel, also write which functions take them: kernel-patch/PROFILE.md
    #[arg(long, requires = "kernel")]
    profile: bool,
    /// Instead, count the instructions of each path in user mode; with --kernel, those there
    #[arg(long, value_name = "WHAT", num_args = 0..=1, default_missing_value = "check")]
    budget: Option<Budget>,
    /// Instead, count the instructions of each call with more and more requests in flight
    #[arg(long, value_name = "WHAT", num_args = 0..=1, default_missing_value = "check")]
    costs: Option<Costs>,
    /// Measure all of it, for some nine minutes, and write the page with plots, userspace/benches/page; with --short to the target directory
    #[arg(long)]
    page: bool,
    /// Write the page anew from the results that are kept with it
    #[arg(long)]
    redraw: bool,
    /// Measure for a few seconds only: shows that it works, and no more
    #[arg(long)]
    short: bool,
    /// Print one JSON object a line instead of tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if let Some(config) = args.kernel {
        return {
            let budget = args.budget.unwrap_or(Budget::Check);
            kernel::bench(args.json, config, budget, args.profile)
        };
    }
    if let Some(budget) = args.budget {
        return budget::run(budget);
    }
    if let Some(costs) = args.costs {
        return costs::run(costs);
    }
    if args.page {
        return page::run(args.short);
    }
    if args.redraw {
        return page::redraw();
    }
    let mut benches: Vec<&str> = args.which.iter().map(String::as_str).collect();
    if benches.is_empty() {
        benches = vec!["ring", "engine"];
    }
    for bench in benches {
        if bench == "fio" {
            side_by_side::run(args.json)?;
            continue;
        }
        if bench == "cp" {
            cp::run(args.json, args.short)?;
            continue;
        }
        let mut cargo = Command::new(env!("CARGO"));
        // It leaves out inlining between crates.
        cargo.env("CARGO_INCREMENTAL", "0");
        cargo.args(["bench", "--quiet", "-p", "aio2", "--bench", bench]);
        cargo.arg("--").args(args.json.then_some("--json")).args(args.short.then_some("--short"));
        if !cargo.status()?.success() {
            bail!("benchmark {bench} failed; what it said stands above");
        }
    }
    Ok(())
}
