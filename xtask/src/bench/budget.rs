//! `cargo xtask bench --budget`: instructions for each path, held against a table.
//!
//! Each path runs twice under valgrind's callgrind, with different numbers of
//! operations; the difference is what the operations take. The kernel's
//! instructions are not counted, and time is not measured. The numbers hold for
//! the compiler that stands in the table.

use crate::packages;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the table is.
const TABLE: &str = "userspace/benches/BUDGET.md";
/// Room in per cent, for another C library and for how the compiler lays out code
/// that has not changed: 1.5 were seen.
const ROOM: f64 = 3.0;
/// What the head of the table says before the compiler.
const HEAD: &str = "| path | instructions, ";
/// Operations of a path's first run; the second one does twice as many.
const OPERATIONS: u64 = 4096;

/// What to do with what was counted.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Budget {
    /// Fail if a path takes more than the table allows
    Check,
    /// Write the table anew
    Write,
}

/// A path and the instructions of one operation of it.
pub type Row = (String, f64);

pub fn run(budget: Budget) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        println!("SKIP budget: the table is for x86-64");
        return Ok(());
    }
    let table = crate::root().join(TABLE);
    let text = fs::read_to_string(&table).context(TABLE)?;
    let compiler = compiler()?;
    if budget == Budget::Check && !text.contains(&head(&compiler)) {
        println!("SKIP budget: {TABLE} is not by {compiler}");
        return Ok(());
    }
    packages::for_counting(&xshell::Shell::new()?)?;
    let program = build("paths")?;
    let names = Command::new(&program).output()?.stdout;
    let mut counted = Vec::new();
    for name in String::from_utf8(names)?.lines() {
        let less = collected(&program, &[name, &OPERATIONS.to_string()], &[])?.0;
        let more = collected(&program, &[name, &(2 * OPERATIONS).to_string()], &[])?.0;
        let each = more.saturating_sub(less) as f64 / OPERATIONS as f64;
        counted.push((name.to_owned(), each));
    }
    match budget {
        Budget::Check => check(TABLE, &rows(&text), &counted),
        Budget::Write => Ok(fs::write(&table, with_rows(&text, &compiler, &counted))?),
    }
}

/// The compiler, by name and version.
pub fn compiler() -> Result<String> {
    let said = String::from_utf8(Command::new("rustc").arg("--version").output()?.stdout)?;
    Ok(said.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// The first line of the table.
pub fn head(compiler: &str) -> String {
    format!("{HEAD}{compiler} |\n")
}

/// Builds a benchmark of the library; its program.
pub fn build(name: &str) -> Result<PathBuf> {
    program(&["bench", "-p", "aio2", "--bench", name, "--no-run"], name)
}

/// Runs cargo with `args`, which build a target of this name, optimised; its program.
pub fn program(args: &[&str], name: &str) -> Result<PathBuf> {
    // Incremental compilation leaves out inlining between crates.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(args).arg("--message-format=json").env("CARGO_INCREMENTAL", "0");
    let built = cargo.stderr(Stdio::inherit()).output()?;
    ensure!(built.status.success(), "{name} does not build");
    String::from_utf8(built.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("no program of {name}"))
}

/// Instructions of a run with these arguments, as much of it as callgrind counts
/// with `options`, and what the program prints.
pub fn collected(program: &Path, arguments: &[&str], options: &[&str]) -> Result<(u64, String)> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(options)
        .arg(program)
        .args(arguments)
        .output()
        .context("valgrind cannot be started")?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "{arguments:?}: {said}");
    let count = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = count.and_then(|(_, n)| n.trim().parse().ok());
    Ok((count.context("valgrind has counted nothing")?, String::from_utf8(run.stdout)?))
}

/// The rows of a table in Markdown.
pub fn rows(text: &str) -> Vec<Row> {
    let cells = |line: &str| {
        let (name, count) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(cells).collect()
}

/// `text` with its table replaced, which stands at its end.
pub fn with_rows(text: &str, compiler: &str, rows: &[Row]) -> String {
    let before = text.split_once(HEAD).map_or(text, |(before, _)| before);
    let mut all = format!("{before}{}|---|---:|\n", head(compiler));
    for (name, count) in rows {
        all += &format!("| {name} | {count:.0} |\n");
    }
    all
}

/// Prints what was counted beside the budget of the file `table`; fails if a path
/// is not in it, or above.
pub fn check(table: &str, budget: &[Row], counted: &[Row]) -> Result<()> {
    println!("{:<44} {:>12} {:>8} {:>8}", "instructions for one", "counted", "budget", "%");
    let mut above = Vec::new();
    for (name, count) in counted {
        let Some((_, allowed)) = budget.iter().find(|(known, _)| known == name) else {
            bail!("{table} has no row \"{name}\"");
        };
        let grown = (count / allowed - 1.0) * 100.0;
        println!("{name:<44} {count:>12.1} {allowed:>8.0} {grown:>+8.1}");
        if grown > ROOM {
            above.push(name.as_str());
        }
    }
    if let Some((name, _)) = budget.iter().find(|(name, _)| counted.iter().all(|c| c.0 != *name)) {
        bail!("no path \"{name}\", which {table} has");
    }
    ensure!(
        above.is_empty(),
        "more than {ROOM} % above the budget of {table}: {}. Find out why, or say in the commit \
         what it is worth and write the table anew, by --budget write",
        above.join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, count: f64) -> Row {
        (name.into(), count)
    }

    #[test]
    fn a_path_may_grow_by_the_room_and_no_more() {
        let budget = [row("a, one", 100.0), row("b", 50.0)];
        assert!(check("T", &budget, &[row("a, one", 102.9), row("b", 1.0)]).is_ok());
        assert!(check("T", &budget, &[row("a, one", 103.1), row("b", 50.0)]).is_err());
    }

    #[test]
    fn paths_and_rows_are_the_same() {
        let (a, b) = (row("a", 100.0), row("b", 50.0));
        assert!(check("T", std::slice::from_ref(&a), &[a.clone(), b.clone()]).is_err());
        assert!(check("T", &[a.clone(), b], &[a]).is_err());
    }

    #[test]
    fn rows_that_are_written_are_read() {
        let text = "# Title\n\n| path | instructions, rustc 1 |\n|---|---:|\n| old | 7 |\n";
        assert_eq!(rows(text), [row("old", 7.0)]);
        let all = [row("a, one", 100.4), row("b", 50.0)];
        let written = with_rows(text, "rustc 2", &all);
        assert_eq!(rows(&written), [row("a, one", 100.0), row("b", 50.0)]);
        assert!(written.starts_with("# Title\n\n") && written.contains(&head("rustc 2")));
        assert_eq!(with_rows(&written, "rustc 2", &all), written);
    }
}
