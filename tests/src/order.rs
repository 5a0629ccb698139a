//! Events: one for each request, what it carries, in which order.
//! SPEC: section 7.

use crate::env::{Env, Outcome, setup};
use crate::file::{Busy, Pipe, file_with};
use crate::request::{Batch, Request};
use aio2_abi::attr;
use aio2_abi::event;
use aio2_abi::setup::Setup;
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::AsRawFd;

pub(crate) fn each_request_has_exactly_one_terminal_event(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { ring_bytes: 4096, ..setup() });
    let (_, file) = file_with(env, "once", &[4; 4096]);
    let mut buffers = vec![[0; 16]; 300];
    let mut batch = Batch::new();
    for (n, buffer) in buffers.iter_mut().enumerate() {
        let fd = file.as_raw_fd();
        let request = match n % 6 {
            0 => Request::nop(0),
            1 => Request::nop(0).on_worker(),
            2 => Request::pread(fd, buffer, n as u64),
            3 => Request::pread(fd, buffer, n as u64).on_worker(),
            4 => Request::read(-1, buffer),
            _ => Request::call(libc::SYS_ptrace, &[0; 4]),
        };
        batch.push(&request.user_data(n as u64));
    }
    context.submit_all(&mut batch);
    let mut count = HashMap::new();
    for event in context.reap(300) {
        assert!(event.is_terminal());
        assert_eq!(event.flags & !event::EventFlags::all().bits(), 0);
        *count.entry(event.user_data).or_insert(0) += 1;
    }
    assert!((0..300).all(|n| count.get(&n) == Some(&1)), "{count:?}");
    context.assert_idle();
    Ok(())
}

pub(crate) fn user_data_is_that_of_the_request(env: &Env<'_>) -> Outcome {
    let context = env.context();
    for user_data in [0, 1, u64::from(u32::MAX), 1 << 32, 1 << 63, u64::MAX] {
        assert_eq!(context.run(Request::nop(user_data)).user_data, user_data);
        assert_eq!(context.run(Request::nop(user_data).on_worker()).user_data, user_data);
    }
    // It need not be unique.
    context.submit_all(&mut Batch::of((0..5).map(|_| Request::nop(3))));
    assert!(context.reap(5).iter().all(|e| e.user_data == 3));
    Ok(())
}

pub(crate) fn result_has_64_bits(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let (_, file) = file_with(env, "large", b"x");
    let far = 5 << 32;
    file.set_len(far).expect("a sparse file");
    let fd = file.as_raw_fd() as u64;
    let seek = Request::call(libc::SYS_lseek, &[fd, far - 1, libc::SEEK_SET as u64]);
    assert_eq!(context.run(seek).res, far as i64 - 1);
    let end = Request::call(libc::SYS_lseek, &[fd, 0, libc::SEEK_END as u64]);
    assert_eq!(context.run(end).res, far as i64);
    // An error is its number, negated.
    let bad = Request::call(libc::SYS_lseek, &[u64::MAX, 0, 0]);
    assert_eq!(context.run(bad).res, -i64::from(libc::EBADF));
    Ok(())
}

pub(crate) fn length_is_a_multiple_of_8_within_bounds(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let max = env.probe().event_max;
    let mut request = Request::nop(0);
    for id in 1..=attr::ID_MAX {
        request = request.attr(id, attr::AttrFlags::RETURN, &[]);
        let event = context.run(request.clone());
        assert!(event.len.is_multiple_of(8) && (24..=max).contains(&event.len), "{event:?}");
        let returns: usize = event.returns.iter().map(|r| 8 + r.2.len()).sum();
        assert_eq!(event.len as usize, 24 + returns);
    }
    assert_eq!(context.run(Request::nop(0)).len, 24);
    Ok(())
}

pub(crate) fn flags_mean_the_same_for_each_operation(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut byte = [0];
    let pipe = Pipe::new();
    (&pipe.writer).write_all(&[1]).expect("the pipe has room");
    for request in [
        Request::nop(1),
        Request::nop(1).on_worker(),
        Request::read(pipe.read_fd(), &mut byte),
        Request::read(-1, &mut byte),
        Request::call(libc::SYS_getpid, &[]),
        Request::call(libc::SYS_ptrace, &[0; 4]),
    ] {
        // None of them is multishot: the one event is the last one, and has no
        // flag but the one of those that are refused.
        let event = context.run(request);
        assert_eq!(event.flags & !event::EventFlags::NOT_STARTED.bits(), 0);
        assert!(!event.never_began() || event.res == -i64::from(libc::EOPNOTSUPP));
    }
    Ok(())
}

pub(crate) fn events_are_published_in_the_order_of_completion(env: &Env<'_>) -> Outcome {
    let context = env.one_worker();
    let mut busy = Busy::new();
    context.submit_all(&mut Batch::of([
        busy.request().user_data(1),
        Request::nop(2).on_worker(),
        Request::nop(3),
    ]));
    busy.wait_started();
    assert_eq!(context.reap(1)[0].user_data, 3, "it completed first");
    context.submit_all(&mut Batch::of([Request::nop(4)]));
    busy.release();
    let order: Vec<u64> = context.reap(3).iter().map(|e| e.user_data).collect();
    assert_eq!(order, [4, 1, 2], "one worker runs one after the other");
    Ok(())
}

pub(crate) fn unknown_flags_and_returns_can_be_ignored(env: &Env<'_>) -> Outcome {
    // What a later implementation may send, read by the parser of this one.
    let mut buffer = [0; 128];
    let flags = event::EventFlags::from_bits_retain(1 << 31 | 1 << 7);
    let mut encoder = event::Encoder::new(&mut buffer, flags, 5, 6).expect("there is room");
    encoder.ret(60, 0, &[1; 16]).expect("there is room");
    encoder.ret(attr::TIMING, 0, &[2; 40]).expect("there is room");
    let bytes = encoder.finish();
    let (event, _) = event::EventView::parse(bytes).expect("it is an event");
    assert!(event.is_last(), "MORE is not among them");
    let timing: Option<attr::TimingReturn> = event.payload(attr::TIMING);
    assert_eq!(timing.map(|t| t.submitted), Some(0x0202_0202_0202_0202), "its known part");
    assert_eq!(event.returns().count(), 2);
    assert!(env.probe().version == 1);
    Ok(())
}
