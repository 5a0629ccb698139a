//! Steps of the wall clock, to which no time in the ABI belongs.
//!
//! This program has a clock_gettime of its own, in which every clock but
//! CLOCK_MONOTONIC is a day ahead and a day behind in turn.

use aio2::Errno;
use aio2::backend::Wait;
use aio2_abi::attr;
use aio2_conformance::backends::InProcess;
use aio2_conformance::context::Context;
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::file::Slow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

static STEPS: AtomicU32 = AtomicU32::new(0);

/// clock_gettime(2), stepped.
///
/// # Safety
/// `time` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    // SAFETY: as of the caller.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as i32 };
    if clock != libc::CLOCK_MONOTONIC {
        let ahead = STEPS.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        // SAFETY: as of the caller.
        unsafe { (*time).tv_sec += if ahead { 86_400 } else { -86_400 } };
    }
    result
}

/// SPEC: R-GET-7, R-DEADLINE-1, R-TIMING-3
#[test]
fn a_step_of_the_wall_clock_ends_no_wait_and_delays_none() {
    const TIME: Duration = Duration::from_millis(50);
    let [before, after] = [SystemTime::now(), SystemTime::now()];
    assert!(before > after, "this program's clock_gettime is used");
    let context = Context::new(InProcess.create(&setup()).expect("a context can be created"));
    // SAFETY: a sigset_t may be all zeros, which is the empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    let slow = Slow::new();
    let waits_in_vain = |wait: Wait<'_>| assert_eq!(context.wait(&wait), Err(Errno(libc::ETIME)));
    let waits: [(&str, &dyn Fn()); 3] = [
        ("a wait", &|| waits_in_vain(Wait::events(1).within(TIME))),
        ("a wait with a mask", &|| {
            waits_in_vain(Wait { sigmask: Some(&none), ..Wait::events(1).within(TIME) });
        }),
        ("a deadline", &|| {
            let read = slow.read().deadline(TIME.as_nanos() as u64).returns(attr::TIMING);
            context.submit_these([read]);
            let end = context.reap(1).remove(0);
            assert_eq!(end.res, -i64::from(libc::ETIMEDOUT));
            let timing: attr::TimingReturn = end.payload(attr::TIMING);
            let took = Duration::from_nanos(timing.completed - timing.submitted);
            assert!((TIME..TIME * 100).contains(&took), "{timing:?}");
        }),
    ];
    for (what, wait) in waits {
        let begun = Instant::now();
        wait();
        let took = begun.elapsed();
        assert!((TIME..TIME * 100).contains(&took), "{what}: {took:?}");
    }
}
