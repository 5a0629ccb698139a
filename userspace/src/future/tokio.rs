//! Driving within tokio, by the readiness of the context's descriptor.

use super::Driver;
use crate::error::{Errno, WaitError};
use crate::os::sleep::drain;
use crate::submit::Buffer;
use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

impl<B: Buffer> Driver<B> {
    /// Drives for ever, as a task of the running tokio runtime (with I/O
    /// enabled): spawn it, and await the futures of its handles in other tasks.
    /// Aborting the task drops the driver.
    ///
    /// # Errors
    /// [`WaitError`] if the driver cannot go on, as in [`Driver::block_on`], or
    /// the runtime cannot watch the descriptor.
    ///
    /// # Panics
    /// Outside of a runtime, or if its I/O is not enabled.
    pub async fn drive(mut self) -> Result<Infallible, WaitError> {
        let fd = self.readable.try_clone().map_err(refused)?;
        // SAFETY: the descriptor is open, and owned by the AsyncFd from now on.
        let readable = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        let readable = readable.map_err(|error| refused(error.into()))?;
        loop {
            if self.round()? {
                tokio::task::yield_now().await;
            }
            self.consumer.advance();
            if !self.consumer.notify_on() {
                let mut ready = readable.readable().await.map_err(refused)?;
                drain(readable.get_ref().as_fd());
                ready.clear_ready();
            }
            self.consumer.notify_off();
        }
    }
}

fn refused(error: io::Error) -> WaitError {
    WaitError::Refused(Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}
