//! The drop-in beside the C library's POSIX AIO: symbols, and the suite of
//! `suite.c`, which is run with the original first.

use aio2_link::{POSIX, failed_cases, run};
use aio2_record::{Count, Counters};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Cases in which the original is not what it should be, and why.
const ORIGINAL: [(&str, &str); 5] = [
    (
        "a_read_that_waits_does_not_stop_a_write_of_its_socket",
        "it runs one request of a descriptor at a time, whatever its direction",
    ),
    ("a_slow_pipe_does_not_stop_files", "its twenty threads are all held by reads that wait"),
    (
        "a_child_does_not_hang_on_its_parents_request",
        "it waits for a thread that the child does not have",
    ),
    ("a_child_of_a_child", "it takes the parent's idle threads for the child's"),
    ("null_is_told", "it dies"),
];

/// Cases in which the drop-in differs, and why.
const DROP_IN: [(&str, &str); 0] = [];

/// What the preloaded saboteur can do.
const SABOTAGES: [&str; 19] = [
    "lost request",
    "no signal",
    "no thread",
    "doubled request",
    "wrong value",
    "wrong place",
    "in any order",
    "early completion",
    "wrong errno",
    "short result",
    "wiped data",
    "ignored suspend",
    "time ignored",
    "cancel of everything",
    "cancel of nothing",
    "fsync that does nothing",
    "LIO_WAIT that does not wait",
    "list tells nobody",
    "nothing",
];

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory with the drop-in, the suite, the saboteur and the jail.
fn built() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = dir.path();
        let test = std::env::current_exe().expect("a test has a path");
        let archive = POSIX.newest_archive(test.parent().expect("it lies in deps"));
        let archive = archive.expect("Cargo has built the static library");
        let root = crate_dir().join("../../..");
        POSIX.link(&root, &archive, &at.join(POSIX.soname)).unwrap();
        let strict = ["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror"];
        let jail = crate_dir().join("../libaio/tests/jail.c");
        for (source, program, more) in [
            (crate_dir().join("tests/suite.c"), "suite", &["-lpthread"][..]),
            (crate_dir().join("tests/versions.c"), "versions", &[]),
            (jail, "jail", &[]),
            (crate_dir().join("tests/sabotage.c"), "sabotage.so", &["-shared", "-fPIC", "-ldl"]),
        ] {
            let mut gcc = Command::new("gcc");
            run(gcc.args(strict).arg(source).arg("-o").arg(at.join(program)).args(more)).unwrap();
        }
        dir
    });
    dir.path()
}

/// Runs the suite; the cases that failed, with what they said, and their number.
fn suite(environment: &[(&str, &str)], limit_s: u32) -> (BTreeMap<String, String>, usize) {
    let files = tempfile::tempdir_in(built()).unwrap();
    let output = Command::new(built().join("suite"))
        .arg(files.path())
        .env("SUITE_LIMIT", limit_s.to_string())
        .envs(environment.iter().copied())
        .output()
        .expect("the suite can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (failed, all) = failed_cases(&said);
    (failed, all.unwrap_or_else(|| panic!("the suite did not end: {said}")))
}

fn drop_in() -> String {
    built().join(POSIX.soname).to_str().expect("a path of ours is text").to_owned()
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
    let (failed, all) = suite(&[], 5);
    assert!(all >= 80, "{all} cases");
    assert_only(&failed, &ORIGINAL, "the original");
}

#[test]
fn the_drop_in_passes_but_for_what_is_listed() {
    let count = built().join("count");
    let counted = count.to_str().expect("a path of ours is text");
    let (failed, all) = suite(&[("LD_PRELOAD", &drop_in()), ("AIO2_COUNT", counted)], 30);
    let counters = Counters::open(&count).unwrap();
    let [requests, events] = [Count::Requests, Count::Events].map(|what| counters.get(what));
    println!("{all} cases, {requests} requests");
    // Some are left in flight, when a case ends.
    assert!(requests > 5000 && events > 5000, "{requests} requests, {events} events");
    assert_only(&failed, &DROP_IN, "the drop-in");
}

#[test]
fn each_sabotage_is_found() {
    let preload = format!("{} {}", built().join("sabotage.so").display(), drop_in());
    for sabotage in SABOTAGES {
        let environment = [("LD_PRELOAD", &*preload), ("SABOTAGE", sabotage), ("SUITE_FIRST", "1")];
        let (failed, _) = suite(&environment, 3);
        println!("{sabotage}: found by {failed:?}");
        assert_eq!(!failed.is_empty(), sabotage != "nothing", "{sabotage}: {failed:?}");
    }
}

/// A version that the loader does not know would silently be left alone.
#[test]
fn each_version_of_a_name_reaches_the_drop_in() {
    if !cfg!(target_arch = "x86_64") {
        println!("SKIP versions: others have no GLIBC_2.2.5");
        return;
    }
    let count = built().join("count-of-versions");
    let output = Command::new(built().join("versions"))
        .env("LD_PRELOAD", drop_in())
        .env("AIO2_COUNT", &count)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    let counters = Counters::open(&count).unwrap();
    assert_eq!((counters.get(Count::Submissions), counters.get(Count::Events)), (3, 3));
}

/// Without root, and with io_uring and Linux AIO forbidden.
#[test]
fn the_drop_in_passes_where_the_kernels_interfaces_are_forbidden() {
    // Where nobody can read and write.
    let open = tempfile::tempdir().unwrap();
    for name in ["suite", "jail", POSIX.soname] {
        fs::copy(built().join(name), open.path().join(name)).unwrap();
    }
    fs::create_dir(open.path().join("files")).unwrap();
    for dir in ["", "files"] {
        fs::set_permissions(open.path().join(dir), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let output = Command::new(open.path().join("jail"))
        .arg(open.path().join("suite"))
        .arg(open.path().join("files"))
        .env("LD_PRELOAD", open.path().join(POSIX.soname))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("io_uring and Linux AIO are forbidden"), "{} {said}", output.status);
    let (failed, all) = failed_cases(&said);
    assert!(all.is_some(), "the suite did not end: {said}");
    println!("{}", said.lines().next().unwrap_or_default());
    assert_only(&failed, &DROP_IN, "the drop-in");
}

/// The names of POSIX AIO that an object has, without their versions.
fn names(object: &Path) -> BTreeSet<String> {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(object).output();
    let output = output.expect("binutils are there");
    let said = String::from_utf8_lossy(&output.stdout);
    let names = said.lines().filter_map(|line| line.split_whitespace().nth(2));
    let names = names.map(|name| name.split('@').next().unwrap_or(name).to_owned());
    names.filter(|name| name.starts_with("aio_") || name.starts_with("lio_")).collect()
}

#[test]
fn symbols_are_those_of_the_original() {
    let original = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64"];
    let original = original.iter().map(|dir| Path::new(dir).join("libc.so.6"));
    let original: PathBuf = original.into_iter().find(|path| path.exists()).expect("a C library");
    let wanted = names(&original);
    assert!(wanted.contains("lio_listio64") && wanted.len() == 17, "{wanted:?}");
    let ours = Path::new(&drop_in()).to_path_buf();
    assert_eq!(names(&ours), wanted);
    // Nothing else, and no version, which would be left alone where another one is
    // asked for.
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(ours).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().count(), wanted.len(), "{said}");
    assert!(!said.contains('@'), "{said}");
}
