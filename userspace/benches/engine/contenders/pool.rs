//! Threads that make the plain calls: as many as requests in flight, at most
//! [`THREADS`].

use super::{Contender, Done, call};
use crate::work::Request;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

/// Most threads.
pub const THREADS: usize = 64;

#[derive(Default)]
struct Shared {
    waiting: Mutex<(VecDeque<(usize, Request)>, bool)>,
    work: Condvar,
    done: Mutex<Done>,
    ended: Condvar,
}

pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    noted: Vec<(usize, Request)>,
}

impl Pool {
    pub fn new(slots: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let threads = (0..slots.min(THREADS)).map(|_| {
            let shared = shared.clone();
            thread::spawn(move || work(&shared))
        });
        Pool { threads: threads.collect(), shared, noted: Vec::new() }
    }
}

fn work(shared: &Shared) {
    loop {
        let waiting = shared.waiting.lock().expect("nobody panics with it");
        let mut waiting = shared
            .work
            .wait_while(waiting, |(queue, ends)| queue.is_empty() && !*ends)
            .expect("nobody panics with it");
        let Some((slot, request)) = waiting.0.pop_front() else { return };
        drop(waiting);
        let result = call(&request, 0);
        let mut done = shared.done.lock().expect("nobody panics with it");
        done.push((slot, result));
        if done.len() == 1 {
            shared.ended.notify_one();
        }
    }
}

impl Contender for Pool {
    fn push(&mut self, slot: usize, request: &Request) {
        self.noted.push((slot, *request));
    }

    fn turn(&mut self, done: &mut Done) {
        let noted = self.noted.len();
        let mut waiting = self.shared.waiting.lock().expect("nobody panics with it");
        waiting.0.extend(self.noted.drain(..));
        drop(waiting);
        for _ in 0..noted.min(self.threads.len()) {
            self.shared.work.notify_one();
        }
        let ended = self.shared.done.lock().expect("nobody panics with it");
        let ended = self.shared.ended.wait_while(ended, |done| done.is_empty());
        done.append(&mut ended.expect("nobody panics with it"));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Ok(mut waiting) = self.shared.waiting.lock() {
            waiting.1 = true;
        }
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
