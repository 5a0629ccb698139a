//! `io_getevents2`: waiting, and copying events out. SPEC: section 4.3.

use crate::context::{Context, Event, errno, patience, until};
use crate::env::{Env, Outcome, setup};
use crate::file::{Pipe, gettid, thread_state};
use crate::request::{Batch, Request};
use crate::signal::{self, Handler, signal_thread};
use aio2::backend::{Timeout, Wait};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::ring;
use aio2_abi::setup::{Features, Setup};
use libc::{EINTR, EINVAL, ENOBUFS, ENOENT, ETIME};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

const NOW: Duration = Duration::ZERO;

fn nops(count: u64) -> Batch {
    Batch::of((0..count).map(Request::nop))
}

fn user_data(events: &[Event]) -> Vec<u64> {
    events.iter().map(|e| e.user_data).collect()
}

/// CLOCK_MONOTONIC, in nanoseconds.
fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` can be written.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Runs `wait` in a thread, and returns once that thread sleeps in it, or has
/// ended: a wait of some milliseconds can be over before it is seen asleep.
pub(crate) fn sleeper<'s, T: Send + 's>(
    scope: &'s std::thread::Scope<'s, '_>,
    wait: impl FnOnce() -> T + Send + 's,
) -> (std::thread::ScopedJoinHandle<'s, T>, i32) {
    let (send, receive) = std::sync::mpsc::channel();
    let handle = scope.spawn(move || {
        send.send(gettid()).expect("the test listens");
        wait()
    });
    let tid = receive.recv().expect("the thread tells its id");
    // Asleep and still asleep: not only on its way there.
    let mut asleep = 0;
    until("the thread sleeps", || {
        asleep = if thread_state(tid) == Some('S') { asleep + 1 } else { 0 };
        asleep > 5 || handle.is_finished()
    });
    (handle, tid)
}

pub(crate) fn iocbs_are_submitted_first(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut batch = nops(3);
    let len = batch.bytes().len();
    // SAFETY: NOPs have no arguments.
    let got =
        unsafe { context.backend().wait(&Wait::events(3).within(patience()), batch.bytes(), None) };
    assert_eq!(got.map(|g| (g.submitted, g.bytes, g.events)), Ok((len, 0, 0)));
    assert_eq!(user_data(&context.reap_ring(9)), [0, 1, 2]);
    // With a buffer, in one call.
    let mut buffer = [0; 240];
    let wait = Wait::events(3).within(patience());
    // SAFETY: as above.
    let got = unsafe { context.backend().wait(&wait, batch.bytes(), Some(&mut buffer)) };
    assert_eq!(got.map(|g| (g.submitted, g.bytes, g.events)), Ok((len, 72, 3)));
    // The first is malformed: the error of a submission, and no wait.
    batch.bytes()[12] = 1;
    // SAFETY: as above.
    let got = unsafe { context.backend().wait(&wait, batch.bytes(), Some(&mut buffer)) };
    assert_eq!(errno(got), Some(EINVAL));
    // The second is: what is before it is accepted.
    batch.bytes()[12] = 0;
    let second = batch.offset(1);
    batch.bytes()[second + 12] = 1;
    // SAFETY: as above.
    let got = unsafe {
        context.backend().wait(
            &Wait::events(1).within(patience()),
            batch.bytes(),
            Some(&mut buffer),
        )
    };
    assert_eq!(got.map(|g| (g.submitted, g.bytes, g.events)), Ok((second, 24, 1)));
    context.assert_idle();
    Ok(())
}

pub(crate) fn wait_does_not_return_before_min_events_are_there(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (waiter, tid) = sleeper(scope, || {
            let result = context.wait(&Wait::events(3).within(patience()));
            done.store(true, Ordering::SeqCst);
            result
        });
        context.submit_all(&mut nops(2));
        // Two are too few: it is asleep, or goes to sleep again.
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            assert!(!done.load(Ordering::SeqCst));
        }
        until("it sleeps again", || thread_state(tid) == Some('S'));
        context.submit_all(&mut nops(1));
        assert_eq!(waiter.join().expect("the thread ends"), Ok(()));
    });
    assert_eq!(context.reap_ring(9).len(), 3);
    Ok(())
}

pub(crate) fn min_events_0_does_not_wait(env: &Env<'_>) -> Outcome {
    let context = env.context();
    assert_eq!(context.wait(&Wait::events(0)), Ok(()));
    assert_eq!(context.wait_copy(&Wait::events(0), 100), Ok(vec![]));
    context.submit_all(&mut nops(2));
    for bytes in [0, 8, 23] {
        assert_eq!(errno(context.wait_copy(&Wait::events(0), bytes)), Some(ENOBUFS), "{bytes}");
    }
    assert_eq!(context.wait_copy(&Wait::events(0), 100).map(|e| e.len()), Ok(2));
    Ok(())
}

pub(crate) fn events_on_the_overflow_list_count(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    context.submit_all(&mut nops(1000));
    assert!(context.ring_flags().contains(ring::RingFlags::OVERFLOW));
    assert_eq!(context.wait(&Wait::events(1000).within(NOW)), Ok(()));
    assert_eq!(errno(context.wait(&Wait::events(1001).within(NOW))), Some(ETIME));
    Ok(())
}

pub(crate) fn whole_events_are_copied_in_order_as_many_as_fit(env: &Env<'_>) -> Outcome {
    let context = env.context();
    context.submit_all(&mut nops(5));
    let wait = Wait::events(1).within(patience());
    assert_eq!(context.wait_copy(&wait, 24 * 2 + 23).map(|e| user_data(&e)), Ok(vec![0, 1]));
    assert_eq!(context.wait_copy(&wait, 24).map(|e| user_data(&e)), Ok(vec![2]));
    assert_eq!(context.wait_copy(&wait, 4096).map(|e| user_data(&e)), Ok(vec![3, 4]));
    // From the overflow list too, in one call.
    let small = env.small_ring();
    small.submit_all(&mut nops(500));
    let events = small.wait_copy(&wait, 500 * 24).map(|e| user_data(&e));
    assert_eq!(events, Ok((0..500).collect()));
    Ok(())
}

pub(crate) fn calls_move_the_overflow_list_to_the_ring(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    context.submit_all(&mut nops(400));
    let first = context.reap_ring(1000);
    assert!(first.len() < 400, "the ring holds {} events", first.len());
    assert_eq!(context.reap_ring(1), [], "the rest waits on the list");
    let mut order = user_data(&first);
    while order.len() < 400 {
        assert!(context.ring_flags().contains(ring::RingFlags::OVERFLOW));
        assert_eq!(context.wait(&Wait::events(0)), Ok(()));
        let more = context.reap_ring(1000);
        assert!(!more.is_empty(), "a call moves events to the ring");
        order.extend(user_data(&more));
    }
    assert_eq!(order, (0..400).collect::<Vec<u64>>());
    assert_eq!(context.wait(&Wait::events(0)), Ok(()));
    assert!(!context.ring_flags().contains(ring::RingFlags::OVERFLOW));
    Ok(())
}

pub(crate) fn event_that_does_not_fit_is_told_by_who_does_not_wait(env: &Env<'_>) -> Outcome {
    let context = env.context();
    context.submit_these([Request::nop(7)]);
    for min_events in [0, 1] {
        let wait = Wait::events(min_events).within(Duration::ZERO);
        assert_eq!(errno(context.wait_copy(&wait, 16)), Some(libc::ENOBUFS), "{min_events}");
    }
    assert_eq!(context.wait_copy(&Wait::events(0), 24).map(|events| events.len()), Ok(1));
    assert_eq!(context.wait_copy(&Wait::events(0), 16).map(|events| events.len()), Ok(0));
    Ok(())
}

pub(crate) fn event_that_does_not_fit_stays_with_enobufs(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let tag = [0; 8];
    let long = Request::nop(7).attr(63, aio2_abi::attr::AttrFlags::RETURN, &tag);
    context.submit_all(&mut Batch::of([long, Request::nop(8)]));
    for bytes in [0, 8, 23, 24, 31] {
        let result = context.wait_copy(&Wait::events(1).within(patience()), bytes);
        assert_eq!(errno(result), Some(ENOBUFS), "{bytes} bytes for an event of 32");
    }
    let wait = Wait::events(1).within(patience());
    assert_eq!(context.wait_copy(&wait, 32).map(|e| user_data(&e)), Ok(vec![7]));
    assert_eq!(context.wait_copy(&wait, 32).map(|e| user_data(&e)), Ok(vec![8]));
    Ok(())
}

pub(crate) fn time_that_is_over_gives_etime(env: &Env<'_>) -> Outcome {
    let context = env.context();
    for timeout in [NOW, Duration::from_millis(2)] {
        let wait = Wait::events(1).within(timeout);
        assert_eq!(errno(context.wait(&wait)), Some(ETIME));
        assert_eq!(errno(context.wait_copy(&wait, 100)), Some(ETIME));
    }
    context.submit_all(&mut nops(2));
    // Without a buffer: fewer than asked for.
    let wait = Wait::events(3).within(Duration::from_millis(2));
    assert_eq!(errno(context.wait(&wait)), Some(ETIME));
    // With one, there is something to copy.
    assert_eq!(context.wait_copy(&wait, 100).map(|e| user_data(&e)), Ok(vec![0, 1]));
    Ok(())
}

pub(crate) fn events_are_returned_rather_than_an_error(env: &Env<'_>) -> Outcome {
    let context = env.context();
    context.submit_all(&mut nops(3));
    // The buffer holds two of them, the time is over, a fourth never comes.
    let wait = Wait::events(4).within(NOW);
    assert_eq!(context.wait_copy(&wait, 50).map(|e| user_data(&e)), Ok(vec![0, 1]));
    assert_eq!(context.wait_copy(&wait, 50).map(|e| user_data(&e)), Ok(vec![2]));
    Ok(())
}

pub(crate) fn wait_for_an_id_ends_with_it_and_consumes_nothing(env: &Env<'_>) -> Outcome {
    env.needs(Features::WAIT_ID)?;
    let context = env.context();
    let mut pipe = Pipe::new();
    let mut byte = [0];
    let id = context.submit_one(Request::read(pipe.read_fd(), &mut byte).user_data(1));
    let wait = |id| Wait { id: Some(id), ..Wait::events(0).within(patience()) };
    let at_once = |id| Wait { id: Some(id), ..Wait::events(0).within(NOW) };
    assert_eq!(errno(context.wait(&at_once(id))), Some(ETIME), "it is in flight");
    // Events of others do not end the wait.
    context.submit_all(&mut nops(3));
    assert_eq!(errno(context.wait(&at_once(id))), Some(ETIME));
    std::thread::scope(|scope| {
        let (waiter, _) = sleeper(scope, || context.wait(&wait(id)));
        context.submit_all(&mut nops(1));
        pipe.writer.write_all(&[1]).expect("the pipe has room");
        assert_eq!(waiter.join().expect("the thread ends"), Ok(()));
    });
    assert_eq!(context.reap_ring(9).len(), 5, "nothing was consumed");
    assert_eq!(context.wait(&at_once(id)), Ok(()), "it has been reaped");
    Ok(())
}

pub(crate) fn wait_for_an_id_sees_the_overflow_list(env: &Env<'_>) -> Outcome {
    env.needs(Features::WAIT_ID)?;
    let context = env.small_ring();
    context.submit_all(&mut nops(300));
    let id = context.submit_one(Request::nop(300));
    let wait = Wait { id: Some(id), ..Wait::events(0).within(patience()) };
    assert_eq!(context.wait(&wait), Ok(()));
    assert_eq!(user_data(&context.reap(301)), (0..=300).collect::<Vec<u64>>());
    Ok(())
}

pub(crate) fn unknown_id_gives_enoent(env: &Env<'_>) -> Outcome {
    env.needs(Features::WAIT_ID)?;
    let context = env.context();
    let wait = |id| Wait { id: Some(id), ..Wait::events(0).within(patience()) };
    let none = |id| assert_eq!(errno(context.wait(&wait(id))), Some(ENOENT), "{id:#x}");
    [0, 1, 7, 1 << 32, u64::MAX].into_iter().for_each(none);
    let id = context.submit_one(Request::nop(1));
    assert_eq!(context.wait(&wait(id)), Ok(()));
    // Next to it, of a slot or a time that was not yet.
    for other in [id ^ 1 << 40, id.wrapping_add(1 << 32), id ^ 1 << 63, u64::MAX] {
        none(other);
    }
    assert_eq!(context.reap(1).len(), 1);
    Ok(())
}

pub(crate) fn timeout_counts_from_the_call(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let span = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(errno(context.wait(&Wait::events(1).within(span))), Some(ETIME));
    assert!(start.elapsed() >= span, "{:?}", start.elapsed());
    let until = monotonic() + 20_000_000;
    let wait = Wait { timeout: Timeout::Until(until), ..Wait::events(1) };
    assert_eq!(errno(context.wait(&wait)), Some(ETIME));
    assert!(monotonic() >= until);
    // A time that has been.
    for past in [0, 1, monotonic() - 1] {
        let wait = Wait { timeout: Timeout::Until(past), ..Wait::events(1) };
        assert_eq!(errno(context.wait(&wait)), Some(ETIME), "{past}");
    }
    Ok(())
}

pub(crate) fn gather_makes_one_event_enough_after_its_time(env: &Env<'_>) -> Outcome {
    env.needs(Features::GATHER)?;
    let context = env.context();
    let gather = Duration::from_millis(20);
    context.submit_all(&mut nops(1));
    let start = Instant::now();
    let wait = Wait { gather, ..Wait::events(100).within(patience()) };
    assert_eq!(context.wait_copy(&wait, 4096).map(|e| e.len()), Ok(1));
    assert!(start.elapsed() >= gather, "until then 100 count: {:?}", start.elapsed());
    // After that time the first event is enough.
    let start = Instant::now();
    std::thread::scope(|scope| {
        let (waiter, _) = sleeper(scope, || context.wait_copy(&wait, 4096));
        while start.elapsed() < gather {
            std::thread::sleep(gather - start.elapsed());
        }
        context.submit_all(&mut nops(1));
        assert_eq!(waiter.join().expect("the thread ends").map(|e| e.len()), Ok(1));
    });
    // So it is where both times are over, together or in either order.
    context.submit_all(&mut nops(1));
    let first = Wait::events(100).within(gather);
    assert_eq!(context.wait(&Wait { gather, ..first }), Ok(()));
    assert_eq!(context.wait(&Wait { gather: gather / 2, ..first }), Ok(()));
    let long_ago = Timeout::Until(1);
    let late = Wait { gather: Duration::from_nanos(1), timeout: long_ago, ..first };
    assert_eq!(context.wait(&late), Ok(()));
    assert_eq!(errno(context.wait(&Wait { gather: patience(), ..first })), Some(ETIME));
    assert_eq!(context.reap(1).len(), 1);
    // min_events that are there end it before its time.
    context.submit_all(&mut nops(3));
    let wait = Wait { gather: patience() * 100, ..Wait::events(3).within(patience() * 100) };
    assert_eq!(context.wait_copy(&wait, 4096).map(|e| e.len()), Ok(3));
    Ok(())
}

pub(crate) fn last_to_wait_is_woken_first_and_alone(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let wait = Wait::events(1).within(patience());
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..3).map(|_| sleeper(scope, || context.wait_copy(&wait, 24))).collect();
        for (n, (thread, _)) in threads.into_iter().rev().enumerate() {
            context.submit_all(&mut Batch::of([Request::nop(n as u64)]));
            let events = thread.join().expect("the thread ends");
            assert_eq!(events.map(|e| user_data(&e)), Ok(vec![n as u64]));
        }
    });
    Ok(())
}

pub(crate) fn wakeup_that_is_not_used_is_passed_on(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let wait = Wait::events(1).within(patience());
    std::thread::scope(|scope| {
        let (takes, _) = sleeper(scope, || context.wait_copy(&wait, 24));
        // Woken first, and its buffer is too small.
        let (fails, _) = sleeper(scope, || context.wait_copy(&wait, 8));
        context.submit_all(&mut nops(1));
        assert_eq!(errno(fails.join().expect("the thread ends")), Some(ENOBUFS));
        assert_eq!(takes.join().expect("the thread ends").map(|e| e.len()), Ok(1));
    });
    Ok(())
}

pub(crate) fn wakeup_is_passed_on_by_a_thread_that_gives_up(env: &Env<'_>) -> Outcome {
    let context = env.context();
    // A thread whose time is over at about the time at which the event comes:
    // whether it takes it or leaves it, the other one gets what is left.
    for round in 0..200 {
        let patient = Wait::events(1).within(patience());
        std::thread::scope(|scope| {
            let takes = scope.spawn(|| context.wait_copy(&patient, 24));
            let brief = Wait::events(1).within(Duration::from_micros(round % 20 * 10));
            let context = &context;
            let gives_up = scope.spawn(move || copied(context, &brief));
            context.submit_all(&mut nops(1));
            let brief_got = gives_up.join().expect("the thread ends");
            if brief_got == 1 {
                context.submit_all(&mut nops(1));
            }
            assert_eq!(takes.join().expect("the thread ends").map(|e| e.len()), Ok(1));
        });
    }
    context.assert_idle();
    Ok(())
}

/// Number of events that are copied, 0 for those that came too late.
fn copied(context: &Context, wait: &Wait<'_>) -> usize {
    context.wait_copy(wait, 24).map_or(0, |events| events.len())
}

pub(crate) fn every_waiter_is_served_whatever_it_waits_for(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let patient = Wait::events(3).within(patience());
    let quick = Wait::events(1).within(patience());
    std::thread::scope(|scope| {
        let (one, _) = sleeper(scope, || context.wait_copy(&quick, 24));
        let (three, _) = sleeper(scope, || context.wait_copy(&patient, 72));
        // Not enough for the last one; enough for the one before it.
        context.submit_all(&mut nops(1));
        assert_eq!(one.join().expect("the thread ends").map(|e| e.len()), Ok(1));
        context.submit_all(&mut nops(3));
        assert_eq!(three.join().expect("the thread ends").map(|e| e.len()), Ok(3));
    });
    Ok(())
}

pub(crate) fn caught_signal_ends_the_wait_with_eintr(env: &Env<'_>) -> Outcome {
    let _handler = Handler::install();
    let context = env.context();
    std::thread::scope(|scope| {
        let (waiter, tid) = sleeper(scope, || {
            [
                errno(context.wait(&Wait::events(1).within(patience()))),
                errno(context.wait_copy(&Wait::events(1).within(patience()), 100)),
            ]
        });
        while !waiter.is_finished() {
            signal_thread(tid);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(waiter.join().expect("the thread ends"), [Some(EINTR); 2]);
    });
    context.assert_idle();
    Ok(())
}

pub(crate) fn signal_mask_holds_during_the_wait(env: &Env<'_>) -> Outcome {
    let _handler = Handler::install();
    let context = env.context();
    // Let through by the mask only: it ends the wait.
    signal::block(true);
    signal::signal_self();
    let none = signal::mask(false);
    let wait = Wait { sigmask: Some(&none), ..Wait::events(1).within(patience()) };
    let result = errno(context.wait(&wait));
    signal::block(false);
    assert_eq!(result, Some(EINTR), "the signal was pending");
    // Held back by the mask: it does not.
    let usr1 = signal::mask(true);
    let wait = Wait { sigmask: Some(&usr1), ..Wait::events(1).within(patience()) };
    std::thread::scope(|scope| {
        let (waiter, tid) = sleeper(scope, || context.wait_copy(&wait, 100).map(|e| e.len()));
        for _ in 0..5 {
            signal_thread(tid);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!waiter.is_finished());
        context.submit_all(&mut nops(1));
        assert_eq!(waiter.join().expect("the thread ends"), Ok(1));
    });
    Ok(())
}

pub(crate) fn signal_mask_has_no_effect_without_a_sleep(env: &Env<'_>) -> Outcome {
    let _handler = Handler::install();
    let context = env.context();
    context.submit_all(&mut nops(1));
    signal::block(true);
    signal::signal_self();
    let none = signal::mask(false);
    let wait = |min| Wait { sigmask: Some(&none), ..Wait::events(min).within(patience()) };
    let results = [context.wait(&wait(0)), context.wait(&wait(1))];
    // Nor where the time is over, which is said rather than that it has come.
    let over = Wait { timeout: Timeout::After(NOW), ..wait(2) };
    assert_eq!(errno(context.wait(&over)), Some(ETIME));
    // It is pending still, and ends a wait that lets it in.
    let last = errno(context.wait(&wait(2)));
    signal::block(false);
    assert_eq!(results, [Ok(()), Ok(())], "what is waited for is there");
    assert_eq!(last, Some(EINTR));
    Ok(())
}

pub(crate) fn wait_for_an_id_regards_no_number_of_events(env: &Env<'_>) -> Outcome {
    env.needs(Features::WAIT_ID)?;
    let context = env.context();
    let ended = context.submit_one(Request::nop(1));
    let mut pipe = Pipe::new();
    let mut byte = [0];
    let runs = context.submit_one(Request::read(pipe.read_fd(), &mut byte));
    let gather = Duration::from_nanos(1);
    for min in [0, 1, 2, u32::MAX] {
        let wait = |id| Wait { id: Some(id), gather, ..Wait::events(min).within(NOW) };
        assert_eq!(context.wait(&wait(ended)), Ok(()), "{min}");
        assert_eq!(errno(context.wait(&wait(runs))), Some(ETIME), "{min}");
    }
    pipe.writer.write_all(&[1]).expect("the pipe has room");
    assert_eq!(context.reap(2).len(), 2);
    Ok(())
}

pub(crate) fn eight_threads_reap_each_event_once_and_whole(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { ring_bytes: 4096, max_requests: 2000, ..setup() });
    const EVENTS: u64 = 40_000;
    let left = AtomicI32::new(EVENTS as i32);
    let tag = 0xabcd_u64.to_ne_bytes();
    let reaped: Vec<Vec<Event>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (context, left) = (&context, &left);
                scope.spawn(move || {
                    let mut found = Vec::new();
                    while left.load(Ordering::Relaxed) > 0 {
                        let more = if n % 2 == 0 {
                            match context.wait_copy(&Wait::events(1).within(NOW), 600) {
                                Ok(events) => events,
                                Err(e) => {
                                    assert_eq!(e.0, ETIME, "a lost race is no corruption");
                                    Vec::new()
                                }
                            }
                        } else {
                            context.reap_ring(20)
                        };
                        left.fetch_sub(more.len() as i32, Ordering::Relaxed);
                        found.extend(more);
                    }
                    found
                })
            })
            .collect();
        let mut next = 0;
        while next < EVENTS {
            let end = EVENTS.min(next + 50);
            let mut batch = Batch::of((next..end).map(|n| {
                // Lengths differ: 24, 32 and 56 bytes.
                let nop = Request::nop(n);
                match n % 3 {
                    0 => nop,
                    1 => nop.attr(62, aio2_abi::attr::AttrFlags::RETURN, &tag),
                    _ => nop.returns(aio2_abi::attr::TIMING),
                }
            }));
            let mut at = 0;
            while at < batch.bytes().len() {
                match context.submit_bytes(&mut batch.bytes()[at..]) {
                    Ok(bytes) => at += bytes,
                    Err(e) => {
                        assert_eq!(e.0, libc::EAGAIN);
                        std::thread::yield_now();
                    }
                }
            }
            next = end;
        }
        threads.into_iter().map(|t| t.join().expect("no thread fails")).collect()
    });
    let mut all = Vec::new();
    for events in reaped {
        for event in &events {
            let len = [24, 32, 56][event.user_data as usize % 3];
            assert_eq!((event.len, event.res), (len, 0), "{event:?}");
        }
        let order = user_data(&events);
        assert!(order.is_sorted(), "the order is kept for each consumer");
        all.extend(order);
    }
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..EVENTS), "each event once: {} of {EVENTS}", all.len());
    Ok(())
}

pub(crate) fn reaping_goes_on_while_requests_are_submitted_by_others(env: &Env<'_>) -> Outcome {
    let context = env.context();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let context: &Context = &context;
            scope.spawn(move || {
                for n in 0..500 {
                    context.submit_all(&mut Batch::of([
                        Request::nop(thread << 32 | n).flags(IocbFlags::WRITE_ID)
                    ]));
                }
            });
        }
        let mut last = [None; 4];
        for event in context.reap(2000) {
            let thread = (event.user_data >> 32) as usize;
            let n = event.user_data & 0xffff_ffff;
            assert!(last[thread] < Some(n), "inline requests of one thread keep their order");
            last[thread] = Some(n);
        }
    });
    context.assert_idle();
    Ok(())
}
