//! Programs of Debian, unmodified, on the drop-in: their data is verified, and
//! each must really have reached it.

use aio2_link::POSIX;
use stage::{Stage, there};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

#[path = "../../stage.rs"]
mod stage;

fn stage() -> Stage {
    static MADE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, object) = MADE.get_or_init(|| {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let test = std::env::current_exe().expect("a test has a path");
        let archive = POSIX.newest_archive(test.parent().expect("it lies in deps"));
        let archive = archive.expect("Cargo has built the static library");
        let object = dir.path().join(POSIX.soname);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        POSIX.link(&root, &archive, &object).unwrap();
        (dir, object)
    });
    Stage::new(&[("LD_PRELOAD", object)])
}

#[test]
fn fio_verifies_what_it_wrote() {
    if !there("fio", "fio") {
        return;
    }
    for (what, options) in [
        ("write, depth 1", &["--rw=write", "--iodepth=1"][..]),
        ("randwrite, depth 32", &["--rw=randwrite", "--iodepth=32"]),
        ("randrw, depth 256", &["--rw=randrw", "--iodepth=256"]),
        ("randrw, depth 16, three jobs", &["--rw=randrw", "--iodepth=16", "--numjobs=3"]),
        ("randrw, three threads", &["--rw=randrw", "--iodepth=16", "--numjobs=3", "--thread"]),
        ("direct, depth 32", &["--rw=randrw", "--iodepth=32", "--direct=1"]),
        ("fsync, depth 32", &["--rw=randwrite", "--iodepth=32", "--fsync=64"]),
    ] {
        let stage = stage();
        let mut args = vec![
            "--name=t",
            "--ioengine=posixaio",
            "--directory=.",
            "--size=4m",
            "--bs=4k",
            "--verify=crc32c",
            "--verify_fatal=1",
            "--group_reporting",
        ];
        args.extend(options);
        let said = stage.run("fio", &args);
        assert!(said.contains("err= 0"), "{said}");
        stage.row(&format!("fio posixaio {what}"));
    }
}

/// It asks for a signal for each request.
#[test]
fn stress_ng_stresses() {
    if !there("stress-ng", "stress-ng") {
        return;
    }
    let stage = stage();
    let args = ["--aio", "2", "--aio-ops", "2000", "--verify", "--temp-path", "."];
    stage.run("stress-ng", &args);
    stage.row("stress-ng --aio, verified");
}
