//! `cargo xtask verify --coverage`: requirements by tests; lines and branches by what
//! was run of the library, of the ABI, and of the kernel's files that are tested as
//! they are: `ring.c` and `parse.c`, the C core.
//!
//! cargo-llvm-cov builds, runs and sums. Branches are counted by a flag of the
//! compiler that is not stable yet, which RUSTC_BOOTSTRAP lets a stable one take; C is
//! counted by the clang of the compiler's own LLVM. What is printed here is its table
//! by modules. What runs in a process that dies by a signal is not counted.

use super::record;
use crate::packages;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use xshell::Shell;

/// What is tested, and by what.
const PACKAGES: [&str; 8] =
    ["-p", "aio2-abi", "-p", "aio2", "-p", "aio2-conformance", "-p", "aio2-ccore"];
/// Where the code is that counts: what users run.
const CODE: [&str; 2] = ["abi/src/", "userspace/src/"];
/// Where the build of the C core has the kernel's files from the series.
const KERNEL: &str = "/out/aio2/";

/// What was run, of all that there is.
#[derive(Clone, Copy, Default)]
struct Share {
    run: u64,
    all: u64,
}

#[derive(Clone, Copy, Default)]
struct Row {
    lines: Share,
    branches: Share,
}

/// Runs the tests, prints both tables, and keeps the sums.
///
/// # Errors
/// If the tests cannot be built, or a tool cannot be had, or the sums not be kept.
pub fn run(root: &Path) -> Result<()> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let major = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = major.and_then(|v| v.split('.').next()).context("rustc tells no LLVM version")?;
    let tools = packages::for_coverage(&Shell::new()?, major)?;
    let table = root.join("target/coverage.json");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).args(["llvm-cov", "--branch", "--include-ffi"]).args(PACKAGES);
    // Dependencies that look for these would want a nightly compiler.
    command.args(["--no-cfg-coverage", "--no-cfg-coverage-nightly"]);
    // Some tests count allocations or make them fail, also those of the counting.
    // Whether tests pass is asked elsewhere.
    command.arg("--ignore-run-fail");
    // The kernel's files are in the target directory. Children that are killed on
    // purpose leave files that are no profiles.
    command.args(["--no-default-ignore-filename-regex", "--failure-mode", "all"]);
    command.args(["--json", "--summary-only", "--output-path"]).arg(&table);
    command.env("RUSTC_BOOTSTRAP", "1").env("CC", tools.join("clang"));
    command.env("LLVM_COV", tools.join("llvm-cov"));
    command.env("LLVM_PROFDATA", tools.join("llvm-profdata"));
    // Processes of one program share some files, into which they add.
    command.env("LLVM_PROFILE_FILE_NAME", "aio2-%4m.profraw");
    println!("==> cargo llvm-cov {}", PACKAGES.join(" "));
    ensure!(command.status()?.success(), "cargo llvm-cov fails; what it said stands above");
    let rows = rows(root, &serde_json::from_str(&fs::read_to_string(&table)?)?);
    ensure!(rows.values().any(|row| row.lines.run > 0), "no line was run");
    print(&rows);
    record::keep(root, "coverage", &sums(&rows))?;
    let traced = ["test", "-p", "aio2-conformance", "--test", "traceability", "--", "--nocapture"];
    let said = output(Command::new(env!("CARGO")).current_dir(root).args(traced))?;
    let counts = said.lines().filter(|l| l.starts_with("engine: ") || l.starts_with("kernel: "));
    counts.for_each(|line| println!("requirements, {line}"));
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| name.clone())?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{name} fails:\n{said}");
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Rows by module: a directory below `src`, or a file there; and by file of the kernel.
fn rows(root: &Path, export: &Value) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::<String, Row>::new();
    let files = export["data"][0]["files"].as_array();
    for file in files.into_iter().flatten() {
        let path = file["filename"].as_str().unwrap_or_default();
        let Some(names) = names(root, path) else { continue };
        for name in names {
            let row = rows.entry(name).or_default();
            for (share, of) in [(&mut row.lines, "lines"), (&mut row.branches, "branches")] {
                let summary = &file["summary"][of];
                share.run += summary["covered"].as_u64().unwrap_or(0);
                share.all += summary["count"].as_u64().unwrap_or(0);
            }
        }
    }
    rows
}

/// The rows in which a file counts; none if it is not what users run.
fn names(root: &Path, path: &str) -> Option<[String; 2]> {
    if let Some((_, file)) = path.rsplit_once(KERNEL) {
        return Some([format!("fs/aio2/{file}"), "fs/aio2/".to_owned()]);
    }
    let path = Path::new(path).strip_prefix(root).ok()?.to_str()?;
    let code = CODE.iter().find(|code| path.starts_with(**code))?;
    let module = path[code.len()..].split('/').next().unwrap_or_default();
    Some([format!("{code}{}", module.trim_end_matches(".rs")), (*code).to_owned()])
}

fn percent(share: Share) -> f64 {
    share.run as f64 * 100.0 / share.all.max(1) as f64
}

/// The rows of whole directories, as the table of numbers has them.
fn sums(rows: &BTreeMap<String, Row>) -> String {
    let whole = rows.iter().filter(|(name, _)| name.ends_with('/'));
    let sums = whole.map(|(name, Row { lines, branches })| {
        let (l, b) = (percent(*lines), percent(*branches));
        format!("{name} {l:.1} % of {} lines, {b:.1} % of {} branches", lines.all, branches.all)
    });
    sums.collect::<Vec<_>>().join("; ")
}

fn print(rows: &BTreeMap<String, Row>) {
    println!(
        "\n{:<30} {:>6} {:>6} {:>6} {:>9} {:>6} {:>6}",
        "module", "lines", "run", "%", "branches", "run", "%"
    );
    for (name, Row { lines, branches }) in rows {
        println!(
            "{name:<30} {:>6} {:>6} {:>6.1} {:>9} {:>6} {:>6.1}",
            lines.all,
            lines.run,
            percent(*lines),
            branches.all,
            branches.run,
            percent(*branches)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_branches_are_summed_by_module() {
        let file = |name: &str, covered: u64| {
            let lines = serde_json::json!({ "count": 10, "covered": covered });
            let branches = serde_json::json!({ "count": 4, "covered": 1 });
            serde_json::json!({
                "filename": name, "summary": { "lines": lines, "branches": branches }
            })
        };
        let files = [
            file("/p/abi/src/iocb.rs", 9),
            file("/p/userspace/src/ring/sink.rs", 5),
            file("/p/userspace/src/ring/mod.rs", 7),
            file("/p/target/x/build/aio2-ccore-1/out/aio2/ring.c", 8),
            file("/p/tests/src/lib.rs", 1),
            file("/elsewhere/abi/src/iocb.rs", 1),
        ];
        let export = serde_json::json!({ "data": [{ "files": files }] });
        let rows = rows(Path::new("/p"), &export);
        assert_eq!(
            sums(&rows),
            "abi/src/ 90.0 % of 10 lines, 25.0 % of 4 branches; \
             fs/aio2/ 80.0 % of 10 lines, 25.0 % of 4 branches; \
             userspace/src/ 60.0 % of 20 lines, 25.0 % of 8 branches"
        );
        let rows = rows.iter().map(|(name, r)| {
            (name.as_str(), r.lines.run, r.lines.all, r.branches.run, r.branches.all)
        });
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [
                ("abi/src/", 9, 10, 1, 4),
                ("abi/src/iocb", 9, 10, 1, 4),
                ("fs/aio2/", 8, 10, 1, 4),
                ("fs/aio2/ring.c", 8, 10, 1, 4),
                ("userspace/src/", 12, 20, 2, 8),
                ("userspace/src/ring", 12, 20, 2, 8)
            ]
        );
    }
}
