//! The bodies of the fuzz targets as plain tests: on the saved corpus, and on
//! some random bytes (`AIO2_SEED`, `AIO2_CASES`).

use aio2_conformance::fuzz::TARGETS;
use aio2_conformance::random::{Random, cases, seed};
use std::path::{Path, PathBuf};

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz")
}

fn run(target: &str) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let corpus = fuzz_dir().join("corpus").join(target);
    let mut saved: Vec<PathBuf> = corpus
        .read_dir()
        .unwrap_or_else(|e| panic!("{}: {e}", corpus.display()))
        .map(|entry| entry.expect("a file of the corpus").path())
        .collect();
    saved.sort();
    assert!(!saved.is_empty(), "{}: no corpus", corpus.display());
    for path in &saved {
        let bytes = std::fs::read(path).expect("a file of the corpus");
        let result = std::panic::catch_unwind(|| body(&bytes));
        assert!(result.is_ok(), "{target} fails on {}", path.display());
    }
    let first = seed();
    let count = cases(300);
    for n in 0..count {
        let seed = first.wrapping_add(n);
        let mut random = Random::new(seed);
        let len = random.below(600) as usize;
        let bytes = random.bytes(len);
        let result = std::panic::catch_unwind(|| body(&bytes));
        assert!(result.is_ok(), "{target} fails with AIO2_SEED={seed} AIO2_CASES=1");
    }
    println!("{target}: {} saved, {count} random inputs from AIO2_SEED={first}", saved.len());
}

/// SPEC: R-HOST-4, R-IOCB-2, R-IOCB-3, R-IOCB-4, R-IOCB-5, R-IOCB-6, R-IOCB-7,
/// SPEC: R-IOCB-8, R-IOCB-9
#[test]
fn iocb_stream() {
    run("iocb_stream");
}

/// SPEC: R-HOST-4, R-VER-1
#[test]
fn event_stream() {
    run("event_stream");
}

/// SPEC: R-IOCB-9
#[test]
fn encode_decode() {
    run("encode_decode");
}

/// SPEC: R-RING-16, R-OVF-2, R-OVF-4, R-OVF-6, R-OVF-7
#[test]
fn ring_ops() {
    run("ring_ops");
}

/// SPEC: R-HOST-1, R-HOST-2, R-HOST-3, R-RING-8, R-RING-14
#[test]
fn hostile_peer() {
    run("hostile_peer");
}

/// SPEC: R-OVF-7
#[test]
fn engine_ops() {
    run("engine_ops");
}

/// SPEC: R-SETUP-1, R-SETUP-2, R-SETUP-3, R-SETUP-4, R-SETUP-6, R-SETUP-7,
/// SPEC: R-SETUP-8, R-SETUP-9
#[test]
fn setup_params() {
    run("setup_params");
}

#[test]
fn each_target_has_a_program_and_a_test() {
    let manifest = std::fs::read_to_string(fuzz_dir().join("Cargo.toml")).expect("it is there");
    let here = include_str!("fuzz.rs");
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} in fuzz/Cargo.toml");
        assert!(fuzz_dir().join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
        assert!(here.contains(&format!("run(\"{name}\")")), "{name} has no test");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
