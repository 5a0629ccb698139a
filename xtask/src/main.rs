//! The front door of the project: `cargo xtask test | verify | bench | fuzz | install | package | kernel`.
//!
//! Each subcommand is a room or a file of its own. What a subcommand needs from the
//! system it installs (as root, from Debian), or says what is missing.
//!
//! | room | duty |
//! |---|---|
//! | `test`, `fuzz` | the checks, and the fuzz targets |
//! | `verify` | checks of checks: planted bugs, mutants, sanitizers, proofs, coverage |
//! | `bench` | what it costs: ratios, instructions, the page |
//! | `install` | files where they belong, and packages |
//! | `kernel` | the series: patched, built, booted, tested, counted |
//! | `packages`, `jobs` | what several of them need: tools of the system, so many things at once |

mod bench;
mod fuzz;
mod install;
mod jobs;
mod kernel;
mod packages;
mod test;
mod verify;

use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "AIO2: test, measure, fuzz, and the kernel series")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every check: format, lints, tests, models; print counts
    Test(test::Args),
    /// Check the checks: numbers, planted bugs, sanitizers
    Verify(verify::Args),
    /// Measure ring and engine beside their peers, as ratios
    Bench(bench::Args),
    /// Run the fuzz targets for a while
    Fuzz(fuzz::Args),
    /// Build and install the library for C, its headers, and the command
    Install(install::Args),
    /// Make Debian packages of what install installs
    Package(install::package::Args),
    /// Fetch, patch, build and boot the kernel, and test it
    Kernel(kernel::Args),
}

/// The project: xtask lies in it.
fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Verify(args) => verify::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(args),
        Task::Install(args) => install::run(&args),
        Task::Package(args) => install::package::run(&args),
        Task::Kernel(args) => kernel::run(args),
    };
    // Without the backtrace that anyhow adds: it would bury the last words of a stage.
    done.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}
