//! Models of who is told in a set: `Waiters` under a lock, with sleeps that are
//! ended as those of `Set::wait` are. A wakeup that is missed is a deadlock,
//! which the explorer finds.
//!
//! SPEC: appendix E (R-SET-4 to R-SET-8).

use super::common::model;
use aio2::set::waiters::{Call, Step, Waiters};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex, MutexGuard, Notify};
use loom::thread;

/// A set with one member, whose events are only counted.
struct Set {
    state: Mutex<State>,
    /// Those published. The descriptor is signalled after each.
    published: AtomicUsize,
    descriptor: Notify,
}

struct State {
    waiters: Waiters<Arc<Notify>>,
    taken: usize,
}

impl Set {
    fn new() -> Arc<Self> {
        Self::with_concurrency(usize::MAX)
    }

    fn with_concurrency(concurrency: usize) -> Arc<Self> {
        let state = Mutex::new(State { waiters: Waiters::new(concurrency), taken: 0 });
        Arc::new(Set { state, published: AtomicUsize::new(0), descriptor: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics")
    }

    fn available(&self, state: &State) -> usize {
        self.published.load(Ordering::Acquire) - state.taken
    }

    fn publish(&self, batch: usize) {
        self.published.fetch_add(batch, Ordering::Release);
        self.descriptor.notify();
    }

    fn call(&self, mut state: MutexGuard<'_, State>) {
        let available = self.available(&state);
        let calls = state.waiters.call(available);
        drop(state);
        for call in calls {
            match call {
                Call::Watcher => self.descriptor.notify(),
                Call::Parked(parker) => parker.notify(),
            }
        }
    }

    /// Takes `wants` events; 0 if it would have slept and is `hasty`.
    fn wait(&self, wants: usize, hasty: bool) -> usize {
        let parker = Arc::new(Notify::new());
        let mut state = self.lock();
        let ticket = state.waiters.join(parker.clone());
        let taken = loop {
            let available = self.available(&state);
            let step = state.waiters.step(ticket, wants, available);
            if let Step::Take(some) = step {
                assert!((wants..=available).contains(&some), "{some} of {available}");
                state.taken += wants;
                break wants;
            }
            self.call(state);
            if !hasty {
                if step == Step::Watch { self.descriptor.wait() } else { parker.wait() }
            }
            state = self.lock();
            if hasty {
                break 0;
            }
        };
        state.waiters.leave(ticket);
        if taken > 0 {
            state.waiters.activate();
        }
        self.call(state);
        taken
    }

    fn deactivate(&self) {
        let mut state = self.lock();
        state.waiters.deactivate();
        self.call(state);
    }
}

#[test]
fn set_of_two_waiters_misses_no_event() {
    model("set of two waiters misses no event", || {
        let set = Set::new();
        let threads = [1, 1].map(|n| {
            let set = set.clone();
            thread::spawn(move || set.wait(n, false))
        });
        set.publish(1);
        set.publish(1);
        assert!(threads.into_iter().all(|w| w.join().expect("it ends") == 1));
    });
}

#[test]
fn set_serves_who_wants_few_and_who_wants_many() {
    model("set serves who wants few and who wants many", || {
        let set = Set::new();
        let threads = [2, 1].map(|n| {
            let set = set.clone();
            (n, thread::spawn(move || set.wait(n, false)))
        });
        set.publish(2);
        set.publish(1);
        assert!(threads.into_iter().all(|(n, w)| w.join().expect("it ends") == n));
    });
}

#[test]
fn set_passes_on_what_a_thread_that_gives_up_was_told() {
    model("set passes on what a thread that gives up was told", || {
        let set = Set::new();
        let [hasty, patient] = [true, false].map(|hasty| {
            let set = set.clone();
            thread::spawn(move || set.wait(1, hasty))
        });
        set.publish(1);
        if hasty.join().expect("it ends") == 1 {
            set.publish(1);
        }
        assert_eq!(patient.join().expect("it ends"), 1);
    });
}

#[test]
fn set_lets_one_out_at_a_time_and_the_next_when_it_is_back() {
    model("set lets one out at a time and the next when it is back", || {
        let set = Set::with_concurrency(1);
        let out = Arc::new(AtomicUsize::new(0));
        let threads = [1, 1].map(|n| {
            let (set, out) = (set.clone(), out.clone());
            thread::spawn(move || {
                assert_eq!(set.wait(n, false), n);
                assert_eq!(out.fetch_add(1, Ordering::Relaxed), 0, "one at a time");
                out.fetch_sub(1, Ordering::Relaxed);
                set.deactivate();
            })
        });
        set.publish(2);
        threads.into_iter().for_each(|w| w.join().expect("it ends"));
    });
}
