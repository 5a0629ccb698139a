//! The future of one operation, and that of a list of them.

use super::shared::{Shared, Submitter, Task, TaskKey};
use super::wake::Wakes;
use crate::error::{CancelError, Errno};
use crate::queue::{Cancelled, Completion, Key};
use crate::submit::{After, Buffer, Op, kind};
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// An operation that runs: resolves to its completion.
///
/// It has started already, or does so when its driver next has its turn. Dropping
/// it cancels the request; whatever the request owns is freed once it has ended. A
/// cancel may come too late: what was read from a stream or pipe is lost then.
#[must_use = "dropping it cancels the operation"]
pub struct Run<B: Buffer, K = kind::Any> {
    shared: Arc<Shared<B>>,
    request: Key,
    state: State<B>,
    kind: PhantomData<fn() -> K>,
}

#[expect(clippy::large_enum_variant)] // a box would be an allocation for each
enum State<B> {
    /// Under way.
    Running(TaskKey),
    /// Its driver was gone before it began.
    Refused(Completion<B, ()>),
    /// The completion was given out.
    Done,
}

// Nothing in them is pinned: what the kernel writes to lies in the queue.
impl<B: Buffer, K> Unpin for Run<B, K> {}
impl<B: Buffer, K> Unpin for RunList<B, K> {}

impl<B: Buffer, K> Run<B, K> {
    /// Pushes the operation. Whoever submits it is told by [`Run::begin`]: that runs
    /// code of others, and this does not.
    pub(super) fn push(shared: &Arc<Shared<B>>, op: Op<B, K>) -> (Self, Submitter) {
        let mut state = shared.lock();
        if state.is_gone {
            drop(state);
            let refused = Completion::refused(op.untyped(), (), Errno(libc::ECANCELED));
            let state = State::Refused(refused);
            let (shared, request) = (shared.clone(), Key::NONE);
            let run = Run { shared, request, state, kind: PhantomData };
            return (run, Submitter::Driver(None));
        }
        let (task, _) = state.tasks.insert(Task::Waiting(None));
        let task = TaskKey(task);
        let request = state.queue.push(op, task);
        let submitter = state.who_submits();
        drop(state);
        let (shared, state) = (shared.clone(), State::Running(task));
        (Run { shared, request, state, kind: PhantomData }, submitter)
    }

    /// Has it submitted: at once, or by the driver when it has its turn, together
    /// with what else is started until then.
    pub(super) fn begin(&self, submitter: Submitter) {
        match submitter {
            Submitter::Driver(waker) => waker.into_iter().for_each(Waker::wake),
            Submitter::Caller => self.submit(),
        }
    }

    #[cold]
    fn submit(&self) {
        let mut wake = Wakes::default();
        if let Err(error) = self.shared.round(&mut wake) {
            // Its driver may sleep, and would not know.
            self.shared.lock().queue.give_up(self.request, error.errno());
            // What was given up is handed out before the error is met again.
            let _ = self.shared.round(&mut wake);
        }
        wake.wake();
    }

    /// Names the operation, for what is to start after it ([`After::Key`]).
    #[must_use]
    pub fn key(&self) -> Key {
        self.request
    }

    /// Cancels the operation, and leaves it to be awaited: its completion comes
    /// nevertheless. Does not wait.
    ///
    /// # Errors
    /// [`CancelError::NotFound`] if it has ended.
    pub fn cancel(&self) -> Result<Cancelled, CancelError> {
        self.shared.cancel(self.request)
    }

    /// Lets it run on to its end, whatever that is.
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(crate) fn detach(mut self) {
        let State::Running(TaskKey(key)) = mem::replace(&mut self.state, State::Done) else {
            return;
        };
        let mut shared = self.shared.lock();
        let before = match shared.tasks.get_mut(key) {
            Some(task @ Task::Waiting(_)) => Some(mem::replace(task, Task::Abandoned)),
            _ => shared.tasks.remove(key),
        };
        drop(shared);
        drop(before);
    }

    /// Looks whether the request has ended; if not, `waker` is who to wake.
    fn look(&mut self, TaskKey(key): TaskKey, waker: &Waker) -> Poll<Completion<B, (), K>> {
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
                    return Poll::Ready(done.with_token(()).into_kind());
                }
                Some(_) => unreachable!("only this future abandons its task"),
            }
        }
    }
}

impl<B: Buffer, K> Future for Run<B, K> {
    type Output = Completion<B, (), K>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let run = &mut *self;
        if let State::Running(task) = run.state {
            return run.look(task, context.waker());
        }
        match mem::replace(&mut run.state, State::Done) {
            State::Refused(done) => Poll::Ready(done.into_kind()),
            _ => panic!("polled after it was ready"),
        }
    }
}

impl<B: Buffer, K> Drop for Run<B, K> {
    fn drop(&mut self) {
        let State::Running(TaskKey(key)) = self.state else { return };
        let mut shared = self.shared.lock();
        let before = match shared.tasks.get_mut(key) {
            Some(task @ Task::Waiting(_)) => {
                let before = mem::replace(task, Task::Abandoned);
                // If it has ended meanwhile there is nothing to cancel.
                let _ = shared.queue.cancel(self.request);
                Some(before)
            }
            _ => shared.tasks.remove(key),
        };
        drop(shared);
        drop(before);
    }
}

impl<B: Buffer, K> From<&Run<B, K>> for After {
    fn from(run: &Run<B, K>) -> Self {
        After::Key(run.request)
    }
}

impl<B: Buffer, K> fmt::Debug for Run<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("key", &self.request).finish_non_exhaustive()
    }
}

/// A list of operations that run: resolves to their completions, in the order of
/// the list, when all have ended.
///
/// An operation after it ([`After`]) starts when all have ended, if none has
/// failed. Dropping it cancels those that run.
#[must_use = "dropping it cancels the operations"]
pub struct RunList<B: Buffer, K = kind::Any> {
    members: std::vec::IntoIter<Run<B, K>>,
    /// What closes their group.
    all: Run<B, kind::Failures>,
    is_over: bool,
    ended: Vec<Completion<B, (), K>>,
}

impl<B: Buffer, K> RunList<B, K> {
    pub(super) fn new(members: Vec<Run<B, K>>, all: Run<B, kind::Failures>) -> Self {
        let ended = Vec::with_capacity(members.len());
        RunList { members: members.into_iter(), all, is_over: false, ended }
    }

    /// Names all of them together, for what is to start after them.
    #[must_use]
    pub fn key(&self) -> Key {
        self.all.request
    }
}

impl<B: Buffer, K> Future for RunList<B, K> {
    type Output = Vec<Completion<B, (), K>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let list = &mut *self;
        if !list.is_over {
            if Pin::new(&mut list.all).poll(context).is_pending() {
                return Poll::Pending;
            }
            list.is_over = true;
        }
        while let Some(member) = list.members.as_mut_slice().first_mut() {
            let Poll::Ready(done) = Pin::new(member).poll(context) else { return Poll::Pending };
            list.ended.push(done);
            list.members.next();
        }
        Poll::Ready(mem::take(&mut list.ended))
    }
}

impl<B: Buffer, K> From<&RunList<B, K>> for After {
    fn from(list: &RunList<B, K>) -> Self {
        After::Key(list.all.request)
    }
}

impl<B: Buffer, K> fmt::Debug for RunList<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunList").field("key", &self.all.request).finish_non_exhaustive()
    }
}
