//! Operations as futures, with no runtime required.
//!
//! Duty: a [`Driver`] owns a queue and completes the futures that its
//! [`Handle`]s give; it runs a future itself, waiting in the context
//! ([`Driver::block_on`]), or within tokio (feature `tokio`). Not here:
//! executors, timers, tasks.
//!
//! A future that is dropped cancels its request; the buffer stays with the
//! driver until the request has ended. Nothing is allocated for an operation
//! or a poll once the driver has been as busy as it gets, as with a queue.
//!
//! SPEC: sections 4.6 and 5.7 (readiness of the context).

mod run;
#[cfg(feature = "tokio")]
#[allow(unsafe_code)]
mod tokio;
mod wake;

pub use run::Run;

use crate::consumer::Consumer;
use crate::context::Context;
use crate::error::{SubmitError, WaitError};
use crate::os::sleep::Sleeper;
use crate::queue::{Completion, Queue, Slab};
use crate::submit::{Buffer, Op};
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use wake::Wakes;

/// Names a task of a driver: the token of its request.
#[derive(Clone, Copy, Debug)]
struct TaskKey(u64);

/// The future's side of a request. Boxing a completion would allocate for each.
#[expect(clippy::large_enum_variant)]
enum Task<B> {
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
struct Shared<B: Buffer>(Mutex<State<B>>);

struct State<B: Buffer> {
    queue: Queue<B, TaskKey>,
    tasks: Slab<Task<B>>,
    /// The thread that is in `block_on`, which submits what is pushed there in
    /// batches.
    driving: Option<ThreadId>,
}

impl<B: Buffer> Shared<B> {
    /// The state. Nothing that can panic leaves it half changed.
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits, and hands the completions that are there to their futures;
    /// those to be woken are added to `wake`.
    ///
    /// Whoever takes an event submits what a limit had kept in the queue:
    /// nobody else may come by.
    fn round(&self, wake: &mut Wakes) -> Result<(), WaitError> {
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

/// Starts operations on a driver's context.
pub struct Handle<B: Buffer> {
    shared: Arc<Shared<B>>,
}

impl<B: Buffer> Clone for Handle<B> {
    fn clone(&self) -> Self {
        Handle { shared: self.shared.clone() }
    }
}

impl<B: Buffer> Handle<B> {
    /// Runs an operation: a future that starts when it is first polled, and
    /// ends while its driver drives.
    pub fn run(&self, op: Op<B>) -> Run<B> {
        Run::new(self.shared.clone(), op)
    }
}

/// Completes the futures of its handles.
///
/// A future whose driver is gone never ends.
///
/// ```
/// use aio2::{Context, Driver, Op};
/// use std::fs::File;
///
/// let mut driver = Driver::new(Context::new()?)?;
/// let handle = driver.handle();
/// let file = File::open("/etc/passwd")?;
/// let done = driver.block_on(handle.run(Op::read_at(file, vec![0; 64], 0)))?;
/// println!("{} bytes", done.result?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Driver<B: Buffer> {
    shared: Arc<Shared<B>>,
    consumer: Consumer,
    /// The context's descriptor, which is readable when events came.
    readable: OwnedFd,
    sleeper: Arc<Sleeper>,
    /// Whom to wake; empty between rounds.
    wake: Wakes,
}

impl<B: Buffer> Driver<B> {
    /// A driver over `context`. It switches the context's notification on and
    /// off, and reads its eventfd.
    ///
    /// # Errors
    /// As eventfd(2) and dup(2): the driver needs a descriptor to be woken by
    /// other threads, and one of the context.
    pub fn new(context: Context) -> io::Result<Self> {
        let consumer = context.consumer();
        let readable = context.as_fd().try_clone_to_owned()?;
        let state = State { queue: Queue::new(context), tasks: Slab::new(), driving: None };
        consumer.notify_off();
        Ok(Driver {
            shared: Arc::new(Shared(Mutex::new(state))),
            consumer,
            readable,
            sleeper: Arc::new(Sleeper::new()?),
            wake: Wakes::default(),
        })
    }

    /// A handle, which can go to other threads if the buffers can.
    #[must_use]
    pub fn handle(&self) -> Handle<B> {
        Handle { shared: self.shared.clone() }
    }

    /// Runs `future` in this thread, and the driver with it, until it is ready.
    ///
    /// # Errors
    /// [`WaitError`] if the driver cannot go on: requests are not accepted
    /// although nothing is in flight, or the ring is broken.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, WaitError> {
        let mut future = pin!(future);
        let waker = Waker::from(self.sleeper.clone());
        let mut task = std::task::Context::from_waker(&waker);
        let _driving = Driving::begin(self.shared.clone());
        waker.wake_by_ref();
        loop {
            if self.sleeper.take_wake()
                && let Poll::Ready(output) = future.as_mut().poll(&mut task)
            {
                return Ok(output);
            }
            if !self.round()? {
                self.sleep();
            }
        }
    }

    /// Submits, hands out what has ended, and wakes; true if it woke anyone.
    fn round(&mut self) -> Result<bool, WaitError> {
        let result = self.shared.round(&mut self.wake);
        let any = !self.wake.is_empty();
        self.wake.wake();
        result.map(|()| any)
    }

    /// Sleeps until events come, or someone wakes the future.
    fn sleep(&mut self) {
        self.consumer.advance();
        if !self.consumer.notify_on() {
            self.sleeper.sleep(self.readable.as_fd());
        }
        self.consumer.notify_off();
    }
}

/// Marks the thread that drives, for as long as it does.
struct Driving<B: Buffer>(Arc<Shared<B>>);

impl<B: Buffer> Driving<B> {
    fn begin(shared: Arc<Shared<B>>) -> Self {
        shared.lock().driving = Some(thread::current().id());
        Driving(shared)
    }
}

impl<B: Buffer> Drop for Driving<B> {
    fn drop(&mut self) {
        self.0.lock().driving = None;
    }
}

impl<B: Buffer> fmt::Debug for Handle<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<B: Buffer> fmt::Debug for Driver<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("readable", &self.readable).finish_non_exhaustive()
    }
}
