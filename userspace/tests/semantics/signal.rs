//! SPEC: R-SIGNAL-1.

use crate::context::{Fixture, Iocb};
use crate::request::{Slow, ends, errno};
use aio2_abi::attr;
use std::mem::MaybeUninit;
use zerocopy::IntoBytes;

/// A signal that this thread has blocked.
struct Blocked(libc::sigset_t);

fn signo(n: i32) -> i32 {
    libc::SIGRTMIN() + n
}

fn tid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}

fn blocked(signo: i32) -> Blocked {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills in the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was filled in.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signo) };
    // SAFETY: the set was filled in.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: the set was filled in.
    Blocked(unsafe { set.assume_init() })
}

impl Blocked {
    /// The next one: its code and value.
    fn next(&self) -> (i32, usize) {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let time = libc::timespec { tv_sec: 10, tv_nsec: 0 };
        // SAFETY: set and time can be read, `info` can be written.
        let signo =
            unsafe { libc::sigtimedwait(&raw const self.0, info.as_mut_ptr(), &raw const time) };
        assert!(signo > 0, "no signal came");
        // SAFETY: filled in.
        let info = unsafe { info.assume_init() };
        // SAFETY: a queued signal has a value.
        (info.si_code, unsafe { info.si_value() }.sival_ptr.addr())
    }

    fn is_pending(&self) -> bool {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: set and time can be read.
        unsafe { libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), &raw const time) > 0 }
    }
}

fn signal(signo: i32, tid: i32, value: u64) -> Vec<u8> {
    attr::Signal { signo: signo as u32, tid, value }.as_bytes().to_vec()
}

const NONE: attr::Flags = attr::Flags::empty();

/// SPEC: R-SIGNAL-1
#[test]
fn the_thread_gets_the_signal_after_the_event() {
    let f = Fixture::new();
    let set = blocked(signo(1));
    let mut slow = Slow::new();
    f.submit([
        Iocb::nop(1).attr_with(attr::SIGNAL, NONE, &signal(signo(1), tid(), 11)),
        slow.read().user_data(2).attr_with(attr::SIGNAL, NONE, &signal(signo(1), tid(), 22)),
    ]);
    assert_eq!(set.next(), (libc::SI_ASYNCIO, 11));
    let [a] = f.reap().try_into().expect("the event is there before its signal");
    assert_eq!(a.user_data, 1);
    assert!(!set.is_pending());
    slow.finish();
    assert_eq!(set.next(), (libc::SI_ASYNCIO, 22));
    let [a] = f.reap().try_into().unwrap();
    assert_eq!((a.user_data, a.res), (2, 1));
}

/// SPEC: R-SIGNAL-1
#[test]
fn a_group_and_what_fails_or_is_cancelled_send_signals_too() {
    let f = Fixture::new();
    let set = blocked(signo(2));
    let with =
        |iocb: Iocb, value| iocb.attr_with(attr::SIGNAL, NONE, &signal(signo(2), tid(), value));
    let mut slow = Slow::new();
    f.submit([
        slow.read().in_group(7),
        with(Iocb::nop(0).deadline(0), 1),
        with(Iocb::nop(0).attr_with(63, attr::Flags::REQUIRED, &[]), 2),
        with(Iocb::group_op(7), 3),
    ]);
    assert_eq!([set.next().1, set.next().1], [1, 2]);
    assert!(!set.is_pending(), "a member runs");
    slow.finish();
    assert_eq!(set.next().1, 3);
    assert_eq!(ends(&f, 4).len(), 4);
}

/// SPEC: R-SIGNAL-1
#[test]
fn exec_sends_it() {
    use aio2::backend::Backend;
    let f = Fixture::new();
    let set = blocked(signo(3));
    let mut words = Iocb::nop(1).attr_with(attr::SIGNAL, NONE, &signal(signo(3), tid(), 5)).words();
    let mut event = [0; 64];
    // SAFETY: a NOP has no addresses.
    let bytes = unsafe { f.engine.exec(words.as_mut_bytes(), &mut event) };
    assert_eq!((bytes, set.next()), (Ok(24), (libc::SI_ASYNCIO, 5)));
}

/// SPEC: R-SIGNAL-1
#[test]
fn what_cannot_be_signalled_is_told_and_fails_only_if_required() {
    let f = Fixture::new();
    let stranger = 1;
    for payload in [
        signal(0, 0, 0),
        signal(65, 0, 0),
        signal(-1, 0, 0),
        signal(signo(1), -1, 0),
        signal(signo(1), stranger, 0),
        vec![0; 8],
    ] {
        let request = |flags| Iocb::nop(1).attr_with(attr::SIGNAL, flags, &payload);
        f.submit([request(attr::Flags::RETURN), request(attr::Flags::REQUIRED)]);
        let [told, failed] = f.next_n(2).try_into().unwrap();
        assert_eq!((told.res, told.status(attr::SIGNAL)), (0, -libc::EINVAL));
        assert_eq!(failed.res, errno(libc::EINVAL));
    }
}
