//! `cargo xtask kernel test`: the suite and the series' selftests in the guest,
//! and what the log says.

use super::boot::{Machine, Output, tail};
use super::build::{Build, IMAGE};
use super::compare::Comparison;
use super::config::Config;
use super::guest::{self, Program};
use super::report::Report;
use super::{Workshop, log, selftest, tree};
use crate::packages::{self, Unavailable};
use aio2_guest::FILES;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use xshell::{Shell, cmd};

/// What to test, and how.
#[derive(clap::Args)]
pub struct Args {
    /// Configurations of the kernel, built if need be
    #[arg(default_value = "minimal")]
    configs: Vec<Config>,
    /// Seconds after which the machine is ended [default: by the configuration]
    #[arg(long)]
    timeout: Option<u64>,
    /// Write this line to the kernel's log: the test must fail if it tells of trouble
    #[arg(long, value_name = "LINE")]
    plant: Option<String>,
    /// Print SKIP with the reason, and succeed, if packages are missing and cannot be installed
    #[arg(long)]
    or_skip: bool,
    /// Print the console's log too
    #[arg(long)]
    verbose: bool,
    /// Run these parts only
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Seconds that `hostile` goes on, and `differential` on each implementation
    /// [default: 20]
    #[arg(long, default_value_t = 20, hide_default_value = true)]
    seconds: u64,
    /// What is random in these [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Arguments for the suite
    #[arg(last = true)]
    suite: Vec<String>,
}

/// What is run in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The conformance suite, on the engine and on the kernel
    Suite,
    /// What can be asked in the guest only: filters, places, what is left
    Checks,
    /// Of the checks only each allowed call by each answer of a filter
    Matrix,
    /// Random calls, plainly and by each implementation, until something is not the
    /// same; only if it is asked for
    Differential,
    /// A user who does what he may to AIO2, and another one beside him, who measures
    Hostile,
    /// The series' own selftests
    Selftests,
}

impl Args {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() && part != Part::Differential || self.only.contains(&part)
    }
}

/// The conformance suite.
const SUITE: Program = Program { package: "aio2-conformance", binary: "aio2-conform" };
/// Random calls, plainly and through an implementation.
const DIFFER: Program = Program { package: "aio2-conformance", binary: "aio2-differ" };
/// What can be asked in the guest only.
const CHECKS: Program = Program { package: "aio2-guest", binary: "checks" };
/// A hostile user, and another one beside him.
const HOSTILE: Program = Program { package: "aio2-guest", binary: "hostile" };
/// Completions of the null block devices come from a timer's interrupt, late
/// enough to be waited for; one has the file system, both remember.
pub const APPEND: &str = "null_blk.nr_devices=2 null_blk.memory_backed=1 null_blk.irqmode=2 \
                      null_blk.completion_nsec=10000000";

/// The races of others: lines of two functions and the reason.
const RACES: &str = "kcsan.explained";

/// The engine runs in the guest too, so that a difference is the kernel's.
const BACKENDS: [&str; 2] = ["engine", "kernel"];

pub fn run(shop: &Workshop, args: &Args) -> Result<()> {
    match test_all(shop, args) {
        Err(error) if args.or_skip && error.is::<Unavailable>() => {
            println!("SKIP kernel: {error:#}");
            Ok(())
        }
        result => result,
    }
}

/// Tests all configurations.
fn test_all(shop: &Workshop, args: &Args) -> Result<()> {
    packages::for_guest(&shop.sh)?;
    let mut failed = Vec::new();
    for &config in &args.configs {
        let wrong = test(shop, args, config)?;
        for line in &wrong {
            println!("{config}: {line}");
        }
        println!("{config}: {}", if wrong.is_empty() { "ok" } else { "FAILED" });
        if !wrong.is_empty() {
            failed.push(config.name());
        }
    }
    if !failed.is_empty() {
        bail!("the suite failed on {}", failed.join(", "));
    }
    Ok(())
}

/// Runs the suite on a kernel; returns what was wrong.
fn test(shop: &Workshop, args: &Args, config: Config) -> Result<Vec<String>> {
    let kernel = shop.kernel(config)?;
    let dir = tempfile::tempdir()?;
    let mut commands = Vec::new();
    if args.has(Part::Suite) {
        commands.extend(BACKENDS.map(|backend| suite_command(config, backend, &args.suite)));
    }
    if args.has(Part::Checks) {
        commands.push(checks_command(config));
    } else if args.has(Part::Matrix) {
        commands.push(format!("{} matrix::", checks_command(config)));
    }
    if args.has(Part::Differential) {
        commands.extend(BACKENDS.map(|backend| differential_command(backend, args)));
    }
    if args.has(Part::Hostile) {
        commands.push(hostile_command(config, args));
    }
    let mut selftests = Vec::new();
    if args.has(Part::Selftests) {
        let (source, build) = (tree::source_dir(shop), shop.cache.path(&format!("build-{config}")));
        let build = Build { source: &source, dir: &build, cache: &shop.cache };
        selftests = selftest::build(&build, &dir.path().join("selftests"))?;
    }
    commands.extend(selftest::commands(&selftests));
    commands.extend(args.plant.as_ref().map(|line| format!("{} {line}", aio2_guest::PLANT)));
    let disk = guest::file_system(dir.path())?;
    let machine = Machine {
        kernel,
        initrd: guest::initrd(
            shop,
            dir.path(),
            &[SUITE, CHECKS, DIFFER, HOSTILE],
            &selftests,
            &commands,
            &disk,
        )?,
        append: format!("{APPEND} {}", config.append()),
        counted: false,
        plugin: None,
        timeout: args.timeout.map_or_else(
            || config.patience() + Duration::from_secs(2 * args.seconds),
            Duration::from_secs,
        ),
    };
    let start = Instant::now();
    let output = machine.run(dir.path())?;
    let report = Report::parse(&output.report);
    for ran in &report.commands {
        println!("{config}: {}\n{}", ran.command, ran.output);
    }
    if args.verbose {
        println!("{}", output.console);
    }
    println!("{config}: {} s in the guest", start.elapsed().as_secs());

    let mut wrong = complaints(shop, &machine, &output, &report)?;
    if args.has(Part::Suite) {
        wrong.extend(compare(shop, args, config, &report)?);
    }
    Ok(wrong)
}

/// What the log and the report of a machine tell of.
pub fn complaints(
    shop: &Workshop,
    machine: &Machine,
    output: &Output,
    report: &Report,
) -> Result<Vec<String>> {
    let path = shop.patches().join(RACES);
    let races = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let races = log::Races::parse(&races).with_context(|| path.display().to_string())?;
    let races = races.with_ours(functions(machine)?.into_iter());
    for (one, other) in log::races_of_others(&output.console, &races) {
        println!("a race of others: {one} / {other}");
    }
    let faults = log::faults(&output.console, &races);
    let mut wrong: Vec<String> = faults.iter().map(ToString::to_string).collect();
    wrong.extend(report.complaints());
    if output.timed_out {
        wrong.push(format!("not off after {} s", machine.timeout.as_secs()));
    }
    if !report.done {
        wrong.push(format!("the console's end:\n{}", tail(&output.console, 40)));
    }
    Ok(wrong)
}

/// The functions of AIO2, and of the workers that it uses, in the kernel that ran.
fn functions(machine: &Machine) -> Result<Vec<String>> {
    let image = machine.kernel.display().to_string();
    let dir = image.strip_suffix(IMAGE).with_context(|| format!("{image} is no {IMAGE}"))?;
    let shell = Shell::new()?;
    shell.change_dir(dir);
    // Not there yet after the first patches.
    let own = shell.read_dir("fs/aio2").unwrap_or_default().into_iter();
    let own = own.filter(|file| file.extension().is_some_and(|e| e == "o"));
    let objects: Vec<PathBuf> = own.chain([PathBuf::from("io_uring/io-wq.o")]).collect();
    let said = cmd!(shell, "nm --defined-only {objects...}").quiet().read()?;
    let function = |line: &str| {
        let mut words = line.split(' ').skip(1);
        words.next().filter(|kind| kind.eq_ignore_ascii_case("t"))?;
        words.next().map(String::from)
    };
    Ok(said.lines().filter_map(function).collect())
}

/// Prints the suite's two runs side by side; returns what was wrong with them.
fn compare(shop: &Workshop, args: &Args, config: Config, report: &Report) -> Result<Vec<String>> {
    let [engine, kernel] =
        BACKENDS.map(|backend| report.output_of(&suite_command(config, backend, &args.suite)));
    let checks = report.output_of(&checks_command(config));
    let comparison = Comparison::parse(engine, kernel, checks);
    let spec = shop.spec()?;
    println!("{config}: the suite on the engine and on the kernel\n{}", comparison.table(&spec));
    let mut wrong = comparison.complaints(&spec);
    for (backend, said) in BACKENDS.into_iter().zip([engine, kernel]) {
        if passed(said, backend) == 0 {
            wrong.push(format!("no test of the suite passed on the {backend}"));
        }
    }
    Ok(wrong)
}

fn checks_command(config: Config) -> String {
    format!("AIO2_SLOWNESS={} /bin/{}", config.slowness(), CHECKS.binary)
}

fn hostile_command(config: Config, args: &Args) -> String {
    let (slowness, program) = (config.slowness(), HOSTILE.binary);
    let (seconds, seed) = (args.seconds, args.seed.unwrap_or(1));
    format!("AIO2_SLOWNESS={slowness} /bin/{program} --seconds {seconds} --seed {seed}")
}

/// The command that compares a backend with plain calls, on the disk. The same seed
/// makes the same calls for both backends.
fn differential_command(backend: &str, args: &Args) -> String {
    let (program, seconds, seed) = (DIFFER.binary, args.seconds, args.seed.unwrap_or(1));
    format!("TMPDIR={FILES} /bin/{program} --backend {backend} --seconds {seconds} --seed {seed}")
}

/// The command that runs the suite on a backend, in a directory of its own.
fn suite_command(config: Config, backend: &str, extra: &[String]) -> String {
    let dir = format!("{FILES}/{backend}");
    let (slowness, suite) = (config.slowness(), SUITE.binary);
    let extra = extra.join(" ");
    format!("AIO2_SLOWNESS={slowness} /bin/{suite} --backend {backend} --dir {dir} {extra}")
}

/// How many tests passed on a backend, as the suite's closing line says.
fn passed(output: &str, backend: &str) -> u64 {
    let start = format!("{}: backend={backend} ok=", SUITE.binary);
    let rest = output.lines().find_map(|line| line.strip_prefix(&start));
    rest.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_was_skipped_has_not_passed() {
        let said = "ok a\nSKIP backend kernel: no AIO2\naio2-conform: backend=kernel ok=0 failed=0 skipped=9\n";
        assert_eq!(passed(said, "kernel"), 0);
        assert_eq!(passed("aio2-conform: backend=kernel ok=12 failed=0 skipped=0", "kernel"), 12);
        assert_eq!(passed("", "kernel"), 0);
    }
}
