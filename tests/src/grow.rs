//! A ring that is replaced by a larger one. SPEC: section 5.8.

use crate::child;
use crate::context::{Context, Event, errno, patience, until};
use crate::env::{Env, Factory, Outcome, setup};
use crate::file::{Busy, eventfd, eventfd_count};
use crate::request::{Batch, Request};
use crate::words::Words;
use aio2::Consumer;
use aio2::backend::Wait;
use aio2::ring::{Memory, Pending};
use aio2_abi::ring::{NOTIFY_OFF, NOTIFY_ON, RingFlags};
use aio2_abi::setup::{Features, RING_BYTES_MAX, Setup, SetupFlags};
use libc::{EINVAL, ENOMEM, ETIME, EXDEV};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

/// Events of a NOP that a ring of 4096 bytes holds.
const PAGE_OF_NOPS: u64 = 4096 / 24;

/// A context with the smallest ring, which can grow.
fn small(env: &Env<'_>) -> Result<Context, crate::env::Skip> {
    env.needs(Features::GROW)?;
    Ok(env.small_ring())
}

fn grow(context: &Context, ring_bytes: u32) {
    assert_eq!(context.backend().grow(ring_bytes), Ok(ring_bytes));
}

fn submit(context: &Context, numbers: std::ops::Range<u64>) {
    context.submit_all(&mut Batch::of(numbers.map(Request::nop)));
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.user_data).collect()
}

/// What the consumer finds in the ring that it is at.
fn reap_here(consumer: &Consumer) -> Vec<u64> {
    let mut buffer = vec![0; 8192];
    consumer.reap(&mut buffer, usize::MAX).expect("it is sound").map(|e| e[1]).collect()
}

fn flags(consumer: &Consumer) -> RingFlags {
    RingFlags::from_bits_retain(consumer.memory().view().flags.load(SeqCst))
}

pub(crate) fn ring_that_would_not_be_larger_is_refused(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    let try_grow = |bytes| errno(context.backend().grow(bytes));
    for same in [1, 4095, 4096] {
        assert_eq!(try_grow(same), Some(EINVAL), "{same} bytes are not more than a page");
    }
    for large in [RING_BYTES_MAX + 1, u32::MAX] {
        assert_eq!(try_grow(large), Some(EINVAL), "{large} bytes are too many");
    }
    assert_eq!(context.backend().grow(4097), Ok(8192), "rounded up");
    assert_eq!(try_grow(8000), Some(EINVAL), "that is 8192 bytes");
    // As in a creation.
    assert_eq!(context.backend().grow(0), Ok(65536));
    submit(&context, 0..10);
    assert_eq!(context.reap(10).len(), 10);
    Ok(())
}

/// Child: has no room for a ring of the largest size.
pub(crate) fn grows_without_memory(factory: &dyn Factory) -> i32 {
    let setup = Setup { ring_bytes: 4096, ..setup() };
    let context = Context::new(factory.create(&setup).expect("a context can be created"));
    submit(&context, 0..PAGE_OF_NOPS + 9);
    // Half of that ring, beyond what is there: under a sanitizer that is terabytes.
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is there");
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    let most = pages.expect("its first word") * 4096 + u64::from(RING_BYTES_MAX / 2);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the structure is read only.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    let before = crate::file::proc_self("fd").len();
    assert_eq!(errno(context.backend().grow(RING_BYTES_MAX)), Some(ENOMEM));
    assert_eq!(crate::file::proc_self("fd").len(), before, "nothing is left of it");
    assert_eq!(context.ring_flags(), RingFlags::OVERFLOW, "not frozen");
    grow(&context, 8192);
    submit(&context, PAGE_OF_NOPS + 9..300);
    assert!(numbers(&context.reap(300)).into_iter().eq(0..300));
    0
}

pub(crate) fn grow_without_memory_changes_nothing(env: &Env<'_>) -> Outcome {
    env.needs(Features::GROW)?;
    let status = child::command(env.factory, "grows_without_memory")
        .stderr(std::process::Stdio::inherit())
        .status()
        .expect("the child runs");
    assert_eq!(status.code(), Some(0));
    Ok(())
}

pub(crate) fn frozen_ring_stays_as_it_was(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    let old = context.backend().consumer();
    let page = old.memory().view();
    submit(&context, 0..3);
    let tail = page.tail.load(SeqCst);
    assert_eq!(flags(&old), RingFlags::empty());
    grow(&context, 8192);
    assert_eq!(flags(&old), RingFlags::FROZEN);
    submit(&context, 3..100);
    assert_eq!((page.tail.load(SeqCst), flags(&old)), (tail, RingFlags::FROZEN));
    assert_eq!(reap_here(&old), [0, 1, 2]);
    submit(&context, 100..110);
    assert_eq!(page.tail.load(SeqCst), tail, "also when there is room");
    Ok(())
}

pub(crate) fn counters_and_overflow_go_on_in_the_next_ring(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    let old = context.backend().consumer();
    let count = 4 * PAGE_OF_NOPS;
    submit(&context, 0..count);
    assert_eq!(flags(&old), RingFlags::OVERFLOW);
    grow(&context, 8192);
    let overflowed = count - PAGE_OF_NOPS;
    assert_eq!(context.overflowed(), overflowed);
    assert_eq!(flags(&old), RingFlags::FROZEN, "who finds it empty has to go on");
    assert_eq!(context.ring_flags(), RingFlags::OVERFLOW, "a page too many");
    grow(&context, 16384);
    assert_eq!(context.ring_flags(), RingFlags::empty(), "there is room for all");
    submit(&context, count..count + 1000);
    assert_eq!(context.ring_flags(), RingFlags::OVERFLOW);
    assert!(context.overflowed() > overflowed);
    let all = count + 1000;
    assert!(numbers(&context.reap(all as usize)).into_iter().eq(0..all));
    context.assert_idle();
    assert_eq!(context.ring_flags(), RingFlags::empty());
    Ok(())
}

pub(crate) fn consumer_goes_on_when_the_old_ring_is_empty_and_not_before(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    let (mut first, mut second) = (context.backend().consumer(), context.backend().consumer());
    assert!(!first.advance(), "there is no other ring");
    submit(&context, 0..2);
    grow(&context, 8192);
    submit(&context, 2..4);
    // One that is made now begins there, too.
    let mut third = context.backend().consumer();
    for consumer in [&mut first, &mut second, &mut third] {
        assert!(!consumer.advance(), "there are events here");
        assert_eq!(consumer.pending(), Pending::Events);
    }
    assert_eq!(reap_here(&first), [0, 1]);
    for consumer in [&mut first, &mut second, &mut third] {
        assert_eq!((consumer.pending(), reap_here(consumer)), (Pending::Frozen, vec![]));
        assert!(consumer.notify_on(), "it must not sleep");
        assert!(consumer.advance());
        assert!(!consumer.advance(), "that is the last one");
    }
    assert_eq!(reap_here(&second), [2, 3]);
    assert_eq!(first.pending(), Pending::Nothing);
    assert_eq!(reap_here(&context.backend().consumer()), []);
    Ok(())
}

pub(crate) fn events_keep_their_order_over_rings_and_list(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    let consumer = context.backend().consumer();
    let (mut next, mut got) = (0, Vec::new());
    for ring_bytes in [8192, 16384, 32768, 65536] {
        // More than fits, some of it reaped; then another ring.
        let count = u64::from(ring_bytes) / 24 + 200;
        submit(&context, next..next + count);
        next += count;
        assert_eq!(context.ring_flags(), RingFlags::OVERFLOW);
        got.extend(numbers(&context.reap_ring(100)));
        assert_eq!(consumer.last_memory().view().ring_bytes, ring_bytes / 2);
        grow(&context, ring_bytes);
    }
    submit(&context, next..next + 50);
    next += 50;
    got.extend(numbers(&context.reap(next as usize - got.len())));
    assert!(got.into_iter().eq(0..next));
    context.assert_idle();
    Ok(())
}

pub(crate) fn copying_goes_over_all_rings(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    submit(&context, 0..5);
    grow(&context, 8192);
    submit(&context, 5..10);
    grow(&context, 16384);
    submit(&context, 10..2000);
    let now = |n| Wait::events(n).within(Duration::ZERO);
    assert_eq!(context.wait(&now(2000)), Ok(()), "all of them count");
    assert_eq!(errno(context.wait(&now(2001))), Some(ETIME));
    let first = context.wait_copy(&now(7), 7 * 24).expect("there are seven");
    assert!(numbers(&first).into_iter().eq(0..7), "out of two rings");
    let rest = context.wait_copy(&now(1), 2000 * 24).expect("there are more");
    assert!(numbers(&rest).into_iter().eq(7..2000), "two rings and the list");
    context.assert_idle();
    Ok(())
}

pub(crate) fn sleeping_wait_goes_on_over_it(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    submit(&context, 0..2);
    let context = &context;
    // Whether they sleep when the ring grows must not matter.
    thread::scope(|scope| {
        let counts = scope.spawn(|| context.wait(&Wait::events(4).within(patience())));
        thread::yield_now();
        grow(context, 8192);
        submit(context, 2..4);
        assert_eq!(counts.join().expect("it does not panic"), Ok(()));
        let copies = scope.spawn(|| context.wait_copy(&Wait::events(8).within(patience()), 4096));
        thread::yield_now();
        grow(context, 16384);
        submit(context, 4..8);
        let copied = copies.join().expect("it does not panic").expect("there are eight");
        assert!(numbers(&copied).into_iter().eq(0..8));
    });
    Ok(())
}

pub(crate) fn eventfd_is_signalled_for_the_next_ring(env: &Env<'_>) -> Outcome {
    env.needs(Features::GROW)?;
    let eventfd = eventfd();
    let flags = SetupFlags::EVENTFD.bits();
    let setup = Setup { flags, eventfd: eventfd.as_raw_fd(), ring_bytes: 4096, ..setup() };
    let context = env.context_with(setup);
    let mut consumer = context.backend().consumer();
    assert!(!consumer.notify_on(), "one may sleep");
    grow(&context, 8192);
    eventfd_count(&eventfd);
    submit(&context, 0..1);
    assert!(eventfd_count(&eventfd) >= 1, "and is woken");
    // What was switched off in the old ring is on in the new one.
    consumer.notify_off();
    assert_eq!(consumer.memory().view().notify.load(SeqCst), NOTIFY_OFF);
    assert!(consumer.advance());
    assert_eq!(consumer.memory().view().notify.load(SeqCst), NOTIFY_ON);
    consumer.notify_off();
    submit(&context, 1..2);
    assert_eq!(eventfd_count(&eventfd), 0);
    assert_eq!(reap_here(&consumer), [0, 1]);
    Ok(())
}

/// Mappings of rings of this size in this process: the engine maps each twice, the
/// kernel shows the producer page and both at once.
fn mapped(ring_bytes: usize) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let size = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some(usize::from_str_radix(to, 16).ok()? - usize::from_str_radix(from, 16).ok()?)
    };
    let ours = maps.lines().filter(|line| line.contains("aio2")).filter_map(size);
    ours.filter(|size| [ring_bytes, 2 * ring_bytes + 4096].contains(size)).count()
}

pub(crate) fn frozen_ring_is_kept_until_it_is_empty(env: &Env<'_>) -> Outcome {
    env.needs(Features::GROW)?;
    // No other test has a ring of this size.
    let ring_bytes = 1 << 22;
    let context = env.context_with(Setup { ring_bytes, ..setup() });
    let maps = mapped(ring_bytes as usize);
    assert!(maps > 0, "it is mapped");
    submit(&context, 0..4);
    let mut slow = context.backend().consumer();
    grow(&context, 4 * ring_bytes);
    submit(&context, 4..8);
    // However long one takes, and whatever happens meanwhile.
    assert_eq!(context.wait(&Wait::events(8).within(Duration::ZERO)), Ok(()));
    assert_eq!(mapped(ring_bytes as usize), maps);
    assert_eq!(reap_here(&slow), [0, 1, 2, 3]);
    assert_eq!(numbers(&context.reap_ring(9)), [4, 5, 6, 7]);
    context.assert_idle();
    assert!(mapped(ring_bytes as usize) > 0, "one is there still");
    assert_eq!(slow.pending(), Pending::Frozen);
    assert!(slow.advance());
    until("nobody needs it", || mapped(ring_bytes as usize) == 0);
    Ok(())
}

pub(crate) fn ring_grows_again_and_again_to_the_largest_size(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    let (mut ring_bytes, mut next) = (4096, 0);
    while ring_bytes < RING_BYTES_MAX {
        // None of them is empty.
        submit(&context, next..next + 3);
        next += 3;
        ring_bytes *= 2;
        grow(&context, ring_bytes);
    }
    assert_eq!(errno(context.backend().grow(RING_BYTES_MAX)), Some(EINVAL));
    submit(&context, next..next + 3);
    next += 3;
    assert_eq!(context.wait(&Wait::events(next as u32).within(Duration::ZERO)), Ok(()));
    assert!(numbers(&context.reap(next as usize)).into_iter().eq(0..next));
    Ok(())
}

pub(crate) fn all_rings_are_dead_when_the_context_is_gone(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    submit(&context, 0..2);
    let mut consumer = context.backend().consumer();
    grow(&context, 8192);
    submit(&context, 2..4);
    assert!(!consumer.is_dead());
    drop(context);
    assert!(consumer.is_dead());
    // What was published before can be reaped, in both.
    assert_eq!(reap_here(&consumer), [0, 1]);
    assert!(consumer.advance() && consumer.is_dead());
    assert_eq!(reap_here(&consumer), [2, 3]);
    Ok(())
}

pub(crate) fn requests_in_flight_and_their_ids_stay(env: &Env<'_>) -> Outcome {
    env.needs(Features::GROW)?;
    let context = env.context_with(Setup { ring_bytes: 4096, concurrency: 1, ..setup() });
    let mut busy = Busy::new();
    let running = context.submit_one(busy.request().user_data(1));
    busy.wait_started();
    let waiting = context.submit_one(Request::nop(2).on_worker());
    grow(&context, 8192);
    let wait = |id| Wait { id: Some(id), ..Wait::events(0).within(Duration::ZERO) };
    assert_eq!(errno(context.wait(&wait(running))), Some(ETIME), "it runs");
    assert_eq!(errno(context.wait(&wait(waiting))), Some(ETIME), "it waits");
    busy.release();
    assert_eq!(numbers(&context.reap(2)), [1, 2]);
    assert_eq!(context.wait(&wait(running)), Ok(()));
    Ok(())
}

pub(crate) fn grow_in_a_child_after_fork_gives_exdev(env: &Env<'_>) -> Outcome {
    let context = small(env)?;
    let status = child::forked(|| {
        let refused = errno(context.backend().grow(8192)) == Some(EXDEV);
        i32::from(!refused)
    });
    assert_eq!(status.code(), Some(0));
    grow(&context, 8192);
    Ok(())
}
