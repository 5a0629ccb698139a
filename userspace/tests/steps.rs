//! A clock that is set while requests wait: nothing of the engine goes by it.
//!
//! This program has a clock_gettime of its own. Each time that another clock
//! than CLOCK_MONOTONIC is read, it has been set by a fortnight, forth or back.
//! Setting the machine's clock would be seen by all that runs on it.
#![cfg(not(aio2_loom))]

#[path = "engine/context.rs"]
#[allow(dead_code)] // shared with tests/engine.rs
mod context;
#[path = "engine/request.rs"]
#[allow(dead_code)] // shared with tests/engine.rs
mod request;

use aio2::Errno;
use aio2::backend::Wait;
use aio2_abi::attr;
use context::{Fixture, Iocb};
use request::{Slow, errno};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

const FORTNIGHT_S: i64 = 14 * 24 * 3600;

/// How often a clock that can be set was read.
static READS: AtomicU64 = AtomicU64::new(0);

/// clock_gettime(2), with steps.
///
/// # Safety
/// `time` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    // SAFETY: as of the caller.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as i32 };
    if clock != libc::CLOCK_MONOTONIC {
        let forth = READS.fetch_add(1, SeqCst).is_multiple_of(2);
        // SAFETY: as of the caller.
        unsafe { (*time).tv_sec += if forth { FORTNIGHT_S } else { -FORTNIGHT_S } };
    }
    result
}

const SPAN: Duration = Duration::from_millis(30);

// SPEC: R-DEADLINE-1, R-GET-11, R-TIMING-2
#[test]
fn a_clock_that_is_set_changes_no_time_of_a_request() {
    let (first, second) = (SystemTime::now(), SystemTime::now());
    assert!(first > second, "this program's clock_gettime is used");
    let reads = READS.load(SeqCst);
    let f = Fixture::new();
    let slow = Slow::new();
    let begun = Instant::now();
    let wait = Wait::events(1).within(SPAN);
    assert_eq!(f.wait(&wait), Err(Errno(libc::ETIME)));
    assert!(begun.elapsed() >= SPAN);
    let span_ns = SPAN.as_nanos() as u64;
    let begun = Instant::now();
    f.submit([slow.read().user_data(1).deadline(span_ns).attr(attr::TIMING)]);
    let end = f.next();
    assert_eq!(end.res, errno(libc::ETIMEDOUT));
    assert!(begun.elapsed() >= SPAN);
    let [submitted, started, completed]: [u64; 3] = end.payload(attr::TIMING).unwrap();
    assert!(submitted <= started && started <= completed);
    assert!(completed - submitted >= span_ns);
    f.submit([Iocb::nop(2)]);
    assert_eq!(f.next().res, 0);
    assert_eq!(READS.load(SeqCst), reads, "a clock that can be set was read");
}
