//! What has to be done once the lock is released: workers to be woken, signals
//! to be sent, descriptors to be closed, threads to be created.
//!
//! Collected under the lock while requests end, whose memory was had when they
//! were accepted; done by whoever ended them.
//!
//! SPEC: R-SIGNAL-1.

use super::context::Shared;
use crate::engine::host::signal;
use crate::engine::threads::{poller, timer, worker};
use aio2_abi::attr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Signals that are sent between two looks under the lock.
const ROUND: usize = 8;

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    /// Jobs that were queued for workers.
    pub(crate) jobs: usize,
    /// A timer was added.
    pub(crate) alarm: bool,
    /// A request is to be watched by the poller.
    pub(crate) poller: bool,
    signals: Vec<attr::Signal>,
    /// Requests in flight that will send a signal.
    expected: usize,
    closing: Vec<OwnedFd>,
}

impl Errands {
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
        self.closing.try_reserve(descriptors).map_err(|_| libc::EAGAIN)
    }

    /// Has a descriptor closed: that may sleep.
    pub(crate) fn close(&mut self, fd: OwnedFd) {
        self.closing.push(fd);
    }

    /// Whether there is nothing to do.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs == 0
            && !self.alarm
            && !self.poller
            && self.signals.is_empty()
            && self.closing.is_empty()
    }
}

/// Does what there is to do. Not to be called under the lock.
#[cold]
pub(crate) fn run(shared: &Arc<Shared>) {
    loop {
        let mut signals = [None; ROUND];
        let mut context = shared.lock();
        let errands = &mut context.errands;
        if errands.is_empty() {
            return;
        }
        let jobs = std::mem::take(&mut errands.jobs);
        let alarm = std::mem::take(&mut errands.alarm);
        let poller = std::mem::take(&mut errands.poller);
        let fd = errands.closing.pop();
        let round = errands.signals.len().min(ROUND);
        for (place, signal) in signals.iter_mut().zip(errands.signals.drain(..round)) {
            *place = Some(signal);
        }
        drop(context);
        drop(fd);
        if alarm {
            // A request with a deadline was refused without the thread; for the
            // others it is a help.
            let _ = timer::ensure(shared);
        }
        if poller {
            poller::ensure(shared);
        }
        worker::staff(shared, jobs);
        signals.iter().flatten().for_each(signal::send);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_signals_is_that_of_those_in_flight() {
        let mut errands = Errands::default();
        for _ in 0..1000 {
            errands.expect_signal().unwrap();
            errands.send(attr::Signal::default());
            errands.signals.clear();
        }
        assert!(errands.signals.capacity() < 100);
    }
}
