//! Starting operations on a driver's context.

use super::run::{Run, RunList};
use super::shared::Shared;
use crate::error::{CancelError, Errno};
use crate::queue::{Cancelled, Key};
use crate::submit::{After, Buffer, Op};
use rustix::event::PollFlags;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// How far back [`After::Previous`] counts.
const REACH: usize = 63;

/// Starts operations on a driver's context, in any thread.
pub struct Handle<B: Buffer> {
    shared: Arc<Shared<B>>,
    /// What was started by this handle, the last one last. Locked only while nothing
    /// of others runs.
    recent: Mutex<Vec<Key>>,
}

impl<B: Buffer> Clone for Handle<B> {
    /// Another handle of the same driver, by which nothing was started yet.
    fn clone(&self) -> Self {
        Handle::new(self.shared.clone())
    }
}

impl<B: Buffer> Handle<B> {
    pub(super) fn new(shared: Arc<Shared<B>>) -> Self {
        Handle { shared, recent: Mutex::default() }
    }

    /// Starts an operation; the future ends while its driver drives.
    ///
    /// What is started in one turn of the executor is submitted together: by
    /// [`super::Driver::block_on`] what the future starts until it waits, and
    /// within tokio what tasks start before the driver's task has its turn. What
    /// is started elsewhere is submitted at once.
    ///
    /// ```
    /// # use aio2::{Context, Driver, Op, SharedFd};
    /// # let file = SharedFd::new(std::fs::OpenOptions::new().write(true).open("/dev/null")?);
    /// let mut driver = Driver::new(Context::new()?)?;
    /// let handle = driver.handle();
    /// driver.block_on(async {
    ///     let write = handle.run(Op::write_at(&file, b"record".to_vec(), 0).full());
    ///     // One submission for both, and the second only if the first went well.
    ///     let next = handle.run(Op::nop().after(&write));
    ///     next.await.result
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run<K>(&self, op: Op<B, K>) -> Run<B, K> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        // It counts what this handle has started, not what others have.
        let op = match op.asked_after() {
            Some(After::Previous(n)) => {
                let place = recent.len().checked_sub(n as usize).filter(|_| n > 0);
                let target = place.and_then(|place| recent.get(place));
                op.after(target.copied().unwrap_or(Key::NONE))
            }
            _ => op,
        };
        let (run, who) = Run::push(&self.shared, op);
        if recent.is_empty() {
            recent.reserve_exact(2 * REACH);
        } else if recent.len() == 2 * REACH {
            recent.drain(..REACH);
        }
        recent.push(run.key());
        // A waker can come back to this handle.
        drop(recent);
        run.begin(who);
        run
    }

    /// As [`Handle::run`], of an operation without an order, which
    /// [`After::Previous`] does not count.
    pub(crate) fn start<K>(&self, op: Op<B, K>) -> Run<B, K> {
        let (run, who) = Run::push(&self.shared, op);
        run.begin(who);
        run
    }

    /// Starts a list of operations. None may be a member of a group.
    ///
    /// ```
    /// # use aio2::{Context, Driver, Op, SharedFd};
    /// # let file = SharedFd::new(std::fs::OpenOptions::new().write(true).open("/dev/null")?);
    /// # let mut driver = Driver::new(Context::new()?)?;
    /// # let handle = driver.handle();
    /// # driver.block_on(async {
    /// let writes = handle.list((0..4).map(|n| Op::write_at(&file, vec![b'x'; 10], n * 10).full()));
    /// let commit = handle.run(Op::nop().after(&writes));
    /// for done in writes.await {
    ///     done.result?;
    /// }
    /// commit.await.result
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn list<K>(&self, ops: impl IntoIterator<Item = Op<B, K>>) -> RunList<B, K> {
        let group = self.shared.new_group();
        let members = ops.into_iter().map(|op| self.run(op.in_group(group))).collect();
        RunList::new(members, self.run(Op::group(group)))
    }

    /// Cancels the operation of this key; it ends nevertheless. Does not wait.
    ///
    /// # Errors
    /// [`CancelError::NotFound`] if it has ended.
    pub fn cancel(&self, key: Key) -> Result<Cancelled, CancelError> {
        self.shared.cancel(key)
    }

    /// Begins the end of its driver: cancels all that is in flight, by whichever handle
    /// it was started, and lets nothing start any more. Does not wait. The futures end
    /// with what became of them, mostly ECANCELED, and so do those that are started
    /// afterwards. Once the last one has ended, `Driver::drive` (feature `tokio`)
    /// returns.
    ///
    /// # Errors
    /// [`CancelError::Refused`] if what is in flight cannot be cancelled: it ends by
    /// itself.
    pub fn close(&self) -> Result<(), CancelError> {
        self.shared.close()
    }

    /// Ends when `time` is over, counted from now; takes no thread meanwhile.
    ///
    /// # Errors
    /// ECANCELED if the driver is gone; EOPNOTSUPP if the implementation has no
    /// DEADLINE.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = Result<(), Errno>> + use<B> {
        let never = Op::poll(&self.shared.never, PollFlags::IN);
        let run = self.run(never.deadline(time).required());
        async {
            match run.await.result {
                Ok(_) | Err(Errno(libc::ETIMEDOUT)) => Ok(()),
                Err(errno) => Err(errno),
            }
        }
    }

    /// Runs `future` for at most `time`. A future that is late is dropped, which
    /// cancels what it has started; what that has done by then is done, and what a
    /// read has taken from a stream or pipe is lost. [`Op::deadline`] loses nothing.
    ///
    /// ```
    /// # use aio2::{Context, Driver, Errno, Op};
    /// # use std::os::fd::OwnedFd;
    /// # use std::time::Duration;
    /// # let mut driver = Driver::new(Context::new()?)?;
    /// # let handle = driver.handle();
    /// let (reader, _writer) = std::io::pipe()?;
    /// let read = handle.run(Op::read(OwnedFd::from(reader), vec![0; 10]));
    /// let late = driver.block_on(handle.timeout(Duration::from_millis(1), read))?;
    /// assert_eq!(late.err(), Some(Errno(libc::ETIMEDOUT)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// ETIMEDOUT if it is late; as [`Handle::sleep`].
    pub async fn timeout<F: Future>(&self, time: Duration, future: F) -> Result<F::Output, Errno> {
        let (mut sleep, mut future) = (pin!(self.sleep(time)), pin!(future));
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            let over = sleep.as_mut().poll(context);
            over.map(|over| Err(over.err().unwrap_or(Errno(libc::ETIMEDOUT))))
        })
        .await
    }
}

impl<B: Buffer> fmt::Debug for Handle<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
