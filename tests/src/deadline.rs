//! Deadlines. SPEC: R-DEADLINE-1.

use crate::env::{Env, Outcome, setup};
use crate::file::Slow;
use crate::request::Request;
use aio2_abi::attr::{self, AFTER_STREAM};
use aio2_abi::op;
use aio2_abi::setup::{Features, Setup};

const SOON: u64 = 1_000_000;
const NEVER: u64 = u64::MAX;
const ETIMEDOUT: i64 = -(libc::ETIMEDOUT as i64);
const ECANCELED: i64 = -(libc::ECANCELED as i64);

pub(crate) fn what_runs_waits_or_is_held_ends_when_its_time_is_over(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::DEADLINE)?;
    env.needs_attr(attr::AFTER)?;
    env.needs_attr(attr::GROUP)?;
    env.needs_op(op::POLL)?;
    let context = env.context_with(Setup { concurrency: 1, ..setup() });
    let (runs, queued, watched) = (Slow::new(), Slow::new(), Slow::new());
    context.submit_these([
        runs.read().user_data(1).deadline(SOON),
        queued.read().user_data(2).deadline(SOON),
        Request::nop(3).after(AFTER_STREAM, 2).deadline(SOON),
        Request::poll(watched.fd(), libc::POLLIN).user_data(4).deadline(SOON),
        watched.read().user_data(5).deadline(NEVER).in_group(7),
        Request::close_group(7).user_data(6).deadline(SOON),
    ]);
    let mut ends = context.ends(5);
    ends.sort_unstable();
    // The third is told of by the first or by its own time.
    assert!([ETIMEDOUT, ECANCELED].contains(&ends.remove(2).1));
    assert_eq!(ends, [1, 2, 4, 6].map(|n| (n, ETIMEDOUT)));
    watched.finish();
    assert_eq!(context.ends(1), [(5, 1)]);
    Ok(())
}

pub(crate) fn what_ends_in_time_has_its_own_result(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::DEADLINE)?;
    let context = env.context();
    let slow = Slow::new();
    context.submit_these([
        Request::nop(1).deadline(NEVER),
        slow.read().user_data(2).deadline(60_000_000_000),
        Request::nop(3).deadline(0),
    ]);
    assert_eq!(context.ends(2), [(1, 0), (3, ETIMEDOUT)]);
    slow.finish();
    assert_eq!(context.ends(1), [(2, 1)]);
    Ok(())
}

pub(crate) fn sleep_is_interrupted_each_time_however_early(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::DEADLINE)?;
    env.needs(Features::INTERRUPT)?;
    let context = env.context_with(Setup { concurrency: 4, ..setup() });
    let nap = [3600_i64, 0];
    let at = nap.as_ptr().addr() as u64;
    for round in 0..50 {
        let sleep = |n| Request::call(libc::SYS_nanosleep, &[at, 0]).user_data(n);
        context.submit_these((0..20).map(|n| sleep(n).deadline(1 + round * 2000)));
        assert!(context.ends(20).iter().all(|end| end.1 == ETIMEDOUT));
    }
    Ok(())
}

pub(crate) fn deadline_says_that_it_was_handled(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::DEADLINE)?;
    let context = env.context();
    let deadline = |payload: &[u8]| {
        context.run(Request::nop(1).attr(attr::DEADLINE, attr::AttrFlags::RETURN, payload))
    };
    let (good, bad) = (deadline(&NEVER.to_ne_bytes()), deadline(&[]));
    assert_eq!((good.res, good.status(attr::DEADLINE)), (0, 0));
    assert_eq!((bad.res, bad.status(attr::DEADLINE)), (0, -libc::EINVAL));
    Ok(())
}

pub(crate) fn deadlines_of_what_has_ended_do_nothing(env: &Env<'_>) -> Outcome {
    env.needs_attr(attr::DEADLINE)?;
    let context = env.context_with(Setup { max_requests: 64, ..setup() });
    for n in 0..5000 {
        // Some are over before the next ones use their places.
        let timeout = if n % 2 == 0 { 1 << 50 } else { 50_000 };
        let request = Request::nop(n).on_worker().deadline(timeout);
        let res = context.run(request).res;
        assert!(res == 0 || timeout < SOON && res == ETIMEDOUT, "{n}: {res}");
    }
    Ok(())
}
