//! The drop-in beside the original: symbols, and the suite of `suite.c`, which is
//! run with the original first.

use aio2_link::{LIBAIO, LIBAIO_SYSCALL, failed_cases, run};
use aio2_record::{Count, Counters};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Cases in which the original is not what it should be, and why.
const ORIGINAL: [(&str, &str); 1] =
    [("get_bad_timeout", "it reads the time itself, and dies where the kernel says EFAULT")];

/// Cases in which the drop-in differs, and why.
const DROP_IN: [(&str, &str); 1] = [(
    "submit_directory",
    "a read of a directory is not refused by io_submit; its event says EISDIR",
)];

/// What the preloaded saboteur can do.
const SABOTAGES: [&str; 14] = [
    "lost event",
    "doubled event",
    "wrong errno",
    "short result",
    "wiped data",
    "early completion",
    "cancel of everything",
    "time ignored",
    "too few",
    "no eventfd",
    "wrong data pointer",
    "wrong place",
    "refusal is taken for an end",
    "destroy of nothing",
];

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The original; none, with a SKIP, if it is not installed.
fn original() -> Option<PathBuf> {
    let header = Path::new("/usr/include/libaio.h").exists();
    let found = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"]
        .iter()
        .map(|dir| Path::new(dir).join("libaio.so.1"))
        .find(|path| header && path.exists());
    if found.is_none() {
        println!("SKIP libaio: not installed (apt-get install libaio-dev)");
    }
    found
}

/// A directory with the drop-in in `drop-in/`, the suite and the saboteur.
fn built() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = dir.path();
        fs::create_dir(at.join("drop-in")).unwrap();
        let test = std::env::current_exe().expect("a test has a path");
        let archive = LIBAIO.newest_archive(test.parent().expect("it lies in deps"));
        let archive = archive.expect("Cargo has built the static library");
        LIBAIO
            .link(&crate_dir().join("../../.."), &archive, &at.join("drop-in/libaio.so.1"))
            .unwrap();
        let root = crate_dir().join("../../..");
        LIBAIO_SYSCALL.link(&root, &archive, &at.join("libaio2-syscall.so")).unwrap();
        let strict = ["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror"];
        let mut suite = Command::new("gcc");
        suite.args(strict).arg(crate_dir().join("tests/suite.c")).arg("-o").arg(at.join("suite"));
        run(suite.args(["-laio", "-lpthread", "-ldl"])).unwrap();
        let mut saboteur = Command::new("gcc");
        saboteur.args(strict).args(["-shared", "-fPIC"]).arg(crate_dir().join("tests/sabotage.c"));
        let mut calls = Command::new("gcc");
        calls.args(strict).arg(crate_dir().join("tests/syscalls.c")).arg("-o");
        run(calls.arg(at.join("syscalls")).arg("-laio")).unwrap();
        let mut jail = Command::new("gcc");
        jail.args(strict).arg(crate_dir().join("tests/jail.c")).arg("-o").arg(at.join("jail"));
        run(&mut jail).unwrap();
        run(saboteur.arg("-o").arg(at.join("sabotage.so")).arg("-ldl")).unwrap();
        dir
    });
    dir.path()
}

/// Runs the suite; the cases that failed, with what they said, and their number.
fn suite(environment: &[(&str, &str)]) -> (BTreeMap<String, String>, usize) {
    let files = tempfile::tempdir_in(built()).unwrap();
    let output = Command::new(built().join("suite"))
        .arg(files.path())
        .envs(environment.iter().copied())
        .output()
        .expect("the suite can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (failed, all) = failed_cases(&said);
    (failed, all.unwrap_or_else(|| panic!("the suite did not end: {said}")))
}

fn drop_in() -> String {
    built().join("drop-in").to_str().expect("a path of ours is text").to_owned()
}

fn assert_only(failed: &BTreeMap<String, String>, known: &[(&str, &str)], who: &str) {
    for (case, why) in known {
        println!("{who} deviates in {case}: {why}");
    }
    let unknown: Vec<_> =
        failed.iter().filter(|(name, _)| !known.iter().any(|(case, _)| case == name)).collect();
    assert!(unknown.is_empty(), "{who}: {unknown:#?}");
}

#[test]
fn the_original_passes_but_for_what_is_listed() {
    if original().is_none() {
        return;
    }
    let (failed, all) = suite(&[]);
    assert!(all >= 80, "{all} cases");
    assert_only(&failed, &ORIGINAL, "the original");
}

#[test]
fn the_drop_in_passes_but_for_what_is_listed() {
    if original().is_none() {
        return;
    }
    let (failed, all) = suite(&[("LD_LIBRARY_PATH", &drop_in()), ("SUITE_MANY", "20000")]);
    println!("{all} cases");
    assert_only(&failed, &DROP_IN, "the drop-in");
}

#[test]
fn each_sabotage_is_found() {
    if original().is_none() {
        return;
    }
    let preload = built().join("sabotage.so");
    let preload = preload.to_str().expect("a path of ours is text");
    for sabotage in SABOTAGES {
        let (failed, _) = suite(&[
            ("LD_LIBRARY_PATH", &drop_in()),
            ("LD_PRELOAD", preload),
            ("SABOTAGE", sabotage),
            ("SUITE_LIMIT", "2"),
        ]);
        let found: Vec<_> =
            failed.keys().filter(|name| !DROP_IN.iter().any(|(case, _)| case == name)).collect();
        println!("{sabotage}: found by {}", found.len());
        assert!(!found.is_empty(), "{sabotage} is not found");
    }
}

/// Calls by number and by name on one context, whichever made it.
#[test]
fn calls_by_number_reach_the_preloaded_drop_in() {
    if original().is_none() {
        return;
    }
    let preload = built().join("libaio2-syscall.so");
    let count = built().join("count-of-syscalls");
    let output = Command::new(built().join("syscalls"))
        .env("LD_PRELOAD", &preload)
        .env("AIO2_COUNT", &count)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{} {said}", output.status);
    let counters = Counters::open(&count).unwrap();
    assert_eq!((counters.get(Count::Contexts), counters.get(Count::Events)), (2, 3));
    let preload = preload.to_str().expect("a path of ours is text");
    let (failed, _) = suite(&[("LD_PRELOAD", preload)]);
    assert_only(&failed, &DROP_IN, "the preloaded drop-in");
}

/// Without root, and with io_uring and Linux AIO forbidden.
#[test]
fn the_drop_in_passes_where_the_kernels_interfaces_are_forbidden() {
    if original().is_none() {
        return;
    }
    // Where nobody can read and write.
    let open = tempfile::tempdir().unwrap();
    for (from, to) in [("suite", "suite"), ("jail", "jail"), ("drop-in/libaio.so.1", "libaio.so.1")]
    {
        fs::copy(built().join(from), open.path().join(to)).unwrap();
    }
    fs::create_dir(open.path().join("files")).unwrap();
    for dir in ["", "files"] {
        fs::set_permissions(open.path().join(dir), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let output = Command::new(open.path().join("jail"))
        .arg(open.path().join("suite"))
        .arg(open.path().join("files"))
        .env("LD_LIBRARY_PATH", open.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("io_uring and Linux AIO are forbidden"), "{} {said}", output.status);
    let (failed, all) = failed_cases(&said);
    assert!(all.is_some(), "the suite did not end: {said}");
    println!("{}", said.lines().next().unwrap_or_default());
    assert_only(&failed, &DROP_IN, "the drop-in");
}

/// Names with versions, as the loader sees them.
fn symbols(object: &Path) -> Vec<String> {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(object).output();
    let output = output.expect("binutils are there");
    let mut names: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
        .collect();
    names.sort();
    names
}

#[test]
fn symbols_and_versions_are_those_of_the_original() {
    let Some(original) = original() else { return };
    let wanted = symbols(&original);
    assert!(wanted.iter().any(|name| name == "T io_cancel@LIBAIO_0.1"), "{wanted:?}");
    assert_eq!(symbols(&built().join("drop-in/libaio.so.1")), wanted);
}
