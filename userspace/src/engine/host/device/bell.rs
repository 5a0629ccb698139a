//! The bell of a ring: others wake its thread by it.
//!
//! SPEC: R-RUN-14.

use crate::error::Errno;
use crate::os::notify::Notifier;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// How long the thread of a broken ring sleeps before it looks again.
pub(super) const LOOK: Duration = Duration::from_millis(1);
/// Number of the bell's poll; those of transfers are below.
pub(super) const BELL: u64 = u64::MAX;

/// Wakes the thread of a ring.
#[derive(Debug)]
pub(crate) struct Bell(Notifier);

impl Bell {
    /// # Errors
    /// As eventfd(2).
    pub(crate) fn new() -> Result<Self, Errno> {
        Notifier::private().map(Bell)
    }

    /// Has [`super::Ring::enter`] return, this time or the next. Without a lock.
    pub(crate) fn ring(&self) {
        self.0.signal();
    }

    pub(crate) fn close_in_child(&self) {
        self.0.close_in_child();
    }

    /// Its descriptor.
    pub(super) fn number(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }

    /// It has been heard.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}
