//! SPEC: R-DEADLINE-1.

use crate::context::{Fixture, Iocb, syscall};
use crate::request::{Slow, ends, errno};
use aio2_abi::attr::{self, AFTER_STREAM};

const SOON: u64 = 1_000_000;
const NEVER: u64 = u64::MAX;
const ETIMEDOUT: i64 = -(libc::ETIMEDOUT as i64);

/// SPEC: R-DEADLINE-1
#[test]
fn what_runs_waits_or_is_held_ends_when_its_time_is_over() {
    let f = Fixture::with(|s| s.concurrency = 1);
    let (mut runs, mut queued, mut watched) = (Slow::new(), Slow::new(), Slow::new());
    f.submit([
        runs.read().user_data(1).deadline(SOON),
        queued.read().user_data(2).deadline(SOON),
        Iocb::nop(3).after(AFTER_STREAM, 2).deadline(SOON),
        Iocb::poll_op(&watched.reader, libc::POLLIN).user_data(4).deadline(SOON),
        watched.read().user_data(5).deadline(NEVER).in_group(7),
        Iocb::group_op(7).user_data(6).deadline(SOON),
    ]);
    let mut ends = ends(&f, 5);
    ends.sort_unstable();
    // The third is told of by the first or by its own time.
    assert!([ETIMEDOUT, errno(libc::ECANCELED)].contains(&ends.remove(2).1));
    assert_eq!(ends, [1, 2, 4, 6].map(|n| (n, ETIMEDOUT)));
    watched.finish();
    assert_eq!(self::ends(&f, 1), [(5, 1)]);
}

/// SPEC: R-DEADLINE-1
#[test]
fn what_ends_in_time_has_its_own_result() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([
        Iocb::nop(1).deadline(NEVER),
        slow.read().user_data(2).deadline(60_000_000_000),
        Iocb::nop(3).deadline(0),
    ]);
    assert_eq!(ends(&f, 2), [(1, 0), (3, ETIMEDOUT)]);
    slow.finish();
    assert_eq!(ends(&f, 1), [(2, 1)]);
}

/// SPEC: R-DEADLINE-1
#[test]
fn a_sleep_is_interrupted_each_time_however_early_its_signal_comes() {
    let f = Fixture::with(|s| s.concurrency = 4);
    let nap = libc::timespec { tv_sec: 3600, tv_nsec: 0 };
    let at = (&raw const nap).expose_provenance() as u64;
    for round in 0..50 {
        let timeout = 1 + round * 2000;
        f.submit(
            (0..20).map(|n| syscall(libc::SYS_nanosleep, &[at, 0]).user_data(n).deadline(timeout)),
        );
        assert!(ends(&f, 20).iter().all(|end| end.1 == ETIMEDOUT));
    }
}

/// SPEC: R-DEADLINE-1
#[test]
fn a_deadline_says_that_it_was_handled() {
    let f = Fixture::new();
    let deadline =
        |payload: &[u8]| Iocb::nop(1).attr_with(attr::DEADLINE, attr::Flags::RETURN, payload);
    f.submit([deadline(&NEVER.to_ne_bytes()), deadline(&[])]);
    let [good, bad] = f.next_n(2).try_into().unwrap();
    assert_eq!((good.res, good.status(attr::DEADLINE)), (0, 0));
    assert_eq!((bad.res, bad.status(attr::DEADLINE)), (0, -libc::EINVAL));
}

/// SPEC: R-LIMIT-5
#[test]
fn deadlines_of_what_has_ended_are_not_kept() {
    let f = Fixture::with(|s| s.max_requests = 64);
    for _ in 0..5000 {
        f.submit([Iocb::nop(1).flags(aio2_abi::iocb::Flags::ASYNC).deadline(1 << 50)]);
        assert_eq!(ends(&f, 1), [(1, 0)]);
    }
    assert!(format!("{:?}", f.engine).contains("Engine"));
}
