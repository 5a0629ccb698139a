//! Programs of Debian, unmodified, on the drop-in: their data is verified, and
//! each must really have reached it.

use aio2_link::{LIBAIO, LIBAIO_SYSCALL};
use stage::{Stage, there};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

#[path = "../../stage.rs"]
mod stage;

/// The directory with the drop-in.
fn drop_in() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let dir = MADE.get_or_init(|| {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let test = std::env::current_exe().expect("a test has a path");
        let archive = LIBAIO.newest_archive(test.parent().expect("it lies in deps"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let archive = archive.expect("Cargo has built the static library");
        for object in [LIBAIO, LIBAIO_SYSCALL] {
            object.link(&root, &archive, &dir.path().join(object.soname)).unwrap();
        }
        dir
    });
    dir.path()
}

fn stage() -> Stage {
    Stage::new(&[("LD_LIBRARY_PATH", drop_in())])
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
        ("userspace_reap, depth 32", &["--rw=randrw", "--iodepth=32", "--userspace_reap"]),
        ("userspace_reap, depth 1", &["--rw=randrw", "--iodepth=1", "--userspace_reap"]),
        ("direct, depth 32", &["--rw=randrw", "--iodepth=32", "--direct=1"]),
        (
            "batches of 16, fsync",
            &["--rw=randwrite", "--iodepth=32", "--iodepth_batch=16", "--fsync=64"],
        ),
    ] {
        let stage = stage();
        let mut args = vec![
            "--name=t",
            "--ioengine=libaio",
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
        stage.row(&format!("fio {what}"));
    }
}

#[test]
fn qemu_img_copies_with_native_aio() {
    if !there("qemu-img", "qemu-utils") {
        return;
    }
    let stage = stage();
    let data: Vec<u8> =
        (0..8 << 20_u32).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(stage.path("raw"), &data).unwrap();
    stage.run(
        "qemu-img",
        &["bench", "-n", "-t", "none", "-f", "raw", "-c", "2000", "-d", "32", "raw"],
    );
    stage.row("qemu-img bench, native, depth 32");
    let native = ["-f", "raw", "-O", "qcow2", "-t", "none", "-T", "none"];
    let mut args = vec!["convert"];
    args.extend(native);
    args.extend(["raw", "copy.qcow2"]);
    stage.run("qemu-img", &args);
    stage.run("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", "copy.qcow2", "back"]);
    assert!(fs::read(stage.path("back")).unwrap() == data, "the copy differs");
}

#[test]
fn qemu_io_verifies_a_pattern() {
    if !there("qemu-io", "qemu-utils") {
        return;
    }
    let stage = stage();
    fs::write(stage.path("raw"), vec![0; 4 << 20]).unwrap();
    let commands = [
        "aio_write -P 0xa5 0 1M",
        "aio_write -P 0x5a 1M 1M",
        "aio_flush",
        "read -P 0xa5 0 1M",
        "read -P 0x5a 1M 1M",
        "flush",
    ];
    let mut args = vec!["-n", "-k", "-f", "raw"];
    for command in &commands {
        args.extend(["-c", command]);
    }
    args.push("raw");
    let said = stage.run("qemu-io", &args);
    assert!(!said.contains("verification failed"), "{said}");
    stage.row("qemu-io, native");
    let raw = fs::read(stage.path("raw")).unwrap();
    assert!(
        raw[..1 << 20].iter().all(|b| *b == 0xa5)
            && raw[1 << 20..2 << 20].iter().all(|b| *b == 0x5a)
    );
}

#[test]
fn sysbench_runs_its_asynchronous_file_test() {
    if !there("sysbench", "sysbench") {
        return;
    }
    let stage = stage();
    let test = |step: &str| {
        stage.run(
            "sysbench",
            &[
                "fileio",
                "--file-total-size=16M",
                "--file-num=4",
                "--file-io-mode=async",
                "--file-test-mode=rndrw",
                "--threads=2",
                "--events=2000",
                "--time=60",
                step,
            ],
        )
    };
    test("prepare");
    // Not with --validate=on: it looks at its buffer before the request has ended,
    // and fills it for the next one, which fails on the original too (with
    // --threads=1), though that hides most of it.
    let said = test("run");
    assert!(said.contains("total number of events:              2000"), "{said}");
    stage.row("sysbench fileio, async");
}

/// Debian's makes the calls by number.
#[test]
fn stress_ng_runs_by_the_preloaded_drop_in() {
    if !there("stress-ng", "stress-ng") {
        return;
    }
    let stage = stage();
    let args = ["--aiol", "1", "--aiol-ops", "200", "--verify"];
    let preload = drop_in().join(LIBAIO_SYSCALL.soname);
    stage.run_with("stress-ng", &args, &[("LD_PRELOAD", &preload)]);
    stage.row("stress-ng --aiol, verified, by number");
}

/// Python's wrappers, as PyPI has them: one for the library, one that makes the
/// calls by number. npm has none: its package libaio is epoll(7) and inotify(7), and
/// makes no call of Linux AIO.
#[test]
fn python_wrappers_read_what_they_wrote() {
    let venv = tempfile::tempdir().unwrap();
    let prepare = [
        format!("python3 -m venv {}", venv.path().display()),
        format!("{}/bin/pip -q install caio==0.12.10 libaio==0.9.5", venv.path().display()),
    ];
    let prepared = Command::new("sh").args(["-c", &prepare.join(" && ")]).output().unwrap();
    if !prepared.status.success() {
        let said = String::from_utf8_lossy(&prepared.stderr);
        println!("SKIP Python's wrappers: they cannot be installed here: {said}");
        return;
    }
    let python = venv.path().join("bin/python");
    let python = python.to_str().expect("a path of ours is text");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wrappers.py");
    let preload = drop_in().join(LIBAIO_SYSCALL.soname);
    let by_number = [("LD_PRELOAD", preload.as_path())];
    for (wrapper, environment) in [("caio", &by_number[..]), ("libaio", &[])] {
        let stage = stage();
        stage.run_with(python, &[script, wrapper, "file"], environment);
        stage.row(&format!("Python's {wrapper}"));
    }
}

/// A database: its tables written on the drop-in, and read without it.
#[test]
fn mariadb_keeps_its_rows() {
    if !there("mariadbd", "mariadb-server-core") || !there("mariadb", "mariadb-client") {
        return;
    }
    let stage = stage();
    let short = tempfile::tempdir().unwrap();
    // SAFETY: takes nothing.
    let user = if unsafe { libc::getuid() } == 0 { "--user=root" } else { "--skip-name-resolve" };
    let data = format!("--datadir={}", stage.path("data").display());
    let how = "--auth-root-authentication-method=normal";
    stage.run("mariadb-install-db", &["--no-defaults", user, how, "--skip-test-db", &data]);
    // A socket's name may not be long.
    let socket = short.path().join("socket");
    let socket = format!("--socket={}", socket.display());
    let query = |sql: &str| {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "-uroot", "-N", &socket, "-e", sql])
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let sum = "select count(*), sum(crc32(v)) from d.t";
    // Without io_uring, which it would take first, and without the kernel's own AIO.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jail.c");
    let jail = stage.path("jail");
    aio2_link::run(Command::new("gcc").arg(source).arg("-o").arg(&jail)).unwrap();
    let serve = |environment: &[String], sql: &str| {
        let log = fs::File::create(stage.path("log")).unwrap();
        let mut server = Command::new(&jail)
            .env("JAIL_KEEPS_USER", "1")
            .arg("env")
            .args(environment)
            .args([
                "mariadbd",
                "--no-defaults",
                user,
                "--skip-networking",
                "--innodb-use-native-aio=ON",
            ])
            .args([
                "--innodb-buffer-pool-size=8M",
                "--innodb-flush-method=O_DIRECT",
                &data,
                &socket,
            ])
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = (0..600).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            query("select 1").0
        });
        let said = || fs::read_to_string(stage.path("log")).unwrap_or_default();
        let answer = query(sql);
        let stopped = query("shutdown").0;
        if !stopped {
            server.kill().unwrap();
        }
        let status = server.wait().unwrap();
        assert!(ready && answer.0 && status.success(), "{status}: {}\n{}", answer.1, said());
        (answer.1, said())
    };
    let preload = drop_in().join(LIBAIO_SYSCALL.soname);
    let fill = format!(
        "create database d; use d; create table t (id int primary key, v char(200), key (v)) \
         engine=innodb; insert into t select seq, repeat(md5(seq), 6) from seq_1_to_20000; {sum}"
    );
    let variables = [
        format!("LD_PRELOAD={}", preload.display()),
        format!("AIO2_COUNT={}", stage.path("count").display()),
    ];
    let (written, log) = serve(&variables, &fill);
    assert!(written.starts_with("20000\t"), "{written}");
    assert!(log.contains("Using Linux native AIO"), "{log}");
    stage.row("mariadbd, InnoDB with native AIO");
    assert_eq!(serve(&[], sum).0, written, "what was written is not what is read");
}
