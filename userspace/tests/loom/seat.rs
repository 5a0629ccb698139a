//! Models of a worker that runs requests and of who stops one of them.
//!
//! SPEC: R-CANCEL-3, R-CANCEL-7, R-CANCEL-8, R-DEADLINE-1.

use super::common::model;
use aio2::engine::host::seat::Seat;
use loom::sync::{Arc, Mutex};
use loom::thread;

const CANCEL: i32 = 125;
const DEADLINE: i32 = 110;

/// A worker's seat under the lock of its context.
#[derive(Clone)]
struct Context {
    seat: Arc<Seat>,
    lock: Arc<Mutex<()>>,
}

impl Context {
    fn new() -> Self {
        Context { seat: Arc::new(Seat::new(1)), lock: Arc::new(Mutex::new(())) }
    }

    fn locked<R>(&self, f: impl FnOnce(&Seat) -> R) -> R {
        let _guard = self.lock.lock().expect("no thread panics");
        f(&self.seat)
    }

    /// Runs the requests one after the other; of each, what it was told when
    /// it looked, and whether it had been told when it had its result.
    fn work<const N: usize>(&self, requests: [u64; N]) -> [(Option<i32>, bool); N] {
        requests.map(|request| {
            self.locked(|seat| seat.enter(request));
            let told = self.seat.stopped();
            let stopped = self.seat.leave();
            self.locked(Seat::clear);
            (told, stopped)
        })
    }

    /// Tells whoever runs `request` to stop; whether it could.
    fn stop(&self, request: u64, errno: i32) -> bool {
        self.locked(|seat| seat.runs(request) && seat.stop(errno))
    }
}

#[test]
fn worker_is_stopped_or_it_is_too_late_and_both_agree() {
    model("worker is stopped, or it is too late, and both agree", || {
        let context = Context::new();
        let worker = thread::spawn({
            let context = context.clone();
            move || context.work([7])
        });
        let could = context.stop(7, CANCEL);
        let [(told, stopped)] = worker.join().expect("it ends");
        assert_eq!(could, stopped, "interrupted and too late are told apart");
        assert!(told.is_none_or(|errno| could && errno == CANCEL));
    });
}

#[test]
fn stop_hits_no_other_request_of_the_worker() {
    model("stop hits no other request of the worker", || {
        let context = Context::new();
        let worker = thread::spawn({
            let context = context.clone();
            move || context.work([7, 8])
        });
        let could = context.stop(7, CANCEL);
        let [first, second] = worker.join().expect("it ends");
        assert_eq!(could, first.1);
        assert_eq!(second, (None, false), "the request after it");
    });
}

#[test]
fn first_of_two_reasons_to_stop_counts() {
    model("first of two reasons to stop counts", || {
        let context = Context::new();
        let [worker, timer] = [true, false].map(|works| {
            let context = context.clone();
            thread::spawn(move || {
                if works { Ok(context.work([7])) } else { Err(context.stop(7, DEADLINE)) }
            })
        });
        let cancelled = context.stop(7, CANCEL);
        let timed_out = timer.join().expect("it ends").expect_err("the timer");
        let [(told, stopped)] = worker.join().expect("it ends").expect("the worker");
        assert_eq!(cancelled || timed_out, stopped);
        // Whoever told later was told that it stops already.
        match told {
            Some(CANCEL) => assert!(cancelled),
            Some(DEADLINE) => assert!(timed_out),
            told => assert_eq!(told, None),
        }
    });
}
