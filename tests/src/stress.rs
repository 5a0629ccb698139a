//! Long runs: many consumers, a process that is stopped again and again, and
//! thousands of contexts.
//!
//! In normal runs the work is a number of events, not a time, so that a slow
//! machine takes longer and nothing else.

use crate::child;
use crate::context::{Context, Stop, errno, patience};
use crate::env::{Env, Factory, Outcome, setup};
use crate::file::{Pipe, proc_self};
use crate::request::{Batch, Request};
use crate::words::Words;
use aio2::backend::Wait;
use aio2::ring::{Memory, Pending};
use aio2_abi::setup::{Features, Setup};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

const CONSUMERS: usize = 8;
/// NOPs in one call.
const BATCH: u64 = 256;

/// What a run of reaping came to.
struct Run {
    events: u64,
    overflowed: u64,
    elapsed: Duration,
    ring_bytes: u32,
}

/// Seconds of a long run.
const SECONDS: &str = "AIO2_STRESS_SECONDS";
/// Events of a short run.
const EVENTS: u64 = 200_000;
/// The ring does not grow.
const NEVER: u64 = u64::MAX;

/// Seconds that the environment asks for.
fn seconds() -> Option<u64> {
    let seconds = std::env::var(SECONDS).ok()?;
    Some(seconds.parse().expect("AIO2_STRESS_SECONDS is a number"))
}

/// Which events were seen: a bit for each number, the oldest ones thrown away
/// once all of them are there.
#[derive(Default)]
struct Seen {
    /// All numbers below this have been seen.
    below: u64,
    bits: std::collections::VecDeque<u64>,
}

impl Seen {
    fn add(&mut self, number: u64) {
        assert!(number >= self.below, "event {number} twice");
        let (word, bit) = (((number - self.below) / 64) as usize, (number - self.below) % 64);
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        assert_eq!(self.bits[word] >> bit & 1, 0, "event {number} twice");
        self.bits[word] |= 1 << bit;
        while self.bits.front() == Some(&u64::MAX) {
            self.bits.pop_front();
            self.below += 64;
        }
    }

    /// Whether these are all numbers below `count`.
    fn is_all(&self, count: u64) -> bool {
        let rest = self.bits.iter().map(|w| u64::from(w.count_ones())).sum::<u64>();
        let ones = self.bits.iter().take_while(|w| **w == u64::MAX).count() as u64 * 64;
        self.below + rest == count && ones <= rest && {
            let last = self.bits.back().copied().unwrap_or(0);
            last & last.wrapping_add(1) == 0
        }
    }
}

/// One consumer: reaps until all is reaped, checks that numbers rise, and tells
/// what it saw.
fn consume(context: &Context, done: &AtomicBool, reaped: &AtomicU64, seen: &Mutex<Seen>) {
    let mut consumer = context.backend().consumer();
    let mut buffer = vec![0; 8192];
    let mut last = None;
    loop {
        let events = consumer.reap(&mut buffer, 64).expect("the ring is sound");
        let count = events.len() as u64;
        if count == 0 {
            // Overflow has to be asked for; otherwise there is nothing yet.
            if consumer.advance() {
                continue;
            } else if consumer.pending() == Pending::Overflow {
                assert_eq!(context.wait(&Wait::events(0)), Ok(()));
            } else if done.load(Acquire) {
                return;
            } else {
                std::thread::yield_now();
            }
            continue;
        }
        let numbers: Vec<u64> = events
            .map(|event| {
                assert_eq!((event.len(), event[2]), (3, 0), "an event of a NOP");
                assert!(last < Some(event[1]), "the order of a consumer: {last:?}, {}", event[1]);
                last = Some(event[1]);
                event[1]
            })
            .collect();
        let mut seen = seen.lock().expect("no consumer failed");
        numbers.into_iter().for_each(|n| seen.add(n));
        drop(seen);
        reaped.fetch_add(count, SeqCst);
    }
}

/// Eight consumers and a submitter, on a ring of one page with a limit of
/// 100,000, for so many events or so long. The ring is doubled each time that
/// another `grow_each` events were submitted, up to 4 MiB.
fn reap_with_eight(factory: &dyn Factory, events: u64, time: Option<u64>, grow_each: u64) -> Run {
    let setup = Setup { ring_bytes: 4096, max_requests: 100_000, ..setup() };
    let context = Context::new(factory.create(&setup).expect("a context can be created"));
    let done = AtomicBool::new(false);
    let reaped = AtomicU64::new(0);
    let seen = Mutex::new(Seen::default());
    let start = Instant::now();
    let more = |next| match time {
        Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
        None => next < events,
    };
    let (mut next, mut ring_bytes) = (BATCH, setup.ring_bytes);
    // Longer than the ring, which is full once however fast the consumers are.
    context.submit_all(&mut Batch::of((0..BATCH).map(Request::nop)));
    std::thread::scope(|scope| {
        let _stop = Stop(&done);
        for _ in 0..CONSUMERS {
            scope.spawn(|| consume(&context, &done, &reaped, &seen));
        }
        while more(next) {
            let mut batch = Batch::of((next..next + BATCH).map(Request::nop));
            let mut at = 0;
            while at < batch.bytes().len() {
                match context.submit_bytes(&mut batch.bytes()[at..]) {
                    Ok(bytes) => at += bytes,
                    Err(e) => {
                        assert_eq!(e.0, libc::EAGAIN);
                        std::thread::yield_now();
                    }
                }
            }
            next += BATCH;
            if next / grow_each > (next - BATCH) / grow_each && ring_bytes < 4 << 20 {
                ring_bytes *= 2;
                assert_eq!(context.backend().grow(ring_bytes), Ok(ring_bytes));
            }
        }
        while reaped.load(SeqCst) < next
            && start.elapsed() < patience() + Duration::from_secs(time.unwrap_or(0) + 300)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let elapsed = start.elapsed();
    assert_eq!(reaped.load(SeqCst), next, "none is lost");
    let seen = seen.into_inner().expect("no consumer failed");
    assert!(seen.is_all(next), "each number below {next} once");
    context.assert_idle();
    Run { events: next, overflowed: context.overflowed(), elapsed, ring_bytes }
}

impl Run {
    fn line(&self) -> String {
        let rate = self.events as f64 / self.elapsed.as_secs_f64() / 1e6;
        format!(
            "{} events, {} of them overflowed, in {:.1} s: {rate:.2} million a second",
            self.events,
            self.overflowed,
            self.elapsed.as_secs_f64()
        )
    }
}

/// Each event once, none lost, order kept for each consumer.
///
/// # Errors
/// Never; it runs everywhere.
pub fn eight_threads_reap_one_context(env: &Env<'_>) -> Outcome {
    eight_threads(env, None)
}

/// The same for a minute, or as the environment says.
///
/// # Errors
/// Never; it runs everywhere.
pub fn eight_threads_reap_for_a_minute(env: &Env<'_>) -> Outcome {
    eight_threads(env, Some(seconds().unwrap_or(60)))
}

fn eight_threads(env: &Env<'_>, time: Option<u64>) -> Outcome {
    let run = reap_with_eight(env.factory, EVENTS, time, NEVER);
    println!("eight consumers, a ring of one page: {}", run.line());
    assert!(run.overflowed > 0, "the ring was full now and then");
    Ok(())
}

/// The same while the ring grows again and again.
///
/// # Errors
/// Without GROW it is skipped.
///
/// # Panics
/// If an event is lost, comes twice, or is out of order.
pub fn eight_threads_reap_a_ring_that_grows(env: &Env<'_>) -> Outcome {
    env.needs(Features::GROW)?;
    let run = reap_with_eight(env.factory, EVENTS, None, EVENTS / 12);
    println!("eight consumers, a ring that grows to {} bytes: {}", run.ring_bytes, run.line());
    assert_eq!(run.ring_bytes, 4 << 20, "it grew ten times");
    assert!(run.overflowed > 0, "the ring was full now and then");
    Ok(())
}

/// Child: reaps as above, and prints how it went.
pub(crate) fn reaps_while_it_is_stopped(factory: &dyn Factory) -> i32 {
    println!("running");
    let run = reap_with_eight(factory, EVENTS, seconds(), NEVER);
    println!("{}", run.line());
    0
}

/// The same in a process that its parent stops, again and again.
///
/// # Errors
/// Never; it runs everywhere.
///
/// # Panics
/// If an event is lost, or comes twice.
pub fn reaping_process_is_stopped_again_and_again(env: &Env<'_>) -> Outcome {
    stopped(env, None)
}

/// The same for a minute, or as the environment says.
///
/// # Errors
/// Never; it runs everywhere.
///
/// # Panics
/// If an event is lost, or comes twice.
pub fn reaping_process_is_stopped_for_a_minute(env: &Env<'_>) -> Outcome {
    stopped(env, Some(seconds().unwrap_or(60)))
}

fn stopped(env: &Env<'_>, time: Option<u64>) -> Outcome {
    let mut command = child::command(env.factory, "reaps_while_it_is_stopped");
    match time {
        Some(seconds) => command.env(SECONDS, seconds.to_string()),
        None => command.env_remove(SECONDS),
    };
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the child runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("running"));
    let pid = child.id() as i32;
    let mut stops = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        // SAFETY: takes numbers; it is our child, not waited for yet.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        std::thread::sleep(Duration::from_micros(500 + stops * 37 % 3000));
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        std::thread::sleep(Duration::from_micros(500 + stops * 91 % 7000));
        stops += 1;
    };
    let line = lines.next().and_then(Result::ok).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "the child: {line}");
    println!("stopped {stops} times: {line}");
    assert!(stops > 10, "it was stopped {stops} times");
    Ok(())
}

/// What a process has: descriptors, lines of its map, threads, kilobytes.
fn belongings() -> (usize, usize, usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|l| l.trim().split(' ').next()?.parse().ok());
    let threads = proc_self("task").len();
    (proc_self("fd").len(), maps.lines().count(), threads, resident.unwrap_or(0))
}

/// Child: makes and unmakes contexts, and prints what that left.
pub(crate) fn makes_many_contexts(factory: &dyn Factory) -> i32 {
    let count: u64 = std::env::var("AIO2_CONTEXTS")
        .map_or(10_000, |count| count.parse().expect("AIO2_CONTEXTS is a number"));
    let once = |n: u64| {
        let setup = Setup { ring_bytes: 4096, max_requests: 64, concurrency: 2, ..setup() };
        let context = Context::new(factory.create(&setup).expect("a context can be created"));
        context.submit_all(&mut Batch::of((0..n % 50).map(Request::nop)));
        let mut buffer = [0; 4];
        let pipe = Pipe::new();
        // Every fifth has a worker, which is busy when the context goes.
        if n.is_multiple_of(5) {
            let read = Request::read(pipe.read_fd(), &mut buffer);
            context.submit_all(&mut Batch::of([read, Request::nop(1).on_worker()]));
            drop(pipe);
        }
        // Some events are reaped, some are not; some wait on the list.
        let there = context.reap_ring(n as usize % 30).len();
        assert!(there <= 51);
        let fd_is_open = context.backend().consumer().memory().view().ring_bytes == 4096;
        assert!(fd_is_open);
    };
    // Allocators and lazy statics take what they keep.
    (0..count.min(500)).for_each(once);
    let before = belongings();
    let start = Instant::now();
    (0..count).for_each(once);
    let elapsed = start.elapsed();
    // A thread that was joined may be in /proc a moment longer.
    crate::context::until("threads leave", || proc_self("task").len() <= before.2);
    let after = belongings();
    println!(
        "{count} contexts in {:.1} s: descriptors {} -> {}, maps {} -> {}, threads {} -> {}, \
         resident {} -> {} KiB",
        elapsed.as_secs_f64(),
        before.0,
        after.0,
        before.1,
        after.1,
        before.2,
        after.2,
        before.3,
        after.3
    );
    let same = (before.0, before.2) == (after.0, after.2);
    // An allocator may keep an arena more; ten thousand of anything is more.
    let maps = after.1 <= before.1 + 8;
    let memory = after.3 <= before.3 + 2048;
    i32::from(!(same && maps && memory))
}

/// Descriptors, mappings, threads and memory are those from before.
///
/// # Errors
/// Never; it runs everywhere.
///
/// # Panics
/// If something is left.
pub fn many_contexts_leave_nothing(env: &Env<'_>) -> Outcome {
    // In a process of its own: nothing else of it comes or goes.
    let output = child::command(env.factory, "makes_many_contexts")
        .stderr(Stdio::inherit())
        .output()
        .expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert_eq!(output.status.code(), Some(0), "something is left: {text}");
    // The limit of descriptors is no matter of the number of contexts.
    assert_eq!(errno(env.factory.create(&setup())), None);
    Ok(())
}
