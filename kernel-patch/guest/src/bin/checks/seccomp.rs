//! The same filter on the same operation: as a plain call, by AIO2, by io_uring.
//!
//! Each try is a process of its own, since a filter cannot be taken off again.

use crate::context;
use aio2_conformance::child::forked;
use aio2_conformance::context::until;
use aio2_conformance::file::proc_self;
use aio2_conformance::request::Request;
use anyhow::{Result, bail};
use io_uring::{IoUring, opcode, types};
use libc::{
    EACCES, ENOSYS, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS,
    SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP,
    SECCOMP_RET_USER_NOTIF, SIGSYS,
};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;

/// How the operation is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Plain,
    Aio2,
    Aio2Async,
    IoUring,
}

const WAYS: [By; 4] = [By::Plain, By::Aio2, By::Aio2Async, By::IoUring];

/// What a filter is to forbid.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// Always on a worker.
    Open,
    /// Inline, which the program's own file is not: its file system has no NOWAIT.
    Read,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Plain => "plain",
            By::Aio2 => "AIO2",
            By::Aio2Async => "AIO2, ASYNC",
            By::IoUring => "io_uring",
        }
    }
}

impl Operation {
    fn nr(self) -> libc::c_long {
        match self {
            Operation::Open => libc::SYS_openat,
            Operation::Read => libc::SYS_pread64,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Operation::Open => "openat",
            Operation::Read => "pread64",
        }
    }
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Errno(i32),
    Killed(i32),
    /// The thread that asked is gone, its process is not.
    ThreadKilled,
    Broken(i32),
}

impl End {
    fn text(self) -> String {
        match self {
            End::Done => "done".into(),
            End::Errno(EACCES) => "EACCES".into(),
            End::Errno(ENOSYS) => "ENOSYS".into(),
            End::Errno(n) => format!("errno {n}"),
            End::Killed(SIGSYS) => "killed, SIGSYS".into(),
            End::Killed(n) => format!("killed, {n}"),
            End::ThreadKilled => "thread killed".into(),
            End::Broken(n) => format!("broken, {n}"),
        }
    }
}

/// Exit statuses of a try; below it, an errno.
const BROKEN: i32 = 200;
const THREAD_KILLED: i32 = 201;

/// A row of the table: a filter's answer, and the ends that it has to lead to.
struct Row {
    answer: &'static str,
    action: u32,
    /// The thread that asks is not the only one.
    threads: bool,
    plain: End,
    aio2: End,
}

const fn row(answer: &'static str, action: u32, plain: End, aio2: End) -> Row {
    Row { answer, action, threads: false, plain, aio2 }
}

/// A plain call that traps without a handler dies of it; AIO2 has no place to
/// enter a handler at, nor a tracer or a supervisor to ask, and ends the
/// request.
const ROWS: &[Row] = &[
    row("ALLOW", SECCOMP_RET_ALLOW, End::Done, End::Done),
    row("LOG", SECCOMP_RET_LOG, End::Done, End::Done),
    row("ERRNO", SECCOMP_RET_ERRNO | EACCES as u32, End::Errno(EACCES), End::Errno(EACCES)),
    row("KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, End::Killed(SIGSYS), End::Killed(SIGSYS)),
    row("KILL_THREAD", SECCOMP_RET_KILL_THREAD, End::Killed(SIGSYS), End::Killed(SIGSYS)),
    Row {
        answer: "KILL_THREAD of two",
        action: SECCOMP_RET_KILL_THREAD,
        threads: true,
        plain: End::ThreadKilled,
        aio2: End::ThreadKilled,
    },
    row("TRAP", SECCOMP_RET_TRAP, End::Killed(SIGSYS), End::Errno(ENOSYS)),
    row("TRACE", SECCOMP_RET_TRACE, End::Errno(ENOSYS), End::Errno(ENOSYS)),
    row("USER_NOTIF", SECCOMP_RET_USER_NOTIF, End::Errno(ENOSYS), End::Errno(ENOSYS)),
];

/// Prints the table; io_uring has to be stopped by nothing.
pub fn filters_act_as_on_plain_calls() -> Result<()> {
    let mut wrong = Vec::new();
    let names = WAYS.map(By::name);
    println!(
        "{:<8} {:<19} {:<15} {:<15} {:<15} {}",
        "call", "the filter says", names[0], names[1], names[2], names[3]
    );
    for operation in [Operation::Open, Operation::Read] {
        for row in ROWS {
            let ends = WAYS.map(|way| attempt(operation, row, way));
            let text = ends.map(End::text);
            println!(
                "{:<8} {:<19} {:<15} {:<15} {:<15} {}",
                operation.name(),
                row.answer,
                text[0],
                text[1],
                text[2],
                text[3]
            );
            if ends != [row.plain, row.aio2, row.aio2, End::Done] {
                wrong.push(format!("{} {}", operation.name(), row.answer));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("not as it should be: {}", wrong.join(", ")) }
}

/// Makes the operation in a process with the filter.
fn attempt(operation: Operation, row: &Row, way: By) -> End {
    let status = forked(|| {
        if row.threads {
            in_a_thread(operation, row.action, way)
        } else {
            run(operation, row.action, way)
        }
    });
    match (status.code(), status.signal()) {
        (Some(0), _) => End::Done,
        (Some(THREAD_KILLED), _) => End::ThreadKilled,
        (Some(n), _) if n < BROKEN => End::Errno(n),
        (Some(n), _) => End::Broken(n),
        (None, signal) => End::Killed(signal.unwrap_or(0)),
    }
}

/// Runs in another thread than the first; tells whether that came back.
fn in_a_thread(operation: Operation, action: u32, way: By) -> i32 {
    let (to, from) = std::sync::mpsc::channel();
    // Not joined: one that was killed has no result.
    std::thread::spawn(move || {
        to.send(None).expect("the first thread listens");
        to.send(Some(run(operation, action, way))).expect("the first thread listens");
    });
    let started = from.recv();
    assert_eq!(started, Ok(None));
    let mut status = None;
    until("the thread has ended", || {
        // Looked at first: what it had to say it has said then.
        let alone = proc_self("task").len() == 1;
        status = status.or(from.try_recv().ok().flatten());
        alone || status.is_some()
    });
    status.unwrap_or(THREAD_KILLED)
}

/// Puts the filter on, makes the operation; 0, an errno, or [`BROKEN`].
fn run(operation: Operation, action: u32, way: By) -> i32 {
    let path = c"/proc/self/exe";
    let Ok(file) = std::fs::File::open("/dev/zero") else { return BROKEN };
    let fd = file.as_raw_fd();
    let mut buffer = [0_u8; 64];
    let context = context();
    let mut ring = IoUring::new(4).expect("a ring");
    if !filter(operation.nr(), action) {
        return BROKEN;
    }
    let result = match (way, operation) {
        (By::Plain, Operation::Open) => {
            // SAFETY: a C string.
            let fd = unsafe { libc::openat(libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY) };
            errno_of(fd.into())
        }
        (By::Plain, Operation::Read) => {
            // SAFETY: the buffer has its length.
            let bytes = unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            errno_of(bytes as i64)
        }
        (By::IoUring, Operation::Open) => {
            let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr());
            by_uring(&mut ring, &entry.flags(libc::O_RDONLY).build())
        }
        (By::IoUring, Operation::Read) => {
            let entry = opcode::Read::new(types::Fd(fd), buffer.as_mut_ptr(), buffer.len() as u32);
            by_uring(&mut ring, &entry.build())
        }
        (By::Aio2 | By::Aio2Async, _) => {
            let request = match operation {
                Operation::Open => Request::call(
                    libc::SYS_openat,
                    &[libc::AT_FDCWD as u64, path.as_ptr().addr() as u64, 0, 0],
                ),
                Operation::Read => Request::pread(fd, &mut buffer, 0),
            };
            let request = if way == By::Aio2Async { request.on_worker() } else { request };
            context.run(request).res
        }
    };
    if result < 0 { -result as i32 } else { 0 }
}

/// What a system call returned, with its errno negated as a result has it.
fn errno_of(result: i64) -> i64 {
    if result >= 0 {
        return result;
    }
    -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(BROKEN))
}

fn by_uring(ring: &mut IoUring, entry: &io_uring::squeue::Entry) -> i64 {
    // SAFETY: what the entry names lives until the completion was taken.
    unsafe { ring.submission().push(entry) }.expect("there is room");
    ring.submit_and_wait(1).expect("it is submitted");
    ring.completion().next().expect("it is complete").result().into()
}

/// Forbids the call to this thread with `action`; whether that worked.
fn filter(nr: libc::c_long, action: u32) -> bool {
    install(nr, action, 0) == 0
}

/// As [`filter`], with flags of seccomp(2); what that returned.
pub fn install(nr: libc::c_long, action: u32, flags: libc::c_ulong) -> libc::c_long {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load_nr = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    let is_it = libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: 1,
        k: nr as u32,
    };
    let answer = |action| statement(libc::BPF_RET | libc::BPF_K, action);
    let mut program = [load_nr, is_it, answer(action), answer(SECCOMP_RET_ALLOW)];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return -1;
    }
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: a program that is alive, of the length it says.
    unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) }
}
