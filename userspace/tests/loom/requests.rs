//! The engine: a request begins, is cancelled, and ends, in any order; others
//! wait for it.

use crate::common::model;
use crate::context::{Fixture, Iocb, syscall};
use crate::request::id_of;
use aio2::Errno;
use aio2::backend::{Backend, Wait};
use aio2_abi::attr::AFTER_REQUEST;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::wait::{Cancel, CancelFlags};
use loom::thread;
use std::sync::Arc;

const ECANCELED: i64 = -(libc::ECANCELED as i64);

/// A context with so many workers.
pub fn context(workers: u32) -> Arc<Fixture> {
    Arc::new(Fixture::with(|s| {
        (s.ring_bytes, s.max_requests, s.concurrency) = (4096, 8, workers);
    }))
}

/// A request for a worker.
pub fn nop(user_data: u64) -> Iocb {
    Iocb::nop(user_data).flags(IocbFlags::ASYNC)
}

/// A syscall for a worker, which it does not begin once it is told to stop.
fn getpid(user_data: u64) -> Iocb {
    syscall(libc::SYS_getpid, &[]).flags(IocbFlags::ASYNC).user_data(user_data)
}

fn pid() -> i64 {
    i64::from(std::process::id())
}

/// User data and results of `n` requests, once they have ended.
pub fn ends(f: &Fixture, n: u32) -> Vec<(u64, i64)> {
    f.wait(&Wait::events(n)).unwrap();
    let ends: Vec<_> = f.reap().iter().map(|end| (end.user_data, end.res)).collect();
    assert_eq!(ends.len(), n as usize, "each request has one event: {ends:?}");
    ends
}

/// What became of a request that was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Cancelled,
    Interrupted,
    TooLate,
    Gone,
}

fn cancel(f: &Fixture, user_data: u64) -> Outcome {
    let flags = CancelFlags::USER_DATA.bits();
    let mut one = Cancel { flags, user_data, ..Cancel::default() };
    match f.engine.cancel(&mut one) {
        Ok(1) => match (one.cancelled, one.interrupted, one.too_late) {
            (1, 0, 0) => Outcome::Cancelled,
            (0, 1, 0) => Outcome::Interrupted,
            (0, 0, 1) => Outcome::TooLate,
            counts => panic!("{counts:?} of one request"),
        },
        Err(Errno(libc::ENOENT)) => Outcome::Gone,
        other => panic!("{other:?}"),
    }
}

/// Whether a request that a cancel found so may end so.
fn fits(outcome: Outcome, res: i64) -> bool {
    match outcome {
        Outcome::Cancelled => res == ECANCELED,
        Outcome::Interrupted => res == ECANCELED || res == pid(),
        Outcome::TooLate | Outcome::Gone => res == pid(),
    }
}

// SPEC: R-CANCEL-2, R-CANCEL-5, R-CANCEL-7, R-OVF-7
#[test]
fn a_request_that_is_cancelled_while_it_runs_has_one_event_that_fits() {
    model("cancel against complete", || {
        let f = context(1);
        f.submit([getpid(1)]);
        let of_thread = f.clone();
        let thread = thread::spawn(move || cancel(&of_thread, 1));
        let ends = ends(&f, 1);
        let outcome = thread.join().unwrap();
        assert!(fits(outcome, ends[0].1), "{outcome:?}, {ends:?}");
    });
}

// SPEC: R-CANCEL-3, R-CANCEL-5, R-CANCEL-7
#[test]
fn a_stop_that_was_meant_for_one_request_does_not_end_the_next() {
    model("cancel against the next", || {
        let f = context(1);
        f.submit([getpid(1), getpid(2)]);
        let of_thread = f.clone();
        let thread = thread::spawn(move || cancel(&of_thread, 1));
        let mut ends = ends(&f, 2);
        ends.sort_unstable();
        let outcome = thread.join().unwrap();
        assert!(fits(outcome, ends[0].1), "{outcome:?}, {ends:?}");
        assert_eq!(ends[1], (2, pid()));
    });
}

// SPEC: R-CANCEL-5, R-CANCEL-8
#[test]
fn of_two_cancels_one_ends_the_request() {
    model("cancel against cancel", || {
        let f = context(1);
        f.submit([getpid(1)]);
        let of_thread = f.clone();
        let thread = thread::spawn(move || cancel(&of_thread, 1));
        let outcomes = [cancel(&f, 1), thread.join().unwrap()];
        let res = ends(&f, 1)[0].1;
        let ended = outcomes.iter().filter(|o| **o == Outcome::Cancelled).count();
        assert!(ended <= 1, "{outcomes:?}");
        let stopped = |o: &Outcome| matches!(o, Outcome::Cancelled | Outcome::Interrupted);
        assert!(res == pid() && ended == 0 || res == ECANCELED && outcomes.iter().any(stopped));
    });
}

// SPEC: R-AFTER-1, R-AFTER-2
#[test]
fn what_waits_for_a_request_begins_after_it_however_late_it_comes() {
    model("after against complete", || {
        let f = context(1);
        let words = f.submit([nop(1).id()]);
        let id = id_of(&words, 0);
        let of_thread = f.clone();
        let thread =
            thread::spawn(move || drop(of_thread.submit([nop(2).after(AFTER_REQUEST, id)])));
        assert_eq!(ends(&f, 2), [(1, 0), (2, 0)]);
        thread.join().unwrap();
    });
}
