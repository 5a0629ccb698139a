//! Sets of contexts. SPEC: appendix E.

use crate::context::patience;
use crate::env::{Env, Outcome, setup};
use crate::random::Random;
use crate::reap::sleeper;
use crate::request::{Batch, Request};
use crate::signal::{Handler, signal_thread};
use crate::wakeups::sleeps;
use aio2::backend::{Backend, Timeout};
use aio2::set::{Delivery, Member, Set, SetError};
use aio2::{Errno, OwnedEvent, Reaper};
use aio2_abi::setup::Setup;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The watchdog ends it: at the end of a time a set gives what there is, which
/// would hide a missed wakeup.
const LONG: Timeout = Timeout::Forever;
const NOW: Timeout = Timeout::After(Duration::ZERO);

/// A context whose events a set takes.
struct Context {
    inner: aio2::Context,
}

impl Context {
    fn new(env: &Env<'_>, setup: Setup) -> Self {
        let backend: Arc<dyn Backend> =
            env.factory.create(&setup).expect("a context can be created").into();
        // SAFETY: it is an implementation under test, and this its only context.
        Context { inner: unsafe { aio2::Context::over(backend, aio2::Implementation::Engine) } }
    }

    /// Submits NOPs, all of which are accepted at some time.
    fn nops(&self, user_data: std::ops::Range<u64>) {
        let mut batch = Batch::of(user_data.map(Request::nop));
        let (mut at, start) = (0, Instant::now());
        while at < batch.bytes().len() {
            // SAFETY: a NOP has no arguments.
            match unsafe { self.inner.submit_raw(&mut batch.bytes()[at..]) } {
                Ok(bytes) => at += bytes,
                Err(e) => {
                    assert!(
                        e.errno() == Errno(libc::EAGAIN) && start.elapsed() < patience(),
                        "{e}"
                    );
                    std::thread::yield_now();
                }
            }
        }
    }
}

/// A set with an ageing that no test reaches.
fn plain() -> Set<Reaper> {
    aged(u32::MAX)
}

fn aged(ageing: u32) -> Set<Reaper> {
    Set::with_ageing(NonZeroU32::new(ageing).expect("not 0")).expect("a set can be made")
}

/// A set with this concurrency value.
fn at_most(concurrency: usize) -> Set<Reaper> {
    let concurrency = concurrency.try_into().expect("not 0");
    Set::with_concurrency(NonZeroU32::MAX, concurrency).expect("a set can be made")
}

/// Contexts that are members with these priorities.
fn contexts(env: &Env<'_>, set: &Set<Reaper>, priorities: &[u8]) -> Vec<(Context, Member)> {
    let add = |&priority| {
        let context = Context::new(env, setup());
        let member = set.add(context.inner.reaper(), priority).expect("it can be added");
        (context, member)
    };
    priorities.iter().map(add).collect()
}

/// What one wait delivers: members, by their place in `of`, and user_data.
fn get(
    set: &Set<Reaper>,
    of: &[(Context, Member)],
    min: usize,
    max: usize,
    timeout: Timeout,
) -> Result<Vec<(usize, u64)>, SetError> {
    let mut to = Vec::new();
    let delivered = set.wait(&mut to, min, max, timeout)?.len();
    assert_eq!(delivered, to.len());
    let place = |d: &Delivery<OwnedEvent>| of.iter().position(|m| m.1 == d.member);
    Ok(to.iter().map(|d| (place(d).expect("a member"), d.item.as_event().user_data())).collect())
}

pub(crate) fn higher_priority_is_delivered_first(env: &Env<'_>) -> Outcome {
    let set = plain();
    let members = contexts(env, &set, &[5, 200, 5, 0]);
    for (context, _) in &members {
        context.nops(0..3);
    }
    let order = get(&set, &members, 12, 12, LONG).expect("they are there");
    let expected = [1, 1, 1, 0, 2, 0, 2, 0, 2, 3, 3, 3];
    assert!(order.iter().map(|o| o.0).eq(expected), "{order:?}");
    for n in 0..4 {
        assert!(order.iter().filter(|o| o.0 == n).map(|o| o.1).eq(0..3), "{order:?}");
    }
    // It goes before what was there first.
    members[0].0.nops(0..2);
    members[1].0.nops(0..1);
    let order: Vec<_> =
        (0..3).map(|_| get(&set, &members, 1, 1, LONG).expect("one")[0].0).collect();
    assert_eq!(order, [1, 0, 0]);
    Ok(())
}

pub(crate) fn member_is_passed_over_as_often_as_ageing_says(env: &Env<'_>) -> Outcome {
    const AGEING: usize = 4;
    for members in 2..5 {
        let set = aged(AGEING as u32);
        let priorities: Vec<u8> = (0..members).map(|n| 100 - n as u8).collect();
        let of = contexts(env, &set, &priorities);
        of.iter().for_each(|(context, _)| context.nops(0..200));
        let mut order = Vec::new();
        while order.len() < 150 {
            order.extend(get(&set, &of, 1, 1 + order.len() % 7, LONG).expect("they are there"));
        }
        let lowest = members - 1;
        let gaps: Vec<_> = order.split(|o| o.0 == lowest).map(<[_]>::len).collect::<Vec<_>>();
        let longest = gaps.iter().max().copied().unwrap_or(0);
        assert_eq!(longest, AGEING + members - 2, "{members} members: {gaps:?}");
    }
    Ok(())
}

pub(crate) fn wait_for_a_set_needs_min_events_of_all_together(env: &Env<'_>) -> Outcome {
    let set = plain();
    let members = contexts(env, &set, &[1, 2]);
    assert_eq!(get(&set, &members, 0, 9, LONG), Ok(vec![]), "0 does not wait");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (waiter, _) = sleeper(scope, || {
            let got = get(&set, &members, 5, 5, LONG);
            done.store(true, Ordering::SeqCst);
            got
        });
        members[0].0.nops(0..2);
        members[1].0.nops(0..2);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            assert!(!done.load(Ordering::SeqCst), "four are too few");
        }
        members[0].0.nops(2..3);
        let got = waiter.join().expect("the thread ends").expect("five are there");
        assert_eq!(got, [(1, 0), (1, 1), (0, 0), (0, 1), (0, 2)]);
    });
    // More than a ring and the set hold at a time.
    std::thread::scope(|scope| {
        let (waiter, _) = sleeper(scope, || get(&set, &members, 9000, 9000, LONG));
        members[0].0.nops(0..9000);
        let got = waiter.join().expect("the thread ends").expect("all are there");
        assert!(got.iter().map(|o| o.1).eq(0..9000));
    });
    Ok(())
}

pub(crate) fn set_whose_time_is_over_gives_what_there_is(env: &Env<'_>) -> Outcome {
    let set = plain();
    let members = contexts(env, &set, &[1, 2]);
    let span = Duration::from_millis(20);
    for (count, min) in [(0, 1), (3, 4)] {
        members[0].0.nops(0..count);
        assert_eq!(get(&set, &members, min, 9, NOW).map(|o| o.len()), Ok(count as usize));
        members[0].0.nops(0..count);
        let start = Instant::now();
        let got = get(&set, &members, min, 9, Timeout::After(span));
        assert_eq!(got.map(|o| o.len()), Ok(count as usize));
        assert!(start.elapsed() >= span, "{:?}", start.elapsed());
    }
    // Of several threads the one that watches gives up, and another watches.
    std::thread::scope(|scope| {
        let (brief, _) = sleeper(scope, || get(&set, &members, 1, 1, Timeout::After(span)));
        let (patient, _) = sleeper(scope, || get(&set, &members, 1, 1, LONG));
        assert_eq!(brief.join().expect("the thread ends"), Ok(vec![]));
        members[1].0.nops(7..8);
        assert_eq!(patient.join().expect("the thread ends"), Ok(vec![(1, 7)]));
    });
    Ok(())
}

pub(crate) fn signal_ends_the_wait_for_a_set(env: &Env<'_>) -> Outcome {
    let _handler = Handler::install();
    let set = plain();
    let members = contexts(env, &set, &[1]);
    std::thread::scope(|scope| {
        // The first one watches, the others are parked.
        let threads: Vec<_> =
            (0..3).map(|_| sleeper(scope, || get(&set, &members, 1, 1, LONG))).collect();
        let (patient, _) = sleeper(scope, || get(&set, &members, 1, 1, LONG));
        for (thread, tid) in threads {
            while !thread.is_finished() {
                signal_thread(tid);
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(thread.join().expect("the thread ends"), Err(SetError::Interrupted));
        }
        members[0].0.nops(3..4);
        assert_eq!(patient.join().expect("the thread ends"), Ok(vec![(0, 3)]));
    });
    Ok(())
}

pub(crate) fn waiters_of_a_set_with_different_numbers_are_all_served(env: &Env<'_>) -> Outcome {
    let set = plain();
    let members = contexts(env, &set, &[1, 2]);
    std::thread::scope(|scope| {
        let (set, members) = (&set, &members);
        let wait = |n| move || get(set, members, n, n, LONG).map(|o| o.len());
        let [five, one, three] = [5, 1, 3].map(|n| sleeper(scope, wait(n)).0);
        // Not enough for the one that watches, and for the last to come.
        members[0].0.nops(0..1);
        assert_eq!(one.join().expect("the thread ends"), Ok(1));
        members[1].0.nops(0..3);
        assert_eq!(three.join().expect("the thread ends"), Ok(3));
        members[0].0.nops(0..2);
        members[1].0.nops(0..3);
        assert_eq!(five.join().expect("the thread ends"), Ok(5));
    });
    Ok(())
}

pub(crate) fn set_wakes_two_threads_for_an_event_at_most(env: &Env<'_>) -> Outcome {
    const EVENTS: u64 = 1000;
    const STOP: u64 = u64::MAX;
    // The first thread watches. It takes the events, or wakes another for each.
    for (waiters, first_wants) in [(1, 1), (2, 1), (8, 1), (64, 1), (2, 100), (64, 100)] {
        let set = plain();
        let members = contexts(env, &set, &[1, 2, 3]);
        let taken = AtomicU64::new(0);
        let slept: u64 = std::thread::scope(|scope| {
            let (set, members, taken) = (&set, &members, &taken);
            let wait = |wants: usize| {
                move || {
                    let before = sleeps();
                    loop {
                        let got = get(set, members, wants, wants, LONG).expect("events");
                        if got.iter().any(|o| o.1 == STOP - 1) {
                            return sleeps() - before;
                        }
                        taken.fetch_add(got.len() as u64, Ordering::Release);
                    }
                }
            };
            let wants = |n| if n == 0 { first_wants } else { 1 };
            let threads: Vec<_> = (0..waiters).map(|n| sleeper(scope, wait(wants(n))).0).collect();
            for n in 0..EVENTS {
                members[n as usize % 3].0.nops(n..n + 1);
                while taken.load(Ordering::Acquire) <= n {
                    std::thread::yield_now();
                }
            }
            for _ in 1..waiters + first_wants as u64 {
                members[0].0.nops(STOP - 1..STOP);
            }
            threads.into_iter().map(|t| t.join().expect("the thread ends")).sum()
        });
        println!("{waiters} waiters, {first_wants} for the first, {EVENTS} events: {slept} sleeps");
        // Besides, one may sleep for the lock.
        assert!(slept <= 3 * EVENTS + 8 * waiters, "{waiters} waiters slept {slept} times");
    }
    Ok(())
}

pub(crate) fn members_come_and_go_while_threads_wait(env: &Env<'_>) -> Outcome {
    let set = plain();
    let first = Context::new(env, setup());
    std::thread::scope(|scope| {
        // Nothing to watch yet.
        let wait = || {
            let mut to = Vec::new();
            set.wait(&mut to, 2, 2, LONG).map(|_| to.iter().map(|d| d.member).collect::<Vec<_>>())
        };
        let (waiter, _) = sleeper(scope, wait);
        let (other, _) = sleeper(scope, wait);
        // It comes with an event, and with more than its own.
        first.nops(0..1);
        let member = set.add(first.inner.reaper(), 0).expect("it can be added");
        assert_eq!(set.add(first.inner.reaper(), 0), Err(Errno(libc::EEXIST)));
        let second = Context::new(env, setup());
        second.nops(0..3);
        let b = set.add(second.inner.reaper(), 9).expect("it can be added");
        let mut got = [waiter, other].map(|t| t.join().expect("the thread ends").expect("two"));
        got.sort();
        assert_eq!(got.concat().iter().filter(|&&m| m == member).count(), 1);
        assert_eq!(got.concat().iter().filter(|&&m| m == b).count(), 3);
        // One that is removed keeps what it has, and is not waited for.
        let (waiter, _) = sleeper(scope, wait);
        second.nops(5..6);
        let mut reaper = set.remove(b).expect("it is there");
        assert!(set.remove(b).is_none() && set.len() == 1);
        let kept = reaper.wait(1, LONG).expect("it was not delivered");
        assert!(kept.map(|e| e.user_data()).eq([5]));
        first.nops(0..2);
        assert_eq!(waiter.join().expect("the thread ends"), Ok(vec![member; 2]));
    });
    Ok(())
}

pub(crate) fn what_takes_a_members_place_is_waited_for(env: &Env<'_>) -> Outcome {
    let set = plain();
    let members = contexts(env, &set, &[0, 0]);
    let new = Context::new(env, setup());
    std::thread::scope(|scope| {
        let wait = || {
            let mut to = Vec::new();
            set.wait(&mut to, 1, 1, LONG).map(|_| to[0].item.as_event().user_data())
        };
        let (waiter, _) = sleeper(scope, wait);
        let old = set.with(members[0].1, |reaper| std::mem::replace(reaper, new.inner.reaper()));
        members[0].0.nops(0..1);
        new.nops(1..2);
        assert_eq!(waiter.join().expect("the thread ends"), Ok(1));
        let mut old = old.expect("it was there");
        assert!(old.wait(1, LONG).expect("nobody took it").map(|e| e.user_data()).eq([0]));
    });
    // It is another member's already.
    let member = members[1].1;
    set.with(member, |reaper| *reaper = new.inner.reaper());
    let errno = Errno(libc::EEXIST);
    let error = set.wait(&mut Vec::new(), 1, 1, LONG).err();
    assert_eq!(error, Some(SetError::Unwatched { member, errno }));
    Ok(())
}

pub(crate) fn set_delivers_each_event_once_whatever_comes_and_goes(env: &Env<'_>) -> Outcome {
    const CONTEXTS: usize = 3;
    const EVENTS: u64 = 6000;
    let set = aged(3);
    let members = contexts(env, &set, &[0, 9, 9]);
    // The member that comes and goes has a small ring, which overflows.
    let guest = Context::new(env, Setup { ring_bytes: 4096, max_requests: 600, ..setup() });
    let left = AtomicU64::new(EVENTS * (CONTEXTS as u64 + 1));
    let mut all: Vec<Vec<u64>> = std::thread::scope(|scope| {
        for (n, (context, _)) in members.iter().enumerate() {
            scope.spawn(move || {
                for e in (0..EVENTS).step_by(20) {
                    let base = (n as u64) << 32;
                    context.nops(base + e..base + e + 20);
                }
            });
        }
        let (guest, set, left) = (&guest, &set, &left);
        scope.spawn(move || {
            let base = (CONTEXTS as u64) << 32;
            for e in (0..EVENTS).step_by(20) {
                guest.nops(base + e..base + e + 20);
            }
        });
        scope.spawn(move || {
            let mut reaper = Some(guest.inner.reaper());
            while left.load(Ordering::Acquire) > 0 {
                let member = set.add(reaper.take().expect("given back"), 200).expect("added");
                std::thread::sleep(Duration::from_micros(300));
                reaper = set.remove(member);
            }
        });
        let threads: Vec<_> = (0..4_u64)
            .map(|seed| {
                scope.spawn(move || {
                    let (mut to, mut random) = (Vec::new(), Random::new(seed));
                    let start = Instant::now();
                    while left.load(Ordering::Acquire) > 0 {
                        assert!(start.elapsed() < patience(), "{left:?} events do not come");
                        let min = 1 + random.below(30) as usize;
                        let timeout = Duration::from_micros(random.below(3000));
                        let max = min + random.below(9) as usize;
                        let got = set.wait(&mut to, min, max, Timeout::After(timeout));
                        left.fetch_sub(got.expect("a sound set").len() as u64, Ordering::AcqRel);
                    }
                    to.iter().map(|d| d.item.as_event().user_data()).collect()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().expect("the thread ends")).collect()
    });
    for order in &all {
        for n in 0..=CONTEXTS as u64 {
            let own = order.iter().filter(|&&e| e >> 32 == n);
            assert!(own.is_sorted(), "the order is kept for each thread and member");
        }
    }
    let mut all: Vec<u64> = all.drain(..).flatten().collect();
    all.sort_unstable();
    let expected = (0..=CONTEXTS as u64).flat_map(|n| (0..EVENTS).map(move |e| n << 32 | e));
    assert!(all.into_iter().eq(expected), "each event once");
    Ok(())
}

pub(crate) fn no_more_threads_are_active_than_the_concurrency_value(env: &Env<'_>) -> Outcome {
    const EVENTS: u64 = 400;
    for concurrency in [1, 3] {
        let set = at_most(concurrency);
        let members = contexts(env, &set, &[1, 2]);
        let [out, most, left] = [0, 0, EVENTS].map(AtomicU64::new);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut to = Vec::new();
                    while left.load(Ordering::Acquire) > 0 {
                        let brief = Timeout::After(Duration::from_millis(50));
                        let got = set.wait(&mut to, 1, 2, brief).expect("a sound set");
                        if got.is_empty() {
                            continue;
                        }
                        let others = out.fetch_add(1, Ordering::AcqRel);
                        most.fetch_max(others + 1, Ordering::AcqRel);
                        (0..10).for_each(|_| std::thread::yield_now());
                        out.fetch_sub(1, Ordering::AcqRel);
                        left.fetch_sub(got.len() as u64, Ordering::AcqRel);
                    }
                });
            }
            (0..EVENTS).for_each(|n| members[n as usize % 2].0.nops(n..n + 1));
        });
        let most = most.into_inner();
        assert!(most <= concurrency as u64, "{most} threads were active, {concurrency} may be");
    }
    Ok(())
}

pub(crate) fn blocked_thread_is_replaced(env: &Env<'_>) -> Outcome {
    let set = at_most(1);
    let members = contexts(env, &set, &[1]);
    members[0].0.nops(0..4);
    let mut to = Vec::new();
    let mut active = set.wait(&mut to, 1, 1, LONG).expect("four are there");
    assert_eq!(get(&set, &members, 0, 9, LONG), Ok(vec![]), "one is active");
    assert_eq!(get(&set, &members, 1, 9, NOW), Ok(vec![]), "one is active");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let wait = || {
            let got = get(&set, &members, 1, 1, LONG);
            is_done.store(true, Ordering::SeqCst);
            got
        };
        let (second, _) = sleeper(scope, wait);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            assert!(!is_done.load(Ordering::SeqCst), "one is active");
        }
        // Blocked: by a thread that comes only because it is.
        let got = active.block(|| second.join().expect("the thread ends"));
        assert_eq!(got, Ok(vec![(0, 1)]));
        // It goes on, and counts again.
        let (third, _) = sleeper(scope, wait);
        assert_eq!(get(&set, &members, 1, 1, NOW), Ok(vec![]));
        drop(active);
        assert_eq!(third.join().expect("the thread ends"), Ok(vec![(0, 2)]));
    });
    // A panic of what blocks leaves the count right.
    let mut active = set.wait(&mut to, 1, 1, LONG).expect("one is there");
    let panicking = || active.block(|| std::panic::resume_unwind(Box::new(())));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking)).is_err());
    members[0].0.nops(4..5);
    assert_eq!(get(&set, &members, 1, 1, NOW), Ok(vec![]), "it is active again");
    drop(active);
    assert_eq!(get(&set, &members, 1, 1, NOW), Ok(vec![(0, 4)]));
    Ok(())
}
