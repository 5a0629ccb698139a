//! `aio2 cp`: what is kept, and what is refused.

mod common;

use common::{assert_same, err, json, leftovers, noise, out, run, tree};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

fn write(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn age(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// A tree with one of each.
fn plant(root: &Path) {
    fs::create_dir_all(root.join("a/b/empty")).unwrap();
    write(&root.join("empty"), b"", 0o644);
    write(&root.join("small"), b"hello", 0o4751);
    write(&root.join("a/medium"), &noise(1, 700_001), 0o600);
    write(&root.join("a/b/large"), &noise(2, 9_000_000), 0o440);
    write(&root.join(OsStr::from_bytes(b"a/new\nline\xff\xfe")), b"odd", 0o644);
    write(&root.join("naïve"), b"utf-8", 0o644);
    write(&root.join(".hidden"), b"dot", 0o644);
    let sparse = File::create(root.join("a/sparse")).unwrap();
    sparse.write_all_at(b"begin", 1 << 20).unwrap();
    sparse.write_all_at(&noise(3, 300_000), 5 << 20).unwrap();
    sparse.set_len(40 << 20).unwrap();
    File::create(root.join("a/hole")).unwrap().set_len(64 << 20).unwrap();
    fs::hard_link(root.join("small"), root.join("a/link of small")).unwrap();
    fs::hard_link(root.join("small"), root.join("a/b/another")).unwrap();
    symlink("../small", root.join("a/symlink")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    for (n, name) in ["small", "a/medium", "a/sparse", "a/b/large"].iter().enumerate() {
        age(&root.join(name), 1_000_000_000 + n as u64, 123_456_789);
    }
    fs::set_permissions(root.join("a/b/empty"), Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(root.join("a/b"), Permissions::from_mode(0o550)).unwrap();
    for name in ["a/b/empty", "a/b", "a"] {
        age(&root.join(name), 900_000_000, 5);
    }
}

#[test]
fn a_tree_is_copied_with_everything_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    plant(&source);
    let output =
        run([OsStr::new("--json"), "cp".as_ref(), "-r".as_ref(), source.as_ref(), target.as_ref()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_same(&source, &target);
    let report = json(&output);
    assert_eq!(report["failures"], 0);
    assert_eq!(report["files"], 9);
    assert_eq!(report["directories"], 4);
    assert_eq!(report["hard_links"], 2);
    assert_eq!(report["symlinks"], 2);
    assert_eq!(report["special_files"], 1);
    assert!(report["attributes"]["operations"].as_array().unwrap().len() >= 3, "{report}");
}

#[test]
fn a_copy_under_the_smallest_limits_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    plant(&source);
    let args = "--ring 4096 --requests 2 --concurrency 1 cp --no-sync --no-attributes -r";
    let args = args.split(' ').map(OsStr::new).chain([source.as_ref(), target.as_ref()]);
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_same(&source, &target);
}

#[test]
fn verify_reads_every_byte_again() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    plant(&source);
    let output = run([
        OsStr::new("--json"),
        "cp".as_ref(),
        "--verify".as_ref(),
        "-r".as_ref(),
        source.as_ref(),
        target.as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let report = json(&output);
    assert_eq!(report["verified_bytes"], report["bytes"]);
    assert_same(&source, &target);
}

#[test]
fn a_second_copy_replaces_files_and_merges_directories() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    plant(&source);
    let from = source.join(".");
    for _ in 0..2 {
        let output = run([OsStr::new("cp"), "-r".as_ref(), from.as_ref(), target.as_ref()]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    }
    fs::write(target.join("small"), "other").unwrap();
    fs::write(target.join("more"), "kept").unwrap();
    let output = run([OsStr::new("cp"), "-r".as_ref(), from.as_ref(), target.as_ref()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(fs::read(target.join("more")).unwrap(), b"kept");
    fs::remove_file(target.join("more")).unwrap();
    age(&target, 1, 0);
    age(&source, 1, 0);
    assert_same(&source, &target);
}

#[test]
fn no_clobber_keeps_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("source")).unwrap();
    fs::create_dir_all(at("target/source")).unwrap();
    fs::write(at("source/a"), "new a").unwrap();
    fs::write(at("source/b"), "new b").unwrap();
    fs::write(at("target/source/a"), "old a").unwrap();
    fs::set_permissions(at("target/source"), Permissions::from_mode(0o710)).unwrap();
    let output = run([
        OsStr::new("--json"),
        "cp".as_ref(),
        "-rn".as_ref(),
        at("source").as_ref(),
        at("target").as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(json(&output)["kept"], 1);
    assert_eq!(fs::read(at("target/source/a")).unwrap(), b"old a");
    assert_eq!(fs::read(at("target/source/b")).unwrap(), b"new b");
    let mode = fs::metadata(at("target/source")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o710, "a directory that was there is kept too");
    assert_eq!(leftovers(&at("target")), [] as [&Path; 0]);
}

#[test]
fn a_directory_into_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::write(at("a/file"), "x").unwrap();
    for target in ["a", "a/new", "a/b", "a/b/c"] {
        let output = run([OsStr::new("cp"), "-r".as_ref(), at("a").as_ref(), at(target).as_ref()]);
        assert_eq!(output.status.code(), Some(1), "{target}: {}", out(&output));
        assert!(err(&output).contains("into itself"), "{target}: {}", err(&output));
    }
    assert_eq!(tree(&at("a")).len(), 4, "nothing was made in it");
}

#[test]
fn a_file_onto_itself_is_refused_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("d")).unwrap();
    fs::write(at("d/file"), "precious").unwrap();
    fs::hard_link(at("d/file"), at("link")).unwrap();
    for (source, target) in [("d/file", "d/file"), ("d/file", "d"), ("d/file", "link"), ("d", ".")]
    {
        let output =
            run([OsStr::new("cp"), "-r".as_ref(), at(source).as_ref(), at(target).as_ref()]);
        assert_eq!(output.status.code(), Some(1), "{source} {target}");
        assert!(err(&output).contains("same file"), "{}", err(&output));
    }
    assert_eq!(fs::read(at("d/file")).unwrap(), b"precious");
}

#[test]
fn what_cannot_be_meant_ends_with_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).into_os_string();
    fs::write(at("a"), "a").unwrap();
    fs::write(at("b"), "b").unwrap();
    let usage: [(&[_], &str); 4] = [
        (&[at("a"), at("b"), at("missing")], "make it first"),
        (&[at("a"), at("b"), at("a")], "not a directory"),
        (&[at("a"), at("missing/x")], "make the directory first"),
        (&[at("a")], "required"),
    ];
    for (args, says) in usage {
        let output = run([&["cp".into()], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(says), "{args:?}: {}", err(&output));
    }
    let output = run(["--backend", "kernel", "probe"]);
    if output.status.code() == Some(0) {
        common::skip("this kernel has AIO2, so that asking for it is no error");
    } else {
        assert_eq!(output.status.code(), Some(2));
        assert!(err(&output).contains("kernel"), "{}", err(&output));
    }
}

#[test]
fn one_failure_does_not_stop_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("target/clash")).unwrap();
    fs::create_dir_all(at("d")).unwrap();
    fs::write(at("good"), "good").unwrap();
    fs::write(at("d/good"), "another").unwrap();
    fs::write(at("clash"), "a directory of this name is in the target").unwrap();
    let output = run([
        OsStr::new("--json"),
        "cp".as_ref(),
        at("missing").as_ref(),
        at("d").as_ref(),
        at("clash").as_ref(),
        at("good").as_ref(),
        at("d/good").as_ref(),
        at("target").as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["failures"], 4);
    assert_eq!(fs::read(at("target/good")).unwrap(), b"good");
    let lines = err(&output);
    assert_eq!(lines.lines().count(), 4, "{lines}");
    for (name, says) in
        [("missing", "ENOENT"), ("/d", "-r"), ("clash", "directory"), ("good", "another source")]
    {
        let line = lines.lines().find(|line| line.contains(name) && line.contains(says));
        let line: serde_json::Value =
            serde_json::from_str(line.unwrap_or_else(|| panic!("{lines}"))).unwrap();
        assert!(line["failure"]["help"].is_string(), "{line}");
    }
}

#[test]
fn a_tree_that_is_deeper_than_the_soft_limit_of_files_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let mut path = dir.path().join("deep");
    for _ in 0..900 {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("bottom"), "here").unwrap();
    let target = dir.path().join("copy");
    let output = run([
        OsStr::new("cp"),
        "--no-sync".as_ref(),
        "-r".as_ref(),
        dir.path().join("deep").as_ref(),
        target.as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let bottom = target.join(path.strip_prefix(dir.path().join("deep")).unwrap()).join("bottom");
    assert_eq!(fs::read(bottom).unwrap(), b"here");
}

#[test]
fn a_file_that_does_not_tell_its_size_is_copied_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("version");
    let output = run([OsStr::new("cp"), "/proc/version".as_ref(), target.as_ref()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(fs::read(&target).unwrap(), fs::read("/proc/version").unwrap());
}
