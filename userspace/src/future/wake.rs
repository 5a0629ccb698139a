//! Waking several tasks, whatever one of them does.
//!
//! A waker is code of others: it can panic, and can come back to the driver. So
//! it is woken without a lock, and one that panics takes no other's wakeup along.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

/// Those that are to be woken: when told to, and at the latest when dropped.
#[derive(Debug, Default)]
pub(super) struct Wakes(Vec<Waker>);

impl Wakes {
    /// Adds one, if there is one.
    pub(super) fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes all; a panic of the first that panics goes on when all are woken.
    pub(super) fn wake(&mut self) {
        let mut panicked = None;
        for waker in self.0.drain(..) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panicked.get_or_insert(panic);
            }
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }
}

impl Drop for Wakes {
    /// Another panic is on its way: that of a waker adds nothing to it.
    fn drop(&mut self) {
        for waker in self.0.drain(..) {
            // What it panicked with can panic too when it is dropped.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                std::mem::forget(panic);
            }
        }
    }
}
