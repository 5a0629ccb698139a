//! `cargo xtask kernel`: the patch series, from nothing to a booted guest.
//!
//! Each step runs those before it: `test` fetches, applies, builds and boots.
//! What is slow is kept in a cache outside the repository, and redone when
//! what it was made from has changed. Nothing here knows the series beyond its
//! files in `kernel-patch/`.

mod boot;
mod build;
mod cache;
mod check;
mod compare;
mod config;
mod guest;
mod icount;
mod kunit;
mod log;
mod profile;
mod report;
mod selftest;
mod series;
mod sparse;
mod test;
mod tree;

use aio2_conformance::spec::Spec;
use anyhow::{Context, Result};
use cache::Cache;
pub use config::Config;
pub use icount::run as bench;
use series::Series;
use std::path::{Path, PathBuf};
use std::process::Command;
use xshell::Shell;

/// Which step of the kernel's way to take.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    step: Step,
    /// Where source, builds and stamps are kept [default: aio2 in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, global = true)]
    cache: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Step {
    /// Install the packages that are needed and unpack the source of kernel-patch/BASE
    Fetch,
    /// Apply the series of kernel-patch/ to the source, as git am does
    Apply,
    /// Build a bzImage of the patched source
    Build {
        /// Fragments of kernel-patch/configs to build with
        #[arg(default_value = "minimal")]
        configs: Vec<Config>,
    },
    /// Boot a built kernel in qemu, with an initrd, the console on this terminal
    Boot(boot::Args),
    /// Boot and run the conformance suite in the guest; fail on what it or the log says
    Test(test::Args),
    /// Check each patch: git am, checkpatch, sparse; that it builds and boots; KUnit
    Check(check::Args),
}

/// What every step works with.
pub struct Workshop {
    sh: Shell,
    /// The repository.
    root: &'static Path,
    cache: Cache,
}

impl Workshop {
    fn open(cache: Option<PathBuf>) -> Result<Self> {
        Ok(Workshop { sh: Shell::new()?, root: crate::root(), cache: Cache::open(cache)? })
    }

    /// The directory of the series.
    fn patches(&self) -> PathBuf {
        self.root.join("kernel-patch")
    }

    /// The series as it stands in the repository now.
    fn series(&self) -> Result<Series> {
        Series::read(&self.patches())
    }

    /// SPEC.md, as data.
    fn spec(&self) -> Result<Spec> {
        let path = self.root.join("SPEC.md");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Spec::parse(&text))
    }

    /// Source with the series applied, and from it a bzImage.
    fn kernel(&self, config: Config) -> Result<PathBuf> {
        let series = self.series()?;
        let applied = tree::apply(self, &series)?;
        build::image(self, &applied, config)
    }
}

/// A command that is told to end when this process does: a make or a machine
/// that went on alone would work in a cache that is no longer locked.
fn child(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", program]);
    command
}

pub fn run(args: Args) -> Result<()> {
    let shop = Workshop::open(args.cache)?;
    match args.step {
        Step::Fetch => tree::fetch(&shop, &shop.series()?.base).map(drop),
        Step::Apply => tree::apply(&shop, &shop.series()?).map(drop),
        Step::Build { configs } => {
            for config in configs {
                println!("{}", shop.kernel(config)?.display());
            }
            Ok(())
        }
        Step::Boot(args) => boot::run(&shop, &args),
        Step::Test(args) => test::run(&shop, &args),
        Step::Check(args) => check::run(&shop, &args),
    }
}
