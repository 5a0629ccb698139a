//! SPEC: R-OP-5, R-OP-6.

use crate::context::{Fixture, Iocb, file_of};
use crate::request::{Slow, ends, errno, id_of};
use aio2::backend::{Backend, Wait};
use aio2_abi::event;
use aio2_abi::iocb::Flags;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const IN: i64 = libc::POLLIN as i64;
const MORE: u32 = event::Flags::MORE.bits();

/// Descriptors of this process for the same file.
fn descriptors(file: &impl AsRawFd) -> usize {
    let link = |fd: &str| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    let own = link(&file.as_raw_fd().to_string());
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    all.filter(|fd| link(&fd.file_name().to_string_lossy()) == own).count()
}

fn cancel(f: &Fixture, user_data: u64) -> (u32, u32, u32) {
    let flags = CancelFlags::USER_DATA.bits();
    let mut c = Cancel { flags, user_data, ..Cancel::default() };
    f.engine.cancel(&mut c).unwrap();
    (c.cancelled, c.interrupted, c.too_late)
}

/// SPEC: R-OP-5
#[test]
fn it_ends_with_what_is_ready_now_or_later() {
    let f = Fixture::new();
    let (mut a, mut b) = UnixStream::pair().unwrap();
    let both = libc::POLLIN | libc::POLLOUT;
    f.submit([
        Iocb::poll_op(&a, both).user_data(1),
        Iocb::poll_op(&a, libc::POLLIN).user_data(2),
        Iocb::poll_op(&a, libc::POLLIN).user_data(3),
    ]);
    assert_eq!(ends(&f, 1), [(1, i64::from(libc::POLLOUT))]);
    assert!(f.reap().is_empty());
    b.write_all(b"x").unwrap();
    let mut two = ends(&f, 2);
    two.sort_unstable();
    assert_eq!(two, [(2, IN), (3, IN)]);
    a.read_exact(&mut [0]).unwrap();
    f.submit([Iocb::poll_op(&a, 0).user_data(4)]);
    drop(b);
    let [end] = ends(&f, 1).try_into().unwrap();
    assert_eq!((end.0, end.1 & i64::from(libc::POLLHUP)), (4, i64::from(libc::POLLHUP)));
}

/// SPEC: R-OP-5
#[test]
fn it_works_on_every_kind_of_file() {
    let f = Fixture::new();
    let pipe = Slow::new();
    // SAFETY: takes no address.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    // SAFETY: it is new.
    let event = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: takes no address.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
    // SAFETY: it is new.
    let timer = unsafe { OwnedFd::from_raw_fd(fd) };
    let file = file_of(b"x");
    for flags in [Flags::empty(), Flags::ASYNC] {
        f.submit([
            Iocb::poll_op(&event, libc::POLLOUT).user_data(1).flags(flags),
            Iocb::poll_op(&pipe.writer, libc::POLLOUT).user_data(2).flags(flags),
            Iocb::poll_op(&file, libc::POLLIN | libc::POLLOUT).user_data(3).flags(flags),
        ]);
        let mut three = ends(&f, 3);
        three.sort_unstable();
        let out = i64::from(libc::POLLOUT);
        assert_eq!(three, [(1, out), (2, out), (3, out | IN)]);
    }
    f.submit([Iocb::poll_op(&timer, libc::POLLIN).user_data(4)]);
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let time = libc::itimerspec { it_interval: never, it_value: soon };
    // SAFETY: the time can be read.
    unsafe { libc::timerfd_settime(fd, 0, &raw const time, std::ptr::null_mut()) };
    assert_eq!(ends(&f, 1), [(4, IN)]);
    f.submit([Iocb { args: vec![u64::MAX, 1], ..Iocb::poll_op(&file, 1) }]);
    assert_eq!(ends(&f, 1), [(0, errno(libc::EBADF))]);
}

/// SPEC: R-OP-6, R-ATTR-7
#[test]
fn multishot_sends_an_event_each_time_until_it_is_cancelled() {
    let f = Fixture::new();
    let mut pipe = Slow::new();
    let poll = Iocb::poll_op(&pipe.reader, libc::POLLIN).user_data(1).flags(Flags::MULTISHOT);
    f.submit([poll.attr(aio2_abi::attr::TIMING)]);
    for _ in 0..5 {
        pipe.finish();
        let a = f.next();
        assert_eq!((a.flags, a.user_data, a.res, a.returns.len()), (MORE, 1, IN, 0));
        pipe.reader.read_exact(&mut [0]).unwrap();
    }
    assert!(f.reap().is_empty());
    assert_eq!(cancel(&f, 1), (0, 1, 0));
    let a = f.next();
    assert_eq!((a.flags, a.res, a.returns.len()), (0, errno(libc::ECANCELED), 1));
}

/// SPEC: R-OP-6, R-OVF-1, R-LIMIT-5
#[test]
fn multishot_ends_when_there_is_no_room_for_another_event() {
    let f = Fixture::with(|s| (s.ring_bytes, s.max_requests) = (4096, 8));
    let mut pipe = Slow::new();
    let poll = Iocb::poll_op(&pipe.reader, libc::POLLIN).flags(Flags::MULTISHOT).id();
    let id = Some(id_of(&f.submit([poll]), 0));
    let mut sent = 0;
    // Nobody reaps.
    while f.wait(&Wait { id, ..Wait::events(0) }.within(Duration::from_millis(1))).is_err() {
        pipe.finish();
        sent += 1;
        assert!(sent < 2000, "it does not end");
    }
    let mut answers = f.reap();
    while answers.last().is_some_and(|a| a.flags == MORE) {
        f.wait(&Wait::events(1)).unwrap();
        answers.extend(f.reap());
    }
    let (last, others) = answers.split_last().unwrap();
    assert_eq!((last.flags, last.res), (0, IN));
    assert!(others.iter().all(|a| (a.flags, a.res) == (MORE, IN)));
    // What the ring holds, and the limit on the overflow list.
    assert_eq!(answers.len(), 4096 / 24 + 8);
}

/// SPEC: R-LIFE-3
#[test]
fn a_poll_costs_a_descriptor_until_it_ends() {
    let f = Fixture::new();
    let pipe = Slow::new();
    f.submit((0..10).map(|n| Iocb::poll_op(&pipe.reader, libc::POLLIN).user_data(n)));
    assert_eq!(descriptors(&pipe.reader), 2 + 10);
    for n in 0..10 {
        assert_eq!(cancel(&f, n), (0, 1, 0));
    }
    assert_eq!(ends(&f, 10), Vec::from_iter((0..10).map(|n| (n, errno(libc::ECANCELED)))));
    assert_eq!(descriptors(&pipe.reader), 2);
}

#[test]
fn the_file_stays_while_it_is_polled() {
    let f = Fixture::new();
    let (a, mut b) = UnixStream::pair().unwrap();
    f.submit([Iocb::poll_op(&a, libc::POLLIN).user_data(1)]);
    let number = a.as_raw_fd();
    drop(a);
    b.write_all(b"x").unwrap();
    assert_eq!(ends(&f, 1), [(1, IN)], "descriptor {number}");
}
