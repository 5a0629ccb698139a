//! What a driver, its handles and their futures share.

use super::wake::Wakes;
use crate::error::{CancelError, SubmitError, WaitError};
use crate::queue::{Cancelled, Completion, Key, Queue, Slab};
use crate::submit::{Buffer, SharedFd};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, ThreadId};

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
pub(super) struct Shared<B: Buffer> {
    state: Mutex<State<B>>,
    /// A file that is never ready.
    pub(super) never: SharedFd,
}

pub(super) struct State<B: Buffer> {
    pub(super) queue: Queue<B, TaskKey>,
    pub(super) tasks: Slab<Task<B>>,
    driving: Who,
    /// Something was pushed since the last submission.
    is_fresh: bool,
    /// Its driver is gone, or about to go: nothing starts any more.
    pub(super) is_gone: bool,
    groups: u64,
}

/// Who drives, and submits in batches what is pushed meanwhile.
pub(super) enum Who {
    Nobody,
    /// The thread that is in `block_on`: what is pushed there.
    Thread(ThreadId),
    /// A task, which is to be woken unless it will have its turn anyway: what is
    /// pushed anywhere.
    #[cfg(feature = "tokio")]
    Task(Option<Waker>),
}

/// Who submits what was pushed.
pub(super) enum Submitter {
    /// The driver, when it has its turn; whom to wake for that.
    Driver(Option<Waker>),
    /// Whoever has pushed it.
    Caller,
}

/// Keys of groups from here on are those of lists.
const LISTS: u64 = 1 << 63;

impl<B: Buffer> Shared<B> {
    /// Those of a driver that has not driven yet.
    ///
    /// # Errors
    /// As eventfd(2).
    pub(super) fn new(queue: Queue<B, TaskKey>) -> io::Result<Self> {
        let never = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let state = State {
            queue,
            tasks: Slab::new(),
            driving: Who::Nobody,
            is_fresh: false,
            is_gone: false,
            groups: LISTS,
        };
        Ok(Shared { state: Mutex::new(state), never: SharedFd::new(never) })
    }

    /// The state. Nothing that can panic leaves it half changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels the request of this key, and has it handed out.
    pub(super) fn cancel(&self, key: Key) -> Result<Cancelled, CancelError> {
        let mut state = self.lock();
        let cancelled = state.queue.cancel(key);
        let submitter = state.who_submits();
        drop(state);
        self.have_handed_out(submitter);
        cancelled
    }

    /// Cancels all that is in flight, and lets nothing start any more; does not wait.
    pub(super) fn close(&self) -> Result<(), CancelError> {
        let mut state = self.lock();
        state.is_gone = true;
        let cancelled = state.queue.cancel_all();
        let submitter = state.who_submits();
        drop(state);
        self.have_handed_out(submitter);
        cancelled
    }

    /// Has what ended handed to the futures.
    fn have_handed_out(&self, submitter: Submitter) {
        match submitter {
            Submitter::Driver(waker) => waker.into_iter().for_each(Waker::wake),
            Submitter::Caller => {
                let mut wake = Wakes::default();
                // Its driver meets the error, too.
                let _ = self.round(&mut wake);
                wake.wake();
            }
        }
    }

    /// The key of a group that no other list has.
    pub(super) fn new_group(&self) -> u64 {
        let mut state = self.lock();
        state.groups = state.groups.wrapping_add(1) | LISTS;
        state.groups
    }

    /// Ends all that is in flight, and waits for it; nothing starts any more.
    pub(super) fn end(&self, wake: &mut Wakes) {
        let mut state = self.lock();
        state.is_gone = true;
        state.queue.quiet_down();
        drop(state);
        loop {
            let mut state = self.lock();
            let done = state.queue.pop().ok().flatten();
            let unwanted = done.map(|done| state.hand_out(done, wake));
            // Dropped without the lock: it runs code of others.
            drop(state);
            if unwanted.is_none() {
                return;
            }
        }
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
        self.is_fresh = false;
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

    /// Gives a completion to its future, or back if nobody wants it.
    fn hand_out(
        &mut self,
        done: Completion<B, TaskKey>,
        wake: &mut Wakes,
    ) -> Option<Completion<B, TaskKey>> {
        let TaskKey(key) = done.token;
        let Some(task @ Task::Waiting(_)) = self.tasks.get_mut(key) else {
            self.tasks.remove(key);
            return Some(done);
        };
        if let Task::Waiting(waker) = mem::replace(task, Task::Ended(done)) {
            wake.add(waker);
        }
        None
    }

    /// Who submits what was just pushed.
    pub(super) fn who_submits(&mut self) -> Submitter {
        self.is_fresh = true;
        match &mut self.driving {
            Who::Thread(id) if *id == thread::current().id() => Submitter::Driver(None),
            Who::Nobody | Who::Thread(_) => Submitter::Caller,
            #[cfg(feature = "tokio")]
            Who::Task(waker) => Submitter::Driver(waker.take()),
        }
    }

    /// The driver's task waits from now on, until it is woken by `waker`; false if
    /// something was pushed since it has submitted.
    #[cfg(feature = "tokio")]
    pub(super) fn wait_for(&mut self, waker: &mut Option<Waker>) -> bool {
        if !self.is_fresh
            && let Who::Task(known) = &mut self.driving
        {
            mem::swap(known, waker);
        }
        !self.is_fresh
    }

    /// Whether nothing starts any more, and all has ended and was handed out.
    #[cfg(feature = "tokio")]
    pub(super) fn is_closed(&self) -> bool {
        self.is_gone && self.queue.is_empty()
    }

    /// Submits and hands out until nothing is left to do, or a completion is
    /// met that nobody wants.
    fn advance(&mut self, wake: &mut Wakes) -> Result<Option<Completion<B, TaskKey>>, WaitError> {
        loop {
            let submitted = self.submit();
            let mut any = false;
            while let Some(done) = self.queue.pop()? {
                any = true;
                let unwanted = self.hand_out(done, wake);
                if unwanted.is_some() {
                    return Ok(unwanted);
                }
            }
            submitted?;
            if !any || self.queue.queued() == 0 {
                return Ok(None);
            }
        }
    }
}

/// Says who drives, for as long as it does.
pub(super) struct Driving<B: Buffer>(Arc<Shared<B>>);

impl<B: Buffer> Driving<B> {
    pub(super) fn begin(shared: Arc<Shared<B>>, who: Who) -> Self {
        shared.lock().driving = who;
        Driving(shared)
    }
}

impl<B: Buffer> Drop for Driving<B> {
    fn drop(&mut self) {
        // A waker of others, dropped without the lock.
        let _before = mem::replace(&mut self.0.lock().driving, Who::Nobody);
    }
}
