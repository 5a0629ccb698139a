//! The engine for fio: built for the fio that is installed, its data verified.

use std::path::Path;
use std::process::Command;

#[test]
fn fio_verifies_what_it_wrote_by_its_own_engine() {
    if Command::new("fio").arg("--version").output().is_err() {
        println!("SKIP fio: not installed (apt-get install fio)");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dest = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["xtask", "install", "--profile", "dev", "--fio", "--prefix", "/p", "--destdir"])
        .arg(dest.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && (said.contains("apt-get") || said.contains("dpkg-query")) {
        println!("SKIP fio: the source of its package cannot be had here: {said}");
        return;
    }
    assert!(output.status.success(), "install: {said}");
    let engine = dest.path().join("p/lib/aio2/fio-aio2.so");
    for (what, options) in [
        ("write, depth 1", &["--rw=write", "--iodepth=1"][..]),
        ("randrw, depth 32", &["--rw=randrw", "--iodepth=32"]),
        ("randwrite, depth 256, fsync", &["--rw=randwrite", "--iodepth=256", "--fsync=16"]),
        ("batches of 16", &["--rw=randrw", "--iodepth=32", "--iodepth_batch=16"]),
        ("two jobs", &["--rw=randrw", "--iodepth=16", "--numjobs=2"]),
        ("two threads, direct", &["--rw=randrw", "--numjobs=2", "--thread", "--direct=1"]),
    ] {
        let files = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let output = Command::new("fio")
            .current_dir(files.path())
            .arg(format!("--ioengine=external:{}", engine.display()))
            .args(["--name=t", "--directory=.", "--size=4m", "--bs=4k", "--aio2_report=1"])
            .arg("--aio2_record=record")
            .args(["--verify=crc32c", "--verify_fatal=1", "--group_reporting"])
            .args(options)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("err= 0"), "{what}: {said}{errors}");
        // A job tells how many requests were its own.
        let told = said.lines().find_map(|line| line.strip_prefix("aio2: "));
        let told = told.unwrap_or_else(|| panic!("{what}: {said}"));
        println!("fio aio2 {what}: {told}");
        let requests = told.split(' ').next().and_then(|word| word.parse::<u64>().ok());
        assert!(requests >= Some(1024), "{what}: {told}");
        let record = aio2_record::read(&files.path().join("record")).unwrap();
        let recorded = record.requests.len() as u64 + record.lost;
        assert!(recorded >= requests.unwrap_or(u64::MAX), "{what}: {recorded} recorded");
        assert!(record.names.values().any(|name| name.contains("/t.0.")), "{:?}", record.names);
    }
}
