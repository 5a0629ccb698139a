//! Runs the body of a fuzz target as a plain test: on the saved corpus, and on
//! some random bytes (`AIO2_SEED`, `AIO2_CASES`).

use crate::fuzz::Body;
use crate::random::{Random, cases, seed};
use std::path::{Path, PathBuf};

/// Where the fuzz targets and their corpora are.
#[must_use]
pub fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz")
}

/// Runs the one of `targets` that has this name.
///
/// # Panics
/// If there is no such target, it has no corpus, or it fails; says on what.
pub fn run(targets: &[(&str, Body)], target: &str) {
    let (_, body) = targets.iter().find(|(name, _)| *name == target).expect("a target");
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
