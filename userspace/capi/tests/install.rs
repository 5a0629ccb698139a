//! `cargo xtask install`: what it installs is enough to build a program with.

use std::path::Path;
use std::process::Command;

#[test]
fn a_program_is_built_by_what_pkg_config_says() {
    if Command::new("pkg-config").arg("--version").output().is_err() {
        println!("SKIP pkg-config: not installed (apt-get install pkg-config)");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dest = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["xtask", "install", "--profile", "dev", "--prefix", "/opt/aio2", "--destdir"])
        .arg(dest.path())
        .status()
        .unwrap();
    assert!(status.success(), "install: {status}");
    let prefix = dest.path().join("opt/aio2");
    for file in [
        "bin/aio2",
        "include/aio2/aio2.h",
        "include/linux/aio2.h",
        "lib/aio2/libaio.so.1",
        "lib/libaio2.a",
        "lib/libaio2.so",
        "lib/libaio2.so.1",
        "lib/aio2/libaio2-posix.so",
        "lib/pkgconfig/aio2.pc",
        "share/bash-completion/completions/aio2",
        "share/fish/vendor_completions.d/aio2.fish",
        "share/man/man1/aio2-run.1",
        "share/man/man2/io_submit2.2",
        "share/man/man3/aio2_grow.3",
        "share/man/man7/aio2-posix.7",
        "share/zsh/vendor-completions/_aio2",
    ] {
        assert!(prefix.join(file).exists(), "{file} is missing");
    }
    lint(&prefix.join("share/man"));
    let said = Command::new("pkg-config")
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
        .env("PKG_CONFIG_SYSROOT_DIR", dest.path())
        .args(["--cflags", "--libs", "aio2 >= 0.1"])
        .output()
        .unwrap();
    let flags = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let program = dest.path().join("copy");
    let built = Command::new("gcc")
        .arg(root.join("userspace/capi/examples/copy.c"))
        .args(flags.split_whitespace())
        .arg("-o")
        .arg(&program)
        .status()
        .unwrap();
    assert!(built.success(), "{flags}");
    let copied = Command::new(&program)
        .env("LD_LIBRARY_PATH", prefix.join("lib"))
        .arg(root.join("README.md"))
        .arg(dest.path().join("copied"))
        .status()
        .unwrap();
    assert!(copied.success());
    assert!(
        std::fs::read(dest.path().join("copied")).unwrap()
            == std::fs::read(root.join("README.md")).unwrap()
    );
}

/// No page has anything to be warned of, and each that it names is there.
fn lint(man: &Path) {
    if Command::new("mandoc").arg("-T").arg("lint").arg("/dev/null").output().is_err() {
        println!("SKIP mandoc: not installed (apt-get install mandoc)");
        return;
    }
    let mut pages = 0;
    for section in std::fs::read_dir(man).unwrap() {
        for page in std::fs::read_dir(section.unwrap().path()).unwrap() {
            let page = page.unwrap().path();
            let text = std::fs::read_to_string(&page).unwrap();
            pages += 1;
            if let Some(other) = text.strip_prefix(".so ") {
                assert!(man.join(other.trim()).exists(), "{}: {text}", page.display());
                continue;
            }
            let mut mandoc = Command::new("mandoc");
            let said = mandoc.args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
            for named in text.lines().filter_map(|line| line.strip_prefix(".Xr ")) {
                let mut words = named.split(' ');
                let (name, section) = (words.next().unwrap(), words.next().unwrap());
                let is_ours = name.starts_with("aio2") || name.starts_with("io_");
                let path = man.join(format!("man{section}/{name}.{section}"));
                assert!(!is_ours || path.exists(), "{}: {named}", page.display());
            }
        }
    }
    assert!(pages > 30, "{pages} pages");
}
