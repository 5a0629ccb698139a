//! The future of one operation.

use super::shared::{Shared, Task, TaskKey};
use super::wake::Wakes;
use crate::queue::{Completion, Key};
use crate::submit::{Buffer, Op};
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

/// An operation that runs: resolves to its completion.
///
/// Dropping it cancels the request; whatever the request owns is freed once it
/// has ended.
#[must_use = "does nothing unless polled"]
pub struct Run<B: Buffer> {
    shared: Arc<Shared<B>>,
    state: State<B>,
}

enum State<B> {
    /// Not polled yet.
    New(Op<B>),
    /// Under way.
    Running { task: TaskKey, request: Key },
    /// The completion was given out.
    Done,
}

// Nothing in it is pinned: what the kernel writes to lies in the queue.
impl<B: Buffer> Unpin for Run<B> {}

impl<B: Buffer> Run<B> {
    pub(super) fn new(shared: Arc<Shared<B>>, op: Op<B>) -> Self {
        Run { shared, state: State::New(op) }
    }

    /// Pushes the operation; submits it too, unless this thread's driver will.
    fn start(&mut self, op: Op<B>, waker: &Waker) {
        let waker = waker.clone();
        let mut shared = self.shared.lock();
        let (task, _) = shared.tasks.insert(Task::Waiting(Some(waker)));
        let task = TaskKey(task);
        let request = shared.queue.push(op, task);
        let driven = shared.driving == Some(thread::current().id());
        drop(shared);
        self.state = State::Running { task, request };
        if !driven {
            let mut wake = Wakes::default();
            if let Err(error) = self.shared.round(&mut wake) {
                // Its driver may sleep, and would not know.
                self.shared.lock().queue.give_up(request, error.errno());
                // What was given up is handed out before the error is met again.
                let _ = self.shared.round(&mut wake);
            }
            wake.wake();
        }
    }

    /// Looks whether the request has ended; if not, `waker` is who to wake.
    fn look(&mut self, TaskKey(key): TaskKey, waker: &Waker) -> Poll<Completion<B, ()>> {
        let mut copy = None;
        loop {
            let mut shared = self.shared.lock();
            let task = match shared.tasks.get_mut(key) {
                Some(Task::Waiting(Some(known))) if known.will_wake(waker) => {
                    return Poll::Pending;
                }
                Some(Task::Waiting(known)) if copy.is_some() => {
                    let before = mem::replace(known, copy);
                    drop(shared);
                    drop(before);
                    return Poll::Pending;
                }
                Some(Task::Waiting(_)) => None,
                _ => Some(shared.tasks.remove(key)),
            };
            drop(shared);
            match task {
                None => copy = Some(waker.clone()),
                Some(Some(Task::Ended(done))) => {
                    self.state = State::Done;
                    return Poll::Ready(done.with_token(()));
                }
                Some(_) => unreachable!("only this future abandons its task"),
            }
        }
    }
}

impl<B: Buffer> Future for Run<B> {
    type Output = Completion<B, ()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let run = &mut *self;
        match mem::replace(&mut run.state, State::Done) {
            State::New(op) => run.start(op, context.waker()),
            running => run.state = running,
        }
        match run.state {
            State::Running { task, .. } => run.look(task, context.waker()),
            _ => panic!("polled after it was ready"),
        }
    }
}

impl<B: Buffer> Drop for Run<B> {
    fn drop(&mut self) {
        let State::Running { task: TaskKey(key), request } = self.state else { return };
        let mut shared = self.shared.lock();
        let before = match shared.tasks.get_mut(key) {
            Some(task @ Task::Waiting(_)) => {
                let before = mem::replace(task, Task::Abandoned);
                // If it has ended meanwhile there is nothing to cancel.
                let _ = shared.queue.cancel(request);
                Some(before)
            }
            _ => shared.tasks.remove(key),
        };
        drop(shared);
        drop(before);
    }
}

impl<B: Buffer> fmt::Debug for Run<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
