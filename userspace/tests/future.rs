//! Futures over a driver: they end, they cancel, and they need no runtime.

mod common;

use aio2::error::CancelError;
use aio2::ring::Pending;
use aio2::{After, Context, Driver, Errno, Handle, Op, SharedFd};
use aio2_abi::attr;
use aio2_abi::setup::Setup;
use common::{at_random, pipe, stingy};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

const ECANCELED: Errno = Errno(libc::ECANCELED);

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
    let malformed = unsafe { Op::nop().attr_raw(0, attr::AttrFlags::empty(), &[]) };
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
fn a_future_starts_when_it_is_made() {
    let mut driver = driver();
    let (reading, writing) = pipe();
    let run = driver.handle().run(Op::write(writing, b"x".to_vec()));
    let read = driver.handle().run(Op::read(reading, vec![0; 1]));
    assert_eq!(driver.block_on(read).unwrap().result, Ok(1));
    drop(run);
}

#[test]
fn futures_end_with_their_driver() {
    let driver = driver();
    let (handle, (reading, writing)) = (driver.handle(), pipe());
    let reading = SharedFd::new(reading);
    let under_way = handle.run(Op::read(&reading, vec![0; 8]));
    let held = handle.run(Op::nop().after(&under_way));
    let waiter = thread::spawn(move || park_on(under_way));
    drop(driver);
    let done = waiter.join().unwrap();
    assert_eq!((done.result, done.into_buffer().map(|b| b.len())), (Err(ECANCELED), Some(8)));
    assert_eq!(park_on(held).result, Err(ECANCELED));
    let late = handle.run(Op::write(&reading, vec![1; 3]));
    let done = park_on(late);
    assert_eq!((done.result, done.never_began()), (Err(ECANCELED), true));
    assert_eq!(park_on(handle.sleep(Duration::from_secs(1000))), Err(ECANCELED));
    assert_eq!(park_on(handle.list([Op::nop(), Op::nop()])).len(), 2);
    drop((done, writing));
    assert!(reading.into_owned().is_ok());
}

/// SPEC: R-AFTER-1, R-AFTER-2
#[test]
fn an_operation_is_after_another_future_wherever_that_is() {
    let mut driver = driver();
    let handle = driver.handle();
    let (reading, writing) = pipe();
    driver
        .block_on(async {
            let read = handle.run(Op::read(reading, vec![0; 1]));
            let together = handle.run(Op::nop().after(&read));
            handle.run(Op::nop()).await;
            let later = handle.run(Op::nop().after(&read));
            let by_place = handle.run(Op::nop().after(After::Previous(1)));
            assert_eq!(handle.run(Op::write(writing, b"x".to_vec())).await.result, Ok(1));
            assert_eq!(read.await.result, Ok(1));
            for after in [together, later, by_place] {
                assert_eq!(after.await.result, Ok(0));
            }
            let bad = handle.run(Op::nop().after(After::Request(u64::MAX)));
            let cancelled = handle.run(Op::nop().after(&bad));
            assert_eq!(bad.await.result, Err(Errno(libc::ENOENT)));
            assert_eq!(cancelled.await.result, Err(ECANCELED));
        })
        .unwrap();
}

/// What other handles start is not counted.
#[test]
fn previous_is_what_the_same_handle_has_started() {
    let mut driver = driver();
    let (one, other) = (driver.handle(), driver.handle());
    let missing = one.run(Op::nop().after(After::Previous(1)));
    let fails = one.run(Op::nop().after(After::Request(u64::MAX)));
    let well = other.run(Op::nop());
    let after_one = one.run(Op::nop().after(After::Previous(1)));
    let after_other = other.run(Op::nop().after(After::Previous(1)));
    let ends = driver
        .block_on(async {
            well.await;
            fails.await;
            [missing.await.result, after_one.await.result, after_other.await.result]
        })
        .unwrap();
    assert_eq!(ends, [Err(Errno(libc::ENOENT)), Err(ECANCELED), Ok(0)]);
}

#[test]
fn a_list_ends_with_its_last_and_is_something_to_be_after() {
    let mut driver = driver();
    let handle = driver.handle();
    let file = file_of(b"0123456789");
    let read_only: SharedFd = File::open("/etc/passwd").unwrap().into();
    driver
        .block_on(async {
            let well = handle.list((0..10).map(|n| Op::read_at(&file, vec![0; 1], n)));
            let after = handle.run(Op::nop().after(&well));
            let read: Vec<u8> =
                well.await.into_iter().map(|done| done.into_buffer().unwrap()[0]).collect();
            assert_eq!(read, b"0123456789");
            assert_eq!(after.await.result, Ok(0));
            let writes = [&file, &read_only].map(|to| Op::write_at(to, vec![b'x'], 0));
            let badly = handle.list(writes.map(Op::not_inline));
            let after = handle.run(Op::nop().after(&badly));
            let ends: Vec<_> = badly.await.iter().map(|done| done.result).collect();
            assert_eq!(ends, [Ok(1), Err(Errno(libc::EBADF))]);
            assert_eq!(after.await.result, Err(ECANCELED));
            assert!(handle.list([] as [Op<_>; 0]).await.is_empty());
        })
        .unwrap();
}

#[test]
fn a_cancel_ends_a_future_that_is_awaited() {
    let mut driver = driver();
    let handle = driver.handle();
    let (reading, _writing) = pipe();
    let done = driver.block_on(async {
        let read = handle.run(Op::read(reading, vec![0; 1]));
        handle.run(Op::nop().not_inline()).await;
        read.cancel().unwrap();
        let key = read.key();
        let done = read.await;
        assert_eq!(handle.cancel(key), Err(CancelError::NotFound));
        done.result
    });
    assert_eq!(done.unwrap(), Err(ECANCELED));
}

#[test]
fn a_sleep_ends_when_it_is_time_and_a_timeout_drops_what_is_late() {
    let mut driver = driver();
    let handle = driver.handle();
    let (reading, writing) = pipe();
    let reading = SharedFd::new(reading);
    driver
        .block_on(async {
            let (begun, time) = (Instant::now(), Duration::from_millis(20));
            handle.sleep(time).await.unwrap();
            assert!(begun.elapsed() >= time);
            let read = handle.run(Op::read(&reading, vec![0; 1]));
            let late = handle.timeout(time, read).await;
            assert_eq!(late.map(|done| done.result), Err(Errno(libc::ETIMEDOUT)));
            let in_time = handle.timeout(Duration::from_secs(1000), handle.run(Op::nop())).await;
            assert_eq!(in_time.map(|done| done.result), Ok(Ok(0)));
        })
        .unwrap();
    drop((writing, driver));
    assert!(reading.into_owned().is_ok());
}

/// A thousand of them, and one worker.
#[test]
fn sleeps_take_no_worker() {
    let context = Context::builder().concurrency(1).build().unwrap();
    let mut driver: Driver<Vec<u8>> = Driver::new(context).unwrap();
    let handle = driver.handle();
    let ended = driver
        .block_on(async {
            let sleeps: Vec<_> =
                (0..1000).map(|_| handle.sleep(Duration::from_millis(300))).collect();
            // A worker runs it: at once, since none sleeps.
            assert_eq!(handle.run(Op::nop().not_inline()).await.result, Ok(0));
            let sleeps = sleeps.into_iter().map(Box::pin).collect();
            all(sleeps).await.into_iter().filter(Result::is_ok).count()
        })
        .unwrap();
    assert_eq!(ended, 1000);
}
