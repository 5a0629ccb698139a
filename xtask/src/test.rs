//! `cargo xtask test`: everything that has to pass, and what it counted.
//!
//! Runs the stages one after another, lets their output through, and counts
//! what the test runners and the suites report: passed, failed, skipped. It
//! decides nothing that a stage has not said.
//!
//! Not by cargo-nextest: it is not there on a fresh machine, and is minutes in
//! compiling on two cores. It runs no examples of the documentation, and the suites
//! here have a harness of their own, which tells of skips with their reasons and
//! limits the time of each test (`watchdog` of the conformance suite). Who has it can
//! use it on the crates' own tests: `cargo nextest run -p aio2 --all-features`.

use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Instant;

/// What to leave out or to add.
#[derive(clap::Args)]
pub struct Args {
    /// Only what takes a minute: formatting, lints, and the tests of all crates
    #[arg(long)]
    quick: bool,
    /// Not the kernel, which is fetched, patched, built and booted otherwise, for the suite in the guest
    #[arg(long)]
    no_kernel: bool,
    /// Also the long ones: copying 2 GiB in 20,000 files, eight reapers for a minute, ten million
    /// random requests, a writer that is killed a thousand times
    #[arg(long)]
    large: bool,
}

/// One command of the run.
struct Stage {
    name: &'static str,
    args: &'static [&'static str],
    envs: &'static [(&'static str, &'static str)],
}

const FORMAT: Stage = Stage { name: "format", args: &["fmt", "--all", "--check"], envs: &[] };
const LINTS: Stage = Stage {
    name: "lints",
    args: &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
    envs: &[],
};
const TESTS: Stage = Stage {
    name: "tests",
    args: &["test", "--workspace", "--all-features", "--no-fail-fast"],
    envs: &[],
};
const TABLE: Stage = Stage {
    name: "requirements",
    args: &["test", "-p", "aio2-conformance", "--test", "traceability", "--", "--nocapture"],
    envs: &[],
};
const LOOM: Stage = Stage {
    name: "loom",
    args: &[
        "test",
        "-p",
        "aio2",
        "--release",
        "--test",
        "loom",
        "--target-dir",
        "target/loom",
        "--",
        "--nocapture",
    ],
    envs: &[
        ("RUSTFLAGS", "--cfg aio2_loom -C debug-assertions"),
        ("LOOM_MAX_PREEMPTIONS", "3"),
        ("LOOM_MAX_BRANCHES", "100000"),
    ],
};
const LARGE: Stage = Stage {
    name: "large",
    args: &[
        "test",
        "--workspace",
        "--release",
        "--all-features",
        "--no-fail-fast",
        "--",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ],
    envs: &[("AIO2_STRESS_SECONDS", "60")],
};

/// Each fuzz target for a minute.
const FUZZ: Stage = Stage {
    name: "fuzz",
    args: &["xtask", "fuzz", "--seconds", "60", "--jobs", "2", "--or-skip"],
    envs: &[],
};
/// The suite under ASan, threads that share a ring under TSan.
const SANITIZERS: Stage =
    Stage { name: "sanitizers", args: &["xtask", "verify", "--asan", "--tsan"], envs: &[] };

/// The parts without system calls, interpreted, where Miri is installed.
const MIRI: Stage = Stage { name: "miri", args: &["xtask", "verify", "--miri"], envs: &[] };

/// Instructions of each path, held against the table.
const BUDGET: Stage = Stage { name: "budget", args: &["xtask", "bench", "--budget"], envs: &[] };

/// Random syscalls beside the plain ones, for two minutes at most: the same ones each
/// time, also on a faster machine.
const DIFFERENTIAL: Stage = Stage {
    name: "differential",
    args: &["xtask", "verify", "--differential", "--seed", "1", "--calls", "50000"],
    envs: &[],
};
/// The kernel's parser and ring, by Frama-C, where that can be had; the pairs of
/// barriers; the states of the model.
const PROOFS: Stage = Stage {
    name: "proofs",
    args: &["xtask", "verify", "--proofs", "--litmus", "--states"],
    envs: &[],
};

/// Boots what `cargo xtask kernel` has built, or builds it first.
const KERNEL: Stage =
    Stage { name: "kernel", args: &["xtask", "kernel", "test", "minimal", "--or-skip"], envs: &[] };

/// What the runners said.
#[derive(Clone, Copy, Default)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    /// Counts a line of a runner: libtest's closing line, or a suite's SKIP.
    fn take(&mut self, line: &str) {
        let suites = ["aio2-conform: backend=", "aio2-checks: "];
        if let Some((_, summary)) = suites.iter().find_map(|suite| line.split_once(suite)) {
            self.take_suite(summary);
            return;
        }
        if let Some((passed, all)) = selftest(line) {
            self.passed += passed;
            self.failed += all.saturating_sub(passed);
            return;
        }
        if line.contains("SKIP ") || line.contains("SKIP:") {
            self.skipped += 1;
        }
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else { return };
        for part in rest.split(['.', ';']) {
            let mut words = part.split_whitespace();
            if let (Some(n), Some(what)) =
                (words.next().and_then(|n| n.parse::<u64>().ok()), words.next())
            {
                match what {
                    "passed" => self.passed += n,
                    "failed" => self.failed += n,
                    _ => {}
                }
            }
        }
    }

    /// The closing line of the suite in the guest: its skips stand in lines of
    /// their own, which are counted where they stand.
    fn take_suite(&mut self, summary: &str) {
        for word in summary.split_whitespace() {
            match word.split_once('=').map(|(what, n)| (what, n.parse::<u64>())) {
                Some(("ok", Ok(n))) => self.passed += n,
                Some(("failed", Ok(n))) => self.failed += n,
                _ => {}
            }
        }
    }

    fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The closing line of one of the series' selftests: how many passed, of how many.
fn selftest(line: &str) -> Option<(u64, u64)> {
    let (passed, all) = line.strip_prefix("# ")?.strip_suffix(" passed")?.split_once(" of ")?;
    Some((passed.parse().ok()?, all.parse().ok()?))
}

/// How many of a failed stage's last lines are said again at the end.
const LAST_LINES: usize = 40;

/// What a stage came to.
struct Report {
    name: &'static str,
    ok: bool,
    counts: Counts,
    seconds: u64,
    /// Which tests failed, and the last lines: where only the end of a long
    /// run's output is kept, they are all that one sees.
    lines: Vec<String>,
}

/// Runs a stage. What it says on either stream is handed on as it comes.
fn run_stage(stage: &Stage) -> Result<Report> {
    println!("\n==> {}: cargo {}", stage.name, stage.args.join(" "));
    let start = Instant::now();
    let (out, to_stage) = std::io::pipe()?;
    let mut command = Command::new(env!("CARGO"));
    command.args(stage.args).envs(stage.envs.iter().copied());
    command.stdout(to_stage.try_clone()?).stderr(to_stage);
    let mut child = command
        .spawn()
        .with_context(|| format!("stage {}: cargo cannot be started", stage.name))?;
    // The command holds the pipe's other end, too.
    drop(command);
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    let mut last = VecDeque::new();
    for line in BufReader::new(out).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        counts.take(&line);
        if line.trim_end().ends_with("... FAILED") {
            failures.push(line.clone());
        }
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    let ok = child.wait()?.success();
    let seconds = start.elapsed().as_secs();
    failures.extend(last);
    Ok(Report { name: stage.name, ok, counts, seconds, lines: failures })
}

pub fn run(args: &Args) -> Result<()> {
    crate::packages::for_tests(&xshell::Shell::new()?);
    let mut stages = vec![&FORMAT, &LINTS, &TESTS, &TABLE];
    if !args.quick {
        stages.extend([&LOOM, &FUZZ, &SANITIZERS, &MIRI, &DIFFERENTIAL, &PROOFS, &BUDGET]);
    }
    if !args.quick && !args.no_kernel {
        stages.push(&KERNEL);
    }
    if args.large {
        stages.push(&LARGE);
    }
    let reports = stages.into_iter().map(run_stage).collect::<Result<Vec<_>>>()?;
    let failed: Vec<_> = reports.iter().filter(|report| !report.ok).collect();
    for report in &failed {
        println!("\n==> {} FAILED; its last lines:\n{}", report.name, report.lines.join("\n"));
    }
    println!(
        "\n{:<14} {:>6} {:>8} {:>8} {:>8} {:>6}",
        "stage", "", "passed", "failed", "skipped", "s"
    );
    let mut total = Counts::default();
    for Report { name, ok, counts: c, seconds, .. } in &reports {
        total.add(*c);
        println!(
            "{name:<14} {:>6} {:>8} {:>8} {:>8} {seconds:>6}",
            if *ok { "ok" } else { "FAILED" },
            c.passed,
            c.failed,
            c.skipped
        );
    }
    println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if !failed.is_empty() {
        let names: Vec<_> = failed.iter().map(|report| report.name).collect();
        bail!("failed: {}", names.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_and_skips_are_counted() {
        let mut c = Counts::default();
        c.take("test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        c.take("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out");
        c.take("SKIP kernel: not patched");
        c.take("test some::test_result ... ok");
        c.take("aio2-conform: backend=kernel ok=10 failed=1 skipped=2");
        c.take("aio2-checks: ok=7 failed=1");
        c.take("# 4 of 6 passed");
        assert_eq!((c.passed, c.failed, c.skipped), (28, 7, 1));
    }
}
