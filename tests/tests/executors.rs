//! The conformance suite on the engine with each of its executors: io_uring and Linux
//! AIO wherever they can be asked, threads alone, and where a filter forbids the first
//! or both. The column
//! `engine` is what an application gets that says nothing.

mod common;

use aio2::Executor;
use aio2_conformance::backends::{InProcess, OnDevice};
use aio2_conformance::child;
use aio2_conformance::env::Factory;
use aio2_conformance::suite::TESTS;
use libtest_mimic::Trial;
use std::process::Command;

/// Says which column a process is.
const COLUMN: &str = "AIO2_COLUMN";

/// Its name, the implementation, what the environment and a filter forbid, and what it
/// must have found.
struct Column {
    name: &'static str,
    factory: &'static dyn Factory,
    wish: Option<&'static str>,
    forbidden: &'static [libc::c_long],
    found: Executor,
}

const fn column(name: &'static str, found: Executor) -> Column {
    Column { name, factory: &OnDevice, wish: None, forbidden: &[], found }
}

const COLUMNS: [Column; 5] = [
    column("io_uring", Executor::IoUring),
    Column { wish: Some("linux_aio"), ..column("linux_aio", Executor::LinuxAio) },
    Column { factory: &InProcess, wish: Some("threads"), ..column("threads", Executor::Threads) },
    Column {
        forbidden: &[libc::SYS_io_uring_setup],
        ..column("io_uring forbidden", Executor::LinuxAio)
    },
    Column {
        forbidden: &[libc::SYS_io_uring_setup, libc::SYS_io_setup],
        ..column("both forbidden", Executor::Threads)
    },
];

fn main() {
    let arguments = common::arguments();
    let Ok(name) = std::env::var(COLUMN) else {
        let trials = COLUMNS.map(|column| Trial::test(column.name, move || run(&column)));
        libtest_mimic::run(&arguments, trials.into()).exit();
    };
    let column = COLUMNS.into_iter().find(|column| column.name == name).expect("a column");
    let Column { factory, found: executor, forbidden, .. } = column;
    forbidden.iter().for_each(|&nr| forbid(nr));
    child::play_role(&[factory]);
    let context = aio2::Builder::default().prefer(aio2::Prefer::Engine).build();
    let found = context.expect("a context").executor();
    if found != Some(executor) && executor != Executor::Threads {
        println!("SKIP {name}, {} tests: {executor} is not to be had here", TESTS.len());
        return;
    }
    assert_eq!(found, Some(executor));
    libtest_mimic::run(&arguments, common::trials(TESTS, factory)).exit();
}

/// Runs the suite of this column in a process of its own.
fn run(column: &Column) -> Result<(), libtest_mimic::Failed> {
    let name = column.name;
    let mut suite = Command::new(std::env::current_exe()?);
    suite.env(COLUMN, name).env_remove("AIO2_EXECUTOR").args(["--format", "terse"]);
    suite.envs(column.wish.map(|wish| ("AIO2_EXECUTOR", wish)));
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
