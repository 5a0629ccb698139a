//! A queue over an implementation whose calls are dear: it submits and waits in
//! one. And what multishot requests send.

mod common;

use aio2::error::{SubmitError, WaitError};
use aio2::flags::PollFlags;
use aio2::{Context, Errno, Op, Progress, Queue, SharedFd, Timeout};
use aio2_abi::setup::Setup;
use common::{Random, Stingy, at_random, pipe};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

type Bytes = Vec<u8>;

fn queue<T>(elsewhere: &Arc<Stingy>) -> Queue<Bytes, T> {
    Queue::new(elsewhere.context())
}

fn all() -> usize {
    usize::MAX
}

#[test]
fn a_wait_submits_in_the_same_call() {
    let elsewhere = Stingy::elsewhere(&Setup::default(), all);
    let mut queue = queue(&elsewhere);
    for n in 0..10 {
        queue.push(Op::nop().not_inline(), n);
        assert_eq!(queue.wait(1, Timeout::Forever).unwrap().next().unwrap().token, n);
        assert_eq!(elsewhere.calls(), (0, 1));
    }
    // More than one could wait for requests that are not accepted.
    queue.push(Op::nop(), 0);
    queue.push(Op::nop(), 1);
    assert_eq!(queue.wait(2, Timeout::Forever).unwrap().count(), 2);
    assert_eq!(elsewhere.calls().0, 1);
}

#[test]
fn a_wait_of_one_call_ends_when_its_time_is_over() {
    let elsewhere = Stingy::elsewhere(&Setup::default(), all);
    let mut queue = queue(&elsewhere);
    let (reader, writer) = pipe();
    queue.push(Op::read(reader, vec![0; 4]), ());
    let soon = Timeout::After(Duration::from_millis(5));
    assert_eq!(queue.wait(1, soon).unwrap().count(), 0);
    assert_eq!((queue.queued(), queue.in_flight()), (0, 1));
    File::from(writer).write_all(b"four").unwrap();
    assert_eq!(queue.wait(1, Timeout::Forever).unwrap().next().unwrap().result, Ok(4));
}

#[test]
fn a_wait_of_one_call_does_not_wait_for_what_is_not_accepted() {
    for seed in 0..40 {
        let setup = Setup { max_requests: 1 + seed as u32 % 3, ..Setup::default() };
        let elsewhere = Stingy::elsewhere(&setup, at_random(seed));
        let mut queue = queue(&elsewhere);
        let mut random = Random(seed);
        let (mut pushed, mut ended) = (0, 0);
        while ended < 300 {
            for _ in 0..random.below(8).min(300 - pushed) {
                queue.push(Op::nop().not_inline(), ());
                pushed += 1;
            }
            match queue.wait(random.below(9) as usize, Timeout::Forever) {
                Ok(done) => ended += done.inspect(|d| assert_eq!(d.result, Ok(0))).count(),
                // None of them, this time, and nothing is in flight.
                Err(WaitError::Submit(error)) if error.is_full() => {}
                Err(error) => panic!("seed {seed}: {error}"),
            }
            assert_eq!(queue.len() + ended, pushed as usize, "seed {seed}");
        }
    }
}

#[test]
fn a_malformed_request_behind_others_is_told_by_a_wait_of_one_call() {
    let elsewhere = Stingy::elsewhere(&Setup::default(), all);
    let mut queue = queue(&elsewhere);
    let malformed = || {
        let flags = aio2_abi::attr::AttrFlags::from_bits_retain(1 << 30);
        // SAFETY: an attribute that no implementation takes.
        unsafe { Op::nop().attr_raw(60, flags, &[]) }
    };
    queue.push(Op::nop(), "good");
    queue.push(malformed(), "bad");
    let error = queue.wait(1, Timeout::Forever).map(drop).unwrap_err();
    assert!(matches!(error, WaitError::Submit(SubmitError::Malformed { index: 1, .. })), "{error}");
    let mut ends: Vec<_> =
        queue.wait(2, Timeout::Forever).unwrap().map(|d| (d.token, d.result)).collect();
    ends.sort_unstable_by_key(|end| end.0);
    assert_eq!(ends, [("bad", Err(Errno(libc::EINVAL))), ("good", Ok(0))]);
}

/// SPEC: R-LIMIT-1
#[test]
fn a_queue_tells_the_limit_of_its_context_from_others() {
    let has_room = Arc::new(AtomicUsize::new(2));
    let setup = Setup { max_requests: 2, ..Setup::default() };
    let elsewhere = Stingy::elsewhere(&setup, {
        let has_room = has_room.clone();
        move || has_room.load(Ordering::Relaxed)
    });
    let mut queue = queue(&elsewhere);
    let (reader, _writer) = pipe();
    let reader = SharedFd::new(reader);
    for _ in 0..3 {
        queue.push(Op::read(&reader, vec![0; 4]), ());
    }
    has_room.store(0, Ordering::Relaxed);
    assert_eq!(queue.submit(), Err(SubmitError::NoRoom), "none is in flight");
    has_room.store(2, Ordering::Relaxed);
    assert_eq!(queue.submit(), Ok(2));
    assert_eq!(queue.submit(), Err(SubmitError::LimitReached { max_requests: 2 }));
    assert_eq!(queue.len(), 3);
}

/// SPEC: R-OP-6
#[test]
fn a_multishot_request_is_told_each_time_and_ends_once() {
    let (reader, writer) = pipe();
    let (reader, mut writer) = (File::from(reader), File::from(writer));
    let watched = SharedFd::from(reader.try_clone().unwrap());
    let mut queue: Queue<Bytes, u32> = Queue::new(Context::new().unwrap());
    let poll = Op::poll(&watched, PollFlags::IN).multishot();
    let key = queue.push(poll, 0);
    for n in 1..=5 {
        writer.write_all(b"x").unwrap();
        queue.wait(1, Timeout::Forever).unwrap();
        match queue.pop_any().unwrap() {
            Some(Progress::More { key: of, token, result }) => {
                assert_eq!((of, *token, result), (key, n - 1, Ok(libc::POLLIN as u64)));
                *token = n;
            }
            other => panic!("{other:?}"),
        }
        (&reader).read_exact(&mut [0]).unwrap();
        assert_eq!((queue.in_flight(), queue.len()), (1, 1), "it goes on");
    }
    // Who asks for completions only gets those, in time.
    writer.write_all(b"x").unwrap();
    queue.push(Op::nop(), 100);
    while queue.len() > 1 {
        queue.wait(1, Timeout::Forever).unwrap().for_each(|done| assert_eq!(done.token, 100));
    }
    queue.cancel(key).unwrap();
    while !queue.is_empty() {
        let ends = queue.wait(1, Timeout::Forever).unwrap().map(|done| (done.token, done.result));
        assert!(ends.into_iter().all(|end| end == (5, Err(Errno(libc::ECANCELED)))));
    }
    assert!(queue.pop_any().unwrap().is_none());
}
