//! The conformance suite on the engine with each of its executors: io_uring wherever
//! it can be asked, threads alone, and where a filter forbids io_uring. The column
//! `engine` is what an application gets that says nothing.

mod common;

use aio2::Executor;
use aio2_conformance::backends::{InProcess, OnIoUring};
use aio2_conformance::child;
use aio2_conformance::env::Factory;
use aio2_conformance::suite::TESTS;
use libtest_mimic::Trial;
use std::process::Command;

/// Says which column a process is.
const COLUMN: &str = "AIO2_COLUMN";

/// Its name, the implementation, and what it must have found.
type Column = (&'static str, &'static dyn Factory, Executor);

const COLUMNS: [Column; 3] = [
    ("io_uring", &OnIoUring, Executor::IoUring),
    ("threads", &InProcess, Executor::Threads),
    ("forbidden", &OnIoUring, Executor::Threads),
];

fn main() {
    let arguments = common::arguments();
    let Ok(name) = std::env::var(COLUMN) else {
        let trials = COLUMNS.map(|(name, ..)| Trial::test(name, move || run(name)));
        libtest_mimic::run(&arguments, trials.into()).exit();
    };
    let (_, factory, executor) = COLUMNS.into_iter().find(|c| c.0 == name).expect("a column");
    if name == "forbidden" {
        forbid(libc::SYS_io_uring_setup);
    }
    child::play_role(&[factory]);
    let context = aio2::Builder::default().prefer(aio2::Prefer::Engine).build();
    let found = context.expect("a context").executor();
    if found != Some(executor) && executor == Executor::IoUring {
        println!("SKIP {name}, {} tests: io_uring is not to be had here", TESTS.len());
        return;
    }
    assert_eq!(found, Some(executor));
    libtest_mimic::run(&arguments, common::trials(TESTS, factory)).exit();
}

/// Runs the suite of this column in a process of its own.
fn run(name: &str) -> Result<(), libtest_mimic::Failed> {
    let mut suite = Command::new(std::env::current_exe()?);
    suite.env(COLUMN, name).env_remove("AIO2_EXECUTOR").args(["--format", "terse"]);
    if name == "threads" {
        suite.env("AIO2_EXECUTOR", "threads");
    }
    let output = suite.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{}\n{said}", output.status).into());
    }
    let told = |line: &&str| line.starts_with("SKIP") || line.starts_with("test result");
    said.lines().filter(told).for_each(|line| println!("{name}: {line}"));
    Ok(())
}

/// Has the kernel refuse syscall `nr` to this process and its children.
fn forbid(nr: libc::c_long) {
    let code = |op: u32, jt, jf, k| libc::sock_filter { code: op as u16, jt, jf, k };
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut code = [
        // The number is the first word of the data.
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, nr as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, refuse),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // SAFETY: takes no address.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program can be read.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) }, 0);
}
