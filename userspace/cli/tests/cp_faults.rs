//! `aio2 cp` where things go wrong: each failure is named and counted, nothing
//! half-written is left under its final name, and the rest is copied.

mod common;

use common::{Mounted, aio2, assert_complete, err, json, leftovers, noise, run, skip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A user who may do nothing in particular.
const NOBODY: u32 = 65534;

fn copy(args: &[&str], source: &Path, target: &Path) -> Output {
    let args = args.iter().map(OsStr::new).chain([source.as_os_str(), target.as_os_str()]);
    run([OsStr::new("--json"), "cp".as_ref(), "-r".as_ref()].into_iter().chain(args))
}

/// Fails unless so many failures are named as are counted, all with `says`.
fn assert_named(output: &Output, says: &str) -> u64 {
    let counted = json(output)["failures"].as_u64().unwrap();
    let lines = err(output);
    let named = lines.lines().filter(|line| line.contains(says)).count() as u64;
    assert_eq!((named, lines.lines().count() as u64), (counted, counted), "{lines}");
    assert_eq!(output.status.code(), Some(i32::from(counted > 0)));
    counted
}

#[test]
fn an_unreadable_file_is_named_and_the_rest_is_copied() {
    if !geteuid().is_root() {
        return skip("only root can become the user who may not read");
    }
    let dir = common::open_dir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("source/closed")).unwrap();
    fs::create_dir(at("out")).unwrap();
    for (name, mode) in [("secret", 0o600), ("open", 0o644), ("closed/inside", 0o644)] {
        fs::write(at("source").join(name), name).unwrap();
        fs::set_permissions(at("source").join(name), Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(at("source/closed"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(at("out"), Permissions::from_mode(0o777)).unwrap();
    // The command's own file may lie where that user cannot reach it.
    let program = at("aio2");
    fs::copy(env!("CARGO_BIN_EXE_aio2"), &program).unwrap();
    let mut command = std::process::Command::new(program);
    command.uid(NOBODY).gid(NOBODY).args(["--json", "cp", "-r"]);
    let output = command.args([at("source"), at("out/copy")]).output().unwrap();
    assert_eq!(assert_named(&output, "EACCES"), 2);
    assert_eq!(fs::read(at("out/copy/open")).unwrap(), b"open");
    assert!(!at("out/copy/secret").exists() && !at("out/copy/closed").exists());
    assert_eq!(leftovers(&at("out")), [] as [&Path; 0]);
    assert!(json(&output)["owners_lost"].as_u64().unwrap() > 0, "root's files are nobody's now");
}

#[test]
fn files_that_vanish_are_named_and_the_rest_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    for round in 0..10 {
        fs::create_dir_all(&source).unwrap();
        for n in 0..3000 {
            fs::write(source.join(format!("file {n}")), noise(n, 500)).unwrap();
        }
        let (keep, removed) = (dir.path().join("keep"), AtomicBool::new(false));
        fs::rename(&source, &keep).unwrap();
        copy_tree_plainly(&keep, &source);
        let output = thread::scope(|scope| {
            scope.spawn(|| remove_once_it_began(&source, &target, &removed));
            let output = copy(&["--no-sync"], &source, &target);
            removed.store(true, Ordering::Relaxed);
            output
        });
        let failures = assert_named(&output, "ENOENT");
        let copied = assert_complete(&keep, &target);
        assert_eq!(leftovers(&target), [] as [&Path; 0]);
        for path in [&source, &target, &keep] {
            fs::remove_dir_all(path).unwrap();
        }
        if failures > 0 {
            assert!(copied > 0);
            return;
        }
        println!("round {round}: nothing vanished in time");
    }
    panic!("in ten rounds no file vanished between being listed and being opened");
}

fn copy_tree_plainly(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// Removes all files of `source` as soon as the first is in `target`.
fn remove_once_it_began(source: &Path, target: &Path, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        if fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) {
            let mut names: Vec<_> = fs::read_dir(source).unwrap().flatten().collect();
            names.reverse();
            for entry in names {
                fs::remove_file(entry.path()).unwrap();
            }
            return;
        }
    }
}

#[test]
fn a_full_disk_is_named_and_what_fits_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (source, disk) = (dir.path().join("source"), dir.path().join("disk"));
    fs::create_dir(&source).unwrap();
    for n in 0..40 {
        let len = if n % 10 == 9 { 4 << 20 } else { 100_000 };
        fs::write(source.join(format!("{n}")), noise(n, len)).unwrap();
    }
    let _mounted = match Mounted::tmpfs(&disk, 3 << 20) {
        Ok(mounted) => mounted,
        Err(reason) => return skip(&reason),
    };
    let output = copy(&[], &source, &disk);
    let failures = assert_named(&output, "ENOSPC");
    let copied = assert_complete(&source, &disk.join("source"));
    assert_eq!((copied as u64) + failures, 40);
    assert!(failures >= 4 && copied > 0, "{failures} failures, {copied} copied");
    assert_eq!(leftovers(&disk), [] as [&Path; 0]);
}

#[test]
fn a_read_only_target_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (source, disk) = (dir.path().join("source"), dir.path().join("disk"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    fs::write(source.join("b"), "b").unwrap();
    let mounted = match Mounted::tmpfs(&disk, 1 << 20) {
        Ok(mounted) => mounted,
        Err(reason) => return skip(&reason),
    };
    fs::create_dir(disk.join("there")).unwrap();
    if let Err(reason) = mounted.read_only() {
        return skip(&reason);
    }
    assert_eq!(assert_named(&copy(&[], &source, &disk), "EROFS"), 1);
    let into = copy(&[], &source.join("."), &disk.join("there"));
    // Both files, and the directory that does not get its times.
    assert_eq!(assert_named(&into, "EROFS"), 3);
    assert!(err(&into).contains("read-write"), "the help says what to do");
}

#[test]
fn a_file_that_is_written_to_all_the_time_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("log"), noise(1, 32 << 20)).unwrap();
    fs::write(source.join("quiet"), "quiet").unwrap();
    let ended = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = OpenOptions::new().append(true).open(source.join("log")).unwrap();
            while !ended.load(Ordering::Relaxed) {
                log.write_all(b"one more line\n").unwrap();
                thread::sleep(Duration::from_micros(200));
            }
        });
        let output = copy(&["--no-sync"], &source, &target);
        ended.store(true, Ordering::Relaxed);
        output
    });
    assert_eq!(assert_named(&output, "it changed while it was copied"), 1);
    assert!(!target.join("log").exists());
    assert_eq!(fs::read(target.join("quiet")).unwrap(), b"quiet");
    assert_eq!(leftovers(&target), [] as [&Path; 0]);
}

#[test]
fn verify_finds_a_copy_that_was_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(source.join("large"), noise(1, 64 << 20)).unwrap();
    let mut command = aio2();
    command.args(["--json", "cp", "-r", "--verify"]).args([&source, &target]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (pid, ended) = (child.id(), AtomicBool::new(false));
    let output = thread::scope(|scope| {
        scope.spawn(|| damage(pid, &target, &ended));
        let output = child.wait_with_output().unwrap();
        ended.store(true, Ordering::Relaxed);
        output
    });
    assert_eq!(assert_named(&output, "differs from the source"), 1);
    assert!(err(&output).contains("CRC-32C"), "{}", err(&output));
    assert!(!target.join("source/large").exists(), "the damaged copy has no final name");
    assert_eq!(leftovers(&target), [] as [&Path; 0]);
}

/// Writes to every file that the process has open under `target`, named or not,
/// again and again.
fn damage(pid: u32, target: &Path, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let Ok(to) = fs::read_link(entry.path()) else { continue };
            if to.starts_with(target)
                && let Ok(file) = OpenOptions::new().write(true).open(entry.path())
            {
                // It may have been closed meanwhile: then there is nothing to damage.
                let _written = file.write_all_at(b"damage", 4000);
            }
        }
    }
}

/// Starts a copy of many files and a large one, and waits until it has begun.
fn start_copy(source: &Path, target: &Path) -> Child {
    fs::create_dir(source).unwrap();
    File::create(source.join("large")).unwrap().write_all(&noise(9, 96 << 20)).unwrap();
    for n in 0..1500 {
        fs::write(source.join(format!("{n}")), noise(n, 3000)).unwrap();
    }
    let mut command = aio2();
    command.args(["--json", "cp", "-r"]).args([source, target]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_dir(target).map_or(0, Iterator::count) < 20 {
        assert!(Instant::now() < deadline, "the copy did not begin");
        thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Copies, and sends `signal` in the middle; the outcome, of a copy that had
/// not ended before.
fn interrupt(signal: Signal, check: impl Fn(&Output, &Path, &Path)) {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        let child = start_copy(&source, &target);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.code() != Some(0) {
            return check(&output, &source, &target);
        }
        println!("the copy had ended before {signal} came");
    }
    panic!("five copies had ended before {signal} came");
}

#[test]
fn a_signal_ends_the_copy_and_leaves_nothing_half_written() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        interrupt(signal, |output, source, target| {
            assert_eq!(output.status.code(), Some(128 + signal as i32), "{}", err(output));
            assert_eq!(json(output)["signal"], signal as i32);
            assert!(assert_complete(source, target) < 1501, "it was stopped before its end");
            assert_eq!(leftovers(target), [] as [&Path; 0]);
        });
    }
}

#[test]
fn a_killed_copy_leaves_nothing_half_written_under_a_final_name() {
    interrupt(Signal::SIGKILL, |output, source, target| {
        assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32));
        let copied = assert_complete(source, target);
        println!("{copied} files complete, {} temporary ones left", leftovers(target).len());
        assert!(copied < 1501, "it was killed before its end");
    });
}

#[test]
fn a_sparse_file_that_shrinks_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    let file = File::create(&source).unwrap();
    file.set_len(4 << 20).unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                file.set_len(0).unwrap();
                file.write_all_at(&[b'x'; 4096], 0).unwrap();
                file.write_all_at(&[b'y'; 4096], 1 << 20).unwrap();
                file.set_len(4 << 20).unwrap();
            }
        });
        for _ in 0..60 {
            let output = copy(&["--no-sync", "--no-attributes"], &source, &target);
            assert!(matches!(output.status.code(), Some(0 | 1)), "{}", err(&output));
            assert!(
                err(&output).lines().all(|line| line.contains("it changed")),
                "{}",
                err(&output)
            );
        }
        ended.store(true, Ordering::Relaxed);
    });
}

#[test]
fn little_memory_is_enough_or_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("s")).unwrap();
    for n in 0..100 {
        fs::write(dir.path().join(format!("s/{n}")), noise(n, 300_000)).unwrap();
    }
    let all = [12_000, 16_000, 20_000, 30_000, 60_000, 200_000];
    for (kib, sync) in all.into_iter().flat_map(|kib| [(kib, ""), (kib, "--no-sync")]) {
        let script =
            format!("rm -rf t; ulimit -c 0; ulimit -v {kib}; exec $AIO2 cp -qr {sync} s t");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &script]).current_dir(dir.path());
        let output = command.env("AIO2", env!("CARGO_BIN_EXE_aio2")).output().unwrap();
        let code = output.status.code();
        println!("{kib} KiB: {code:?} {}", err(&output).lines().next().unwrap_or_default());
        // Below some limit the program itself cannot be loaded: 126, 127.
        assert!(matches!(code, Some(0..=2 | 126 | 127)), "{kib}: {code:?} {}", err(&output));
        if code == Some(0) {
            assert_eq!(assert_complete(&dir.path().join("s"), &dir.path().join("t")), 100);
        }
        assert_eq!(leftovers(&dir.path().join("t")), [] as [&Path; 0]);
    }
}
