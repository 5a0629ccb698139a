//! SPEC: section 9.2.

use crate::context::{Fixture, Iocb};
use crate::request::{Slow, ends, errno, failing, id_of};
use aio2::backend::Backend;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_abi::{attr, op};

/// SPEC: R-GROUP-1, R-GROUP-2, R-GROUP-3
#[test]
fn the_group_ends_after_its_members_with_the_number_that_failed() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([
        Iocb::nop(1).in_group(7),
        slow.read().user_data(2).in_group(7),
        failing().user_data(3).in_group(7),
        Iocb::group_op(7).user_data(4),
        Iocb::nop(5),
    ]);
    assert_eq!(ends(&f, 3), [(1, 0), (3, errno(libc::EBADF)), (5, 0)]);
    assert!(f.reap().is_empty(), "a member has not ended");
    slow.finish();
    assert_eq!(ends(&f, 2), [(2, 1), (4, 1)]);
}

/// SPEC: R-GROUP-3
#[test]
fn a_group_whose_members_have_ended_ends_with_its_close() {
    let f = Fixture::new();
    f.submit([Iocb::nop(1).in_group(0), failing().user_data(2).in_group(0)]);
    f.submit([Iocb::group_op(0).user_data(3)]);
    assert_eq!(ends(&f, 3), [(1, 0), (2, errno(libc::EBADF)), (3, 1)]);
}

/// SPEC: R-GROUP-2, R-GROUP-4
#[test]
fn a_closed_group_is_no_longer_there_for_others() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([
        Iocb::group_op(7).user_data(1),
        slow.read().user_data(2).in_group(7),
        Iocb::group_op(7).user_data(3),
        Iocb::group_op(7).user_data(4),
        Iocb::nop(5).in_group(7),
        Iocb::group_op(7).user_data(6),
    ]);
    let enoent = errno(libc::ENOENT);
    assert_eq!(ends(&f, 4), [(1, enoent), (4, enoent), (5, 0), (6, 0)]);
    slow.finish();
    assert_eq!(ends(&f, 2), [(2, 1), (3, 0)]);
}

/// SPEC: R-GROUP-5
#[test]
fn a_cancel_of_the_group_leaves_its_members_running() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    let words = f.submit([
        slow.read().user_data(1).in_group(7),
        Iocb::group_op(7).user_data(2).id(),
        Iocb::nop(3).after(attr::AFTER_GROUP, 7),
    ]);
    let mut cancel = Cancel { flags: CancelFlags::ID.bits(), ..Cancel::default() };
    cancel.id = id_of(&words, 1);
    assert_eq!(f.engine.cancel(&mut cancel), Ok(1));
    assert_eq!((cancel.cancelled, cancel.interrupted, cancel.too_late), (0, 1, 0));
    assert_eq!(ends(&f, 1), [(2, errno(libc::ECANCELED))]);
    // It stays closed.
    f.submit([Iocb::group_op(7).user_data(4)]);
    assert_eq!(ends(&f, 1), [(4, errno(libc::ENOENT))]);
    slow.finish();
    assert_eq!(ends(&f, 2), [(1, 1), (3, 0)]);
}

/// SPEC: R-GROUP-3
#[test]
fn groups_can_be_members_of_groups() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([
        slow.read().user_data(1).in_group(1),
        Iocb::group_op(1).user_data(2).in_group(2),
        Iocb::nop(3).in_group(2),
        Iocb::group_op(2).user_data(4),
    ]);
    assert_eq!(ends(&f, 1), [(3, 0)]);
    slow.finish();
    assert_eq!(ends(&f, 3), [(1, 1), (2, 0), (4, 0)]);
}

/// SPEC: R-AFTER-6
#[test]
fn a_bad_key_fails_the_request() {
    let f = Fixture::new();
    f.submit([Iocb::nop(1).attr_with(attr::GROUP, attr::Flags::empty(), &[])]);
    assert_eq!(ends(&f, 1), [(1, errno(libc::EINVAL))]);
}

/// SPEC: R-GROUP-6
#[test]
fn open_groups_are_bounded() {
    let f = Fixture::with(|s| s.max_requests = 4);
    for key in 0..5 {
        f.submit([Iocb::nop(key).in_group(key)]);
        assert_eq!(f.next().res, if key < 4 { 0 } else { errno(libc::EAGAIN) });
    }
    f.submit([Iocb::group_op(1).user_data(1), Iocb::nop(9).in_group(9)]);
    assert_eq!(ends(&f, 2), [(1, 0), (9, 0)]);
}

/// SPEC: R-LIMIT-5
#[test]
fn groups_that_have_ended_leave_nothing() {
    let f = Fixture::with(|s| s.max_requests = 4);
    for key in 0..1000 {
        f.submit([Iocb::nop(1).in_group(key), Iocb { nr: op::GROUP, ..Iocb::group_op(key) }]);
        assert_eq!(ends(&f, 2), [(1, 0), (0, 0)]);
    }
}
