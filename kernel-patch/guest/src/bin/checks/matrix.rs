//! Each call of the allow list by each answer of a filter: plainly, inline, and with
//! ASYNC.
//!
//! Each try is a process of its own, since a filter cannot be taken off again. It makes
//! no other system call between filter and end than the one and those of AIO2, so that
//! the filter may forbid any of the list. The calls are such as fail at once where they
//! are run: what one does when it succeeds is for `aio2-differ` to compare.

use crate::context;
use crate::seccomp::install;
use aio2::backend::Wait;
use aio2::syscall::{self, Syscall};
use aio2_abi::event::{EventFlags, EventView};
use aio2_conformance::child::forked;
use aio2_conformance::context::patience;
use aio2_conformance::request::{Batch, Request};
use anyhow::{Result, bail, ensure};
use libc::{
    ENOSYS, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO,
    SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE,
    SECCOMP_RET_TRAP, SECCOMP_RET_USER_NOTIF, SIGSYS,
};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicI64, AtomicU32};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// An errno that no call has.
const ODD: u32 = 1234;

/// More numbers than there are system calls.
const NUMBERS: u32 = 1024;

/// How the call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Plain,
    Inline,
    Async,
}

const WAYS: [By; 3] = [By::Plain, By::Inline, By::Async];

/// What a filter answers, and what has to come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The result of the call without a filter.
    Run,
    /// This result, and nothing was run.
    Result(i64),
    /// Plainly the handler of SIGSYS runs; otherwise ENOSYS, and no handler.
    Trap,
    /// With somebody who listens: ENOSYS, of which he hears nothing.
    Unheard,
    /// The process dies of SIGSYS.
    Killed,
    /// The thread dies, and the process lives on.
    ThreadKilled,
}

const ROWS: [(&str, u32, Expected); 9] = [
    ("ALLOW", SECCOMP_RET_ALLOW, Expected::Run),
    ("LOG", SECCOMP_RET_LOG, Expected::Run),
    ("ERRNO", SECCOMP_RET_ERRNO | ODD, Expected::Result(-(ODD as i64))),
    ("ERRNO of 0", SECCOMP_RET_ERRNO, Expected::Result(0)),
    ("TRAP", SECCOMP_RET_TRAP, Expected::Trap),
    ("TRACE", SECCOMP_RET_TRACE, Expected::Result(-(ENOSYS as i64))),
    ("USER_NOTIF", SECCOMP_RET_USER_NOTIF, Expected::Unheard),
    ("KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, Expected::Killed),
    ("KILL_THREAD", SECCOMP_RET_KILL_THREAD, Expected::ThreadKilled),
];

/// What a try tells, in memory that it shares with its parent.
#[derive(Default)]
struct Told {
    /// The filter is on.
    filtered: AtomicU32,
    /// The call has come back.
    returned: AtomicU32,
    /// What the call gives without a filter, and with it.
    unfiltered: AtomicI64,
    result: AtomicI64,
    /// Flags of the event.
    flags: AtomicU32,
    /// How often SIGSYS was handled, or a supervisor was asked.
    seen: AtomicU32,
    /// The thread that made the call.
    thread: AtomicU32,
}

impl Told {
    fn clear(&self) {
        self.unfiltered.store(0, SeqCst);
        self.result.store(0, SeqCst);
        for word in [&self.filtered, &self.returned, &self.flags, &self.seen, &self.thread] {
            word.store(0, SeqCst);
        }
    }
}

/// A page that is shared with children.
fn shared() -> Result<&'static Told> {
    let (access, how) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, how, -1, 0) };
    ensure!(page != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    // SAFETY: a page of zeros, of which each pattern is a `Told`, and which stays.
    Ok(unsafe { &*page.cast::<Told>() })
}

/// The arguments of a call that fails at once, or does nothing.
fn arguments(call: &Syscall) -> Vec<u64> {
    const NONE: u64 = u64::MAX;
    let special: Option<&[u64]> = match call.name {
        "fcntl" => Some(&[NONE, libc::F_GETFL as u64, 0]),
        "close_range" => Some(&[5, 4, 0]),
        "clock_gettime" => Some(&[0, 0]),
        "clock_nanosleep" => Some(&[0, 0, 0, 0]),
        "futex" => Some(&[NONE, libc::FUTEX_WAKE as u64, 0, 0, 0, 0]),
        "kill" => Some(&[i32::MAX as u64, 0]),
        "waitid" => Some(&[0, 0, 0, (libc::WEXITED | libc::WNOHANG) as u64, 0]),
        "ppoll" => Some(&[NONE, NONE, 0, 0, 0]),
        "epoll_pwait" => Some(&[NONE, NONE, NONE, 0, 0, 0]),
        _ => None,
    };
    special.map_or_else(|| vec![NONE; usize::from(call.nr_args)], <[u64]>::to_vec)
}

/// Each call and each answer.
pub fn each_call_by_each_answer() -> Result<()> {
    let told = shared()?;
    let mut wrong = Vec::new();
    let (mut calls, mut tries, begun) = (0, 0, Instant::now());
    for call in (0..NUMBERS).filter_map(syscall::lookup) {
        calls += 1;
        let args = arguments(call);
        ensure!(args.len() == usize::from(call.nr_args), "{}: {args:?}", call.name);
        for (answer, action, expected) in ROWS {
            for way in WAYS {
                if (way, expected) == (By::Plain, Expected::Unheard) {
                    // It would wait for the supervisor.
                    continue;
                }
                tries += 1;
                told.clear();
                let threads = expected == Expected::ThreadKilled;
                let status = forked(|| match threads {
                    true => in_a_thread(told, call, &args, action, way),
                    false => run(told, call, &args, action, way),
                });
                if let Err(why) = judge(told, status, way, expected) {
                    wrong.push(format!("{} {answer} {way:?}: {why:#}", call.name));
                }
            }
        }
    }
    for line in &wrong {
        println!("  {line}");
    }
    let seconds = begun.elapsed().as_secs();
    println!("  {calls} calls, {} answers, {tries} tries in {seconds} s", ROWS.len());
    if wrong.is_empty() { Ok(()) } else { bail!("{} of {tries} are wrong", wrong.len()) }
}

/// Whether a try ended as it should.
fn judge(told: &Told, status: ExitStatus, way: By, expected: Expected) -> Result<()> {
    ensure!(told.filtered.load(SeqCst) == 1, "there is no filter: {status}");
    let returned = told.returned.load(SeqCst) == 1;
    match expected {
        Expected::Killed => {
            ensure!(!returned, "the call has returned");
            ensure!(status.signal() == Some(SIGSYS), "{status}");
            return Ok(());
        }
        Expected::ThreadKilled => {
            ensure!(!returned, "the call has returned");
            ensure!(status.success(), "{status}");
            return Ok(());
        }
        _ => ensure!(returned && status.success(), "the call has not returned: {status}"),
    }
    let (result, seen) = (told.result.load(SeqCst), told.seen.load(SeqCst));
    let started = told.flags.load(SeqCst) & EventFlags::NOT_STARTED.bits() == 0;
    let is_aio2 = way != By::Plain;
    let (wanted, wanted_seen, may_start) = match expected {
        Expected::Run => (told.unfiltered.load(SeqCst), 0, true),
        Expected::Result(result) => (result, 0, !is_aio2),
        // The register has what the handler finds there: the number.
        Expected::Trap if way == By::Plain => (result, 1, true),
        _ => (-i64::from(ENOSYS), 0, false),
    };
    ensure!(result == wanted, "{result} in place of {wanted}");
    ensure!(seen == wanted_seen, "it was seen {seen} times in place of {wanted_seen}");
    ensure!(started == may_start, "started: {started}");
    Ok(())
}

/// Makes the call from another thread than the first; 0 if that thread is gone then.
fn in_a_thread(told: &'static Told, call: &Syscall, args: &[u64], action: u32, way: By) -> i32 {
    let (call, args) = (*call, args.to_vec());
    // Not joined: one that was killed has no result.
    std::thread::spawn(move || {
        // SAFETY: takes nothing.
        told.thread.store(unsafe { libc::gettid() } as u32, SeqCst);
        run(told, &call, &args, action, way);
    });
    let begun = Instant::now();
    while begun.elapsed() < patience() {
        let thread = told.thread.load(SeqCst);
        // SAFETY: asks whether there is such a thread.
        let there = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, 0) };
        if thread != 0 && there < 0 || told.returned.load(SeqCst) == 1 {
            return 0;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    1
}

/// The result of the call, made plainly.
fn plainly(call: &Syscall, args: &[u64]) -> i64 {
    let arg = |n: usize| args.get(n).copied().unwrap_or(0);
    let nr = libc::c_long::from(call.nr);
    // SAFETY: there is no memory at these addresses, and no such descriptor.
    let result = unsafe { libc::syscall(nr, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    if result >= 0 {
        return result;
    }
    -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// The page that the handler of SIGSYS counts in.
static SHARED: std::sync::OnceLock<&'static Told> = std::sync::OnceLock::new();

extern "C" fn count(_: i32) {
    if let Some(told) = SHARED.get() {
        told.seen.fetch_add(1, SeqCst);
    }
}

/// Puts the filter on and makes the call; not 0 if nothing of that can be done.
fn run(told: &'static Told, call: &Syscall, args: &[u64], action: u32, way: By) -> i32 {
    let request = Request::new(call.nr, args);
    let request = if way == By::Async { request.on_worker() } else { request };
    let (mut batch, mut events) = (Batch::of([request]), [0_u64; 64]);
    let context = std::mem::ManuallyDrop::new(context());
    if action == SECCOMP_RET_TRAP {
        SHARED.get_or_init(|| told);
        // SAFETY: the handler adds to a number.
        unsafe { libc::signal(SIGSYS, count as extern "C" fn(i32) as usize) };
    }
    told.unfiltered.store(plainly(call, args), SeqCst);
    let listens = action == SECCOMP_RET_USER_NOTIF;
    let flags = if listens { SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    let filter = install(call.nr.into(), action, flags);
    if filter < 0 {
        return 1;
    }
    told.filtered.store(1, SeqCst);
    let result = if way == By::Plain {
        plainly(call, args)
    } else {
        if context.submit(&mut batch) != Ok(batch.offset(1)) {
            return 2;
        }
        let (room, wait) = (events.as_mut_bytes(), Wait::events(1).within(patience()));
        // SAFETY: no iocbs.
        if unsafe { context.backend().wait(&wait, &mut [], Some(room)) }.is_err() {
            return 3;
        }
        let Ok((event, _)) = EventView::parse(events.as_bytes()) else { return 4 };
        told.flags.store(event.header.flags, SeqCst);
        event.header.res
    };
    told.result.store(result, SeqCst);
    if listens {
        told.seen.store(is_readable(filter as i32, call), SeqCst);
    }
    told.returned.store(1, SeqCst);
    0
}

/// 1 if the descriptor is readable, asked by another call than this one.
fn is_readable(fd: i32, other_than: &Syscall) -> u32 {
    let mut asked = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let (asked, now) = (&raw mut asked, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    let ready = match other_than.name {
        // SAFETY: one entry, which can be written.
        "ppoll" => unsafe { libc::syscall(libc::SYS_poll, asked, 1, 0) },
        // SAFETY: one entry, which can be written, and no set of signals.
        _ => unsafe { libc::syscall(libc::SYS_ppoll, asked, 1, &raw const now, 0, 8) },
    };
    u32::from(ready != 0)
}
