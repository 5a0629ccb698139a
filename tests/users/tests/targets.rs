//! Other targets than this one, wherever their standard library is installed.
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

#[test]
fn the_library_compiles_for_other_targets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for target in TARGETS {
        if !is_installed(target) {
            println!("SKIP: no standard library for {target}: rustup target add {target}");
            continue;
        }
        for package in ["aio2-abi", "aio2"] {
            let output = Command::new(env!("CARGO"))
                .current_dir(root)
                .args(["check", "-q", "--lib", "-p", package, "--target", target])
                .arg("--target-dir")
                .arg(root.join("target/other"))
                .output()
                .expect("cargo runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{package} for {target}:\n{said}");
        }
    }
}
