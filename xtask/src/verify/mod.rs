//! `cargo xtask verify`: what checks the checks, and their numbers.
//!
//! Without an option it runs all that takes minutes, and prints one table of how much
//! each has covered, with the last figures of what takes longer. The options plant
//! bugs that must be found, run tests under sanitizers, and what is random by the
//! million.

mod coverage;
mod differential;
mod litmus;
mod long;
mod miri;
mod mutants;
mod numbers;
mod planted;
mod proofs;
mod record;
mod sanitize;

use anyhow::{Context, Result, ensure};

/// What to run; the table of numbers if nothing is named.
#[derive(clap::Args)]
pub struct Args {
    /// Plant the bugs of tests/planted one by one: each must be found
    #[arg(long)]
    planted: bool,
    /// Run the tests on each mutant of the ABI, the ring and the engine
    #[arg(long)]
    mutants: bool,
    /// Only the bug of this name, or mutants with it in theirs
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only the k-th of n parts of the mutants
    #[arg(long, requires = "mutants", value_name = "K/N", value_parser = shard)]
    shard: Option<(u32, u32)>,
    /// Mutants tested at once; 0: as many as there are processors
    #[arg(long, requires = "mutants", value_name = "COUNT", default_value = "2")]
    jobs: usize,
    /// Preemptions that the models are explored with: 3 takes minutes, 4 hours
    #[arg(long, value_name = "COUNT", default_value = "3")]
    bound: u32,
    /// Run the suite with AddressSanitizer
    #[arg(long)]
    asan: bool,
    /// Interpret the parts without system calls with Miri, where it is installed
    #[arg(long)]
    miri: bool,
    /// Run the stress program with ThreadSanitizer
    #[arg(long)]
    tsan: bool,
    /// Prove the kernel's parser and ring with Frama-C
    #[arg(long)]
    proofs: bool,
    /// Run the litmus tests of the pairs of barriers, and of their twins
    #[arg(long)]
    litmus: bool,
    /// Go through the states of the model: all with three requests, or so many with four
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "0")]
    states: Option<u64>,
    /// Print the requirements that tests cover, and the lines of code that they run
    #[arg(long)]
    coverage: bool,
    /// Run random requests against the model, until so many events were seen
    #[arg(long, value_name = "NUMBER")]
    events: Option<u64>,
    /// Let consumers in C, which are killed and stopped, take so many events
    #[arg(long, value_name = "NUMBER")]
    peers: Option<u64>,
    /// Let threads wait in all ways, until so many events were taken
    #[arg(long, value_name = "NUMBER")]
    waits: Option<u64>,
    /// Let system calls fail: each once with each errno, then at random for so long
    #[arg(long, value_name = "SECONDS")]
    faults: Option<u64>,
    /// Flip each byte that a peer can write, after each step of a scenario
    #[arg(long)]
    flips: bool,
    /// Make random syscalls plainly and through the engine, and compare
    #[arg(long)]
    differential: bool,
    /// For so long
    #[arg(long, requires = "differential", value_name = "NUMBER", default_value = "120")]
    seconds: u64,
    /// No more than about so many
    #[arg(long, requires = "differential", value_name = "NUMBER")]
    calls: Option<u64>,
    /// Repeat the choices of the run with this seed
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Runs what `args` names.
///
/// # Errors
/// If a check fails, or a bug is not found.
pub fn run(args: &Args) -> Result<()> {
    let root = crate::root();
    if args.asan {
        sanitize::address(root)?;
    }
    if args.tsan {
        sanitize::thread(root)?;
    }
    if args.miri {
        miri::run(root)?;
    }
    if args.proofs {
        println!("{}", proofs::run(root)?);
    }
    if args.litmus {
        litmus::run(root)?.iter().for_each(|row| println!("{row}"));
    }
    if let Some(states) = args.states {
        let some = (states > 0).then_some(states);
        if some.is_some() {
            long::STATES.keep(root, some, None)?;
        } else {
            long::STATES.run(root, None, None)?;
        }
    }
    if args.planted {
        let (found, planted) = planted::run(root, args.only.as_deref())?;
        println!("planted bugs: {found} of {planted} found");
    }
    if args.coverage {
        coverage::run(root)?;
    }
    if args.differential {
        differential::run(root, args.seconds, args.calls, args.seed)?;
    }
    if let Some(events) = args.events {
        long::STORM.keep(root, Some(events), args.seed)?;
    }
    if let Some(events) = args.peers {
        long::PEERS.keep(root, Some(events), args.seed)?;
    }
    if let Some(events) = args.waits {
        long::WAITS.keep(root, Some(events), args.seed)?;
    }
    if args.flips {
        long::FLIPS.keep(root, Some(1), None)?;
    }
    if let Some(seconds) = args.faults {
        long::FAULTS.keep(root, Some(seconds), args.seed)?;
    }
    if args.mutants {
        let (shard, only) = (args.shard.unwrap_or((0, 1)), args.only.clone());
        mutants::run(root, &mutants::Options { shard, only, jobs: args.jobs })?;
    }
    let others = args.asan || args.tsan || args.planted || args.mutants || args.events.is_some();
    let others = others || args.differential || args.coverage || args.states.is_some();
    let others = others || args.peers.is_some() || args.waits.is_some() || args.faults.is_some();
    let others = others || args.flips;
    if !(others || args.proofs || args.litmus || args.miri) {
        numbers::run(root, args.bound)?;
    }
    Ok(())
}

/// A part of a whole: `1/4`.
fn shard(text: &str) -> Result<(u32, u32)> {
    let (k, n) = text.split_once('/').context("K/N is wanted")?;
    let shard = (k.parse()?, n.parse()?);
    ensure!(shard.1 > 0, "N is at least 1");
    Ok(shard)
}

/// The test that a line of a test program says has failed, without the
/// requirement that some runners put behind it.
fn failed(line: &str) -> Option<&str> {
    let (test, _) = line.strip_prefix("test ")?.split_once(" ... FAILED")?;
    test.split_whitespace().next()
}
