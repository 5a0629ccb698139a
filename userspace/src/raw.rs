//! Iocbs of one's own, and events as they come.
//!
//! Duty: what a [`Context`] can do for who writes iocbs and takes events by hand.
//! What the memory behind them needs is the caller's promise, in unsafe calls.
//!
//! SPEC: sections 4 (calls), 6.8 (memory).

use crate::backend::{Wait, Waited};
use crate::consumer::Consumer;
use crate::context::Context;
use crate::error::{ExecError, SubmitError, WaitError};
use crate::reap::Reaper;

impl Context {
    /// One more consumer of its ring, which sees the words of events. It goes
    /// on to the next ring only if it is told to ([`Consumer::advance`]).
    #[must_use]
    pub fn consumer(&self) -> Consumer {
        self.backend().consumer()
    }

    /// One more reaper of its ring, which sees events. Each event goes to one
    /// reaper only.
    #[must_use]
    pub fn reaper(&self) -> Reaper {
        Reaper::new(self.backend().clone())
    }

    /// Waits for events to be there, and takes none. Moves events from the
    /// overflow list to the ring, also if it does not wait at all.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait(&self, wait: &Wait<'_>) -> Result<(), WaitError> {
        // SAFETY: there are no iocbs.
        unsafe { self.submit_and_wait(wait, &mut [], None) }.map(|_| ())
    }

    /// Submits a stream of iocbs, which is aligned to 8 bytes ([`crate::Iocbs`]
    /// is); returns the bytes that were accepted. They end before the first one
    /// that is malformed, or for which a limit is reached.
    ///
    /// # Errors
    /// [`SubmitError`], if none was accepted.
    ///
    /// # Safety
    /// Every address in the arguments of an iocb must be valid for what the
    /// operation does with it, and not be used otherwise, until its terminal
    /// event is there, and longer if the operation uses it longer
    /// ([`crate::Op::syscall`]). If the context belongs to a [`crate::Queue`] or a
    /// [`crate::Driver`], user_data must not be below 2^63, which are theirs.
    #[inline]
    pub unsafe fn submit_raw(&self, iocbs: &mut [u8]) -> Result<usize, SubmitError> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { self.submit_iocbs(iocbs) }
    }

    /// Submits iocbs first if there are any, waits, and copies events to
    /// `events` if there is such a buffer.
    ///
    /// # Errors
    /// [`WaitError`]. If iocbs were accepted, why the wait ended early is in
    /// [`Waited::ended`] instead.
    ///
    /// # Safety
    /// As [`Context::submit_raw`].
    pub unsafe fn wait_raw(
        &self,
        wait: &Wait<'_>,
        iocbs: &mut [u8],
        events: Option<&mut [u8]>,
    ) -> Result<Waited, WaitError> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { self.submit_and_wait(wait, iocbs, events) }
    }

    /// Runs one iocb now, in this thread; returns the bytes of its event, which
    /// goes to `event`.
    ///
    /// # Errors
    /// [`ExecError`].
    ///
    /// # Safety
    /// Every address in its arguments must be valid for what the operation does.
    pub unsafe fn exec_raw(&self, iocb: &mut [u8], event: &mut [u8]) -> Result<usize, ExecError> {
        // SAFETY: the caller's promise is the one that is asked for.
        let bytes = unsafe { self.backend().exec(iocb, event) };
        bytes.map_err(|errno| ExecError::explain(errno, iocb, self.setup().event_max))
    }
}
