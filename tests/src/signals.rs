//! The attribute SIGNAL. SPEC: R-SIGNAL-1.

use crate::child;
use crate::context::Context;
use crate::env::{Env, Factory, Outcome, setup};
use crate::file::{Slow, gettid};
use crate::request::{Batch, Request};
use aio2_abi::attr;
use aio2_abi::op;
use aio2_abi::setup::Features;
use std::mem::MaybeUninit;
use zerocopy::IntoBytes;

const NONE: attr::AttrFlags = attr::AttrFlags::empty();

/// The n-th real-time signal, blocked in this thread until this is dropped.
struct Blocked {
    signo: i32,
    set: libc::sigset_t,
}

impl Blocked {
    fn new(n: i32) -> Self {
        let signo = libc::SIGRTMIN() + n;
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: fills in the set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: filled in above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signo) };
        // SAFETY: filled in above.
        let set = unsafe { set.assume_init() };
        // SAFETY: the set can be read.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        Blocked { signo, set }
    }

    /// Takes one that comes within so many seconds: its code and value.
    fn take(&self, seconds: i64) -> Option<(i32, usize)> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let time = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
        // SAFETY: set and time can be read, `info` can be written.
        let signo =
            unsafe { libc::sigtimedwait(&raw const self.set, info.as_mut_ptr(), &raw const time) };
        // SAFETY: filled in, or zeros.
        let info = unsafe { info.assume_init() };
        // SAFETY: a queued signal has a value.
        (signo > 0).then(|| (info.si_code, unsafe { info.si_value() }.sival_ptr.addr()))
    }

    fn next(&self) -> (i32, usize) {
        self.take(10).expect("a signal comes")
    }

    /// The attribute for this signal to this thread.
    fn payload(&self, value: u64) -> Vec<u8> {
        payload(self.signo, gettid(), value)
    }

    fn with(&self, request: Request, value: u64) -> Request {
        request.attr(attr::SIGNAL, NONE, &self.payload(value))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        while self.take(0).is_some() {}
        let null = std::ptr::null_mut();
        // SAFETY: the set can be read.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const self.set, null) };
    }
}

fn payload(signo: i32, tid: i32, value: u64) -> Vec<u8> {
    attr::Signal { signo: signo as u32, tid, value }.as_bytes().to_vec()
}

pub(crate) fn thread_gets_the_signal_after_the_event(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::SIGNAL)?;
    let context = env.context();
    let signal = Blocked::new(1);
    let slow = Slow::new();
    context.submit_these([
        signal.with(Request::nop(1), 11),
        signal.with(slow.read().user_data(2), 22),
    ]);
    assert_eq!(signal.next(), (libc::SI_ASYNCIO, 11));
    let events = context.reap_ring(9);
    assert_eq!(events.len(), 1, "the event is there before its signal");
    assert_eq!(events[0].user_data, 1);
    assert_eq!(signal.take(0), None);
    slow.finish();
    assert_eq!(signal.next(), (libc::SI_ASYNCIO, 22));
    let events = context.reap_ring(9);
    assert_eq!((events.len(), events[0].user_data, events[0].res), (1, 2, 1));
    Ok(())
}

pub(crate) fn what_fails_sends_its_signal_too(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::SIGNAL)?;
    let context = env.context();
    let signal = Blocked::new(2);
    context.submit_these([
        signal.with(Request::read(-1, &mut []), 1),
        signal.with(Request::nop(0).attr(63, attr::AttrFlags::REQUIRED, &[]), 2),
    ]);
    // One may have run elsewhere.
    let mut values = [signal.next().1, signal.next().1];
    values.sort_unstable();
    assert_eq!(values, [1, 2]);
    assert_eq!(context.ends(2).len(), 2);
    Ok(())
}

/// Where no signal can be queued, events come as ever.
pub(crate) fn full_queue_of_signals_changes_no_event(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::SIGNAL)?;
    let role = child::command(env.factory, "asks_for_signals_that_cannot_be_queued");
    assert!({ role }.status().expect("the child runs").success());
    Ok(())
}

/// The child: its limit of queued signals is 0.
pub(crate) fn asks_for_signals_that_cannot_be_queued(factory: &dyn Factory) -> i32 {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit can be read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const none) }, 0);
    let context = Context::new(factory.create(&setup()).expect("a context can be created"));
    let signal = Blocked::new(3);
    for n in 0..200 {
        let request = match n % 3 {
            0 => Request::nop(n),
            1 => Request::nop(n).on_worker(),
            _ => Request::call(libc::SYS_ptrace, &[]).user_data(n),
        };
        let event = context.run(signal.with(request, n).returns(attr::TAG));
        let res = if n % 3 == 2 { -i64::from(libc::EOPNOTSUPP) } else { 0 };
        assert_eq!((event.user_data, event.res), (n, res));
    }
    assert_eq!(signal.take(0), None, "there is no room for one");
    0
}

pub(crate) fn group_sends_its_signal_after_its_members(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::SIGNAL)?;
    env.needs_attr(attr::GROUP)?;
    env.needs_op(op::GROUP)?;
    let context = env.context();
    let signal = Blocked::new(3);
    let slow = Slow::new();
    context.submit_these([
        slow.read().in_group(7),
        signal.with(Request::nop(0), 1),
        signal.with(Request::close_group(7), 3),
    ]);
    assert_eq!(signal.next().1, 1);
    assert_eq!(signal.take(0), None, "a member runs");
    slow.finish();
    assert_eq!(signal.next().1, 3);
    assert_eq!(context.ends(3).len(), 3);
    Ok(())
}

pub(crate) fn exec_sends_it(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::SIGNAL)?;
    env.needs(Features::EXEC)?;
    let context = env.context();
    let signal = Blocked::new(4);
    let mut batch = Batch::of([signal.with(Request::nop(1), 5)]);
    let mut event = [0; 64];
    // SAFETY: a NOP has no addresses.
    let bytes = unsafe { context.backend().exec(batch.bytes(), &mut event) };
    assert_eq!((bytes, signal.next()), (Ok(24), (libc::SI_ASYNCIO, 5)));
    Ok(())
}

pub(crate) fn what_cannot_be_signalled_is_told_and_fails_only_if_required(
    env: &Env<'_>,
) -> Outcome {
    env.needs_attr(attr::SIGNAL)?;
    let context = env.context();
    let (signo, stranger) = (libc::SIGRTMIN() + 1, 1);
    for payload in [
        payload(0, 0, 0),
        payload(65, 0, 0),
        payload(-1, 0, 0),
        payload(signo, -1, 0),
        payload(signo, stranger, 0),
        vec![0; 8],
    ] {
        let run = |flags| context.run(Request::nop(1).attr(attr::SIGNAL, flags, &payload));
        let told = run(attr::AttrFlags::RETURN);
        assert_eq!((told.res, told.status(attr::SIGNAL)), (0, -libc::EINVAL));
        assert_eq!(run(attr::AttrFlags::REQUIRED).res, -i64::from(libc::EINVAL));
    }
    Ok(())
}
