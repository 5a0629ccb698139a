//! `io_submit2`: streams, operations, and how they are run.
//! SPEC: sections 4.2, 6.3 to 6.5.

use crate::context::{Stop, errno, patience};
use crate::env::{Env, Outcome, setup};
use crate::file::{Busy, Pipe, Slow, TwoViews, file_with, proc_self, socket_pair};
use crate::request::{Batch, Request};
use crate::signal::{Handler, signal_thread};
use aio2::backend::Wait;
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::nr;
use aio2_abi::op;
use aio2_abi::setup::{Features, Setup};
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::{EAGAIN, EBADF, EINVAL, ENODATA, EOPNOTSUPP};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) fn iocbs_are_accepted_in_order(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut batch = Batch::of((0..100).map(Request::nop));
    context.submit_all(&mut batch);
    let order: Vec<u64> = context.reap(100).iter().map(|e| e.user_data).collect();
    assert_eq!(order, (0..100).collect::<Vec<u64>>());
    Ok(())
}

pub(crate) fn stream_ends_before_the_first_iocb_that_cannot_be_accepted(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut batch = Batch::of((0..5).map(Request::nop));
    let fourth = batch.offset(3);
    batch.bytes()[fourth + 12] = 1;
    assert_eq!(context.submit(&mut batch), Ok(fourth));
    let order: Vec<u64> = context.reap(3).iter().map(|e| e.user_data).collect();
    assert_eq!(order, [0, 1, 2]);
    context.assert_idle();
    // And an error only if it is the first.
    assert_eq!(errno(context.submit_bytes(batch.bytes_from(3))), Some(EINVAL));
    context.assert_idle();
    Ok(())
}

pub(crate) fn what_ended_inline_is_available_when_the_call_returns(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::PATH)?;
    let context = env.context();
    for count in [1, 2, 31, 32, 33, 200] {
        let of = |n| match n % 7 {
            6 => Request::nop(n).on_worker(),
            _ => Request::nop(n),
        };
        context.submit_these((0..count).map(|n| of(n).returns(attr::PATH)));
        let at_once = context.reap_ring(count as usize);
        let others = context.reap(count as usize - at_once.len());
        let late = others.iter().filter(|event| event.place() == attr::PATH_INLINE);
        assert_eq!(late.count(), 0, "of {count}, {} were there at once", at_once.len());
    }
    Ok(())
}

pub(crate) fn first_error_of_the_table_is_the_result(env: &Env<'_>) -> Outcome {
    // A row of the table, what breaks its rule, and the error.
    type Fault = (u32, fn(Request) -> Request, i32);
    let context = env.context();
    let (full, multishot) = (IocbFlags::FULL, IocbFlags::MULTISHOT);
    let mut faults: Vec<Fault> = vec![
        (7, |r| r.attr(attr::TAG, attr::AttrFlags::REQUIRED, &[]), EINVAL),
        (7, |r| r.attr(40, attr::AttrFlags::REQUIRED, &[]), EOPNOTSUPP),
    ];
    if env.needs_attr(attr::DEADLINE).is_ok() {
        faults.push((9, |r| r.deadline(0), libc::ETIMEDOUT));
    }
    if env.needs_attr(attr::AFTER).is_ok() {
        faults.push((10, |r| r.after(attr::AFTER_REQUEST, u64::MAX), libc::ENOENT));
    }
    let excluded = [0, libc::F_SETOWN as u64, 0];
    let refused = [
        (Request::new(op::OP | 999, &[1]).flags(full), EOPNOTSUPP),
        (Request::call(libc::SYS_ptrace, &[]).flags(full | multishot), EOPNOTSUPP),
        (Request::call(libc::SYS_getpid, &[1]).flags(full | multishot), EINVAL),
        (Request::nop(0).flags(multishot), EOPNOTSUPP),
        (Request::nop(0).flags(full), EOPNOTSUPP),
        (Request::call(libc::SYS_fcntl, &excluded), EOPNOTSUPP),
    ];
    for (request, errno) in refused {
        for (_, add, _) in &faults {
            assert_eq!(context.run(add(request.clone())).res, -i64::from(errno), "{request:?}");
        }
    }
    for (n, first) in faults.iter().enumerate() {
        for second in faults.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, fault)| fault) {
            let request = second.1(first.1(Request::nop(0)));
            // Of one row the first in the request.
            let expected = if second.0 < first.0 { second.2 } else { first.2 };
            assert_eq!(context.run(request.clone()).res, -i64::from(expected), "{request:?}");
        }
    }
    Ok(())
}

pub(crate) fn empty_stream_gives_0(env: &Env<'_>) -> Outcome {
    let context = env.context();
    assert_eq!(context.submit_bytes(&mut []), Ok(0));
    context.assert_idle();
    Ok(())
}

pub(crate) fn failing_request_has_an_event_and_no_error(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut byte = [0];
    let mut batch = Batch::of([
        Request::read(-1, &mut byte).user_data(1),
        Request::call(libc::SYS_ptrace, &[0; 4]).user_data(2),
        Request::nop(3),
    ]);
    context.submit_all(&mut batch);
    let mut results: Vec<(u64, i64)> =
        context.reap(3).iter().map(|e| (e.user_data, e.res)).collect();
    results.sort_unstable();
    assert_eq!(results, [(1, -i64::from(EBADF)), (2, -i64::from(EOPNOTSUPP)), (3, 0)]);
    Ok(())
}

pub(crate) fn submission_does_not_sleep_for_operations_or_limits(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { max_requests: 3, concurrency: 1, ..setup() });
    let mut buffers = [[0; 8]; 4];
    let mut pipe = Pipe::new();
    let mut batch = Batch::new();
    for (n, buffer) in buffers.iter_mut().enumerate() {
        batch.push(&Request::read(pipe.read_fd(), buffer).user_data(n as u64));
    }
    // Nothing can be read, there is one worker, and room for three: it returns.
    assert_eq!(context.submit(&mut batch), Ok(batch.offset(3)));
    assert_eq!(errno(context.submit_bytes(batch.bytes_from(3))), Some(EAGAIN));
    pipe.writer.write_all(b"a").expect("the pipe has room");
    assert_eq!(context.reap(1)[0].res, 1);
    assert_eq!(context.submit_bytes(batch.bytes_from(3)), Ok(batch.bytes_from(3).len()));
    drop(pipe.writer);
    assert!(context.reap(3).iter().all(|e| e.res == 0), "the pipe's other end is closed");
    Ok(())
}

pub(crate) fn memory_of_the_stream_is_not_used_afterwards(env: &Env<'_>) -> Outcome {
    let context = env.one_worker();
    let mut busy = Busy::new();
    let mut batch = Batch::of([busy.request()]);
    let (_, file) = file_with(env, "stream", &[9; 64]);
    let mut buffers = [[0; 4]; 8];
    for (n, buffer) in buffers.iter_mut().enumerate() {
        let read = Request::pread(file.as_raw_fd(), buffer, n as u64).on_worker();
        let tag = (n as u64).to_ne_bytes();
        batch.push(
            &read
                .user_data(n as u64 + 1)
                .attr(attr::TAG, attr::AttrFlags::RETURN, &tag)
                .returns(attr::TIMING),
        );
    }
    context.submit_all(&mut batch);
    batch.bytes().fill(0xff);
    drop(batch);
    busy.release();
    let mut events = context.reap(9);
    events.sort_by_key(|e| e.user_data);
    for (event, n) in events.iter().zip(0..).skip(1) {
        assert_eq!((event.user_data, event.res), (n, 4));
        assert_eq!((event.status(attr::TAG), event.status(attr::TIMING)), (0, 0));
    }
    Ok(())
}

pub(crate) fn what_is_checked_is_what_is_run(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (ours, _peer) = socket_pair(libc::SOCK_STREAM);
    // SAFETY: asks for a number.
    let pid = unsafe { libc::getpid() };
    // SAFETY: takes three numbers.
    let result = unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETOWN, pid) };
    assert_eq!(result, 0);
    let allowed = libc::F_GETFD as u64;
    let excluded = libc::F_GETOWN as u64;
    let call = |command| Request::call(libc::SYS_fcntl, &[ours.as_raw_fd() as u64, command, 0]);
    assert_eq!(context.run(call(excluded)).res, -i64::from(EOPNOTSUPP), "it is excluded");

    let views = TwoViews::new();
    let mut stream = Batch::of([call(allowed)]);
    let len = stream.bytes().len();
    // SAFETY: `len` bytes fit into the page, which nothing else uses yet.
    unsafe { std::ptr::copy_nonoverlapping(stream.bytes().as_ptr(), views.addresses[0], len) };
    let done = AtomicBool::new(false);
    let mut seen = HashSet::new();
    std::thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            let views = &views;
            let command = views.addresses[1].wrapping_add(40).cast::<u64>();
            while !done.load(Ordering::Relaxed) {
                for value in [excluded, allowed] {
                    // SAFETY: the second argument, in the page, aligned.
                    unsafe { command.write_volatile(value) };
                }
            }
        });
        for _ in 0..2000 {
            // SAFETY: mapped, and changed only through the other address.
            let bytes = unsafe { std::slice::from_raw_parts_mut(views.addresses[0], len) };
            assert_eq!(context.submit_bytes(bytes), Ok(len));
            seen.insert(context.reap(1)[0].res);
        }
    });
    assert!(!seen.contains(&i64::from(pid)), "an excluded call was run");
    let expected = HashSet::from([i64::from(libc::FD_CLOEXEC), -i64::from(EOPNOTSUPP)]);
    assert!(seen.is_subset(&expected), "{seen:?}");
    Ok(())
}

pub(crate) fn what_is_not_allowed_is_not_supported_and_not_run(env: &Env<'_>) -> Outcome {
    let context = env.context();
    // SAFETY: takes and gives a number.
    let umask = unsafe { libc::umask(0o22) };
    // SAFETY: puts it back.
    unsafe { libc::umask(umask) };
    for (nr, args) in [
        (libc::SYS_umask, &[0o777][..]),
        (libc::SYS_exit_group, &[1]),
        (libc::SYS_exit, &[1]),
        (libc::SYS_fork, &[]),
        (libc::SYS_execve, &[0, 0, 0]),
        (libc::SYS_ioctl, &[0, 0, 0]),
        (libc::SYS_gettid, &[]),
        (libc::SYS_rt_sigprocmask, &[0, 0, 0, 8]),
        (libc::SYS_io_uring_setup, &[1, 0]),
        (libc::SYS_chdir, &[0]),
        (nr::IO_SETUP2.into(), &[0, 160]),
    ] {
        let event = context.run(Request::call(nr, args));
        assert_eq!(event.res, -i64::from(EOPNOTSUPP), "syscall {nr}");
    }
    // SAFETY: as above.
    let now = unsafe { libc::umask(umask) };
    assert_eq!(now, umask);
    Ok(())
}

pub(crate) fn excluded_arguments_are_not_supported(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mask = [0_u64; 1];
    let mask = mask.as_ptr().addr() as u64;
    let word = 0_u32;
    let word = (&raw const word).addr() as u64;
    for (name, nr, args) in [
        ("F_SETOWN", libc::SYS_fcntl, &[0, libc::F_SETOWN as u64, 0][..]),
        ("F_SETSIG", libc::SYS_fcntl, &[0, 10, 0]),
        ("F_NOTIFY", libc::SYS_fcntl, &[0, libc::F_NOTIFY as u64, 0]),
        ("F_SETLEASE", libc::SYS_fcntl, &[0, libc::F_SETLEASE as u64, 2]),
        ("FUTEX_LOCK_PI", libc::SYS_futex, &[word, libc::FUTEX_LOCK_PI as u64, 0, 0, 0, 0]),
        ("FUTEX_REQUEUE", libc::SYS_futex, &[word, libc::FUTEX_REQUEUE as u64, 0, 0, word, 0]),
        ("ppoll with a mask", libc::SYS_ppoll, &[0, 0, 0, mask, 8]),
        ("epoll_pwait with a mask", libc::SYS_epoll_pwait, &[0, 0, 0, 0, mask, 8]),
    ] {
        assert_eq!(context.run(Request::call(nr, args)).res, -i64::from(EOPNOTSUPP), "{name}");
    }
    Ok(())
}

/// close_range(2) can give the thread that calls it a table of descriptors of
/// its own: what a worker opened from then on would be nobody's.
pub(crate) fn thread_does_not_get_descriptors_of_its_own(env: &Env<'_>) -> Outcome {
    let context = env.one_worker();
    let unshare = libc::CLOSE_RANGE_UNSHARE.into();
    let high = u64::from(u32::MAX) - 1;
    let request = Request::call(libc::SYS_close_range, &[high, high, unshare]);
    let res = context.run(request.on_worker()).res;
    let pipe = Pipe::new();
    let new = Request::call(libc::SYS_dup, &[pipe.read_fd() as u64]).on_worker();
    let new = context.run(new).res as i32;
    assert!(new >= 0, "the worker knows the new pipe: {new}");
    // SAFETY: takes numbers; a descriptor that the request has opened.
    assert_eq!(unsafe { libc::close(new) }, 0, "it is the process that has it");
    assert_eq!(res, -i64::from(EOPNOTSUPP));
    Ok(())
}

pub(crate) fn wrong_number_of_arguments_is_einval(env: &Env<'_>) -> Outcome {
    let context = env.context();
    for (nr, right) in [(libc::SYS_getpid, 0), (libc::SYS_close, 1), (libc::SYS_lseek, 3)] {
        for wrong in (0..=6).filter(|n| *n != right) {
            // A descriptor that is none, should it run all the same.
            let event = context.run(Request::call(nr, &[u64::MAX; 6][..wrong]));
            assert_eq!(event.res, -i64::from(EINVAL), "syscall {nr} with {wrong}");
        }
    }
    assert_eq!(context.run(Request::new(op::NOP, &[0])).res, -i64::from(EINVAL));
    Ok(())
}

pub(crate) fn nop_gives_0(env: &Env<'_>) -> Outcome {
    let context = env.context();
    assert_eq!(context.run(Request::nop(5)).res, 0);
    assert_eq!(context.run(Request::nop(5).on_worker()).res, 0);
    Ok(())
}

pub(crate) fn multishot_where_there_is_none_is_not_supported(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut byte = [0];
    let pipe = Pipe::new();
    for request in [
        Request::nop(1),
        Request::read(pipe.read_fd(), &mut byte),
        Request::call(libc::SYS_getpid, &[]),
    ] {
        let event = context.run(request.flags(IocbFlags::MULTISHOT));
        assert_eq!(event.res, -i64::from(EOPNOTSUPP));
        assert!(event.is_terminal());
    }
    Ok(())
}

pub(crate) fn workers_are_at_most_the_concurrency_and_the_requests(env: &Env<'_>) -> Outcome {
    let before = proc_self("task").len();
    let context = env.context_with(Setup { concurrency: 3, ..setup() });
    let slow = Slow::new();
    let mut largest = 0;
    for n in 0..20 {
        context.submit_all(&mut Batch::of([slow.read().on_worker()]));
        let workers = proc_self("task").len() - before;
        assert!(workers <= 3.min(n + 1), "{workers} workers for {} requests", n + 1);
        largest = largest.max(workers);
    }
    assert!(largest >= 1, "the kernel of this test: {before} threads before");
    (0..20).for_each(|_| slow.finish());
    assert!(context.reap(20).iter().all(|e| e.res == 1));
    Ok(())
}

pub(crate) fn async_request_is_not_run_inline(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (_, file) = file_with(env, "async", &[1; 16]);
    let mut buffer = [0; 16];
    for request in [
        Request::pread(file.as_raw_fd(), &mut buffer, 0),
        Request::nop(1),
        Request::call(libc::SYS_getppid, &[]),
    ] {
        let event = context.run(request.on_worker().returns(attr::PATH));
        assert_ne!(event.place(), attr::PATH_INLINE, "{event:?}");
        assert!(event.res >= 0);
    }
    Ok(())
}

/// They run nothing, so that there is nothing to keep from the submission.
pub(crate) fn poll_and_group_end_within_the_call_with_async_too(env: &Env<'_>) -> Outcome {
    env.needs_op(op::POLL)?;
    env.needs_op(op::GROUP)?;
    env.needs_attr(attr::PRIORITY)?;
    let context = env.context();
    let pipe = Pipe::new();
    let poll = || Request::poll(pipe.write_fd(), libc::POLLOUT).returns(attr::PATH);
    let best_effort = [0, 0x40, 0, 0, 0, 0, 0, 0];
    let none = attr::AttrFlags::empty();
    for request in [poll().on_worker(), poll().attr(attr::PRIORITY, none, &best_effort)] {
        context.submit_these([request]);
        let events = context.reap_ring(1);
        assert_eq!(events.len(), 1, "it is there when the call returns");
        assert_eq!(events[0].res, i64::from(libc::POLLOUT));
        assert_eq!(events[0].place(), attr::PATH_INLINE);
    }
    let close = Request::close_group(7).user_data(2).on_worker();
    context.submit_these([Request::nop(1).in_group(7), close]);
    assert_eq!(context.reap_ring(2).len(), 2, "it is there when the call returns");
    Ok(())
}

pub(crate) fn operation_that_may_sleep_is_not_run_inline(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (pipe, polled) = (Pipe::new(), Pipe::new());
    let (left, right) = socket_pair(libc::SOCK_STREAM);
    let (_, file) = file_with(env, "sleeps", &[1; 16]);
    let (mut a, mut b) = ([0; 4], [0; 4]);
    let mut poll = libc::pollfd { fd: polled.read_fd(), events: libc::POLLIN, revents: 0 };
    let pause = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let socket = left.as_raw_fd() as u64;
    // None can end before something is written: were one run inline, the
    // submission would not return.
    let mut batch = Batch::of([
        Request::read(pipe.read_fd(), &mut a).user_data(1),
        Request::call(libc::SYS_poll, &[(&raw mut poll).addr() as u64, 1, u64::MAX]).user_data(2),
        Request::call(libc::SYS_recvfrom, &[socket, b.as_mut_ptr().addr() as u64, 4, 0, 0, 0])
            .user_data(3),
    ]);
    context.submit_all(&mut batch);
    assert_eq!(context.reap_ring(1), []);
    // These may sleep for a device or a time.
    let mut batch = Batch::of([
        Request::call(libc::SYS_fsync, &[file.as_raw_fd() as u64]).user_data(4).returns(attr::PATH),
        Request::call(libc::SYS_nanosleep, &[(&raw const pause).addr() as u64, 0])
            .user_data(5)
            .returns(attr::PATH),
    ]);
    context.submit_all(&mut batch);
    for event in context.reap(2) {
        assert_ne!(event.place(), attr::PATH_INLINE, "{event:?}");
        assert_eq!(event.res, 0);
    }
    (&pipe.writer).write_all(b"xxxx").expect("the pipe has room");
    (&polled.writer).write_all(b"z").expect("the pipe has room");
    File::from(right).write_all(b"yyyy").expect("the socket has room");
    let mut results: Vec<(u64, i64)> =
        context.reap(3).iter().map(|e| (e.user_data, e.res)).collect();
    results.sort_unstable();
    assert_eq!(results, [(1, 4), (2, 1), (3, 4)]);
    Ok(())
}

pub(crate) fn rest_of_a_transfer_goes_on_elsewhere_and_nothing_twice(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let pipe = Pipe::new();
    // More than a pipe holds: a part is moved inline, the rest as it is read.
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 3) as u8).collect();
    context.submit_all(&mut Batch::of([Request::write(pipe.write_fd(), &bytes)]));
    assert!(pipe.readable_bytes() > 0, "a part fits at once");
    let mut read = vec![0; bytes.len()];
    (&pipe.reader).read_exact(&mut read).expect("everything is written");
    assert_eq!(context.reap(1)[0].res, bytes.len() as i64, "as the plain call would give");
    assert!(read == bytes, "each byte once and in order");
    assert_eq!(pipe.readable_bytes(), 0);
    Ok(())
}

pub(crate) fn read_of_a_part_is_not_continued_without_full(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut pipe = Pipe::new();
    pipe.writer.write_all(b"abc").expect("the pipe has room");
    let mut buffer = [0; 8];
    assert_eq!(context.run(Request::read(pipe.read_fd(), &mut buffer)).res, 3);
    assert_eq!(&buffer[..3], b"abc");
    Ok(())
}

pub(crate) fn full_transfer_is_continued_to_its_end(env: &Env<'_>) -> Outcome {
    env.needs(Features::FULL)?;
    let context = env.context();
    let mut pipe = Pipe::new();
    let mut buffer = [0; 12];
    let full = Request::read(pipe.read_fd(), &mut buffer).flags(IocbFlags::FULL);
    context.submit_all(&mut Batch::of([full.clone()]));
    for part in [&b"abcd"[..], b"efgh"] {
        pipe.writer.write_all(part).expect("the pipe has room");
        crate::context::until("the part is taken", || pipe.readable_bytes() == 0);
        assert_eq!(context.reap_ring(1), [], "it is not full yet");
    }
    pipe.writer.write_all(b"ijkl").expect("the pipe has room");
    assert_eq!(context.reap(1)[0].res, 12);
    assert_eq!(&buffer, b"abcdefghijkl");
    // The data end.
    pipe.writer.write_all(b"mno").expect("the pipe has room");
    context.submit_all(&mut Batch::of([full]));
    drop(pipe.writer);
    assert_eq!(context.reap(1)[0].res, -i64::from(ENODATA));
    Ok(())
}

pub(crate) fn full_file_transfers_of_each_family(env: &Env<'_>) -> Outcome {
    env.needs(Features::FULL)?;
    let context = env.context();
    let (_, file) = file_with(env, "full", &[5; 100]);
    let mut buffer = [0; 100];
    let read = |context: &crate::context::Context, buffer: &mut [u8], offset| {
        let read = Request::pread(file.as_raw_fd(), buffer, offset);
        context.run(read.flags(IocbFlags::FULL)).res
    };
    assert_eq!(read(&context, &mut buffer, 0), 100);
    assert_eq!(read(&context, &mut buffer[..0], 0), 0);
    assert_eq!(read(&context, &mut buffer, 50), -i64::from(ENODATA));
    assert_eq!(read(&context, &mut buffer, 100), -i64::from(ENODATA));
    let parts = [
        libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 60 },
        libc::iovec { iov_base: buffer.as_mut_ptr().wrapping_add(60).cast(), iov_len: 40 },
    ];
    let args = [file.as_raw_fd() as u64, parts.as_ptr().addr() as u64, 2, 0, 0];
    let event = context.run(Request::call(libc::SYS_preadv, &args).flags(IocbFlags::FULL));
    assert_eq!(event.res, 100);
    let args = [file.as_raw_fd() as u64, parts.as_ptr().addr() as u64, 2, 1, 0];
    let event = context.run(Request::call(libc::SYS_preadv, &args).flags(IocbFlags::FULL));
    assert_eq!(event.res, -i64::from(ENODATA));
    Ok(())
}

pub(crate) fn full_of_what_takes_nothing_is_not_supported(env: &Env<'_>) -> Outcome {
    env.needs(Features::FULL)?;
    let context = env.context();
    let (left, mut right) = {
        let (left, right) = socket_pair(libc::SOCK_STREAM);
        (left, std::fs::File::from(right))
    };
    right.write_all(b"abc").expect("there is room");
    let mut buffer = [0_u8; 5];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeros is a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    let fd = left.as_raw_fd() as u64;
    let peek = libc::MSG_PEEK as u64;
    let receive = [fd, buffer.as_mut_ptr().expose_provenance() as u64, 5, peek, 0, 0];
    let from = [fd, (&raw mut message).expose_provenance() as u64, peek];
    for request in
        [Request::call(libc::SYS_recvfrom, &receive), Request::call(libc::SYS_recvmsg, &from)]
    {
        let full = context.run(request.clone().flags(IocbFlags::FULL));
        assert_eq!(full.res, -i64::from(EOPNOTSUPP));
        assert_eq!(context.run(request).res, 3, "without FULL it looks");
    }
    Ok(())
}

pub(crate) fn full_without_bytes_to_move_is_not_supported(env: &Env<'_>) -> Outcome {
    let context = env.context();
    for request in
        [Request::nop(1), Request::call(libc::SYS_getpid, &[]), Request::call(libc::SYS_dup, &[0])]
    {
        assert_eq!(context.run(request.flags(IocbFlags::FULL)).res, -i64::from(EOPNOTSUPP));
    }
    Ok(())
}

pub(crate) fn interrupted_request_is_restarted(env: &Env<'_>) -> Outcome {
    let _handler = Handler::install();
    let before: HashSet<String> = proc_self("task").into_iter().collect();
    let context = env.context();
    let mut pipe = Pipe::new();
    let mut buffer = [0; 1];
    context.submit_all(&mut Batch::of([Request::read(pipe.read_fd(), &mut buffer)]));
    for _ in 0..20 {
        for tid in proc_self("task").into_iter().filter(|tid| !before.contains(tid)) {
            signal_thread(tid.parse().expect("a number"));
        }
        std::thread::yield_now();
    }
    assert_eq!(context.reap_ring(1), [], "it goes on");
    pipe.writer.write_all(&[1]).expect("the pipe has room");
    assert_eq!(context.reap(1)[0].res, 1);
    Ok(())
}

pub(crate) fn nonblocking_descriptor_gives_eagain(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let pipe = Pipe::with_flags(libc::O_NONBLOCK);
    let (left, _right) = socket_pair(libc::SOCK_STREAM);
    let (busy, _peer) = socket_pair(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    let blocking = Pipe::new();
    let mut buffer = [0; 8];
    let address = buffer.as_mut_ptr().addr() as u64;
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 8 };
    let dontwait = libc::MSG_DONTWAIT as u64;
    let nowait = libc::RWF_NOWAIT as u64;
    let anywhere = u64::MAX;
    for (name, request) in [
        ("O_NONBLOCK", Request::call(libc::SYS_read, &[pipe.read_fd() as u64, address, 8])),
        (
            "SOCK_NONBLOCK",
            Request::call(libc::SYS_recvfrom, &[busy.as_raw_fd() as u64, address, 8, 0, 0, 0]),
        ),
        (
            "MSG_DONTWAIT",
            Request::call(
                libc::SYS_recvfrom,
                &[left.as_raw_fd() as u64, address, 8, dontwait, 0, 0],
            ),
        ),
        (
            "RWF_NOWAIT",
            Request::call(
                libc::SYS_preadv2,
                &[
                    blocking.read_fd() as u64,
                    (&raw const part).addr() as u64,
                    1,
                    anywhere,
                    anywhere,
                    nowait,
                ],
            ),
        ),
    ] {
        assert_eq!(context.run(request.clone()).res, -i64::from(EAGAIN), "{name}");
        assert_eq!(context.run(request.on_worker()).res, -i64::from(EAGAIN), "{name}, ASYNC");
    }
    Ok(())
}

pub(crate) fn id_is_written_back_before_the_call_returns(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut batch = Batch::of([
        Request::nop(1).flags(IocbFlags::WRITE_ID),
        Request::nop(2),
        Request::nop(3).flags(IocbFlags::WRITE_ID).on_worker(),
    ]);
    let before = batch.bytes().to_vec();
    context.submit_all(&mut batch);
    assert_ne!(batch.id(0), 0);
    assert_eq!(batch.id(1), 0, "it was not asked for");
    assert_ne!(batch.id(2), 0);
    assert_ne!(batch.id(0), batch.id(2));
    // Nothing else is written.
    let (first, third) = (24..32, batch.offset(2) + 24..batch.offset(2) + 32);
    for (n, (now, then)) in batch.bytes().iter().zip(&before).enumerate() {
        assert!(now == then || first.contains(&n) || third.contains(&n), "byte {n}");
    }
    assert_eq!(context.reap(3).len(), 3);
    // What stands in the field does not matter with the flag.
    let mut again = Batch::of([Request::nop(1).flags(IocbFlags::WRITE_ID)]);
    again.bytes()[24..32].fill(0xff);
    context.submit_all(&mut again);
    assert_ne!(again.id(0), u64::MAX);
    assert_eq!(context.reap(1).len(), 1);
    Ok(())
}

pub(crate) fn ids_are_not_0_and_not_given_again(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { max_requests: 8, ..setup() });
    let mut seen = HashSet::new();
    for round in 0..5000 {
        let mut batch = Batch::of((0..4).map(|n| Request::nop(n).flags(IocbFlags::WRITE_ID)));
        context.submit_all(&mut batch);
        for n in 0..4 {
            assert_ne!(batch.id(n), 0);
            assert!(seen.insert(batch.id(n)), "id {:#x} again in round {round}", batch.id(n));
        }
        assert_eq!(context.reap(4).len(), 4);
    }
    Ok(())
}

/// A thread waits, for more than will come, while others submit, cancel and wait: none
/// keeps another one waiting, and the requests of each are in its order.
pub(crate) fn any_threads_call_while_others_are_in_a_call(env: &Env<'_>) -> Outcome {
    const EACH: u64 = 200;
    const THREADS: u64 = 4;
    let context = env.context();
    // Waited for is one more than the threads have.
    let all = (THREADS * (EACH + 1)) as u32;
    let mut events = Vec::new();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| context.wait(&Wait::events(all + 1).within(patience())));
        let submitters: Vec<_> = (0..THREADS)
            .map(|thread| {
                let context = &context;
                scope.spawn(move || {
                    let name = |n| thread << 32 | n;
                    let (slow, mut buffer) = (Pipe::new(), [0; 8]);
                    let read = Request::read(slow.read_fd(), &mut buffer).user_data(name(EACH));
                    context.submit_all(&mut Batch::of([read]));
                    for n in (0..EACH).step_by(2) {
                        let two = [Request::nop(name(n)), Request::nop(name(n + 1))];
                        context.submit_all(&mut Batch::of(two));
                        assert_eq!(context.wait(&Wait::events(1).within(patience())), Ok(()));
                    }
                    let mut own = Cancel { user_data: name(EACH), ..Cancel::default() };
                    own.flags = (CancelFlags::USER_DATA | CancelFlags::WAIT).bits();
                    assert_eq!(context.backend().cancel(&mut own), Ok(1));
                })
            })
            .collect();
        for submitter in submitters {
            submitter.join().expect("a thread that submits");
        }
        assert!(!waiter.is_finished(), "one event is missing");
        context.submit_all(&mut Batch::of([Request::nop(u64::MAX)]));
        assert_eq!(waiter.join().expect("a thread that waits"), Ok(()));
        events = context.reap(all as usize + 1);
    });
    for thread in 0..THREADS {
        let own = events.iter().map(|e| e.user_data).filter(|data| data >> 32 == thread);
        let own: Vec<_> = own.map(|data| data & 0xffff_ffff).filter(|n| *n < EACH).collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>(), "thread {thread}");
    }
    context.assert_idle();
    Ok(())
}
