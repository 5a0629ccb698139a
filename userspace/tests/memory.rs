//! Memory that cannot be had: each allocation that the engine makes for some
//! requests fails once, one in each process.
//!
//! What may fail says so, with EAGAIN or ENOMEM; each request that was accepted
//! has one event; the context works on. The standard library ends the process
//! where it has no way to say so: when it creates or begins a thread, and in
//! `Arc::new`.
#![cfg(not(aio2_loom))]

#[path = "engine/context.rs"]
#[allow(dead_code)] // shared with tests/engine.rs
mod context;
#[path = "engine/request.rs"]
#[allow(dead_code)] // shared with tests/engine.rs
mod request;

use aio2::Errno;
use aio2::backend::{Backend, Wait};
use aio2_abi::attr::{AFTER_REQUEST, AFTER_STREAM};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::wait::{Cancel, CancelFlags};
use context::{Answer, Fixture, Iocb, address, file_of, syscall};
use request::{Slow, failing, id_of};
use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;
use zerocopy::IntoBytes;

/// Which allocation of the process fails, from 1.
const FAIL_AT: &str = "AIO2_TEST_FAIL_AT";

struct Failing;

/// Allocations until the one that fails; 0 and less: none does.
static LEFT: AtomicI64 = AtomicI64::new(0);
/// Where that was.
static PLACE: Mutex<Option<Backtrace>> = Mutex::new(None);

thread_local! {
    /// This thread is the tests' own, which is not to fail.
    static IS_SPARED: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: it hands on to the system's allocator, or has no memory.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if LEFT.load(SeqCst) > 0 && !IS_SPARED.get() && LEFT.fetch_sub(1, SeqCst) == 1 {
            spared(|| *PLACE.lock().unwrap() = Some(Backtrace::force_capture()));
            return ptr::null_mut();
        }
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static FAILING: Failing = Failing;

/// Runs `f`, whose allocations do not fail.
fn spared<T>(f: impl FnOnce() -> T) -> T {
    let before = IS_SPARED.replace(true);
    let result = f();
    IS_SPARED.set(before);
    result
}

/// Tells where the memory could not be had that the process ends for.
extern "C" fn tell_place(_: libc::c_int) {
    spared(|| eprintln!("{}", PLACE.lock().unwrap().as_ref().unwrap()));
}

/// Runs a call of the engine, whose allocations may fail, until it has the
/// memory.
fn insist<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        IS_SPARED.set(false);
        let result = call();
        IS_SPARED.set(true);
        match result {
            Err(Errno(libc::EAGAIN | libc::ENOMEM)) => {}
            other => return other,
        }
    }
}

/// Submits all of `words`, with as many calls as it takes.
fn submit(f: &Fixture, words: &mut [u64]) {
    let bytes = words.as_mut_bytes();
    let mut at = 0;
    while at < bytes.len() {
        // SAFETY: the memory of the requests lives until they have ended.
        at += insist(|| unsafe { f.engine.submit(&mut bytes[at..]) }).unwrap();
    }
}

/// Results of the next `n` requests by user data, each of which ends once.
fn results(f: &Fixture, n: usize) -> BTreeMap<u64, i64> {
    let mut results = BTreeMap::new();
    while results.len() < n {
        let mut room = [0_u64; 64];
        let wait = Wait::events(1).within(Duration::from_secs(20));
        // SAFETY: there is no request.
        let wait = || unsafe { f.engine.wait(&wait, &mut [], Some(room.as_mut_bytes())) };
        let bytes = match insist(wait) {
            Ok(got) => got.bytes,
            Err(why) => {
                let place = PLACE.lock().unwrap();
                panic!("{why}: an event is lost; there are {results:?}; no memory at {place:?}")
            }
        };
        for end in Answer::parse(&room.as_bytes()[..bytes]) {
            assert_eq!(results.insert(end.user_data, end.res), None, "one event for each");
        }
    }
    results
}

/// One request of each kind; the results by user data.
fn one_of_each(f: &Fixture, file: &impl AsRawFd) -> BTreeMap<u64, i64> {
    let (mut slow, mut watched) = (Slow::new(), Slow::new());
    let mut room = [[0_u8; 8]; 2];
    let [first, second] = &mut room;
    let vectors = [address(first), 8, address(second), 8];
    let at = (&raw const vectors).expose_provenance() as u64;
    let readv = [file.as_raw_fd() as u64, at, 2, 0, 0];
    let mut slow_read = slow.read().user_data(1).id().words();
    submit(f, &mut slow_read);
    let id = id_of(&slow_read, 0);
    let stream = [
        Iocb::nop(2).id(),
        Iocb::nop(3).flags(IocbFlags::ASYNC),
        failing().user_data(4),
        Iocb::nop(5).after(AFTER_STREAM, 2),
        Iocb::nop(6).in_group(7).after(AFTER_REQUEST, id),
        Iocb::nop(7).in_group(7).flags(IocbFlags::ASYNC),
        Iocb::group_op(7).user_data(8),
        Iocb::nop(9).flags(IocbFlags::ASYNC).deadline(u64::MAX / 2),
        Iocb::poll_op(&watched.reader, libc::POLLIN).user_data(10),
        Iocb::poll_op(&watched.reader, libc::POLLPRI).user_data(11),
        syscall(libc::SYS_preadv, &readv).user_data(12).flags(IocbFlags::FULL | IocbFlags::ASYNC),
    ];
    let mut words: Vec<u64> = stream.iter().flat_map(Iocb::words).collect();
    submit(f, &mut words);
    let mut one =
        Cancel { flags: CancelFlags::USER_DATA.bits(), user_data: 11, ..Cancel::default() };
    // ENOENT: it could not be watched, and has ended.
    let _ = insist(|| f.engine.cancel(&mut one));
    slow.finish();
    watched.finish();
    results(f, 12)
}

const EXPECTED: [i64; 12] = [
    1,
    0,
    0,
    -(libc::EBADF as i64),
    0,
    0,
    0,
    0,
    0,
    libc::POLLIN as i64,
    -(libc::ECANCELED as i64),
    16,
];

fn expected() -> BTreeMap<u64, i64> {
    (1..).zip(EXPECTED).collect()
}

/// In a process of its own: the n-th allocation fails.
fn fail_at(n: i64) {
    IS_SPARED.set(true);
    // SAFETY: the handler runs where the process ends, and no lock is held.
    unsafe { libc::signal(libc::SIGABRT, tell_place as *const () as usize) };
    let f = Fixture::with(|s| (s.ring_bytes, s.concurrency) = (4096, 2));
    let file = file_of(&[7; 64]);
    LEFT.store(n, SeqCst);
    let ends = one_of_each(&f, &file);
    let was_met = LEFT.swap(0, SeqCst) <= 0;
    let no_memory = [libc::EAGAIN, libc::ENOMEM].map(|errno| -i64::from(errno));
    let failed: BTreeSet<u64> = ends
        .iter()
        .filter(|(_, res)| no_memory.contains(res))
        .map(|(user_data, _)| *user_data)
        .collect();
    for (user_data, res) in &ends {
        let by_another = match user_data {
            5 => failed.contains(&3) && *res == -i64::from(libc::ECANCELED),
            6 => failed.contains(&1) && *res == -i64::from(libc::ECANCELED),
            // The number of members that failed; or there is no such group.
            8 => (0..=2).contains(res) || failed.is_superset(&BTreeSet::from([6, 7])),
            _ => false,
        };
        let is_right = *res == EXPECTED[*user_data as usize - 1];
        assert!(is_right || by_another || failed.contains(user_data), "{user_data}: {ends:?}");
    }
    assert!(failed.len() <= 1, "one allocation: {ends:?}");
    assert_eq!(one_of_each(&f, &file), expected(), "the context works on");
    drop(f);
    println!("allocation {}", if was_met { "met" } else { "not met" });
}

fn child(n: i64) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["each_allocation_may_fail", "--exact", "--nocapture"]);
    command.env(FAIL_AT, n.to_string()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// SPEC: R-LIMIT-4, R-OVF-1, R-OVF-7
#[test]
fn each_allocation_may_fail() {
    if let Ok(n) = std::env::var(FAIL_AT) {
        fail_at(n.parse().unwrap());
        return;
    }
    let (mut n, mut threads, mut arcs) = (0, 0, 0);
    loop {
        n += 1;
        let out = child(n);
        if out.status.signal() == Some(libc::SIGABRT) {
            let place = text(&out.stderr);
            let in_thread = place.contains("aio2_thread::") || !place.contains("aio2::engine");
            let is_of_std = in_thread
                || place.contains("alloc::sync::Arc<T>::new")
                || place.contains("Life::new");
            assert!(is_of_std, "allocation {n} ends the process:\n{place}");
            (threads, arcs) = (threads + i64::from(in_thread), arcs + i64::from(!in_thread));
            continue;
        }
        assert!(out.status.success(), "allocation {n}: {}{}", text(&out.stdout), text(&out.stderr));
        if text(&out.stdout).contains("not met") {
            break;
        }
    }
    let told = n - 1 - threads - arcs;
    println!(
        "{told} allocations told; the process ended: {threads} in threads, {arcs} in Arc::new"
    );
    assert!(told > 10, "too few to be a test");
}
