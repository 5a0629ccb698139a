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

#[test]
fn the_report_is_short_says_what_was_lost_and_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).into_os_string();
    fs::create_dir_all(at("s/d")).unwrap();
    for n in 0..3 {
        fs::write(dir.path().join(format!("s/{n}")), noise(n, 10)).unwrap();
    }
    let cp = |args: &[&OsStr]| {
        run([OsStr::new("cp"), "--no-sync".as_ref()].into_iter().chain(args.iter().copied()))
    };
    let text = out(&cp(&["-r".as_ref(), &at("s"), &at("t")]));
    assert!(text.starts_with("copied 3 files, 2 directories: 30 B in "), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let text = out(&cp(&[&at("s/0"), &at("one")]));
    assert!(text.starts_with("copied 1 file: 10 B in "), "{text}");
    let text = out(&cp(&["-n".as_ref(), &at("s/1"), &at("one")]));
    assert_eq!(text, "nothing copied\n1 name kept: something was there\n");
    let output = cp(&[&at("missing"), &at("two")]);
    assert_eq!(out(&output), "nothing copied\n1 failure\n");
    assert!(err(&output).starts_with("aio2 cp: cannot look at '"), "{}", err(&output));
    for quiet in ["-q", "--quiet", "--report=none"] {
        let output = cp(&[quiet.as_ref(), &at("s/2"), &at("three")]);
        assert_eq!((out(&output), err(&output)), (String::new(), String::new()), "{quiet}");
    }
    let text = out(&cp(&["--report=long".as_ref(), &at("s/2"), &at("four")]));
    for part in ["operation", "pread64", "pwrite64", "ran:", "peak memory"] {
        assert!(text.contains(part), "{text}");
    }
    let text = out(&cp(&["--report=long".as_ref(), "-n".as_ref(), &at("s/2"), &at("four")]));
    assert!(!text.contains("operation"), "nothing was run: {text}");
}

#[test]
fn a_report_that_is_lost_has_a_status_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s"), "x").unwrap();
    let script = "$AIO2 cp --no-sync s t > /dev/full";
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(dir.path()).env("AIO2", env!("CARGO_BIN_EXE_aio2"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    assert!(err(&output).contains("standard output"), "{}", err(&output));
    assert_eq!(fs::read(dir.path().join("t")).unwrap(), b"x");
}

#[test]
fn a_hard_link_that_is_deeper_than_a_path_can_be_is_linked() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mkdir s && cd s && for n in $(seq 600); do mkdir dirname$n && cd dirname$n || exit 1; \
        done && echo data > one && ln one two";
    let made = Command::new("bash").args(["-c", script]).current_dir(dir.path()).status().unwrap();
    assert!(made.success());
    let args = ["cp", "--no-sync", "--json", "-r", "s", "t"];
    let output = common::aio2().args(args).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let report = json(&output);
    assert_eq!((&report["files"], &report["hard_links"]), (&1.into(), &1.into()));
    assert_eq!(report["links_lost"], 0);
    let removed = Command::new("rm").args(["-rf", "s", "t"]).current_dir(dir.path()).status();
    assert!(removed.unwrap().success());
}

#[test]
fn a_hard_link_is_never_to_what_its_first_name_has_become() {
    for round in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a", "b", "d"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("a/x"), "ORIGINAL").unwrap();
        for n in 0..100 {
            fs::write(at(&format!("b/{n}")), "filler").unwrap();
            fs::hard_link(at("a/x"), at(&format!("b/link {n}"))).unwrap();
        }
        fs::write(at("b/x"), "OTHER").unwrap();
        let args = ["cp", "--no-sync", "-qa", "a/.", "b/.", "d"];
        let output = common::aio2().args(args).current_dir(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert_eq!(fs::read(at("d/x")).unwrap(), b"OTHER", "round {round}");
        for n in 0..100 {
            let copy = fs::read(at(&format!("d/link {n}"))).unwrap();
            assert_eq!(copy, b"ORIGINAL", "round {round}, link {n}");
        }
    }
}

#[test]
fn blocks_are_shared_where_the_file_system_can() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let image = at("image");
    File::create(&image).unwrap().set_len(400 << 20).unwrap();
    fs::create_dir(at("m")).unwrap();
    let script = "mkfs.btrfs -q image && mount -o loop image m";
    let mounted = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return common::skip("a file system that shares blocks cannot be mounted");
    }
    fs::write(at("m/s"), noise(1, 1_000_000)).unwrap();
    let cp = |how: &str, to: &str| {
        let args = ["cp", "--no-sync", "--json", "--no-attributes", how, "m/s", to];
        common::aio2().args(args).current_dir(dir.path()).output().unwrap()
    };
    let shared = [cp("--reflink=always", "m/a"), cp("--reflink=auto", "m/b")];
    let apart = cp("--reflink=never", "m/c");
    let refused = cp("--reflink=always", "out");
    let same = ["m/a", "m/b", "m/c"]
        .map(|copy| fs::read(at(copy)).unwrap() == fs::read(at("m/s")).unwrap());
    let unmounted = Command::new("umount").arg(at("m")).status().unwrap();
    assert!(unmounted.success());
    for output in &shared {
        assert_eq!(json(output)["reflinks"], 1, "{}", err(output));
    }
    assert_eq!(json(&apart)["reflinks"], 0);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("--reflink=auto"), "{}", err(&refused));
    assert!(!at("out").exists());
    assert_eq!(same, [true; 3]);
}
