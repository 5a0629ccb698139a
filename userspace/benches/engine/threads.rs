//! One and two threads that submit, and one and two that reap, on one context: cached
//! reads of 4 KiB in batches; and io_uring with a ring for each thread, since its ring
//! is one thread's.

use crate::common::{median, quartiles, round_trip_ns};
use crate::contenders::{Contender, uring::Uring};
use crate::work::{Kind, Work};
use crate::{Effort, process_ns};
use aio2::backend::{Backend, Wait};
use aio2::engine::Engine;
use aio2_abi::iocb;
use aio2_abi::setup::Setup;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

const BATCH: usize = 32;
const LEN: usize = 4096;
/// Most that is not reaped: so many events the ring has room for.
const AHEAD: usize = 1024;

/// Submitting and reaping threads; none of the latter: each submitter reaps.
const WAYS: [(&str, usize, usize); 5] = [
    ("AIO2, one thread does both", 1, 0),
    ("AIO2, 1 submits, 1 reaps", 1, 1),
    ("AIO2, 2 submit, 1 reaps", 2, 1),
    ("AIO2, 1 submits, 2 reap", 1, 2),
    ("AIO2, 2 submit, 2 reap", 2, 2),
];

/// Reads `operations` times; the nanoseconds that passed, and of processors, for each.
fn aio2(submitters: usize, reapers: usize, operations: usize) -> [f64; 2] {
    let engine = Engine::new(&Setup { version: 1, ..Setup::default() }, None).expect("an engine");
    let works: Vec<Work> = (0..submitters)
        .map(|_| Work::new(Kind::Cached(LEN), BATCH).expect("a scratch file"))
        .collect();
    let (submitted, reaped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let each = (operations / submitters).next_multiple_of(BATCH);
    let all = each * submitters;
    let (engine, submitted, reaped) = (&engine, &submitted, &reaped);
    let (cpu, begun) = (process_ns(), Instant::now());
    thread::scope(|scope| {
        for mut work in works {
            scope.spawn(move || {
                let consumer = engine.consumer();
                let (mut stream, mut events) = ([0_u64; BATCH * 16], vec![0; BATCH * 8]);
                let at = work.memory().iov_base.expose_provenance() as u64;
                let fd = work.file().as_raw_fd() as u64;
                for first in (0..each).step_by(BATCH) {
                    let mut used = 0;
                    for number in 0..BATCH as u64 {
                        let offset = (first as u64 + number) * LEN as u64 % (16 << 20);
                        let args = [fd, at, LEN as u64, offset];
                        let (nr, room) =
                            (libc::SYS_pread64 as u32, &mut stream.as_mut_bytes()[used..]);
                        let flags = iocb::IocbFlags::empty();
                        used +=
                            iocb::Encoder::new(room, nr, &args, flags, number).expect("room").len();
                    }
                    // SAFETY: the memory lives until all are reaped, below.
                    let taken = unsafe { engine.submit(&mut stream.as_mut_bytes()[..used]) };
                    assert_eq!(taken, Ok(used));
                    submitted.fetch_add(BATCH, Relaxed);
                    if reapers == 0 {
                        assert_eq!(consumer.reap(&mut events, BATCH).expect("sound").len(), BATCH);
                        reaped.fetch_add(BATCH, Relaxed);
                    }
                    while submitted.load(Relaxed)
                        - reaped.load(Relaxed).min(submitted.load(Relaxed))
                        > AHEAD
                    {
                        thread::yield_now();
                    }
                }
                while reaped.load(Relaxed) < all {
                    thread::sleep(Duration::from_micros(50));
                }
            });
        }
        for _ in 0..reapers {
            scope.spawn(move || {
                let (consumer, mut events) = (engine.consumer(), vec![0; BATCH * 8]);
                while reaped.load(Relaxed) < all {
                    let taken = consumer.reap(&mut events, BATCH).expect("sound").len();
                    reaped.fetch_add(taken, Relaxed);
                    if taken == 0 {
                        let wait = Wait::events(1).within(Duration::from_millis(1));
                        // SAFETY: there is no request. That the time has passed is no matter.
                        let _ = unsafe { engine.wait(&wait, &mut [], None) };
                    }
                }
            });
        }
    });
    let wall = begun.elapsed().as_nanos() as f64;
    [wall / all as f64, (process_ns() - cpu) as f64 / all as f64]
}

/// As [`aio2`], with a ring for each thread.
fn uring(threads: usize, operations: usize) -> Option<[f64; 2]> {
    let each = operations / threads;
    let works: Vec<Work> = (0..threads)
        .map(|_| Work::new(Kind::Cached(LEN), BATCH).expect("a scratch file"))
        .collect();
    let (cpu, begun) = (process_ns(), Instant::now());
    let done = thread::scope(|scope| {
        let running: Vec<_> = works
            .into_iter()
            .map(|mut work| {
                scope.spawn(move || {
                    let mut ring = Uring::new(&mut work).ok()?;
                    Some(ring.pass(&mut work, 0, each))
                })
            })
            .collect();
        let all = running.into_iter().map(|thread| thread.join().expect("no panic"));
        all.sum::<Option<usize>>()
    })?;
    let wall = begun.elapsed().as_nanos() as f64;
    Some([wall / done as f64, (process_ns() - cpu) as f64 / done as f64])
}

/// Prints what each way took.
pub fn compare(effort: Effort, json: bool) {
    // Some 500 ns each.
    let operations = (effort.piece.as_nanos() as usize / 500).max(2 * BATCH);
    let mut all: Vec<(&str, Vec<[f64; 2]>)> = Vec::new();
    for round in 0..effort.rounds {
        let aio2s = WAYS.iter().map(|&(name, s, r)| (name, Some(aio2(s, r, operations))));
        let urings = [("io_uring, 1 thread", 1), ("io_uring, 2 threads, a ring each", 2)];
        let urings = urings.iter().map(|&(name, n)| (name, uring(n, operations)));
        for (place, (name, took)) in aio2s.chain(urings).enumerate() {
            let Some(took) = took else {
                if round == 0 {
                    eprintln!("SKIP {name}: not to be had here");
                }
                continue;
            };
            if all.len() <= place {
                all.push((name, Vec::new()));
            }
            all[place].1.push(took);
        }
    }
    let trip = round_trip_ns();
    let work = "cached read, 4 KiB, by several threads";
    if !json {
        println!("\n{work}, batches of {BATCH} (round trip {trip:.0} ns)");
    }
    let base = all[0].1.clone();
    for (name, took) in &all {
        let part = |which: usize| took.iter().map(|took| took[which]).collect::<Vec<f64>>();
        if json {
            let line = |which| {
                part(which).iter().map(|ns| format!("{ns:.1}")).collect::<Vec<_>>().join(",")
            };
            println!(
                "{{\"bench\":\"engine\",\"work\":\"{work}\",\"depth\":{BATCH},\
                 \"contender\":\"{name}\",\"round_trip_ns\":{trip:.1},\
                 \"wall_ns\":[{}],\"cpu_ns\":[{}]}}",
                line(0),
                line(1)
            );
        } else {
            let ratios: Vec<f64> = took.iter().zip(&base).map(|(a, b)| a[0] / b[0]).collect();
            let [low, mid, high] = quartiles(&ratios);
            let (wall, cpu) = (median(&part(0)), median(&part(1)));
            println!("{name:<34} {wall:>9.1} {mid:>7.2} {low:>7.2} .. {high:<5.2} {cpu:>8.1}");
        }
    }
}
