//! How many threads wake for how many events, counted. SPEC: section 4.3.

use crate::context::{Context, patience, until};
use crate::env::{Env, Outcome};
use crate::file::thread_state;
use crate::reap::sleeper;
use crate::request::{Batch, Request};
use aio2::backend::Wait;
use aio2_abi::setup::Features;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often this thread has gone to sleep.
pub(crate) fn sleeps() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: there is room for the structure.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) }, 0);
    // SAFETY: all zeros are one, and the call above has filled it in.
    unsafe { usage.assume_init() }.ru_nvcsw as u64
}

fn submit(context: &Context, user_data: u64) {
    context.submit_all(&mut Batch::of([Request::nop(user_data)]));
}

/// The events that have been taken, and the waits that have begun.
#[derive(Default)]
struct Taken(AtomicU64, AtomicU64);

impl Taken {
    fn add(&self, events: usize) {
        self.0.fetch_add(events as u64, Ordering::Release);
    }

    /// Waits until so many waits have begun, and all of these threads sleep in one: who
    /// begins late takes a part of what is there, and keeps it until it has the rest.
    fn wait_for_sleep(&self, waits: u64, threads: &[i32]) {
        let mut asleep = 0;
        until("all threads sleep", || {
            let all = self.1.load(Ordering::Acquire) >= waits
                && threads.iter().all(|tid| thread_state(*tid) == Some('S'));
            asleep = if all { asleep + 1 } else { 0 };
            asleep > 5
        });
    }

    /// Waits until so many are, without a sleep that would be counted.
    fn wait(&self, events: u64) {
        let start = std::time::Instant::now();
        while self.0.load(Ordering::Acquire) < events {
            assert!(start.elapsed() < patience(), "{events} events are not taken");
            std::thread::yield_now();
        }
    }
}

const STOP: u64 = u64::MAX;

/// Waits for `min` events again and again until one says STOP; how often it
/// slept.
fn take_until_stop(context: &Context, min: u32, taken: &Taken) -> u64 {
    let before = sleeps();
    loop {
        let wait = Wait::events(min).within(patience());
        taken.1.fetch_add(1, Ordering::Release);
        let events = context.wait_copy(&wait, 24 * min as usize).expect("events come");
        if events.iter().any(|e| e.user_data == STOP) {
            return sleeps() - before;
        }
        taken.add(events.len());
    }
}

pub(crate) fn one_waiter_wakes_for_one_event_whatever_their_number(env: &Env<'_>) -> Outcome {
    const EVENTS: u64 = 2000;
    for waiters in [1, 2, 8, 64] {
        let (context, taken) = (env.context(), Taken::default());
        let slept: u64 = std::thread::scope(|scope| {
            let wait = || take_until_stop(&context, 1, &taken);
            let threads: Vec<_> = (0..waiters).map(|_| sleeper(scope, wait).0).collect();
            for n in 0..EVENTS {
                submit(&context, n);
                taken.wait(n + 1);
            }
            (0..waiters).for_each(|_| submit(&context, STOP));
            threads.into_iter().map(|t| t.join().expect("the thread ends")).sum()
        });
        println!("{waiters} waiters, {EVENTS} events: {slept} sleeps");
        // Besides, one may sleep for a lock.
        assert!(slept <= 2 * EVENTS + 4 * waiters, "{waiters} waiters slept {slept} times");
        context.assert_idle();
    }
    Ok(())
}

pub(crate) fn wait_for_many_wakes_once_for_all_of_them(env: &Env<'_>) -> Outcome {
    const WAITERS: u64 = 16;
    const MIN: u64 = 10;
    const ROUNDS: u64 = 100;
    let (context, taken) = (env.context(), Taken::default());
    let slept: u64 = std::thread::scope(|scope| {
        let wait = || take_until_stop(&context, MIN as u32, &taken);
        let (threads, tids): (Vec<_>, Vec<_>) = (0..WAITERS).map(|_| sleeper(scope, wait)).unzip();
        for round in 0..ROUNDS {
            taken.wait_for_sleep(WAITERS + round, &tids);
            // Each alone: nine of ten are not enough for anybody.
            (0..MIN).for_each(|n| submit(&context, n));
            taken.wait((round + 1) * MIN);
        }
        (0..WAITERS * MIN).for_each(|_| submit(&context, STOP));
        threads.into_iter().map(|t| t.join().expect("the thread ends")).sum()
    });
    println!("{WAITERS} waiters for {MIN}, {} events: {slept} sleeps", ROUNDS * MIN);
    assert!(slept <= 2 * ROUNDS + 4 * WAITERS, "slept {slept} times for {ROUNDS} waits");
    Ok(())
}

pub(crate) fn waiters_of_different_numbers_and_times_wake_for_their_own(env: &Env<'_>) -> Outcome {
    env.needs(Features::GATHER)?;
    let context = env.context();
    let patient = Wait::events(8).within(patience());
    let brief = Wait::events(4).within(Duration::from_millis(30));
    let gathers =
        Wait { gather: Duration::from_millis(30), ..Wait::events(100).within(patience()) };
    let counted = |wait: Wait<'static>| {
        let before = sleeps();
        let events = context.wait_copy(&wait, 24 * 8).map_or(0, |events| events.len());
        (events, sleeps() - before)
    };
    std::thread::scope(|scope| {
        let (patient, _) = sleeper(scope, || counted(patient));
        let (brief, _) = sleeper(scope, || counted(brief));
        let (events, slept) = brief.join().expect("the thread ends");
        // Its time was over; nobody had woken it before.
        assert!(events == 0 && slept <= 3, "{events} events, {slept} sleeps");
        let (gathers, _) = sleeper(scope, || counted(gathers));
        // It takes one event after its time; eight are for the other.
        submit(&context, 0);
        let (events, slept) = gathers.join().expect("the thread ends");
        assert!(events == 1 && slept <= 4, "{events} events, {slept} sleeps");
        (0..8).for_each(|n| submit(&context, n));
        let (events, slept) = patient.join().expect("the thread ends");
        assert!(events == 8 && slept <= 5, "{events} events, {slept} sleeps");
    });
    Ok(())
}
