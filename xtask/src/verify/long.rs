//! What takes as long as one likes: `cargo xtask verify --events N`, `--peers N`,
//! `--waits N`, `--faults SECONDS`, `--flips`, `--states [N]`.
//!
//! Each is a test of the suite, which a normal run of the tests runs short. What a
//! run came to is kept in `tests/verified.json`, for the table.

use super::record;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// A test that can be run long.
pub struct Long {
    /// How the test program is called, and what stands before its figures.
    pub test: &'static str,
    pub says: &'static str,
    /// What says how long, in the environment.
    pub amount: &'static str,
    /// The one that is run.
    pub only: &'static [&'static str],
}

/// Random requests against the model.
pub const STORM: Long =
    Long { test: "storm", says: "storm", amount: "AIO2_EVENTS", only: &["--ignored"] };
/// Consumers in C that are killed and stopped.
pub const PEERS: Long = Long { test: "peers", says: "peers", amount: "AIO2_EVENTS", only: &[] };
/// Waits of several threads.
pub const WAITS: Long = Long { test: "waits", says: "waits", amount: "AIO2_EVENTS", only: &[] };
/// System calls that fail, at random.
pub const FAULTS: Long =
    Long { test: "errnos", says: "errnos", amount: "AIO2_FAULT_SECONDS", only: &[] };
/// States of the model.
pub const STATES: Long = Long { test: "states", says: "states", amount: "AIO2_STATES", only: &[] };

/// Each byte that a peer can write, at each step.
pub const FLIPS: Long = Long { test: "flips", says: "flips", amount: "AIO2_FLIPS", only: &[] };

impl Long {
    /// Runs it so long, with these choices if it makes any; its figures, or why it
    /// was skipped.
    ///
    /// # Errors
    /// If the test fails.
    pub fn run(&self, root: &Path, amount: Option<u64>, seed: Option<u64>) -> Result<Said> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(root).args(["test", "--release", "-p", "aio2-conformance"]);
        command.args(["--test", self.test, "--"]).args(self.only).arg("--nocapture");
        for (name, number) in [(self.amount, amount), ("AIO2_SEED", seed)] {
            if let Some(number) = number {
                command.env(name, number.to_string());
            }
        }
        if self.test == "states" {
            let some = amount.is_some();
            command.env("AIO2_STATE_REQUESTS", if some { "4" } else { "3" });
        }
        println!("==> cargo test --test {}", self.test);
        let mut child = command.stdout(Stdio::piped()).spawn().context("cargo")?;
        let out = child.stdout.take().context("a pipe")?;
        let mut said: Option<Said> = None;
        for line in BufReader::new(out).lines() {
            let line = line?;
            println!("{line}");
            said = match (said, figures(&line, self.says)) {
                (Some(Said::Figures(a)), Some(Said::Figures(b))) => {
                    Some(Said::Figures(format!("{a}; {b}")))
                }
                (said, more) => said.or(more),
            };
        }
        let status = child.wait()?;
        ensure!(status.success(), "cargo test --test {} fails", self.test);
        said.with_context(|| format!("{}: no figures", self.test))
    }

    /// Runs it, and keeps its figures.
    ///
    /// # Errors
    /// As [`Long::run`].
    pub fn keep(&self, root: &Path, amount: Option<u64>, seed: Option<u64>) -> Result<()> {
        match self.run(root, amount, seed)? {
            Said::Figures(figures) => record::keep(root, self.says, &figures),
            Said::Skipped(why) => bail!("SKIP {why}"),
        }
    }
}

/// What a test said of itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Figures(String),
    Skipped(String),
}

/// The figures of a line `NAME: 12 events, ...`, or its `SKIP NAME: reason`. A runner
/// may have begun the line with the name of the test.
pub fn figures(line: &str, name: &str) -> Option<Said> {
    let line = line.rsplit_once(" ... ").map_or(line, |(_, rest)| rest);
    if let Some(why) = line.strip_prefix("SKIP ") {
        return why.starts_with(name).then(|| Said::Skipped(why.to_owned()));
    }
    let rest = line.strip_prefix(name)?.strip_prefix(": ")?;
    rest.starts_with(|c: char| c.is_ascii_digit()).then(|| Said::Figures(rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_from_other_lines() {
        let found = |line: &str| figures(line, "peers");
        assert_eq!(found("peers: 12 events, 3 s"), Some(Said::Figures("12 events, 3 s".into())));
        assert_eq!(found("test a ... peers: 1 b"), Some(Said::Figures("1 b".into())));
        assert_eq!(found("SKIP peers: no gcc"), Some(Said::Skipped("peers: no gcc".into())));
        assert_eq!(found("peers: AIO2_SEED=7"), None);
        assert_eq!(found("SKIP waits: no"), None);
    }
}
