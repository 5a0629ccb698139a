//! Models of requests that wait for one file: its readiness against cancel,
//! deadline, others that come, and teardown.
//!
//! The context's lock, the kernel's one-shot watch and the file's bytes are
//! here; who comes next and what is watched is the engine's.
//!
//! SPEC: R-WAIT-2, R-WAIT-3, R-WAIT-4, R-LIFE-2.

use super::common::model;
use aio2::engine::state::files::{Direction, Files};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use std::collections::BTreeMap;

const CANCEL: i32 = 125;
const DEADLINE: i32 = 110;
const FILE: i32 = 3;

/// What stands under the context's lock.
struct State {
    files: Files<i32>,
    /// Results of the requests that have ended.
    ended: BTreeMap<u64, i32>,
    let_go: usize,
}

/// The file and its watch.
#[derive(Default)]
struct Kernel {
    bytes: i32,
    is_watched: bool,
    stops: bool,
}

struct Context {
    state: Mutex<State>,
    kernel: Mutex<Kernel>,
    ready: Condvar,
}

impl State {
    fn end(&mut self, id: u64, result: i32, context: &Context) {
        assert!(self.ended.insert(id, result).is_none(), "{id} ends once");
        let (others, held) = self.files.leave(id);
        self.let_go += usize::from(held.is_some());
        if let Some(token) = others {
            self.arm(token, context);
        }
    }

    fn arm(&mut self, token: u64, context: &Context) {
        if let Some((_, interest)) = self.files.arm(token) {
            context.kernel.lock().unwrap().is_watched = interest.input;
            context.ready.notify_one();
        }
    }
}

impl Context {
    fn new() -> Arc<Self> {
        let state = State { files: Files::default(), ended: BTreeMap::new(), let_go: 0 };
        Arc::new(Context {
            state: Mutex::new(state),
            kernel: Mutex::new(Kernel::default()),
            ready: Condvar::new(),
        })
    }

    /// Request `id` waits for the file.
    fn wait(&self, id: u64) {
        let state = &mut *self.state.lock().unwrap();
        state.files.reserve().unwrap();
        let known = state.files.find(FILE).map(|(token, _)| token);
        let token = known.unwrap_or_else(|| state.files.open(FILE, FILE));
        state.files.wait(token, Direction::In, id).unwrap();
        state.arm(token, self);
    }

    /// Ends request `id` with `errno`; false if it has ended.
    fn stop(&self, id: u64, errno: i32) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.ended.contains_key(&id) {
            return false;
        }
        if !state.files.stop_try(id, errno) {
            state.end(id, -errno, self);
        }
        true
    }

    /// A byte comes.
    fn send(&self) {
        self.kernel.lock().unwrap().bytes += 1;
        self.ready.notify_one();
    }

    /// Takes a byte without waiting.
    fn receive(&self) -> Option<i32> {
        let mut kernel = self.kernel.lock().unwrap();
        let is_there = kernel.bytes > 0;
        kernel.bytes -= i32::from(is_there);
        is_there.then_some(1)
    }

    /// The thread that waits for the file.
    fn poll(&self) {
        loop {
            let mut kernel = self.kernel.lock().unwrap();
            while !kernel.stops && !(kernel.is_watched && kernel.bytes > 0) {
                kernel = self.ready.wait(kernel).unwrap();
            }
            if kernel.stops {
                return;
            }
            kernel.is_watched = false;
            drop(kernel);
            self.serve();
        }
    }

    fn serve(&self) {
        let mut state = self.state.lock().unwrap();
        let Some(token) = state.files.find(FILE).map(|(token, _)| token) else { return };
        state.files.fired(token);
        while let Some(id) = state.files.next(token, Direction::In) {
            state.files.begin_try(id);
            drop(state);
            let result = self.receive();
            state = self.state.lock().unwrap();
            let stopped = state.files.end_try();
            match (result, stopped) {
                (Some(result), _) => state.end(id, result, self),
                (None, Some(errno)) => state.end(id, -errno, self),
                (None, None) => {
                    state.files.wait_on(id);
                    break;
                }
            }
        }
        state.arm(token, self);
    }

    fn spawn_poller(context: &Arc<Self>) -> JoinHandle<()> {
        let context = context.clone();
        thread::spawn(move || context.poll())
    }

    /// Cancels all of `ids`, and waits for the thread; what became of them.
    fn teardown(&self, ids: &[u64], poller: JoinHandle<()>) -> (BTreeMap<u64, i32>, usize) {
        for id in ids {
            self.stop(*id, CANCEL);
        }
        self.kernel.lock().unwrap().stops = true;
        self.ready.notify_one();
        poller.join().unwrap();
        let state = self.state.lock().unwrap();
        assert_eq!((state.files.waiting(), state.files.held()), (0, 0), "nothing is left");
        (state.ended.clone(), state.let_go)
    }

    /// Waits until all of `ids` have ended by themselves.
    fn until_ended(&self, ids: &[u64]) {
        while !ids.iter().all(|id| self.state.lock().unwrap().ended.contains_key(id)) {
            thread::yield_now();
        }
    }
}

#[test]
fn readiness_against_cancel() {
    model("readiness against cancel: one end, no byte lost", || {
        let context = Context::new();
        context.wait(1);
        context.wait(2);
        let poller = Context::spawn_poller(&context);
        let canceller = thread::spawn({
            let context = context.clone();
            move || context.stop(1, CANCEL)
        });
        context.send();
        canceller.join().unwrap();
        let (ended, let_go) = context.teardown(&[1, 2], poller);
        let taken = ended.values().filter(|result| **result == 1).count() as i32;
        assert_eq!(taken + context.kernel.lock().unwrap().bytes, 1, "{ended:?}");
        assert!(ended[&2] != 1 || ended[&1] == -CANCEL, "the first is served first: {ended:?}");
        assert_eq!((ended.len(), let_go), (2, 1));
    });
}

#[test]
fn readiness_against_deadline_and_cancel() {
    model("a try against deadline and cancel: the first counts", || {
        let context = Context::new();
        context.wait(1);
        let poller = Context::spawn_poller(&context);
        let timer = thread::spawn({
            let context = context.clone();
            move || context.stop(1, DEADLINE)
        });
        context.send();
        let could = context.stop(1, CANCEL);
        let timed_out = timer.join().unwrap();
        let (ended, let_go) = context.teardown(&[], poller);
        assert_eq!(let_go, 1);
        match ended[&1] {
            1 => {}
            result if result == -CANCEL => assert!(could),
            result => assert!(timed_out && result == -DEADLINE),
        }
    });
}

#[test]
fn readiness_against_one_that_comes() {
    model("one that comes while another is served: no readiness lost", || {
        let context = Context::new();
        context.wait(1);
        let poller = Context::spawn_poller(&context);
        let second = thread::spawn({
            let context = context.clone();
            move || {
                context.wait(2);
                context.send();
            }
        });
        context.send();
        second.join().unwrap();
        context.until_ended(&[1, 2]);
        let (ended, let_go) = context.teardown(&[], poller);
        assert_eq!((ended, context.kernel.lock().unwrap().bytes), ([(1, 1), (2, 1)].into(), 0));
        assert!((1..=2).contains(&let_go), "the file was held for each, or for both");
    });
}

#[test]
fn readiness_against_teardown() {
    model("readiness against teardown: all end, nothing stays", || {
        let context = Context::new();
        context.wait(1);
        let poller = Context::spawn_poller(&context);
        let sender = thread::spawn({
            let context = context.clone();
            move || context.send()
        });
        let (ended, let_go) = context.teardown(&[1], poller);
        sender.join().unwrap();
        assert_eq!((ended.len(), let_go), (1, 1));
        assert_eq!(i32::from(ended[&1] == 1) + context.kernel.lock().unwrap().bytes, 1);
    });
}
