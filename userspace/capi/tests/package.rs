//! The Debian packages: made by one command, clean, installed, used and removed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command that must succeed; what it said.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// What is below a directory and is no directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn packages_are_clean_and_can_be_installed_and_removed() {
    for (tool, package) in
        [("dpkg-shlibdeps", "dpkg-dev"), ("dpkg", "dpkg"), ("lintian", "lintian")]
    {
        if Command::new(tool).arg("--version").output().is_err() {
            println!("SKIP {tool}: not installed (apt-get install {package})");
            return;
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("packages");
    run(Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["xtask", "package", "--profile", "dev", "--out"])
        .arg(&out));
    let packages = files(&out);
    assert_eq!(packages.len(), 4, "{packages:?}");

    let said = run(Command::new("lintian")
        .args([
            "--allow-root",
            "--fail-on",
            "error",
            "--suppress-tags",
            "initial-upload-closes-no-bugs",
        ])
        .args(&packages));
    println!("lintian: {} lines, none of them an error", said.lines().count());
    assert!(!said.lines().any(|line| line.starts_with("E:")), "{said}");

    // A system with nothing else: the libraries are this one's.
    let system = scratch.path().join("system");
    let database = system.join("var/lib/dpkg");
    for dir in ["updates", "info", "triggers"] {
        std::fs::create_dir_all(database.join(dir)).unwrap();
    }
    for file in ["status", "available"] {
        std::fs::write(database.join(file), "").unwrap();
    }
    let dpkg = |args: &[&str], packages: &[PathBuf]| {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", system.display()));
        dpkg.args(["--force-not-root", "--force-depends", "--force-bad-path"]).args(args);
        run(dpkg.args(packages))
    };
    dpkg(&["--install"], &packages);
    let aio2 = system.join("usr/bin/aio2");
    let said = run(Command::new(&aio2).args(["--json", "probe"]));
    assert!(said.contains("engine"), "{said}");
    // It finds the drop-ins where their package has put them.
    let said = run(Command::new(&aio2).args(["run", "--", "true"]));
    assert!(said.contains("never called a drop-in"), "{said}");
    let program = scratch.path().join("copy");
    run(Command::new("gcc")
        .arg(root.join("userspace/capi/examples/copy.c"))
        .arg(format!("-I{}", system.join("usr/include").display()))
        .arg(format!("-L{}", system.join("usr/lib").display()))
        .args(["-laio2", "-o"])
        .arg(&program));
    let copied = scratch.path().join("copied");
    run(Command::new(&program)
        .env("LD_LIBRARY_PATH", system.join("usr/lib"))
        .arg(root.join("SPEC.md"))
        .arg(&copied));
    assert!(std::fs::read(copied).unwrap() == std::fs::read(root.join("SPEC.md")).unwrap());

    dpkg(&["--purge", "aio2", "aio2-compat", "libaio2-dev", "libaio2-1"], &[]);
    assert_eq!(files(&system.join("usr")), Vec::<PathBuf>::new());
}
