//! Tests under sanitizers, in a build of their own.
//!
//! The flags are not stable yet; the stable compiler takes them so, as for the
//! fuzz targets.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

const SUITE: [&str; 3] = ["test", "-p", "aio2-conformance"];
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn cargo(root: &Path, flags: &str, options: &str, dir: &str, args: &[&str]) -> Result<()> {
    println!("==> cargo {} with {flags}", args.join(" "));
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", root.join(dir))
        .env("ASAN_OPTIONS", options)
        .env("TSAN_OPTIONS", options)
        .args(args)
        .args(["--target", TARGET])
        .status()
        .context("cargo")?;
    ensure!(status.success(), "cargo {} fails with {flags}", args.join(" "));
    Ok(())
}

/// The conformance suite, the sequential model and the fuzz bodies on the
/// engine with AddressSanitizer.
///
/// Children of the suite have to die by SIGSEGV, and to exit with requests in
/// flight: the sanitizer must not catch the one, nor call the other a leak.
/// The other programs are watched for leaks.
///
/// # Errors
/// If a test fails, or an access is bad.
pub fn address(root: &Path) -> Result<()> {
    let runs = [
        ("handle_segv=0:detect_leaks=0", &["--test", "engine"][..]),
        ("detect_leaks=1", &["--test", "model", "--test", "fuzz", "--test", "flips"]),
    ];
    for (options, tests) in runs {
        cargo(root, "-Zsanitizer=address", options, "target/asan", &[&SUITE[..], tests].concat())?;
    }
    Ok(())
}

/// The stress program with ThreadSanitizer. It has no runtime but pthreads,
/// since std's own locks are not built with the sanitizer, and is a release
/// build, which is fast enough to run into races.
///
/// # Errors
/// If there is a race.
pub fn thread(root: &Path) -> Result<()> {
    let flags = "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer";
    // A race must fail the run, not only be printed.
    cargo(
        root,
        flags,
        "halt_on_error=1",
        "target/tsan",
        &[&SUITE[..], &["--release", "--test", "race"]].concat(),
    )
}
