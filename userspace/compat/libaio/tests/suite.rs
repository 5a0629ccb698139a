//! The drop-in beside the original: symbols, and the suite of `suite.c`, which is
//! run with the original first.

#[path = "../../suite.rs"]
mod suite;

use aio2_link::{LIBAIO, LIBAIO_SYSCALL};
use aio2_record::{Count, Counters};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use suite::{Suite, assert_only, symbols};

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

/// The drop-in, as a path and as its directory, which is the loader's.
const OBJECT: &str = "drop-in/libaio.so.1";
const DIRECTORY: &str = "drop-in";
/// The one for calls by number.
const BY_NUMBER: &str = "libaio2-syscall.so";

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

fn built() -> &'static Suite {
    static BUILT: OnceLock<Suite> = OnceLock::new();
    BUILT.get_or_init(|| {
        Suite::new(
            Path::new(env!("CARGO_MANIFEST_DIR")),
            &[(LIBAIO, OBJECT), (LIBAIO_SYSCALL, BY_NUMBER)],
            &["-laio", "-lpthread", "-ldl"],
            &[("syscalls", &["-laio"])],
        )
    })
}

#[test]
fn the_original_passes_but_for_what_is_listed() {
    if original().is_none() {
        return;
    }
    let (failed, all) = built().run(&[]);
    assert!(all >= 80, "{all} cases");
    assert_only(&failed, &ORIGINAL, "the original");
}

#[test]
fn the_drop_in_passes_but_for_what_is_listed() {
    if original().is_none() {
        return;
    }
    let drop_in = built().text(DIRECTORY);
    let (failed, all) = built().run(&[("LD_LIBRARY_PATH", &drop_in), ("SUITE_MANY", "20000")]);
    println!("{all} cases");
    assert_only(&failed, &DROP_IN, "the drop-in");
}

#[test]
fn each_sabotage_is_found() {
    if original().is_none() {
        return;
    }
    let (preload, drop_in) = (built().text("sabotage.so"), built().text(DIRECTORY));
    for sabotage in SABOTAGES {
        let (failed, _) = built().run(&[
            ("LD_LIBRARY_PATH", &drop_in),
            ("LD_PRELOAD", &preload),
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
    let preload = built().text(BY_NUMBER);
    let count = built().path("count-of-syscalls");
    let output = Command::new(built().path("syscalls"))
        .env("LD_PRELOAD", &preload)
        .env("AIO2_COUNT", &count)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{} {said}", output.status);
    let counters = Counters::open(&count).unwrap();
    assert_eq!((counters.get(Count::Contexts), counters.get(Count::Events)), (2, 3));
    let (failed, _) = built().run(&[("LD_PRELOAD", &preload)]);
    assert_only(&failed, &DROP_IN, "the preloaded drop-in");
}

/// Without root, and with io_uring and Linux AIO forbidden.
#[test]
fn the_drop_in_passes_where_the_kernels_interfaces_are_forbidden() {
    if original().is_none() {
        return;
    }
    let failed = built().run_in_jail(OBJECT, "LD_LIBRARY_PATH", true);
    assert_only(&failed, &DROP_IN, "the drop-in");
}

#[test]
fn symbols_and_versions_are_those_of_the_original() {
    let Some(original) = original() else { return };
    let wanted = symbols(&original);
    assert!(wanted.iter().any(|name| name == "T io_cancel@LIBAIO_0.1"), "{wanted:?}");
    assert_eq!(symbols(&built().path(OBJECT)), wanted);
}
