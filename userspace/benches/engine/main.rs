//! What a request costs on the engine, beside the interfaces that users have.
//!
//! Each round has every contender do a piece of the work, in turn, so that a change
//! of the machine's speed meets all of them; a ratio is taken within a round, and the
//! median over the rounds is shown with its quartiles. Time is what has passed, and
//! what processors have spent in this process. From the making of a request to the
//! look at its result, by the same loop for all ([`Contender::pass`]).
//!
//! `cargo xtask bench engine [--json] [--short]`, or by itself also `--only WORK`; `cargo xtask bench --page` makes the
//! page of it. With `--json` each line has the times of all rounds. Not a test: nothing
//! passes or fails by speed.
#![allow(unsafe_code, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod contenders;
mod threads;
mod work;

use aio2::Executor;
use aio2_abi::attr;
use common::{median, quartiles, round_trip_ns};
use contenders::Contender;
use contenders::{aio2::Aio2, libaio::Libaio, plain::Plain, pool::Pool};
use contenders::{posix::Posix, queue::Queued, uring::Uring};
use std::time::{Duration, Instant};
use work::{Kind, Work};

const DEPTHS: [usize; 3] = [1, 32, 256];
const TIMING: &[u16] = &[attr::TIMING];
const TIMING_CACHE: &[u16] = &[attr::TIMING, attr::CACHE];

/// How long it is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    rounds: usize,
    /// Of one contender in one round, about.
    piece: Duration,
}

/// A contender by its name, and what it took: nanoseconds an operation, by round.
struct Entry {
    name: &'static str,
    contender: Box<dyn Contender>,
    /// Operations of a piece.
    piece: usize,
    wall_ns: Vec<f64>,
    cpu_ns: Vec<f64>,
}

/// Processor time of the process, all of its threads and those that the kernel runs
/// for it as its threads, in nanoseconds.
pub fn process_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` can be written.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Those that can do the work, the one first to which the ratios are.
fn entries(work: &mut Work) -> Vec<Entry> {
    let mut all = Vec::new();
    let (kind, slots) = (work.kind, work.slots());
    let mut add = |name, made: Result<Box<dyn Contender>, String>| match made {
        Ok(contender) => {
            let (wall_ns, cpu_ns) = Default::default();
            all.push(Entry { name, contender, piece: 0, wall_ns, cpu_ns });
        }
        Err(why) => eprintln!("SKIP {name}, {}: {why}", kind.name()),
    };
    macro_rules! made {
        ($made:expr) => {
            $made.map(|c| Box::new(c) as Box<dyn Contender>).map_err(|e| e.to_string())
        };
    }
    let is_cached = matches!(kind, Kind::Cached(_));
    if is_cached {
        add("preadv2, RWF_NOWAIT", made!(Ok::<_, String>(Plain::new(libc::RWF_NOWAIT))));
    }
    if kind == Kind::Tree {
        add("plain calls", made!(Ok::<_, String>(Plain::new(0))));
    }
    add("io_uring", made!(Uring::new(work)));
    if !matches!(kind, Kind::Nop | Kind::Echo | Kind::Tree) {
        add("plain calls", made!(Ok::<_, String>(Plain::new(0))));
        add("Linux AIO", made!(Libaio::new(slots)));
    }
    // Where a receive keeps its thread, all of them may wait for what another request
    // would send.
    let has_thread_for_each = |threads| {
        let is_stuck = kind == Kind::Echo && slots > threads;
        if is_stuck { Err(format!("{slots} receives keep its {threads} threads")) } else { Ok(()) }
    };
    if !matches!(kind, Kind::Nop | Kind::Tree) {
        let enough = has_thread_for_each(contenders::posix::THREADS);
        add("POSIX AIO, glibc", made!(enough.map(|()| Posix::new(slots))));
    }
    if kind != Kind::Nop {
        let enough = has_thread_for_each(contenders::pool::THREADS);
        add("thread pool", made!(enough.map(|()| Pool::new(slots))));
    }
    add("AIO2, threads", made!(Aio2::new(slots, Executor::Threads, &[])));
    add("AIO2, io_uring", made!(Aio2::new(slots, Executor::IoUring, &[])));
    if matches!(kind, Kind::DirectRead | Kind::DirectWrite) {
        add("AIO2, Linux AIO", made!(Aio2::new(slots, Executor::LinuxAio, &[])));
    }
    match kind {
        Kind::Nop => add("AIO2, TIMING", made!(Aio2::new(slots, Executor::IoUring, TIMING))),
        Kind::Cached(_) | Kind::Cold => {
            let aio2 = Aio2::new(slots, Executor::IoUring, TIMING_CACHE);
            add("AIO2, TIMING and CACHE", made!(aio2));
        }
        _ => {}
    }
    let bytes = match kind {
        Kind::Nop | Kind::Cold | Kind::DirectRead | Kind::DirectWrite => Some(4096),
        Kind::Cached(len) => Some(len),
        _ => None,
    };
    if let Some(bytes) = bytes {
        add("AIO2, safe queue", made!(Queued::new(work, bytes)));
    }
    all
}

/// One piece of a contender; the nanoseconds that passed, and of processors, for each
/// operation.
fn piece(entry: &mut Entry, work: &mut Work, first: usize) -> [f64; 2] {
    work.prepare();
    let (cpu, begun) = (process_ns(), Instant::now());
    let operations = entry.contender.pass(work, first, entry.piece) as f64;
    let wall = begun.elapsed().as_nanos() as f64;
    [wall / operations, (process_ns() - cpu) as f64 / operations]
}

/// Has all contenders do the work at this depth, and prints what it took.
fn compare(kind: Kind, depth: usize, effort: Effort, json: bool) {
    let mut work = match Work::new(kind, depth) {
        Ok(work) => work,
        Err(error) => return eprintln!("SKIP {}, depth {depth}: {error}", kind.name()),
    };
    let mut all = entries(&mut work);
    for entry in &mut all {
        // Twice as much, until it takes long enough; which also warms up.
        entry.piece = depth.max(4);
        loop {
            let [wall, _] = piece(entry, &mut work, 0);
            let wanted = (effort.piece.as_nanos() as f64 / wall.max(1.0)) as usize;
            if wanted <= 2 * entry.piece || kind == Kind::Echo {
                entry.piece = wanted.max(depth);
                break;
            }
            entry.piece *= 2;
        }
    }
    let trip = round_trip_ns();
    let others = all.len();
    for round in 0..effort.rounds {
        for (place, entry) in all.iter_mut().enumerate() {
            // From elsewhere than the one before, which has left its part of the file in
            // the processor's caches.
            let [wall, cpu] = piece(entry, &mut work, (round * others + place) * 7919);
            entry.wall_ns.push(wall);
            entry.cpu_ns.push(cpu);
        }
    }
    print(kind.name(), depth, trip, json, &all);
}

fn print(work: &str, depth: usize, trip: f64, json: bool, all: &[Entry]) {
    let Some(base) = all.first() else { return };
    if !json {
        let rounds = base.wall_ns.len();
        println!("\n{work}, depth {depth} (medians of {rounds} rounds; round trip {trip:.0} ns)");
        println!(
            "{:<26} {:>9} {:>7} {:>15} {:>9} {:>7} {:>15}",
            "", "ns each", "ratio", "quartiles", "cpu ns", "ratio", "quartiles"
        );
    }
    for entry in all {
        let ratios = |own: &[f64], base: &[f64]| {
            let each: Vec<f64> = own.iter().zip(base).map(|(own, base)| own / base).collect();
            quartiles(&each)
        };
        let [low, mid, high] = ratios(&entry.wall_ns, &base.wall_ns);
        let [cpu_low, cpu_mid, cpu_high] = ratios(&entry.cpu_ns, &base.cpu_ns);
        let (name, wall, cpu) = (entry.name, median(&entry.wall_ns), median(&entry.cpu_ns));
        if json {
            let line =
                |all: &[f64]| all.iter().map(|ns| format!("{ns:.1}")).collect::<Vec<_>>().join(",");
            println!(
                "{{\"bench\":\"engine\",\"work\":\"{work}\",\"depth\":{depth},\
                 \"contender\":\"{name}\",\"round_trip_ns\":{trip:.1},\
                 \"wall_ns\":[{}],\"cpu_ns\":[{}]}}",
                line(&entry.wall_ns),
                line(&entry.cpu_ns)
            );
        } else {
            println!(
                "{name:<26} {wall:>9.1} {mid:>7.2} {low:>7.2} .. {high:<5.2} {cpu:>8.1} \
                 {cpu_mid:>7.2} {cpu_low:>7.2} .. {cpu_high:.2}"
            );
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let json = has("--json");
    let effort = if has("--short") {
        Effort { rounds: 3, piece: Duration::from_millis(2) }
    } else {
        Effort { rounds: 21, piece: Duration::from_millis(50) }
    };
    // Only this kind of work.
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1));
    let compare = |kind: Kind, depth, effort, json| {
        if only.is_none_or(|only| kind.name().contains(only)) {
            compare(kind, depth, effort, json);
        }
    };
    // As many rounds of what is quick as tell its small differences apart.
    let quick = Effort { rounds: effort.rounds * 3, piece: effort.piece / 4 };
    for depth in DEPTHS {
        compare(Kind::Nop, depth, quick, json);
        compare(Kind::Cached(4096), depth, quick, json);
        compare(Kind::Cached(work::SLOT_BYTES), depth, quick, json);
        compare(Kind::Cold, depth, effort, json);
        compare(Kind::DirectRead, depth, effort, json);
        compare(Kind::DirectWrite, depth, effort, json);
        compare(Kind::Tree, depth, effort, json);
        if depth <= 32 {
            compare(Kind::Append, depth, effort, json);
            compare(Kind::Echo, depth, effort, json);
        }
    }
    if only.is_none() {
        threads::compare(effort, json);
    }
}
