//! The drop-in beside the C library's POSIX AIO: symbols, and the suite of
//! `suite.c`, which is run with the original first.

#[path = "../../suite.rs"]
mod suite;

use aio2_link::POSIX;
use aio2_record::{Count, Counters};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use suite::{Suite, assert_only, symbols};

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

fn built() -> &'static Suite {
    static BUILT: OnceLock<Suite> = OnceLock::new();
    BUILT.get_or_init(|| {
        Suite::new(
            Path::new(env!("CARGO_MANIFEST_DIR")),
            &[(POSIX, POSIX.soname)],
            &["-lpthread"],
            &[("versions", &[])],
        )
    })
}

fn drop_in() -> String {
    built().text(POSIX.soname)
}

#[test]
fn the_original_passes_but_for_what_is_listed() {
    let (failed, all) = built().run(&[("SUITE_LIMIT", "5")]);
    assert!(all >= 80, "{all} cases");
    assert_only(&failed, &ORIGINAL, "the original");
}

#[test]
fn the_drop_in_passes_but_for_what_is_listed() {
    let count = built().text("count");
    let (failed, all) =
        built().run(&[("SUITE_LIMIT", "30"), ("LD_PRELOAD", &drop_in()), ("AIO2_COUNT", &count)]);
    let counters = Counters::open(Path::new(&count)).unwrap();
    let [requests, events] = [Count::Requests, Count::Events].map(|what| counters.get(what));
    println!("{all} cases, {requests} requests");
    // Some are left in flight, when a case ends.
    assert!(requests > 5000 && events > 5000, "{requests} requests, {events} events");
    assert_only(&failed, &DROP_IN, "the drop-in");
}

#[test]
fn each_sabotage_is_found() {
    let preload = format!("{} {}", built().text("sabotage.so"), drop_in());
    for sabotage in SABOTAGES {
        let (failed, _) = built().run(&[
            ("LD_PRELOAD", &preload),
            ("SABOTAGE", sabotage),
            ("SUITE_FIRST", "1"),
            ("SUITE_LIMIT", "3"),
        ]);
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
    let count = built().path("count-of-versions");
    let output = Command::new(built().path("versions"))
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
    let failed = built().run_in_jail(POSIX.soname, "LD_PRELOAD", false);
    assert_only(&failed, &DROP_IN, "the drop-in");
}

/// The names of POSIX AIO that an object has, without their versions.
fn names(object: &Path) -> BTreeSet<String> {
    let all = symbols(object);
    let names = all.iter().filter_map(|symbol| symbol.split([' ', '@']).nth(1));
    let names = names.filter(|name| name.starts_with("aio_") || name.starts_with("lio_"));
    names.map(str::to_owned).collect()
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
    let all = symbols(&ours);
    assert_eq!(all.len(), wanted.len(), "{all:?}");
    assert!(!all.iter().any(|symbol| symbol.contains('@')), "{all:?}");
}
