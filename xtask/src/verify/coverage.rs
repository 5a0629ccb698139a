//! `cargo xtask verify --coverage`: requirements by tests, code by lines.
//!
//! The compiler counts what is run (`-C instrument-coverage`); LLVM's tools,
//! which must not be older than the compiler's own LLVM, make the table. What
//! runs in a process that dies by a signal is not counted.

use crate::packages;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xshell::Shell;

/// What is tested, and by what.
const PACKAGES: [&str; 8] =
    ["-p", "aio2-abi", "-p", "aio2", "-p", "aio2-conformance", "-p", "aio2-ccore"];
/// Where the code is that counts: what users run.
const CODE: [&str; 2] = ["abi/src/", "userspace/src/"];

/// Lines that were run, of all lines that have code.
#[derive(Clone, Copy, Default)]
struct Lines {
    run: u64,
    all: u64,
}

/// Runs the tests, and prints both tables.
///
/// # Errors
/// If the tests cannot be built, or LLVM's tools cannot be had.
pub fn run(root: &Path) -> Result<()> {
    let tools = tools()?;
    let profiles = root.join("target/coverage/profiles");
    // Of an earlier run.
    let _ = fs::remove_dir_all(&profiles);
    fs::create_dir_all(&profiles)?;
    let programs = programs(root)?;
    let tests = [&["test"], &PACKAGES[..], &["--no-fail-fast", "--quiet"]].concat();
    let out = cargo(root, &tests).output().context("cargo test")?;
    let said = String::from_utf8_lossy(&out.stdout);
    // Some count allocations or make them fail, also those of the counting.
    // Whether tests pass is asked elsewhere.
    for line in said.lines().filter(|line| line.contains("FAILED")) {
        println!("not with the counting: {line}");
    }
    let merged = root.join("target/coverage/all.profdata");
    let mut merge = Command::new(tools.join("llvm-profdata"));
    merge.arg("merge");
    for entry in profiles.read_dir()? {
        merge.arg(entry?.path());
    }
    // Children that are killed on purpose leave files that are no profiles.
    merge.args(["--sparse", "--failure-mode=all", "-o"]).arg(&merged);
    output(&mut merge)?;
    let mut export = Command::new(tools.join("llvm-cov"));
    export.args(["export", "--summary-only", "--instr-profile"]).arg(&merged);
    programs.iter().for_each(|program| {
        export.arg("--object").arg(program);
    });
    let rows = rows(root, &serde_json::from_str(&output(&mut export)?)?);
    ensure!(rows.values().any(|lines| lines.run > 0), "no line was run");
    print(&rows);
    let traced = ["test", "-p", "aio2-conformance", "--test", "traceability", "--", "--nocapture"];
    let said = output(Command::new(env!("CARGO")).current_dir(root).args(traced))?;
    let counts = said.lines().filter(|l| l.starts_with("engine: ") || l.starts_with("kernel: "));
    counts.for_each(|line| println!("requirements, {line}"));
    Ok(())
}

fn cargo(root: &Path, args: &[&str]) -> Command {
    println!("==> cargo {} with -C instrument-coverage", args.join(" "));
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args(args)
        .env("RUSTFLAGS", "-C instrument-coverage")
        .env("CARGO_TARGET_DIR", root.join("target/coverage"))
        // Processes of one program share some files, into which they add.
        .env("LLVM_PROFILE_FILE", root.join("target/coverage/profiles/%4m.profraw"));
    command
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| name.clone())?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{name} fails:\n{said}");
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The directory of LLVM's tools; installs them if they are missing.
fn tools() -> Result<PathBuf> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let major = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = major.and_then(|v| v.split('.').next()).context("rustc tells no LLVM version")?;
    packages::for_coverage(&Shell::new()?, major)
}

/// The test programs, and those that they start.
fn programs(root: &Path) -> Result<Vec<PathBuf>> {
    let args = [&["test"], &PACKAGES[..], &["--no-run", "--message-format=json"]].concat();
    let said = output(&mut cargo(root, &args))?;
    let of = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let tested = message["profile"]["test"].as_bool()? || message["target"]["kind"][0] == "bin";
        tested.then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    let programs: Vec<PathBuf> = said.lines().filter_map(of).collect();
    ensure!(!programs.is_empty(), "cargo has built no tests");
    Ok(programs)
}

/// Lines by module: a directory below `src`, or a file there.
fn rows(root: &Path, export: &Value) -> BTreeMap<String, Lines> {
    let mut rows = BTreeMap::<String, Lines>::new();
    let files = export["data"][0]["files"].as_array();
    for file in files.into_iter().flatten() {
        let Some(path) = file["filename"].as_str() else { continue };
        let Ok(path) = Path::new(path).strip_prefix(root) else { continue };
        let path = path.to_string_lossy();
        let Some(code) = CODE.iter().find(|code| path.starts_with(**code)) else { continue };
        let module = path[code.len()..].split('/').next().unwrap_or_default();
        let lines = &file["summary"]["lines"];
        for name in [format!("{code}{}", module.trim_end_matches(".rs")), (*code).to_owned()] {
            let row = rows.entry(name).or_default();
            row.run += lines["covered"].as_u64().unwrap_or(0);
            row.all += lines["count"].as_u64().unwrap_or(0);
        }
    }
    rows
}

fn print(rows: &BTreeMap<String, Lines>) {
    println!("\n{:<34} {:>6} {:>6} {:>7}", "module", "lines", "run", "%");
    for (name, Lines { run, all }) in rows {
        let percent = *run as f64 * 100.0 / (*all).max(1) as f64;
        println!("{name:<34} {all:>6} {run:>6} {percent:>7.1}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed_by_module() {
        let file = |name: &str, covered: u64| {
            let lines = serde_json::json!({ "count": 10, "covered": covered });
            serde_json::json!({ "filename": name, "summary": { "lines": lines } })
        };
        let files = [
            file("/p/abi/src/iocb.rs", 9),
            file("/p/userspace/src/ring/sink.rs", 5),
            file("/p/userspace/src/ring/mod.rs", 7),
            file("/p/tests/src/lib.rs", 1),
            file("/elsewhere/abi/src/iocb.rs", 1),
        ];
        let export = serde_json::json!({ "data": [{ "files": files }] });
        let rows = rows(Path::new("/p"), &export);
        let rows: Vec<_> = rows.iter().map(|(name, l)| (name.as_str(), l.run, l.all)).collect();
        assert_eq!(
            rows,
            [
                ("abi/src/", 9, 10),
                ("abi/src/iocb", 9, 10),
                ("userspace/src/", 12, 20),
                ("userspace/src/ring", 12, 20)
            ]
        );
    }
}
