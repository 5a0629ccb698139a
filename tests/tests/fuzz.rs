//! The bodies of the fuzz targets as plain tests: on the saved corpus, and on
//! some random bytes (`AIO2_SEED`, `AIO2_CASES`).

use aio2_conformance::corpus::{self, fuzz_dir};
use aio2_conformance::fuzz::TARGETS;

fn run(target: &str) {
    corpus::run(TARGETS, target);
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
    let mut programs = 0;
    for entry in fuzz_dir().join("fuzz_targets").read_dir().expect("they are there") {
        let path = entry.expect("a program").path();
        let text = std::fs::read_to_string(path).expect("it can be read");
        programs += usize::from(text.contains("aio2_conformance::fuzz::"));
    }
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} in fuzz/Cargo.toml");
        assert!(fuzz_dir().join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
        assert!(here.contains(&format!("run(\"{name}\")")), "{name} has no test");
    }
    assert_eq!(programs, TARGETS.len());
}
