//! A child of the process, made in any way, that uses what its parent has: it
//! gets EXDEV, loses nothing of its own, and takes nothing from the parent.
//!
//! Looked at: each call and the drop of a context, queue, dispatcher, driver,
//! reaper and set; of the ends of a ring of one's own; of what was claimed or
//! refused before; and memory of the child's own where the parent's ring was.

use aio2::flags::{PollFlags, SendFlags};
use aio2::ring::{Geometry, Pending, Sink, header};
use aio2::shm;
use aio2::{Context, Dispatcher, Driver, Errno, Op, Prefer, Queue, Reaper, Set, SharedFd, Timeout};
use std::io::{PipeWriter, Write, pipe};
use std::os::fd::OwnedFd;
use std::time::Duration;

const EXDEV: Errno = Errno(libc::EXDEV);

fn context() -> Context {
    Context::builder().prefer(Prefer::Engine).build().unwrap()
}

unsafe extern "C" {
    fn _Fork() -> libc::pid_t;
}

/// fork(2), by the C library.
unsafe fn fork() -> libc::pid_t {
    // SAFETY: the caller leaves the child soon.
    unsafe { libc::fork() }
}

/// fork(2), without the handlers of the C library.
unsafe fn fork_without_handlers() -> libc::pid_t {
    // SAFETY: as above.
    unsafe { _Fork() }
}

/// A fork by a clone(2) of which no library knows.
unsafe fn clone() -> libc::pid_t {
    // SAFETY: no stack, no flags: it is fork(2).
    unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t }
}

unsafe fn clone3() -> libc::pid_t {
    let mut args = [0_u64; 11];
    args[4] = libc::SIGCHLD as u64;
    let (at, bytes) = (args.as_ptr(), size_of_val(&args));
    // SAFETY: the structure can be read, and asks for a fork.
    unsafe { libc::syscall(libc::SYS_clone3, at, bytes) as libc::pid_t }
}

type Fork = unsafe fn() -> libc::pid_t;

/// The ways of making a child with a copy of the memory.
const FORKS: [(&str, Fork); 4] =
    [("fork", fork), ("_Fork", fork_without_handlers), ("clone", clone), ("clone3", clone3)];

/// Runs the test of this name in a process of its own: a child by a clone(2) that
/// the C library does not see has its locks as they were, in whatever thread.
fn alone(name: &str) -> bool {
    const ALONE: &str = "AIO2_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .status();
    assert!(status.unwrap().success());
    false
}

/// Runs `body` in a child of each kind; it is fine if it returns.
fn in_children(mut body: impl FnMut()) {
    for (kind, fork) in FORKS {
        in_child(kind, fork, &mut body);
    }
}

fn in_child(kind: &str, fork: Fork, body: impl FnOnce()) {
    // SAFETY: the child runs `body`, in the one thread that it has, and leaves.
    let pid = unsafe { fork() };
    assert!(pid >= 0, "{kind}: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let run = std::panic::AssertUnwindSafe(|| {
            // SAFETY: ends a child that hangs.
            unsafe { libc::alarm(20) };
            body();
        });
        let code = i32::from(std::panic::catch_unwind(run).is_err());
        // SAFETY: leaves.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` can be written.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "{kind}: status {status:#x}");
}

/// Maps memory of the child's own wherever it is free, and calls `f`; whether
/// all of it is as it was.
fn with_memory_where_the_ring_was(f: impl FnOnce()) {
    const BYTES: usize = 64 << 20;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut ends: Vec<(usize, usize)> = maps
        .lines()
        .filter_map(|line| {
            let (from, to) = line.split(' ').next()?.split_once('-')?;
            let number = |hex| usize::from_str_radix(hex, 16).ok();
            Some((number(from)?, number(to)?))
        })
        .collect();
    ends.sort_unstable();
    let mut mine = Vec::new();
    for gap in ends.windows(2) {
        let (from, to) = (gap[0].1, gap[1].0);
        if from == to || to - from > BYTES {
            continue;
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let at = std::ptr::with_exposed_provenance_mut(from);
        // SAFETY: new memory, where there is none.
        let memory = unsafe { libc::mmap(at, to - from, protection, flags, -1, 0) };
        assert_eq!(memory, at);
        // SAFETY: it is ours.
        unsafe { memory.cast::<u8>().write_bytes(0x55, to - from) };
        mine.push((memory.cast::<u8>(), to - from));
    }
    assert!(!mine.is_empty(), "a ring was mapped somewhere");
    f();
    for (memory, len) in mine {
        // SAFETY: it is ours still, or else this faults.
        let bytes = unsafe { std::slice::from_raw_parts(memory, len) };
        assert!(bytes.iter().all(|&b| b == 0x55), "it was written to");
    }
}

/// A queue with a request in each state: claimed, ended, running, waiting for a
/// file, with a deadline, refused, and queued.
struct Busy {
    queue: Queue<Vec<u8>, u32>,
    writers: [PipeWriter; 2],
}

const REQUESTS: usize = 8;

impl Busy {
    fn new() -> Self {
        let mut queue = Queue::new(context());
        let (reader, writer) = pipe().unwrap();
        let reader = SharedFd::new(OwnedFd::from(reader));
        for n in 0..3 {
            queue.push(Op::nop(), n);
        }
        queue.submit().unwrap();
        assert_eq!(queue.wait(3, Timeout::Forever).unwrap().next().unwrap().token, 0);
        queue.push(Op::read(&reader, vec![0; 8]), 3);
        queue.push(Op::read(&reader, vec![0; 8]).deadline(Duration::from_secs(100)), 4);
        // Of a pipe that nobody reads.
        let (polled, another_writer) = pipe().unwrap();
        queue.push(Op::poll(OwnedFd::from(polled), PollFlags::IN), 5);
        queue.push(Op::nop().not_inline(), 6);
        queue.submit().unwrap();
        queue.push(
            Op::send(&reader, vec![0; 8], SendFlags::from_bits_retain(libc::MSG_ZEROCOPY as u32)),
            7,
        );
        queue.push(Op::nop(), 8);
        Busy { queue, writers: [writer, another_writer] }
    }

    /// The parent has all of them still.
    fn finish(mut self) {
        for writer in &mut self.writers {
            writer.write_all(&[1; 16]).unwrap();
        }
        let mut left = Vec::new();
        while left.len() < REQUESTS {
            self.queue.wait(1, Timeout::After(Duration::from_secs(10))).unwrap();
            let before = left.len();
            while let Some(done) = self.queue.pop().unwrap() {
                left.push((done.token, done.result.is_ok()));
            }
            assert!(left.len() > before, "{left:?}");
        }
        left.sort_unstable();
        assert_eq!(left, [1, 2, 3, 4, 5, 6, 7, 8].map(|n| (n, n != 7)));
    }
}

/// SPEC: R-LIFE-4, R-LIFE-9
#[test]
fn a_child_that_drops_loses_nothing_and_takes_nothing() {
    if !alone("a_child_that_drops_loses_nothing_and_takes_nothing") {
        return;
    }
    for (kind, fork) in FORKS {
        let busy = Busy::new();
        let set = Set::new().unwrap();
        set.add(Queue::<Vec<u8>, u32>::new(context()), 0).unwrap();
        let driver = Driver::<Vec<u8>>::new(context()).unwrap();
        let (producer, files) = shm::create(Geometry::new(4096, 64).unwrap()).unwrap();
        let ring = (Sink::new(producer), files.map().unwrap(), files);
        let mut all = Some((busy, set, driver, ring));
        in_child(kind, fork, || with_memory_where_the_ring_was(|| drop(all.take())));
        let (busy, set, ..) = all.take().unwrap();
        busy.finish();
        let member = set.add(Queue::new(context()), 1).unwrap();
        set.with(member, |queue| {
            queue.push(Op::nop(), 1);
            queue.submit().unwrap();
        });
        let mut done = Vec::new();
        drop(set.wait(&mut done, 1, 1, Timeout::After(Duration::from_secs(10))).unwrap());
        assert_eq!(done.len(), 1, "{kind}");
    }
}

/// SPEC: R-LIFE-4, R-LIFE-9
#[test]
fn a_child_that_asks_gets_exdev() {
    if !alone("a_child_that_asks_gets_exdev") {
        return;
    }
    let mut busy = Busy::new();
    in_children(|| {
        let queue = &mut busy.queue;
        let any = || Timeout::After(Duration::from_secs(1));
        assert_eq!(queue.pop().unwrap_err().errno(), EXDEV);
        assert_eq!(queue.pop_any().unwrap_err().errno(), EXDEV);
        assert_eq!(queue.reap().err().unwrap().errno(), EXDEV);
        assert_eq!(queue.submit().unwrap_err().errno(), EXDEV);
        assert_eq!(queue.wait(1, any()).err().unwrap().errno(), EXDEV);
        assert_eq!(queue.cancel_all().unwrap_err().errno(), EXDEV);
        let context = queue.context();
        assert_eq!(context.grow(1 << 20).unwrap_err().errno(), EXDEV);
        let mut reaper = context.reaper();
        assert_eq!(reaper.batch().err().unwrap().errno(), EXDEV);
        assert_eq!(reaper.wait(1, any()).err().unwrap().errno(), EXDEV);
        let mut consumer = context.consumer();
        assert!(consumer.reap(&mut [0; 64], 1).is_err());
        assert_eq!((consumer.pending(), consumer.advance()), (Pending::Nothing, false));
        assert!(consumer.is_dead() && consumer.notify_on());
        consumer.notify_off();
    });
    busy.finish();
}

/// SPEC: R-LIFE-4, R-LIFE-9
#[test]
fn a_child_of_what_drives_gets_exdev() {
    if !alone("a_child_of_what_drives_gets_exdev") {
        return;
    }
    let mut dispatcher = Dispatcher::<Vec<u8>>::new(context());
    let ran = std::cell::Cell::new(0);
    dispatcher.push(Op::nop(), |_, _| ran.set(ran.get() + 1));
    dispatcher.submit().unwrap();
    let mut driver = Driver::<Vec<u8>>::new(context()).unwrap();
    let handle = driver.handle();
    let set: Set<Reaper> = Set::new().unwrap();
    let in_set = context();
    let member = set.add(in_set.reaper(), 0).unwrap();
    for (kind, fork) in FORKS {
        in_child(kind, fork, || {
            let run = dispatcher.run(1, Timeout::Forever);
            assert_eq!((run.unwrap_err().errno(), ran.get()), (EXDEV, 0));
            let result = driver.block_on(handle.run(Op::nop()));
            assert_eq!(result.unwrap_err().errno(), EXDEV);
            let wait = set.wait(&mut Vec::new(), 1, 1, Timeout::Forever);
            assert_eq!(wait.unwrap_err().errno(), EXDEV);
            assert_eq!(set.add(in_set.reaper(), 0).unwrap_err(), EXDEV);
            assert!(set.remove(member).is_some());
        });
    }
    dispatcher.run_to_end().unwrap();
    assert_eq!(driver.block_on(handle.run(Op::nop())).unwrap().result, Ok(0));
    // It is watched still.
    let waiter = std::thread::spawn(move || {
        let mut to = Vec::new();
        drop(set.wait(&mut to, 1, 1, Timeout::After(Duration::from_secs(10))).unwrap());
        to.len()
    });
    std::thread::sleep(Duration::from_millis(50));
    let mut iocbs = aio2::Iocbs::new();
    iocbs.push(aio2_abi::op::NOP, &[], aio2_abi::iocb::IocbFlags::empty(), 1).unwrap();
    // SAFETY: it has no memory.
    unsafe { in_set.submit_raw(iocbs.bytes_mut()) }.unwrap();
    assert_eq!(waiter.join().unwrap(), 1);
    drop(dispatcher);
    assert_eq!(ran.get(), 1);
}

#[test]
fn the_ends_of_a_ring_in_a_child_are_full_and_empty() {
    if !alone("the_ends_of_a_ring_in_a_child_are_full_and_empty") {
        return;
    }
    let (producer, files) = shm::create(Geometry::new(4096, 64).unwrap()).unwrap();
    let mut sink = Sink::new(producer);
    let consumer = files.map().unwrap();
    let mut exclusive = files.map().unwrap().into_exclusive().ok().unwrap();
    sink.reserve(64).unwrap();
    sink.push(&[header(16, 0), 1], 16);
    in_children(|| {
        let overflow = sink.overflow_events();
        sink.push(&[header(16, 0), 2], 16);
        assert_eq!(sink.overflow_events(), overflow + 1);
        assert_eq!((sink.available_events(9), sink.used_bytes()), (0, 0));
        assert!(!sink.flush() && !sink.should_notify());
        sink.set_dead();
        assert!(consumer.reap(&mut [0; 8], 9).is_err());
        assert!(exclusive.drain().is_err() && exclusive.is_dead());
        exclusive.notify_off();
    });
    drop(exclusive);
    assert!(!consumer.is_dead());
    assert_eq!(consumer.reap(&mut [0; 8], 9).unwrap().next(), Some(&[header(16, 0), 1][..]));
}

/// A child makes contexts of its own, and so does its child.
#[test]
fn children_of_children_have_their_own() {
    if !alone("children_of_children_have_their_own") {
        return;
    }
    let works = |queue: &mut Queue<Vec<u8>, u32>| {
        queue.push(Op::nop().not_inline(), 1);
        queue.wait(1, Timeout::After(Duration::from_secs(10))).unwrap().count()
    };
    let mut first = Queue::new(context());
    in_children(|| {
        let mut second = Queue::new(context());
        assert_eq!(works(&mut second), 1);
        in_children(|| {
            let mut third = Queue::new(context());
            assert_eq!(works(&mut third), 1);
            assert_eq!(second.pop().unwrap_err().errno(), EXDEV);
        });
        assert_eq!(works(&mut second), 1);
    });
    assert_eq!(works(&mut first), 1);
}

/// A child that shares the memory, as one of vfork(2) does, and drops what it
/// finds there: the parent's requests go on.
#[test]
fn a_child_that_shares_the_memory_ends_nothing() {
    if !alone("a_child_that_shares_the_memory_ends_nothing") {
        return;
    }
    use std::io::Read;
    let (reader, mut writer) = pipe().unwrap();
    let buffer: &'static mut [u8; 1] = Box::leak(Box::new([0]));
    let context = context();
    let mut iocbs = aio2::Iocbs::new();
    let args = [OwnedFd::from(reader.try_clone().unwrap())]
        .map(|fd| std::os::fd::IntoRawFd::into_raw_fd(fd) as u64);
    let args = [args[0], (&raw mut *buffer).expose_provenance() as u64, 1];
    let nr = libc::SYS_read as u32;
    iocbs.push(nr, &args, aio2_abi::iocb::IocbFlags::ASYNC, 1).unwrap();
    // SAFETY: the buffer and the descriptor are leaked.
    unsafe { context.submit_raw(iocbs.bytes_mut()) }.unwrap();
    let consumer = context.consumer();
    extern "C" fn child(context: *mut libc::c_void) -> i32 {
        // SAFETY: the parent waits, and forgets its own.
        let context = unsafe { context.cast::<Context>().read() };
        let mut all = aio2_abi::wait::Cancel {
            flags: aio2_abi::wait::CancelFlags::ALL.bits(),
            ..Default::default()
        };
        let refused = context.cancel(&mut all).map_err(|e| e.errno()) == Err(EXDEV);
        drop(context);
        i32::from(!refused)
    }
    let mut stack = vec![0_u128; 1 << 16];
    let mut context = std::mem::ManuallyDrop::new(context);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the end of memory that the child uses as its stack.
    let top = unsafe { stack.as_mut_ptr().add(stack.len()) };
    // SAFETY: the function returns, and the parent waits for that.
    let pid = unsafe { libc::clone(child, top.cast(), flags, (&raw mut *context).cast()) };
    assert!(pid > 0, "{}", std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: `status` can be written.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
    assert!(!consumer.is_dead());
    writer.write_all(&[7]).unwrap();
    let mut words = [0; 8];
    while consumer.reap(&mut words, 1).unwrap().len() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((words[1], words[2], buffer[0]), (1, 1, 7));
    drop(writer);
    let _ = (&reader).read(&mut [0; 1]);
}
