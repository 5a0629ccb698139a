//! Order: who starts after whom, and what becomes of it. SPEC: section 9.3.

use crate::context::errno;
use crate::env::{Env, Outcome, setup};
use crate::file::{Pipe, Slow, file_with};
use crate::request::{Batch, Request, failing};
use aio2_abi::attr::{self, AFTER_GROUP, AFTER_REQUEST, AFTER_STREAM};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::{EAGAIN, EBADF, EDEADLK, EINVAL, ENOENT, EPIPE, ESTALE};
use std::os::fd::AsRawFd;

const ECANCELED: i64 = -(libc::ECANCELED as i64);

const fn failed(errno: i32) -> i64 {
    -(errno as i64)
}

fn groups_too(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    env.needs_attr(attr::GROUP)?;
    env.needs_op(op::GROUP)
}

pub(crate) fn request_starts_after_another_of_its_stream(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    let slow = Slow::new();
    context.submit_these([
        slow.read().user_data(1),
        Request::nop(2).after(AFTER_STREAM, 1),
        Request::nop(3).after(AFTER_STREAM, 2),
        Request::nop(4).after(AFTER_STREAM, 1),
        Request::nop(5),
    ]);
    assert_eq!(context.ends(1), [(5, 0)]);
    slow.finish();
    let mut rest = context.ends(4);
    assert_eq!(rest[0], (1, 1));
    let place = |user_data| rest.iter().position(|end| end.0 == user_data);
    assert!(place(4) > place(3));
    rest.sort_unstable();
    assert_eq!(rest[1..], [(2, 0), (3, 0), (4, 0)]);
    Ok(())
}

pub(crate) fn poll_begins_when_its_target_has_ended(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    env.needs_op(op::POLL)?;
    let context = env.context();
    let (slow, pipe) = (Slow::new(), Pipe::new());
    context.submit_these([
        slow.read().user_data(1).returns(attr::TIMING),
        Request::poll(pipe.write_fd(), libc::POLLOUT)
            .user_data(2)
            .after(AFTER_STREAM, 1)
            .returns(attr::TIMING),
    ]);
    assert_eq!(context.reap_ring(1), []);
    slow.finish();
    let events = context.reap(2);
    let [target, poll] = [0, 1].map(|n| events[n].payload::<attr::TimingReturn>(attr::TIMING));
    assert!(target.submitted <= poll.submitted && poll.submitted <= target.completed);
    assert!(target.completed <= poll.started, "{target:?} {poll:?}");
    assert!(poll.started <= poll.completed);
    Ok(())
}

pub(crate) fn request_starts_after_another_by_its_id(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    let slow = Slow::new();
    let id = context.submit_one(slow.read().user_data(1));
    context.submit_these([Request::nop(2).after(AFTER_REQUEST, id)]);
    assert_eq!(context.reap_ring(1), []);
    slow.finish();
    assert_eq!(context.ends(2), [(1, 1), (2, 0)]);
    Ok(())
}

pub(crate) fn request_starts_after_a_group_that_is_open_or_closed(env: &Env<'_>) -> Outcome {
    groups_too(env)?;
    for close_first in [true, false] {
        let context = env.context();
        let slow = Slow::new();
        let close = Request::close_group(7).user_data(2);
        let after = Request::nop(3).after(AFTER_GROUP, 7);
        context.submit_these([slow.read().user_data(1).in_group(7)]);
        context.submit_these(if close_first { [close, after] } else { [after, close] });
        assert_eq!(context.reap_ring(1), []);
        slow.finish();
        let mut ends = context.ends(3);
        assert_eq!(ends[0], (1, 1));
        ends.sort_unstable();
        assert_eq!(ends[1..], [(2, 0), (3, 0)]);
    }
    Ok(())
}

/// Of two closed groups of one key, the older one is named once the newer has ended.
pub(crate) fn key_names_the_last_closed_group_with_members(env: &Env<'_>) -> Outcome {
    groups_too(env)?;
    let context = env.context();
    let [older, newer] = [Slow::new(), Slow::new()];
    context.submit_these([
        older.read().user_data(1).in_group(7),
        Request::close_group(7).user_data(2),
        newer.read().user_data(3).in_group(7),
        Request::close_group(7).user_data(4),
    ]);
    newer.finish();
    assert_eq!(context.ends(2), [(3, 1), (4, 0)]);
    context.submit_these([Request::nop(5).after(AFTER_GROUP, 7)]);
    assert_eq!(context.reap_ring(1), [], "it waits for the older one");
    older.finish();
    let mut ends = context.ends(3);
    assert_eq!(ends.remove(0), (1, 1));
    ends.sort_unstable();
    assert_eq!(ends, [(2, 0), (5, 0)]);
    context.submit_these([Request::nop(6).after(AFTER_GROUP, 7)]);
    assert_eq!(context.ends(1), [(6, failed(ENOENT))]);
    Ok(())
}

pub(crate) fn failure_is_passed_on(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    context.submit_these([
        failing().user_data(3),
        Request::nop(4).after(AFTER_STREAM, 1),
        Request::nop(5).after(AFTER_STREAM, 1),
    ]);
    assert_eq!(context.ends(3), [(3, failed(EBADF)), (4, ECANCELED), (5, ECANCELED)]);
    Ok(())
}

pub(crate) fn failure_of_a_member_is_passed_on(env: &Env<'_>) -> Outcome {
    groups_too(env)?;
    let context = env.context();
    let slow = Slow::new();
    context.submit_these([
        slow.read().user_data(6).in_group(7),
        failing().user_data(7).in_group(7),
        Request::nop(8).after(AFTER_GROUP, 7),
        Request::close_group(7).user_data(9),
    ]);
    assert_eq!(context.ends(1), [(7, failed(EBADF))]);
    slow.finish();
    let mut rest = context.ends(3);
    rest.sort_unstable();
    assert_eq!(rest, [(6, 1), (8, ECANCELED), (9, 1)]);
    Ok(())
}

/// What stands behind a list, by the list's own operation: whenever the members
/// end, and through a list within a list.
pub(crate) fn operation_group_fails_with_its_members(env: &Env<'_>) -> Outcome {
    groups_too(env)?;
    for is_slow in [false, true] {
        let context = env.context();
        let slow = Slow::new();
        let first = if is_slow { slow.read() } else { Request::nop(0) };
        context.submit_these([
            first.user_data(1).in_group(7),
            failing().user_data(2).in_group(7),
            Request::close_group(7).user_data(3).in_group(8),
            Request::nop(4).after(AFTER_STREAM, 1),
            Request::close_group(8).user_data(5),
            Request::nop(6).after(AFTER_STREAM, 1),
            Request::nop(7).in_group(9),
            Request::close_group(9).user_data(8),
            Request::nop(9).after(AFTER_STREAM, 1),
        ]);
        slow.finish();
        let mut ends = context.ends(9);
        ends.sort_unstable();
        let read = i64::from(is_slow);
        assert_eq!(ends[..3], [(1, read), (2, failed(EBADF)), (3, 1)]);
        assert_eq!(ends[3..6], [(4, ECANCELED), (5, 1), (6, ECANCELED)]);
        assert_eq!(ends[6..], [(7, 0), (8, 0), (9, 0)]);
    }
    Ok(())
}

/// What closes a group can itself come after that group, or after the member that
/// ends last.
pub(crate) fn operation_group_after_its_own_group_fails_with_it(env: &Env<'_>) -> Outcome {
    groups_too(env)?;
    for is_slow in [false, true] {
        for by_key in [true, false] {
            let context = env.context();
            let slow = Slow::new();
            let first = || if is_slow { slow.read() } else { Request::nop(0) };
            let close = |user_data| {
                let close = Request::close_group(7).user_data(user_data);
                if by_key { close.after(AFTER_GROUP, 7) } else { close.after(AFTER_STREAM, 1) }
            };
            // With a member that fails, and without one.
            let bad = Request::call(libc::SYS_pread64, &[u64::MAX, 0, 0, 0]);
            context.submit_these([
                first().user_data(1),
                bad.user_data(2).after(AFTER_STREAM, 1).in_group(7),
                close(3),
            ]);
            slow.finish();
            let mut ends = context.ends(3);
            assert_eq!(ends[1].0, 2, "the member before its group: {ends:?}");
            ends.sort_unstable();
            let read = i64::from(is_slow);
            assert_eq!(ends, [(1, read), (2, failed(EBADF)), (3, ECANCELED)]);
            context.submit_these([Request::nop(4).in_group(7), close(5)]);
            assert_eq!(context.ends(2), [(4, 0), (5, 0)]);
        }
    }
    Ok(())
}

/// A chain that is longer than a stack is deep.
pub(crate) fn cancel_is_passed_on_through_a_long_chain(env: &Env<'_>) -> Outcome {
    const LONG: u64 = 20_000;
    env.needs_attr(attr::AFTER)?;
    env.needs(Features::INTERRUPT)?;
    let context = env.context_with(Setup { max_requests: LONG as u32 + 1, ..setup() });
    let slow = Slow::new();
    let chain = (0..LONG).map(|n| Request::nop(n).after(AFTER_STREAM, 1));
    context.submit_these([slow.read().user_data(LONG)].into_iter().chain(chain));
    let fields = Cancel { user_data: LONG, ..Cancel::default() };
    assert_eq!(context.cancel(CancelFlags::USER_DATA, fields).map(|done| done.0), Ok(1));
    let ends = context.ends(LONG as usize + 1);
    assert!(ends.iter().all(|end| end.1 == ECANCELED));
    assert!(ends[1..].iter().map(|end| end.0).eq(0..LONG));
    Ok(())
}

pub(crate) fn target_that_never_was_is_unknown(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    context.submit_these([
        Request::nop(1).after(AFTER_STREAM, 1),
        Request::nop(2).after(AFTER_STREAM, 2),
        Request::nop(3).after(AFTER_STREAM, 0),
        Request::nop(4).after(AFTER_REQUEST, 0),
        Request::nop(5).after(AFTER_REQUEST, u64::MAX),
        Request::nop(6).after(AFTER_GROUP, 7),
    ]);
    assert_eq!(context.ends(6), [1, 2, 3, 4, 5, 6].map(|n| (n, failed(ENOENT))));
    Ok(())
}

/// How long the result of one that has ended is known is left open.
pub(crate) fn target_that_has_ended_is_known_or_stale(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    let id = context.submit_one(Request::nop(0));
    assert_eq!(context.ends(1), [(0, 0)]);
    for round in 0..50 {
        context.submit_these((10..50).map(|n| Request::nop(n).with_id()));
        assert!(context.ends(40).iter().all(|end| end.1 == 0));
        let res = context.run(Request::nop(1).after(AFTER_REQUEST, id)).res;
        assert!([0, failed(ESTALE)].contains(&res), "round {round}: {res}");
    }
    let failed_id = context.submit_one(failing());
    assert_eq!(context.ends(1), [(0, failed(EBADF))]);
    let res = context.run(Request::nop(1).after(AFTER_REQUEST, failed_id)).res;
    assert!([ECANCELED, failed(ESTALE)].contains(&res), "{res}");
    Ok(())
}

pub(crate) fn requests_of_a_stream_are_not_forgotten_within_it(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    for _ in 0..200 {
        let first = failing().user_data(1).on_worker();
        let others = (2..40).map(|n| Request::nop(n).on_worker());
        let last =
            [Request::nop(40).after(AFTER_STREAM, 39), Request::nop(41).after(AFTER_STREAM, 2)];
        context.submit_these([first].into_iter().chain(others).chain(last));
        let mut ends = context.ends(41);
        ends.sort_unstable();
        assert_eq!(ends[0], (1, failed(EBADF)));
        assert_eq!(ends[39..], [(40, ECANCELED), (41, 0)]);
    }
    Ok(())
}

pub(crate) fn request_does_not_wait_for_its_own_group(env: &Env<'_>) -> Outcome {
    groups_too(env)?;
    let context = env.context();
    let slow = Slow::new();
    context.submit_these([
        slow.read().user_data(1).in_group(7),
        Request::nop(2).in_group(7).after(AFTER_GROUP, 7),
        Request::nop(3).in_group(8).after(AFTER_GROUP, 7),
        Request::nop(4).in_group(7).after(AFTER_GROUP, 8),
        Request::nop(5).in_group(7).after(AFTER_STREAM, 2),
        Request::close_group(7).user_data(6).in_group(7),
        Request::close_group(7).user_data(7),
    ]);
    assert_eq!(context.ends(4), [2, 4, 5, 6].map(|n| (n, failed(EDEADLK))));
    slow.finish();
    let mut rest = context.ends(3);
    rest.sort_unstable();
    assert_eq!(rest, [(1, 1), (3, ECANCELED), (7, 4)]);
    Ok(())
}

pub(crate) fn bad_target_fails_the_request(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    let context = env.context();
    let none = attr::AttrFlags::empty();
    let unknown_kind = [0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    for payload in [&[][..], &[0; 8], &unknown_kind] {
        let res = context.run(Request::nop(1).attr(attr::AFTER, none, payload)).res;
        assert_eq!(res, failed(EINVAL), "{payload:?}");
    }
    Ok(())
}

/// What waits counts against the limit, and keeps no worker busy.
pub(crate) fn waiting_requests_take_no_worker(env: &Env<'_>) -> Outcome {
    groups_too(env)?;
    let context = env.context_with(Setup { concurrency: 1, max_requests: 5, ..setup() });
    let slow = Slow::new();
    context.submit_these([slow.read().user_data(1).in_group(7)]);
    context.submit_these((2..5).map(|n| Request::nop(n).after(AFTER_GROUP, 7)));
    context.submit_these([Request::close_group(7).user_data(5)]);
    let more = context.submit(&mut Batch::of([Request::nop(6)]));
    assert_eq!(errno(more), Some(EAGAIN));
    slow.finish();
    let mut ends = context.ends(5);
    ends.sort_unstable();
    assert_eq!(ends, [(1, 1), (2, 0), (3, 0), (4, 0), (5, 0)]);
    Ok(())
}

/// A write that is short lets no fsync run early.
pub(crate) fn after_a_full_write_that_falls_short_nothing_runs(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::AFTER)?;
    env.needs(Features::FULL)?;
    let context = env.context();
    let Pipe { reader, writer } = Pipe::new();
    drop(reader);
    let (_, file) = file_with(env, "synced", b"");
    let fsync = Request::call(libc::SYS_fsync, &[file.as_raw_fd() as u64]);
    context.submit_these([
        Request::write(writer.as_raw_fd(), &[1; 64]).flags(IocbFlags::FULL),
        fsync.user_data(1).after(AFTER_STREAM, 1),
    ]);
    assert_eq!(context.ends(2), [(0, failed(EPIPE)), (1, ECANCELED)]);
    Ok(())
}
