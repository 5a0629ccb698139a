//! Code of users in the middle of the library's: where it runs, and that it can
//! panic or come back there.
//!
//! | where | what runs there |
//! |---|---|
//! | `Queue::push` | `Buffer::content` and `room`, which take unsafe code to write |
//! | `Queue::drop` | `Drop` of tokens and buffers, when nothing uses them any more |
//! | `Completion` | `Drop` of both, which the caller owns |
//! | `Dispatcher::run` | callbacks; `Drop` of what they own |
//! | `Dispatcher::drop` | `Drop` of callbacks that were not run |
//! | `Driver::block_on`, `drive` | the future; wakers of others, without the lock |
//! | `Handle::run`, `list`, `cancel` | wakers of others, `Drop` of buffers nobody wants: without a lock |
//! | `Run::poll` | clone and `Drop` of a waker, wakers of others, `Drop` of buffers nobody wants: without the lock |
//! | `Run::drop` | `Drop` of a waker or a completion, without the lock |
//! | `Set::with` | the closure, under the set's lock: it must not use the set |
//! | `Set::wait` | the calls of a `Source`, under the set's lock |
//! | `Active::block` | the closure, without the lock |
#![forbid(unsafe_code)]

use aio2::flags::{Mode, OFlags, SendFlags};
use aio2::{Context, Dispatcher, Driver, Op, Prefer, Queue, Set, SharedFd, Timeout};
use std::cell::{Cell, RefCell};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

const BYTES: usize = 4096;

fn context() -> Context {
    Context::builder().prefer(Prefer::Engine).build().unwrap()
}

/// Panics when it is dropped, if it is armed.
struct Bomb {
    armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.armed, "a token that panics");
    }
}

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

fn open_files(name: &str) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    all.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter(|to| to.to_string_lossy().contains(name))
        .count()
}

/// A read that sleeps in a worker; the pipe tells whether it still does.
fn sleeping_read() -> (Op<Vec<u8>, aio2::kind::Reads>, PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    let op = Op::read(OwnedFd::from(reader.try_clone().unwrap()), vec![1; BYTES]);
    (op, reader, writer)
}

/// Whatever a queue holds when it is dropped, and whichever token panics: no
/// operation runs any more when the first buffer is freed.
#[test]
fn a_queue_that_is_dropped_is_quiet_before_its_tokens_are() {
    for armed in 0..4 {
        let bomb = |n| Bomb { armed: n == armed };
        let mut queue: Queue<Vec<u8>, Bomb> = Queue::new(context());
        // It keeps the context alive, as any reaper does.
        let reaper = queue.context().reaper();
        let (read, mut reader, mut writer) = sleeping_read();
        queue.push(read, bomb(0));
        queue.push(Op::nop().not_inline(), bomb(1));
        queue.submit().unwrap();
        std::thread::sleep(Duration::from_millis(30));
        // Refused, then queued and not submitted.
        let (_, other) = pipe().unwrap();
        queue.push(
            Op::send(
                OwnedFd::from(other),
                vec![0; 1],
                SendFlags::from_bits_retain(libc::MSG_ZEROCOPY as u32),
            ),
            bomb(2),
        );
        queue.push(Op::nop(), bomb(3));
        assert!(panics(|| drop(queue)), "token {armed}");
        writer.write_all(&[7; BYTES]).unwrap();
        let mut bytes = [0; BYTES];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [7; BYTES], "nobody else has read it");
        drop(reaper);
    }
}

/// Descriptors of closes that were done, that were not, and of files that were
/// opened: each is closed once, also if a token panics.
#[test]
fn a_panic_neither_leaks_a_descriptor_nor_closes_it_twice() {
    let directory = std::env::temp_dir().join(format!("aio2-users-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("descriptors");
    std::fs::write(&path, b"").unwrap();
    let open = || std::fs::File::open(&path).unwrap();
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    for armed in 0..4 {
        let bomb = |n| Bomb { armed: n == armed };
        let mut queue: Queue<Vec<u8>, Bomb> = Queue::new(context());
        let op = Op::openat(aio2::Dir::Cwd, name.clone(), OFlags::RDONLY, Mode::empty());
        queue.push(op.not_inline(), bomb(0));
        queue.push(Op::close(open()).not_inline(), bomb(1));
        queue.submit().unwrap();
        std::thread::sleep(Duration::from_millis(30));
        queue.push(Op::close(open()), bomb(2));
        queue.push(Op::nop(), bomb(3));
        assert!(panics(|| drop(queue)), "token {armed}");
        assert_eq!(open_files("aio2-users-"), 0, "token {armed}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_dispatcher_goes_on_after_a_callback_that_panics_or_replaces_it() {
    let ran = RefCell::new(Vec::new());
    let mut dispatcher: Dispatcher<'_, Vec<u8>> = Dispatcher::new(context());
    dispatcher.push(Op::nop(), |_, _| panic!("a callback"));
    dispatcher.push(Op::nop(), |more, _| {
        ran.borrow_mut().push("inner");
        // It comes back in the middle of a run.
        more.push(Op::nop(), |_, _| ran.borrow_mut().push("pushed"));
        more.run(1, Timeout::After(Duration::from_secs(5))).unwrap();
    });
    assert!(panics(|| _ = dispatcher.run(2, Timeout::Forever)));
    dispatcher.run_to_end().unwrap();
    assert_eq!(*ran.borrow(), ["inner", "pushed"]);
    dispatcher.push(Op::nop(), |this, _| {
        // Dropped in the middle of its own run, with what runs in it.
        let (read, ..) = sleeping_read();
        this.push(read, |_, _| ());
        this.submit().unwrap();
        drop(std::mem::replace(this, Dispatcher::new(context())));
        this.push(Op::nop(), |_, _| ran.borrow_mut().push("replaced"));
    });
    dispatcher.run_to_end().unwrap();
    assert_eq!(ran.borrow().last(), Some(&"replaced"));
}

#[test]
fn callbacks_that_panic_when_they_are_dropped_end_nothing_that_runs() {
    let mut dispatcher: Dispatcher<'_, Vec<u8>> = Dispatcher::new(context());
    let (read, mut reader, mut writer) = sleeping_read();
    let bomb = Bomb { armed: true };
    dispatcher.push(read, move |_, _| drop(bomb));
    dispatcher.submit().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    assert!(panics(|| drop(dispatcher)));
    writer.write_all(&[7; BYTES]).unwrap();
    reader.read_exact(&mut [0; BYTES]).unwrap();
}

/// Counts, and panics if it is told to.
struct Bell {
    rung: AtomicUsize,
    panics: bool,
}

impl Bell {
    fn new(panics: bool) -> Arc<Self> {
        Arc::new(Bell { rung: AtomicUsize::new(0), panics })
    }

    fn rung(&self) -> usize {
        self.rung.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "a waker that panics");
    }
}

/// Futures of one driver, each with a waker, all woken by one round of somebody.
fn wake_all(somebody: impl FnOnce(&mut Driver<Vec<u8>>)) {
    let mut driver = Driver::<Vec<u8>>::new(context()).unwrap();
    let handle = driver.handle();
    let bells: Vec<_> = (0..6).map(|n| Bell::new(n % 2 == 0)).collect();
    let (reader, mut writer) = pipe().unwrap();
    let reader = SharedFd::new(OwnedFd::from(reader));
    let mut runs: Vec<_> = bells
        .iter()
        .map(|bell| {
            let mut run = Box::pin(handle.run(Op::read(&reader, vec![0; 1])));
            let waker = Waker::from(bell.clone());
            assert!(run.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
            run
        })
        .collect();
    writer.write_all(&[1; 6]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(panics(|| somebody(&mut driver)));
    assert_eq!(bells.iter().map(|bell| bell.rung()).collect::<Vec<_>>(), [1; 6]);
    let waker = Waker::noop();
    for run in &mut runs {
        let ended = run.as_mut().poll(&mut std::task::Context::from_waker(waker));
        let Poll::Ready(done) = ended else { panic!("it has ended") };
        assert_eq!(done.result, Ok(1));
    }
    driver.block_on(handle.run(Op::nop())).unwrap();
}

#[test]
fn a_waker_that_panics_takes_no_other_wakeup_along() {
    wake_all(|driver| {
        let run = driver.handle().run(Op::nop());
        drop(driver.block_on(run));
    });
    // Without the driver: a future that is polled elsewhere does the round.
    wake_all(|driver| {
        let mut run = pin!(driver.handle().run(Op::nop()));
        let waker = Waker::noop();
        let _ = run.as_mut().poll(&mut std::task::Context::from_waker(waker));
    });
}

/// A waker that comes back to the driver when it is woken, and when it is
/// dropped.
struct Comes {
    handle: aio2::Handle<Vec<u8>>,
    came: AtomicUsize,
}

impl Comes {
    fn come(&self) {
        self.came.fetch_add(1, Ordering::SeqCst);
        let mut run = pin!(self.handle.run(Op::nop()));
        let _ = run.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
    }
}

impl Wake for Comes {
    fn wake(self: Arc<Self>) {
        self.come();
    }
}

impl Drop for Comes {
    fn drop(&mut self) {
        self.come();
    }
}

#[test]
fn a_waker_can_come_back_wherever_it_is_run() {
    let mut driver = Driver::<Vec<u8>>::new(context()).unwrap();
    let handle = driver.handle();
    let (reader, mut writer) = pipe().unwrap();
    let reader = SharedFd::new(OwnedFd::from(reader));
    let comes =
        || Waker::from(Arc::new(Comes { handle: handle.clone(), came: AtomicUsize::new(0) }));
    let mut run = Box::pin(handle.run(Op::read(&reader, vec![0; 1])));
    for _ in 0..3 {
        // Each takes the place of the one before, which is dropped.
        let waker = comes();
        let polled = run.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    let mut dropped = Box::pin(handle.run(Op::read(&reader, vec![0; 1])));
    let waker = comes();
    assert!(dropped.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    drop(waker);
    drop(dropped);
    writer.write_all(&[1]).unwrap();
    assert_eq!(driver.block_on(run).unwrap().result, Ok(1));
}

/// What comes back here does so to the very handle that is in use.
#[test]
fn a_waker_can_come_back_to_the_handle_that_wakes_it() {
    let driver = Driver::<Vec<u8>>::new(context()).unwrap();
    let handle = Arc::new(driver.handle());
    let (reader, mut writer) = pipe().unwrap();
    let waits = Op::read(OwnedFd::from(reader), vec![0; 1]);
    let mut run = Box::pin(handle.run(waits));
    let waker = Waker::from(Arc::new(SameHandle { handle: handle.clone() }));
    assert!(run.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    writer.write_all(&[1]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let (done, waited) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Nobody drives: it submits, and wakes the other future meanwhile.
        let mut runs = vec![Box::pin(handle.run(Op::nop()))];
        runs.push(Box::pin(handle.run(Op::nop().after(aio2::After::Previous(1)))));
        done.send(runs.len()).unwrap();
    });
    assert_eq!(waited.recv_timeout(Duration::from_secs(20)), Ok(2), "it waits for itself");
    let ended = run.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
    assert!(ended.is_ready());
}

struct SameHandle {
    handle: Arc<aio2::Handle<Vec<u8>>>,
}

impl Wake for SameHandle {
    fn wake(self: Arc<Self>) {
        let mut run = pin!(self.handle.run(Op::nop()));
        let _ = run.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
    }
}

/// A future that panics leaves the driver as good as it was.
#[test]
fn a_driver_goes_on_after_a_future_that_panics() {
    let mut driver = Driver::<Vec<u8>>::new(context()).unwrap();
    let handle = driver.handle();
    let future = async {
        handle.run(Op::nop()).await;
        panic!("a future");
    };
    assert!(panics(|| _ = driver.block_on::<_>(future)));
    assert_eq!(driver.block_on(handle.run(Op::nop())).unwrap().result, Ok(0));
}

#[test]
fn a_set_goes_on_after_a_closure_that_panics() {
    let set: Set<Queue<Vec<u8>, u32>> = Set::new().unwrap();
    let member = set.add(Queue::new(context()), 0).unwrap();
    let submitted = Cell::new(false);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut to = Vec::new();
            drop(set.wait(&mut to, 1, 1, Timeout::After(Duration::from_secs(10))).unwrap());
            to.len()
        });
        std::thread::sleep(Duration::from_millis(30));
        assert!(panics(|| {
            set.with(member, |queue| {
                queue.push(Op::nop(), 1);
                queue.submit().unwrap();
                submitted.set(true);
                panic!("a closure");
            });
        }));
        assert!(submitted.get());
        assert_eq!(waiter.join().unwrap(), 1, "what it submitted is told");
    });
}
