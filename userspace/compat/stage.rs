//! Where a program that is not ours is run on a drop-in: for the tests of each.

use aio2_record::{Count, Counters};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A program's directory, and what of its calls reached the drop-in.
pub struct Stage {
    dir: TempDir,
    counters: Counters,
    /// How the program comes to the drop-in.
    environment: Vec<(&'static str, PathBuf)>,
}

impl Stage {
    pub fn new(environment: &[(&'static str, &Path)]) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let counters = Counters::open(&dir.path().join("count")).unwrap();
        let environment = environment.iter().map(|&(name, path)| (name, path.into())).collect();
        Stage { dir, counters, environment }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program, which must succeed; what it said.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        self.run_with(program, args, &[])
    }

    pub fn run_with(&self, program: &str, args: &[&str], environment: &[(&str, &Path)]) -> String {
        let output = Command::new(program)
            .args(args)
            .envs(self.environment.iter().map(|(name, path)| (name, path)))
            .envs(environment.iter().copied())
            .current_dir(self.dir.path())
            .env("AIO2_COUNT", self.path("count"))
            .output()
            .expect("it is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {}\n{said}{errors}", output.status);
        said
    }

    /// Prints the row of the table; a program that did not reach the drop-in fails.
    pub fn row(&self, what: &str) {
        let [contexts, calls, requests, waits, events] =
            [Count::Contexts, Count::Submissions, Count::Requests, Count::Waits, Count::Events]
                .map(|what| self.counters.get(what));
        println!(
            "{what:<44} {contexts} contexts, {calls} submissions, {requests} requests, \
             {waits} waits, {events} events"
        );
        assert!(requests > 0 && events == requests, "{what} did not reach the drop-in");
    }
}

/// Whether a program is installed; otherwise a SKIP says so.
pub fn there(program: &str, package: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("SKIP {program}: not installed (apt-get install {package})");
    }
    there
}
