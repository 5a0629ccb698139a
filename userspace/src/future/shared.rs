//! What a driver, its handles and their futures share.

use super::wake::Wakes;
use crate::error::{SubmitError, WaitError};
use crate::queue::{Completion, Queue, Slab};
use crate::submit::Buffer;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::ThreadId;

/// Names a task of a driver: the token of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskKey(pub(super) u64);

/// The future's side of a request. Boxing a completion would allocate for each.
#[expect(clippy::large_enum_variant)]
pub(super) enum Task<B> {
    /// Under way; whom to wake.
    Waiting(Option<Waker>),
    /// It has ended.
    Ended(Completion<B, TaskKey>),
    /// The future was dropped.
    Abandoned,
}

/// What a driver, its handles and their futures share.
///
/// Whatever runs code of others (cloning, waking and dropping wakers, dropping
/// buffers) is done without the lock: it may come back here.
pub(super) struct Shared<B: Buffer>(Mutex<State<B>>);

pub(super) struct State<B: Buffer> {
    pub(super) queue: Queue<B, TaskKey>,
    pub(super) tasks: Slab<Task<B>>,
    /// The thread that is in `block_on`, which submits what is pushed there in
    /// batches.
    pub(super) driving: Option<ThreadId>,
}

impl<B: Buffer> Shared<B> {
    /// Those of a driver that has not driven yet.
    pub(super) fn new(queue: Queue<B, TaskKey>) -> Self {
        Shared(Mutex::new(State { queue, tasks: Slab::new(), driving: None }))
    }

    /// The state. Nothing that can panic leaves it half changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits, and hands the completions that are there to their futures;
    /// those to be woken are added to `wake`.
    ///
    /// Whoever takes an event submits what a limit had kept in the queue:
    /// nobody else may come by.
    pub(super) fn round(&self, wake: &mut Wakes) -> Result<(), WaitError> {
        loop {
            // Bound, so that the lock is released before it is dropped.
            let unwanted = self.lock().advance(wake)?;
            if unwanted.is_none() {
                return Ok(());
            }
        }
    }
}

impl<B: Buffer> State<B> {
    /// Submits what is queued. A limit is no error here: what it keeps in the
    /// queue is submitted once something has ended.
    fn submit(&mut self) -> Result<(), WaitError> {
        loop {
            match self.queue.submit() {
                Ok(_) => return Ok(()),
                // Its future gets the error.
                Err(SubmitError::Malformed { .. }) => {}
                Err(error) if error.is_full() && self.queue.len() > self.queue.queued() => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Submits and hands out until nothing is left to do, or a completion is
    /// met that nobody wants.
    fn advance(&mut self, wake: &mut Wakes) -> Result<Option<Completion<B, TaskKey>>, WaitError> {
        loop {
            let submitted = self.submit();
            let mut any = false;
            while let Some(done) = self.queue.pop()? {
                any = true;
                let TaskKey(key) = done.token;
                match self.tasks.get_mut(key) {
                    Some(task @ Task::Waiting(_)) => {
                        if let Task::Waiting(waker) = mem::replace(task, Task::Ended(done)) {
                            wake.add(waker);
                        }
                    }
                    _ => {
                        self.tasks.remove(key);
                        return Ok(Some(done));
                    }
                }
            }
            submitted?;
            if !any || self.queue.queued() == 0 {
                return Ok(None);
            }
        }
    }
}
