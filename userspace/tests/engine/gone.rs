//! Workers that are gone, and workers that only look so.

use crate::context::{Fixture, Iocb, alone, file_of, syscall};
use crate::request::{Slow, ends, errno};
use crate::waiting::until_a_worker_is_in;
use aio2::backend::Backend;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Has the kernel answer `nr` with `action` in each thread of this process that
/// is yet to come, and in this one.
pub fn filter(nr: libc::c_long, action: u32) {
    filter_threads(nr, action, 0);
}

/// As [`filter`], with flags of seccomp(2).
pub fn filter_threads(nr: libc::c_long, action: u32, flags: libc::c_ulong) {
    let code = |op: u32, jt, jf, k| libc::sock_filter { code: op as u16, jt, jf, k };
    let mut code = [
        // The number is the first word of the data.
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, nr as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, action),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // SAFETY: takes no address.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let set = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program can be read.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, set, flags, &raw const filter) };
    assert_eq!(result, 0);
}

fn kill_who_calls(nr: libc::c_long) {
    filter(nr, libc::SECCOMP_RET_KILL_THREAD);
}

/// Has `f` run `flock`, which kills its worker.
fn lose_a_worker(f: &Fixture, flock: Iocb) {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    f.submit([flock]);
    while threads() > before {
        thread::sleep(Duration::from_millis(1));
    }
}

fn flock(file: &File) -> Iocb {
    syscall(libc::SYS_flock, &[file.as_raw_fd() as u64, 0]).user_data(1)
}

/// SPEC: R-RUN-10
#[test]
fn a_request_whose_worker_was_killed_ends_when_it_is_cancelled() {
    if !alone("gone::a_request_whose_worker_was_killed_ends_when_it_is_cancelled") {
        return;
    }
    let f = Fixture::with(|s| s.concurrency = 1);
    let file = file_of(b"");
    kill_who_calls(libc::SYS_flock);
    lose_a_worker(&f, flock(&file));
    f.submit([Iocb::nop(2).flags(IocbFlags::ASYNC)]);
    let mut one =
        Cancel { flags: CancelFlags::USER_DATA.bits(), user_data: 1, ..Cancel::default() };
    assert_eq!(f.engine.cancel(&mut one), Ok(1));
    assert_eq!(one.interrupted, 1);
    // The other one was behind it, and has a worker now.
    assert_eq!(ends(&f, 2), [(1, errno(libc::EOWNERDEAD)), (2, 0)]);
}

/// SPEC: R-RUN-10
#[test]
fn a_request_whose_worker_was_killed_ends_at_its_deadline() {
    if !alone("gone::a_request_whose_worker_was_killed_ends_at_its_deadline") {
        return;
    }
    let f = Fixture::new();
    let file = file_of(b"");
    kill_who_calls(libc::SYS_flock);
    f.submit([flock(&file).deadline(100_000_000)]);
    assert_eq!(ends(&f, 1), [(1, errno(libc::EOWNERDEAD))]);
}

/// SPEC: R-RUN-10
#[test]
fn a_request_whose_worker_was_killed_ends_with_its_context() {
    if !alone("gone::a_request_whose_worker_was_killed_ends_with_its_context") {
        return;
    }
    let f = Fixture::new();
    let file = file_of(b"");
    let consumer = f.engine.consumer();
    kill_who_calls(libc::SYS_flock);
    lose_a_worker(&f, flock(&file));
    drop(f);
    assert!(consumer.is_dead());
    let mut words = [0; 9];
    let events: Vec<_> = consumer.reap(&mut words, 9).unwrap().map(|e| (e[1], e[2])).collect();
    assert_eq!(events, [(1, errno(libc::EOWNERDEAD) as u64)]);
}

/// Numbers of the threads of this process.
fn tids() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// A sandbox can answer a question for a thread by its number with any errno.
///
/// SPEC: R-RUN-11
#[test]
fn a_worker_that_runs_is_not_gone_whatever_a_filter_says() {
    if !alone("gone::a_worker_that_runs_is_not_gone_whatever_a_filter_says") {
        return;
    }
    for said in [libc::EPERM, libc::EAGAIN, libc::ENOSYS, libc::EACCES, libc::ESRCH] {
        // A filter is for a thread and those that it makes.
        thread::spawn(move || {
            let f = Fixture::new();
            let mut slow = Slow::new();
            f.submit([slow.read().flags(IocbFlags::ASYNC).user_data(1)]);
            until_a_worker_is_in(libc::SYS_splice);
            let calls = [libc::SYS_tgkill, libc::SYS_tkill, libc::SYS_kill];
            for call in calls.into_iter().chain([libc::SYS_rt_tgsigqueueinfo]) {
                filter(call, libc::SECCOMP_RET_ERRNO | said as u32);
            }
            let mut all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
            assert_eq!(f.engine.cancel(&mut all), Ok(1));
            thread::sleep(Duration::from_millis(100));
            assert!(f.reap().is_empty(), "{said}: it runs, and its memory is in use");
            slow.finish();
            let result = f.next().res;
            assert!([1, errno(libc::ECANCELED)].contains(&result), "{said}: {result}");
            f.submit([Iocb::nop(2).flags(IocbFlags::ASYNC)]);
            assert_eq!(ends(&f, 1), [(2, 0)], "{said}: one event for one request");
        })
        .join()
        .unwrap();
    }
}

/// SPEC: R-RUN-11
#[test]
fn a_worker_that_is_gone_is_told_from_a_thread_with_its_number() {
    if !alone("gone::a_worker_that_is_gone_is_told_from_a_thread_with_its_number") {
        return;
    }
    let f = Fixture::with(|s| s.concurrency = 1);
    let file = file_of(b"");
    kill_who_calls(libc::SYS_flock);
    f.submit([Iocb::nop(0).flags(IocbFlags::ASYNC)]);
    f.next();
    let before = tids();
    f.submit([flock(&file)]);
    while tids().len() == before.len() {
        thread::sleep(Duration::from_millis(1));
    }
    let Some(gone) = before.into_iter().find(|tid| !tids().contains(tid)) else {
        panic!("it had a number");
    };
    // Only who may restore processes can choose a number.
    let next = "/proc/sys/kernel/ns_last_pid";
    let mut other = None;
    for _ in 0..100 {
        if let Err(error) = std::fs::write(next, (gone - 1).to_string()) {
            println!("SKIP: {next}: {error}");
            return;
        }
        let (told, tid) = channel();
        let (end, wait) = channel::<()>();
        let thread = thread::spawn(move || {
            // SAFETY: takes nothing.
            told.send(unsafe { libc::gettid() }).unwrap();
            wait.recv()
        });
        if tid.recv().unwrap() == gone {
            other = Some((thread, end));
            break;
        }
    }
    let (other, end) = other.expect("a thread with that number");
    let mut all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
    assert_eq!((f.engine.cancel(&mut all), all.interrupted), (Ok(1), 1));
    assert_eq!(ends(&f, 1), [(1, errno(libc::EOWNERDEAD))]);
    drop(end);
    other.join().unwrap().expect_err("it was left alone");
}
