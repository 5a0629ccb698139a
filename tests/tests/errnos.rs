//! Each system call of the engine fails, with each errno of its man page that can
//! meet it: at each place of some scenarios, one after the other, and then at
//! random. What is accepted ends, once, with its own result or an errno that it was
//! given; no byte is lost; all calls return; nothing is left behind.
//!
//! The scenarios are played by a traced child, so that no call escapes, whoever
//! makes it. `tests/tests/faults.rs` does the same to functions of the C library.
//!
//! AIO2_FAULT_SECONDS says how long, AIO2_SEED repeats the random choices.
#![cfg(target_arch = "x86_64")]

#[path = "errnos/scenarios.rs"]
mod scenarios;
mod tracer;

use aio2_conformance::random::{Random, seed};
use libc::*;
use scenarios::{DEVICES, SCENARIOS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use tracer::{Call, Stop, Tracee};

/// What the child tells.
const BEGIN: u64 = 1;
const END: u64 = 2;
/// The calling thread's calls can fail from now on, or no more.
const ENGINE: u64 = 3;
/// Asks whether an errno was given in this round.
const WAS_GIVEN: u64 = 4;

/// A child of which nothing is heard for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A system call, and how it can fail.
struct Rule {
    nr: c_long,
    name: &'static str,
    errnos: &'static [i32],
    /// Whether it is meant.
    when: fn(&[u64; 6]) -> bool,
    /// It has been made all the same.
    is_made: bool,
    /// It does not fail at random, where it could fail each time.
    is_alone: bool,
}

const fn rule(nr: c_long, name: &'static str, errnos: &'static [i32]) -> Rule {
    some(nr, name, errnos, |_| true)
}

const fn some(
    nr: c_long,
    name: &'static str,
    errnos: &'static [i32],
    when: fn(&[u64; 6]) -> bool,
) -> Rule {
    Rule { nr, name, errnos, when, is_made: false, is_alone: false }
}

fn futex_waits(args: &[u64; 6]) -> bool {
    let command = args[1] as i32 & FUTEX_CMD_MASK;
    command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET
}

/// An eventfd that does not block has no errno but EAGAIN, where it is signalled
/// already: eight bytes are one's, here.
fn is_no_counter(args: &[u64; 6]) -> bool {
    args[2] != 8
}

const NO_FILES: &[i32] = &[EMFILE, ENFILE, ENOMEM];
const TRANSFER: &[i32] = &[EAGAIN, EINTR, EIO, EBADF, EFAULT, EINVAL, EISDIR, ENOSPC, EOPNOTSUPP];
const SIGNALS: &[i32] = &[EAGAIN, EPERM, ESRCH, EINVAL];

/// Left out is what says that an address, a size or a descriptor of the engine's
/// own is wrong (EFAULT, EINVAL, EBADF), where it knows better; what cannot happen
/// to the object that it has (epoll_ctl to change and to delete what is there, which
/// needs no memory; EPERM to add a pipe); of futex(2) what glibc ends the process
/// for, and ETIMEDOUT before the time; and calls of glibc and std whose failure ends
/// the process (sigaltstack).
const RULES: &[Rule] = &[
    some(SYS_futex, "futex, to wait", &[EAGAIN, EINTR], futex_waits),
    rule(SYS_epoll_create1, "epoll_create1", NO_FILES),
    some(SYS_epoll_ctl, "epoll_ctl, to add", &[ENOMEM, ENOSPC, EBADF], |args| {
        args[1] == EPOLL_CTL_ADD as u64
    }),
    rule(SYS_epoll_wait, "epoll_wait", &[EINTR]),
    rule(SYS_epoll_pwait, "epoll_pwait", &[EINTR]),
    rule(SYS_epoll_pwait2, "epoll_pwait2", &[EINTR, ENOSYS]),
    rule(SYS_poll, "poll", &[EINTR, ENOMEM]),
    rule(SYS_ppoll, "ppoll", &[EINTR, ENOMEM]),
    rule(SYS_eventfd2, "eventfd2", &[EMFILE, ENFILE, ENODEV, ENOMEM]),
    rule(SYS_mmap, "mmap", &[ENOMEM, EAGAIN, EPERM, ENFILE, EACCES]),
    rule(SYS_mprotect, "mprotect", &[ENOMEM, EACCES]),
    rule(SYS_munmap, "munmap", &[ENOMEM]),
    rule(SYS_madvise, "madvise", &[ENOMEM, EAGAIN, EINVAL, EPERM]),
    rule(SYS_memfd_create, "memfd_create", &[EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS]),
    rule(SYS_ftruncate, "ftruncate", &[EINTR, EIO, EFBIG, EPERM, ENOSPC]),
    some(SYS_fcntl, "fcntl, to duplicate", &[EMFILE, EBADF], |args| {
        [F_DUPFD, F_DUPFD_CLOEXEC].contains(&(args[1] as i32))
    }),
    some(SYS_fcntl, "fcntl, to seal", &[EBUSY, EPERM, EINVAL], |args| {
        args[1] == F_ADD_SEALS as u64
    }),
    some(SYS_fcntl, "fcntl, to ask", &[EINVAL], |args| {
        // std's owners ask for F_GETFD, and end the process at an errno.
        ![F_DUPFD, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GETFD].contains(&(args[1] as i32))
    }),
    rule(SYS_clone3, "clone3", &[EAGAIN, ENOMEM, EPERM, ENOSYS]),
    rule(SYS_clone, "clone", &[EAGAIN, ENOMEM]),
    // One after the other only: without any signal no call on a worker can be stopped
    // (INTERRUPT, R-CANCEL-6), and one of the scenarios sleeps for long. To ask what
    // is set cannot fail.
    Rule {
        is_alone: true,
        ..some(SYS_rt_sigaction, "rt_sigaction, to set", &[EINVAL], |args| args[1] != 0)
    },
    rule(SYS_tgkill, "tgkill", SIGNALS),
    rule(SYS_tkill, "tkill", SIGNALS),
    rule(SYS_kill, "kill", &[EPERM, ESRCH]),
    rule(SYS_rt_sigqueueinfo, "rt_sigqueueinfo", SIGNALS),
    rule(SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo", SIGNALS),
    Rule { is_made: true, ..rule(SYS_close, "close", &[EINTR, EIO, ENOSPC, EDQUOT]) },
    rule(SYS_statx, "statx", &[ENOMEM, EACCES, ELOOP, ENOSYS]),
    rule(SYS_fstat, "fstat", &[ENOMEM, EIO]),
    rule(SYS_openat, "openat", &[EMFILE, ENFILE, ENOMEM, EACCES, EINTR]),
    rule(SYS_readlink, "readlink", &[EACCES, EIO, ENOENT, ENOMEM]),
    rule(SYS_readlinkat, "readlinkat", &[EACCES, EIO, ENOENT, ENOMEM]),
    rule(SYS_capget, "capget", &[EPERM, EINVAL]),
    rule(SYS_capset, "capset", &[EPERM, EINVAL]),
    rule(SYS_getsockopt, "getsockopt", &[EINVAL, ENOPROTOOPT, ENOTSOCK]),
    rule(SYS_ioctl, "ioctl", &[EINVAL, ENOTTY]),
    rule(SYS_kcmp, "kcmp", &[EPERM, ENOSYS]),
    rule(SYS_ioprio_get, "ioprio_get", &[EPERM, ESRCH]),
    rule(SYS_ioprio_set, "ioprio_set", &[EPERM, EINVAL, ESRCH]),
    rule(SYS_process_vm_readv, "process_vm_readv", &[ENOMEM, EPERM, EFAULT, ENOSYS]),
    rule(SYS_prlimit64, "prlimit64", &[EPERM]),
    rule(SYS_sched_getaffinity, "sched_getaffinity", &[EINVAL]),
    rule(SYS_getcpu, "getcpu", &[ENOSYS]),
    rule(SYS_io_uring_setup, "io_uring_setup", &[EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS, EINVAL]),
    rule(SYS_io_uring_enter, "io_uring_enter", &[EAGAIN, EBUSY, EINTR]),
    rule(SYS_io_uring_register, "io_uring_register", &[ENOMEM, EINVAL, EPERM]),
    rule(SYS_io_setup, "io_setup", &[EAGAIN, ENOMEM, EPERM, ENOSYS]),
    rule(SYS_io_submit, "io_submit", &[EAGAIN, EINVAL, EPERM, ENOSYS]),
    rule(SYS_io_getevents, "io_getevents", &[EINTR, EPERM, ENOSYS]),
    some(SYS_read, "read", TRANSFER, is_no_counter),
    some(SYS_write, "write", TRANSFER, is_no_counter),
    rule(SYS_pread64, "pread64", TRANSFER),
    rule(SYS_pwrite64, "pwrite64", TRANSFER),
    rule(SYS_readv, "readv", TRANSFER),
    rule(SYS_writev, "writev", TRANSFER),
    rule(SYS_preadv2, "preadv2", TRANSFER),
    rule(SYS_pwritev2, "pwritev2", TRANSFER),
    rule(SYS_recvfrom, "recvfrom", &[EAGAIN, EINTR, ENOMEM, ECONNREFUSED]),
    rule(SYS_sendto, "sendto", &[EAGAIN, EINTR, ENOMEM, ENOBUFS]),
    rule(SYS_recvmsg, "recvmsg", &[EAGAIN, EINTR, ENOMEM, ECONNREFUSED]),
    rule(SYS_sendmsg, "sendmsg", &[EAGAIN, EINTR, ENOMEM, ENOBUFS]),
    rule(SYS_fsync, "fsync", &[EIO, EINTR, ENOSPC, EDQUOT]),
    rule(SYS_nanosleep, "nanosleep", &[EINTR]),
    rule(SYS_splice, "splice", &[EINVAL, ENOMEM, EAGAIN]),
];

/// What is to fail in a round.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// Nothing: the calls are counted.
    Count,
    /// The call of a rule at this place.
    One { rule: usize, place: u32, errno: i32 },
    /// One call of so many.
    Random { of: u64 },
}

/// The rounds that are to be played, and what has come of those that were.
struct Rounds {
    plans: VecDeque<(usize, Plan)>,
    random: Random,
    end: Instant,
    /// In this round: calls by rule, errnos that were given, and by which calls.
    calls: BTreeMap<usize, u32>,
    given: Vec<(usize, i32)>,
    /// Threads whose calls cannot fail now; others' can.
    spared: BTreeSet<i32>,
    now: Option<(usize, Plan)>,
    rounds: u64,
    injected: BTreeMap<(usize, i32), u64>,
    at_random: u64,
    is_at_random: bool,
}

impl Rounds {
    /// What is played next; `None` at the end.
    fn begin(&mut self, main: i32) -> Option<usize> {
        if self.plans.is_empty() {
            if Instant::now() >= self.end {
                return None;
            }
            self.is_at_random = true;
            let of = [4, 16, 64][self.random.below(3) as usize];
            let scenario = self.random.below(SCENARIOS.len() as u64) as usize;
            self.plans.push_back((scenario, Plan::Random { of }));
        }
        self.now = self.plans.pop_front();
        (self.calls, self.given) = (BTreeMap::new(), Vec::new());
        self.spared = BTreeSet::from([main]);
        self.rounds += 1;
        self.now.map(|(scenario, _)| scenario)
    }

    fn end(&mut self) {
        let Some((scenario, Plan::Count)) = self.now.take() else { return };
        for (&rule, &calls) in &self.calls {
            for &errno in RULES[rule].errnos {
                let one = |place| (scenario, Plan::One { rule, place, errno });
                self.plans.extend((0..calls).map(one));
            }
        }
    }

    /// Whether this call fails: by which rule, and how.
    fn fails(&mut self, call: &Call) -> Option<(usize, i32)> {
        let (_, plan) = self.now?;
        if self.spared.contains(&call.tid) {
            return None;
        }
        let rule = RULES.iter().position(|rule| rule.nr == call.nr && (rule.when)(&call.args))?;
        let calls = self.calls.entry(rule).or_default();
        let this = *calls;
        *calls += 1;
        let errno = match plan {
            Plan::One { rule: wanted, place, errno } if (wanted, place) == (rule, this) => errno,
            Plan::Random { of } if !RULES[rule].is_alone && self.random.below(of) == 0 => {
                let errnos = RULES[rule].errnos;
                errnos[self.random.below(errnos.len() as u64) as usize]
            }
            _ => return None,
        };
        self.given.push((rule, errno));
        *self.injected.entry((rule, errno)).or_default() += 1;
        self.at_random += u64::from(self.is_at_random);
        Some((rule, errno))
    }

    fn told(&self) -> String {
        let given: Vec<_> = self
            .given
            .iter()
            .map(|(rule, errno)| format!("{} {}", RULES[*rule].name, aio2::error::Errno(*errno)))
            .collect();
        let scenario = self.now.map_or("none", |(scenario, _)| SCENARIOS[scenario].0);
        format!("scenario {scenario}, {:?}: {}", self.now.map(|now| now.1), given.join(", "))
    }

    /// Plays rounds with one child, until all are played; what went wrong, if it
    /// ended before.
    fn play(&mut self, executor: &str) -> Result<(), String> {
        let envs = [("AIO2_EXECUTOR", executor.to_owned())];
        let mut child = match Tracee::start("a_child", &envs, PATIENCE) {
            Ok(child) => child,
            Err(error) => panic!("the child cannot be traced: {error}"),
        };
        let main = child.tid;
        // Nothing fails before its first round.
        self.now = None;
        loop {
            match child.next() {
                Stop::Call(call) => match self.fails(&call) {
                    None => child.allow(&call),
                    Some((rule, errno)) if RULES[rule].is_made => child.fail_after(&call, errno),
                    Some((_, errno)) => child.answer(&call, -i64::from(errno)),
                },
                Stop::Message(call) => {
                    let answer = match call.args[1] {
                        BEGIN => self.begin(main).map_or(0, |scenario| scenario as i64 + 1),
                        END => {
                            self.end();
                            0
                        }
                        ENGINE if call.args[2] == 0 => i64::from(self.spared.insert(call.tid)),
                        ENGINE => i64::from(self.spared.remove(&call.tid)),
                        _ => {
                            let errno = call.args[2] as i32;
                            i64::from(self.given.iter().any(|(_, given)| *given == errno))
                        }
                    };
                    child.answer(&call, answer);
                }
                Stop::Gone(0) => return Ok(()),
                Stop::Gone(status) => {
                    let how = if WIFSIGNALED(status) {
                        format!("signal {} (9: it hung)", WTERMSIG(status))
                    } else {
                        format!("status {}", WEXITSTATUS(status))
                    };
                    return Err(format!("{}\n{how}: {}", self.told(), child.says()));
                }
            }
        }
    }
}

/// Child: plays what it is told to.
#[test]
#[ignore = "a child of the test below"]
fn a_child() {
    let calls = RULES.iter().map(|rule| rule.nr).collect();
    if tracer::be_traced("a_child", &calls) {
        scenarios::play();
    }
}

/// Whether anything can be traced here at all.
fn is_refused() -> Option<String> {
    let mut child = match Tracee::start("nothing", &[], PATIENCE) {
        Ok(child) => child,
        Err(error) => return Some(error.to_string()),
    };
    while !matches!(child.next(), Stop::Gone(_)) {}
    None
}

/// Child that does nothing.
#[test]
#[ignore = "a child of the test below"]
fn nothing() {
    tracer::be_traced("nothing", &BTreeSet::new());
}

#[test]
fn each_system_call_that_fails_is_survived() {
    if let Some(why) = is_refused() {
        println!("SKIP errnos: nothing can be traced here: {why}");
        return;
    }
    let seconds = std::env::var("AIO2_FAULT_SECONDS").unwrap_or_else(|_| "0".into());
    let seconds = seconds.parse().expect("AIO2_FAULT_SECONDS is a number");
    let seed = seed();
    println!("errnos: AIO2_SEED={seed}");
    let mut rounds = Rounds {
        plans: (0..SCENARIOS.len()).map(|scenario| (scenario, Plan::Count)).collect(),
        random: Random::new(seed),
        end: Instant::now() + Duration::from_secs(seconds),
        calls: BTreeMap::new(),
        given: Vec::new(),
        spared: BTreeSet::new(),
        now: None,
        rounds: 0,
        injected: BTreeMap::new(),
        at_random: 0,
        is_at_random: false,
    };
    let mut wrong = Vec::new();
    // The other facility for devices in the end, at what needs one.
    for executor in ["io_uring", "linux_aio"] {
        while wrong.len() < 20
            && let Err(what) = rounds.play(executor)
        {
            println!("{what}");
            wrong.push(what);
        }
        let devices = SCENARIOS.iter().position(|(name, _)| *name == DEVICES);
        rounds.plans = devices.map(|scenario| (scenario, Plan::Count)).into_iter().collect();
    }
    let all: u64 = rounds.injected.values().sum();
    let mut by_call = BTreeMap::<&str, (u64, BTreeSet<i32>)>::new();
    for ((rule, errno), count) in &rounds.injected {
        let row = by_call.entry(RULES[*rule].name).or_default();
        row.0 += count;
        row.1.insert(*errno);
    }
    for (name, (count, errnos)) in &by_call {
        println!("{name}: {count} times, {} errnos", errnos.len());
    }
    println!(
        "errnos: {all} given in {} rounds of {} scenarios, {} at random, to {} kinds of calls",
        rounds.rounds,
        SCENARIOS.len(),
        rounds.at_random,
        by_call.len()
    );
    assert!(wrong.is_empty(), "{} went wrong, with AIO2_SEED={seed}", wrong.len());
    assert!(by_call.len() > 20, "the scenarios make fewer calls than they should");
}
