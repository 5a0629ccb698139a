//! The queue: what a request owns comes back, once, with what it was asked.

mod common;

use aio2::error::{CancelError, SubmitError};
use aio2::flags::PollFlags;
use aio2::reap::Place;
use aio2::{
    Attribute, Buffer, CacheHint, Cancelled, Completion, Context, Errno, Op, Prefer, Priority,
    Queue, SharedFd, Timeout,
};
use aio2_abi::attr;
use common::pipe;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A queue over the engine's defaults.
fn queue<B: Buffer, T>() -> Queue<B, T> {
    Queue::new(Context::new().unwrap())
}

/// The completion of one operation.
fn run<B: Buffer, K>(queue: &mut Queue<B, ()>, op: Op<B, K>) -> Completion<B, ()> {
    queue.push(op, ());
    queue.wait(1, Timeout::Forever).unwrap().next().expect("it waited for one")
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_buffer_comes_back_with_the_data_and_at_its_address() {
    let mut queue = queue();
    let buffer = vec![0; 8];
    let address = buffer.as_ptr();
    let done = run(&mut queue, Op::read_at(file_of(b"0123456789"), buffer, 2));
    assert_eq!(done.result, Ok(8));
    let buffer: Vec<u8> = done.into_buffer().unwrap();
    assert_eq!((buffer.as_slice(), buffer.as_ptr()), (b"23456789".as_slice(), address));
}

/// A buffer that tells when it is freed, and with what in it.
struct Watched {
    bytes: Vec<u8>,
    freed: Arc<AtomicBool>,
    last: Arc<Mutex<Vec<u8>>>,
}

// SAFETY: as for the vector.
unsafe impl Buffer for Watched {
    fn content(&self) -> &[u8] {
        &self.bytes
    }

    fn room(&mut self) -> Option<std::ptr::NonNull<[u8]>> {
        Some(std::ptr::NonNull::from(&mut self.bytes[..]))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.last.lock().unwrap().clone_from(&self.bytes);
        self.freed.store(true, Ordering::SeqCst);
    }
}

// SPEC: R-LIFE-2
#[test]
fn drop_waits_for_a_read_in_flight() {
    let (freed, last) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<_>>::default());
    let (reading, writing) = pipe();
    let mut writing = File::from(writing);
    let mut queue = queue();
    let bytes = vec![0; 4];
    let watched = Watched { bytes, freed: freed.clone(), last: last.clone() };
    queue.push(Op::read(reading, watched), ());
    assert_eq!(queue.submit(), Ok(1));
    std::thread::scope(|scope| {
        let dropper = scope.spawn(move || drop(queue));
        // A read that runs cannot be interrupted everywhere: feed it.
        let _ = writing.write(b"late");
        dropper.join().unwrap();
    });
    assert!(freed.load(Ordering::SeqCst));
    let last = last.lock().unwrap();
    assert!(*last == b"late" || *last == [0; 4], "{last:?}");
}

#[test]
fn a_leaked_queue_leaks_its_buffers() {
    let freed = Arc::new(AtomicBool::new(false));
    let (reading, writing) = pipe();
    let mut queue = queue();
    let watched = Watched { bytes: vec![0; 4], freed: freed.clone(), last: Arc::default() };
    queue.push(Op::read(reading, watched), ());
    queue.submit().unwrap();
    std::mem::forget(queue);
    File::from(writing).write_all(b"late").unwrap();
    assert!(!freed.load(Ordering::SeqCst));
}

// SPEC: R-LIMIT-1, R-LIMIT-4, R-OVF-5
#[test]
fn a_limit_loses_nothing() {
    let context = Context::builder().ring_bytes(4096).max_requests(4).build().unwrap();
    let mut queue = Queue::<(), u32>::new(context);
    for token in 0..1000 {
        queue.push(Op::nop(), token);
    }
    let first = queue.submit().unwrap();
    assert!(first < 1000, "the limit was reached");
    assert_eq!((queue.queued(), queue.in_flight()), (1000 - first, first));
    assert_eq!(queue.submit(), Err(SubmitError::LimitReached { max_requests: 4 }));
    assert_eq!(queue.len(), 1000);
    let mut tokens = Vec::new();
    while !queue.is_empty() {
        tokens.extend(queue.wait(1, Timeout::Forever).unwrap().map(|done| done.token));
    }
    assert_eq!(tokens, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_wait_that_is_over_brings_what_is_there() {
    let mut queue = queue::<Vec<u8>, u32>();
    let (reading, _writing) = pipe();
    queue.push(Op::read(reading, vec![0; 1]), 1);
    queue.push(Op::nop(), 2);
    let timeout = Timeout::After(std::time::Duration::from_millis(1));
    let tokens: Vec<_> = queue.wait(2, timeout).unwrap().map(|done| done.token).collect();
    assert_eq!(tokens, [2]);
    assert_eq!(queue.wait(1, timeout).unwrap().count(), 0);
    drop(_writing);
    assert_eq!(queue.wait(5, Timeout::Forever).unwrap().count(), 1, "no more than there can be");
    assert_eq!(queue.wait(1, Timeout::Forever).unwrap().count(), 0, "nothing to wait for");
}

#[test]
fn a_request_that_is_queued_is_cancelled_at_once() {
    let mut queue = queue::<(), u32>();
    let keys: Vec<_> = (0..3).map(|token| queue.push(Op::nop(), token)).collect();
    assert_eq!(queue.cancel(keys[1]), Ok(Cancelled::NotStarted));
    assert_eq!(queue.cancel(keys[1]), Err(CancelError::NotFound));
    let mut results: Vec<_> =
        queue.wait(3, Timeout::Forever).unwrap().map(|done| (done.token, done.result)).collect();
    results.sort_by_key(|&(token, _)| token);
    assert_eq!(results, [(0, Ok(0)), (1, Err(Errno(libc::ECANCELED))), (2, Ok(0))]);
    assert_eq!(queue.cancel(keys[0]), Err(CancelError::NotFound));
}

#[test]
fn cancel_all_ends_what_waits_behind_a_worker() {
    let context = Context::builder().concurrency(1).build().unwrap();
    let mut queue = Queue::new(context);
    let (reading, writing) = pipe();
    let reading = SharedFd::new(reading);
    for token in 0..10 {
        queue.push(Op::read(&reading, vec![0; 1]), token);
    }
    assert_eq!(queue.submit(), Ok(10));
    queue.push(Op::nop(), 10);
    queue.cancel_all().unwrap();
    // The first may run, and not be interruptible.
    drop(writing);
    let results: Vec<_> =
        queue.wait(11, Timeout::Forever).unwrap().map(|done| done.result).collect();
    assert_eq!(results.len(), 11);
    let cancelled = results.iter().filter(|&&r| r == Err(Errno(libc::ECANCELED))).count();
    assert!(cancelled >= 10, "{results:?}");
}

#[test]
fn answers_come_by_type() {
    let mut queue = queue();
    let op = Op::read_at(file_of(b"123456789"), vec![0; 16], 0);
    let op = op.timing().execution_path().cache(CacheHint::Keep).checksum().tag(7);
    let done = run(&mut queue, op);
    let timing = done.timing().handled().unwrap();
    assert!(timing.submitted_ns <= timing.started_ns && timing.started_ns <= timing.completed_ns);
    assert_eq!(timing.total(), timing.waited() + timing.ran());
    let cache = done.cache().handled().unwrap();
    assert_eq!(cache.hit + cache.miss, 9);
    let checksum = done.checksum().handled().unwrap();
    assert_eq!((checksum.crc32c, checksum.bytes), (0xe306_9283, 9), "the check value of CRC-32C");
    assert!(done.execution_path().handled().is_some());
    assert_eq!(done.attribute(attr::TAG), Attribute::Handled(&[][..]));
}

// SPEC: R-ATTR-2, R-ATTR-4, R-ATTR-5
#[test]
fn each_status_of_an_attribute_is_told_apart() {
    let mut queue = queue();
    // SAFETY: no payload, so no address.
    let op = unsafe { Op::nop().attr_raw(60, attr::AttrFlags::RETURN, &[]) }.checksum();
    let done = run(&mut queue, op);
    assert_eq!(done.result, Ok(0));
    assert_eq!(done.attribute(60), Attribute::NotSupported);
    assert_eq!(done.checksum(), Attribute::NotSupported, "a nop moves no bytes");
    assert_eq!(done.timing(), Attribute::NotAsked);

    // SAFETY: a checksum's payload holds no address.
    let bad = unsafe { Op::nop().attr_raw(attr::CHECKSUM, attr::AttrFlags::RETURN, &[9; 8]) };
    let status = run(&mut queue, bad).checksum();
    assert_eq!(status, Attribute::Failed(Errno(libc::EINVAL)));

    let (_, writing) = pipe();
    let failing = Op::read_at(writing, vec![0; 4], 0).cache(CacheHint::Normal);
    let done = run(&mut queue, failing);
    assert!(done.result.is_err());
    assert_eq!(done.cache(), Attribute::NoData);
}

// SPEC: R-ATTR-3
#[test]
fn a_required_attribute_that_is_unknown_fails_the_request() {
    let mut queue = queue::<(), ()>();
    // SAFETY: no payload, so no address.
    let op = unsafe { Op::nop().timing().attr_raw(60, attr::AttrFlags::RETURN, &[]) };
    let done = run(&mut queue, op.required());
    assert_eq!(done.result, Err(Errno(libc::EOPNOTSUPP)));
    assert_eq!(done.attribute(60), Attribute::NotSupported);
    assert_eq!(run(&mut queue, Op::nop().timing().required()).result, Ok(0));
}

#[test]
fn a_priority_is_an_attribute_like_any_other() {
    let mut queue = queue();
    let op = Op::read_at(file_of(b"x"), vec![0; 1], 0).priority(Priority::BestEffort(7));
    let done = run(&mut queue, op);
    assert_eq!(done.result, Ok(1));
    assert!(matches!(
        done.attribute(attr::PRIORITY),
        Attribute::Handled(_) | Attribute::NotSupported
    ));
}

// SPEC: R-RUN-2
#[test]
fn a_request_kept_from_the_submission_runs_elsewhere() {
    let mut queue = queue();
    let done =
        run(&mut queue, Op::read_at(file_of(b"x"), vec![0; 1], 0).not_inline().execution_path());
    let place = done.execution_path().handled().unwrap().place;
    assert_ne!(place, Place::Inline);
}

// SPEC: R-SUBMIT-1, R-IOCB-8
#[test]
fn a_malformed_request_fails_alone() {
    let mut queue = queue::<(), u32>();
    queue.push(Op::nop(), 0);
    // SAFETY: no payload, so no address.
    queue.push(
        unsafe { Op::nop().timing().attr_raw(attr::TIMING, attr::AttrFlags::RETURN, &[]) },
        1,
    );
    queue.push(Op::nop(), 2);
    match queue.submit() {
        Err(SubmitError::Malformed { index: 1, offset: 32, reason: Some(_), errno }) => {
            assert_eq!(errno, Errno(libc::EINVAL));
        }
        other => panic!("{other:?}"),
    }
    let mut results: Vec<_> =
        queue.wait(3, Timeout::Forever).unwrap().map(|done| (done.token, done.result)).collect();
    results.sort_by_key(|&(token, _)| token);
    assert_eq!(results, [(0, Ok(0)), (1, Err(Errno(libc::EINVAL))), (2, Ok(0))]);
}

#[test]
fn attributes_that_fit_into_no_iocb_fail_the_request() {
    let mut queue = queue::<(), ()>();
    // SAFETY: the implementation does not know the attribute, nor gets it.
    let long = unsafe { Op::nop().attr_raw(60, attr::AttrFlags::RETURN, &[0; 2000]) };
    assert_eq!(run(&mut queue, long).result, Err(Errno(libc::E2BIG)));
}

#[test]
fn an_operation_that_came_back_can_be_pushed_again() {
    let mut queue = queue();
    let mut file = file_of(b"ab");
    file.seek(SeekFrom::Start(0)).unwrap();
    let first = run(&mut queue, Op::read(file, vec![0; 1]).timing());
    assert_eq!(first.op.buffer().unwrap().as_slice(), b"a");
    let second = run(&mut queue, first.op);
    assert_eq!(second.op.buffer().unwrap().as_slice(), b"b");
    assert!(second.timing().handled().is_some());
}

/// SPEC: R-EVENT-7
#[test]
fn a_close_that_never_began_leaves_its_descriptor_to_the_completion() {
    let mut queue = queue::<Vec<u8>, ()>();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let done = run(&mut queue, Op::close(reader).full());
    assert!(done.never_began());
    assert_eq!(done.result, Err(Errno(libc::EOPNOTSUPP)));
    writer.write_all(b"x").expect("it is open still");
    drop(done);
    let error = writer.write_all(b"x").expect_err("it went with its completion");
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
}

/// SPEC: R-EVENT-7
#[test]
fn a_close_that_began_has_taken_its_descriptor() {
    let mut queue = queue::<Vec<u8>, ()>();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let done = run(&mut queue, Op::close(reader));
    assert!(!done.never_began());
    assert_eq!(done.result, Ok(0));
    assert!(writer.write_all(b"x").is_err());
}

/// SPEC: R-OVF-8
#[test]
fn a_limit_is_told_from_a_lack_of_room_while_a_multishot_request_floods() {
    let context = Context::builder().prefer(Prefer::Engine).ring_bytes(4096).max_requests(8);
    let mut queue: Queue<Vec<u8>, u8> = Queue::new(context.build().unwrap());
    let (reader, mut writer) = std::io::pipe().unwrap();
    let poll = Op::poll(std::os::fd::OwnedFd::from(reader), PollFlags::IN).multishot();
    queue.push(poll, 0);
    queue.submit().unwrap();
    for _ in 0..400 {
        writer.write_all(b"x").unwrap();
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    // Seven are below the limit by the queue's own count, and are accepted.
    for token in 1..8 {
        queue.push(Op::nop(), token);
        assert_eq!(queue.submit(), Ok(1), "{} are in flight", queue.in_flight());
    }
}

/// Its place is used again at once, by a request that waits: an old key must not meet it.
#[test]
fn a_key_of_what_has_ended_meets_no_request_in_its_place() {
    let mut queue: Queue<Vec<u8>, &str> = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reader = SharedFd::new(std::os::fd::OwnedFd::from(reader));
    for round in 0..3_000 {
        let stale = queue.push(Op::nop(), "ended");
        for done in queue.wait(1, Timeout::Forever).unwrap() {
            assert_eq!((done.token, done.result), ("ended", Ok(0)));
        }
        let fresh = queue.push(Op::read(&reader, vec![0; 1]), "waits");
        assert_ne!(stale, fresh);
        if round % 2 == 0 {
            queue.submit().unwrap();
        }
        assert_eq!(queue.cancel(stale), Err(CancelError::NotFound));
        queue.submit().unwrap();
        assert_eq!((queue.in_flight(), queue.pop().unwrap().is_none()), (1, true));
        writer.write_all(b"x").unwrap();
        for done in queue.wait(1, Timeout::Forever).unwrap() {
            assert_eq!((done.token, done.result), ("waits", Ok(1)));
        }
        assert_eq!(queue.cancel(fresh), Err(CancelError::NotFound));
    }
}
