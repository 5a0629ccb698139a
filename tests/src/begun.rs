//! What never began says so. SPEC: R-EVENT-7.

use crate::context::{Context, Event, errno, until};
use crate::env::{Env, Outcome};
use crate::file::{Pipe, Slow};
use crate::request::{Batch, Request, failing};
use aio2_abi::attr::{self, AFTER_REQUEST, AFTER_STREAM};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::setup::Features;
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::{EBADF, ECANCELED, EINVAL, ENOENT, EOPNOTSUPP, ETIMEDOUT, c_int};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};

fn needs(env: &Env<'_>) -> Outcome {
    env.needs(Features::NOT_STARTED)
}

/// Results by user_data, each with what its event says of the beginning.
fn ends(context: &Context, count: usize) -> Vec<(u64, i64, bool)> {
    let of = |e: &Event| (e.user_data, e.res, e.never_began());
    let mut ends: Vec<_> = context.reap(count).iter().map(of).collect();
    ends.sort_unstable();
    ends
}

pub(crate) fn event_says_that_its_operation_never_began(env: &Env<'_>) -> Outcome {
    needs(env)?;
    let context = env.one_worker();
    let (required, returned) = (attr::AttrFlags::REQUIRED, attr::AttrFlags::RETURN);
    let mut cases = vec![
        (Request::call(libc::SYS_ptrace, &[0; 4]), EOPNOTSUPP),
        (Request::new(op::OP | 999, &[]), EOPNOTSUPP),
        (Request::call(libc::SYS_getpid, &[1]), EINVAL),
        (Request::call(libc::SYS_fcntl, &[0, libc::F_SETOWN as u64, 0]), EOPNOTSUPP),
        (Request::nop(0).flags(IocbFlags::FULL), EOPNOTSUPP),
        (Request::nop(0).flags(IocbFlags::MULTISHOT), EOPNOTSUPP),
        (Request::nop(0).flags(IocbFlags::MULTISHOT).attr(40, returned, &[]), EOPNOTSUPP),
        (Request::nop(0).attr(40, required, &[]), EOPNOTSUPP),
        (Request::nop(0).attr(attr::TAG, required, &[]), EINVAL),
    ];
    if env.needs_attr(attr::AFTER).is_ok() {
        cases.push((Request::nop(0).after(AFTER_REQUEST, u64::MAX), ENOENT));
        cases.push((Request::nop(0).after(AFTER_STREAM, 0).on_worker(), ENOENT));
        context.submit_these([failing(), Request::nop(1).after(AFTER_STREAM, 1)]);
        let failed = [(0, -i64::from(EBADF), false), (1, -i64::from(ECANCELED), true)];
        assert_eq!(ends(&context, 2), failed);
    }
    if env.needs_attr(attr::DEADLINE).is_ok() {
        cases.push((Request::nop(0).deadline(0), ETIMEDOUT));
    }
    if env.needs_op(op::GROUP).is_ok() {
        cases.push((Request::close_group(7), ENOENT));
    }
    for (request, errno) in cases {
        let event = context.run(request.clone());
        assert_eq!((event.res, event.never_began()), (-i64::from(errno), true), "{request:?}");
    }
    // Behind another one.
    let runs = Slow::new();
    context.submit_these([runs.read().user_data(9)]);
    let waits = |n| Request::nop(n).on_worker();
    context.submit_these([waits(1), waits(2).attr(attr::TIMING, returned, &[])]);
    let fields = Cancel { nr: op::NOP, ..Cancel::default() };
    let (_, done) = context.cancel(CancelFlags::NR, fields).expect("both wait");
    assert_eq!(done.cancelled, 2);
    assert_eq!(ends(&context, 2), [1, 2].map(|n| (n, -i64::from(ECANCELED), true)));
    if env.needs_attr(attr::DEADLINE).is_ok() {
        context.submit_these([waits(3).deadline(1)]);
        assert_eq!(ends(&context, 1), [(3, -i64::from(ETIMEDOUT), true)]);
    }
    runs.finish();
    assert_eq!(ends(&context, 1), [(9, 1, false)]);
    Ok(())
}

pub(crate) fn event_of_what_began_does_not_say_so(env: &Env<'_>) -> Outcome {
    needs(env)?;
    let context = env.context();
    let pipe = Pipe::new();
    let mut byte = [0];
    let cases = [
        (Request::nop(0), 0),
        (Request::nop(0).on_worker(), 0),
        (failing(), -i64::from(EBADF)),
        (failing().on_worker(), -i64::from(EBADF)),
        (Request::call(libc::SYS_close, &[u64::MAX]), -i64::from(EBADF)),
        (Request::read(-1, &mut byte).returns(attr::TIMING), -i64::from(EBADF)),
        (Request::call(libc::SYS_getpgid, &[u64::MAX >> 33]), -i64::from(libc::ESRCH)),
    ];
    for (request, res) in cases {
        let event = context.run(request.clone());
        assert_eq!((event.res, event.never_began()), (res, false), "{request:?}");
    }
    if env.needs_op(op::POLL).is_ok() {
        for flags in [IocbFlags::empty(), IocbFlags::ASYNC] {
            let event = context.run(Request::poll(-1, libc::POLLIN).flags(flags));
            assert_eq!((event.res, event.never_began()), (-i64::from(EBADF), false), "{flags:?}");
        }
        context.submit_these([Request::poll(pipe.read_fd(), libc::POLLIN).user_data(1)]);
        let fields = Cancel { user_data: 1, ..Cancel::default() };
        let (_, done) = context.cancel(CancelFlags::USER_DATA, fields).expect("it waits");
        let [(_, res, never)] = ends(&context, 1).try_into().expect("one");
        assert_eq!((res, never), (-i64::from(ECANCELED), done.cancelled == 1));
    }
    // What has moved bytes has begun, whatever its result.
    if env.needs(Features::INTERRUPT | Features::FULL).is_ok() {
        let (pipe, bytes) = (Pipe::new(), vec![1; 256 << 10]);
        let write = Request::write(pipe.write_fd(), &bytes).flags(IocbFlags::FULL).user_data(2);
        let id = context.submit_one(write);
        until("the request has started", || pipe.readable_bytes() > 0);
        let fields = Cancel { id, ..Cancel::default() };
        let (_, done) = context.cancel(CancelFlags::ID, fields).expect("it runs");
        assert_eq!(done.interrupted, 1);
        assert_eq!(ends(&context, 1), [(2, -i64::from(ECANCELED), false)]);
    }
    Ok(())
}

/// A descriptor of an empty file.
fn descriptor() -> c_int {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"aio2-close".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    fd
}

fn is_open(fd: c_int) -> bool {
    // SAFETY: takes numbers.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Whoever handed a descriptor to a close has to know whose it is afterwards.
pub(crate) fn close_that_is_stopped_tells_whether_its_descriptor_is_gone(env: &Env<'_>) -> Outcome {
    const CLOSES: usize = 32;
    needs(env)?;
    let context = env.context();
    let close = |fd: c_int| Request::call(libc::SYS_close, &[fd as u64]).user_data(fd as u64);
    let refused = descriptor();
    let event = context.run(close(refused).flags(IocbFlags::FULL));
    assert!(event.never_began() && is_open(refused), "{event:?}");
    // SAFETY: the close was refused, so that it is open and no one else's.
    drop(unsafe { File::from_raw_fd(refused) });
    let (mut gone, mut kept) = (0, 0);
    for round in 0..300 {
        let fds: Vec<c_int> = (0..CLOSES).map(|_| descriptor()).collect();
        // Those of other tests in this process do not get the same numbers.
        let copies: Vec<File> = fds.iter().map(|fd| copy(*fd)).collect();
        let deadline = |request: Request, n: usize| match env.needs_attr(attr::DEADLINE) {
            Ok(()) if n.is_multiple_of(4) => request.deadline(1 + round * 500),
            _ => request,
        };
        context.submit_these(fds.iter().enumerate().map(|(n, fd)| deadline(close(*fd), n)));
        for fd in fds.iter().filter(|fd| **fd % 2 == 0) {
            let fields = Cancel { user_data: *fd as u64, ..Cancel::default() };
            let result = context.cancel(CancelFlags::USER_DATA, fields);
            assert!(matches!(errno(result), None | Some(ENOENT)));
        }
        for event in context.reap(CLOSES) {
            let fd = event.user_data as c_int;
            let copy = copies.iter().position(|copy| same_file(copy.as_raw_fd(), fd));
            assert_eq!(event.never_began(), copy.is_some(), "{event:?}");
            if event.never_began() {
                kept += 1;
                // SAFETY: it was not closed.
                drop(unsafe { File::from_raw_fd(fd) });
            } else {
                gone += 1;
                assert_eq!(event.res, 0, "a memory file closes well");
            }
        }
    }
    println!("{gone} closed, {kept} not begun");
    assert!(gone > 0);
    Ok(())
}

/// Another descriptor of the same file.
fn copy(fd: c_int) -> File {
    // SAFETY: takes numbers.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    assert!(copy >= 0);
    // SAFETY: it is new, and no one else's.
    unsafe { File::from_raw_fd(copy) }
}

/// Whether both descriptors are open, and of one file.
fn same_file(a: c_int, b: c_int) -> bool {
    let [a, b] = [a, b].map(|fd| {
        let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: there is room for the answer.
        let result = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
        // SAFETY: zeros are a stat as well.
        let stat = unsafe { stat.assume_init() };
        (result == 0).then_some((stat.st_dev, stat.st_ino))
    });
    a.is_some() && a == b
}

pub(crate) fn exec_says_that_its_operation_never_began(env: &Env<'_>) -> Outcome {
    needs(env)?;
    env.needs(Features::EXEC)?;
    let context = env.context();
    for (request, never) in [
        (Request::nop(1), false),
        (failing(), false),
        (Request::call(libc::SYS_ptrace, &[0; 4]), true),
        (Request::new(op::GROUP, &[1]), true),
    ] {
        let mut event = [0; 1024];
        let mut batch = Batch::of([request]);
        // SAFETY: the requests name no memory.
        let bytes =
            unsafe { context.backend().exec(batch.bytes(), &mut event) }.expect("it is run");
        assert_eq!(Event::parse_all(&event[..bytes])[0].never_began(), never);
    }
    Ok(())
}
