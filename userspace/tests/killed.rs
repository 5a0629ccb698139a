//! A consumer in another process that is killed before each of the instructions of
//! a reap, one after the other, single-stepped by ptrace(2); in a build without
//! optimisation before some of them, and all near the one that claims. What it had not
//! claimed is there for others, once; what it had is gone, whole; and the ring has
//! all of its room again.
//!
//! SPEC: R-RING-10, R-RING-12, R-RING-15, R-OVF-7.
#![cfg(all(not(aio2_loom), target_arch = "x86_64"))]
#![allow(unsafe_code)]

use aio2::ring::{Consumer, Geometry, Memory, Producer, header};
use aio2::shm::{ConsumerMap, ProducerMap, RingFiles, create};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::SeqCst;

/// Events in the ring, and how many of them the killed consumer reaps.
const EVENTS: u64 = 5;
const REAPED: usize = 2;
/// Words of an event.
const WORDS: usize = 4;

/// What a consumer does in the child.
type Reap = fn(Consumer<ConsumerMap>) -> Box<dyn FnOnce()>;

fn by_copies(consumer: Consumer<ConsumerMap>) -> Box<dyn FnOnce()> {
    let mut buffer = [0; WORDS * EVENTS as usize];
    Box::new(move || {
        let events = consumer.reap(&mut buffer, REAPED).expect("the ring is sound");
        assert_eq!(events.len(), REAPED);
    })
}

fn in_place(consumer: Consumer<ConsumerMap>) -> Box<dyn FnOnce()> {
    let Ok(mut consumer) = consumer.into_exclusive() else { panic!("it has no clones") };
    Box::new(move || {
        let mut drain = consumer.drain().expect("the ring is sound");
        for _ in 0..REAPED {
            drain.next().expect("the ring is sound").expect("there are more");
        }
    })
}

fn event(id: u64) -> [u64; WORDS] {
    [header(8 * WORDS as u32, 0), id, !id, id << 32]
}

/// Ids of all that can be reaped, each of which is whole.
fn reap(consumer: &Consumer<ConsumerMap>) -> Vec<u64> {
    let mut buffer = [0; 512];
    let mut ids = Vec::new();
    loop {
        let events = consumer.reap(&mut buffer, usize::MAX).expect("the ring is sound");
        if events.len() == 0 {
            return ids;
        }
        for found in events {
            assert_eq!(found, event(found[1]), "torn");
            ids.push(found[1]);
        }
    }
}

/// A child that stands before its reap. It has its own mapping, as any process has.
fn start(files: &RingFiles, how: Reap) -> nix::Result<Pid> {
    // SAFETY: the child is left alone by the threads that it has not, takes memory
    // from an allocator that glibc keeps usable, and does not return.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(child),
            // It could not be traced, and has left.
            _ => Err(nix::Error::EPERM),
        },
        ForkResult::Child => {
            let reap = files.map().map(how);
            let status = match (reap, ptrace::traceme()) {
                (Ok(reap), Ok(())) => {
                    let _ = raise(Signal::SIGSTOP);
                    reap();
                    0
                }
                _ => 1,
            };
            // SAFETY: runs nothing of the parent's.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Runs one instruction; breaks with the status that it has ended with.
fn step(child: Pid) -> ControlFlow<i32> {
    ptrace::step(child, None).expect("it stands");
    match waitpid(child, None).expect("it is there") {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => ControlFlow::Continue(()),
        WaitStatus::Exited(_, status) => ControlFlow::Break(status),
        other => panic!("the child: {other:?}"),
    }
}

fn kill(child: Pid) {
    ptrace::kill(child).expect("it stands");
    let _ = waitpid(child, Some(WaitPidFlag::__WALL)).expect("it is there");
}

struct Ring {
    producer: Producer<ProducerMap>,
    files: RingFiles,
    others: Consumer<ConsumerMap>,
}

impl Ring {
    /// With events across the wrap of the position's low half.
    fn new() -> Self {
        let start = (1 << 32) - 3 * 8 * WORDS as u64;
        let geometry = Geometry::new(4096, 1024).expect("a page").starting_at(start);
        let (mut producer, files) = create(geometry).expect("there is memory");
        assert!((0..EVENTS).all(|id| producer.push(&event(id))));
        let others = files.map().expect("there is memory");
        Ring { producer, files, others }
    }

    fn head(&self) -> u64 {
        self.others.memory().view().head.load(SeqCst)
    }

    /// What is true whenever the other consumer has died; whether it had claimed.
    fn check(mut self, at: usize) -> bool {
        let left = reap(&self.others);
        let claimed = left.len() < EVENTS as usize;
        let first = if claimed { REAPED as u64 } else { 0 };
        assert_eq!(left, (first..EVENTS).collect::<Vec<_>>(), "killed before instruction {at}");
        let room = 4096 / (8 * WORDS as u64);
        let sent: Vec<u64> = (100..).take_while(|id| self.producer.push(&event(*id))).collect();
        assert_eq!(sent.len() as u64, room, "room after a kill before instruction {at}");
        assert_eq!(reap(&self.others), sent, "after a kill before instruction {at}");
        claimed
    }
}

fn killed_at_every_instruction(name: &str, how: Reap) {
    // Once, to its end: how many there are, and which moves head.
    let ring = Ring::new();
    let child = match start(&ring.files, how) {
        Ok(child) => child,
        Err(errno) => {
            println!("SKIP {name}: a child cannot be traced here: {errno}");
            return;
        }
    };
    let (mut all, mut moves) = (0, None);
    let before = ring.head();
    loop {
        match step(child) {
            ControlFlow::Continue(()) => all += 1,
            ControlFlow::Break(status) => {
                assert_eq!(status, 0, "it has reaped");
                break;
            }
        }
        if moves.is_none() && ring.head() != before {
            moves = Some(all);
        }
    }
    let moves = moves.expect("head has moved");
    assert!(ring.check(all));
    // Without optimisation there are ten times as many, and the time is quadratic.
    let apart = if cfg!(debug_assertions) { 61 } else { 1 };
    let near = |at: &usize| at.abs_diff(moves) <= 8 || at.is_multiple_of(apart);
    for at in (0..all).filter(near) {
        let ring = Ring::new();
        let child = start(&ring.files, how).expect("as before");
        assert!((0..at).all(|_| step(child).is_continue()), "the same path each time");
        kill(child);
        let claimed = ring.check(at);
        assert_eq!(claimed, at >= moves, "killed before instruction {at} of {all}");
    }
    println!(
        "killed: {all} instructions of {name}, before each {apart}. of them, \
         and each near the {moves}., which moves head"
    );
}

#[test]
fn a_consumer_that_copies_is_killed_at_every_instruction() {
    killed_at_every_instruction("a consumer that copies", by_copies);
}

#[test]
fn a_consumer_in_place_is_killed_at_every_instruction() {
    killed_at_every_instruction("a consumer in place", in_place);
}
