//! Driving within tokio, by the readiness of the context's descriptor.

use super::Driver;
use super::shared::{Driving, Who};
use crate::error::{Errno, WaitError};
use crate::os::sleep::drain;
use crate::submit::Buffer;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

impl<B: Buffer> Driver<B> {
    /// Drives as a task of the running tokio runtime (with I/O enabled): spawn it,
    /// and await the futures of its handles in other tasks. Returns when all has
    /// ended after [`Handle::close`](crate::Handle::close), and never before.
    ///
    /// Aborting the task drops the driver, and a drop waits in the thread it is in:
    /// what cannot be interrupted, as a sync of a slow disk, keeps a thread of the
    /// runtime from its other tasks for as long as it takes. The same is so when the
    /// runtime ends before the driver. To end it without that:
    ///
    /// ```
    /// # use aio2::{Context, Driver, Op};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # runtime.block_on(async {
    /// let driver: Driver<Vec<u8>> = Driver::new(Context::new()?)?;
    /// let handle = driver.handle();
    /// let driving = tokio::spawn(driver.drive());
    /// handle.run(Op::nop()).await.result?;
    /// handle.close()?;
    /// driving.await??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WaitError`] if the driver cannot go on, as in [`Driver::block_on`], or
    /// the runtime cannot watch the descriptor.
    ///
    /// # Panics
    /// Outside of a runtime, or if its I/O is not enabled.
    pub async fn drive(mut self) -> Result<(), WaitError> {
        let fd = self.readable.try_clone().map_err(refused)?;
        // SAFETY: the descriptor is open, and owned by the AsyncFd from now on.
        let readable = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        let readable = readable.map_err(|error| refused(error.into()))?;
        let _driving = Driving::begin(self.shared.clone(), Who::Task(None));
        poll_fn(|context| self.poll_drive(context, &readable)).await
    }

    /// A turn: submits what tasks have started since the last one, hands out, wakes,
    /// and waits. Whom it wakes is to have a turn before it has its next.
    fn poll_drive(
        &mut self,
        context: &mut Context<'_>,
        readable: &AsyncFd<OwnedFd>,
    ) -> Poll<Result<(), WaitError>> {
        self.consumer.notify_off();
        loop {
            if self.round()? {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.shared.lock().is_closed() {
                return Poll::Ready(Ok(()));
            }
            self.consumer.advance();
            let mut waker = Some(context.waker().clone());
            let waits = self.shared.lock().wait_for(&mut waker);
            drop(waker);
            if waits && !self.consumer.notify_on() {
                match readable.poll_read_ready(context).map_err(refused)? {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(mut ready) => {
                        drain(readable.get_ref().as_fd());
                        ready.clear_ready();
                    }
                }
            }
            self.consumer.notify_off();
        }
    }
}

fn refused(error: io::Error) -> WaitError {
    WaitError::Refused(Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}
