//! What has to be done once the lock is released: workers to be woken, signals
//! to be sent, descriptors to be closed, threads to be created.
//!
//! Collected under the lock while requests end, whose memory was had when they
//! were accepted; done by whoever ended them, in `threads`.
//!
//! SPEC: R-SIGNAL-1.

use super::polls::Held;
use aio2_abi::attr;
use std::os::fd::OwnedFd;

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    /// Jobs that were queued for workers.
    pub(crate) jobs: usize,
    /// Some were queued for a device, and its thread does not know.
    pub(crate) device: bool,
    /// A timer was added.
    pub(crate) alarm: bool,
    /// A request is to be watched by the poller.
    pub(crate) poller: bool,
    pub(crate) signals: Vec<attr::Signal>,
    /// Requests in flight that will send a signal.
    expected: usize,
    pub(crate) closing: Vec<OwnedFd>,
    pub(crate) leaving: Vec<Held>,
}

impl Deferred {
    /// Sees to it that a request can send a signal when it ends.
    ///
    /// # Errors
    /// EAGAIN (positive) if the memory cannot be had.
    pub(crate) fn expect_signal(&mut self) -> Result<(), i32> {
        // It will be sent in any case, when the request ends.
        self.expected += 1;
        self.signals.try_reserve(self.expected).map_err(|_| libc::EAGAIN)
    }

    /// Has an expected signal sent.
    pub(crate) fn send(&mut self, signal: attr::Signal) {
        self.expected -= 1;
        self.signals.push(signal);
    }

    /// Sees to it that `descriptors` can be closed.
    ///
    /// # Errors
    /// EAGAIN (positive) if the memory cannot be had.
    pub(crate) fn expect_closes(&mut self, descriptors: usize) -> Result<(), i32> {
        self.leaving.try_reserve(descriptors).map_err(|_| libc::EAGAIN)?;
        self.closing.try_reserve(descriptors).map_err(|_| libc::EAGAIN)
    }

    /// Has a descriptor closed: that may sleep.
    pub(crate) fn close(&mut self, fd: OwnedFd) {
        self.closing.push(fd);
    }

    /// Has a file let go of: that may sleep.
    pub(crate) fn let_go(&mut self, held: Held) {
        self.leaving.push(held);
    }

    /// Gives back the memory, if there is nothing to do and none is expected.
    pub(crate) fn give_back(&mut self) {
        let is_idle = self.closing.is_empty() && self.leaving.is_empty();
        if self.expected == 0 && self.signals.is_empty() && is_idle {
            (self.signals, self.closing, self.leaving) = Default::default();
        }
    }

    /// Whether there is nothing to do.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs == 0
            && !self.device
            && !self.alarm
            && !self.poller
            && self.signals.is_empty()
            && self.closing.is_empty()
            && self.leaving.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_signals_is_that_of_those_in_flight() {
        let mut deferred = Deferred::default();
        for _ in 0..1000 {
            deferred.expect_signal().unwrap();
            deferred.send(attr::Signal::default());
            deferred.signals.clear();
        }
        assert!(deferred.signals.capacity() < 100);
    }
}
