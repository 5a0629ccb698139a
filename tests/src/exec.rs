//! `io_exec2`: one request, run by the caller. SPEC: section 4.5.

use crate::context::{Context, Event};
use crate::env::{Env, Outcome, setup};
use crate::file::{Pipe, file_with};
use crate::request::{Batch, Request};
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::setup::{Features, Setup};
use libc::{E2BIG, EBADF, EINVAL, ENOBUFS, EOPNOTSUPP};
use std::os::fd::AsRawFd;

fn exec_bytes(context: &Context, iocb: &mut [u8], room: usize) -> Result<Event, Option<i32>> {
    let mut event = vec![0xee_u8; room];
    // SAFETY: tests keep what the arguments name as long as this call runs.
    let bytes = unsafe { context.backend().exec(iocb, &mut event) }.map_err(|e| Some(e.0))?;
    let mut events = Event::parse_all(&event[..bytes]);
    assert_eq!(events.len(), 1);
    assert!(event[bytes..].iter().all(|b| *b == 0xee), "nothing is written behind the event");
    Ok(events.remove(0))
}

fn exec(context: &Context, request: Request) -> Event {
    exec_bytes(context, Batch::of([request]).bytes(), 1024).expect("it is run")
}

pub(crate) fn request_is_run_as_an_asynchronous_one_is(env: &Env<'_>) -> Outcome {
    env.needs(Features::EXEC)?;
    let context = env.context();
    let (_, file) = file_with(env, "exec", b"0123456789");
    let mut buffer = [0; 10];
    let event = exec(
        &context,
        Request::pread(file.as_raw_fd(), &mut buffer, 2)
            .user_data(77)
            .returns(attr::CHECKSUM)
            .returns(attr::TIMING),
    );
    assert_eq!((event.user_data, event.res, &buffer[..8]), (77, 8, &b"23456789"[..]));
    assert_eq!(event.payload::<attr::ChecksumReturn>(attr::CHECKSUM).bytes, 8);
    assert_eq!(event.status(attr::TIMING), 0);
    assert_eq!(exec(&context, Request::nop(1)).res, 0);
    // The same checks.
    let refused = |request| -exec(&context, request).res;
    assert_eq!(refused(Request::read(-1, &mut buffer)), i64::from(EBADF));
    assert_eq!(refused(Request::call(libc::SYS_ptrace, &[0; 4])), i64::from(EOPNOTSUPP));
    assert_eq!(refused(Request::call(libc::SYS_close, &[])), i64::from(EINVAL));
    assert_eq!(refused(Request::nop(1).flags(IocbFlags::FULL)), i64::from(EOPNOTSUPP));
    let excluded = [0, libc::F_SETOWN as u64, 0];
    assert_eq!(refused(Request::call(libc::SYS_fcntl, &excluded)), i64::from(EOPNOTSUPP));
    let required = Request::nop(1).attr(40, attr::AttrFlags::REQUIRED, &[]);
    assert_eq!(refused(required), i64::from(EOPNOTSUPP));
    context.assert_idle();
    Ok(())
}

pub(crate) fn groups_and_order_are_not_supported(env: &Env<'_>) -> Outcome {
    env.needs(Features::EXEC)?;
    let context = env.context();
    let group = Request::new(op::GROUP, &[1]);
    assert_eq!(exec(&context, group).res, -i64::from(EOPNOTSUPP));
    for (id, payload) in [(attr::GROUP, &[0; 8][..]), (attr::AFTER, &[0; 16])] {
        let flags = attr::AttrFlags::REQUIRED | attr::AttrFlags::RETURN;
        let event = exec(&context, Request::nop(1).attr(id, flags, payload));
        assert_eq!((event.res, event.status(id)), (-i64::from(EOPNOTSUPP), -EOPNOTSUPP));
    }
    Ok(())
}

pub(crate) fn caller_sleeps_for_an_operation_that_does(env: &Env<'_>) -> Outcome {
    env.needs(Features::EXEC)?;
    let context = env.context();
    let pipe = Pipe::new();
    let mut buffer = [0; 3];
    std::thread::scope(|scope| {
        let read = Request::read(pipe.read_fd(), &mut buffer);
        let context = &context;
        let caller = scope.spawn(move || exec(context, read).res);
        std::thread::yield_now();
        std::io::Write::write_all(&mut (&pipe.writer), b"abc").expect("the pipe has room");
        assert_eq!(caller.join().expect("the thread ends"), 3);
    });
    assert_eq!(&buffer, b"abc");
    Ok(())
}

pub(crate) fn buffer_too_small_gives_enobufs_before_anything_is_run(env: &Env<'_>) -> Outcome {
    env.needs(Features::EXEC)?;
    let context = env.context();
    let pipe = Pipe::new();
    let mut batch = Batch::of([Request::write(pipe.write_fd(), b"x").returns(attr::TIMING)]);
    for room in [0, 8, 24, 32, 55] {
        let result = exec_bytes(&context, batch.bytes(), room);
        assert_eq!(result, Err(Some(ENOBUFS)), "{room} bytes");
        assert_eq!(pipe.readable_bytes(), 0, "it was not run");
    }
    let event = exec_bytes(&context, batch.bytes(), 56).expect("56 bytes are enough");
    assert_eq!((event.res, event.len, pipe.readable_bytes()), (1, 56, 1));
    Ok(())
}

pub(crate) fn bytes_must_be_those_of_one_iocb(env: &Env<'_>) -> Outcome {
    env.needs(Features::EXEC)?;
    let context = env.context();
    let pipe = Pipe::new();
    let write = Request::write(pipe.write_fd(), b"x");
    let mut two = Batch::of([write.clone(), write]);
    let first = two.offset(1);
    assert_eq!(exec_bytes(&context, two.bytes(), 1024), Err(Some(EINVAL)));
    assert_eq!(exec_bytes(&context, &mut two.bytes()[..first + 8], 1024), Err(Some(EINVAL)));
    for bytes in [0, 8, 24, 32, first - 8] {
        let result = exec_bytes(&context, &mut two.bytes()[..bytes], 1024);
        assert_eq!(result, Err(Some(EINVAL)), "{bytes} bytes");
    }
    assert_eq!(pipe.readable_bytes(), 0, "nothing was run");
    assert!(exec_bytes(&context, &mut two.bytes()[..first], 1024).is_ok());
    // Malformed: the error of its table, and before ENOBUFS.
    two.bytes()[..4].copy_from_slice(&1032_u32.to_ne_bytes());
    assert_eq!(exec_bytes(&context, &mut two.bytes()[..first], 0), Err(Some(E2BIG)));
    Ok(())
}

pub(crate) fn it_needs_no_room_in_the_context(env: &Env<'_>) -> Outcome {
    env.needs(Features::EXEC)?;
    let context = env.context_with(Setup { max_requests: 1, ring_bytes: 4096, ..setup() });
    let mut submitted = 0;
    while context.submit(&mut Batch::of([Request::nop(0)])).is_ok() {
        submitted += 1;
    }
    assert_eq!(exec(&context, Request::nop(5)).user_data, 5);
    assert_eq!(context.reap(submitted).len(), submitted);
    context.assert_idle();
    Ok(())
}
