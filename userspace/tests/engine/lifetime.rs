//! Setup, teardown, fork, and many threads.

use crate::context::{Fixture, Iocb, alone, syscall, with_limit};
use crate::poll::sleeps;
use crate::request::{Slow, id_of};
use aio2::Errno;
use aio2::backend::{Backend, Wait};
use aio2::engine::Engine;
use aio2_abi::attr::AFTER_REQUEST;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::setup::{self, Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};
use std::collections::HashSet;
use std::io::pipe;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn a_probe_says_what_the_engine_is() {
    let probe = Engine::probe();
    assert!(probe.features().contains(Features::IN_PROCESS | Features::EXEC));
    assert!(probe.has_syscall(libc::SYS_read as u32));
    let engine = Engine::new(&probe, None).unwrap();
    assert_eq!(*engine.setup(), probe);
    assert!(format!("{engine:?}").starts_with("Engine"));
}

#[test]
fn an_eventfd_that_is_none_is_refused() {
    let with = |fd| {
        let flags = setup::SetupFlags::EVENTFD.bits();
        let setup = Setup { version: 1, flags, eventfd: fd, ..Setup::default() };
        // SAFETY: it is open and the test's, or not open.
        unsafe { Engine::with_numbers(&setup) }.err()
    };
    assert_eq!(with(i32::MAX), Some(Errno(libc::EBADF)));
    let file = crate::context::file_of(b"");
    assert_eq!(with(file.as_raw_fd()), Some(Errno(libc::EINVAL)));
}

#[test]
fn dropping_cancels_what_runs_and_the_rest() {
    let nap = libc::timespec { tv_sec: 3600, tv_nsec: 0 };
    let at = (&raw const nap).expose_provenance() as u64;
    let f = Fixture::with(|s| s.concurrency = 1);
    f.submit((0..3).map(|i| syscall(libc::SYS_nanosleep, &[at, 0]).user_data(i)));
    let consumer = f.engine.consumer();
    drop(f);
    assert!(consumer.is_dead());
    let mut words = [0; 9];
    let mut events = consumer.reap(&mut words, 9).unwrap();
    assert!(events.all(|event| event[2] as i64 == -i64::from(libc::ECANCELED)));
}

/// Descriptors, threads of the engine, and mappings of this process.
pub fn held() -> (usize, usize, usize) {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().contains("memfd:aio2"))
    });
    let workers = std::fs::read_dir("/proc/self/task").unwrap().flatten().filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|c| c.trim() == "aio2-wrk")
    });
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (fds.count(), workers.count(), maps.lines().filter(|line| line.contains("memfd:aio2")).count())
}

/// Memory of this process: its data, used or not, and what is resident.
fn pages() -> (usize, usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: Vec<usize> = statm.split(' ').map(|n| n.trim().parse().unwrap()).collect();
    (pages[5], pages[1])
}

/// Pages that `held` grows by in `rounds`, of which the first ones do not count.
fn growth(
    held: impl Fn() -> usize,
    (first, rounds): (usize, usize),
    mut round: impl FnMut(usize),
) -> usize {
    (0..first).for_each(&mut round);
    let before = held();
    (first..rounds).for_each(round);
    held().saturating_sub(before)
}

#[test]
fn setup_and_teardown_leave_nothing_behind() {
    // Other tests have contexts too.
    if !alone("lifetime::setup_and_teardown_leave_nothing_behind") {
        return;
    }
    let grown = growth(
        || pages().1,
        (1001, 10_000),
        |i| {
            let f = Fixture::with(|s| s.ring_bytes = 4096);
            if i % 10 == 0 {
                f.submit([Iocb::nop(0), Iocb::nop(1).flags(IocbFlags::ASYNC)]);
            }
        },
    );
    assert_eq!(held(), (0, 0, 0));
    assert!(grown < 256, "{grown} pages more after 9000 contexts");
}

#[test]
fn without_a_thread_a_request_is_run_by_who_waits() {
    // No address space is left for a stack.
    if !alone("lifetime::without_a_thread_a_request_is_run_by_who_waits") {
        return;
    }
    let f = Fixture::with(|s| s.concurrency = 1);
    let requests = [Iocb::nop(1).flags(IocbFlags::ASYNC), Iocb::nop(2)];
    let answers = with_limit(libc::RLIMIT_AS, 1, || {
        f.submit(requests);
        f.next_n(2)
    });
    let results: Vec<_> = answers.iter().map(|a| (a.user_data, a.res)).collect();
    assert_eq!(results, [(2, 0), (1, 0)]);
    f.submit([Iocb::nop(3).flags(IocbFlags::ASYNC)]);
    assert_eq!(f.next().res, 0, "and the next one has its thread");
}

#[test]
fn a_child_after_fork_gets_exdev_and_can_drop() {
    let f = Fixture::new();
    f.submit([Iocb::nop(0).flags(IocbFlags::ASYNC)]);
    f.next();
    // SAFETY: the child calls what works there, and leaves without unwinding.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let mut all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
        let refused = f.try_submit(&mut Iocb::nop(0).words()) == Err(Errno(libc::EXDEV))
            && f.wait(&Wait::events(0)) == Err(Errno(libc::EXDEV))
            && f.engine.cancel(&mut all) == Err(Errno(libc::EXDEV));
        drop(f);
        // SAFETY: leaves.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = 0;
    // SAFETY: writes the status of that child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
    f.submit([Iocb::nop(1)]);
    assert_eq!(f.next().user_data, 1);
}

/// SPEC: R-LIFE-4
#[test]
fn a_context_dropped_in_a_child_leaves_no_descriptor_there() {
    if !alone("lifetime::a_context_dropped_in_a_child_leaves_no_descriptor_there") {
        return;
    }
    let (_reader, writer) = pipe().unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let f = Fixture::new();
    // Nothing but an error is waited for, and there is none.
    f.submit([syscall(i64::from(op::POLL), &[writer.as_raw_fd() as u64, 0])]);
    f.engine.as_fd();
    assert!(descriptors() >= before + 4, "eventfds, epoll, the writer once more");
    // SAFETY: the child reads /proc, and leaves without unwinding.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(f);
        // SAFETY: leaves.
        unsafe { libc::_exit(i32::from(descriptors() != before)) };
    }
    let mut status = 0;
    // SAFETY: writes the status of that child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "something is left");
    drop(f);
    assert_eq!(descriptors(), before);
}

/// SPEC: R-RUN-1, R-RUN-9
#[test]
fn never_more_workers_than_the_concurrency_value() {
    let f = Fixture::with(|s| s.concurrency = 3);
    let slow = Slow::new();
    f.submit((0..20).map(|_| slow.read()));
    let workers = || {
        let nr = libc::SYS_splice as u32;
        let all = Cancel { flags: CancelFlags::NR.bits(), nr, ..Cancel::default() };
        let mut copy = all;
        f.engine.cancel(&mut copy).map(|_| (copy.cancelled, copy.interrupted))
    };
    thread::sleep(Duration::from_millis(100));
    assert_eq!(workers(), Ok((17, 3)));
    let ends = f.next_n(20);
    assert!(ends.iter().all(|a| a.res == -i64::from(libc::ECANCELED)));
}

#[test]
fn every_event_comes_once_to_many_reapers_of_many_submitters() {
    const SUBMITTERS: u64 = 3;
    const EACH: u64 = 20_000;
    let f = Fixture::with(|s| (s.ring_bytes, s.max_requests) = (4096, 2000));
    let (seen, left) = (Mutex::new(HashSet::new()), AtomicUsize::new((SUBMITTERS * EACH) as usize));
    thread::scope(|s| {
        for submitter in 0..SUBMITTERS {
            let f = &f;
            s.spawn(move || {
                for i in 0..EACH {
                    let mut iocb = Iocb::nop(submitter * EACH + i);
                    if i % 16 == 0 {
                        iocb = iocb.flags(IocbFlags::ASYNC);
                    }
                    let mut words = iocb.words();
                    while f.try_submit(&mut words) == Err(Errno(libc::EAGAIN)) {
                        thread::yield_now();
                    }
                }
            });
        }
        for _ in 0..3 {
            s.spawn(|| {
                let mut mine = Vec::new();
                let consumer = f.engine.consumer();
                let mut words = [0; 96];
                while left.load(Ordering::Relaxed) > 0 {
                    let events = consumer.reap(&mut words, usize::MAX).unwrap();
                    if events.len() == 0 {
                        let _ = f.wait(&Wait::events(1).within(Duration::from_millis(5)));
                    }
                    left.fetch_sub(events.len(), Ordering::Relaxed);
                    mine.extend(events.map(|event| event[1]));
                }
                let mut seen = seen.lock().unwrap();
                for user_data in mine {
                    assert!(seen.insert(user_data), "{user_data} twice");
                }
            });
        }
    });
    assert_eq!(seen.into_inner().unwrap().len() as u64, SUBMITTERS * EACH);
}

/// SPEC: R-RUN-1
#[test]
fn a_worker_that_has_gone_is_replaced() {
    if !alone("lifetime::a_worker_that_has_gone_is_replaced") {
        return;
    }
    let f = Fixture::with(|s| s.concurrency = 1);
    for _ in 0..2 {
        f.submit([Iocb::nop(0).flags(IocbFlags::ASYNC)]);
        f.next();
        while held().1 > 0 {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// SPEC: R-CANCEL-7
#[test]
fn a_worker_is_interrupted_after_another_has_gone() {
    if !alone("lifetime::a_worker_is_interrupted_after_another_has_gone") {
        return;
    }
    let f = Fixture::new();
    let slow = Slow::new();
    f.submit([slow.read().flags(IocbFlags::ASYNC), Iocb::nop(1).flags(IocbFlags::ASYNC)]);
    assert_eq!(f.next().user_data, 1);
    while held().1 > 1 {
        thread::sleep(Duration::from_millis(20));
    }
    let mut all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
    assert_eq!((f.engine.cancel(&mut all), all.interrupted), (Ok(1), 1));
    assert_eq!(f.next().res, -i64::from(libc::ECANCELED));
}

/// SPEC: R-LIMIT-5
#[test]
fn room_that_was_reserved_for_events_is_given_back() {
    if !alone("lifetime::room_that_was_reserved_for_events_is_given_back") {
        return;
    }
    // A second worker would come in the middle, with its stack, on a busy machine.
    let f = Fixture::with(|s| s.concurrency = 1);
    let grown = growth(
        || pages().0,
        (1001, 3000),
        |_| {
            f.submit([Iocb::nop(0).flags(IocbFlags::ASYNC)]);
            f.next();
        },
    );
    assert!(grown < 256, "{grown} pages more after 2000 requests");
}

/// SPEC: R-LIMIT-5, R-DEADLINE-1
#[test]
fn deadlines_of_what_has_ended_take_no_memory() {
    if !alone("lifetime::deadlines_of_what_has_ended_take_no_memory") {
        return;
    }
    let f = Fixture::new();
    let grown = growth(
        || pages().0,
        (21, 100),
        |_| {
            f.submit((0..500).map(|n| Iocb::nop(n).deadline(u64::MAX / 2).flags(IocbFlags::ASYNC)));
            f.wait(&Wait::events(500)).unwrap();
            assert_eq!(f.reap().len(), 500);
        },
    );
    assert!(grown < 200, "{grown} pages more after 40000 requests");
}

/// SPEC: R-DEADLINE-1
#[test]
fn a_deadline_behind_another_wakes_no_thread() {
    const HOUR: u64 = 3_600_000_000_000;
    if !alone("lifetime::a_deadline_behind_another_wakes_no_thread") {
        return;
    }
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([slow.read().deadline(HOUR)]);
    while sleeps("aio2-timer") == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    for n in 1..=200 {
        f.submit([Iocb::nop(n).deadline(2 * HOUR).flags(IocbFlags::ASYNC)]);
        assert_eq!(f.next().user_data, n);
        // Time for the thread to go to sleep again, had it been woken.
        thread::sleep(Duration::from_micros(300));
    }
    let woken = sleeps("aio2-timer");
    assert!(woken < 20, "{woken} times for 200 deadlines");
    // One that is due before is kept.
    let other = Slow::new();
    f.submit([other.read().user_data(201).deadline(5_000_000)]);
    let ended = f.next();
    assert_eq!((ended.user_data, ended.res), (201, -i64::from(libc::ETIMEDOUT)));
    slow.finish();
    f.next();
}

/// SPEC: R-LIMIT-5, R-ID-2, R-GET-9
#[test]
fn memory_is_given_back_once_nothing_is_in_flight() {
    const MANY: usize = 100_000;
    if !alone("lifetime::memory_is_given_back_once_nothing_is_in_flight") {
        return;
    }
    let f = Fixture::with(|s| s.max_requests = 2 * MANY as u32);
    let mut slow = Slow::new();
    let words = f.submit([slow.read().id()]);
    let first = id_of(&words, 0);
    let before = pages().1;
    for _ in 0..MANY / 100 {
        f.submit((0..100).map(|_| Iocb::nop(1).after(AFTER_REQUEST, first).id()));
    }
    let most = pages().1;
    assert!(most > before + MANY * 100 / 4096, "{before} {most}");
    slow.finish();
    let mut ended = 0;
    while ended <= MANY {
        f.wait(&Wait::events(1).within(Duration::from_secs(60))).unwrap();
        ended += f.reap().len();
    }
    let begun = std::time::Instant::now();
    while pages().1 > before + (most - before) / 4 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{before} {most} {:?}", pages());
        thread::sleep(Duration::from_millis(20));
    }
    f.wait(&Wait { id: Some(first), ..Wait::events(0) }).expect("it has ended, and is known");
}

/// Descriptors and mappings of this process, whoever made them.
fn taken() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (std::fs::read_dir("/proc/self/fd").unwrap().count(), maps.lines().count())
}

/// The figures are those of the documentation of [`aio2::Context`].
#[test]
fn a_context_takes_so_many_descriptors_and_mappings() {
    if !alone("lifetime::a_context_takes_so_many_descriptors_and_mappings") {
        return;
    }
    const NUMBER: usize = 100;
    let new = || aio2::Context::builder().prefer(aio2::Prefer::Engine).build().unwrap();
    // What is there once for all, and room of the allocator's.
    let kept: Vec<_> = (0..4).map(|_| new()).collect();
    let before = taken();
    let contexts: Vec<_> = (0..NUMBER).map(|_| new()).collect();
    let with_contexts = taken();
    assert_eq!(with_contexts.0 - before.0, NUMBER);
    let mappings = with_contexts.1 - before.1;
    // The kernel joins some that are neighbours, and the allocator takes a few.
    assert!((5 * NUMBER..=6 * NUMBER + 4).contains(&mappings), "{mappings}");
    let driver = |context| aio2::Driver::<Vec<u8>>::new(context).unwrap();
    let drivers: Vec<_> = contexts.into_iter().map(driver).collect();
    assert_eq!(taken().0 - with_contexts.0, 3 * NUMBER);
    drop((drivers, kept));
}
