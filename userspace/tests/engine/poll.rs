//! What a POLL costs here. SPEC: section 6.3.

use crate::context::{Answer, Fixture, Iocb, alone};
use crate::lifetime::held;
use crate::request::{Slow, ends, errno};
use crate::waiting::disturbed;
use aio2::backend::{Backend, Wait};
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;
use zerocopy::IntoBytes;

/// Descriptors of this process for the same file.
fn descriptors(file: &impl AsRawFd) -> usize {
    let link = |fd: &str| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    let own = link(&file.as_raw_fd().to_string());
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    all.filter(|fd| link(&fd.file_name().to_string_lossy()) == own).count()
}

/// SPEC: R-LIFE-3
#[test]
fn a_poll_costs_a_descriptor_until_it_ends() {
    let f = Fixture::new();
    let (reader, _writer) = std::io::pipe().unwrap();
    let args = vec![reader.as_raw_fd() as u64, libc::POLLIN as u64];
    let poll = |n| Iocb { nr: op::POLL, args: args.clone(), ..Iocb::nop(n) };
    f.submit((0..10).map(poll));
    assert_eq!(descriptors(&reader), 2 + 10);
    for user_data in 0..10 {
        let flags = CancelFlags::USER_DATA.bits();
        let mut one = Cancel { flags, user_data, ..Cancel::default() };
        assert_eq!(f.engine.cancel(&mut one), Ok(1));
        assert_eq!((f.next().user_data, one.interrupted), (user_data, 1));
    }
    assert_eq!(descriptors(&reader), 2);
}

/// SPEC: R-OP-1
#[test]
fn the_events_of_a_poll_have_16_bits() {
    let f = Fixture::new();
    let ready = crate::context::file_of(b"");
    for (events, is_right) in [(0xffff, true), (0x1_0000, false)] {
        let args = vec![ready.as_raw_fd() as u64, events];
        f.submit([Iocb { nr: op::POLL, args, ..Iocb::nop(1) }]);
        let res = f.next().res;
        assert_eq!(is_right, res > 0, "{events:#x}: {res}");
        assert!(is_right || res == -i64::from(libc::EINVAL));
    }
}

/// Runs a poll for input in this thread.
fn exec(f: &Fixture, file: &impl AsRawFd) -> i64 {
    let mut iocb = Iocb::poll_op(file, libc::POLLIN).words();
    let mut event = [0_u64; 3];
    // SAFETY: a poll has no addresses.
    let bytes = unsafe { f.engine.exec(iocb.as_mut_bytes(), event.as_mut_bytes()) };
    assert_eq!(bytes, Ok(24));
    Answer::parse(event.as_bytes()).remove(0).res
}

/// SPEC: R-EXEC-1, R-OP-5
#[test]
fn the_caller_of_exec_sleeps_until_its_file_is_ready() {
    let f = Fixture::new();
    let Slow { reader, writer, .. } = Slow::new();
    thread::scope(|scope| {
        let caller = scope.spawn(|| exec(&f, &reader));
        thread::sleep(Duration::from_millis(20));
        assert!(!caller.is_finished(), "nothing is there");
        drop(writer);
        assert_eq!(caller.join().unwrap(), i64::from(libc::POLLHUP));
    });
}

/// SPEC: R-EXEC-1
#[test]
fn a_signal_interrupts_a_poll_of_exec() {
    let f = Fixture::new();
    let slow = Slow::new();
    assert_eq!(disturbed(|| exec(&f, &slow.reader)), errno(libc::EINTR));
}

/// SPEC: R-OP-5
#[test]
fn a_poll_of_what_is_ready_ends_in_the_submission() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    slow.finish();
    f.submit([Iocb::poll_op(&slow.reader, libc::POLLIN)]);
    let [answer] = f.reap().try_into().expect("it has ended");
    assert_eq!(answer.res, i64::from(libc::POLLIN));
}

/// SPEC: R-OP-5, R-RUN-1
#[test]
fn a_poll_takes_no_worker() {
    if !alone("poll::a_poll_takes_no_worker") {
        return;
    }
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([Iocb::poll_op(&slow.reader, libc::POLLIN)]);
    slow.finish();
    assert_eq!((f.next().res, held().1), (i64::from(libc::POLLIN), 0));
}

/// How often the threads of this name have gone to sleep.
pub fn sleeps(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let status = tasks.map(|task| std::fs::read_to_string(task.path().join("status")).unwrap());
    let own = status.filter(|status| status.lines().next() == Some(&format!("Name:\t{name}")));
    let count = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    own.map(count).sum()
}

#[test]
fn the_thread_of_polls_sleeps_until_a_file_is_ready() {
    if !alone("poll::the_thread_of_polls_sleeps_until_a_file_is_ready") {
        return;
    }
    let f = Fixture::new();
    let mut slow = Slow::new();
    f.submit([Iocb::poll_op(&slow.reader, libc::POLLIN)]);
    thread::sleep(Duration::from_millis(300));
    let sleeps = sleeps("aio2-poll");
    assert!((1..20).contains(&sleeps), "{sleeps} times");
    slow.finish();
    assert_eq!(f.next().res, i64::from(libc::POLLIN));
}

/// SPEC: R-AFTER-1, R-OP-5
#[test]
fn what_waits_for_a_poll_has_a_worker() {
    let f = Fixture::new();
    let mut slow = Slow::new();
    let poll = Iocb::poll_op(&slow.reader, libc::POLLIN);
    f.submit([poll, Iocb::nop(1).after(attr::AFTER_STREAM, 1)]);
    slow.finish();
    assert_eq!(ends(&f, 2), [(0, i64::from(libc::POLLIN)), (1, 0)]);
}

/// SPEC: R-OP-6, R-OVF-4
#[test]
fn a_multishot_poll_goes_on_as_long_as_the_ring_has_room() {
    const RING: u32 = 4096 / 24;
    let f = Fixture::with(|s| (s.ring_bytes, s.max_requests) = (4096, 1));
    let mut slow = Slow::new();
    f.submit([Iocb::poll_op(&slow.reader, libc::POLLIN).flags(IocbFlags::MULTISHOT)]);
    for more in [RING, RING + 1] {
        for n in 1..=more {
            slow.finish();
            f.wait(&Wait::events(n)).unwrap();
        }
        let ends = f.reap();
        assert_eq!(ends.len() as u32, RING);
    }
    assert_eq!(f.next().res, i64::from(libc::POLLIN), "the last one was on the list");
    f.submit([Iocb::poll_op(&slow.reader, libc::POLLIN)]);
}

/// SPEC: R-OP-5
#[test]
fn a_poll_of_no_descriptor_ends_with_ebadf() {
    let f = Fixture::new();
    for fd in [-1, i32::MAX] {
        f.submit([Iocb::poll_op(&fd, libc::POLLIN)]);
        assert_eq!(f.next().res, errno(libc::EBADF));
        assert_eq!(exec(&f, &fd), errno(libc::EBADF));
    }
}
