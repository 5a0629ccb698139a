//! What is told beside completions: counters of a context, and metrics.
#![allow(missing_docs)]

use aio2::{Context, Counters, Op, Prefer, Queue, Timeout};
use std::io::{Write, pipe};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

fn queue() -> Queue<Vec<u8>, u64> {
    let context = Context::builder().prefer(Prefer::Engine).concurrency(1).build();
    Queue::new(context.unwrap())
}

/// The counters, once `holds` is true of them.
fn once(queue: &Queue<Vec<u8>, u64>, holds: impl Fn(&Counters) -> bool) -> Counters {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let counters = queue.context().counters().unwrap();
        if holds(&counters) {
            return counters;
        }
        assert!(Instant::now() < limit, "{counters:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_context_tells_what_it_has_in_hand() {
    let mut queue = queue();
    assert_eq!(queue.context().counters(), Some(Counters::default()));
    let (reader, mut writer) = pipe().unwrap();
    // One waits for its file, and two for the only worker, of which one has it.
    queue.push(Op::read(OwnedFd::from(reader), vec![0; 1]), 0);
    queue.push(Op::nanosleep(Duration::from_secs(3600)), 1);
    queue.push(Op::nanosleep(Duration::from_secs(3600)), 2);
    queue.push(Op::nop(), 3);
    queue.submit().unwrap();
    let counters = once(&queue, |counters| counters.queued == 1);
    assert_eq!((counters.in_flight, counters.on_files, counters.on_device), (3, 1, 0));
    assert_eq!((counters.workers, counters.idle_workers), (1, 0));
    assert_eq!((counters.ended, counters.ended_inline, counters.overflowed), (1, 1, 0));
    writer.write_all(b"x").unwrap();
    for done in queue.wait(2, Timeout::Forever).unwrap() {
        assert!([0, 3].contains(&done.token), "{}", done.token);
    }
    let counters = queue.context().counters().unwrap();
    assert_eq!((counters.in_flight, counters.on_files), (2, 0));
    assert_eq!((counters.ended, counters.ended_inline), (2, 1));
}

#[test]
fn events_that_found_no_room_are_counted() {
    let context = Context::builder().prefer(Prefer::Engine).ring_bytes(4096).build().unwrap();
    let mut queue: Queue<Vec<u8>, u64> = Queue::new(context);
    for n in 0..1000 {
        queue.push(Op::nop(), n);
    }
    queue.submit().unwrap();
    let counters = queue.context().counters().unwrap();
    assert!(counters.overflowed > 500, "{counters:?}");
    assert_eq!((counters.ended, counters.in_flight), (1000, 0));
    let mut seen = 0;
    while !queue.is_empty() {
        seen += queue.wait(1, Timeout::Forever).unwrap().count();
    }
    assert_eq!((seen, queue.context().counters().unwrap().overflowed), (1000, 0));
}

#[cfg(feature = "metrics")]
mod metrics {
    use super::*;
    use aio2::CacheHint;
    use aio2::metrics::Metrics;
    use aio2::reap::{CacheBytes, Place};
    use std::fs::File;

    /// Those of a read from the page cache, a sleep and a read that fails.
    fn measured() -> Metrics {
        let (mut queue, mut metrics) = (queue(), Metrics::default());
        let exe = File::open("/proc/self/exe").unwrap();
        exe.sync_all().unwrap();
        queue.push(
            Op::read_at(exe, vec![0; 16], 0).timing().execution_path().cache(CacheHint::Normal),
            0,
        );
        queue.push(Op::nanosleep(Duration::from_millis(2)).timing().execution_path(), 1);
        queue.push(Op::read_at(File::open("/").unwrap(), vec![0; 16], 0), 2);
        while !queue.is_empty() {
            for done in queue.wait(1, Timeout::Forever).unwrap() {
                metrics.take(&done);
            }
        }
        metrics
    }

    #[test]
    fn what_ended_is_told_by_operation_and_place() {
        assert!(Metrics::default().is_empty());
        let mut metrics = measured();
        metrics.add(&measured());
        let all: Vec<_> = metrics
            .operations()
            .map(|(name, place, all)| {
                (name, place, all.count(), all.errors(), all.latency_ns().len())
            })
            .collect();
        assert_eq!(
            all,
            [
                ("nanosleep", Some(Place::Worker), 2, 0, 2),
                // PATH and TIMING were not asked for.
                ("pread64", None, 2, 2, 0),
                ("pread64", Some(Place::Inline), 2, 0, 2),
            ]
        );
        assert_eq!(metrics.cache(), CacheBytes { hit: 32, miss: 0 });
        let (_, _, sleeps) = metrics.operations().next().unwrap();
        assert!(sleeps.latency_ns().min() >= 1_900_000, "{}", sleeps.latency_ns().min());
        assert!(sleeps.ran() >= Duration::from_millis(4), "{:?}", sleeps.ran());
    }
}
