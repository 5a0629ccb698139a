//! Sets of contexts against a simple model, with events that arrive at random.
#![allow(unsafe_code)]

mod common;

use aio2::error::ReapError;
use aio2::set::{Over, Sealed, SetError, Source};
use aio2::{Context, Errno, Iocbs, OwnedEvent, Prefer, Reaper, Set, Timeout};
use aio2_abi::{iocb::IocbFlags, op};
use common::Random;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::write;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

const NOW: Timeout = Timeout::After(Duration::ZERO);

/// What appendix E of SPEC.md says, in its words: for each member its events, and how often
/// it was passed over.
struct Model {
    ageing: u32,
    members: Vec<Modelled>,
}

struct Modelled {
    name: usize,
    priority: u8,
    passed_over: u32,
    events: VecDeque<u64>,
}

impl Model {
    /// Which member is next.
    fn next(&self) -> Option<usize> {
        let ready = || self.members.iter().enumerate().filter(|(_, m)| !m.events.is_empty());
        let aged = ready().map(|(_, m)| m.passed_over).filter(|&n| n >= self.ageing).max();
        let best = ready().map(|(_, m)| m.priority).max()?;
        // Those among whom the number of passings decides.
        let eligible = |m: &Modelled| match aged {
            Some(most) => m.passed_over == most,
            None => m.priority == best,
        };
        let most =
            |m: &Modelled| if aged.is_some() { u32::from(m.priority) } else { m.passed_over };
        let chosen = ready().filter(|(_, m)| eligible(m)).map(|(_, m)| most(m)).max()?;
        ready().find(|(_, m)| eligible(m) && most(m) == chosen).map(|(n, _)| n)
    }

    fn deliver(&mut self) -> Option<(usize, u64)> {
        let next = self.next()?;
        for (n, member) in self.members.iter_mut().enumerate() {
            if n != next && !member.events.is_empty() {
                member.passed_over += 1;
            }
        }
        let member = &mut self.members[next];
        member.passed_over = 0;
        Some((member.name, member.events.pop_front()?))
    }
}

fn context() -> Context {
    Context::builder().prefer(Prefer::Engine).build().expect("an engine")
}

/// Submits NOPs, which end at once.
fn nops(context: &Context, user_data: impl Iterator<Item = u64>) {
    let mut iocbs = Iocbs::new();
    for user_data in user_data {
        iocbs.push(op::NOP, &[], IocbFlags::empty(), user_data).expect("short enough");
    }
    // SAFETY: a NOP has no arguments.
    let accepted = unsafe { context.submit_raw(iocbs.bytes_mut()) };
    assert_eq!(accepted, Ok(iocbs.bytes().len()));
}

/// SPEC: R-SET-1, R-SET-2, R-SET-3, R-SET-6
#[test]
fn delivery_is_that_of_the_model_whatever_arrives() {
    for seed in 0..150 {
        let mut random = Random(seed);
        let ageing = 1 + random.below(6) as u32;
        let set = Set::with_ageing(NonZeroU32::new(ageing).unwrap()).unwrap();
        let mut model = Model { ageing, members: Vec::new() };
        let mut contexts = Vec::new();
        let mut next_event = 0..;
        for _ in 0..300 {
            match random.below(20) {
                0 if model.members.len() < 5 => {
                    let (name, context) = (contexts.len(), context());
                    let priority = random.below(4) as u8;
                    let member = set.add(context.reaper(), priority).unwrap();
                    contexts.push((context, member));
                    let events = VecDeque::new();
                    model.members.push(Modelled { name, priority, passed_over: 0, events });
                }
                1 if !model.members.is_empty() => {
                    let n = random.below(model.members.len() as u64) as usize;
                    let removed = model.members.remove(n);
                    let mut reaper = set.remove(contexts[removed.name].1).unwrap();
                    let mut kept = Vec::new();
                    while kept.len() < removed.events.len() {
                        let before = kept.len();
                        kept.extend(reaper.batch().unwrap().map(|event| event.user_data()));
                        assert!(kept.len() > before, "seed {seed}");
                    }
                    assert_eq!(removed.events, kept, "seed {seed}");
                }
                2..=9 if !model.members.is_empty() => {
                    let n = random.below(model.members.len() as u64) as usize;
                    let count = 1 + random.below(8) as usize;
                    let events: Vec<u64> = next_event.by_ref().take(count).collect();
                    nops(&contexts[model.members[n].name].0, events.iter().copied());
                    model.members[n].events.extend(events);
                }
                _ => {
                    let (min, max) = (random.below(4) as usize, random.below(6) as usize);
                    let mut to = Vec::new();
                    drop(set.wait(&mut to, min, max, NOW).unwrap());
                    let found = to.iter().map(|d| {
                        let name = contexts.iter().position(|c| c.1 == d.member).unwrap();
                        let event: &OwnedEvent = &d.item;
                        (name, event.as_event().user_data())
                    });
                    let expected: Vec<_> =
                        (0..max.max(min)).map_while(|_| model.deliver()).collect();
                    assert_eq!(found.collect::<Vec<_>>(), expected, "seed {seed}");
                }
            }
        }
    }
}

/// SPEC: R-SET-4
#[test]
fn a_member_that_is_broken_is_named_until_it_is_removed() {
    let set: Set<Reaper> = Set::with_ageing(NonZeroU32::MIN).unwrap();
    let [good, bad] = [context(), context()];
    let good_member = set.add(good.reaper(), 0).unwrap();
    let bad_member = set.add(bad.reaper(), 9).unwrap();
    nops(&good, 0..3);
    nops(&bad, 0..3);
    // A stray write of the application's: behind the tail.
    let consumer = bad.consumer();
    // SAFETY: what breaks it is the test.
    let ring = unsafe { consumer.ring() }.unwrap();
    let head = aio2::ring::Memory::view(ring.memory()).head;
    head.store(1 << 20, std::sync::atomic::Ordering::SeqCst);
    let mut to = Vec::new();
    for _ in 0..2 {
        let error = set.wait(&mut to, 1, 1, Timeout::Forever).unwrap_err();
        assert!(error.to_string().contains("remove it") && to.is_empty(), "{error}");
        assert_eq!(error.errno().0, libc::EBADMSG);
    }
    assert!(set.remove(bad_member).is_some());
    assert_eq!(set.wait(&mut to, 3, 3, Timeout::Forever).unwrap().len(), 3);
    assert!(to.iter().all(|d| d.member == good_member));
}

/// SPEC: R-SET-3, R-SET-4, R-GROW-3
#[test]
fn a_member_whose_ring_is_replaced_loses_nothing() {
    let set: Set<Reaper> = Set::new().unwrap();
    let small = Context::builder().prefer(Prefer::Engine).ring_bytes(4096).build().unwrap();
    set.add(small.reaper(), 0).unwrap();
    // In the ring, in the set, and on the overflow list.
    nops(&small, 0..300);
    let mut to = Vec::new();
    assert_eq!(set.wait(&mut to, 1, 1, Timeout::Forever).unwrap().len(), 1);
    small.grow(8192).unwrap();
    nops(&small, 300..310);
    assert_eq!(set.wait(&mut to, 309, 309, Timeout::Forever).unwrap().len(), 309);
    // Some are claimed from the old ring, others stand in the new one.
    nops(&small, 310..312);
    assert_eq!(set.wait(&mut to, 1, 1, Timeout::Forever).unwrap().len(), 1);
    small.grow(16384).unwrap();
    nops(&small, 312..315);
    assert_eq!(set.wait(&mut to, 4, 4, Timeout::Forever).unwrap().len(), 4);
    assert!(to.iter().map(|d| d.item.as_event().user_data()).eq(0..315));
}

/// SPEC: R-SET-4, R-NOTIFY-7
#[test]
fn a_member_whose_eventfd_is_full_ends_the_sleep() {
    let eventfd = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let mine = eventfd.try_clone().unwrap();
    let context = Context::builder().prefer(Prefer::Engine).eventfd(eventfd).build().unwrap();
    let set: Set<Reaper> = Set::new().unwrap();
    set.add(context.reaper(), 0).unwrap();
    write(&mine, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    ends_within_patience(|| {
        sleeps_then(&set, || nops(&context, 0..1));
    });
}

/// Fails if `f` does not end.
fn ends_within_patience(f: impl FnOnce()) {
    let (done, wait) = channel::<()>();
    thread::spawn(move || {
        if wait.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("it does not end");
            std::process::abort();
        }
    });
    f();
    drop(done);
}

/// Does `f` while a thread waits for one event of `set`, and sleeps; the event.
fn sleeps_then<S: Source<Item: Send> + Send>(set: &Set<S>, f: impl FnOnce()) -> S::Item {
    thread::scope(|scope| {
        let (tell, tid) = channel();
        let waiter = scope.spawn(move || {
            tell.send(tid_here()).unwrap();
            let mut to = Vec::new();
            assert_eq!(set.wait(&mut to, 1, 1, Timeout::Forever).unwrap().len(), 1);
            to.remove(0).item
        });
        let call = format!("/proc/self/task/{}/syscall", tid.recv().unwrap());
        let is_asleep = || {
            let polls = [libc::SYS_poll, libc::SYS_ppoll].map(|nr| format!("{nr} "));
            let now = std::fs::read_to_string(&call).unwrap();
            polls.iter().any(|nr| now.starts_with(nr))
        };
        while !is_asleep() {
            thread::sleep(Duration::from_millis(1));
        }
        f();
        waiter.join().unwrap()
    })
}

fn tid_here() -> libc::pid_t {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}

/// Panics once, when it is found to have something.
struct Panics(Reaper, bool);

impl AsFd for Panics {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Sealed for Panics {
    fn over(&self) -> Over<'_> {
        Sealed::over(&self.0)
    }
}

impl Source for Panics {
    type Item = OwnedEvent;

    fn available(&mut self, wanted: usize) -> Result<usize, ReapError> {
        let available = self.0.available(wanted)?;
        assert!(available == 0 || !std::mem::take(&mut self.1), "of the test");
        Ok(available)
    }

    fn take(&mut self) -> Result<Option<OwnedEvent>, ReapError> {
        self.0.take()
    }
}

/// SPEC: R-SET-5
#[test]
fn a_wait_that_a_member_panics_in_is_none_any_more() {
    let context = context();
    let set = Set::new().unwrap();
    set.add(Panics(context.reaper(), true), 0).unwrap();
    ends_within_patience(|| {
        let wait = || sleeps_then(&set, || nops(&context, 0..1));
        catch_unwind(AssertUnwindSafe(wait)).expect_err("it panics");
        assert_eq!(set.wait(&mut Vec::new(), 1, 1, NOW).unwrap().len(), 1);
        // Were it one, it would still be the one that watches.
        sleeps_then(&set, || nops(&context, 1..2));
    });
}

/// SPEC: R-SET-9
#[test]
fn what_takes_a_members_place_is_waited_for() {
    let [first, second] = [context(), context()];
    let set = Set::new().unwrap();
    let member = set.add(first.reaper(), 0).unwrap();
    let mut other = second.reaper();
    ends_within_patience(|| {
        let event = sleeps_then(&set, || {
            set.with(member, |reaper| std::mem::swap(reaper, &mut other));
            nops(&second, 1..2);
        });
        assert_eq!(event.as_event().user_data(), 1);
        // What was a member is none any more.
        nops(&first, 2..3);
        assert_eq!(set.wait(&mut Vec::new(), 1, 1, NOW).unwrap().len(), 0);
        assert_eq!(other.batch().unwrap().count(), 1);
        // A panic does not keep it from being watched.
        let event = sleeps_then(&set, || {
            let change = || set.with(member, |reaper| panics_after_swap(reaper, &mut other));
            catch_unwind(AssertUnwindSafe(change)).expect_err("it panics");
            nops(&first, 3..4);
        });
        assert_eq!(event.as_event().user_data(), 3);
    });
}

fn panics_after_swap(a: &mut Reaper, b: &mut Reaper) {
    std::mem::swap(a, b);
    panic!("of the test");
}

/// The new context has the descriptor's number of the old one.
#[test]
fn a_descriptors_number_is_not_taken_for_the_descriptor() {
    let set = Set::new().unwrap();
    let member = set.add(context().reaper(), 0).unwrap();
    ends_within_patience(|| {
        for _ in 0..4 {
            let mut made = None;
            let event = sleeps_then(&set, || {
                set.with(member, |reaper| {
                    let new = context();
                    *reaper = new.reaper();
                    made = Some(new);
                });
                nops(made.as_ref().unwrap(), 7..8);
            });
            assert_eq!(event.as_event().user_data(), 7);
        }
    });
}

/// SPEC: R-SET-9
#[test]
fn what_is_a_member_already_cannot_take_anothers_place() {
    let [first, second] = [context(), context()];
    let set = Set::new().unwrap();
    let members = [&first, &second].map(|context| set.add(context.reaper(), 0).unwrap());
    set.with(members[1], |reaper| *reaper = first.reaper());
    let errno = Errno(libc::EEXIST);
    let error = set.wait(&mut Vec::new(), 1, 1, NOW).err();
    assert_eq!(error, Some(SetError::Unwatched { member: members[1], errno }));
    ends_within_patience(|| {
        assert!(set.remove(members[1]).is_some());
        // The other one is watched still.
        sleeps_then(&set, || nops(&first, 0..1));
        // It can be put right, too.
        let member = set.add(second.reaper(), 0).unwrap();
        set.with(member, |reaper| *reaper = first.reaper());
        set.with(member, |reaper| *reaper = second.reaper());
        sleeps_then(&set, || nops(&second, 0..1));
    });
}
