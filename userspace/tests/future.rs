//! Futures over a driver: they end, they cancel, and they need no runtime.

mod common;

use aio2::ring::Pending;
use aio2::{Context, Driver, Errno, Handle, Op, SharedFd};
use aio2_abi::attr;
use aio2_abi::setup::Setup;
use common::{at_random, pipe, stingy};
use std::future::{Future, poll_fn};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;

fn driver() -> Driver<Vec<u8>> {
    Driver::new(Context::new().unwrap()).unwrap()
}

fn file_of(bytes: &[u8]) -> SharedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    SharedFd::new(file)
}

/// Polls all until all are ready.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    poll_fn(|task| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(task)
            {
                *output = Some(value);
            }
        }
        let ready = futures.iter().all(|(_, output)| output.is_some());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.into_iter().map(|(_, output)| output.unwrap()).collect()
}

/// Reads a byte from a pipe, to which it is written by someone else.
async fn read_byte(handle: &Handle<Vec<u8>>, reading: OwnedFd) -> u8 {
    let done = handle.run(Op::read(reading, vec![0])).await;
    assert_eq!(done.result, Ok(1));
    done.into_buffer().unwrap()[0]
}

#[test]
fn a_read_resolves_to_its_completion() {
    let mut driver = driver();
    let handle = driver.handle();
    let op = Op::read_at(file_of(b"0123"), vec![0; 8], 1).timing();
    let done = driver.block_on(async move { handle.run(op).await }).unwrap();
    assert_eq!((done.result, &done.op.buffer().unwrap()[..3]), (Ok(3), &b"123"[..]));
    assert!(done.timing().handled().is_some());
}

#[test]
fn an_error_is_a_completion_too() {
    let mut driver = driver();
    let (_, writing) = pipe();
    let run = driver.handle().run(Op::read(writing, vec![0]));
    assert_eq!(driver.block_on(run).unwrap().result, Err(Errno(libc::EBADF)));
    // SAFETY: the attribute's id is none, and nothing acts on it.
    let malformed = unsafe { Op::nop().attr_raw(0, attr::Flags::empty(), &[]) };
    let run = driver.handle().run(malformed);
    assert_eq!(driver.block_on(run).unwrap().result, Err(Errno(libc::EINVAL)));
}

#[test]
fn more_futures_than_the_limit_all_end() {
    let context = Context::builder().max_requests(3).ring_bytes(4096).build().unwrap();
    let mut driver = Driver::new(context).unwrap();
    let handle = driver.handle();
    let file = file_of(&[7; 1000]);
    let reads = (0..1000).map(|n| handle.run(Op::read_at(&file, vec![0; 1], n).not_inline()));
    let done = driver.block_on(all(reads.collect())).unwrap();
    assert!(done.iter().all(|done| done.op.buffer().unwrap() == &[7]));
}

#[test]
fn what_is_refused_for_now_ends_later() {
    let setup = Setup { version: 1, max_requests: 50, ..Setup::default() };
    // With nothing in flight a refusal is an error, so that one always is.
    let (reading, writing) = pipe();
    let mut driver = Driver::new(stingy(&setup, at_random(3))).unwrap();
    let handle = driver.handle();
    let mut blocked = Box::pin(handle.run(Op::read(reading, vec![0])));
    while driver.block_on(poll_once(blocked.as_mut())).is_err() {}
    let mut nops = pin!(all((0..500).map(|_| handle.run(Op::nop())).collect()));
    // Nothing that ends will have it tried again, as with a true limit: so poll.
    let polling = poll_fn(|task| {
        task.waker().wake_by_ref();
        nops.as_mut().poll(task)
    });
    let done = driver.block_on(polling).unwrap();
    assert!(done.iter().all(|done| done.result == Ok(0)));
    drop(writing);
    assert_eq!(driver.block_on(blocked).unwrap().result, Ok(0));
}

#[test]
fn who_takes_the_last_event_submits_what_a_limit_kept_back() {
    // The read is accepted, then there is no room, then there is.
    let mut script = [1, 0].into_iter();
    let setup = Setup { version: 1, ..Setup::default() };
    let context = stingy(&setup, move || script.next().unwrap_or(usize::MAX));
    let consumer = context.consumer();
    let driver = Driver::new(context).unwrap();
    let handle = driver.handle();
    let mut task = TaskContext::from_waker(Waker::noop());
    let (reading, writing) = pipe();
    let mut read = pin!(handle.run(Op::read(reading, vec![0])));
    assert!(read.as_mut().poll(&mut task).is_pending());
    drop(writing);
    while consumer.pending() == Pending::Nothing {
        thread::yield_now();
    }
    // Nobody drives.
    let mut nop = pin!(handle.run(Op::nop()));
    assert!(nop.as_mut().poll(&mut task).is_ready());
    assert!(read.as_mut().poll(&mut task).is_ready());
}

#[test]
fn what_cannot_be_submitted_at_all_ends_with_the_error() {
    let setup = Setup { version: 1, ..Setup::default() };
    let driver = Driver::<()>::new(stingy(&setup, || 0)).unwrap();
    let mut nop = pin!(driver.handle().run(Op::nop()));
    match nop.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(done) => assert_eq!(done.result, Err(Errno(libc::EAGAIN))),
        Poll::Pending => panic!("nobody will submit it"),
    }
}

/// Polls a future, does not wait for it, and lets its driver have a round.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) {
    let mut rounds = 0;
    poll_fn(|task| {
        rounds += 1;
        let _ = future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
        task.waker().wake_by_ref();
        if rounds == 3 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn another_thread_wakes_a_driver_that_sleeps() {
    let mut driver = driver();
    let (tell, told) = mpsc::channel::<Waker>();
    let waking = thread::spawn(move || told.recv().unwrap().wake());
    let mut polls = 0;
    let future = poll_fn(|task| {
        polls += 1;
        if polls == 1 {
            tell.send(task.waker().clone()).unwrap();
            return Poll::Pending;
        }
        Poll::Ready(polls)
    });
    assert!(driver.block_on(future).unwrap() >= 2);
    waking.join().unwrap();
}

/// Runs a future in this thread, which parks until it is woken.
fn park_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_handle_in_another_thread_is_driven_from_here() {
    let mut driver = driver();
    let (reading, writing) = pipe();
    let (here, there) = (driver.handle(), driver.handle());
    let (tell, told) = mpsc::channel::<Waker>();
    let other = thread::spawn(move || {
        let byte = park_on(read_byte(&there, reading));
        told.recv().unwrap().wake();
        byte
    });
    let write = here.run(Op::write(writing, b"x".to_vec()));
    assert_eq!(driver.block_on(write).unwrap().result, Ok(1));
    let mut told_whom = false;
    let other_has_read = poll_fn(|task| {
        if !std::mem::replace(&mut told_whom, true) {
            tell.send(task.waker().clone()).unwrap();
            return Poll::Pending;
        }
        Poll::Ready(())
    });
    driver.block_on(other_has_read).unwrap();
    assert_eq!(other.join().unwrap(), b'x');
}

#[test]
fn many_threads_share_a_driver() {
    let mut driver = Driver::new(Context::builder().max_requests(8).build().unwrap()).unwrap();
    let file = file_of(&(0..=255).collect::<Vec<_>>());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (handle, file) = (driver.handle(), file.clone());
            thread::spawn(move || {
                for n in 0..500 {
                    let op = Op::read_at(&file, vec![0], n % 256);
                    let op = if n % 3 == 0 { op.not_inline() } else { op };
                    let done = park_on(handle.run(op));
                    assert_eq!(done.into_buffer().unwrap(), [(n % 256) as u8]);
                }
            })
        })
        .collect();
    // Ends when all have ended, of which an operation of its own keeps it awake.
    let handle = driver.handle();
    let until_all_ended = async {
        while !threads.iter().all(|thread| thread.is_finished()) {
            handle.run(Op::nop().not_inline()).await;
        }
    };
    driver.block_on(until_all_ended).unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_future_that_is_dropped_leaves_its_buffer_to_the_driver() {
    let mut driver = driver();
    let handle = driver.handle();
    let (reading, writing) = pipe();
    let reading = SharedFd::new(reading);
    let mut run = Box::pin(handle.run(Op::read(&reading, vec![0; 64])));
    driver.block_on(poll_once(run.as_mut())).unwrap();
    drop(run);
    // It is cancelled, or reads this; neither hurts.
    let done = driver.block_on(handle.run(Op::write(writing, b"late".to_vec()))).unwrap();
    assert_eq!(done.result, Ok(4));
    drop((handle, driver));
    assert!(reading.into_owned().is_ok(), "the request has let go of its file");
}

#[test]
fn a_future_that_was_never_polled_does_nothing() {
    let mut driver = driver();
    let (reading, writing) = pipe();
    let reading = SharedFd::new(reading);
    drop(driver.handle().run(Op::read(&reading, vec![0; 1])));
    assert!(reading.into_owned().is_ok());
    drop(writing);
    driver.block_on(async {}).unwrap();
}

#[test]
fn futures_outlive_their_driver_unended() {
    let driver = driver();
    let handle = driver.handle();
    let mut run = Box::pin(handle.run(Op::nop()));
    drop(driver);
    let _ = run.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
}
