//! SPEC: section 9.3.

use crate::context::{Fixture, Iocb, file_of, syscall};
use crate::request::{Slow, ends, errno, failing, id_of};
use aio2::backend::Backend;
use aio2_abi::attr::{self, AFTER_GROUP, AFTER_REQUEST, AFTER_STREAM};
use aio2_abi::iocb::Flags;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::os::fd::AsRawFd;

const ECANCELED: i64 = -(libc::ECANCELED as i64);

/// SPEC: R-AFTER-1
#[test]
fn a_request_starts_after_another_of_its_stream() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([
        slow.read().user_data(1),
        Iocb::nop(2).after(AFTER_STREAM, 1),
        Iocb::nop(3).after(AFTER_STREAM, 2),
        Iocb::nop(4).after(AFTER_STREAM, 1),
        Iocb::nop(5),
    ]);
    assert_eq!(ends(&f, 1), [(5, 0)]);
    slow.finish();
    let mut rest = ends(&f, 4);
    assert_eq!(rest[0], (1, 1));
    let place = |user_data| rest.iter().position(|end| end.0 == user_data);
    assert!(place(4) > place(3));
    rest.sort_unstable();
    assert_eq!(rest[1..], [(2, 0), (3, 0), (4, 0)]);
}

/// SPEC: R-AFTER-1
#[test]
fn a_request_starts_after_another_by_its_id() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    let words = f.submit([slow.read().user_data(1).id()]);
    f.submit([Iocb::nop(2).after(AFTER_REQUEST, id_of(&words, 0))]);
    assert!(f.reap().is_empty());
    slow.finish();
    assert_eq!(ends(&f, 2), [(1, 1), (2, 0)]);
}

/// SPEC: R-AFTER-1
#[test]
fn a_request_starts_after_a_group_that_is_open_or_closed() {
    for close_first in [true, false] {
        let f = Fixture::new();
        let mut slow = Slow::new();
        let (close, after) = (Iocb::group_op(7).user_data(2), Iocb::nop(3).after(AFTER_GROUP, 7));
        f.submit([slow.read().user_data(1).in_group(7)]);
        f.submit(if close_first { [close, after] } else { [after, close] });
        assert!(f.reap().is_empty());
        slow.finish();
        let mut ends = ends(&f, 3);
        assert_eq!(ends[0], (1, 1));
        ends.sort_unstable();
        assert_eq!(ends[1..], [(2, 0), (3, 0)]);
    }
}

/// SPEC: R-AFTER-2
#[test]
fn a_failure_is_passed_on() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    let words = f.submit([failing().user_data(1).id()]);
    f.submit([Iocb::nop(2).after(AFTER_REQUEST, id_of(&words, 0))]);
    f.submit([
        failing().user_data(3),
        Iocb::nop(4).after(AFTER_STREAM, 1),
        Iocb::nop(5).after(AFTER_STREAM, 1),
    ]);
    f.submit([
        slow.read().user_data(6).in_group(7),
        failing().user_data(7).in_group(7),
        Iocb::nop(8).after(AFTER_GROUP, 7),
        Iocb::group_op(7).user_data(9),
    ]);
    let ebadf = errno(libc::EBADF);
    assert_eq!(ends(&f, 2), [(1, ebadf), (2, ECANCELED)]);
    assert_eq!(ends(&f, 3), [(3, ebadf), (4, ECANCELED), (5, ECANCELED)]);
    assert_eq!(ends(&f, 1), [(7, ebadf)]);
    slow.finish();
    let mut rest = ends(&f, 3);
    rest.sort_unstable();
    assert_eq!(rest, [(6, 1), (8, ECANCELED), (9, 1)]);
}

/// SPEC: R-AFTER-2: also through a chain that is longer than a stack is deep.
#[test]
fn a_cancel_is_passed_on_through_a_long_chain() {
    const LONG: u64 = 20_000;
    let f = Fixture::with(|s| s.max_requests = LONG as u32 + 1);
    let mut slow = Slow::new();
    f.submit(
        [slow.read().user_data(LONG).id()]
            .into_iter()
            .chain((0..LONG).map(|n| Iocb::nop(n).after(AFTER_STREAM, 1))),
    );
    let flags = CancelFlags::USER_DATA.bits();
    let mut cancel = Cancel { flags, user_data: LONG, ..Cancel::default() };
    assert_eq!(f.engine.cancel(&mut cancel), Ok(1));
    let ends = ends(&f, LONG as usize + 1);
    assert!(ends.iter().all(|end| end.1 == ECANCELED));
    assert!(ends[1..].iter().map(|end| end.0).eq(0..LONG));
}

/// SPEC: R-AFTER-3, R-AFTER-5
#[test]
fn a_target_that_never_was_and_one_that_is_forgotten() {
    let f = Fixture::new();
    let enoent = errno(libc::ENOENT);
    f.submit([
        Iocb::nop(1).after(AFTER_STREAM, 1),
        Iocb::nop(2).after(AFTER_STREAM, 2),
        Iocb::nop(3).after(AFTER_STREAM, 0),
        Iocb::nop(4).after(AFTER_REQUEST, 0),
        Iocb::nop(5).after(AFTER_REQUEST, u64::MAX),
        Iocb::nop(6).after(AFTER_GROUP, 7),
    ]);
    assert_eq!(ends(&f, 6), [1, 2, 3, 4, 5, 6].map(|n| (n, enoent)));
    let words = f.submit([Iocb::nop(7).id()]);
    f.submit([Iocb::nop(8).after(AFTER_REQUEST, id_of(&words, 0)).id()]);
    // The first one's slot was used again, or this one's is not the same.
    f.submit((10..50).map(|n| Iocb::nop(n).id()));
    f.submit([Iocb::nop(9).after(AFTER_REQUEST, id_of(&words, 0))]);
    let ends = ends(&f, 43);
    assert_eq!((ends[1], ends[42]), ((8, 0), (9, errno(libc::ESTALE))));
}

/// SPEC: R-AFTER-1: what a stream says of its own requests is always known.
#[test]
fn the_requests_of_a_stream_are_not_forgotten_within_it() {
    let f = Fixture::new();
    for _ in 0..200 {
        f.submit(
            [failing().user_data(1).flags(Flags::ASYNC)]
                .into_iter()
                .chain((2..40).map(|n| Iocb::nop(n).flags(Flags::ASYNC)))
                .chain([
                    Iocb::nop(40).after(AFTER_STREAM, 39),
                    Iocb::nop(41).after(AFTER_STREAM, 2),
                ]),
        );
        let mut ends = ends(&f, 41);
        ends.sort_unstable();
        assert_eq!(ends[0], (1, errno(libc::EBADF)));
        assert_eq!(ends[39..], [(40, ECANCELED), (41, 0)]);
    }
}

/// SPEC: R-AFTER-4
#[test]
fn a_request_does_not_wait_for_its_own_group() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    let edeadlk = errno(libc::EDEADLK);
    f.submit([
        slow.read().user_data(1).in_group(7),
        Iocb::nop(2).in_group(7).after(AFTER_GROUP, 7),
        Iocb::nop(3).in_group(8).after(AFTER_GROUP, 7),
        Iocb::nop(4).in_group(7).after(AFTER_GROUP, 8),
        Iocb::nop(5).in_group(7).after(AFTER_STREAM, 2),
        Iocb::group_op(7).user_data(6).in_group(7),
        Iocb::group_op(7).user_data(7),
    ]);
    assert_eq!(ends(&f, 4), [2, 4, 5, 6].map(|n| (n, edeadlk)));
    slow.finish();
    let mut rest = ends(&f, 3);
    rest.sort_unstable();
    assert_eq!(rest, [(1, 1), (3, ECANCELED), (7, 4)]);
}

/// SPEC: R-AFTER-6
#[test]
fn a_bad_payload_fails_the_request() {
    let f = Fixture::new();
    let none = attr::Flags::empty();
    for payload in [&[][..], &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]] {
        f.submit([Iocb::nop(1).attr_with(attr::AFTER, none, payload)]);
        assert_eq!(ends(&f, 1), [(1, errno(libc::EINVAL))]);
    }
}

/// SPEC: R-RUN-1, R-LIMIT-1: what waits holds a slot and no worker.
#[test]
fn waiting_requests_take_no_worker() {
    let f = Fixture::with(|s| (s.concurrency, s.max_requests) = (1, 5));
    let mut slow = Slow::new();
    let words = f.submit([slow.read().user_data(1).in_group(7)]);
    assert_eq!(words.len(), 9);
    f.submit((2..5).map(|n| Iocb::nop(n).after(AFTER_GROUP, 7)));
    f.submit([Iocb::group_op(7).user_data(5)]);
    let mut more = Iocb::nop(6).words();
    assert_eq!(f.try_submit(&mut more).map_err(|e| e.0), Err(libc::EAGAIN));
    slow.finish();
    let mut ends = ends(&f, 5);
    ends.sort_unstable();
    assert_eq!(ends, [(1, 1), (2, 0), (3, 0), (4, 0), (5, 0)]);
}

/// SPEC: R-RUN-5, R-AFTER-2: a write that is short lets no fsync run early.
#[test]
fn after_a_full_write_that_falls_short_nothing_runs() {
    let f = Fixture::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let file = file_of(b"");
    let data = [1_u8; 64];
    let at = (&raw const data).expose_provenance() as u64;
    f.submit([
        syscall(libc::SYS_write, &[writer.as_raw_fd() as u64, at, 64]).flags(Flags::FULL),
        syscall(libc::SYS_fsync, &[file.as_raw_fd() as u64]).user_data(1).after(AFTER_STREAM, 1),
    ]);
    assert_eq!(ends(&f, 2), [(0, errno(libc::EPIPE)), (1, ECANCELED)]);
}
