//! The threads that copy, and what is handed to them.
//!
//! Duty: entries in batches, a bounded number of them waiting; a batch more and
//! the walk waits. Where no thread is to be had, whoever walks copies as well.
//! A single batch is not worth a thread.

use super::contents::Worker;
use super::entry::Entry;
use super::failure::Failure;
use super::file::{self, Staged};
use super::flow::Flow;
use super::node;
use super::session::Session;
use super::stat::Kind;
use aio2::metrics::Metrics;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

/// Batches that wait at most.
const WAITING: usize = 16;
/// How long the walk waits before it looks at the progress.
const TURN: Duration = Duration::from_millis(100);
/// Bytes of a thread's stack: nothing here is deep.
const STACK_BYTES: usize = 512 << 10;

/// What is to be copied, and is no directory.
type Item = (Entry, Kind);

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Vec<Item>>,
    /// Threads that are at a batch.
    busy: usize,
    closed: bool,
}

/// What waits for a thread.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    /// A batch is there, or none will come any more.
    work: Condvar,
    /// There is room, or a thread has become idle.
    room: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies batches until no more will come.
    fn serve(&self, cx: &Session, worker: &mut Worker) {
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                state.busy += 1;
                let busy = Busy(self);
                let half = state.batches.len() == WAITING / 2;
                drop(state);
                if half {
                    self.room.notify_one();
                }
                run(cx, worker, batch);
                drop(busy);
                state = self.lock();
            } else if state.closed {
                return;
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// A thread that is at a batch; also one that panics is idle then.
struct Busy<'a>(&'a Queue);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        if state.busy == 0 && state.batches.is_empty() {
            self.0.room.notify_one();
        }
    }
}

/// How much at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads beside the one that walks.
    pub threads: usize,
    /// Entries of a batch.
    pub batch: usize,
}

/// Who copies.
pub struct Copiers<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    cx: &'env Session,
    queue: &'env Queue,
    limits: Limits,
    new_flow: &'env (dyn Fn() -> Flow + Sync),
    own: Worker,
    batch: Vec<Item>,
    /// The first batch, until there is a second one.
    first: Option<Vec<Item>>,
    threads: Vec<ScopedJoinHandle<'scope, Metrics>>,
}

impl<'scope, 'env> Copiers<'scope, 'env> {
    /// Nobody yet but the calling thread, who has `own` to copy with.
    pub fn new(
        scope: &'scope Scope<'scope, 'env>,
        cx: &'env Session,
        queue: &'env Queue,
        limits: Limits,
        own: Flow,
        new_flow: &'env (dyn Fn() -> Flow + Sync),
    ) -> Self {
        Copiers {
            scope,
            cx,
            queue,
            limits,
            new_flow,
            own: Worker::new(own),
            batch: Vec::new(),
            first: None,
            threads: Vec::new(),
        }
    }

    /// Has something copied.
    pub fn start(&mut self, entry: Entry, kind: Kind) {
        self.batch.push((entry, kind));
        if self.batch.len() >= self.limits.batch {
            self.flush();
        }
    }

    /// Hands out what was collected.
    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return;
        }
        if self.limits.threads == 0 {
            return run(self.cx, &mut self.own, batch);
        }
        if self.threads.is_empty() {
            let Some(first) = self.first.take() else {
                self.first = Some(batch);
                return;
            };
            self.engage();
            if self.threads.is_empty() {
                self.limits.threads = 0;
                run(self.cx, &mut self.own, first);
                return run(self.cx, &mut self.own, batch);
            }
            self.push(first);
        }
        self.push(batch);
    }

    /// Starts threads, as many as there may be.
    fn engage(&mut self) {
        let (cx, queue, new_flow) = (self.cx, self.queue, self.new_flow);
        for _ in 0..self.limits.threads {
            let thread = Builder::new().name("aio2-cp".into()).stack_size(STACK_BYTES);
            let started = thread.spawn_scoped(self.scope, move || {
                let mut worker = Worker::new(new_flow());
                queue.serve(cx, &mut worker);
                worker.flow.into_metrics()
            });
            match started {
                Ok(thread) => self.threads.push(thread),
                Err(_) => return,
            }
        }
    }

    fn push(&self, batch: Vec<Item>) {
        let mut state = self.queue.lock();
        if state.batches.len() >= WAITING {
            while state.batches.len() > WAITING / 2 {
                state = self.wait(state);
            }
        }
        state.batches.push_back(batch);
        drop(state);
        self.queue.work.notify_one();
    }

    /// Waits for room a while, and shows how far it is.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.queue.room.wait_timeout(state, TURN);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            self.cx.show();
        }
        state
    }

    /// Waits until everything that was started has ended; helps meanwhile.
    pub fn barrier(&mut self) {
        if self.threads.is_empty() {
            for batch in [self.first.take(), Some(std::mem::take(&mut self.batch))] {
                run(self.cx, &mut self.own, batch.unwrap_or_default());
            }
            return;
        }
        self.flush();
        let mut state = self.queue.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                drop(state);
                run(self.cx, &mut self.own, batch);
                state = self.queue.lock();
            } else if state.busy > 0 {
                state = self.wait(state);
            } else {
                return;
            }
        }
    }

    /// Ends when everything has; what the attributes have said.
    pub fn finish(mut self) -> Metrics {
        self.barrier();
        self.queue.lock().closed = true;
        self.queue.work.notify_all();
        let mut metrics = self.own.flow.into_metrics();
        for thread in self.threads {
            // A panic goes on when the scope ends.
            if let Ok(theirs) = thread.join() {
                metrics.add(&theirs);
            }
        }
        metrics
    }
}

/// Copies a batch; what is to be made durable is so for all of it together.
fn run(cx: &Session, worker: &mut Worker, batch: Vec<Item>) {
    let mut staged: Vec<Staged<'_>> = Vec::new();
    for (entry, kind) in &batch {
        match copy(cx, worker, entry, *kind) {
            Ok(None) => {}
            Ok(Some(one)) => staged.push(one),
            Err(failure) => cx.fail(&failure),
        }
        cx.show();
    }
    if !staged.is_empty() {
        let files: Vec<_> = staged.iter().map(|one| one.copy.clone()).collect();
        let durable = worker.flow.fsync(&files);
        drop(files);
        for (one, durable) in staged.into_iter().zip(durable) {
            if let Err(failure) = one.settle(cx, worker, durable) {
                cx.fail(&failure);
            }
        }
    }
    for (entry, _) in batch {
        entry.release(cx);
    }
}

fn copy<'a>(
    cx: &Session,
    worker: &mut Worker,
    entry: &'a Entry,
    kind: Kind,
) -> Result<Option<Staged<'a>>, Failure> {
    if cx.stopped() {
        return Err(Failure::stopped(entry.source_path()));
    }
    match kind {
        Kind::Regular => file::copy(cx, worker, entry),
        Kind::Special if !cx.options.recursive => file::copy(cx, worker, entry),
        Kind::Symlink | Kind::Special | Kind::Directory => node::copy(cx, entry).map(|()| None),
    }
}
