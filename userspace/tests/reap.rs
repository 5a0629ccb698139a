//! Reapers: every event goes to one of them, and says what it is.

use aio2::{Context, Errno, Iocbs, Timeout};
use aio2_abi::attr;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Submits so many nops, all that a limit allows at a time.
fn submit_nops(context: &Context, user_data: impl Iterator<Item = u64>) {
    let mut iocbs = Iocbs::new();
    for user_data in user_data {
        let mut iocb = iocbs.push(op::NOP, &[], IocbFlags::empty(), user_data).unwrap();
        iocb.attr(attr::TIMING, attr::AttrFlags::RETURN, &[]).unwrap();
    }
    while !iocbs.is_empty() {
        // SAFETY: nops take no address.
        if let Ok(bytes) = unsafe { context.submit_raw(iocbs.bytes_mut()) } {
            iocbs.consume(bytes);
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_batch_gives_events_in_order_and_their_returns() {
    let context = Context::new().unwrap();
    let mut reaper = context.reaper();
    assert_eq!(reaper.batch().unwrap().count(), 0);
    submit_nops(&context, 0..100);
    let mut next = 0;
    for event in reaper.batch().unwrap() {
        assert_eq!((event.user_data(), event.result()), (next, Ok(0)));
        assert!(event.is_last() && event.timing().handled().is_some());
        next += 1;
    }
    assert_eq!(next, 100);
    assert_eq!(reaper.wait(0, Timeout::Forever).unwrap().count(), 0);
}

#[test]
fn a_result_that_is_negative_is_an_error_number() {
    let context = Context::new().unwrap();
    let mut iocbs = Iocbs::new();
    iocbs.push(libc::SYS_fsync as u32, &[u64::MAX], IocbFlags::empty(), 1).unwrap();
    // SAFETY: fsync takes no address, and there is no such file.
    unsafe { context.submit_raw(iocbs.bytes_mut()) }.unwrap();
    let mut reaper = context.reaper();
    let event = reaper.wait(1, Timeout::Forever).unwrap().next().unwrap();
    assert_eq!(event.result(), Err(Errno(libc::EBADF)));
}

// SPEC: R-RING-12, R-OVF-7
#[test]
fn every_event_goes_to_one_of_four_reapers_beyond_the_ring_too() {
    const EVENTS: usize = 40_000;
    let context = Context::builder().ring_bytes(4096).max_requests(5000).build().unwrap();
    let seen: Vec<_> = (0..EVENTS).map(|_| AtomicUsize::new(0)).collect();
    let reaped = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut reaper = context.reaper();
                while reaped.load(Ordering::Relaxed) < EVENTS {
                    for event in reaper.batch().unwrap() {
                        seen[event.user_data() as usize].fetch_add(1, Ordering::Relaxed);
                        reaped.fetch_add(1, Ordering::Relaxed);
                    }
                    std::thread::yield_now();
                }
            });
        }
        submit_nops(&context, 0..EVENTS as u64);
    });
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
}

/// SPEC: R-LIFE-1, R-EVENT-1
#[test]
fn a_reaper_gets_the_last_events_of_a_context_that_was_dropped() {
    let context = Context::builder().prefer(aio2::Prefer::Engine).build().unwrap();
    let mut reaper = context.reaper();
    let long = libc::timespec { tv_sec: 1_000_000, tv_nsec: 0 };
    let mut iocbs = Iocbs::new();
    let args = [(&raw const long).expose_provenance() as u64, 0];
    for flags in [IocbFlags::empty(), IocbFlags::ASYNC] {
        iocbs.push(libc::SYS_nanosleep as u32, &args, flags, 7).unwrap();
    }
    // SAFETY: the time is there until both have ended.
    unsafe { context.submit_raw(iocbs.bytes_mut()) }.unwrap();
    drop(context);
    let ends: Vec<_> = reaper.wait(2, Timeout::Forever).unwrap().map(|e| e.result()).collect();
    assert_eq!(ends, [Err(Errno(libc::ECANCELED)); 2]);
}
