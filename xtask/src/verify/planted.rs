//! `cargo xtask verify --planted`: each bug of `tests/planted/` must be found.
//!
//! A patch there is a bug, and names in a line `Check:` the test that has to
//! fail with it, as arguments of `cargo test -p`, or a program, as those of
//! `cargo run -p` behind the word `run`. The patches are applied one
//! by one to a checkout of HEAD in `target/planted`; what is not committed is
//! not seen. A check that fails without a bug would find anything, so each is
//! run on the clean tree first.

use super::failed;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How long a check may take: one that hangs has found something too.
const SECONDS: &str = "300";
/// How `timeout` tells that time was up.
const TIMED_OUT: i32 = 124;

/// What became of each bug in the last run of all.
pub const TABLE: &str = "tests/planted.md";
const TABLE_HEAD: &str = "\
# The bugs of `planted/`, and which tests fail with each

Written by `cargo xtask verify --planted`. A check is what `cargo test -p` runs, or
`cargo run -p` behind the word run.

| planted | check | failed |
|---|---|---|
";
const NOT_FOUND: &str = "NOT FOUND";

/// A bug.
struct Planted {
    name: String,
    patch: PathBuf,
    check: String,
}

/// A checkout that is removed when it is dropped.
struct Tree {
    root: PathBuf,
    path: PathBuf,
}

impl Tree {
    fn new(root: &Path) -> Result<Self> {
        let tree = Tree { root: root.to_owned(), path: root.join("target/planted/tree") };
        // One that an aborted run has left.
        tree.remove();
        let path = tree.path.to_string_lossy().into_owned();
        git(root, &["worktree", "add", "--quiet", "--force", "--detach", &path, "HEAD"])?;
        Ok(tree)
    }

    fn remove(&self) {
        let path = self.path.to_string_lossy();
        // It is gone already if this fails.
        let _ = git(&self.root, &["worktree", "remove", "--force", &path]);
    }

    /// Runs a check; with `build`, only builds it.
    fn cargo(&self, check: &str, build: bool) -> Result<Output> {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", if build { "1800" } else { SECONDS }]);
        command.arg(env!("CARGO"));
        match check.strip_prefix("run ") {
            Some(program) if build => {
                let package = program.split(" -- ").next().unwrap_or_default();
                command.args(["build", "-p"]).args(package.split_whitespace())
            }
            Some(program) => command.args(["run", "-p"]).args(program.split_whitespace()),
            None if build => {
                command.args(["test", "--no-run", "-p"]).args(check.split_whitespace())
            }
            None => command.args(["test", "-p"]).args(check.split_whitespace()),
        };
        let mut target = "target/planted/build";
        if check.contains("--test loom") {
            command.env("RUSTFLAGS", "--cfg aio2_loom -C debug-assertions");
            target = "target/planted/loom";
        }
        command.env("CARGO_TARGET_DIR", self.root.join(target)).current_dir(&self.path);
        command.output().with_context(|| format!("cargo test -p {check}"))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.remove();
    }
}

fn git(dir: &Path, args: &[&str]) -> Result<()> {
    let out = Command::new("git").current_dir(dir).args(args).output().context("git")?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "git {}: {}", args.join(" "), said.trim());
    Ok(())
}

/// Applies the bugs, all or the one that is named; how many were found, of how
/// many.
///
/// # Errors
/// If one is not found, or cannot be applied or built.
pub fn run(root: &Path, only: Option<&str>) -> Result<(usize, usize)> {
    let mut bugs = bugs(&root.join("tests/planted"))?;
    bugs.retain(|bug| only.is_none_or(|name| name == bug.name));
    ensure!(!bugs.is_empty(), "no such bug in tests/planted");
    let tree = Tree::new(root)?;
    let checks: BTreeSet<&str> = bugs.iter().map(|bug| bug.check.as_str()).collect();
    for check in checks {
        // Apart: a build takes longer than a check may.
        let built = tree.cargo(check, true)?;
        ensure!(built.status.success(), "{check} does not build:\n{}", text(&built));
        let out = tree.cargo(check, false)?;
        ensure!(out.status.success(), "without a bug, {check} fails:\n{}", text(&out));
    }
    println!("{:<25} {:<63} failed", "planted", "check");
    let kept = fs::read_to_string(root.join(TABLE)).unwrap_or_default();
    let mut rows = if only.is_some() { rows(&kept) } else { BTreeMap::new() };
    let mut found = 0;
    for bug in &bugs {
        let failed = plant(&tree, bug)?;
        found += usize::from(failed.is_some());
        let failed = failed.unwrap_or_else(|| NOT_FOUND.into());
        println!("{:<25} {:<63} {failed}", bug.name, bug.check);
        rows.insert(bug.name.clone(), format!("| {} | {} | {failed} |", bug.name, bug.check));
    }
    let rows: Vec<String> = rows.into_values().collect();
    fs::write(root.join(TABLE), format!("{TABLE_HEAD}{}\n", rows.join("\n")))?;
    if found < bugs.len() {
        bail!("{} planted bugs were not found", bugs.len() - found);
    }
    Ok((found, bugs.len()))
}

/// The rows of the table by the names of their bugs.
fn rows(table: &str) -> BTreeMap<String, String> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ").map(|rest| (line, rest)));
    let named = rows.filter_map(|(line, rest)| Some((line, rest.split_once(" | ")?.0)));
    let bugs = named.filter(|(_, name)| *name != "planted");
    bugs.map(|(line, name)| (name.to_owned(), line.to_owned())).collect()
}

/// How many bugs the last run of each has found, of how many; of those that are
/// there now.
///
/// # Errors
/// If a file cannot be read.
pub fn last(root: &Path) -> Result<(usize, usize)> {
    let table = fs::read_to_string(root.join(TABLE))?;
    let found = |bug: &Planted| {
        let row = table.lines().find(|line| line.starts_with(&format!("| {} |", bug.name)));
        row.is_some_and(|row| !row.contains(NOT_FOUND))
    };
    let bugs = bugs(&root.join("tests/planted"))?;
    Ok((bugs.iter().filter(|bug| found(bug)).count(), bugs.len()))
}

fn bugs(dir: &Path) -> Result<Vec<Planted>> {
    let mut bugs = Vec::new();
    for entry in dir.read_dir().with_context(|| dir.display().to_string())? {
        let patch = entry?.path();
        let text = fs::read_to_string(&patch)?;
        let check = text.lines().find_map(|line| line.strip_prefix("Check: ")).map(str::trim);
        let check = check.with_context(|| format!("{}: no Check:", patch.display()))?.to_owned();
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        bugs.push(Planted { name, patch, check });
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}

/// Applies a bug, runs its check and takes it out again; the tests that failed.
fn plant(tree: &Tree, bug: &Planted) -> Result<Option<String>> {
    git(&tree.path, &["apply", &bug.patch.to_string_lossy()])
        .with_context(|| format!("{}: the code has changed; plant it anew", bug.name))?;
    let built = tree.cargo(&bug.check, true)?;
    ensure!(built.status.success(), "{} does not build:\n{}", bug.name, text(&built));
    let out = tree.cargo(&bug.check, false)?;
    git(&tree.path, &["checkout", "--quiet", "."])?;
    Ok(match out.status.code() {
        Some(0) => None,
        Some(TIMED_OUT) => Some(format!("hangs for {SECONDS} s")),
        // The figures of a program stand at its end.
        _ if bug.check.starts_with("run ") => {
            let said = String::from_utf8_lossy(&out.stdout);
            Some(said.split_whitespace().next_back().unwrap_or("nothing said").to_owned())
        }
        _ => Some(failed_tests(&text(&out))),
    })
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// The names of tests that failed, the first ones.
fn failed_tests(said: &str) -> String {
    // A test that prints has no line to itself, and a run that aborts no list.
    let list = said.rsplit_once("\nfailures:\n").map_or("", |(_, list)| list);
    let list = list.lines().take_while(|line| line.starts_with("    "));
    let listed = list.filter_map(|line| line.split_whitespace().next());
    let mut names: BTreeSet<&str> = said.lines().filter_map(failed).chain(listed).collect();
    if names.is_empty() {
        // It may abort in its first test.
        let threads = said.lines().filter_map(|line| line.split_once("thread '"));
        names = threads.filter_map(|(_, rest)| Some(rest.split_once('\'')?.0)).collect();
    }
    let shown: Vec<&str> = names.iter().take(2).copied().collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bug_can_still_be_planted() {
        let root = crate::root();
        for bug in bugs(&root.join("tests/planted")).unwrap() {
            let patch = bug.patch.to_string_lossy();
            git(root, &["apply", "--check", &patch]).expect(&bug.name);
        }
    }

    #[test]
    fn the_ten_common_bugs_are_there() {
        let root = crate::root();
        let names: Vec<String> =
            bugs(&root.join("tests/planted")).unwrap().into_iter().map(|bug| bug.name).collect();
        for name in [
            "dropped-overflow",
            "relaxed-tail",
            "early-head",
            "double-terminal-event",
            "group-event-too-soon",
            "length-not-checked",
            "lost-wakeup",
            "leaked-request",
            "reordered-overflow",
            "swallowed-errno",
        ] {
            assert!(names.iter().any(|n| n == name), "{name} is not planted");
        }
    }

    #[test]
    fn the_test_program_of_each_check_is_there() {
        let root = crate::root();
        for bug in bugs(&root.join("tests/planted")).unwrap() {
            let words: Vec<&str> = bug.check.split_whitespace().collect();
            if words[0] == "run" {
                let at = words.iter().position(|word| *word == "--bin").expect(&bug.name);
                let program = format!("tests/src/bin/{}.rs", words[at + 1]);
                assert!(root.join(&program).exists(), "{}: there is no {program}", bug.name);
                continue;
            }
            let Some(at) = words.iter().position(|word| *word == "--test") else { continue };
            let dir = match words[0] {
                "aio2" => "userspace",
                "aio2-abi" => "abi",
                "aio2-cli" => "userspace/cli",
                "aio2-conformance" => "tests",
                "aio2-ccore" => "tests/ccore",
                other => panic!("{}: no such package: {other}", bug.name),
            };
            let program = format!("{dir}/tests/{}.rs", words[at + 1]);
            assert!(root.join(&program).exists(), "{}: there is no {program}", bug.name);
        }
    }

    #[test]
    fn a_run_of_one_bug_keeps_the_rows_of_the_others() {
        let table = format!("{TABLE_HEAD}| a | x | y |\n| b | x | {NOT_FOUND} |\n");
        let rows = rows(&table);
        assert_eq!(rows.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(rows["a"], "| a | x | y |");
    }

    #[test]
    fn failed_tests_are_named_also_where_the_run_aborts() {
        let said = "test c ... says\nFAILED\nfailures:\n\n---- c ----\nit\n
failures:\n    c [R-1]\n    b\n    d\n\ntest result: FAILED\n";
        assert_eq!(failed_tests(said), "b, c and 1 more");
        assert_eq!(failed_tests("test a ... FAILED\nhangs\n"), "a");
        assert_eq!(failed_tests("thread 'model' (7) panicked at x\nabort\n"), "model");
    }
}
