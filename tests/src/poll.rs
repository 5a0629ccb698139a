//! The operation POLL. SPEC: R-OP-5, R-OP-6.

use crate::context::{Context, errno, patience};
use crate::env::{Env, Outcome, setup};
use crate::file::{Pipe, Slow, eventfd, file_with, socket_pair};
use crate::request::{Batch, Request};
use aio2::backend::Wait;
use aio2_abi::attr;
use aio2_abi::event;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::{EAGAIN, EBADF, ECANCELED, EINVAL};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

const IN: i64 = libc::POLLIN as i64;
const OUT: i64 = libc::POLLOUT as i64;
const MORE: u32 = event::EventFlags::MORE.bits();

fn cancel(context: &Context, user_data: u64) -> (u32, u32, u32) {
    let fields = Cancel { user_data, ..Cancel::default() };
    let (_, done) = context.cancel(CancelFlags::USER_DATA, fields).expect("it is in flight");
    (done.cancelled, done.interrupted, done.too_late)
}

pub(crate) fn poll_ends_with_what_is_ready_now_or_later(env: &Env<'_>) -> Outcome {
    env.needs_op(op::POLL)?;
    let context = env.context();
    let (a, b) = socket_pair(libc::SOCK_STREAM);
    let (mut a, mut b) = (File::from(a), File::from(b));
    let fd = a.as_raw_fd();
    context.submit_these([Request::poll(fd, libc::POLLIN | libc::POLLOUT).user_data(1)]);
    assert_eq!(context.ends(1), [(1, OUT)]);
    context.submit_these([2, 3].map(|n| Request::poll(fd, libc::POLLIN).user_data(n)));
    assert_eq!(context.reap_ring(1), []);
    b.write_all(b"x").expect("there is room");
    let mut two = context.ends(2);
    two.sort_unstable();
    assert_eq!(two, [(2, IN), (3, IN)]);
    a.read_exact(&mut [0]).expect("it came");
    context.submit_these([Request::poll(fd, 0).user_data(4)]);
    drop(b);
    let [end] = context.ends(1).try_into().expect("one");
    assert_eq!((end.0, end.1 & i64::from(libc::POLLHUP)), (4, i64::from(libc::POLLHUP)));
    Ok(())
}

/// A timer that expires soon.
fn timer() -> OwnedFd {
    // SAFETY: takes numbers.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
    assert!(fd >= 0, "timerfd: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and no one else's.
    let timer = unsafe { OwnedFd::from_raw_fd(fd) };
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let time = libc::itimerspec { it_interval: never, it_value: soon };
    // SAFETY: the time can be read.
    unsafe { libc::timerfd_settime(fd, 0, &raw const time, std::ptr::null_mut()) };
    timer
}

pub(crate) fn poll_works_on_every_kind_of_file(env: &Env<'_>) -> Outcome {
    env.needs_op(op::POLL)?;
    let context = env.context();
    let (pipe, event) = (Pipe::new(), eventfd());
    let (_, file) = file_with(env, "polled", b"x");
    for flags in [IocbFlags::empty(), IocbFlags::ASYNC] {
        let poll = |file: &File, events| Request::poll(file.as_raw_fd(), events).flags(flags);
        context.submit_these([
            poll(&event, libc::POLLOUT).user_data(1),
            poll(&pipe.writer, libc::POLLOUT).user_data(2),
            poll(&file, libc::POLLIN | libc::POLLOUT).user_data(3),
        ]);
        let mut three = context.ends(3);
        three.sort_unstable();
        assert_eq!(three, [(1, OUT), (2, OUT), (3, OUT | IN)]);
    }
    assert_eq!(context.run(Request::poll(timer().as_raw_fd(), libc::POLLIN)).res, IN);
    assert_eq!(context.run(Request::poll(-1, libc::POLLIN)).res, -i64::from(EBADF));
    // Only its low 32 bits are the descriptor.
    let wide = 1 << 40 | pipe.write_fd() as u64;
    assert_eq!(context.run(Request::new(op::POLL, &[wide, OUT as u64])).res, OUT);
    let too_many = Request::new(op::POLL, &[pipe.write_fd() as u64, 1 << 16]);
    assert_eq!(context.run(too_many).res, -i64::from(EINVAL));
    Ok(())
}

pub(crate) fn multishot_sends_an_event_each_time_until_it_is_cancelled(env: &Env<'_>) -> Outcome {
    env.needs_op(op::POLL)?;
    env.needs(Features::MULTISHOT)?;
    let context = env.context();
    let slow = Slow::new();
    let poll = Request::poll(slow.fd(), libc::POLLIN).user_data(1).flags(IocbFlags::MULTISHOT);
    context.submit_these([poll.returns(attr::TIMING)]);
    for _ in 0..5 {
        slow.finish();
        let event = context.reap(1).remove(0);
        assert_eq!((event.flags, event.user_data, event.res), (MORE, 1, IN));
        assert_eq!(event.returns, []);
        slow.take();
    }
    assert_eq!(context.reap_ring(1), []);
    assert_eq!(cancel(&context, 1), (0, 1, 0));
    let event = context.reap(1).remove(0);
    assert_eq!((event.flags, event.res), (0, -i64::from(ECANCELED)));
    assert_eq!(event.returns.len(), 1);
    Ok(())
}

pub(crate) fn multishot_ends_when_there_is_no_room_for_another_event(env: &Env<'_>) -> Outcome {
    env.needs_op(op::POLL)?;
    env.needs(Features::MULTISHOT)?;
    let context = env.context_with(Setup { ring_bytes: 4096, max_requests: 8, ..setup() });
    let slow = Slow::new();
    let poll = Request::poll(slow.fd(), libc::POLLIN).flags(IocbFlags::MULTISHOT);
    let id = Some(context.submit_one(poll));
    let mut sent = 0;
    // Nobody reaps.
    let wait = Wait { id, ..Wait::events(0) }.within(Duration::from_millis(1));
    while context.wait(&wait).is_err() {
        slow.finish();
        sent += 1;
        assert!(sent < 2000, "it does not end");
    }
    let mut events = context.reap(1);
    while events.last().is_some_and(|event| event.flags == MORE) {
        events.extend(context.reap(1));
    }
    let (last, others) = events.split_last().expect("there is one");
    assert_eq!((last.flags, last.res), (0, IN));
    assert!(others.iter().all(|event| (event.flags, event.res) == (MORE, IN)));
    // What the ring holds, and the last one.
    assert_eq!(events.len(), 4096 / 24 + 1);
    Ok(())
}

pub(crate) fn multishot_tells_of_what_is_ready_and_of_each_edge(env: &Env<'_>) -> Outcome {
    env.needs_op(op::POLL)?;
    env.needs(Features::MULTISHOT)?;
    let context = env.context();
    let slow = Slow::new();
    slow.finish();
    let poll = Request::poll(slow.fd(), libc::POLLIN).flags(IocbFlags::MULTISHOT);
    context.submit_these([poll.user_data(1)]);
    // The level at the beginning, then an edge, though nobody has read.
    assert_eq!(context.reap(1)[0].flags, MORE);
    assert_eq!(context.reap_ring(1), []);
    slow.finish();
    assert_eq!(context.reap(1)[0].flags, MORE);
    // Two bytes are there, and none has come: no edge.
    slow.take();
    context.submit_these([Request::nop(2)]);
    assert_eq!(context.ends(1), [(2, 0)]);
    assert_eq!(cancel(&context, 1), (0, 1, 0));
    assert_eq!(context.ends(1), [(1, -i64::from(ECANCELED))]);
    Ok(())
}

/// By its own count an application tells whether it has reached the limit.
pub(crate) fn events_with_more_do_not_count_against_the_limit(env: &Env<'_>) -> Outcome {
    const LIMIT: usize = 8;
    env.needs_op(op::POLL)?;
    env.needs(Features::MULTISHOT)?;
    let setup = Setup { ring_bytes: 4096, max_requests: LIMIT as u32, ..setup() };
    let context = env.context_with(setup);
    let slow: Vec<Slow> = (0..LIMIT).map(|_| Slow::new()).collect();
    let poll = |n: usize| Request::poll(slow[n].fd(), libc::POLLIN).flags(IocbFlags::MULTISHOT);
    let ids: Vec<u64> =
        (0..LIMIT).map(|n| context.submit_one(poll(n).user_data(n as u64))).collect();
    // One is ready until it has ended, and nobody reaps.
    let wait = Wait { id: Some(ids[0]), ..Wait::events(0) }.within(Duration::from_millis(1));
    while context.wait(&wait).is_err() {
        slow[0].finish();
    }
    let nop = || Batch::of([Request::nop(99)]);
    assert_eq!(errno(context.submit(&mut nop())), Some(EAGAIN), "none has been reaped");
    for slow in &slow[1..] {
        slow.finish();
    }
    // Each further terminal event is on the list, with what it is ready for.
    for id in &ids[1..] {
        let wait = Wait { id: Some(*id), ..Wait::events(0) }.within(patience());
        assert_eq!(context.wait(&wait), Ok(()));
    }
    let mut ended = 0;
    while ended < LIMIT {
        let event = context.reap(1).remove(0);
        assert_eq!(event.res, IN);
        ended += usize::from(event.is_terminal());
        if event.is_terminal() {
            // One that has been reaped makes room for one.
            assert_eq!(context.submit(&mut nop()), Ok(32));
        }
    }
    assert!(context.ends(LIMIT).iter().all(|end| *end == (99, 0)));
    context.assert_idle();
    Ok(())
}

pub(crate) fn polls_are_cancelled_one_by_one(env: &Env<'_>) -> Outcome {
    env.needs_op(op::POLL)?;
    let context = env.context();
    let pipe = Pipe::new();
    let poll = |n| Request::poll(pipe.read_fd(), libc::POLLIN).user_data(n);
    context.submit_these((0..10).map(poll));
    for n in 0..10 {
        let (cancelled, interrupted, too_late) = cancel(&context, n);
        assert_eq!((cancelled + interrupted, too_late), (1, 0));
    }
    let mut ends = context.ends(10);
    ends.sort_unstable();
    assert_eq!(ends, Vec::from_iter((0..10).map(|n| (n, -i64::from(ECANCELED)))));
    Ok(())
}

pub(crate) fn file_stays_while_it_is_polled(env: &Env<'_>) -> Outcome {
    env.needs_op(op::POLL)?;
    let context = env.context();
    let (a, b) = socket_pair(libc::SOCK_STREAM);
    context.submit_these([Request::poll(a.as_raw_fd(), libc::POLLIN).user_data(1)]);
    drop(a);
    File::from(b).write_all(b"x").expect("there is room");
    let [end] = context.ends(1).try_into().expect("one");
    assert_eq!((end.0, end.1 & IN), (1, IN));
    Ok(())
}
