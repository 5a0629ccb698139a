//! What goes into the packages: the code, its licences and what it is, and no
//! more.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

fn listed(package: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["package", "--list", "--allow-dirty", "--offline", "-p", package])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn packages_hold_their_code_and_their_licences() {
    for (package, more) in [
        ("aio2-abi", &["include/linux/aio2.h", "LICENSE-GPL-2.0"][..]),
        ("aio2-thread", &[][..]),
        ("aio2-record", &[][..]),
        ("aio2", &["examples/first.rs"][..]),
    ] {
        let files = listed(package);
        let needed = ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "src/lib.rs"];
        for file in needed.iter().chain(more) {
            assert!(files.iter().any(|listed| listed == file), "{package} lacks {file}");
        }
        let known = ["src/", "include/", "examples/", "README.md", "LICENSE-", "Cargo", ".cargo"];
        let other = files.iter().find(|file| !known.iter().any(|known| file.starts_with(known)));
        assert_eq!(other, None, "{package} holds more");
    }
}

/// The copies in the packages are those of the project.
#[test]
fn licences_are_the_same_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for (copy, file) in [("MIT", "MIT.txt"), ("APACHE", "Apache-2.0.txt")] {
        let text = std::fs::read(root.join("LICENSES").join(file)).unwrap();
        for package in ["abi", "userspace", "userspace/thread", "userspace/record"] {
            let copied = root.join(package).join(format!("LICENSE-{copy}"));
            assert_eq!(std::fs::read(copied).unwrap(), text);
        }
    }
}

/// By the tool of those who made the rule, where it is installed (reuse, on PyPI).
#[test]
fn each_file_says_its_licence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let output = match Command::new("reuse").current_dir(root).arg("lint").output() {
        Ok(output) => output,
        Err(error) => {
            println!("SKIP: reuse cannot be run: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
