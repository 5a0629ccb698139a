//! `aio2 cp` of a large tree, beside `cp -a`: the same result, bounded memory.

mod common;

use common::{Mounted, aio2, assert_complete, err, json, leftovers, noise, skip};
use nix::unistd::geteuid;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Directories, and files in each: 20,000 files of 56 KiB on average.
const DIRECTORIES: u64 = 200;
const FILES: u64 = 100;
const LARGE_BYTES: usize = 1 << 30;
const NOBODY: u32 = 65534;
/// What the command may have resident at most, in bytes: its buffers are 24 MiB.
const RSS_BOUND: u64 = 48 << 20;

/// Makes the tree: 20,000 files, one of 1 GiB, sparse and empty ones, links.
fn plant(root: &Path) {
    let pool = noise(7, 1 << 20);
    for d in 0..DIRECTORIES {
        let directory = root.join(format!("{:02}/{d:03}", d % 17));
        fs::create_dir_all(&directory).unwrap();
        for n in 0..FILES {
            let len = (n * n * 997 + d * 31) as usize % 115_000;
            let from = (d * 4099 + n * 257) as usize % (pool.len() - len);
            fs::write(directory.join(format!("file {n}")), &pool[from..from + len]).unwrap();
        }
        File::create(directory.join("empty")).unwrap();
        fs::hard_link(directory.join("file 1"), directory.join("link")).unwrap();
        symlink("file 2", directory.join("symlink")).unwrap();
    }
    let mut large = File::create(root.join("large")).unwrap();
    for n in 0..LARGE_BYTES >> 20 {
        large.write_all(&pool[n..]).unwrap();
        large.write_all(&pool[..n]).unwrap();
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(4 << 30).unwrap();
    sparse.write_all_at(&pool, 3 << 30).unwrap();
}

/// Runs a command and tells how long it took.
fn timed(what: &str, command: &mut Command) -> (Output, Duration) {
    // What the one before has left to be written is not this one's burden.
    nix::unistd::sync();
    let began = Instant::now();
    let output = command.output().unwrap();
    let took = began.elapsed();
    println!("{what:<32} {:.2} s", took.as_secs_f64());
    (output, took)
}

fn diff(a: &Path, b: &Path) {
    let output =
        Command::new("diff").args(["-r", "--no-dereference"]).args([a, b]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The sums of all files but the sparse one, by path.
fn checksums(root: &Path) -> Vec<u8> {
    let script = "find . -type f ! -name sparse -print0 | sort -z | xargs -0 sha256sum";
    let output = Command::new("sh").args(["-c", script]).current_dir(root).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn blocks(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().blocks()
}

/// Copies with the options, checks the outcome, and returns the report.
fn copy(options: &[&str], source: &Path, target: &Path) -> (Value, Duration) {
    let mut command = aio2();
    command.args(["--json", "cp", "-r"]).args(options).args([source, target]);
    let (output, took) = timed(&format!("aio2 cp -r {}", options.join(" ")), &mut command);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let report = json(&output);
    assert_eq!(report["failures"], 0);
    let rss = report["peak_rss_bytes"].as_u64().unwrap();
    println!("{:<32} {:.1} MiB", "  peak resident", rss as f64 / f64::from(1 << 20));
    assert!(rss < RSS_BOUND, "{rss} bytes resident");
    (report, took)
}

#[test]
#[ignore = "needs 8 GiB of disk and minutes: cargo xtask test --large"]
fn a_large_tree_is_copied_as_cp_does_it_within_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    plant(&source);
    let cp = dir.path().join("cp");
    let mut plain = Command::new("cp");
    let (output, _) = timed("cp -a", plain.args(["-a".as_ref(), source.as_os_str(), cp.as_ref()]));
    assert!(output.status.success());
    fs::remove_dir_all(&cp).unwrap();

    let (report, _) = copy(&["--no-sync"], &source, &target);
    assert_eq!(report["files"], DIRECTORIES * (FILES + 1) + 2);
    assert_eq!(report["hard_links"], DIRECTORIES);
    let bytes = report["bytes"].as_u64().unwrap();
    println!("{} files, {bytes} bytes", report["files"]);
    assert!(bytes > 2 << 30);
    fs::remove_dir_all(&target).unwrap();

    copy(&[], &source, &target);
    diff(&source, &target);
    assert_eq!(checksums(&source), checksums(&target));
    assert_eq!(blocks(&source.join("sparse")), blocks(&target.join("sparse")), "holes are kept");
    assert_eq!(leftovers_by_name(&target), 0);
    fs::remove_dir_all(&target).unwrap();

    let (report, _) = copy(&["--verify"], &source, &target);
    assert_eq!(report["verified_bytes"], report["bytes"]);
}

/// How many temporary names there are; without reading any file.
fn leftovers_by_name(root: &Path) -> usize {
    let script = "find . -name '.aio2-cp.*' | wc -l";
    let output = Command::new("sh").args(["-c", script]).current_dir(root).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

#[test]
#[ignore = "needs 1 GiB of disk and a minute: cargo xtask test --large"]
fn failures_in_a_large_tree_are_named_and_counted() {
    if !geteuid().is_root() {
        return skip("only root can become the user who may not read");
    }
    let dir = common::open_dir().unwrap();
    let (source, keep) = (dir.path().join("source"), dir.path().join("keep"));
    let target = dir.path().join("out/copy");
    fs::create_dir(dir.path().join("out")).unwrap();
    fs::set_permissions(dir.path().join("out"), Permissions::from_mode(0o777)).unwrap();
    for root in [&source, &keep] {
        fs::create_dir(root).unwrap();
        for n in 0..20_000_u64 {
            let path = root.join(format!("file {n}"));
            fs::write(&path, noise(n, 3000)).unwrap();
            let mode = if n % 1000 == 7 { 0o600 } else { 0o644 };
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
    }
    let program = dir.path().join("aio2");
    fs::copy(env!("CARGO_BIN_EXE_aio2"), &program).unwrap();
    let mut command = Command::new(&program);
    command.uid(NOBODY).gid(NOBODY).args(["--json", "cp", "--no-sync", "-r"]);
    command.args([&source, &target]);
    let ended = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        scope.spawn(|| vanish(&source, &target, &ended));
        let output = timed("aio2 cp -r, as nobody", &mut command).0;
        ended.store(true, Ordering::Relaxed);
        output
    });
    let lines = err(&output);
    let named = |what: &str| lines.lines().filter(|line| line.contains(what)).count() as u64;
    let (unreadable, vanished) = (named("EACCES"), named("ENOENT"));
    println!("{unreadable} unreadable, {vanished} vanished");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["failures"], unreadable + vanished);
    assert!(unreadable > 0, "{lines}");
    let copied = assert_complete(&keep, &target);
    assert_eq!(json(&output)["files"], copied);
    assert_eq!(leftovers(&target), [] as [PathBuf; 0]);
}

/// Removes every tenth file as soon as the copy has begun.
fn vanish(source: &Path, target: &Path, ended: &AtomicBool) {
    while !fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) {
        if ended.load(Ordering::Relaxed) {
            return;
        }
    }
    for n in (0..20_000).step_by(10) {
        fs::remove_file(source.join(format!("file {n}"))).unwrap();
    }
}

#[test]
#[ignore = "needs memory for a file system of 256 MiB: cargo xtask test --large"]
fn a_full_disk_in_a_large_tree_leaves_complete_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let (source, disk) = (dir.path().join("source"), dir.path().join("disk"));
    fs::create_dir(&source).unwrap();
    for n in 0..5000 {
        fs::write(source.join(format!("{n}")), noise(n, 100_000)).unwrap();
    }
    let _mounted = match Mounted::tmpfs(&disk, 256 << 20) {
        Ok(mounted) => mounted,
        Err(reason) => return skip(&reason),
    };
    let args = [OsStr::new("--json"), "cp".as_ref(), "-r".as_ref(), source.as_ref(), disk.as_ref()];
    let (output, _) = timed("aio2 cp -r, onto a full disk", aio2().args(args));
    assert_eq!(output.status.code(), Some(1));
    let failures = json(&output)["failures"].as_u64().unwrap();
    let copied = assert_complete(&source, &disk.join("source")) as u64;
    println!("{copied} complete, {failures} failures");
    assert_eq!(copied + failures, 5000);
    assert_eq!(err(&output).lines().count() as u64, failures);
    assert_eq!(leftovers(&disk), [] as [PathBuf; 0]);
}
