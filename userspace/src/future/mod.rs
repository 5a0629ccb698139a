//! Operations as futures, with no runtime required.
//!
//! Duty: a [`Driver`] owns a queue and completes the futures that its
//! [`Handle`]s give; it runs a future itself, waiting in the context
//! ([`Driver::block_on`]), or within tokio (feature `tokio`). Not here:
//! executors, tasks.
//!
//! A future that is dropped cancels its request; the buffer stays with the
//! driver until the request has ended. Nothing is allocated for an operation
//! or a poll once the driver has been as busy as it gets, as with a queue.
//!
//! | room | duty |
//! |---|---|
//! | `wake` | waking several tasks |
//! | `shared` | what a driver, its handles and their futures share |
//! | `run` | the future of one operation, and of a list |
//! | `handle` | starting them |
//! | `tokio` | driving within tokio |
//!
//! SPEC: sections 4.6 and 5.7 (readiness of the context).

mod handle;
mod run;
mod shared;
#[cfg(feature = "tokio")]
#[allow(unsafe_code)]
mod tokio;
mod wake;

pub use handle::Handle;
pub use run::{Run, RunList};

use crate::consumer::Consumer;
use crate::context::Context;
use crate::error::WaitError;
use crate::os::sleep::Sleeper;
use crate::queue::Queue;
use crate::submit::Buffer;
use shared::{Driving, Shared, Who};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;
use wake::Wakes;

/// Completes the futures of its handles.
///
/// When it is dropped, it cancels what is in flight and waits for it, as a
/// [`crate::Queue`] does; its futures end with what became of it, mostly ECANCELED,
/// and so does what is started afterwards. What cannot be interrupted, as a sync, is
/// waited for in the thread that drops; [`Handle::close`] begins the end without that.
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
        let consumer = context.backend().consumer();
        let readable = context.as_fd().try_clone_to_owned()?;
        let shared = Shared::new(Queue::new(context))?;
        consumer.notify_off();
        Ok(Driver {
            shared: Arc::new(shared),
            consumer,
            readable,
            sleeper: Arc::new(Sleeper::new()?),
            wake: Wakes::default(),
        })
    }

    /// A handle, which can go to other threads if the buffers can.
    #[must_use]
    pub fn handle(&self) -> Handle<B> {
        Handle::new(self.shared.clone())
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
        let _driving = Driving::begin(self.shared.clone(), Who::Thread(thread::current().id()));
        waker.wake_by_ref();
        loop {
            if self.sleeper.take_wake()
                && let Poll::Ready(output) = future.as_mut().poll(&mut task)
            {
                // What it has started in its last turn begins, though nobody awaits it: a
                // writer that was dropped has sent what it took. An error is met again.
                let _ = self.round();
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

impl<B: Buffer> Drop for Driver<B> {
    fn drop(&mut self) {
        self.shared.end(&mut self.wake);
        self.wake.wake();
    }
}

impl<B: Buffer> fmt::Debug for Driver<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("readable", &self.readable).finish_non_exhaustive()
    }
}
