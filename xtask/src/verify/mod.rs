//! `cargo xtask verify`: what checks the checks, and their numbers.
//!
//! Without an option it runs the models, the fuzz bodies and the traceability
//! test, and prints how much each has covered. The options plant bugs that must
//! be found, run tests under sanitizers, and random requests by the million.

mod numbers;
mod planted;
mod sanitize;
mod storm;

use anyhow::{Context, Result};
use std::path::Path;

/// What to run; the table of numbers if nothing is named.
#[derive(clap::Args)]
pub struct Args {
    /// Plant the bugs of tests/planted one by one: each must be found
    #[arg(long)]
    planted: bool,
    /// Only the bug of this name
    #[arg(long, requires = "planted", value_name = "NAME")]
    only: Option<String>,
    /// Run the suite with AddressSanitizer
    #[arg(long)]
    asan: bool,
    /// Run the stress program with ThreadSanitizer
    #[arg(long)]
    tsan: bool,
    /// Run random requests against the model, until so many events were seen
    #[arg(long, value_name = "NUMBER")]
    events: Option<u64>,
    /// Repeat the choices of the run with this seed
    #[arg(long, requires = "events", value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Runs what `args` names.
///
/// # Errors
/// If a check fails, or a bug is not found.
pub fn run(args: &Args) -> Result<()> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the project")?;
    if args.asan {
        sanitize::address(root)?;
    }
    if args.tsan {
        sanitize::thread(root)?;
    }
    if args.planted {
        let (found, planted) = planted::run(root, args.only.as_deref())?;
        println!("planted bugs: {found} of {planted} found");
    }
    if let Some(events) = args.events {
        storm::run(root, events, args.seed)?;
    }
    if !(args.asan || args.tsan || args.planted || args.events.is_some()) {
        numbers::run(root)?;
    }
    Ok(())
}
