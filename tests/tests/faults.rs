//! Each function of the system that the engine calls fails once at each of its
//! calls, with each errno of its man page: what is accepted still ends, once,
//! and what cannot be done is refused with an errno.
//!
//! The faults are those of `tests/faults/faults.c`, which gcc builds and a child
//! has preloaded.

use aio2::backend::Wait;
use aio2::error::Errno;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_conformance::backends::InProcess;
use aio2_conformance::context::Context;
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::request::{Batch, Request};
use libc::{EAGAIN, EINTR, EINVAL, EIO, EMFILE, ENFILE, ENODEV, ENOMEM, ENOSPC, EPERM};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Functions, and the errnos of their man pages that can meet the engine.
const FAULTS: [(&str, &[i32]); 12] = [
    ("mmap", &[ENOMEM, EAGAIN, EPERM, ENFILE]),
    ("mmap64", &[ENOMEM, EAGAIN, EPERM, ENFILE]),
    ("memfd_create", &[EMFILE, ENFILE, ENOMEM]),
    ("ftruncate", &[EINTR, EIO, EINVAL]),
    ("ftruncate64", &[EINTR, EIO, EINVAL]),
    ("eventfd", &[EMFILE, ENFILE, ENODEV, ENOMEM]),
    ("epoll_create1", &[EMFILE, ENFILE, ENOMEM]),
    ("epoll_wait", &[EINTR]),
    ("poll", &[EINTR, ENOMEM]),
    ("sigaction", &[EINVAL]),
    ("pthread_create", &[EAGAIN, EPERM]),
    ("fcntl", &[EMFILE, EINVAL]),
];
/// EPERM is of files that poll(2) finds ready always: a pipe has it not.
const POLLER: [(&str, &[i32]); 1] = [("epoll_ctl", &[ENOMEM, ENOSPC])];
/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// Arms or disarms the preloaded faults; calls so far.
fn arm(on: bool) -> i32 {
    // SAFETY: the name is a C string.
    let arm = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"aio2_faults_arm".as_ptr()) };
    assert!(!arm.is_null(), "the faults are not preloaded");
    // SAFETY: faults.c has it in this form.
    let arm: extern "C" fn(i32) -> i32 = unsafe { std::mem::transmute(arm) };
    arm(on.into())
}

/// Requests that were accepted, of a batch.
fn accepted(batch: &Batch, result: Result<usize, Errno>) -> usize {
    match result {
        Ok(bytes) => (0..=batch.len()).find(|n| batch.offset(*n) == bytes).expect("whole iocbs"),
        Err(errno) => {
            assert!([EAGAIN, ENOMEM].contains(&errno.0), "{errno:?}");
            0
        }
    }
}

/// Child: all that a context does; faults come meanwhile.
#[test]
#[ignore = "a child of the test below"]
fn scenario() {
    if std::env::var_os("AIO2_FAULT").is_none() {
        println!("SKIP scenario: it is for the test below, which preloads the faults");
        return;
    }
    let (read, mut write) = std::io::pipe().expect("a pipe");
    let mut buffer = [0; 1];
    let call = |n| Request::call(libc::SYS_nanosleep, &[0, 0]).on_worker().user_data(n);
    let mut batches = [
        Batch::of([Request::nop(1), Request::nop(2).on_worker(), call(3)]),
        Batch::of([
            Request::read(read.as_raw_fd(), &mut buffer).user_data(4),
            Request::poll(read.as_raw_fd(), libc::POLLIN).user_data(5),
            Request::nop(6).on_worker().in_group(7),
            Request::close_group(7).user_data(7),
        ]),
        Batch::of([
            Request::poll(read.as_raw_fd(), libc::POLLPRI).user_data(8).deadline(10_000_000),
            Request::poll(read.as_raw_fd(), libc::POLLPRI).user_data(9),
        ]),
    ];
    let setup = Setup { ring_bytes: 4096, max_requests: 64, concurrency: 2, ..setup() };
    arm(true);
    let created = InProcess.create(&setup);
    let Ok(backend) = created else {
        println!("calls {}", arm(false));
        return;
    };
    let context = Context::new(backend);
    let mut wanted = 0;
    for batch in &mut batches {
        let result = context.submit(batch);
        wanted += accepted(batch, result);
    }
    let _ = context.backend().grow(8192);
    let _ = write.write_all(b"xx");
    let _ = context.cancel(CancelFlags::USER_DATA, Cancel { user_data: 9, ..Cancel::default() });
    let mut seen = Vec::new();
    let end = Instant::now() + PATIENCE / 2;
    while seen.len() < wanted && Instant::now() < end {
        let _ = context.wait(&Wait::events(1).within(Duration::from_millis(100)));
        seen.extend(context.reap_ring(64).iter().filter(|e| e.is_terminal()).map(|e| e.user_data));
        // Who could not be cancelled is so now.
        let fields = Cancel { user_data: 9, ..Cancel::default() };
        let _ = context.cancel(CancelFlags::USER_DATA, fields);
    }
    drop(context);
    println!("calls {}", arm(false));
    let mut once = seen.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((once.len(), seen.len()), (wanted, wanted), "ended: {seen:?}");
}

/// Builds the faults; `None` without a compiler.
fn build(dir: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/faults.c");
    let library = dir.join("faults.so");
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
    gcc.arg("-ldl").status().ok()?.success().then_some(library)
}

/// Runs the scenario with one fault; calls of the function, or what went wrong.
fn run(library: &Path, name: &str, place: i32, errno: i32) -> Result<i32, String> {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "scenario", "--ignored", "--nocapture", "--test-threads=1"])
        .env("LD_PRELOAD", library)
        .env("AIO2_FAULT", format!("{name}:{place}:{errno}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().expect("it is there");
            child.wait().expect("it is there");
            return Err("hangs".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let out = child.wait_with_output().expect("a child");
    let said = String::from_utf8_lossy(&out.stdout);
    let calls = said.lines().find_map(|line| line.split_once("calls ")?.1.trim().parse().ok());
    match calls {
        Some(calls) if out.status.success() => Ok(calls),
        _ => Err(format!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr))),
    }
}

#[test]
fn each_call_that_fails_is_survived() {
    survived(&FAULTS);
}

#[test]
fn each_failure_of_the_poller_is_survived() {
    survived(&POLLER);
}

fn survived(all: &[(&str, &[i32])]) {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(library) = build(dir.path()) else {
        println!("SKIP faults: no gcc");
        return;
    };
    let (mut faults, mut wrong) = (0, Vec::new());
    for &(name, errnos) in all {
        let calls = run(&library, name, -1, 0).expect("nothing fails");
        for errno in errnos {
            for place in 0..calls {
                faults += 1;
                if let Err(what) = run(&library, name, place, *errno) {
                    wrong.push(format!("{name}, call {place} of {calls}, errno {errno}: {what}"));
                }
            }
        }
        println!("{name}: {calls} calls, {} errnos", errnos.len());
    }
    assert!(wrong.is_empty(), "{} of {faults}:\n{}", wrong.len(), wrong.join("\n"));
    println!("faults: {faults} injected, in {} functions", all.len());
}
