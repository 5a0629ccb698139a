//! Safe code against the library: what of others of its kind in `tests/soundness.md`
//! has no test beside the thing that it breaks.
#![forbid(unsafe_code)]

use aio2::error::CancelError;
use aio2::flags::{PollFlags, RecvFlags};
use aio2::{
    After, Attribute, Cancelled, Context, Driver, Errno, Op, Prefer, Progress, Queue, Set,
    SharedFd, Signal, Timeout,
};
use std::io::{Write, pipe};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

type Bytes = Vec<u8>;

fn context() -> Context {
    Context::builder().prefer(Prefer::Engine).build().unwrap()
}

/// What does not come back in this time never does.
fn within_patience(f: impl FnOnce() + Send + 'static) {
    let (done, waited) = channel();
    std::thread::spawn(move || {
        f();
        done.send(()).unwrap();
    });
    waited.recv_timeout(Duration::from_secs(20)).expect("it comes back");
}

/// The result of a receive can be more than its buffer has: nothing reads, writes, or
/// gives out what is behind it.
#[test]
fn a_message_that_was_cut_says_its_length_and_touches_no_more_than_the_buffer() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap();
    let receiver = SharedFd::new(receiver);
    let receive = |buffer| Op::recv(&receiver, buffer, RecvFlags::TRUNC).untyped();
    let parts = vec![vec![7; 4], vec![7; 4]];
    let message = Op::recvmsg(&receiver, parts, 1, RecvFlags::TRUNC);
    for op in [
        receive(vec![7; 8]),
        receive(vec![7; 8]).full().checksum(),
        receive(vec![7; 8]).not_inline().full().checksum(),
        receive(vec![7; 8]).range(2..6).full(),
        Op::recv_from(&receiver, vec![7; 8], RecvFlags::TRUNC).full().untyped(),
        message.full().untyped(),
    ] {
        let mut queue: Queue<Bytes, ()> = Queue::new(context());
        queue.push(op, ());
        queue.submit().unwrap();
        sender.send_to(&[9; 1000], to).unwrap();
        let done = queue.wait(1, Timeout::Forever).unwrap().next().unwrap();
        assert_eq!(done.result, Ok(1000));
        assert!(!matches!(done.checksum(), Attribute::Handled(_)), "no row of a transfer");
        let buffers = done.op.into_buffers();
        assert!(buffers.iter().all(|buffer| buffer.len() <= 8));
        assert!(buffers.iter().flatten().all(|byte| [7, 9].contains(byte)));
    }
}

/// A key is a name, and no claim: that of another queue, which may be equal to one of
/// this, frees nothing and ends nothing that runs.
#[test]
fn keys_of_another_queue_end_nothing_here() {
    let (mut one, mut other) =
        (Queue::<Bytes, u32>::new(context()), Queue::<Bytes, u32>::new(context()));
    let (reader, mut writer) = pipe().unwrap();
    let own = one.push(Op::read(OwnedFd::from(reader), vec![0; 8]), 1);
    one.submit().unwrap();
    let foreign: Vec<_> = (0..3).map(|n| other.push(Op::nop(), n)).collect();
    other.wait(3, Timeout::Forever).unwrap().for_each(drop);
    let later: Vec<_> = (0..2).map(|n| other.push(Op::nop(), n)).collect();
    assert_ne!(foreign[0], own);
    for key in foreign.iter().chain(&later) {
        assert_eq!(one.cancel(*key), Err(CancelError::NotFound));
        one.push(Op::nop().after(*key), 2);
    }
    let ends: Vec<_> = one.wait(5, Timeout::Forever).unwrap().collect();
    for done in &ends {
        assert!(matches!(done.result, Err(Errno(libc::ENOENT | libc::ESTALE))), "{done:?}");
    }
    assert_eq!((ends.len(), one.in_flight()), (5, 1));
    writer.write_all(b"x").unwrap();
    let done = one.wait(1, Timeout::Forever).unwrap().next().unwrap();
    assert_eq!((done.token, done.result), (1, Ok(1)));
}

/// Comes to a set again when it is dropped.
struct Returns(Arc<Set<Queue<Bytes, Option<Returns>>>>);

impl Drop for Returns {
    fn drop(&mut self) {
        // A set that is locked would not answer.
        let _ = self.0.len();
    }
}

/// What is replaced, taken out or delivered is dropped without the set's lock.
#[test]
fn tokens_can_come_back_to_the_set_that_drops_them() {
    within_patience(|| {
        let set = Arc::new(Set::new().unwrap());
        let queue = || {
            let mut queue = Queue::new(context());
            queue.push(Op::nop(), Some(Returns(set.clone())));
            queue
        };
        let member = set.add(queue(), 0).unwrap();
        drop(set.with(member, |own| std::mem::replace(own, queue())));
        drop(set.remove(member).unwrap());
        assert!(set.remove(member).is_none());
        // One that is delivered.
        let member = set.add(queue(), 0).unwrap();
        let mut to = Vec::new();
        set.with(member, |queue| queue.submit().unwrap());
        drop(set.wait(&mut to, 1, 1, Timeout::Forever).unwrap());
        drop(to);
        drop(set.remove(member));
    });
}

/// A waker that starts and cancels by the handle that wakes it.
struct Meddles {
    handle: Arc<aio2::Handle<Bytes>>,
}

impl Wake for Meddles {
    fn wake(self: Arc<Self>) {
        let run = self.handle.run(Op::nop());
        let _ = self.handle.cancel(run.key());
        drop(self.handle.list([Op::nop(), Op::nop()]));
        let mut sleep = pin!(self.handle.sleep(Duration::from_secs(100)));
        let _ = sleep.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
    }
}

/// Whoever wakes it: a start, a cancel, a list, a timeout, a drop of the driver.
#[test]
fn wakers_can_come_back_from_each_call_of_a_handle() {
    type Call = fn(&aio2::Handle<Bytes>);
    let calls: [Call; 5] = [
        |handle| drop(handle.run(Op::nop())),
        |handle| _ = handle.cancel(handle.run(Op::nop()).key()),
        |handle| drop(handle.list((0..3).map(|_| Op::nop()))),
        |handle| {
            let mut late = pin!(handle.timeout(Duration::from_secs(9), std::future::ready(())));
            let _ = late.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
        },
        |_| (),
    ];
    for call in calls {
        within_patience(move || {
            let driver = Driver::<Bytes>::new(context()).unwrap();
            let handle = Arc::new(driver.handle());
            let (reader, mut writer) = pipe().unwrap();
            let mut run = Box::pin(handle.run(Op::read(OwnedFd::from(reader), vec![0; 1])));
            let waker = Waker::from(Arc::new(Meddles { handle: handle.clone() }));
            let mut task = std::task::Context::from_waker(&waker);
            assert!(run.as_mut().poll(&mut task).is_pending());
            writer.write_all(b"x").unwrap();
            std::thread::sleep(Duration::from_millis(50));
            call(&handle);
            drop(driver);
            let mut task = std::task::Context::from_waker(Waker::noop());
            assert!(matches!(run.as_mut().poll(&mut task), Poll::Ready(_)));
        });
    }
}

/// Requests that are groups, members, and behind them, of themselves and each other.
#[test]
fn corners_of_groups_and_orders_end_each_request_once() {
    let nop = || Op::<Bytes>::nop().untyped();
    let group = |key| Op::<Bytes>::group(key).untyped();
    let never = || Op::poll(OwnedFd::from(pipe().unwrap().0), PollFlags::IN).untyped();
    let signal = Signal { signo: 0, tid: None, value: 0 };
    let errno = |errno| Err(Errno(errno));
    let cases = [
        (vec![nop().in_group(7), group(7).in_group(7)], vec![Ok(0), errno(libc::EDEADLK)]),
        (vec![nop().after(After::Previous(0))], vec![errno(libc::ENOENT)]),
        (vec![nop().in_group(7).after(After::Group(7))], vec![errno(libc::EDEADLK)]),
        (vec![nop().in_group(7), group(7).after(After::Group(7))], vec![Ok(0), Ok(0)]),
        (
            vec![nop().in_group(1), nop().in_group(2), group(1).in_group(2), group(2).in_group(1)],
            vec![Ok(0); 4],
        ),
        (
            vec![nop().in_group(1), nop().in_group(2), group(2).in_group(1), group(1).in_group(2)],
            vec![Ok(0); 4],
        ),
        (
            vec![nop().deadline(Duration::ZERO).after(After::Request(77))],
            vec![errno(libc::ETIMEDOUT)],
        ),
        (vec![nop().signal(signal).required()], vec![errno(libc::EINVAL)]),
        (vec![nop().multishot()], vec![errno(libc::EOPNOTSUPP)]),
        (vec![never().full()], vec![errno(libc::EOPNOTSUPP)]),
    ];
    for (n, (ops, expected)) in cases.into_iter().enumerate() {
        let mut queue = Queue::new(context());
        for (token, op) in ops.into_iter().enumerate() {
            queue.push(op, token);
        }
        let mut ends = Vec::new();
        while !queue.is_empty() {
            let time = Timeout::After(Duration::from_secs(20));
            let done: Vec<_> = queue.wait(1, time).unwrap().collect();
            assert!(!done.is_empty(), "case {n} hangs: {ends:?}");
            ends.extend(done.into_iter().map(|done| (done.token, done.result)));
        }
        ends.sort_by_key(|end| end.0);
        assert_eq!(ends, expected.into_iter().enumerate().collect::<Vec<_>>(), "case {n}");
    }
}

/// An event before the last one ends a wait, which the documentation says, and a
/// deadline ends the request.
#[test]
fn a_wait_ends_with_an_event_of_a_multishot_request() {
    let mut queue: Queue<Bytes, &str> = Queue::new(context());
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let poll = Op::poll(OwnedFd::from(reader), PollFlags::IN).multishot();
    queue.push(poll.deadline(Duration::from_millis(50)), "poll");
    assert_eq!(queue.wait(1, Timeout::Forever).unwrap().count(), 0);
    let key = queue.push(Op::nop(), "nop");
    assert_eq!(queue.cancel(key), Ok(Cancelled::NotStarted));
    let mut told = Vec::new();
    while !queue.is_empty() {
        queue.wait(1, Timeout::Forever).unwrap();
        while let Some(progress) = queue.pop_any().unwrap() {
            told.push(match progress {
                Progress::More { .. } => "more",
                Progress::Ended(done) if done.result == Err(Errno(libc::ETIMEDOUT)) => "late",
                Progress::Ended(done) => done.token,
            });
        }
    }
    assert!(told.ends_with(&["late"]) && told.contains(&"nop"), "{told:?}");
}

/// Each test that the lists name is there.
#[test]
fn the_list_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let read = |list| std::fs::read_to_string(root.join(list)).unwrap();
    let lists = read("tests/soundness.md") + &read("tests/outside.md");
    let mut named = 0;
    for row in lists.lines().filter(|line| line.starts_with("| ")) {
        // In the last column: `file`: name, name; `file`: "row of a table".
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for part in tests.split("; ").filter(|part| part.starts_with('`')) {
            let (file, names) = part.split_once(": ").unwrap_or((part, ""));
            let file = root.join(file.trim_matches('`'));
            assert!(file.exists(), "{} is not there", file.display());
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            for name in names.split(", ").filter(|name| !name.is_empty()) {
                let is_there = match name.starts_with('"') {
                    true => text.contains(name),
                    false => text.contains(&format!("fn {name}(")),
                };
                assert!(is_there, "{name} is not in {part}");
                named += 1;
            }
        }
    }
    assert!(named > 100, "{named} tests are named");
}
