//! Limits. SPEC: section 10.

use crate::context::{errno, until};
use crate::env::{Env, Outcome, setup};
use crate::file::Busy;
use crate::request::{Batch, Request};
use crate::wakeups::sleeps;
use aio2::backend::Wait;
use aio2_abi::attr;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use libc::EAGAIN;

fn nops(count: u64) -> Batch {
    Batch::of((0..count).map(Request::nop))
}

pub(crate) fn requests_above_the_limit_are_refused(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { max_requests: 5, concurrency: 1, ..setup() });
    let mut busy = Busy::new();
    context.submit_all(&mut Batch::of([busy.request()]));
    let mut batch = Batch::of((1..8).map(|n| Request::nop(n).on_worker()));
    assert_eq!(context.submit(&mut batch), Ok(batch.offset(4)), "one and four are five");
    assert_eq!(errno(context.submit_bytes(batch.bytes_from(4))), Some(EAGAIN));
    // What would end inline counts as well.
    assert_eq!(errno(context.submit(&mut nops(1))), Some(EAGAIN));
    // A malformed one is that before it is too much.
    let mut malformed = nops(1);
    malformed.bytes()[12] = 1;
    assert_eq!(errno(context.submit(&mut malformed)), Some(libc::EINVAL));
    busy.wait_started();
    busy.release();
    assert_eq!(context.reap(5).len(), 5);
    assert_eq!(context.submit_bytes(batch.bytes_from(4)), Ok(batch.bytes_from(4).len()));
    assert_eq!(context.reap(3).len(), 3);
    Ok(())
}

pub(crate) fn request_counts_until_its_event_is_in_the_ring(env: &Env<'_>) -> Outcome {
    const LIMIT: u64 = 10;
    let context =
        env.context_with(Setup { max_requests: LIMIT as u32, ring_bytes: 4096, ..setup() });
    let fits = 4096 / 24;
    // In the ring they do not count, though nobody has reaped them.
    for _ in 0..fits {
        context.submit_all(&mut nops(1));
    }
    // On the overflow list they do.
    for _ in 0..LIMIT {
        context.submit_all(&mut nops(1));
    }
    assert_eq!(errno(context.submit(&mut nops(1))), Some(EAGAIN));
    // Three leave the list as there is room: three are accepted, in one call
    // or more.
    assert_eq!(context.reap_ring(3).len(), 3);
    assert_eq!(context.wait(&Wait::events(0)), Ok(()));
    let mut batch = nops(5);
    assert_eq!(context.submit(&mut batch), Ok(batch.offset(3)));
    assert_eq!(errno(context.submit(&mut nops(1))), Some(EAGAIN));
    assert_eq!(context.reap((fits + LIMIT) as usize).len(), (fits + LIMIT) as usize);
    context.assert_idle();
    Ok(())
}

pub(crate) fn requests_are_accepted_again_when_events_left_the_list(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { max_requests: 10, ring_bytes: 4096, ..setup() });
    let mut accepted = 0;
    while context.submit(&mut nops(1)).is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 4096 / 24 + 10);
    // The ring is emptied, and no call is made but the submission itself.
    let reaped = context.reap_ring(1000).len();
    assert_eq!(context.submit(&mut nops(1)), Ok(32), "after {reaped} were reaped");
    assert_eq!(context.reap(accepted + 1 - reaped).len(), accepted + 1 - reaped);
    Ok(())
}

pub(crate) fn stream_is_refused_only_when_nothing_is_held_back(env: &Env<'_>) -> Outcome {
    const LIMIT: u32 = 4;
    let fits = 4096 / 24;
    let setup = || Setup { max_requests: LIMIT, ring_bytes: 4096, ..setup() };
    let context = env.context_with(setup());
    let mut ten = nops(10);
    assert_eq!(context.submit(&mut ten), Ok(ten.bytes().len()), "the ring has room for all");
    assert_eq!(context.reap(10).len(), 10);
    let context = env.context_with(setup());
    let mut more = nops(fits + 100);
    let most = (fits + u64::from(LIMIT)) as usize;
    assert_eq!(context.submit(&mut more), Ok(more.offset(most)), "what the ring and list take");
    // The list has room as soon as the ring has, and no call is made between.
    assert_eq!(context.reap_ring(3).len(), 3);
    assert_eq!(context.submit_bytes(more.bytes_from(most)), Ok(3 * 32));
    assert_eq!(context.reap(most).len(), most);
    context.assert_idle();
    Ok(())
}

pub(crate) fn never_reaping_is_bounded_by_ring_and_limit(env: &Env<'_>) -> Outcome {
    for max_requests in [1, 7, 500] {
        let context = env.context_with(Setup { max_requests, ring_bytes: 4096, ..setup() });
        let mut long = Request::nop(1);
        for id in 1..=attr::ID_MAX {
            long = long.attr(id, attr::AttrFlags::RETURN, &[]);
        }
        let mut accepted = 0;
        for n in 0..10_000 {
            let request = if n % 2 == 0 { long.clone() } else { Request::nop(2) };
            match context.submit(&mut Batch::of([request])) {
                Ok(_) => accepted += 1,
                Err(e) => {
                    assert_eq!(e.0, EAGAIN);
                    break;
                }
            }
        }
        let bound = 4096 / 24 + max_requests as usize;
        assert!(accepted <= bound, "{accepted} accepted, at most {bound}");
        assert!(accepted >= max_requests as usize);
        assert_eq!(context.reap(accepted).len(), accepted);
        context.assert_idle();
    }
    Ok(())
}

pub(crate) fn limit_of_one_can_be_used(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { max_requests: 1, concurrency: 1, ..setup() });
    for n in 0..200 {
        assert_eq!(context.run(Request::nop(n)).user_data, n);
        assert_eq!(context.run(Request::nop(n).on_worker()).user_data, n);
    }
    Ok(())
}

pub(crate) fn cancelled_requests_make_room(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { max_requests: 4, concurrency: 1, ..setup() });
    let mut busy = Busy::new();
    context.submit_all(&mut Batch::of([busy.request().user_data(9)]));
    busy.wait_started();
    for _ in 0..20 {
        context.submit_all(&mut Batch::of((0..3).map(|n| Request::nop(n).on_worker())));
        assert_eq!(errno(context.submit(&mut nops(1))), Some(EAGAIN));
        let fields = Cancel { nr: aio2_abi::op::NOP, ..Cancel::default() };
        assert_eq!(context.cancel(CancelFlags::NR, fields).map(|c| c.0), Ok(3));
        let mut reaped = 0;
        until("the cancelled ones end", || {
            reaped += context.reap_ring(3).len();
            reaped == 3
        });
    }
    busy.release();
    assert_eq!(context.reap(1)[0].user_data, 9);
    Ok(())
}

pub(crate) fn overload_neither_sleeps_nor_loses(env: &Env<'_>) -> Outcome {
    const THREADS: u64 = 4;
    const EACH: u64 = 2000;
    let setup = Setup { max_requests: 50, concurrency: 1, ring_bytes: 4096, ..setup() };
    let context = env.context_with(setup);
    // The worker is busy, and as many wait for it as may.
    let mut busy = Busy::new();
    context.submit_all(&mut Batch::of([busy.request().user_data(u64::MAX)]));
    busy.wait_started();
    let waiting = Batch::of((1..50).map(|_| Request::nop(u64::MAX).on_worker()));
    context.submit_all(&mut { waiting });
    let before = sleeps();
    for _ in 0..5000 {
        assert_eq!(errno(context.submit(&mut nops(1))), Some(EAGAIN));
    }
    let slept = sleeps() - before;
    assert!(slept <= 5, "slept {slept} times in 5000 submissions above the limit");
    busy.release();
    // Several submit more than there is room for, and one reaps a little at a
    // time.
    let mut seen: Vec<u64> = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let context = &context;
            scope.spawn(move || {
                let of = |n| Request::nop(thread * EACH + n);
                let mut batch = Batch::of((0..EACH).map(|n| match n % 3 {
                    0 => of(n).on_worker(),
                    _ => of(n),
                }));
                let mut at = 0;
                while at < batch.bytes().len() {
                    match context.submit_bytes(&mut batch.bytes()[at..]) {
                        Ok(bytes) => at += bytes,
                        Err(e) => {
                            assert_eq!(e.0, EAGAIN, "the only reason");
                            std::thread::yield_now();
                        }
                    }
                }
            });
        }
        (0..THREADS * EACH + 50).map(|_| context.reap(1)[0].user_data).collect()
    });
    seen.sort_unstable();
    let expected = (0..THREADS * EACH).chain(std::iter::repeat_n(u64::MAX, 50));
    assert!(seen.into_iter().eq(expected), "each event once");
    context.assert_idle();
    Ok(())
}
