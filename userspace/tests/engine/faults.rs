//! What the system can refuse or disturb: descriptors, and calls that signals
//! interrupt, and threads. A thread that cannot be had is in `lifetime`.

use crate::context::{Answer, Fixture, Iocb, address, alone, file_of, syscall, with_limit};
use crate::gone::filter;
use crate::lifetime::held;
use crate::request::{Slow, ends, errno};
use crate::waiting::{catch, until_a_worker_is_in};
use aio2::backend::{Backend, Wait};
use aio2::engine::Engine;
use aio2::future::Driver;
use aio2::set::Set;
use aio2::{Context, Errno, Reaper};
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::setup::{self, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};
use std::collections::BTreeMap;
use std::io::{Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use zerocopy::IntoBytes;

/// Runs `f` with `free` descriptors to be had, and no more.
fn with_descriptors<T>(free: u64, f: impl FnOnce() -> T) -> T {
    let lowest = file_of(b"").as_raw_fd();
    with_limit(libc::RLIMIT_NOFILE, lowest as u64 + free, f)
}

#[test]
fn without_descriptors_there_is_no_context_and_nothing_is_left() {
    if !alone("faults::without_descriptors_there_is_no_context_and_nothing_is_left") {
        return;
    }
    let setup = Setup { version: 1, ..Setup::default() };
    let mut refused = 0;
    loop {
        assert!(refused < 32, "a context needs less than that");
        match with_descriptors(refused, || Engine::new(&setup, None)) {
            Ok(_) => break,
            Err(errno) => assert_eq!(errno, Errno(libc::EMFILE)),
        }
        assert_eq!(held(), (0, 0, 0), "after a context with {refused} descriptors");
        refused += 1;
    }
    assert!(refused > 1, "it fails at its first descriptor and at a later one");
}

#[test]
fn without_descriptors_there_is_no_set_and_no_driver_and_nothing_is_left() {
    if !alone("faults::without_descriptors_there_is_no_set_and_no_driver_and_nothing_is_left") {
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let set = |free| with_descriptors(free, Set::<Reaper>::new).map(drop).map_err(|e| e.0);
    let driver = |free| {
        let context = Context::new().unwrap();
        let made = with_descriptors(free, || Driver::<Vec<u8>>::new(context));
        made.map(drop).map_err(|e| e.raw_os_error().unwrap_or(0))
    };
    let try_with_more = |what, make: &dyn Fn(u64) -> Result<(), i32>| {
        let mut refused = 0;
        while let Err(errno) = make(refused) {
            assert_eq!((errno, open()), (libc::EMFILE, before), "{what}, {refused} descriptors");
            refused += 1;
            assert!(refused < 32, "a {what} needs less than that");
        }
        assert!(refused > 1, "{what}: it fails at its first descriptor and at a later one");
    };
    try_with_more("set", &set);
    try_with_more("driver", &driver);
}

/// SPEC: R-CONV-4, R-SETUP-10
#[test]
fn what_is_no_eventfd_is_told_before_that_there_are_no_descriptors() {
    if !alone("faults::what_is_no_eventfd_is_told_before_that_there_are_no_descriptors") {
        return;
    }
    let file = file_of(b"");
    let flags = setup::SetupFlags::EVENTFD.bits();
    let of = |eventfd| Setup { version: 1, flags, eventfd, ..Setup::default() };
    // SAFETY: the file is the test's.
    let of_number = |fd| unsafe { Engine::with_numbers(&of(fd)) }.err();
    let wrong = with_descriptors(0, || of_number(file.as_raw_fd()));
    assert_eq!(wrong, Some(Errno(libc::EINVAL)));
    let closed = with_descriptors(0, || of_number(i32::MAX));
    assert_eq!(closed, Some(Errno(libc::EBADF)));
}

#[test]
fn a_wait_that_has_no_descriptor_fails_and_takes_nothing() {
    if !alone("faults::a_wait_that_has_no_descriptor_fails_and_takes_nothing") {
        return;
    }
    let f = Fixture::new();
    f.submit([Iocb::nop(7)]);
    // SAFETY: a sigset_t may be all zeros, which is the empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // Two, so that it has to sleep, which takes a descriptor with a mask.
    let wait = Wait { sigmask: Some(&none), ..Wait::events(2) };
    assert_eq!(with_descriptors(0, || f.wait(&wait)), Err(Errno(libc::EMFILE)));
    f.submit([Iocb::nop(8)]);
    assert_eq!(f.wait(&wait), Ok(()));
    assert_eq!(f.reap().iter().map(|a| a.user_data).collect::<Vec<_>>(), [7, 8]);
}

/// SPEC: R-GET-8
#[test]
fn what_was_copied_is_returned_though_the_wait_has_no_descriptor() {
    if !alone("faults::what_was_copied_is_returned_though_the_wait_has_no_descriptor") {
        return;
    }
    let f = Fixture::new();
    f.submit([Iocb::nop(7)]);
    // SAFETY: a sigset_t may be all zeros, which is the empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    let wait = Wait { sigmask: Some(&none), ..Wait::events(2) };
    let mut buffer = [0; 64];
    // SAFETY: there is no request.
    let copy = || unsafe { f.engine.wait(&wait, &mut [], Some(&mut buffer)) };
    let got = with_descriptors(0, copy).expect("one event was copied");
    assert_eq!((got.events, got.bytes), (1, 24));
    assert_eq!(buffer[8], 7);
}

static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}

/// SPEC: R-SIGNAL-1
#[test]
fn a_signal_to_no_thread_goes_to_the_process() {
    if !alone("faults::a_signal_to_no_thread_goes_to_the_process") {
        return;
    }
    // SAFETY: a sigaction may be all zeros.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler may run at any time.
    unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, ptr::null_mut()) };
    let f = Fixture::new();
    let signal = attr::Signal { signo: libc::SIGUSR2 as u32, tid: 0, value: 0 };
    f.submit([Iocb::nop(0).attr_with(attr::SIGNAL, attr::AttrFlags::REQUIRED, signal.as_bytes())]);
    assert_eq!(f.next().res, 0);
    for _ in 0..1000 {
        if CAUGHT.load(Ordering::Relaxed) > 0 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("none has come");
}

/// SIGALRM every 200 us, caught without SA_RESTART.
fn begin_storm() {
    // SAFETY: a sigaction may be all zeros.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler may run at any time.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()) };
    let every = libc::timeval { tv_sec: 0, tv_usec: 200 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: reads the time.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
    assert_eq!(set, 0);
}

/// Submits and reaps until all `requests` have ended; results by user_data, and
/// how often a wait was interrupted.
fn run_all(f: &Fixture, requests: Vec<Iocb>) -> (BTreeMap<u64, i64>, usize) {
    let count = requests.len();
    let mut interrupted = 0;
    let mut results = BTreeMap::new();
    let submitted = f.submit(requests);
    while results.len() < count {
        let mut buffer = [0_u64; 64];
        // SAFETY: there is no request.
        let got = unsafe { f.engine.wait(&Wait::events(1), &mut [], Some(buffer.as_mut_bytes())) };
        match got {
            Ok(got) => {
                for answer in Answer::parse(&buffer.as_bytes()[..got.bytes]) {
                    let twice = results.insert(answer.user_data, answer.res);
                    assert_eq!(twice, None, "request {} ends once", answer.user_data);
                }
            }
            Err(errno) => {
                assert_eq!(errno, Errno(libc::EINTR));
                interrupted += 1;
            }
        }
    }
    drop(submitted);
    (results, interrupted)
}

/// SPEC: R-RUN-7, R-LIFE-8, R-GET-15, R-OVF-7
#[test]
fn a_storm_of_signals_changes_no_result() {
    if !alone("faults::a_storm_of_signals_changes_no_result") {
        return;
    }
    let file = file_of(&[7; 4096]);
    let (reader, mut writer) = pipe().unwrap();
    let reader: OwnedFd = reader.into();
    let nap = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let nap_at = (&raw const nap).expose_provenance() as u64;
    let f = Fixture::with(|s| (s.ring_bytes, s.concurrency) = (4096, 8));
    let mut whole = [0; 4096];
    let mut piped = [0; 1000];
    begin_storm();
    let mut interrupted = 0;
    for _ in 0..20 {
        let fd = file.as_raw_fd() as u64;
        let pread = [fd, address(&mut whole), 4096, 0];
        let read = [reader.as_raw_fd() as u64, address(&mut piped), 1000];
        let requests = vec![
            syscall(libc::SYS_pread64, &pread).user_data(0).flags(IocbFlags::ASYNC),
            syscall(libc::SYS_read, &read).user_data(1).flags(IocbFlags::FULL),
            syscall(libc::SYS_nanosleep, &[nap_at, 0]).user_data(2),
            Iocb::nop(3).flags(IocbFlags::ASYNC),
        ];
        let results = thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10 {
                    thread::sleep(Duration::from_millis(1));
                    writer.write_all(&[1; 100]).unwrap();
                }
            });
            let (results, eintr) = run_all(&f, requests);
            interrupted += eintr;
            results
        });
        assert_eq!(results, BTreeMap::from([(0, 4096), (1, 1000), (2, 0), (3, 0)]));
    }
    let caught = CAUGHT.load(Ordering::Relaxed);
    println!("{caught} signals, {interrupted} waits interrupted");
    // Which thread of the process catches a signal is the kernel's choice.
    assert!(caught > 0, "there was no storm");
}

/// A poll and a request with a deadline, both of which wait, each with a thread
/// of the engine for it.
fn two(slow: &mut Slow) -> [Iocb; 2] {
    let poll = Iocb::poll_op(&slow.reader, libc::POLLIN).user_data(1);
    [poll, slow.read().user_data(2).deadline(u64::MAX / 2)]
}

fn works(f: &Fixture) {
    let mut slow = Slow::new();
    let [poll, read] = two(&mut slow);
    f.submit([poll]);
    slow.finish();
    assert_eq!(ends(f, 1), [(1, i64::from(libc::POLLIN))]);
    f.submit([read]);
    assert_eq!(ends(f, 1), [(2, 1)]);
}

/// A poll that is submitted with so many descriptors allowed ends with `error`,
/// and the next one as it should.
fn poll_ends_with(error: i32, descriptors: u64) {
    let f = Fixture::new();
    let mut slow = Slow::new();
    let [poll, _] = two(&mut slow);
    with_limit(libc::RLIMIT_NOFILE, descriptors, || f.submit([poll]));
    assert_eq!(ends(&f, 1), [(1, errno(error))]);
    works(&f);
}

/// SPEC: R-OP-5, R-DEADLINE-1, R-OVF-7, R-RUN-13
#[test]
fn without_a_thread_what_runs_is_run_by_who_waits() {
    if !alone("faults::without_a_thread_what_runs_is_run_by_who_waits") {
        return;
    }
    let f = Fixture::new();
    let mut slow = Slow::new();
    let requests = two(&mut slow);
    // No address space is left for a stack.
    let words = with_limit(libc::RLIMIT_AS, 1, || f.submit(requests));
    drop(words);
    assert_eq!(ends(&f, 1), [(1, errno(libc::EAGAIN))]);
    slow.finish();
    assert_eq!(ends(&f, 1), [(2, 1)]);
    works(&f);
    // Nor the thread for deadlines: who waits sees to them, too.
    let f = Fixture::new();
    let late = Iocb::nop(2).after(attr::AFTER_GROUP, 7).deadline(20_000_000);
    let ended = with_limit(libc::RLIMIT_AS, 1, || {
        f.submit([Iocb::nop(1).in_group(7), late]);
        ends(&f, 2)
    });
    assert_eq!(ended, [(1, 0), (2, errno(libc::ETIMEDOUT))]);
}

/// A request that sleeps for very long.
fn nap() -> Iocb {
    static LONG: libc::timespec = libc::timespec { tv_sec: 1_000_000, tv_nsec: 0 };
    syscall(libc::SYS_nanosleep, &[(&raw const LONG).expose_provenance() as u64, 0])
}

/// Cancels a request that sleeps, and drops its context while another one does.
fn cancels_what_sleeps() {
    let f = Fixture::new();
    f.submit([nap()]);
    until_a_worker_is_in(libc::SYS_nanosleep);
    let mut cancel = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
    assert_eq!(f.engine.cancel(&mut cancel), Ok(1));
    assert_eq!((cancel.interrupted, ends(&f, 1)), (1, vec![(0, errno(libc::ECANCELED))]));
    f.submit([nap().deadline(1_000_000).user_data(1)]);
    assert_eq!(ends(&f, 1), [(1, errno(libc::ETIMEDOUT))]);
    f.submit([nap()]);
    until_a_worker_is_in(libc::SYS_nanosleep);
}

/// SPEC: R-CANCEL-7, R-CANCEL-9, R-DEADLINE-1, R-LIFE-2
#[test]
fn what_sleeps_is_interrupted_though_no_signal_can_be_queued() {
    if !alone("faults::what_sleeps_is_interrupted_though_no_signal_can_be_queued") {
        return;
    }
    with_limit(libc::RLIMIT_SIGPENDING, 0, cancels_what_sleeps);
}

/// SPEC: R-CANCEL-7, R-CANCEL-9, R-DEADLINE-1, R-LIFE-2
#[test]
fn what_sleeps_is_interrupted_though_the_application_uses_a_signal() {
    if !alone("faults::what_sleeps_is_interrupted_though_the_application_uses_a_signal") {
        return;
    }
    cancels_what_sleeps();
    for default in [libc::SIG_DFL, libc::SIG_IGN] {
        // SAFETY: the handler is none.
        unsafe { libc::signal(libc::SIGSTKFLT, default) };
        cancels_what_sleeps();
    }
    catch(libc::SIGSTKFLT);
    cancels_what_sleeps();
}

/// SPEC: R-CANCEL-7, R-CANCEL-9, R-DEADLINE-1, R-LIFE-2
#[test]
fn what_sleeps_is_interrupted_though_a_filter_refuses_tgkill() {
    if !alone("faults::what_sleeps_is_interrupted_though_a_filter_refuses_tgkill") {
        return;
    }
    filter(libc::SYS_tgkill, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    cancels_what_sleeps();
}

/// SPEC: R-CANCEL-7
#[test]
fn a_signal_that_the_application_waits_for_is_not_swallowed() {
    if !alone("faults::a_signal_that_the_application_waits_for_is_not_swallowed") {
        return;
    }
    let signo = libc::SIGSTKFLT;
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills in the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was filled in.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signo) };
    // SAFETY: as above. The test's own thread is the only other one, and sleeps.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    let f = Fixture::new();
    f.submit([nap()]);
    until_a_worker_is_in(libc::SYS_nanosleep);
    for _ in 0..3 {
        // SAFETY: takes numbers.
        unsafe { libc::kill(std::process::id() as i32, signo) };
        let time = libc::timespec { tv_sec: 10, tv_nsec: 0 };
        // SAFETY: the set can be read, and the time.
        let got =
            unsafe { libc::sigtimedwait(set.as_ptr(), std::ptr::null_mut(), &raw const time) };
        assert_eq!(got, signo);
    }
    // Else its worker would be taken for the one that is to be cancelled.
    drop(f);
    cancels_what_sleeps();
}

/// SPEC: R-OP-5
#[test]
fn a_poll_that_the_system_refuses_ends_with_its_errno() {
    if !alone("faults::a_poll_that_the_system_refuses_ends_with_its_errno") {
        return;
    }
    // poll(2) takes no more than may be open.
    poll_ends_with(libc::EINVAL, 0);
}

/// SPEC: R-OP-5, R-OVF-7
#[test]
fn without_a_descriptor_a_poll_ends_with_emfile() {
    if !alone("faults::without_a_descriptor_a_poll_ends_with_emfile") {
        return;
    }
    poll_ends_with(libc::EMFILE, 1);
}

/// SPEC: R-CANCEL-7
#[test]
fn nothing_is_interrupted_once_the_application_has_taken_the_signal() {
    if !alone("faults::nothing_is_interrupted_once_the_application_has_taken_the_signal") {
        return;
    }
    let f = Fixture::new();
    let mut slow = Slow::new();
    let mut cancelled = |taken| {
        f.submit([slow.read()]);
        until_a_worker_is_in(libc::SYS_splice);
        let mut cancel = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
        assert_eq!(f.engine.cancel(&mut cancel), Ok(1));
        if taken {
            slow.finish();
        }
        (cancel.interrupted, cancel.too_late, ends(&f, 1)[0].1)
    };
    assert_eq!(cancelled(false), (1, 0, errno(libc::ECANCELED)));
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).for_each(catch);
    assert_eq!(cancelled(false), (1, 0, errno(libc::ECANCELED)));
    catch(libc::SIGSTKFLT);
    assert_eq!(cancelled(true), (0, 1, 1));
}

/// A descriptor may be 0, and is in a process that has closed its standard input.
#[test]
fn descriptor_0_is_one_like_others() {
    if !alone("faults::descriptor_0_is_one_like_others") {
        return;
    }
    let [polled, unpolled] = [Fixture::new(), Fixture::new()];
    works(&polled);
    // SAFETY: takes a number; nobody reads the standard input.
    assert_eq!(unsafe { libc::close(0) }, 0);
    // The duplicate of the file, the epoll instance, and the first of a context.
    works(&polled);
    works(&unpolled);
    drop(unpolled);
    works(&Fixture::new());
    // SAFETY: takes numbers.
    let eventfd = unsafe { libc::eventfd(0, 0) };
    assert_eq!(eventfd, 0);
    works(&Fixture::with(|s| (s.flags, s.eventfd) = (setup::SetupFlags::EVENTFD.bits(), eventfd)));
}
