//! Callbacks: a queue whose tokens are what to do with the completions.

use super::{Cancelled, Completion, Key, Queue};
use crate::backend::Timeout;
use crate::context::Context;
use crate::error::{CancelError, ReapError, SubmitError, WaitError};
use crate::submit::{Buffer, Op};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// What is done with a completion. It may push more.
type Callback<'c, B> = Box<dyn FnOnce(&mut Dispatcher<'c, B>, Completion<B, ()>) + 'c>;

/// Runs a callback for each request that has ended.
///
/// Callbacks run in the thread that calls [`Dispatcher::run`], one after the
/// other, and nowhere else: no lock is held, and they may borrow what outlives
/// the dispatcher. One that panics ends the run with its panic; the dispatcher
/// goes on with the next completion when it is run again.
///
/// When the dispatcher is dropped, it cancels what is in flight and waits for
/// it, as a [`Queue`] does. Callbacks that were not run are dropped.
///
/// ```
/// use aio2::{Context, Dispatcher, Op};
/// use std::cell::Cell;
/// use std::fs::File;
///
/// let bytes = Cell::new(0);
/// let mut dispatcher = Dispatcher::new(Context::new()?);
/// dispatcher.push(Op::read_at(File::open("/etc/passwd")?, vec![0; 64], 0), |more, done| {
///     bytes.set(done.result.unwrap_or(0));
///     more.push(Op::nop(), |_, _| println!("and something after it"));
/// });
/// dispatcher.run_to_end()?;
/// assert_eq!(bytes.get(), 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dispatcher<'c, B: Buffer> {
    queue: Queue<B, Callback<'c, B>>,
}

impl<'c, B: Buffer> Dispatcher<'c, B> {
    /// A dispatcher over `context`, whose events it reaps.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Dispatcher { queue: Queue::new(context) }
    }

    /// Queues an operation, for whose completion `callback` is run, once. The
    /// next run submits it, or [`Dispatcher::submit`].
    pub fn push<K>(
        &mut self,
        op: Op<B, K>,
        callback: impl FnOnce(&mut Self, Completion<B, (), K>) + 'c,
    ) -> Key {
        self.queue.push(op, Box::new(|more, done| callback(more, done.into_kind())))
    }

    /// Cancels a request; its callback is run nevertheless. Does not wait.
    ///
    /// # Errors
    /// [`CancelError::NotFound`] if it has ended.
    pub fn cancel(&mut self, key: Key) -> Result<Cancelled, CancelError> {
        self.queue.cancel(key)
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &Context {
        self.queue.context()
    }

    /// Submits what is queued; see [`Queue::submit`].
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn submit(&mut self) -> Result<usize, SubmitError> {
        self.queue.submit()
    }

    /// How many callbacks are still to be run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True if no callback is to be run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Submits what is queued, waits until at least `min` completions are there
    /// or the time is over, and runs the callbacks of all that are there; how
    /// many.
    ///
    /// # Errors
    /// As [`Queue::wait`].
    ///
    /// # Panics
    /// If a callback does.
    pub fn run(&mut self, min: usize, timeout: Timeout) -> Result<usize, WaitError> {
        self.queue.wait(min, timeout)?;
        Ok(self.run_ready()?)
    }

    /// Runs until no callback is left, nor one that was pushed meanwhile.
    ///
    /// # Errors
    /// As [`Queue::wait`].
    ///
    /// # Panics
    /// If a callback does.
    pub fn run_to_end(&mut self) -> Result<(), WaitError> {
        while !self.is_empty() {
            self.run(1, Timeout::Forever)?;
        }
        Ok(())
    }

    /// Runs the callbacks of the completions that are there; how many.
    fn run_ready(&mut self) -> Result<usize, ReapError> {
        let mut run = 0;
        while let Some(done) = self.queue.pop()? {
            let (callback, done) = done.replace_token(());
            callback(self, done);
            run += 1;
        }
        Ok(run)
    }
}

impl<B: Buffer> AsFd for Dispatcher<'_, B> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl<B: Buffer> fmt::Debug for Dispatcher<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("queue", &self.queue).finish()
    }
}
