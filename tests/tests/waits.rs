//! Threads that wait for different numbers of events, for different times, with and
//! without a buffer and a mask, pinned to a processor and not, under each scheduling
//! policy: nobody misses a wakeup, nobody comes back before it may, and each event is
//! taken once.
//!
//! The submitter keeps just so many events outstanding that somebody must have enough,
//! whoever holds the others, and submits no more until somebody has come back. So a
//! wakeup that is missed is not made up for by the next event.
//!
//! `AIO2_EVENTS` says how many events: `cargo xtask verify --waits N`.
//!
//! SPEC: R-GET-2, R-GET-7, R-GET-8, R-GET-9, R-GET-12, R-GET-13, R-GET-15, R-GET-17,
//! SPEC: R-CALL-1, R-OVF-7.

use aio2::backend::{Timeout, Wait};
use aio2_abi::setup::Setup;
use aio2_conformance::backends::InProcess;
use aio2_conformance::context::{Context, Event};
use aio2_conformance::env::{Factory, setup};
use aio2_conformance::random::Random;
use aio2_conformance::request::{Batch, Request};
use libc::{EINTR, ETIME};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, Once};
use std::time::{Duration, Instant};

/// Events of a run that nobody asked more of.
const EVENTS: u64 = 60_000;
/// Waits that come back in one context, about: a few of those whose threads run when
/// nobody else wants to.
const ROUND: u64 = 1000;
const IDLE_ROUND: u64 = 100;
const WAITERS: u64 = 8;
/// How many events somebody waits for.
const NUMBERS: [u32; 7] = [1, 2, 3, 8, 64, 512, 2048];
/// Longer than the idle class waits for a processor on a machine that others use, too.
const PATIENCE: Duration = Duration::from_secs(900);
const REPORT: Duration = Duration::from_secs(30);

/// How the threads of a round are run.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// All on so many processors, or wherever.
    processors: Option<usize>,
    policy: i32,
}

impl Running {
    fn any(random: &mut Random) -> Self {
        let processors = match random.below(3) {
            0 => None,
            n => Some(n as usize),
        };
        let policies = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_FIFO, libc::SCHED_IDLE];
        Running { processors, policy: policies[random.below(4) as usize] }
    }

    /// For the calling thread; says once if it may not.
    fn apply(self) {
        static TOLD: Once = Once::new();
        if let Some(count) = self.processors {
            // SAFETY: all zeros are a set.
            let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            let size = size_of_val(&set);
            // SAFETY: a set of ours.
            (0..count).for_each(|cpu| unsafe { libc::CPU_SET(cpu, &mut set) });
            // A machine that has not so many takes those that it has.
            // SAFETY: the set is valid for its size.
            unsafe { libc::sched_setaffinity(0, size, &raw const set) };
        }
        // SAFETY: all zeros are one.
        let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
        param.sched_priority = i32::from(self.policy == libc::SCHED_FIFO);
        // SAFETY: the structure is valid.
        if unsafe { libc::sched_setscheduler(0, self.policy, &raw const param) } != 0 {
            let error = std::io::Error::last_os_error();
            TOLD.call_once(|| println!("SKIP policy {}: {error}", self.policy));
        }
    }
}

/// Events, by their numbers, that were sent and that have come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    count: u64,
    sum: u64,
}

#[derive(Debug, Default)]
struct State {
    sent: Account,
    taken: Account,
    waiting: u64,
    /// Calls that came back, one way or another.
    returns: u64,
    timeouts: u64,
    interrupted: u64,
    gathered: u64,
}

struct Round<'a> {
    context: &'a Context,
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
    next: AtomicU64,
    /// With so many outstanding somebody has enough.
    window: u64,
}

impl Round<'_> {
    /// Submits so many, one of them with its id, if wanted.
    fn submit(&self, count: u64, random: &mut Random, with_id: bool) -> Batch {
        let first = self.next.fetch_add(count, SeqCst);
        let mut state = self.state.lock().expect("nobody panics");
        state.sent.count += count;
        state.sent.sum += (first..first + count).sum::<u64>();
        drop(state);
        let worker = random.below(16) == 0;
        let request = |n| {
            let nop = Request::nop(n);
            let nop = if with_id { nop.with_id() } else { nop };
            if worker { nop.on_worker() } else { nop }
        };
        self.context.submit_these((first..first + count).map(request))
    }

    /// Waits until fewer than `most` are outstanding, or nobody waits for them any more;
    /// how many there are then.
    fn until_fewer(&self, most: u64) -> u64 {
        let state = self.state.lock().expect("nobody panics");
        let enough =
            |state: &mut State| state.waiting > 0 && state.sent.count - state.taken.count >= most;
        let waited = self.changed.wait_timeout_while(state, PATIENCE, enough);
        let (state, time) = waited.expect("nobody panics");
        assert!(
            !time.timed_out(),
            "a wakeup is missed: {} events wait for somebody who has enough: {state:?}",
            self.context.backend().setup().max_requests
        );
        state.sent.count - state.taken.count
    }

    fn note(&self, events: &[Event], more: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().expect("nobody panics");
        state.taken.count += events.len() as u64;
        state.taken.sum += events.iter().map(|event| event.user_data).sum::<u64>();
        state.returns += 1;
        more(&mut state);
        drop(state);
        self.changed.notify_all();
    }

    /// What can have been there at some time since `before`, when so many were taken.
    fn available_since(&self, before: u64) -> u64 {
        self.state.lock().expect("nobody panics").sent.count - before
    }

    /// One wait of any kind, and its checks.
    fn wait(&self, number: u32, patient: bool, random: &mut Random) {
        let nothing = [0_u8; size_of::<libc::sigset_t>()];
        // SAFETY: all zeros are the empty set.
        let open: libc::sigset_t = unsafe { std::mem::transmute(nothing) };
        let micros = |random: &mut Random| Duration::from_micros(1 << random.below(14));
        let mut wait = Wait::events(number);
        if !patient && random.below(2) == 0 {
            wait.timeout = Timeout::After(micros(random));
        }
        if !patient && random.below(4) == 0 {
            wait.gather = micros(random);
        }
        let lets_in = random.below(2) == 0;
        if lets_in {
            wait.sigmask = Some(&open);
        }
        let buffer = random.below(3) > 0;
        let room = buffer.then_some(24 * number as usize);
        let taken = self.state.lock().expect("nobody panics").taken.count;
        let start = Instant::now();
        let result = match room {
            Some(room) => self.context.wait_copy(&wait, room),
            None => self.context.wait(&wait).map(|()| Vec::new()),
        };
        let took = start.elapsed();
        let time_is_over = matches!(wait.timeout, Timeout::After(time) if took >= time);
        match result {
            Ok(events) if buffer => {
                let few = (events.len() as u32) < number;
                let gathered = wait.gather > Duration::ZERO && took >= wait.gather;
                // A signal ends a wait that has copied some, too.
                assert!(
                    !events.is_empty() && (!few || time_is_over || gathered || lets_in),
                    "came back early: {} events of {number} after {took:?}: {wait:?}",
                    events.len()
                );
                self.note(&events, |state| state.gathered += u64::from(few));
            }
            Ok(_) => {
                let there = self.available_since(taken);
                let gathered = wait.gather > Duration::ZERO && took >= wait.gather;
                let enough = if gathered { 1 } else { u64::from(number) };
                assert!(
                    there >= enough,
                    "came back early: there were {there} at most, of {number}: {wait:?}"
                );
                // Another may have taken them meanwhile.
                let events = self.context.reap_ring(number as usize);
                self.note(&events, |_| ());
            }
            Err(errno) if errno.0 == ETIME => {
                assert!(time_is_over, "ETIME after {took:?}: {wait:?}");
                // What is there and not enough is no longer waited for.
                self.note(&[], |state| state.timeouts += 1);
            }
            Err(errno) if errno.0 == EINTR => {
                assert!(lets_in, "EINTR with the signal kept out: {wait:?}");
                self.note(&[], |state| state.interrupted += 1);
            }
            Err(errno) => panic!("{errno}: {wait:?}"),
        }
    }

    fn waiter(&self, number: u32, patient: bool, seed: u64) {
        let mut random = Random::new(seed);
        while !self.stop.load(SeqCst) {
            self.wait(number, patient, &mut random);
        }
        self.state.lock().expect("nobody panics").waiting -= 1;
        self.changed.notify_all();
    }

    /// Waits for requests of its own, by their ids.
    fn by_id(&self, seed: u64) {
        let mut random = Random::new(seed);
        while !self.stop.load(SeqCst) {
            self.until_fewer(2 * self.window);
            let mut batch = self.submit(1, &mut random, true);
            let id = batch.id(0);
            assert!(!batch.bytes().is_empty());
            let wait = Wait { id: Some(id), ..Wait::events(0) };
            self.context.wait(&wait).expect("its request ends");
        }
    }
}

extern "C" fn nothing(_: i32) {}

/// SIGUSR1 is blocked, but for waits whose mask lets it in.
fn block_signal() {
    // SAFETY: all zeros are a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of ours.
    unsafe { libc::sigaddset(&mut set, libc::SIGUSR1) };
    // SAFETY: valid, and the old one is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// One context, with its threads; its events.
fn round(random: &mut Random, events: u64, totals: &mut State) -> u64 {
    let ring_bytes = 4096 << random.below(5);
    let setup = Setup { ring_bytes, max_requests: 1 << 16, concurrency: 2, ..setup() };
    let context = Context::new(InProcess.create(&setup).expect("there is memory"));
    let running = Running::any(random);
    let patient = random.below(2) == 0;
    let count = 1 + random.below(WAITERS);
    let numbers: Vec<u32> = (0..count).map(|_| NUMBERS[random.below(7) as usize]).collect();
    let returns = if running.policy == libc::SCHED_IDLE { IDLE_ROUND } else { ROUND };
    let window = numbers.iter().map(|n| u64::from(*n) - 1).sum::<u64>() + 1;
    let round = Round {
        context: &context,
        state: Mutex::new(State { waiting: count, ..State::default() }),
        changed: Condvar::new(),
        stop: AtomicBool::new(false),
        next: AtomicU64::new(1),
        window,
    };
    let (threads, gone) = (Mutex::new(Vec::new()), AtomicI32::new(0));
    std::thread::scope(|scope| {
        let round = &round;
        for number in &numbers {
            let (seed, threads) = (random.next(), &threads);
            scope.spawn(move || {
                block_signal();
                running.apply();
                // SAFETY: takes nothing.
                threads.lock().expect("nobody panics").push(unsafe { libc::gettid() });
                round.waiter(*number, patient, seed);
            });
        }
        if random.below(3) == 0 {
            let seed = random.next();
            scope.spawn(move || {
                running.apply();
                round.by_id(seed);
            });
        }
        let mut seeds = Random::new(random.next());
        let (threads, gone) = (&threads, &gone);
        scope.spawn(move || {
            while gone.load(SeqCst) == 0 {
                std::thread::sleep(Duration::from_micros(seeds.below(2000)));
                let all = threads.lock().expect("nobody panics");
                let Some(tid) = all.get(seeds.below(WAITERS) as usize) else { continue };
                // One that has left is not there any more, which is no harm.
                let process = std::process::id();
                // SAFETY: SIGUSR1 has a handler that does nothing.
                unsafe { libc::syscall(libc::SYS_tgkill, process, *tid, libc::SIGUSR1) };
            }
        });
        // The scope's own thread keeps its policy: it makes the other rounds, too.
        let submitter = Random::new(random.next());
        let submitting = scope.spawn(move || {
            running.apply();
            let mut random = submitter;
            loop {
                let there = round.until_fewer(window);
                let mut left = window - there.min(window);
                while left > 0 {
                    // All that are missing, or one by one.
                    let most = if random.below(2) == 0 { left } else { 4 };
                    let some = 1 + random.below(most);
                    round.submit(some.min(left), &mut random, false);
                    left -= some.min(left);
                }
                let state = round.state.lock().expect("nobody panics");
                if state.returns >= returns || state.sent.count >= events {
                    round.stop.store(true, SeqCst);
                }
                if state.waiting == 0 {
                    return;
                }
            }
        });
        let ended = submitting.join();
        gone.store(1, SeqCst);
        assert!(ended.is_ok(), "{running:?}, {numbers:?}, patient {patient}");
    });
    // What nobody had enough of.
    let mut state = round.state.into_inner().expect("nobody panics");
    while state.taken.count < state.sent.count {
        let event = &context.reap(1)[0];
        state.taken.count += 1;
        state.taken.sum += event.user_data;
    }
    assert_eq!(state.sent, state.taken, "each event once");
    context.assert_idle();
    totals.returns += state.returns;
    totals.timeouts += state.timeouts;
    totals.interrupted += state.interrupted;
    totals.gathered += state.gathered;
    state.sent.count
}

#[test]
fn waits_of_any_kind_miss_no_wakeup_and_come_back_no_earlier() {
    // SAFETY: all zeros are one, with the default flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
    // SAFETY: the handler does nothing.
    let set = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let events = std::env::var("AIO2_EVENTS")
        .map_or(EVENTS, |events| events.parse().expect("AIO2_EVENTS is a number"));
    let mut random = Random::from_environment("waits");
    let (start, mut totals) = (Instant::now(), State::default());
    let (mut seen, mut rounds, mut said) = (0, 0, start);
    while seen < events {
        seen += round(&mut random, events / 10, &mut totals);
        rounds += 1;
        if said.elapsed() > REPORT {
            said = Instant::now();
            println!("{seen} events after {} s", start.elapsed().as_secs());
        }
    }
    let State { returns, timeouts, interrupted, gathered, .. } = totals;
    println!(
        "waits: {seen} events, {returns} waits, {timeouts} timed out, {interrupted} interrupted, \
         {gathered} with fewer, {rounds} contexts, {:.0} s",
        start.elapsed().as_secs_f64()
    );
}
