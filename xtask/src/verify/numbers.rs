//! The table of numbers: how much the checks have covered.
//!
//! Each number is taken from what a run prints, or from a file that a run has
//! made; nothing is counted by hand.

use super::long::{self, Said, figures};
use super::{litmus, planted, proofs, record};
use crate::fuzz::{SPEEDS, Speed};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The ordering matrix, and what is committed of the mutants.
const ORDERINGS: &str = "userspace/tests/ORDERINGS.md";
const MUTANTS: &str = "tests/mutants.json";
/// Of what was run for the table.
const NOW: &str = "now";

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
    /// What was changed: later code has mutants that nobody has tried.
    commit: String,
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

/// A row of the table.
struct Row {
    what: String,
    figures: String,
    /// When they were seen: now, or a day and a commit.
    seen: String,
}

/// The table, as it grows.
struct Table<'a> {
    root: &'a Path,
    rows: Vec<Row>,
}

impl Table<'_> {
    fn row(&mut self, what: &str, figures: impl Into<String>, seen: impl Into<String>) {
        let (what, figures) = (what.to_owned(), figures.into());
        self.rows.push(Row { what, figures, seen: seen.into() });
    }

    fn now(&mut self, what: &str, figures: impl Into<String>) {
        self.row(what, figures, NOW);
    }

    /// A line `NAME: figures`, or `SKIP NAME: reason`.
    fn told(&mut self, what: &str, line: &str) {
        let figures = if line.starts_with("SKIP") { line } else { after_name(line) };
        self.now(what, figures);
    }

    /// What a file says that a long run writes.
    fn kept(&mut self, what: &str, figures: String, file: &str) -> Result<()> {
        let changed = record::changed(self.root, file)?;
        self.row(what, figures, changed);
        Ok(())
    }

    /// The last long run of this, with the option that repeats it.
    fn last(&mut self, what: &str, name: &str, option: &str) -> Result<()> {
        let what = format!("{what} ({option})");
        match record::last(self.root, name)? {
            Some(run) => {
                let seen = format!("{}, {}", run.date, run.commit);
                self.row(&what, run.figures, seen);
            }
            None => self.row(&what, "never run", ""),
        }
        Ok(())
    }

    /// Runs a test program now: a row for each line that begins with `says`.
    fn tests(&mut self, what: &str, args: &[&str], says: &str) -> Result<()> {
        let said = cargo(self.root, args, None)?;
        let lines: Vec<Said> = said.lines().filter_map(|line| figures(line, says)).collect();
        ensure!(!lines.is_empty(), "cargo test {} has told no figures", args.join(" "));
        for line in lines {
            match line {
                Said::Figures(figures) => self.now(what, figures),
                Said::Skipped(why) => self.now(what, format!("SKIP {why}")),
            }
        }
        Ok(())
    }

    fn print(&self) {
        println!("\n{:<42} {:<20} figures", "what", "seen");
        for Row { what, figures, seen } in &self.rows {
            println!("{what:<42} {seen:<20} {figures}");
        }
    }
}

/// What stands behind the name of a line.
fn after_name(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(_, rest)| rest)
}

/// Runs all that takes minutes, the models with up to `bound` preemptions, and prints
/// the table, with the last figures of what takes longer.
///
/// # Errors
/// If a run fails.
pub fn run(root: &Path, bound: u32) -> Result<()> {
    let mut table = Table { root, rows: Vec::new() };
    table.told("proofs", &proofs::run(root)?);
    for line in litmus::run(root)? {
        let (what, rest) = line.split_once(": ").context("a line has a name")?;
        table.now(what, rest);
    }
    let loom = ["-p", "aio2", "--release", "--test", "loom", "--target-dir", "target/loom"];
    let said = cargo(root, &loom, Some(bound))?;
    said.lines().filter(|line| line.contains(" executions, ")).for_each(|line| println!("{line}"));
    let (models, executions) = models(&said);
    ensure!(models > 0, "the models have printed no numbers");
    table.now("loom", format!("{models} models, {executions} executions, {bound} preemptions"));
    let (killed, sites) = sites(&fs::read_to_string(root.join(ORDERINGS))?);
    ensure!(sites > 0, "{ORDERINGS} has no rows");
    let needed = format!("{killed} of {sites} weakened or broken are seen by a model");
    table.kept("orderings and rules (orderings.py)", needed, ORDERINGS)?;

    match long::STATES.run(root, None, None)? {
        Said::Figures(figures) => table.now("states", figures),
        Said::Skipped(why) => table.now("states", format!("SKIP {why}")),
    }
    table.last("states", "states", "--states N")?;
    let suite = ["-p", "aio2-conformance", "--test"];
    let test = |name: &'static str| [&suite[..], &[name]].concat();
    table.tests("events, consumers in C", &test("peers"), "peers")?;
    table.last("events, consumers in C", "peers", "--peers N")?;
    table.tests("events, waits", &test("waits"), "waits")?;
    table.last("events, waits", "waits", "--waits N")?;
    table.last("events, random requests", "storm", "--events N")?;
    table.last("calls beside plain ones", "differential", "--differential")?;

    table.tests("faults, functions of the C library", &test("faults"), "faults")?;
    table.tests("faults, system calls", &test("errnos"), "errnos")?;
    table.last("faults, system calls", "errnos", "--faults SECONDS")?;
    table.tests("faults, bytes that a peer can write", &test("flips"), "flips")?;
    table.last("faults, bytes that a peer can write", "flips", "--flips")?;

    let killed = ["-p", "aio2", "--release", "--test", "killed"];
    table.tests("faults, consumer killed", &killed, "killed")?;

    table.tests("old and new", &test("versions"), "versions")?;

    let fuzz = bodies(&cargo(root, &test("fuzz"), None)?);
    let c = bodies(&cargo(root, &["-p", "aio2-ccore", "--test", "fuzz"], None)?);
    ensure!(fuzz.0 > 0 && c.0 > 0, "the fuzz bodies have printed no numbers");
    let (all, inputs) = (fuzz.0 + c.0, fuzz.1 + c.1);
    table.now("fuzz bodies", format!("{all}, {} of them against C, {inputs} inputs", c.0));
    table.row("fuzz, executions a second (fuzz)", speeds(root), "last run here");
    let traces = root.join("tests/traces").read_dir()?.count();
    table.now("traces that failed once", traces.to_string());

    let mutants: Mutants = serde_json::from_slice(&fs::read(root.join(MUTANTS))?)?;
    let Mutants { commit, mutants, run, caught, timeouts, survivors } = mutants;
    let percent = (caught + timeouts) as f64 / run as f64 * 100.0;
    let tried = format!("{caught} caught, {timeouts} hang, {survivors} live");
    let tried = format!("{tried}: {percent:.1} % of {run} run, of {mutants}");
    table.row("mutants (--mutants)", tried, format!("the code of {commit}"));
    let (found, planted) = planted::last(root)?;
    let found = format!("{found} of {planted} found, by whom: {}", planted::TABLE);
    table.kept("planted bugs (--planted)", found, planted::TABLE)?;
    let traced = cargo(root, &test("traceability"), None)?;
    for side in ["engine: ", "kernel: "] {
        let line = traced.lines().find(|line| line.starts_with(side));
        table.now("requirements", line.context("the traceability test tells none")?);
    }
    table.last("lines and branches", "coverage", "--coverage")?;
    table.print();
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
    let changed = table.lines().take_while(|line| !line.starts_with("| in no model |"));
    let rows = changed.filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: Vec<_> = rows.filter(|(what, _)| !["weakened", "broken"].contains(what)).collect();
    (rows.iter().filter(|(_, models)| !models.starts_with("none")).count(), rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_the_orderings_can_still_be_made() {
        let script = crate::root().join("userspace/tests/orderings.py");
        let out = match Command::new("python3").arg(script).arg("--check").output() {
            Ok(out) => out,
            Err(error) => return println!("SKIP orderings: no python3: {error}"),
        };
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    #[test]
    fn numbers_are_read_from_what_runs_print() {
        let said =
            "doorbell, overflow: 12 executions, 0.1 s\nx\ntest a ... once: 30 executions, 2 s";
        assert_eq!(models(said), (2, 42));
        let said = "ring_ops: 2 saved, 300 random inputs from AIO2_SEED=7\n.c: 1 saved, 5 random inputs from";
        assert_eq!(bodies(said), (2, 308));
        let table = "| weakened | models that fail |\n|---|---|\n| a | x, y |\n| b | none: why |\n\n| in no model | why |\n|---|---|\n| c | d |\n";
        assert_eq!(sites(table), (1, 2));
    }
}
