//! Models of who waits for the files: threads that wait for events, and the context's
//! own, which stands by.
//!
//! The context's lock, the file and the sleeps are here; a sleep for a short time is one
//! that may end at any moment. Who leads is the engine's.
//!
//! SPEC: R-WAIT-7.

use super::common::model;
use aio2::engine::state::lead::{Lead, Next};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

#[derive(Default)]
struct State {
    lead: Lead,
    /// A request waits for the file, and it is ready.
    is_waited_for: bool,
    is_ready: bool,
    served: usize,
    /// The context's own thread was told.
    is_told: bool,
    stops: bool,
}

struct Context {
    state: Mutex<State>,
    told: Condvar,
}

impl State {
    fn serve(&mut self) {
        if self.is_waited_for && self.is_ready {
            (self.is_waited_for, self.is_ready) = (false, false);
            self.served += 1;
        }
    }

    fn tell_thread(&mut self, told: &Condvar) {
        if self.is_waited_for && self.lead.tell_thread() {
            self.is_told = true;
            told.notify_one();
        }
    }
}

impl Context {
    fn new() -> Arc<Self> {
        Arc::new(Context { state: Mutex::default(), told: Condvar::new() })
    }

    /// A request waits for the file.
    fn submit(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_waited_for = true;
        state.tell_thread(&self.told);
    }

    /// The file becomes ready: whoever sleeps beside it sees that.
    fn make_ready(&self) {
        self.state.lock().unwrap().is_ready = true;
        self.told.notify_one();
    }

    /// A thread that waits for events, for no time.
    fn wait(&self) {
        let mut state = self.state.lock().unwrap();
        if !state.is_waited_for {
            return;
        }
        if !state.lead.take() {
            if state.lead.call_off() {
                state.is_told = true;
                self.told.notify_one();
            }
            return;
        }
        drop(state);
        let mut state = self.state.lock().unwrap();
        state.serve();
        state.lead.resign();
        state.tell_thread(&self.told);
    }

    /// The context's own thread.
    fn run(&self) {
        let mut seen = u64::MAX;
        let mut state = self.state.lock().unwrap();
        while !state.stops {
            state.is_told = false;
            match state.lead.next(&mut seen) {
                Next::Lead => {
                    while !state.stops && !state.lead.is_called_off() {
                        state.serve();
                        if !state.is_told && !(state.is_waited_for && state.is_ready) {
                            state = self.told.wait(state).unwrap();
                        }
                        state.is_told = false;
                    }
                    state.lead.resign();
                }
                Next::Look => {
                    drop(state);
                    thread::yield_now();
                    state = self.state.lock().unwrap();
                }
                Next::Sleep => {
                    while !state.is_told && !state.stops {
                        state = self.told.wait(state).unwrap();
                    }
                }
            }
        }
    }

    fn until_served(&self, requests: usize) {
        while self.state.lock().unwrap().served < requests {
            thread::yield_now();
        }
    }

    fn stop(&self) {
        let mut state = self.state.lock().unwrap();
        state.stops = true;
        state.is_told = true;
        self.told.notify_one();
    }
}

#[test]
fn a_request_is_served_after_the_last_that_waits_has_gone() {
    model("lead: who waits goes, and the thread sees to the file", || {
        let context = Context::new();
        let thread = thread::spawn({
            let context = context.clone();
            move || context.run()
        });
        context.submit();
        context.wait();
        context.make_ready();
        context.until_served(1);
        context.stop();
        thread.join().unwrap();
    });
}

#[test]
fn a_request_that_comes_while_the_thread_sleeps_is_served() {
    model("lead: one comes while the thread goes to sleep", || {
        let context = Context::new();
        context.submit();
        assert!(context.state.lock().unwrap().lead.take(), "one that waits leads");
        let thread = thread::spawn({
            let context = context.clone();
            move || context.run()
        });
        context.make_ready();
        {
            let mut state = context.state.lock().unwrap();
            state.serve();
            state.lead.resign();
            state.tell_thread(&context.told);
        }
        context.submit();
        context.make_ready();
        context.until_served(2);
        context.stop();
        thread.join().unwrap();
    });
}
