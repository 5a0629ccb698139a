//! The hostile application: what it writes into the consumer page harms nobody
//! but itself. SPEC: section 12.2.

use crate::context::{Context, Event, Stop, errno, patience, until};
use crate::env::{Env, Outcome, setup};
use crate::file::{gettid, thread_state};
use crate::random::Random;
use crate::request::{Batch, Request};
use crate::words::Words;
use aio2::backend::Wait;
use aio2::ring::{Memory, Pending};
use aio2_abi::setup::Setup;
use libc::EIO;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

/// Heads that a hostile application would try, near a true one and not.
fn hostile_head(random: &mut Random, head: u64) -> u64 {
    match random.below(6) {
        0 => head.wrapping_add(random.below(64) * 8),
        1 => head.wrapping_sub(random.below(64) * 8),
        2 => head ^ 1 << random.below(64),
        3 => random.next(),
        4 => head.wrapping_add(4096 * random.below(4)),
        _ => head | random.below(8),
    }
}

pub(crate) fn hostile_head_harms_no_one_else(env: &Env<'_>) -> Outcome {
    let mut random = Random::from_environment("hostile head");
    let context = env.small_ring();
    let other = env.small_ring();
    let consumer = context.backend().consumer();
    let view = consumer.memory().view();
    let mut good = view.head.load(SeqCst);
    for _ in 0..2000 {
        view.head.store(hostile_head(&mut random, good), SeqCst);
        view.notify.store(random.next() as u32, SeqCst);
        let count = random.below(20);
        // EAGAIN is all that may come of it: the list is full.
        let mut batch = Batch::of((0..count).map(Request::nop));
        let accepted = context.submit(&mut batch).map_or_else(
            |e| {
                assert_eq!(e.0, libc::EAGAIN);
                0
            },
            |bytes| bytes / 32,
        );
        assert!(accepted <= count as usize);
        // Calls return, whatever they make of it.
        let _ = context.wait(&Wait::events(1).within(Duration::ZERO));
        if random.below(8) == 0 {
            // A head that is possible: nothing is there.
            good = view.head.load(SeqCst) & !0xffff_ffff | u64::from(view.tail.load(SeqCst));
            view.head.store(good, SeqCst);
            assert_eq!(context.wait(&Wait::events(0)), Ok(()));
        }
        assert_eq!(other.run(Request::nop(3)).user_data, 3, "another context works");
    }
    // Back on the right way: all that comes from now on comes through.
    until("the list is empty", || {
        let tail = u64::from(view.tail.load(SeqCst));
        view.head.store(tail, SeqCst);
        assert_eq!(context.wait(&Wait::events(0)), Ok(()));
        consumer.pending() == Pending::Nothing
    });
    let after: Vec<u64> = (0..500)
        .map(|n| {
            context.submit_all(&mut Batch::of([Request::nop(n)]));
            context.reap_ring(1)[0].user_data
        })
        .collect();
    assert_eq!(after, (0..500).collect::<Vec<u64>>());
    Ok(())
}

pub(crate) fn head_that_changes_all_the_time_stops_nothing(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { ring_bytes: 4096, max_requests: 64, ..setup() });
    let done = AtomicBool::new(false);
    let consumer = context.backend().consumer();
    std::thread::scope(|scope| {
        let _stop = Stop(&done);
        let (consumer, done) = (&consumer, &done);
        scope.spawn(move || {
            let mut random = Random::from_environment("changing head");
            let view = consumer.memory().view();
            while !done.load(Relaxed) {
                let head = view.head.load(Relaxed);
                view.head.store(hostile_head(&mut random, head), Relaxed);
                view.notify.store(random.next() as u32, Relaxed);
            }
        });
        for n in 0..3000 {
            let request = Request::nop(n);
            let request = if n % 5 == 0 { request.on_worker() } else { request };
            match context.submit(&mut Batch::of([request])) {
                Ok(bytes) => assert_eq!(bytes, 32),
                Err(e) => assert_eq!(e.0, libc::EAGAIN),
            }
            let mut buffer = [0; 256];
            let wait = Wait::events(1).within(Duration::ZERO);
            // SAFETY: no iocbs.
            let _ = unsafe { context.backend().wait(&wait, &mut [], Some(&mut buffer)) };
        }
    });
    // The context ends as any other.
    drop(context);
    assert!(consumer.is_dead());
    Ok(())
}

pub(crate) fn moving_head_over_events_loses_only_those(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let consumer = context.backend().consumer();
    let view = consumer.memory().view();
    context.submit_all(&mut Batch::of((0..300).map(Request::nop)));
    // Over everything that is in the ring, unread.
    let fits = 4096 / 24;
    view.head.fetch_add(fits * 24, SeqCst);
    let rest: Vec<Event> = context.reap(300 - fits as usize);
    assert!(rest.iter().map(|e| e.user_data).eq(fits..300), "the list is untouched");
    context.assert_idle();
    Ok(())
}

/// Waits for two events, with a buffer or without; its error.
fn wait_for_two(context: &Context, copies: bool) -> Option<i32> {
    let wait = Wait::events(2).within(patience());
    if copies { errno(context.wait_copy(&wait, 4096)) } else { errno(context.wait(&wait)) }
}

pub(crate) fn wait_with_a_bad_head_ends_with_eio(env: &Env<'_>) -> Outcome {
    for copies in [false, true] {
        let context = env.small_ring();
        let consumer = context.backend().consumer();
        let head = consumer.memory().view().head;
        let good = head.load(SeqCst);
        // One that sleeps finds it at the next publication. One event is not
        // enough for it, wherever it is put.
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let context = &context;
            let sleeps = scope.spawn(move || {
                tell.send(gettid()).expect("the other thread waits for it");
                wait_for_two(context, copies)
            });
            let tid = told.recv().expect("it says who it is");
            until("it sleeps", || thread_state(tid) == Some('S'));
            head.store(good.wrapping_add(64), SeqCst);
            context.submit_all(&mut Batch::of([Request::nop(1)]));
            assert_eq!(sleeps.join().expect("it does not panic"), Some(EIO));
        });
        assert_eq!(wait_for_two(&context, copies), Some(EIO), "and one that begins, at once");
        assert_eq!(context.wait(&Wait::events(0)), Ok(()), "that waits for nothing");
        // Nothing of it is remembered. SPEC: section 12.2
        head.store(good, SeqCst);
        context.submit_all(&mut Batch::of([Request::nop(2)]));
        assert_eq!(wait_for_two(&context, copies), None, "until it is good again");
    }
    Ok(())
}
