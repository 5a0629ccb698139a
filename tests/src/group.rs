//! Groups: members, the close, the group's event. SPEC: section 9.2.

use crate::env::{Env, Outcome, setup};
use crate::file::Slow;
use crate::request::{Request, failing};
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::{EAGAIN, EBADF, ECANCELED, EDEADLK, EINVAL, ENOENT, EOPNOTSUPP, ETIMEDOUT};

const fn failed(errno: i32) -> i64 {
    -(errno as i64)
}

fn needed(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::GROUP)?;
    env.needs_op(op::GROUP)
}

pub(crate) fn group_ends_after_its_members_with_the_number_that_failed(env: &Env<'_>) -> Outcome {
    needed(env)?;
    let context = env.context();
    let slow = Slow::new();
    context.submit_these([
        Request::nop(1).in_group(7),
        slow.read().user_data(2).in_group(7),
        failing().user_data(3).in_group(7),
        Request::close_group(7).user_data(4),
        Request::nop(5),
    ]);
    let mut first = context.ends(3);
    first.sort_unstable();
    assert_eq!(first, [(1, 0), (3, failed(EBADF)), (5, 0)]);
    assert_eq!(context.reap_ring(1), [], "a member has not ended");
    slow.finish();
    assert_eq!(context.ends(2), [(2, 1), (4, 1)]);
    Ok(())
}

pub(crate) fn group_whose_members_have_ended_ends_with_its_close(env: &Env<'_>) -> Outcome {
    needed(env)?;
    let context = env.context();
    context.submit_these([Request::nop(1).in_group(0), failing().user_data(2).in_group(0)]);
    context.submit_these([Request::close_group(0).user_data(3)]);
    assert_eq!(context.ends(3), [(1, 0), (2, failed(EBADF)), (3, 1)]);
    Ok(())
}

pub(crate) fn closed_group_is_no_longer_there_for_others(env: &Env<'_>) -> Outcome {
    needed(env)?;
    let context = env.context();
    let slow = Slow::new();
    context.submit_these([
        Request::close_group(7).user_data(1),
        slow.read().user_data(2).in_group(7),
        Request::close_group(7).user_data(3),
        Request::close_group(7).user_data(4),
        Request::nop(5).in_group(7),
        Request::close_group(7).user_data(6),
    ]);
    let mut first = context.ends(4);
    first.sort_unstable();
    assert_eq!(first, [(1, failed(ENOENT)), (4, failed(ENOENT)), (5, 0), (6, 0)]);
    slow.finish();
    assert_eq!(context.ends(2), [(2, 1), (3, 0)]);
    Ok(())
}

pub(crate) fn cancel_of_the_group_leaves_its_members_running(env: &Env<'_>) -> Outcome {
    needed(env)?;
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    let slow = Slow::new();
    let batch = context.submit_these([
        slow.read().user_data(1).in_group(7),
        Request::close_group(7).user_data(2).with_id(),
        Request::nop(3).after(attr::AFTER_GROUP, 7),
    ]);
    let fields = Cancel { id: batch.id(1), ..Cancel::default() };
    let (matches, done) = context.cancel(CancelFlags::ID, fields).expect("it is in flight");
    assert_eq!((matches, done.cancelled, done.interrupted, done.too_late), (1, 0, 1, 0));
    assert_eq!(context.ends(1), [(2, failed(ECANCELED))]);
    // It stays closed.
    context.submit_these([Request::close_group(7).user_data(4)]);
    assert_eq!(context.ends(1), [(4, failed(ENOENT))]);
    slow.finish();
    assert_eq!(context.ends(2), [(1, 1), (3, 0)]);
    Ok(())
}

pub(crate) fn group_is_closed_however_its_operation_ends(env: &Env<'_>) -> Outcome {
    needed(env)?;
    env.needs_attr(attr::AFTER)?;
    env.needs_attr(attr::DEADLINE)?;
    let context = env.context();
    let close = || Request::close_group(7).user_data(3);
    for (request, errno) in [
        (close().after(attr::AFTER_REQUEST, u64::MAX), ENOENT),
        (close().after(attr::AFTER_GROUP, 8), ENOENT),
        (close().after(attr::AFTER_STREAM, 2), ECANCELED),
        (close().deadline(0), ETIMEDOUT),
        (close().deadline(1), ETIMEDOUT),
    ] {
        let slow = Slow::new();
        context.submit_these([
            failing().user_data(1),
            slow.read().user_data(2).in_group(7),
            request.clone(),
            Request::nop(4).after(attr::AFTER_GROUP, 7),
        ]);
        // Where they run decides which is first.
        let mut ends = context.ends(2);
        ends.sort_unstable();
        assert_eq!(ends, [(1, failed(EBADF)), (3, failed(errno))], "{request:?}");
        assert_eq!(context.run(close()).res, failed(ENOENT), "{request:?}");
        slow.finish();
        assert_eq!(context.ends(2), [(2, 1), (4, 0)], "{request:?}");
    }
    // But not by one that is refused.
    for (request, errno, members) in [
        (close().flags(IocbFlags::FULL), EOPNOTSUPP, 0),
        (close().attr(40, attr::AttrFlags::REQUIRED, &[]), EOPNOTSUPP, 0),
        (close().in_group(7), EDEADLK, 1),
    ] {
        assert_eq!(context.run(Request::nop(1).in_group(7)).res, 0);
        assert_eq!(context.run(request.clone()).res, failed(errno), "{request:?}");
        assert_eq!(context.run(close()).res, members, "{request:?}");
    }
    Ok(())
}

pub(crate) fn groups_can_be_members_of_groups(env: &Env<'_>) -> Outcome {
    needed(env)?;
    let context = env.context();
    let slow = Slow::new();
    context.submit_these([
        slow.read().user_data(1).in_group(1),
        Request::close_group(1).user_data(2).in_group(2),
        Request::nop(3).in_group(2),
        Request::close_group(2).user_data(4),
    ]);
    assert_eq!(context.ends(1), [(3, 0)]);
    slow.finish();
    assert_eq!(context.ends(3), [(1, 1), (2, 0), (4, 0)]);
    Ok(())
}

pub(crate) fn bad_key_fails_the_request(env: &Env<'_>) -> Outcome {
    needed(env)?;
    let context = env.context();
    let request = Request::nop(1).attr(attr::GROUP, attr::AttrFlags::empty(), &[]);
    assert_eq!(context.run(request).res, failed(EINVAL));
    Ok(())
}

pub(crate) fn open_groups_are_bounded(env: &Env<'_>) -> Outcome {
    needed(env)?;
    let context = env.context_with(Setup { max_requests: 4, ..setup() });
    for key in 0..5 {
        let res = context.run(Request::nop(key).in_group(key)).res;
        assert_eq!(res, if key < 4 { 0 } else { failed(EAGAIN) });
    }
    context.submit_these([
        Request::close_group(1).user_data(1),
        Request::nop(9).in_group(9).user_data(2),
    ]);
    assert_eq!(context.ends(2), [(1, 0), (2, 0)]);
    Ok(())
}

pub(crate) fn groups_that_have_ended_leave_nothing(env: &Env<'_>) -> Outcome {
    needed(env)?;
    let context = env.context_with(Setup { max_requests: 4, ..setup() });
    for key in 0..1000 {
        context.submit_these([Request::nop(1).in_group(key), Request::close_group(key)]);
        assert_eq!(context.ends(2), [(1, 0), (0, 0)]);
    }
    Ok(())
}
