//! The clock of every time in the ABI: CLOCK_MONOTONIC in nanoseconds.
//!
//! Deadlines are `Option<u64>` of this clock; none is for ever. No timers here.
//!
//! SPEC: section 3 (conventions).

use crate::backend::Timeout;
#[cfg(not(aio2_loom))]
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The time now, in nanoseconds. It stands still under the model checker, to
/// which all runs have to be the same.
#[inline]
pub(crate) fn now() -> u64 {
    #[cfg(aio2_loom)]
    return 1;
    #[cfg(not(aio2_loom))]
    read()
}

#[cfg(not(aio2_loom))]
fn read() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// When `timeout` is over, counted from now; none for ever.
pub(crate) fn deadline(timeout: Timeout) -> Option<u64> {
    match timeout {
        Timeout::Forever => None,
        Timeout::After(span) => Some(after(span)),
        Timeout::Until(time) => Some(time),
    }
}

/// The time `span` from now, in nanoseconds.
pub(crate) fn after(span: Duration) -> u64 {
    now().saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// A time or span in nanoseconds as a timespec.
pub(crate) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (ns / 1_000_000_000) as _,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    }
}

#[cfg(all(test, not(aio2_loom)))]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_in_nanoseconds() {
        const SPAN: Duration = Duration::from_millis(2);
        let time = clock_gettime(ClockId::Monotonic);
        let before = now();
        assert!((0..3600).contains(&(before as i64 / 1_000_000_000 - time.tv_sec)));
        std::thread::sleep(SPAN);
        assert!(now() - before >= SPAN.as_nanos() as u64);
    }
}
