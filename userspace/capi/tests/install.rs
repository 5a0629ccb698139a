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
        "lib/pkgconfig/aio2.pc",
    ] {
        assert!(prefix.join(file).exists(), "{file} is missing");
    }
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
