//! `aio2 cp` beside GNU cp: a table of sources, targets, options, faults and
//! limits, each run by both in a directory of its own. Compared are the status,
//! everything that is in the directory afterwards, and what was said.

mod common;
#[path = "table/rows.rs"]
mod rows;
#[path = "table/seen.rs"]
mod seen;

use rows::{Differs, Row};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many rows run at once: most of their time goes to starting processes.
const AT_ONCE: usize = 4;
/// What ends a command that hangs, in seconds.
const TIMEOUT: &str = "20";

/// The status that says that a row could not be set up.
const NOT_READY: i32 = 99;

/// What a run has come to.
struct Outcome {
    status: i32,
    out: String,
    err: String,
    left: BTreeMap<String, String>,
}

/// Sets a directory up and copies in it by `program`.
fn run(row: &Row, program: &str, options: &str) -> Outcome {
    let dir = common::open_dir().unwrap();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(dir.path()).stdin(Stdio::null());
        command.env("CP", program).env("LC_ALL", "C").env("OPTIONS", options);
        command.env_remove("VERSION_CONTROL").env_remove("SIMPLE_BACKUP_SUFFIX");
        command.output().unwrap()
    };
    let command = format!("timeout {TIMEOUT} $CP $OPTIONS");
    let run = match row.run {
        "" => format!("{command} {}", row.args),
        run => run.replace("CP", &command),
    };
    let output = shell(&format!("umask 022; (set -e; {}) || exit {NOT_READY}; {run}", row.setup));
    let left = seen::everything(dir.path());
    if !row.end.is_empty() {
        let _ended = shell(row.end);
    }
    let says = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(NOT_READY), "{}: {says}", row.name);
    Outcome {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        left,
    }
}

/// What aio2 cp is given so that it keeps what cp(1) keeps, and is quiet.
fn options(row: &Row) -> String {
    let words = row.args.split(' ').take_while(|&word| word != "--").chain(row.run.split(' '));
    let mut words = words.filter(|word| word.starts_with('-'));
    let keeps = words.any(|word| match word.strip_prefix("--") {
        Some(long) => long.starts_with("preserve") || long == "archive",
        None => word.contains(['a', 'p', 'd']),
    });
    let keep = if keeps { "" } else { " --preserve=none" };
    format!("-q{keep} {}", if row.sync { "" } else { "--no-sync" })
}

/// The differences of a row; empty if there are none, or only those that are meant.
fn differences(row: &Row) -> String {
    let program = format!("{} cp", env!("CARGO_BIN_EXE_aio2"));
    let (gnu, ours) = (run(row, "cp", ""), run(row, &program, &options(row)));
    let mut found = String::new();
    let mut differ = |what: &str, gnu: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug| {
        writeln!(found, "  {what}:\n    cp   {gnu:?}\n    aio2 {ours:?}").unwrap();
    };
    if let Differs::Meant { status, left, .. } = row.differs {
        if ours.status != status {
            differ("status, meant to differ", &status, &ours.status);
        }
        for (path, is) in left {
            let there = ours.left.get(*path).map_or("nothing", |seen| seen.as_str());
            if !there.starts_with(is) {
                differ(path, is, &there);
            }
        }
    } else {
        if (gnu.status == 0) != (ours.status == 0) || ours.status > 2 {
            differ("status", &(gnu.status, &gnu.err), &(ours.status, &ours.err));
        }
        let paths: std::collections::BTreeSet<_> =
            gnu.left.keys().chain(ours.left.keys()).collect();
        for path in paths {
            let (gnu, ours) = (gnu.left.get(path), ours.left.get(path));
            if gnu.map(|gnu| seen::renamed_in(gnu)) != ours.map(|ours| seen::renamed_in(ours)) {
                differ(path, &gnu, &ours);
            }
        }
    }
    if gnu.err.is_empty() && !ours.err.is_empty() && matches!(row.differs, Differs::No) {
        differ("said", &gnu.err, &ours.err);
    }
    if ours.status != 0
        && row.says != rows::NOTHING
        && (!ours.err.contains(row.says) || ours.err.is_empty())
    {
        differ("said", &row.says, &ours.err);
    }
    if ours.err.contains("panicked") {
        differ("a panic", &"", &ours.err);
    }
    if row.args.contains("-v") {
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        if sorted(&gnu.out) != sorted(&ours.out) {
            differ("told by -v", &gnu.out, &ours.out);
        }
    }
    found
}

fn gnu_cp() -> Result<(), String> {
    let output = Command::new("cp").arg("--version").output().map_err(|e| e.to_string())?;
    let says = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = says.lines().next().unwrap_or_default();
    if first.contains("GNU coreutils") { Ok(()) } else { Err(format!("cp is no GNU cp: {first}")) }
}

/// What this place lacks for a row.
fn lacks(row: &Row, place: &Path) -> Option<&'static str> {
    let root = nix::unistd::geteuid().is_root();
    let there = |need: &str| match need {
        "root" => root,
        "mount" => root && rows::can_mount(place),
        "fuse" => {
            let fuse = "[ -e /dev/fuse ] && /usr/bin/python3 -c 'import fusepy'";
            root && rows::works(fuse)
        }
        tool => rows::works(&format!("command -v {tool}")),
    };
    row.needs.split_whitespace().find(|need| !there(need))
}

#[test]
fn each_row_ends_as_with_gnu_cp() {
    if let Err(why) = gnu_cp() {
        return common::skip(&why);
    }
    let rows = rows::all();
    let place = tempfile::tempdir().unwrap();
    let (next, failed, ran) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(need) = lacks(row, place.path()) {
                        println!("SKIP: {}: needs {need}", row.name);
                        continue;
                    }
                    ran.fetch_add(1, Ordering::Relaxed);
                    let found = differences(row);
                    if !found.is_empty() {
                        failed.lock().unwrap().push(format!("{}\n{found}", row.name));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("{} rows, {} ran, {} differ", rows.len(), ran.into_inner(), failed.len());
    assert!(rows.len() >= 150, "{} rows", rows.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
