//! Millions of random requests through groups, AFTER, cancels, deadlines and
//! overflow, by several threads at once, and a model that knows for each what
//! may come of it.
//!
//! A storm is made of rounds, each with a context of its own. Threads submit
//! and cancel, others reap; when all has ended the model looks at each request:
//! exactly one terminal event, a result that it may have, after those that it
//! had to wait for. The order of events is that of their positions in the ring,
//! whoever has reaped them. The seed repeats the choices, not the moments.
//!
//! | room | duty |
//! |---|---|
//! | `make` | the choices: requests, cancels |
//! | `reap` | taking events |
//! | `check` | the model |
//!
//! SPEC: sections 4.4, 5.6, 7, 8, 9, 10.

mod check;
mod make;
mod reap;

use crate::context::{Context, errno, patience};
use crate::env::{Factory, setup};
use crate::file::Pipe;
use crate::random::Random;
use crate::request::{Batch, Request};
use crate::words::Words;
use aio2::backend::Wait;
use aio2::ring::Memory;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use check::Made;
use reap::End;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests that a thread submits in a round.
const PER_THREAD: u32 = 6000;
const PIPES: usize = 4;
/// Bytes of a read of the file.
const FILE_BYTES: usize = 64;

/// What a storm came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Contexts.
    pub rounds: u64,
    /// Events, those with MORE too.
    pub events: u64,
    /// Requests.
    pub requests: u64,
    /// Events that went by the overflow list.
    pub overflowed: u64,
    /// Requests that were cancelled before they started, interrupted, or too
    /// late to be.
    pub cancels: [u64; 3],
    /// Requests whose deadline had passed.
    pub late: u64,
    /// Groups that have ended.
    pub groups: u64,
    /// Requests that waited for another, or for a group, and started.
    pub ordered: u64,
    /// Requests that failed since what they waited for had failed.
    pub passed_on: u64,
    /// Submissions that the limit stopped.
    pub refused: u64,
}

/// What the threads of a round share.
struct Round<'a> {
    context: &'a Context,
    seed: u64,
    pipes: Vec<Pipe>,
    file: &'a File,
    /// Where reads from pipes go; nobody looks at it.
    scratch: [AtomicU8; 64],
    /// Where reads of the file go, all the same bytes.
    read: [AtomicU8; FILE_BYTES],
    submitters: u32,
    /// For each request: its id, if it has one and was accepted.
    ids: Vec<AtomicU64>,
    /// For each request: what cancels came to, as bits of [`check`].
    hits: Vec<AtomicU8>,
    /// Requests that each thread has had accepted.
    accepted: Vec<AtomicU32>,
    /// Cancels of all that has a descriptor or a number in common: bits.
    wide: AtomicU32,
    groups: make::Groups,
    /// The groups whose keys all threads use.
    common: Mutex<make::Book>,
    ended: AtomicU64,
    refused: AtomicU64,
    /// Nothing will be submitted any more, and all has been reaped.
    done: AtomicBool,
    /// A thread has panicked.
    failed: AtomicBool,
}

/// Tells the other threads of a panic of this one.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, SeqCst);
        }
    }
}

/// How a round is set up.
#[derive(Clone, Copy, Debug)]
struct Shape {
    ring_bytes: u32,
    max_requests: u32,
    concurrency: u32,
    submitters: u32,
    reapers: u32,
    /// The only reaper copies by `io_getevents2`.
    copying: bool,
    /// What is left at the end is cancelled, not brought to its end.
    cancels_all: bool,
}

impl Shape {
    fn of(random: &mut Random) -> Self {
        let reapers = 1 + random.below(3) as u32;
        Shape {
            ring_bytes: 4096 << random.below(3),
            max_requests: [16, 64, 256, 512][random.below(4) as usize],
            concurrency: 1 + random.below(6) as u32,
            submitters: 1 + random.below(4) as u32,
            reapers,
            copying: reapers == 1 && random.below(2) == 0,
            cancels_all: random.below(4) == 0,
        }
    }

    fn setup(&self) -> Setup {
        let Shape { ring_bytes, max_requests, concurrency, .. } = *self;
        Setup { ring_bytes, max_requests, concurrency, ..setup() }
    }
}

/// Rages until so many events have been seen; calls `tell` after each round.
///
/// # Panics
/// If the model finds something wrong; says with which seed.
pub fn rage(
    factory: &dyn Factory,
    seed: u64,
    events: u64,
    mut tell: impl FnMut(&Totals),
) -> Totals {
    let file = crate::model::file();
    let mut totals = Totals::default();
    while totals.events < events {
        let seed = seed.wrapping_add(totals.rounds);
        let result = catch_unwind(AssertUnwindSafe(|| round(factory, seed, &file)));
        let Ok(one) = result else {
            panic!("AIO2_SEED={seed} AIO2_EVENTS=1 repeats this round");
        };
        totals.add(&one);
        tell(&totals);
    }
    totals
}

fn round(factory: &dyn Factory, seed: u64, file: &File) -> Totals {
    let mut random = Random::new(seed);
    let shape = Shape::of(&mut random);
    let context = Context::new(factory.create(&shape.setup()).expect("a context can be created"));
    let consumer = context.backend().consumer();
    let round = Round::new(&context, seed, file, &shape);
    let (made, ends) = round.play(&shape);
    let mut totals = round.check(&made, &ends, shape.cancels_all);
    totals.overflowed = context.overflowed();
    totals.refused = round.refused.load(Relaxed);
    let view = consumer.memory().view();
    let bytes: u64 = ends.iter().flatten().map(|end| u64::from(end.len)).sum();
    let head = view.head.load(SeqCst);
    assert_eq!(head, bytes, "what was reaped is what went through the ring");
    context.assert_idle();
    round.limit_is_free(shape.max_requests);
    drop(round);
    drop(context);
    assert!(consumer.is_dead());
    totals
}

impl<'a> Round<'a> {
    fn new(context: &'a Context, seed: u64, file: &'a File, shape: &Shape) -> Self {
        let all = (shape.submitters * PER_THREAD * 2) as usize;
        Round {
            context,
            seed,
            pipes: (0..PIPES).map(|_| Pipe::new()).collect(),
            file,
            scratch: [const { AtomicU8::new(0) }; 64],
            read: [const { AtomicU8::new(0) }; FILE_BYTES],
            submitters: shape.submitters,
            ids: (0..all).map(|_| AtomicU64::new(0)).collect(),
            hits: (0..all).map(|_| AtomicU8::new(0)).collect(),
            accepted: (0..shape.submitters).map(|_| AtomicU32::new(0)).collect(),
            wide: AtomicU32::new(0),
            groups: make::Groups::default(),
            common: Mutex::default(),
            ended: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            done: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// user_data of a request: its index, and what tells that it is whole.
    fn user_data(&self, index: u32) -> u64 {
        let mark = Random::new(self.seed ^ u64::from(index)).next() as u32;
        u64::from(mark) << 32 | u64::from(index)
    }

    /// Index of the first request of a thread; there is room for more than it
    /// submits on its own account.
    fn first(&self, thread: u32) -> u32 {
        thread * PER_THREAD * 2
    }

    fn assert_sound(&self) {
        assert!(!self.failed.load(SeqCst), "another thread has failed");
    }

    /// Has all threads play, until all has ended; what was submitted by each,
    /// and what each has reaped.
    fn play(&self, shape: &Shape) -> (Vec<Vec<Made>>, Vec<Vec<End>>) {
        std::thread::scope(|scope| {
            let reapers: Vec<_> = (0..shape.reapers)
                .map(|n| {
                    scope.spawn(move || {
                        let _alarm = Alarm(&self.failed);
                        if shape.copying { self.copy() } else { self.reap(n) }
                    })
                })
                .collect();
            let submitters: Vec<_> = (0..shape.submitters)
                .map(|n| {
                    scope.spawn(move || {
                        let _alarm = Alarm(&self.failed);
                        make::Maker::new(self, n).run()
                    })
                })
                .collect();
            let _alarm = Alarm(&self.failed);
            let made: Vec<Vec<Made>> =
                submitters.into_iter().map(|t| t.join().expect("a thread failed")).collect();
            self.bring_to_an_end(&made, shape.cancels_all);
            self.done.store(true, SeqCst);
            let ends = reapers.into_iter().map(|t| t.join().expect("a thread failed")).collect();
            (made, ends)
        })
    }

    /// Brings about the end of what does not end by itself.
    fn bring_to_an_end(&self, made: &[Vec<Made>], cancels_all: bool) {
        let all = made.iter().map(|m| m.len() as u64).sum();
        let start = Instant::now();
        while self.ended.load(SeqCst) < all {
            self.assert_sound();
            if start.elapsed() > patience() {
                panic!("{} of {all} have ended, and no more do", self.ended.load(SeqCst));
            }
            if cancels_all {
                let flags = CancelFlags::ALL | CancelFlags::WAIT;
                let result = self.context.cancel(flags, Cancel::default());
                assert!(matches!(errno(result), None | Some(libc::ENOENT)));
            } else {
                self.feed();
                for (thread, made) in (0..).zip(made) {
                    let multishot = made.iter().zip(0..).filter(|(m, _)| m.is_multishot());
                    multishot.for_each(|(_, n)| self.cancel_one(self.first(thread) + n, false));
                }
            }
            assert_eq!(self.context.wait(&Wait::events(0)), Ok(()));
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Sees to it that there is something in each pipe.
    fn feed(&self) {
        for pipe in &self.pipes {
            if pipe.readable_bytes() == 0 {
                std::io::Write::write_all(&mut &pipe.writer, b"x").expect("there is room");
            }
        }
    }

    /// Cancels a request that was accepted, and notes what came of it.
    fn cancel_one(&self, index: u32, by_id: bool) {
        let id = self.ids[index as usize].load(SeqCst);
        let (flags, fields) = if by_id && id != 0 {
            (CancelFlags::ID, Cancel { id, ..Cancel::default() })
        } else {
            let user_data = self.user_data(index);
            (CancelFlags::USER_DATA, Cancel { user_data, ..Cancel::default() })
        };
        match self.context.cancel(flags, fields) {
            Ok((matches, done)) => {
                let hit = match (done.cancelled, done.interrupted, done.too_late) {
                    (1, 0, 0) => check::CANCELLED,
                    (0, 1, 0) => check::INTERRUPTED,
                    (0, 0, 1) => check::TOO_LATE,
                    other => panic!("one match is counted as {other:?}"),
                };
                assert_eq!(matches, 1);
                self.hits[index as usize].fetch_or(hit, SeqCst);
            }
            Err(errno) => assert_eq!(errno.0, libc::ENOENT),
        }
    }

    /// As many requests as the limit allows are accepted, and no more: nothing
    /// that has ended counts.
    fn limit_is_free(&self, max_requests: u32) {
        let idle = Pipe::new();
        let read = || {
            let at = self.scratch.as_ptr().addr() as u64;
            Request::call(libc::SYS_read, &[idle.reader.as_raw_fd() as u64, at, 1]).on_worker()
        };
        self.context.submit_all(&mut Batch::of((0..max_requests).map(|_| read())));
        let more = self.context.submit(&mut Batch::of([read()]));
        assert_eq!(errno(more), Some(libc::EAGAIN), "the limit");
        let all = self.context.cancel(CancelFlags::ALL | CancelFlags::WAIT, Cancel::default());
        assert_eq!(all.map(|(matches, _)| matches), Ok(max_requests));
        assert_eq!(self.context.reap(max_requests as usize).len(), max_requests as usize);
        self.context.assert_idle();
    }

    fn common(&self) -> std::sync::MutexGuard<'_, make::Book> {
        self.common.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    fn add(&mut self, one: &Totals) {
        self.rounds += 1;
        self.events += one.events;
        self.requests += one.requests;
        self.overflowed += one.overflowed;
        for (sum, n) in self.cancels.iter_mut().zip(one.cancels) {
            *sum += n;
        }
        self.late += one.late;
        self.groups += one.groups;
        self.ordered += one.ordered;
        self.passed_on += one.passed_on;
        self.refused += one.refused;
    }
}
