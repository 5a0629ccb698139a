//! A child of the test program whose threads are traced: its system calls are seen
//! before they are made, whoever makes them.
//!
//! ptrace(2) and a seccomp filter rather than an interposed library: the engine
//! makes system calls by instructions of its own, and glibc's are not to be
//! interposed either.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Names the test that a child plays.
const ROLE: &str = "AIO2_TRACED";
/// A prctl(2) that is for the tracer.
const MESSAGE: u64 = 0x4149_4f32;

/// What the child stands at.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// A system call that the filter names is to be made.
    Call(Call),
    /// The child says something; its answer is awaited.
    Message(Call),
    /// It is gone, with this status of wait(2).
    Gone(i32),
}

/// A system call that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub tid: i32,
    pub nr: i64,
    pub args: [u64; 6],
    regs: libc::user_regs_struct,
}

/// The child.
pub struct Tracee {
    child: Child,
    /// What it says on stderr.
    says: File,
    /// The thread that plays the role.
    pub tid: i32,
    /// Whose system call has to end with this errno once it was made.
    ends: Vec<(i32, i32)>,
    /// When it was last heard of, in ms since `start`.
    heard: Arc<AtomicU64>,
    start: Instant,
}

/// A thread of the child has gone, or can be traced no more.
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

fn ptrace(request: libc::c_uint, tid: i32, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: `data` is a number, or the address of what the request wants.
    let result = unsafe { libc::ptrace(request, tid, addr, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Tracee {
    /// A child that plays `role`, an ignored test of this program, which calls
    /// [`be_traced`] first of all. It is killed where it says nothing for so long.
    ///
    /// # Errors
    /// Why nothing can be traced here.
    pub fn start(role: &str, envs: &[(&str, String)], patience: Duration) -> io::Result<Tracee> {
        let says = tempfile::tempfile()?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", role, "--ignored", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env("RUST_BACKTRACE", "0")
            .envs(envs.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(says.try_clone()?)
            .spawn()?;
        let out = child.stdout.take().expect("it is a pipe");
        let mut lines = BufReader::new(out).lines();
        let tid = lines.find_map(|line| line.ok()?.split_once("tid ")?.1.parse().ok());
        let tid = tid.ok_or_else(|| io::Error::other("the child says nothing"))?;
        // What comes now is little, and of no interest.
        std::thread::spawn(move || lines.for_each(drop));
        let options = libc::PTRACE_O_EXITKILL
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACESECCOMP
            | libc::PTRACE_O_TRACESYSGOOD;
        if let Err(error) = ptrace(libc::PTRACE_SEIZE, tid, 0, options as usize) {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        let (heard, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
        watch(&child, Arc::clone(&heard), start, patience)?;
        child.stdin.take().expect("it is a pipe").write_all(b"x")?;
        Ok(Tracee { child, says, tid, ends: Vec::new(), heard, start })
    }

    /// Where it stands next. Only the thread that has started it may ask.
    pub fn next(&mut self) -> Stop {
        loop {
            let mut status = 0;
            let group = -(self.child.id() as i32);
            // SAFETY: `status` can be written.
            let tid = unsafe { libc::waitpid(group, &raw mut status, libc::__WALL) };
            assert!(tid > 0, "wait: {}", io::Error::last_os_error());
            if !libc::WIFSTOPPED(status) {
                if tid == self.child.id() as i32 {
                    return Stop::Gone(status);
                }
                continue;
            }
            let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
            if event == libc::PTRACE_EVENT_SECCOMP {
                let Some(regs) = registers(tid) else { continue };
                let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
                let call = Call { tid, nr: regs.orig_rax as i64, args, regs };
                if call.nr == libc::SYS_prctl && args[0] == MESSAGE {
                    self.heard.store(self.start.elapsed().as_millis() as u64, Relaxed);
                    return Stop::Message(call);
                }
                return Stop::Call(call);
            }
            if signal == libc::SIGTRAP | 0x80 {
                self.end_call(tid);
                continue;
            }
            // A new thread, or a signal, which is handed on.
            self.go(tid, if event == 0 { signal } else { 0 });
        }
    }

    fn go(&self, tid: i32, signal: i32) {
        if let Err(error) = ptrace(libc::PTRACE_CONT, tid, 0, signal as usize) {
            assert!(is_gone(&error), "{error}");
        }
    }

    /// Lets the call be made.
    pub fn allow(&self, call: &Call) {
        self.go(call.tid, 0);
    }

    /// The call is not made, and has this result.
    pub fn answer(&self, call: &Call, result: i64) {
        let regs = libc::user_regs_struct { orig_rax: u64::MAX, rax: result as u64, ..call.regs };
        if set_registers(call.tid, &regs) {
            self.go(call.tid, 0);
        }
    }

    /// The call is made, and ends with this errno all the same.
    pub fn fail_after(&mut self, call: &Call, errno: i32) {
        self.ends.push((call.tid, errno));
        if let Err(error) = ptrace(libc::PTRACE_SYSCALL, call.tid, 0, 0) {
            assert!(is_gone(&error), "{error}");
        }
    }

    fn end_call(&mut self, tid: i32) {
        let Some(mut regs) = registers(tid) else { return };
        if let Some(place) = self.ends.iter().position(|(other, _)| *other == tid) {
            let (_, errno) = self.ends.swap_remove(place);
            regs.rax = -i64::from(errno) as u64;
            set_registers(tid, &regs);
        }
        self.go(tid, 0);
    }

    /// What it has said on stderr.
    pub fn says(&mut self) -> String {
        let mut said = Vec::new();
        io::Seek::rewind(&mut self.says).expect("it is a file");
        self.says.read_to_end(&mut said).expect("it is a file");
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // It has been waited for, mostly; then this does nothing.
        let _ = self.child.kill();
    }
}

/// Kills the child once nothing was heard of it for so long.
fn watch(
    child: &Child,
    heard: Arc<AtomicU64>,
    start: Instant,
    patience: Duration,
) -> io::Result<()> {
    // SAFETY: takes numbers; the child was not waited for.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is new, and no one else's.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    std::thread::spawn(move || {
        let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        while unsafe { libc::poll(&raw mut poll, 1, 1000) } == 0 {
            let silent = start.elapsed().as_millis() as u64 - heard.load(Relaxed);
            if silent > patience.as_millis() as u64 {
                let no_info = ptr::null::<libc::siginfo_t>();
                // SAFETY: takes numbers.
                unsafe {
                    libc::syscall(
                        libc::SYS_pidfd_send_signal,
                        pidfd.as_raw_fd(),
                        libc::SIGKILL,
                        no_info,
                        0,
                    )
                };
            }
        }
    });
    Ok(())
}

fn registers(tid: i32) -> Option<libc::user_regs_struct> {
    let mut regs = MaybeUninit::<libc::user_regs_struct>::uninit();
    match ptrace(libc::PTRACE_GETREGS, tid, 0, regs.as_mut_ptr().addr()) {
        // SAFETY: they were written.
        Ok(()) => Some(unsafe { regs.assume_init() }),
        Err(error) if is_gone(&error) => None,
        Err(error) => panic!("registers: {error}"),
    }
}

fn set_registers(tid: i32, regs: &libc::user_regs_struct) -> bool {
    match ptrace(libc::PTRACE_SETREGS, tid, 0, ptr::from_ref(regs).addr()) {
        Ok(()) => true,
        Err(error) if is_gone(&error) => false,
        Err(error) => panic!("registers: {error}"),
    }
}

/// In the child: waits until it is traced, then has the tracer asked before each of
/// these system calls. False where this is no child: the test is skipped.
pub fn be_traced(role: &str, calls: &BTreeSet<i64>) -> bool {
    if std::env::var(ROLE).as_deref() != Ok(role) {
        println!("SKIP {role}: it is for a test that traces it");
        return false;
    }
    // SAFETY: takes nothing.
    println!("tid {}", unsafe { libc::gettid() });
    io::stdout().flush().expect("the tracer reads");
    io::stdin().read_exact(&mut [0]).expect("the tracer writes");
    let (load, equal, give) = (0x20, 0x15, 0x06);
    let filter = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let ask = || filter(give, libc::SECCOMP_RET_TRACE, 0, 0);
    let mut program = vec![filter(load, 0, 0, 0)];
    for nr in calls {
        program.extend([filter(equal, *nr as u32, 0, 1), ask()]);
    }
    // The low half of the first argument.
    program.extend([filter(equal, libc::SYS_prctl as u32, 0, 3), filter(load, 16, 0, 0)]);
    program.extend([filter(equal, MESSAGE as u32, 0, 1), ask()]);
    program.push(filter(give, libc::SECCOMP_RET_ALLOW, 0, 0));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers.
    let ours = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: a program of that length.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!((ours, set), (0, 0), "{}", io::Error::last_os_error());
    true
}

/// In the child: says something to the tracer; its answer.
pub fn tell(what: u64, more: u64) -> i64 {
    // SAFETY: no such prctl is there; the tracer answers in its place.
    i64::from(unsafe { libc::prctl(MESSAGE as i32, what, more, 0, 0) })
}
