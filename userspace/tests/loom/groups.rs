//! The engine: groups.

use crate::common::model;
use crate::context::Iocb;
use crate::requests::{context, ends, nop};
use aio2::backend::Backend;
use aio2_abi::wait::{Cancel, CancelFlags};
use loom::thread;

const ECANCELED: i64 = -(libc::ECANCELED as i64);

// SPEC: R-GROUP-1, R-GROUP-2, R-GROUP-3
#[test]
fn the_last_member_ends_while_the_group_is_closed() {
    model("group", || {
        let f = context(1);
        f.submit([nop(1).in_group(7), nop(2).in_group(7)]);
        let of_thread = f.clone();
        let thread =
            thread::spawn(move || drop(of_thread.submit([Iocb::group_op(7).user_data(3)])));
        let mut ends = ends(&f, 3);
        assert_eq!(ends.pop(), Some((3, 0)), "one event, after all members");
        ends.sort_unstable();
        assert_eq!(ends, [(1, 0), (2, 0)]);
        thread.join().unwrap();
    });
}

// SPEC: R-GROUP-3, R-GROUP-5
#[test]
fn a_group_is_cancelled_while_its_member_ends() {
    model("group against cancel", || {
        let f = context(1);
        f.submit([nop(1).in_group(7), Iocb::group_op(7).user_data(2)]);
        let of_thread = f.clone();
        let thread = thread::spawn(move || {
            let flags = CancelFlags::USER_DATA.bits();
            let mut one = Cancel { flags, user_data: 1, ..Cancel::default() };
            // ENOENT: it has ended.
            let _ = of_thread.engine.cancel(&mut one);
        });
        let ends = ends(&f, 2);
        let failed = i64::from(ends[0].1 == ECANCELED);
        assert_eq!((ends[0].0, ends[1]), (1, (2, failed)));
        thread.join().unwrap();
    });
}
