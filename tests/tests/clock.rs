//! How often the engine reads the clock for a request.
//!
//! This program has a clock_gettime of its own, which counts.

use aio2_abi::attr;
use aio2_abi::setup::Setup;
use aio2_conformance::backends::InProcess;
use aio2_conformance::context::{Context, until};
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::file::{Busy, gettid};
use aio2_conformance::request::{Batch, Request};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    static IS_TEST: Cell<bool> = const { Cell::new(false) };
}

static BY_THE_TEST: AtomicU32 = AtomicU32::new(0);
static BY_OTHERS: AtomicU32 = AtomicU32::new(0);

/// clock_gettime(2), counted.
///
/// # Safety
/// `time` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    if IS_TEST.get() {
        BY_THE_TEST.fetch_add(1, Ordering::SeqCst);
    } else if std::process::id() as i32 != gettid() {
        // The first thread is the test harness, which has a clock to look at.
        BY_OTHERS.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: as of the caller.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as i32 }
}

/// Reads of the clock by the submission of `request`, which is run inline.
fn inline_reads(context: &Context, request: Request) -> u32 {
    let mut batch = Batch::of([request]);
    let before = BY_THE_TEST.load(Ordering::SeqCst);
    context.submit_all(&mut batch);
    let reads = BY_THE_TEST.load(Ordering::SeqCst) - before;
    assert_eq!(context.reap_ring(9).len(), 1);
    reads
}

/// Reads of the clock by the submission of `request` and by the one worker,
/// between two requests that keep it from becoming idle.
fn worker_reads(context: &Context, request: Request) -> u32 {
    let (mut first, mut second) = (Busy::new(), Busy::new());
    context.submit_all(&mut Batch::of([first.request()]));
    first.wait_started();
    let mut batch = Batch::of([request.on_worker()]);
    let before = BY_THE_TEST.load(Ordering::SeqCst);
    context.submit_all(&mut batch);
    let submission = BY_THE_TEST.load(Ordering::SeqCst) - before;
    context.submit_all(&mut Batch::of([second.request()]));
    BY_OTHERS.store(0, Ordering::SeqCst);
    first.release();
    second.wait_started();
    let worker = BY_OTHERS.load(Ordering::SeqCst);
    second.release();
    assert_eq!(context.reap(3).len(), 3);
    submission + worker
}

/// SPEC: R-TIMING-2, R-ATTR-6
#[test]
fn timing_costs_at_most_three_clock_reads_and_its_absence_none() {
    IS_TEST.set(true);
    until("a moment has passed", || true);
    assert!(BY_THE_TEST.load(Ordering::SeqCst) >= 1, "this program's clock_gettime is used");
    let wanted = Setup { concurrency: 1, ..setup() };
    let context = Context::new(InProcess.create(&wanted).expect("a context can be created"));
    let tag = 7_u64.to_ne_bytes();
    let plain = Request::nop(1).attr(attr::TAG, attr::AttrFlags::RETURN, &tag);
    let timed = Request::nop(1).returns(attr::TIMING);
    for (name, reads) in [("inline", inline_reads as fn(&_, _) -> _), ("worker", worker_reads)] {
        assert_eq!(reads(&context, plain.clone()), 0, "{name}: nobody asked");
        let reads = reads(&context, timed.clone());
        assert!((2..=3).contains(&reads), "{name}: {reads} reads");
    }
    // The next one of a stream is accepted when the one before is completed.
    let mut batch = Batch::of(vec![timed; 10]);
    let before = BY_THE_TEST.load(Ordering::SeqCst);
    context.submit_all(&mut batch);
    assert_eq!(BY_THE_TEST.load(Ordering::SeqCst) - before, 11);
}
