//! Other targets than this one, wherever their standard library is installed, and
//! other flags.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

const TARGETS: [&str; 3] =
    ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-gnu", "i686-unknown-linux-gnu"];

fn is_installed(target: &str) -> bool {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let args = ["--print", "target-libdir", "--target", target];
    let output = Command::new(rustc).args(args).output().expect("rustc runs");
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).exists()
}

/// Checks the library of `package`; what the compiler said against it.
fn check(package: &str, args: &[&str], rustflags: &str) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["check", "-q", "--lib", "-p", package])
        .args(args)
        .arg("--target-dir")
        .arg(root.join("target/other"))
        .env("RUSTFLAGS", rustflags)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.into_owned()) }
}

#[test]
fn the_library_compiles_for_other_targets() {
    for target in TARGETS {
        if !is_installed(target) {
            println!("SKIP: no standard library for {target}: rustup target add {target}");
            continue;
        }
        for package in ["aio2-abi", "aio2"] {
            let checked = check(package, &["--target", target], "");
            assert_eq!(checked, Ok(()), "{package} for {target}");
        }
    }
}

/// Programs have models of their own, with the flag that loom asks for.
#[test]
fn a_user_who_builds_with_loom_has_all_of_the_library() {
    assert_eq!(check("aio2-libaio", &[], "--cfg loom"), Ok(()));
}
