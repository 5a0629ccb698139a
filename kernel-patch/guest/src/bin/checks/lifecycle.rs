//! Processes that end, in each way there is, with operations in flight; and
//! what is left of them.

use crate::{context, context_with};
use aio2_abi::op;
use aio2_abi::setup::Setup;
use aio2_conformance::context::{Context as Aio2, until};
use aio2_conformance::env::setup;
use aio2_conformance::file::{Pipe, thread_state};
use aio2_conformance::request::{Batch, Request};
use aio2_guest::leftovers::{Inventory, ensure_nothing_since, worker_threads};
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// The argument that makes this program the one that a child becomes.
pub const SUCCESSOR: &str = "successor";
/// Processes for each way to end.
const ROUNDS: usize = 20;
/// Bytes of a context's ring: what is left of a tenth of them is seen.
const RING: u32 = 2 << 20;
/// Bytes of a read from the device.
const PAGE: usize = 4096;

/// Two contexts with an operation of each sort in flight.
struct Flying {
    large: Aio2,
    small: Aio2,
    pipe: Pipe,
}

/// Reads of a pipe in flight, in each context one.
const PIPE_READS: usize = 4;

impl Flying {
    /// Leaks what the operations write to: it must live as long as they.
    fn new() -> Self {
        let large = context_with(Setup { ring_bytes: RING, ..setup() });
        // Its ring is full at once, so that there is an overflow list.
        let small = context_with(Setup { ring_bytes: 4096, ..setup() });
        let pipe = Pipe::new();
        let word: &'static u32 = Box::leak(Box::new(0));
        let time: &'static [u64; 2] = Box::leak(Box::new([100_000, 0]));
        let futex = [(&raw const *word).addr() as u64, libc::FUTEX_WAIT as u64, 0, 0, 0, 0];
        let sleep = [time.as_ptr().addr() as u64, 0];
        let readable = [pipe.read_fd() as u64, libc::POLLIN as u64];
        for context in [&large, &small] {
            let mut batch = Batch::of([
                Request::call(libc::SYS_futex, &futex),
                Request::call(libc::SYS_nanosleep, &sleep),
                Request::new(op::POLL, &readable),
                Request::nop(9).on_worker(),
            ]);
            for _ in 0..PIPE_READS {
                let buffer: &'static mut [u8; 1] = Box::leak(Box::new([0]));
                batch.push(&Request::read(pipe.read_fd(), buffer).user_data(1));
            }
            context.submit_all(&mut batch);
            direct_reads(context);
        }
        small.submit_all(&mut Batch::of((0..200).map(|_| Request::nop(9))));
        assert!(small.overflowed() > 0, "there is an overflow list");
        until("a worker sleeps in a call", || !worker_threads(Some(std::process::id())).is_empty());
        Flying { large, small, pipe }
    }
}

/// Submits reads that bypass the page cache; the device takes its time.
fn direct_reads(context: &Aio2) {
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open("/dev/nullb1");
    let file = file.expect("/dev/nullb1");
    let mut batch = Batch::new();
    for i in 0..8 {
        let memory = Box::leak(vec![0_u8; 2 * PAGE].into_boxed_slice());
        let start = memory.as_ptr().align_offset(PAGE);
        batch.push(&Request::pread(file.as_raw_fd(), &mut memory[start..start + PAGE], i << 12));
    }
    // The file is closed here: the requests hold it.
    context.submit_all(&mut batch);
}

/// A child process that says when it is ready and does what it is told then.
pub struct Child {
    pid: i32,
    from: File,
    to: File,
}

/// The child's side.
pub struct Parent {
    from: File,
    to: File,
}

impl Child {
    /// Forks; this process must have no other thread. The child exits with
    /// what `body` returns.
    pub fn start(body: impl FnOnce(&mut Parent) -> i32) -> Result<Self> {
        let (up, down) = (Pipe::new(), Pipe::new());
        // SAFETY: one thread, so that no lock is held in the child.
        let pid = unsafe { libc::fork() };
        ensure!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            let mut parent = Parent { from: down.reader, to: up.writer };
            drop((up.reader, down.writer));
            let run = std::panic::AssertUnwindSafe(|| body(&mut parent));
            let status = std::panic::catch_unwind(run).unwrap_or(101);
            // SAFETY: ends the process.
            unsafe { libc::_exit(status) };
        }
        let mut child = Child { pid, from: up.reader, to: down.writer };
        drop((up.writer, down.reader));
        let ready = child.from.read_exact(&mut [0]);
        if ready.is_err() {
            bail!("a child ended before it was ready: {}", child.wait()?);
        }
        Ok(child)
    }

    fn signal(&self, signal: i32) {
        // SAFETY: takes numbers; it is our child, not waited for yet.
        unsafe { libc::kill(self.pid, signal) };
    }

    fn tell(&mut self) -> Result<()> {
        self.to.write_all(&[1]).context("the child is told")
    }

    /// Waits for its end: the exit status, or 256 and the signal.
    fn wait(self) -> Result<i32> {
        let mut status = 0;
        // SAFETY: `status` can be written.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        ensure!(pid == self.pid, "waitpid: {}", std::io::Error::last_os_error());
        if libc::WIFEXITED(status) {
            return Ok(libc::WEXITSTATUS(status));
        }
        Ok(256 + libc::WTERMSIG(status))
    }
}

impl Parent {
    pub fn ready(&mut self) {
        self.to.write_all(&[1]).expect("the parent listens");
    }

    /// Sleeps until the parent says something.
    fn listen(&mut self) {
        self.from.read_exact(&mut [0]).expect("the parent speaks");
    }
}

/// Runs a way to end many times; afterwards there must be no more than before.
fn rounds(mut round: impl FnMut(usize) -> Result<()>) -> Result<()> {
    // What the first one makes and everyone keeps, such as caches.
    round(0)?;
    let before = Inventory::take()?;
    for n in 0..ROUNDS {
        round(n).with_context(|| format!("round {n}"))?;
    }
    ensure_nothing_since(&before)
}

/// Waits for a child, which must end with this status.
pub fn expect(child: Child, status: i32) -> Result<()> {
    let ended = child.wait()?;
    ensure!(ended == status, "ended with {ended} instead of {status}");
    Ok(())
}

/// The check of the checks below: while it is there, all of it is reported.
pub fn what_is_held_is_seen() -> Result<()> {
    let before = Inventory::take()?;
    let child = Child::start(|parent| {
        let held: Vec<Flying> = (0..ROUNDS).map(|_| Flying::new()).collect();
        parent.ready();
        parent.listen();
        held.len() as i32
    })?;
    let more = Inventory::take()?.since(&before).join(", ");
    let seen = ["process", "worker", "memory"].map(|kind| more.contains(kind));
    child.signal(libc::SIGKILL);
    expect(child, 256 + libc::SIGKILL)?;
    ensure!(seen == [true; 3], "seen of processes, workers, memory: {seen:?}: {more}");
    Ok(())
}

pub fn killed_processes_leave_nothing() -> Result<()> {
    rounds(|_| {
        let child = Child::start(|parent| {
            let _flying = Flying::new();
            parent.ready();
            parent.listen();
            0
        })?;
        child.signal(libc::SIGKILL);
        expect(child, 256 + libc::SIGKILL)
    })
}

/// The leader leaves with operations in flight, then the other thread: it ends
/// the process, or is the last one that leaves.
pub fn exiting_leaders_leave_nothing() -> Result<()> {
    rounds(|n| {
        let child = Child::start(|parent| {
            let flying = Flying::new();
            // SAFETY: asks for a number.
            let leader = unsafe { libc::getpid() };
            let heir = std::thread::spawn(move || {
                until("the leader is gone", || thread_state(leader) == Some('Z'));
                let mut byte = [0];
                let zero = File::open("/dev/zero").expect("/dev/zero");
                flying.large.submit_all(&mut Batch::of([Request::pread(
                    zero.as_raw_fd(),
                    &mut byte,
                    0,
                )
                .on_worker()
                .user_data(77)]));
                until("a request of the heir ends", || {
                    flying.large.reap_ring(1).iter().any(|e| (e.user_data, e.res) == (77, 1))
                });
                if n % 2 == 0 {
                    // SAFETY: ends the process.
                    unsafe { libc::_exit(7) };
                }
                std::mem::forget(flying);
                // SAFETY: ends this thread, the last one, whose status counts.
                unsafe { libc::syscall(libc::SYS_exit, 7) };
            });
            parent.ready();
            std::mem::forget(heir);
            // SAFETY: ends this thread and no other.
            unsafe { libc::syscall(libc::SYS_exit, 8) };
            0
        })?;
        expect(child, 7)
    })
}

/// The process becomes another program, which has no workers of the old one;
/// in each second round the contexts' descriptors are not close-on-exec.
pub fn other_programs_leave_nothing() -> Result<()> {
    rounds(|n| {
        let child = Child::start(|parent| {
            let _flying = Flying::new();
            if n % 2 == 1 {
                keep_contexts_over_exec();
            }
            parent.ready();
            let args = [c"checks".as_ptr(), c"successor".as_ptr(), std::ptr::null()];
            // SAFETY: C strings, and a list that ends with null.
            unsafe { libc::execv(c"/proc/self/exe".as_ptr(), args.as_ptr()) };
            1
        })?;
        expect(child, 0)
    })
}

/// The program that a child becomes: 0 if soon it has one thread.
pub fn succeed() -> u8 {
    let alone = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count) == 1;
    let status = std::panic::catch_unwind(|| until("the old workers are gone", alone));
    u8::from(status.is_err())
}

fn keep_contexts_over_exec() {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    for entry in entries.flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let fd = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(fd) = fd.filter(|_| target.to_string_lossy().contains("aio2")) {
            // SAFETY: takes numbers.
            unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
        }
    }
}

/// Stopped and continued with operations in flight, which then end well.
pub fn stopped_processes_leave_nothing() -> Result<()> {
    rounds(|_| {
        let mut child = Child::start(|parent| {
            let flying = Flying::new();
            parent.ready();
            parent.listen();
            let reads = 2 * PIPE_READS;
            (&flying.pipe.writer).write_all(&vec![1; reads]).expect("the pipe has room");
            let mut done = 0;
            until("all reads of the pipe end", || {
                for context in [&flying.large, &flying.small] {
                    // By the overflow list, too.
                    let _ = context.wait(&aio2::backend::Wait::events(0));
                    let events = context.reap_ring(64);
                    done += events.iter().filter(|e| e.user_data == 1).map(|e| e.res).sum::<i64>();
                }
                done == reads as i64
            });
            0
        })?;
        for _ in 0..5 {
            child.signal(libc::SIGSTOP);
            let pid = child.pid;
            until("it is stopped", || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
            });
            child.signal(libc::SIGCONT);
            std::thread::sleep(Duration::from_millis(2));
        }
        child.tell()?;
        expect(child, 0)
    })
}

/// The contexts are closed, and the process goes on without workers.
pub fn closed_contexts_leave_nothing() -> Result<()> {
    rounds(|_| {
        let child = Child::start(|parent| {
            let Flying { large, small, pipe } = Flying::new();
            drop((large, small));
            until("the workers are gone", || worker_threads(Some(std::process::id())).is_empty());
            drop(pipe);
            parent.ready();
            0
        })?;
        expect(child, 0)
    })
}

/// A worker has a thread's own table of files, with the context in it, and goes
/// when the thread and the context are gone.
pub fn threads_with_files_of_their_own_leave_nothing() -> Result<()> {
    let child = Child::start(|parent| {
        let context = context();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: takes a flag; the thread uses no file of others.
                assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
                assert_eq!(context.run(Request::nop(1).on_worker()).user_data, 1);
            });
        });
        drop(context);
        until("the workers are gone", || worker_threads(Some(std::process::id())).is_empty());
        parent.ready();
        0
    })?;
    expect(child, 0)
}
